"""A pool of worker processes: spreads jobs, kills what hangs, replaces what died, retries a bounded number of times."""

import os
import pickle
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from zsgym.base.errors import ConfigError, SimulatorError, SimulatorMissingError
from zsgym.simulators.ngspice.engine import Engine
from zsgym.simulators.ngspice.messages import Job
from zsgym.simulators.ngspice.worker import Worker, WorkerOptions

__all__ = ["WorkerOptions", "WorkerPool"]

_CLOSED = "the simulator was closed while it was in use"


class WorkerPool:
    """Up to `workers` workers, started when first needed.

    Calls from several threads are answered one after another. A forked process starts workers of its own instead of
    using those of its parent, and so does a pickled copy.
    """

    def __init__(self, workers: int, options: WorkerOptions) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers!r}")
        self.workers = workers
        self.options = options
        self._set = _WorkerSet(workers, options)
        self._version: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerPool, (self.workers, self.options)

    def version(self) -> str:
        """Version of ngspice, as a worker reports it. :raises SimulatorError: there is none to ask."""
        if self._version is None:
            self._version = str(self.map([_VersionJob()], fail_fast=True)[0])
        return self._version

    def map(self, jobs: Sequence[Job], *, fail_fast: bool = False) -> list[Any | SimulatorError]:
        """The answer of every job, in order; a job that failed for good is answered by its error.

        :param fail_fast: raise the first such error at once instead.
        """
        if self._set.owner != os.getpid():
            self._set = _WorkerSet(self.workers, self.options)
        current = self._set
        waiting = deque(_Task(index, pickle.dumps(job)) for index, job in enumerate(jobs))
        unanswered = SimulatorError(_CLOSED)
        answers: list[Any | SimulatorError] = [unanswered] * len(jobs)
        with current.lock:
            try:
                for task, answer in current.attempts(waiting):
                    if isinstance(answer, SimulatorError):
                        task.failures += 1
                        in_vain = isinstance(answer, SimulatorMissingError) or current.closed
                        if task.failures <= self.options.retries and not in_vain:
                            waiting.appendleft(task)
                            continue
                        if fail_fast:
                            raise answer
                        if in_vain:  # for the others, too
                            answers = [answer if other is unanswered else other for other in answers]
                            waiting.clear()
                    answers[task.index] = answer
            finally:
                # Whoever still works was interrupted in the middle of an answer and must never be asked again.
                current.dismiss(everyone=current.closed)
        return answers

    def close(self) -> None:
        """End all workers, also those that work for another thread, whose jobs are then answered by an error."""
        current, self._set = self._set, _WorkerSet(self.workers, self.options)
        if current.owner == os.getpid():
            current.close()


@dataclass(slots=True)
class _Task:
    index: int
    job: bytes
    failures: int = 0


@dataclass(frozen=True, slots=True)
class _VersionJob:
    def prepare(self) -> None:
        pass

    def run(self, engine: Engine) -> str:
        return engine.version


class _WorkerSet:
    """The workers of one process from the first job to `close`. The thread that uses them holds the lock."""

    def __init__(self, size: int, options: WorkerOptions) -> None:
        self.owner = os.getpid()
        self.lock = threading.RLock()
        self.closed = False
        self._size = size
        self._options = options
        self._idle: list[Worker] = []
        self._busy: dict[Worker, _Task] = {}

    def attempts(self, waiting: deque[_Task]) -> Iterator[tuple[_Task, Any | SimulatorError]]:
        """Work on tasks until none is waiting or in work; each with what came of the attempt, as it comes."""
        while waiting or self._busy:
            while waiting and len(self._busy) < self._size:
                task = waiting.popleft()
                try:
                    self._assign(task)
                except SimulatorError as error:
                    yield task, error
            for worker in self._ready():
                if worker not in self._busy:  # `close` was called meanwhile, by a signal handler
                    continue
                task = self._busy[worker]
                try:
                    if not worker.started:
                        worker.greet()
                        continue
                    answer = worker.answer()
                except SimulatorError as error:
                    answer = error
                self._release(worker)
                yield task, answer

    def dismiss(self, *, everyone: bool) -> None:
        """Kill the workers that have a task, or all."""
        workers = [*self._busy, *(self._idle if everyone else ())]
        self._busy.clear()
        for worker in workers:
            worker.hang_up()  # all of them first, so that they end at the same time
        for worker in workers:
            worker.kill()

    def close(self) -> None:
        """Kill everyone, now and for good."""
        self.closed = True
        for worker in [*self._busy, *self._idle]:
            worker.hang_up()  # wakes the thread that waits for an answer
        with self.lock:
            self.dismiss(everyone=True)

    def _assign(self, task: _Task) -> None:
        if self.closed:
            raise SimulatorError(_CLOSED)
        alive = [worker for worker in self._idle if worker.alive]
        worker = alive.pop() if alive else Worker(self._options)
        self._idle = alive
        self._busy[worker] = task
        try:
            worker.ask(task.job)
        except SimulatorError:
            self._release(worker)
            raise

    def _release(self, worker: Worker) -> None:
        self._busy.pop(worker, None)
        if worker.alive:
            self._idle.append(worker)

    def _ready(self) -> list[Worker]:
        """Workers that have answered, died or run out of time; waits for the first."""
        if not self._busy:
            return []
        soonest = min(worker.seconds_left for worker in self._busy)
        descriptors = [worker.fileno() for worker in self._busy]
        closed = -1 in descriptors  # killed by `close` in a signal handler, or because the program ends
        readable = [-1] if closed else wait(descriptors, max(soonest, 0.0))
        return [worker for worker in self._busy if worker.fileno() in readable or worker.seconds_left <= 0.0]
