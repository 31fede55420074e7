"""The `process` engine: the ngspice program, one launch per batch of analyses, results read from binary raw files.

Slower than libngspice, and independent of it: the two are compared with each other. A run counts only when ngspice
ended with status 0 and wrote, in a folder that was empty before, one complete file for every analysis.
"""

import contextlib
import ctypes
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zsgym.base.errors import SimulatorCrashError, SimulatorMissingError, SimulatorOutputError, SimulatorTimeoutError
from zsgym.simulators.ngspice.engine import (
    DEVICE_QUANTITIES,
    INSTALL_HINT,
    SETTINGS,
    Analysis,
    Vector,
    Vectors,
    check_carried_out,
    checked,
    find_version,
    parse_show,
)

_END_MARK = "zsgym: every analysis was run"
_VERSION_TIMEOUT_S = 30
_MAX_FILE_BYTES = 256 << 20
"""Bound on any one file that a launch writes, its printed output included; a normal one is below 1 MB."""
_PLOT_NAMES = {
    "op": "Operating Point",
    "ac": "AC Analysis",
    "dc": "DC transfer characteristic",
    "noise": "Noise Spectral Density Curves",
    "tran": "Transient Analysis",
}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def find_executable(name: str = "ngspice") -> str:
    """Absolute path of the ngspice program.

    :raises SimulatorMissingError: it is not on the search path.
    """
    path = shutil.which(name)
    if path is None:
        raise SimulatorMissingError(f"the program {name!r} was not found; {INSTALL_HINT}")
    return os.path.abspath(path)


def clean_environment(home: str) -> dict[str, str]:
    """This process's environment without what could change ngspice's answers, its number of threads or its language.

    :param home: where ngspice finds, or does not find, a `.spiceinit`.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPICE", "NGSPICE"))}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **single, "HOME": home, "LC_ALL": "C"}


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, the process `parent`, ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


class ProcessEngine:
    """Starts ngspice for every call of `run`. Files live in a private folder that is removed afterwards."""

    def __init__(self, executable: str = "ngspice", scratch: Path | None = None) -> None:
        self._executable = find_executable(executable)
        self._scratch = scratch
        self._printed = ""
        self.version = self._version()

    def run(self, deck: Sequence[str], analyses: Sequence[Analysis]) -> dict[str, Vectors]:
        """See `Engine.run`."""
        with self._work_folder() as work:
            # A .spiceinit in the working folder takes precedence over the user's own, which could change any option.
            (work / ".spiceinit").write_text("".join(f"{setting}\n" for setting in SETTINGS))
            (work / "deck.cir").write_text("\n".join([*deck[:-1], *_control(analyses), deck[-1], ""]))
            complaints = self._launch(work, "-b", "deck.cir")
            check_carried_out(complaints)
            if _END_MARK not in self._printed:
                raise SimulatorOutputError(f"ngspice ended early: {(self._printed + complaints)[-400:]}")
            return {analysis.name: checked(analysis, _read(work, analysis), complaints) for analysis in analyses}

    def operating_points(self) -> dict[str, dict[str, float]]:
        """See `Engine.operating_points`; printed by the run itself."""
        return parse_show(self._printed)

    def _launch(self, work: Path, *arguments: str, timeout_s: float | None = None) -> str:
        """Run ngspice to its end; what it wrote to its error stream.

        Both streams go to files, which unlike pipes are bounded, and do not mix.
        """
        with (work / "printed").open("w+b") as printed, (work / "complaints").open("w+b") as complaints:
            try:
                status = subprocess.run(
                    [self._executable, *arguments],
                    cwd=work,
                    env=clean_environment(str(work)),
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=complaints,
                    preexec_fn=functools.partial(_restrain, os.getpid()),
                    timeout=timeout_s,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise SimulatorTimeoutError(f"{self._executable} hangs: {error}") from error
            except (OSError, subprocess.SubprocessError) as error:
                raise SimulatorMissingError(f"{self._executable} cannot be run: {error}; {INSTALL_HINT}") from error
            self._printed, said = _text(printed), _text(complaints)
        if status < 0:
            raise SimulatorCrashError(f"ngspice was killed by signal {-status}")
        if status > 0:
            raise SimulatorOutputError(f"ngspice ended with status {status}: {(self._printed + said)[-400:]}")
        return said

    def _version(self) -> str:
        with self._work_folder() as work:
            self._launch(work, "--version", timeout_s=_VERSION_TIMEOUT_S)
        return find_version(self._printed, self._executable)

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        if self._scratch is not None:
            self._scratch.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="zsgym-", dir=self._scratch, ignore_cleanup_errors=True) as folder:
            yield Path(folder)


def _restrain(parent: int) -> None:
    """Runs in the new process before it becomes ngspice."""
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))


def _text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", errors="replace")


def _control(analyses: Sequence[Analysis]) -> list[str]:
    lines = [".control", "set noaskquit", "set filetype=binary"]
    for analysis in analyses:
        lines += ["destroy all", *analysis.commands]  # a stale vector can then never be written as a fresh one
        if analysis.max_points is not None:
            lines += [f"stop after {analysis.max_points}", analysis.run, "delete all"]
        else:
            lines.append(analysis.run)
        if analysis.plot is not None:
            lines.append(f"setplot {analysis.plot}")
        lines.append(f"write {_file_name(analysis)} {' '.join(analysis.vectors)}")
        if analysis.kind == "op":
            lines.append(f"show m : {' '.join(DEVICE_QUANTITIES)}")
    return [*lines, f"echo {_END_MARK}", "quit", ".endc"]


def _file_name(analysis: Analysis) -> str:
    return f"{analysis.name}.raw"


def _read(work: Path, analysis: Analysis) -> dict[str, Vector]:
    """Those of an analysis's vectors that ngspice has written."""
    try:
        found = read_raw(work / _file_name(analysis), _PLOT_NAMES[analysis.kind])
    except KeyError:
        return {}
    return {name: found[name] for name in analysis.vectors if name in found}


