"""One worker process, seen from its parent: how it is started, asked and ended."""

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from zsgym.base.errors import (
    ConfigError,
    SimulatorCrashError,
    SimulatorError,
    SimulatorOutputError,
    SimulatorTimeoutError,
)
from zsgym.simulators.ngspice.messages import Channel, Reply
from zsgym.simulators.ngspice.process import clean_environment, find_executable

EngineName = Literal["library", "process"]

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[3])
_PYTHON_FLAGS = ("-I", "-S", *(("-B",) if sys.dont_write_bytecode else ()))
_NO_FOLDER = "/proc"
"""Working and home folder of workers: one in which nobody, not even root, can put a `.spiceinit`."""
_START_TIMEOUT_S = 60.0  # starting takes about half a second of processor time
_LONGEST_TIMEOUT_S = 1e6
# A worker notices the end of its connection at once, unless it was stopped, or is starting and has nothing to clean up.
_GRACE_S = 1.0
_START_GRACE_S = 0.1


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How workers run.

    executable: program for the process engine. timeout_s: wall time without an answer after which a worker counts as
    hung and is killed. retries: how often a job is tried again after an infrastructure error, a hang included.
    """

    engine: EngineName = "library"
    executable: str = "ngspice"
    timeout_s: float = 120.0
    retries: int = 2

    def __post_init__(self) -> None:
        if self.engine not in get_args(EngineName):
            raise ConfigError(
                f"unknown ngspice engine {self.engine!r}; choose one of: {', '.join(get_args(EngineName))}"
            )
        if not 0.0 < self.timeout_s <= _LONGEST_TIMEOUT_S:
            raise ConfigError(
                f"timeout_s must be positive and at most {_LONGEST_TIMEOUT_S:g} seconds, not {self.timeout_s!r}"
            )
        if self.retries < 0:
            raise ConfigError(f"retries must not be negative, got {self.retries!r}")


class Worker:
    """One worker process. It answers one job at a time; after any failure to answer it is dead.

    :raises SimulatorError: no process could be started, or there is no ngspice to start (`SimulatorMissingError`).
    """

    def __init__(self, options: WorkerOptions) -> None:
        self._timeout_s = options.timeout_s
        self._deadline = 0.0
        self.started = False
        self._channel, other_end = Channel.pair()
        try:
            executable = find_executable(options.executable) if options.engine == "process" else ""
            scratch = _scratch_folder() if options.engine == "process" else None
            arguments = (other_end.fileno(), options.engine, executable, scratch and str(scratch))
            self._process = subprocess.Popen(
                [sys.executable, *_PYTHON_FLAGS, "-c", _program(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[other_end.fileno()],
                cwd=_NO_FOLDER,
                env=clean_environment(_NO_FOLDER),
                start_new_session=True,  # an interrupt from the keyboard is the parent's to handle
            )
        except OSError as error:
            self._channel.close()
            raise SimulatorError(f"no worker process could be started: {error}") from error
        except SimulatorError:
            self._channel.close()
            raise
        finally:
            other_end.close()
        self._scratch = scratch
        self._end = weakref.finalize(self, _end, self._process, self._channel, scratch, _START_GRACE_S)
        _workers.add(self)

    def fileno(self) -> int:
        """File descriptor that becomes readable when an answer, or the end of the worker, has come."""
        return self._channel.fileno()

    @property
    def alive(self) -> bool:
        """False once the worker was killed or died."""
        return self._end.alive and self._process.poll() is None

    @property
    def seconds_left(self) -> float:
        """Until the worker counts as hung."""
        return self._deadline - time.monotonic()

    def ask(self, job: bytes) -> None:
        """Send a pickled job. :raises SimulatorError: the worker is gone or does not listen."""
        limit = self._timeout_s if self.started else max(self._timeout_s, _START_TIMEOUT_S)
        self._deadline = time.monotonic() + limit
        try:
            self._channel.send(job, limit)
        except (EOFError, TimeoutError) as error:
            raise self._failure(error) from error

    def greet(self) -> None:
        """Take the message with which a worker says that it has started; from now on the job's time runs.

        :raises SimulatorError: it could not start, and is not `alive` any more.
        """
        try:
            self.answer()
        except SimulatorError:
            self.kill()
            raise
        self.started = True
        self._deadline = time.monotonic() + self._timeout_s
        impatient = self._end
        self._end = weakref.finalize(self, _end, self._process, self._channel, self._scratch, _GRACE_S)
        impatient.detach()

    def answer(self) -> Any:
        """The answer to the job, once `fileno` is readable or no seconds are left.

        :raises SimulatorError: the job failed, or the worker hung or died (it is then no longer `alive`).
        """
        try:
            message = self._channel.receive(self.seconds_left)
        except (EOFError, TimeoutError) as error:
            raise self._failure(error) from error
        try:
            reply = pickle.loads(message)
        except Exception as error:
            self.kill()
            raise SimulatorOutputError(f"the answer of the ngspice worker cannot be read: {error!r}") from error
        assert isinstance(reply, Reply)
        if reply.error is not None:
            raise reply.error
        return reply.answer

    def hang_up(self) -> None:
        """Have the worker end; may be called while another thread waits for its answer."""
        self._channel.hang_up()

    def kill(self) -> None:
        """End the worker and all that it started, and remove its files. Safe to call twice."""
        self._end()

    def forget(self) -> None:
        """For a forked process, whose parent owns this worker: drop what was inherited, and leave the worker alone."""
        self._end.detach()
        self._channel.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process.returncode = 0  # not a child of this process: Popen has nothing to wait for

    def _failure(self, error: Exception) -> SimulatorError:
        complaint = self._end() or ""
        if isinstance(error, TimeoutError):
            what = f"gave no answer for {self._timeout_s:g} s" if self.started else "did not start"
            return SimulatorTimeoutError(f"ngspice {what} and was killed {complaint}".strip())
        status = self._process.returncode  # None while another thread ends the worker
        cause = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        return SimulatorCrashError(f"the ngspice worker ended ({cause}) before it had answered {complaint}".strip())


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _forget_workers_of_parent() -> None:
    for worker in list(_workers):
        worker.forget()
    _workers.clear()


# A worker ends when nobody holds the other end of its connection: a forked process must not.
os.register_at_fork(after_in_child=_forget_workers_of_parent)


def _program(arguments: tuple[object, ...]) -> str:
    """What the worker's Python runs.

    It sees the modules that this process sees, but the standard library first, so that no file of the user's can pass
    for one of its modules, then this very package, whatever other version may be installed.
    """
    path = [_PACKAGE_ROOT, *(entry for entry in sys.path if os.path.isabs(entry))]
    return (
        f"import sys; sys.path += {path!r}; import site; site.main(); "
        f"from zsgym.simulators.ngspice.server import main; main{arguments!r}"
    )


def _scratch_folder() -> Path:
    """A folder for the worker to create: known here before it exists, so that it is removed whoever dies first."""
    try:
        return Path(tempfile.gettempdir()) / f"zsgym-{uuid.uuid4().hex}"
    except OSError as error:
        raise SimulatorError(f"{error}; TMPDIR must name a folder that can be written") from error


def _end(process: subprocess.Popen[bytes], channel: Channel, scratch: Path | None, grace_s: float) -> str:
    """Finalizer of a worker. Returns what it complained of while it started."""
    channel.close()  # the worker ends, and ends its child, when it notices
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for _ in range(20):  # an ngspice that is being killed may still write
        if scratch is None or not scratch.exists():
            break
        shutil.rmtree(scratch, ignore_errors=True)
        time.sleep(0.01)
    assert process.stderr is not None
    with process.stderr as stream:
        os.set_blocking(stream.fileno(), False)
        return (stream.read() or b"").decode(errors="replace")[-400:]
