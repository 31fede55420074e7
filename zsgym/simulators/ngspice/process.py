"""The `process` engine: the ngspice program, one launch per batch of analyses, results read from binary raw files.

Slower than libngspice, and independent of it: the two are compared with each other. A run counts only when ngspice
ended with status 0 and wrote, in a folder that was empty before, one complete file for every analysis.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsgym.errors import SimulatorCrashError, SimulatorMissingError, SimulatorOutputError
from zsgym.simulators.ngspice.engine import Analysis, Vector, Vectors, complete
from zsgym.simulators.ngspice.library import DEVICE_QUANTITIES, INSTALL_HINT, parse_show

_END_MARK = "zsgym: every analysis was run"


def find_executable(name: str = "ngspice") -> str:
    """Path of the ngspice program.

    :raises SimulatorMissingError: it is not on the search path.
    """
    path = shutil.which(name)
    if path is None:
        raise SimulatorMissingError(f"the program {name!r} was not found; {INSTALL_HINT}")
    return path


class ProcessEngine:
    """Starts ngspice for every call of `run`. Files live in a private folder that is removed afterwards."""

    def __init__(self, executable: str = "ngspice", scratch: Path | None = None) -> None:
        self._executable = find_executable(executable)
        self._scratch = scratch
        self._output = ""
        self.version = self._version()

    def run(self, deck: Sequence[str], analyses: Sequence[Analysis]) -> dict[str, Vectors]:
        """See `Engine.run`."""
        with tempfile.TemporaryDirectory(prefix="run-", dir=self._scratch) as folder:
            work = Path(folder)
            status = self._launch(work, deck, analyses)
            lines = self._output.splitlines()
            results: dict[str, Vectors] = {}
            for analysis in analyses:
                with complete(analysis.name, lines):
                    vectors = read_raw(work / f"{analysis.name}.raw")
                    results[analysis.name] = {name: vectors[name] for name in analysis.vectors}
            if status != 0 or _END_MARK not in self._output:
                raise SimulatorOutputError(f"ngspice ended early (status {status}): {self._output[-400:]}")
            return results

    def operating_points(self) -> dict[str, dict[str, float]]:
        """See `Engine.operating_points`; printed by the run itself."""
        return parse_show(self._output)

    def _launch(self, work: Path, deck: Sequence[str], analyses: Sequence[Analysis]) -> int:
        # A .spiceinit in the working folder takes precedence over the user's own, which could change any option.
        (work / ".spiceinit").write_text("set num_threads=1\n")
        (work / "deck.cir").write_text("\n".join([*deck[:-1], *_control(analyses), deck[-1], ""]))
        environment = {**os.environ, "HOME": str(work)}
        finished = subprocess.run(
            [self._executable, "-b", "deck.cir"],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self._output = finished.stdout.decode("utf-8", errors="replace")
        if finished.returncode < 0:
            raise SimulatorCrashError(f"ngspice was killed by signal {-finished.returncode}")
        return finished.returncode

    def _version(self) -> str:
        finished = subprocess.run(
            [self._executable, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        found = re.search(rb"ngspice-(\S+)", finished.stdout)
        return found[1].decode(errors="replace") if found else "unknown"


def _control(analyses: Sequence[Analysis]) -> list[str]:
    lines = [".control", "set noaskquit", "set filetype=binary"]
    for analysis in analyses:
        lines += analysis.commands
        if analysis.max_points is not None:
            lines.append(f"stop after {analysis.max_points}")
        lines += [analysis.run, f"write {analysis.name}.raw {' '.join(analysis.vectors)}"]
        if analysis.run == "op":
            lines.append(f"show m : {' '.join(DEVICE_QUANTITIES)}")
    return [*lines, f"echo {_END_MARK}", "quit", ".endc"]


def read_raw(path: Path) -> dict[str, Vector]:
    """All vectors of a binary ngspice raw file with one plot, by name without the `v(...)` around it.

    :raises KeyError: there is no such file (the analysis wrote nothing).
    :raises SimulatorOutputError: the file is incomplete or no raw file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise KeyError(path.name) from None
    header, separator, data = content.partition(b"Binary:\n")
    fields = dict(re.findall(r"^([^:\n]+):[ \t]*(.*)$", header.decode("utf-8", errors="replace"), re.MULTILINE))
    names = re.findall(r"^\t\d+\t(\S+)\t", header.decode("utf-8", errors="replace"), re.MULTILINE)
    try:
        shape = int(fields["No. Points"]), int(fields["No. Variables"])
    except (KeyError, ValueError):
        raise SimulatorOutputError(f"{path.name} is no ngspice raw file") from None
    is_complex = "complex" in fields.get("Flags", "")
    dtype: np.dtype[Any] = np.dtype(np.complex128 if is_complex else np.float64)
    if not separator or len(names) != shape[1] or len(data) < shape[0] * shape[1] * dtype.itemsize or shape[0] == 0:
        raise SimulatorOutputError(f"{path.name} is incomplete: {len(data)} bytes for {shape[0]} x {shape[1]} values")
    table = np.frombuffer(data, dtype, count=shape[0] * shape[1]).reshape(shape)
    return {_plain(name): np.ascontiguousarray(table[:, column]) for column, name in enumerate(names)}


def _plain(name: str) -> str:
    """`v(out)` is `out`, `i(vdd)` is `vdd#branch`: the names that libngspice uses."""
    match = re.fullmatch(r"(v|i)\((.+)\)", name)
    if match is None:
        return name
    return match[2] if match[1] == "v" else f"{match[2]}#branch"