def read_raw(path: Path, plot_name: str | None = None) -> dict[str, Vector]:
    """All vectors of a binary ngspice raw file with one plot, by name without the `v(...)` around it.

    :raises KeyError: there is no such file (the analysis wrote nothing), or it holds another plot than `plot_name`.
    :raises SimulatorOutputError: the file is incomplete or no raw file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise KeyError(path.name) from None
    head, separator, data = content.partition(b"Binary:\n")
    header = head.decode("utf-8", errors="replace")
    fields = dict(re.findall(r"^([^:\n]+):[ \t]*(.*)$", header, re.MULTILINE))
    names = re.findall(r"^\t\d+\t(\S+)\t", header, re.MULTILINE)
    try:
        shape = int(fields["No. Points"]), int(fields["No. Variables"])
    except (KeyError, ValueError):
        raise SimulatorOutputError(f"{path.name} is not an ngspice raw file") from None
    is_complex = "complex" in fields.get("Flags", "")
    dtype: np.dtype[Any] = np.dtype(np.complex128 if is_complex else np.float64)
    if not separator or len(names) != shape[1] or len(data) != shape[0] * shape[1] * dtype.itemsize or shape[0] < 1:
        raise SimulatorOutputError(f"{path.name} is incomplete: {len(data)} bytes for {shape[0]} x {shape[1]} values")
    if plot_name is not None and fields.get("Plotname") != plot_name:
        raise KeyError(plot_name)
    table = np.frombuffer(data, dtype).reshape(shape)
    return {_plain(name): np.ascontiguousarray(table[:, column]) for column, name in enumerate(names)}


def _plain(name: str) -> str:
    """`v(out)` is `out`, `i(vdd)` is `vdd#branch`: the names that libngspice uses."""
    match = re.fullmatch(r"(v|i)\((.+)\)", name)
    if match is None:
        return name
    return match[2] if match[1] == "v" else f"{match[2]}#branch"
