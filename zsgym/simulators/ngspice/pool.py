"""A pool of worker processes: spreads jobs, kills what hangs, replaces what died, retries a bounded number of times."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsgym.errors import SimulatorCrashError, SimulatorError, SimulatorMissingError, SimulatorTimeoutError
from zsgym.simulators.ngspice.messages import Job, Reply, read_message, write_message

_HOSTILE_VARIABLES = ("SPICE_LIB_DIR", "SPICE_EXEC_DIR", "SPICE_SCRIPTS", "SPICE_PATH", "SPICE_ASCIIRAWFILE")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How workers run. timeout_s is the wall time without an answer after which a worker counts as hung."""

    engine: str = "library"
    executable: str = "ngspice"
    timeout_s: float = 120.0
    retries: int = 2


class Worker:
    """One worker process with its private scratch folder."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._scratch = Path(tempfile.mkdtemp(prefix="zsgym-"))
        command = [sys.executable, "-m", "zsgym.simulators.ngspice.server"]
        command += ["--engine", options.engine, "--executable", options.executable, "--scratch", str(self._scratch)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(self._scratch),
            start_new_session=True,  # an interrupt from the keyboard is the parent's to handle
        )
        self._finalizer = weakref.finalize(self, _end, self._process, self._scratch, os.getpid())
        try:
            self.version = str(self._receive())
        except SimulatorError:
            self.kill()
            raise

    def ask(self, job: Job) -> Any:
        """Answer of one job.

        :raises SimulatorError: the job failed, or the worker hung or died (it is then no longer `alive`).
        """
        assert self._process.stdin is not None
        try:
            write_message(self._process.stdin.fileno(), job)
        except OSError as error:
            self.kill()
            raise SimulatorCrashError(f"the ngspice worker is gone: {error}") from error
        return self._receive()

    @property
    def alive(self) -> bool:
        """False once the worker was killed or died."""
        return self._finalizer.alive and self._process.poll() is None

    def kill(self) -> None:
        """End the worker and all it started, and remove its scratch folder. Safe to call twice."""
        self._finalizer()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], self._options.timeout_s)
        if not ready:
            self.kill()
            raise SimulatorTimeoutError(f"ngspice gave no answer for {self._options.timeout_s:g} s and was killed")
        try:
            reply = read_message(descriptor)
        except (EOFError, OSError) as error:
            self.kill()
            raise SimulatorCrashError("the ngspice worker died before it had answered") from error
        assert isinstance(reply, Reply)
        if reply.error is not None:
            raise reply.error
        return reply.answer


class WorkerPool:
    """Up to `workers` workers, started when first needed.

    A pool that finds itself in a forked process starts workers of its own instead of using those of its parent.
    """

    def __init__(self, workers: int, options: WorkerOptions) -> None:
        self.workers = workers
        self.options = options
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._owner = os.getpid()

    def version(self) -> str:
        """Version of ngspice, as a worker reports it."""
        worker = self._take()
        self._give_back(worker)
        return worker.version

    def map(self, jobs: Sequence[Job]) -> list[Any | SimulatorError]:
        """The answer of every job, in order; a job that failed for good is answered by its error."""
        if len(jobs) <= 1 or self.workers == 1:
            return [self._answer(job) for job in jobs]
        with ThreadPoolExecutor(min(self.workers, len(jobs))) as threads:
            return list(threads.map(self._answer, jobs))

    def close(self) -> None:
        """Kill all workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():
            for worker in idle:
                worker.kill()

    def _answer(self, job: Job) -> Any | SimulatorError:
        for attempt in range(self.options.retries + 1):
            worker: Worker | None = None
            try:
                worker = self._take()
                return worker.ask(job)
            except SimulatorMissingError as error:
                return error
            except SimulatorError as error:
                if attempt == self.options.retries:
                    return error
            except BaseException:
                # Interrupted in the middle of an answer: this worker must never be asked again.
                if worker is not None:
                    worker.kill()
                raise
            finally:
                if worker is not None:
                    self._give_back(worker)
        raise AssertionError("unreachable")

    def _take(self) -> Worker:
        with self._lock:
            if self._owner != os.getpid():
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
        return Worker(self.options)

    def _give_back(self, worker: Worker) -> None:
        if worker.alive:
            with self._lock:
                self._idle.append(worker)


def _environment(scratch: Path) -> dict[str, str]:
    """The user's environment without what could change ngspice's answers or its number of threads."""
    kept = {name: value for name, value in os.environ.items() if name not in _HOSTILE_VARIABLES}
    package_root = str(Path(__file__).resolve().parents[3])
    search = os.pathsep.join(filter(None, (package_root, kept.get("PYTHONPATH"))))
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **single, "HOME": str(scratch), "LC_ALL": "C", "PYTHONPATH": search}


def _end(process: subprocess.Popen[bytes], scratch: Path, owner: int) -> None:
    """Finalizer of a worker: nothing to do in a process that merely inherited it."""
    if os.getpid() != owner:
        return
    # Closing its pipe makes the worker kill its own child, which lives in a process group of its own.
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(scratch, ignore_errors=True)
