"""Jobs that misbehave, a fake ngspice to run them on, and a look at what processes are left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsgym.simulators.ngspice.engine import Analysis, Engine, NonConvergenceError

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[2]
MARK = "ZSGYM_TEST_MARK"
"""Environment variable that everything started by a test inherits."""


def fake_ngspice(folder: Path, mode: str) -> str:
    """An executable that is `fake_ngspice.py` in one of its modes."""
    program = folder / f"ngspice-{mode}"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FOLDER / "fake_ngspice.py"} {mode} "$@"\n')
    program.chmod(0o755)
    return str(program)


@dataclass(frozen=True)
class DeckJob:
    """Runs analyses; answers with their vectors as lists, or with the name of a circuit's failure."""

    deck: tuple[str, ...]
    analyses: Sequence[Analysis]
    then: Sequence[Analysis] = ()
    operating_points: bool = False

    def prepare(self) -> None:
        pass

    def run(self, engine: Engine) -> Any:
        try:
            results = dict(engine.run(self.deck, self.analyses))
            if self.operating_points:
                results["show"] = engine.operating_points()
            if self.then:
                results |= engine.run(self.deck, self.then)
        except NonConvergenceError as error:
            return f"no convergence: {error}"
        return results


@dataclass(frozen=True)
class Do:
    """Calls a function of this module in the simulating process, after noting the attempt in a file."""

    function: str
    arguments: tuple[Any, ...] = ()
    attempts: Path | None = None

    def prepare(self) -> None:
        pass

    def run(self, _engine: Engine) -> Any:
        if self.attempts is not None:
            with self.attempts.open("a") as file:
                file.write(f"{self.function}\n")
        return globals()[self.function](*self.arguments)


def echo(value: Any, delay: float = 0.0) -> Any:
    time.sleep(delay)
    return value


def pids() -> tuple[int, int]:
    """The worker and its child."""
    return os.getppid(), os.getpid()


def surroundings() -> dict[str, Any]:
    return {"cwd": os.getcwd(), "environment": dict(os.environ), "path": sys.path, "descriptors": open_descriptors()}


def die(by: int) -> None:
    """By a signal, or with an exit status when positive numbers are beyond signals."""
    if by >= 100:
        os._exit(by)
    os.kill(os.getpid(), by)


def die_once(flag: Path) -> str:
    if not flag.exists():
        flag.touch()
        die(signal.SIGSEGV)
    return "alive"


def stop_once(flag: Path) -> str:
    if not flag.exists():
        flag.touch()
        die(signal.SIGSTOP)
    return "alive"


def kill_worker() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)


def sleep() -> None:
    time.sleep(1000)


def sleep_uninterruptibly() -> None:
    """Deaf to every signal that can be ignored, in the child and in a process that it starts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"])
    time.sleep(1000)


def leave_a_process_behind() -> int:
    return subprocess.Popen(["sleep", "1000"]).pid


def fail() -> None:
    raise ZeroDivisionError("a bug in a testbench")


def unpicklable() -> Any:
    return lambda: None


def big(size: int) -> bytes:
    return b"x" * size


def open_descriptors() -> list[str]:
    """Where every open file descriptor of this process leads."""
    targets = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{entry}"))
        except FileNotFoundError:
            continue  # that of the listing itself
    return sorted(targets)


def descendants(mark: str) -> list[str]:
    """Every other living process that has inherited a mark, as `PID state command line`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            if f"{MARK}={mark}".encode() not in environment:
                continue
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if state not in "ZX":
            found.append(f"{entry.name} {state} {command[:150]}")
    return found


def children(pid: int) -> list[int]:
    """Living and dead child processes of a process, whichever of its threads has started them."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def zombies() -> list[str]:
    """Children of this process that nobody has waited for."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields and fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(entry.name)
    return found


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Wait until a condition holds."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def python(code: str, *flags: str, **options: Any) -> subprocess.Popen[str]:
    """Start a Python process that sees zsgym and this module."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{FOLDER}", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, *flags, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def script(ngspice: str, body: str, workers: int = 1) -> str:
    """A program with a pool."""
    return f"""
import os, signal, sys, threading, time
from faults import Do
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool
pool = WorkerPool({workers}, WorkerOptions("process", {ngspice!r}))
{body}
"""


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
