"""A worker process that answers one sizing after another, each in a fork of its own.

Start-up (Python, numpy, libngspice) is paid once, by this process. It never simulates: for every job it forks a child
that inherits the initialised libngspice, runs the job, sends the answer back and is gone. So every answer comes from a
fresh simulator whatever happened before, memory stays flat, and a crash costs one answer instead of the worker.

Nobody outlives anybody: the end of the connection to the parent ends this process and its child, and the kernel kills a
child, and the ngspice that it may have started, when this process is killed.
"""

import contextlib
import os
import pickle
import resource
import shutil
import signal
import socket
import traceback
from multiprocessing.connection import wait
from pathlib import Path

from zsgym.base.errors import SimulatorCrashError, SimulatorError
from zsgym.simulators.ngspice.engine import Engine
from zsgym.simulators.ngspice.library import LibraryEngine
from zsgym.simulators.ngspice.messages import Channel, Job, Reply
from zsgym.simulators.ngspice.process import ProcessEngine, die_with_parent


def main(connection: int, engine_name: str, executable: str, scratch: str | None) -> None:
    """Serve the socket `connection` until its other end is closed. `Worker` starts this.

    :param scratch: folder for the files of the process engine; the library engine writes none.
    """
    parent = Channel(socket.socket(fileno=connection))
    os.set_inheritable(connection, False)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent that ignores it would make children unobservable here
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must leave no file behind
    folder = Path(scratch) if scratch is not None else None
    try:
        _serve(parent, _start_engine(engine_name, executable, folder), folder)
    except (EOFError, KeyboardInterrupt):
        return
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start_engine(name: str, executable: str, folder: Path | None) -> Engine | SimulatorError:
    """The engine, or the error that takes the place of the greeting."""
    try:
        return LibraryEngine() if name == "library" else ProcessEngine(executable, folder)
    except SimulatorError as error:
        return error
    except OSError as error:
        return SimulatorError(f"the {name} engine cannot start: {error}; TMPDIR must name a folder that can be written")


def _serve(parent: Channel, engine: Engine | SimulatorError, folder: Path | None) -> None:
    """Answer jobs. :raises EOFError: the parent is gone."""
    greeted = False
    while True:
        job = _unpack(parent.receive())
        if isinstance(engine, SimulatorError):
            parent.send(pickle.dumps(Reply(error=engine)))
            return
        if not greeted:
            _silence()
            parent.send(pickle.dumps(Reply()))  # the greeting: from now on the parent measures the time of each job
            greeted = True
        parent.send(_run_in_fork(engine, job, parent) if not isinstance(job, Reply) else pickle.dumps(job))
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)  # what a killed child has left


def _unpack(message: bytes) -> Job | Reply:
    """The job, prepared here so that no child has to, or the reply that says why there is none."""
    try:
        job: Job = pickle.loads(message)
        job.prepare()
    except Exception as error:
        return Reply(error=SimulatorError(f"the worker cannot prepare the simulation: {error!r}"))
    return job


def _silence() -> None:
    """What is printed while the worker starts is for the parent; what ngspice prints afterwards is for nobody."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.close(null)


def _run_in_fork(engine: Engine, job: Job, parent: Channel) -> bytes:
    """The pickled reply of a child, or of the crash that replaced it.

    :raises EOFError: the parent is gone, and with it all interest in the answer; so is the child then.
    """
    server = os.getpid()
    try:
        ours, theirs = Channel.pair()
        child = os.fork()
    except OSError as error:
        return pickle.dumps(Reply(error=SimulatorError(f"no process could be started for the simulation: {error}")))
    if child == 0:
        ours.close()
        parent.close()
        _run_child(engine, job, theirs, server)
    theirs.close()
    with contextlib.closing(ours):
        # The parent sends nothing while it waits for an answer, so what can be read from it then is its end.
        if parent.fileno() in wait([ours.fileno(), parent.fileno()]):
            os.kill(child, signal.SIGKILL)
            _reap(child)
            raise EOFError("the parent is gone")
        with contextlib.suppress(EOFError):
            answer = ours.receive()
            _reap(child)
            return answer
    status = os.waitstatus_to_exitcode(_reap(child))
    cause = f"signal {-status}" if status < 0 else f"status {status}"
    return pickle.dumps(Reply(error=SimulatorCrashError(f"the simulating process died ({cause}) before it answered")))


def _run_child(engine: Engine, job: Job, answers: Channel, server: int) -> None:
    """Runs in the child and never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        die_with_parent(server)
        answers.send(_answer(engine, job))
        status = 0
    finally:
        os._exit(status)


def _answer(engine: Engine, job: Job) -> bytes:
    """The pickled reply to a job. Whatever goes wrong is an error of the infrastructure, never a label."""
    try:
        return pickle.dumps(Reply(answer=job.run(engine)))
    except SimulatorError as error:
        return pickle.dumps(Reply(error=error))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        return pickle.dumps(Reply(error=SimulatorError(f"the evaluation failed: {cause}")))


def _reap(child: int) -> int:
    """Wait for the end of a child and kill what it has started and left behind; its wait status."""
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # until it is reaped, its process group cannot be another's
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]
