"""A stand-in for the ngspice program that misbehaves on demand: `fake_ngspice.py MODE [ngspice's arguments]`.

In mode `good` it runs the control block of `deck.cir` well enough for operating points and DC sweeps: every vector is
1.0. Every other mode is a way to fail.
"""

import os
import signal
import struct
import subprocess
import sys
import time

PLOT_NAMES = {"op": "Operating Point", "dc": "DC transfer characteristic"}
SHOW = " BSIM4v5: Berkeley Short Channel IGFET Model-4\n     device   m1\n         id   1e-06\n         gm   1e-05\n\n"


def main(mode: str, arguments: list[str]) -> int:
    if "--version" in arguments:
        return report_version(mode)
    if mode == "sleep":
        time.sleep(1000)
    if mode == "garbage":
        sys.stdout.buffer.write(os.urandom(100_000))
    if mode == "flood":
        while True:
            sys.stdout.buffer.write(b"na na na " * 10_000)
    if mode == "status_1_at_once":
        return 1
    if mode == "lies_about_convergence":
        print("Warning: gmin stepping failed\nno convergence\nsingular matrix: check node out")
        print("zsgym: every analysis was run")
    if mode in ("garbage", "silent", "lies_about_convergence"):
        return 0
    if mode == "leaves_children":
        subprocess.Popen(["sleep", "1000"])
    if mode == "not_utf8":
        sys.stdout.buffer.write(b"\xff\xfe caf\xe9 \xc3\n")
        sys.stderr.buffer.write(b"\x80\x81\n")
    if mode == "refuses_a_command":
        print("Error: no default parameter.", file=sys.stderr)
    run_deck(mode)
    if mode == "killed_at_the_end":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "segmentation_fault":
        os.kill(os.getpid(), signal.SIGSEGV)
    return 1 if mode == "status_1" else 0


def report_version(mode: str) -> int:
    if mode == "version_hangs":
        time.sleep(1000)
    if mode == "version_is_garbage":
        sys.stdout.buffer.write(b"\xff\x00 usage: something else\n")
    elif mode == "too_old":
        print("** ngspice-36 : Circuit level simulation program")
    else:
        print("** ngspice-39 : Circuit level simulation program")
    return 0


def run_deck(mode: str) -> None:
    with open("deck.cir") as file:
        lines = file.read().splitlines()
    kind, rows, written = "", 0, 0
    for line in lines[lines.index(".control") : lines.index(".endc")]:
        word, *rest = line.split()
        if word == "op":
            kind, rows = "op", 1
        elif word == "dc":
            kind, rows = "dc", round((float(rest[2]) - float(rest[1])) / float(rest[3])) + 1
        elif word == "show":
            sys.stdout.write(SHOW)
        elif word == "write":
            written += 1
            last = written == sum(other.startswith("write ") for other in lines)
            if not (mode == "last_missing" and last):
                spoil = mode if last else ""
                with open(rest[0], "wb") as raw:
                    raw.write(raw_file("op" if spoil == "other_plot" else kind, rows, rest[1:], spoil))
        elif word == "echo" and mode != "no_end_mark":
            print(" ".join(rest), flush=True)


def raw_file(kind: str, rows: int, names: list[str], spoil: str) -> bytes:
    if spoil == "too_few_rows":
        rows -= 1
    names = names[:-1] if spoil == "vector_missing" else names
    value = float("nan") if spoil == "not_a_number" else 1.0
    header = [
        "Title: fake",
        "Date: today",
        f"Plotname: {PLOT_NAMES[kind]}",
        "Flags: real",
        f"No. Variables: {len(names)}",
        f"No. Points: {rows}",
        "Variables:",
        *(f"\t{i}\tv({name})\tvoltage" for i, name in enumerate(names)),
        "Binary:",
        "",
    ]
    content = "\n".join(header).encode() + struct.pack("d", value) * (rows * len(names))
    if spoil == "truncated":
        return content[:-5]
    if spoil == "padded":
        return content + b"12345678"
    if spoil == "header_only":
        return content[:40]
    return b"" if spoil == "empty_file" else content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
