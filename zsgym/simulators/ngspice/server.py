"""A worker process that answers one sizing after another, each in a fork of its own.

Start-up (Python, numpy, libngspice) is paid once, by this process. It never simulates: for every job it forks a child
that inherits the initialised libngspice, runs the job, sends the answer back and is gone. So every answer comes from a
fresh simulator whatever happened before, memory stays flat, and a crash costs one answer instead of the worker.
"""

import argparse
import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from zsgym.errors import SimulatorCrashError, SimulatorError
from zsgym.simulators.ngspice.engine import Engine
from zsgym.simulators.ngspice.library import LibraryEngine
from zsgym.simulators.ngspice.measurements import TEMPERATURES, temperature_coefficient
from zsgym.simulators.ngspice.messages import Job, Reply, read_message, write_message
from zsgym.simulators.ngspice.process import ProcessEngine
from zsgym.simulators.ngspice.stability import rightmost_pole

_CPU_LIMIT_S = 300  # a hang that the parent's time-out did not catch; a normal answer takes a tenth of a second
_PR_SET_PDEATHSIG = 1


def serve(engine: Engine, requests: int, replies: int, scratch: Path) -> None:
    """Answer jobs until the parent closes the pipe."""
    while True:
        try:
            job = read_message(requests)
        except EOFError:
            return
        reply = _in_fork(engine, job, requests)
        _empty(scratch)
        write_message(replies, reply)


def _in_fork(engine: Engine, job: Job, requests: int) -> Reply:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_child(engine, job, writing)
    os.close(writing)
    try:
        return _await_child(child, reading, requests)
    finally:
        os.close(reading)


def _run_child(engine: Engine, job: Job, writing: int) -> None:
    """Runs in the child and never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        _die_with_parent()
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT_S, _CPU_LIMIT_S))
        try:
            reply = Reply(answer=job.run(engine))
        except SimulatorError as error:
            reply = Reply(error=error)
        except OSError as error:
            reply = Reply(error=SimulatorError(f"the worker could not use its files: {error}"))
        write_message(writing, reply)
        status = 0
    finally:
        os._exit(status)


def _await_child(child: int, reading: int, requests: int) -> Reply:
    """The child's reply, or the crash that replaced it. Ends this process too when the parent is gone meanwhile."""
    while True:
        ready, _, _ = select.select([reading, requests], [], [])
        if requests in ready and reading not in ready:
            # The parent sends nothing while it waits, so this is the end of the pipe: nobody wants the answer.
            _kill_group(child)
            os.waitpid(child, 0)
            raise SystemExit(0)
        try:
            reply = read_message(reading)
        except EOFError:
            reply = None
        _, status = os.waitpid(child, 0)
        _kill_group(child)  # whatever the child had started and left behind
        if isinstance(reply, Reply):
            return reply
        cause = (
            f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.waitstatus_to_exitcode(status)}"
        )
        return Reply(error=SimulatorCrashError(f"the simulating process died ({cause}) before it had answered"))


def _kill_group(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _empty(scratch: Path) -> None:
    """Remove what a killed child left in the scratch folder."""
    for entry in scratch.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _warm_up() -> None:
    """Run the numerical routines once: what they import and cache here, no child has to."""
    frequency = np.logspace(-1, 9, 101)
    rightmost_pole(frequency, np.asarray(1.0 / (1.0 + 1j * frequency / 1e6), np.complex128))
    temperature_coefficient(TEMPERATURES[::5], 1.0 + 1e-6 * TEMPERATURES[::5] ** 2)


def main() -> None:
    """Entry point of the worker process."""
    parser = argparse.ArgumentParser(description="ngspice worker; started by zsgym, speaks pickles on its pipes")
    parser.add_argument("--engine", choices=("library", "process"), required=True)
    parser.add_argument("--executable", default="ngspice")
    parser.add_argument("--scratch", type=Path, required=True)
    arguments = parser.parse_args()
    requests, replies = os.dup(0), os.dup(1)
    # ngspice prints to the standard streams at will; the protocol must not hear it.
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.chdir(arguments.scratch)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (lives as long as the process)
    engine: LibraryEngine | ProcessEngine
    try:
        engine = (
            LibraryEngine() if arguments.engine == "library" else ProcessEngine(arguments.executable, arguments.scratch)
        )
    except SimulatorError as error:
        write_message(replies, Reply(error=error))
        return
    _warm_up()
    write_message(replies, Reply(answer=engine.version))
    try:
        serve(engine, requests, replies, arguments.scratch)
    finally:
        shutil.rmtree(arguments.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
