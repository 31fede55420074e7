"""The one way in which a simulator is asked: answers are checked, errors set apart, budgets kept, rows written.

    with Evaluator(make_simulator("ngspice", circuit), log="samples", budget=400) as evaluator:
        outcomes = evaluator.evaluate(circuit.cases(sizings))

Environments, data generators, relabelling and searches differ in what they do with an answer, and in nothing before it.

Work is spread by the simulator's own workers, or over any `concurrent.futures` executor (a process pool, a cluster's
client): then every worker of the executor keeps a simulator of its own, made from a pickled copy of this one.
"""

from __future__ import annotations

import functools
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Self

from zsgym.base.errors import (
    ConfigError,
    SampleLogError,
    SimulatorError,
    SimulatorMissingError,
    SimulatorOutputError,
    ZsgymError,
)
from zsgym.base.paths import log_dir
from zsgym.circuits import Cases, Circuit
from zsgym.samples import ErrorRecord, Sample, SampleLog
from zsgym.simulators.base import Simulator, TargetAware, policy_name
from zsgym.simulators.outcome import Outcome, Status

LogPlace = bool | str | os.PathLike[str]
"""Where rows are written: True for the default log directory, False for nowhere, or a directory."""

_CASES_PER_TASK = 8
"""Cases that a worker of an executor gets at a time: few, so that a slow one does not keep all others waiting."""


class BudgetSpent(ZsgymError):  # noqa: N818 (a signal more than an error, like StopIteration)
    """The budget does not cover what was asked. What it covered has been evaluated and logged: see `outcomes`."""

    def __init__(self, budget: int, outcomes: Sequence[Outcome] = ()) -> None:
        super().__init__(f"the budget of {budget} simulations is spent")
        self.outcomes = list(outcomes)


class Evaluator:
    """Asks one simulator about cases of one circuit.

    :param simulator: of the circuit; closed with the evaluator unless `owns_simulator` is false.
    :param log: where every answer is kept as a row, see `LogPlace`.
    :param policy: name of the verdict policy that labels the rows; None means the simulator's.
    :param budget: number of cases after which `evaluate` raises; None for no limit.
    :param executor: spreads cases over its workers; None leaves that to the simulator.
    :param context: fields that all rows have in common (env_id, strategy, seed, ...).
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        log: LogPlace = False,
        policy: str | None = None,
        budget: int | None = None,
        executor: Executor | None = None,
        owns_simulator: bool = True,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        if budget is not None and budget < 1:
            raise ConfigError(f"the budget must be at least one simulation, got {budget}")
        check_log_place(log)
        self.simulator, self.budget, self.policy = simulator, budget, policy
        self.count = 0
        """Cases answered so far; what the infrastructure failed to answer is not among them."""
        self.context = dict(context or {})
        directory = log_dir() if log is True else log
        self.log = None if directory is False else SampleLog(directory)
        self._executor, self._owns_simulator = executor, owns_simulator
        self._provenance: dict[str, str] | None = None

    @property
    def remaining(self) -> int | None:
        """Simulations left in the budget; None without one."""
        return None if self.budget is None else max(self.budget - self.count, 0)

    @property
    def provenance(self) -> dict[str, str]:
        """Of the answers. Asked for once: a backend may start a process or hash its models to answer."""
        if self._provenance is None:
            self._provenance = dict(self.simulator.provenance)
        return self._provenance

    def evaluate(
        self, cases: Cases, contexts: Sequence[Mapping[str, Any]] | None = None, *, attempts: int = 1
    ) -> list[Outcome]:
        """Ask, record, count.

        :param contexts: fields of each case's row. :param attempts: see `ask`.
        :return: outcomes in order; those that the infrastructure failed to answer only with several attempts.
        :raises BudgetSpent: the budget does not cover all cases; it carries the outcomes of those that it covered.
        :raises SimulatorError: see `ask`; everything that was answered has been logged.
        """
        covered = cases if self.remaining is None else cases[: self.remaining]
        outcomes = self.ask(covered, attempts=attempts, errors="return") if len(covered) else []
        lost = [outcome for outcome in outcomes if outcome.label is None]
        if lost and len(lost) == len(outcomes):  # there is no infrastructure, about which one error says everything
            raise error_of(lost[0], self.simulator)
        self.record(covered, outcomes, contexts[: len(covered)] if contexts is not None else None)
        if lost and attempts == 1:
            raise error_of(lost[0], self.simulator)
        if len(covered) < len(cases):
            raise BudgetSpent(self.budget or 0, outcomes)
        return outcomes

    def ask(
        self,
        cases: Cases,
        targets: Sequence[Mapping[str, float]] | None = None,
        *,
        attempts: int = 1,
        errors: str = "raise",
    ) -> list[Outcome]:
        """Outcomes in order, checked; nothing is recorded yet.

        :param targets: of each case, SI: specs that will be judged, for simulators that want to know.
        :param attempts: how often a case is asked while the infrastructure fails to answer it.
        :param errors: raise the first infrastructure error, or return outcomes without a label.
        :raises SimulatorOutputError: the simulator broke its contract.
        """
        outcomes: list[Outcome | None] = [None] * len(cases)
        pending = list(range(len(cases)))
        for _ in range(attempts):
            wanted = None if targets is None else [targets[row] for row in pending]
            asked = cases if len(pending) == len(cases) else cases[pending]
            for row, outcome in zip(pending, self._answers(asked, wanted), strict=True):
                outcomes[row] = outcome
            pending = [row for row in pending if outcomes[row].status is Status.INFRASTRUCTURE_ERROR]  # type: ignore[union-attr]
            if not pending or any(isinstance(outcomes[row].error, SimulatorMissingError) for row in pending):  # type: ignore[union-attr]
                break
        pending = [row for row, outcome in enumerate(outcomes) if outcome is not None and outcome.label is None]
        answered = [outcome for outcome in outcomes if outcome is not None]
        if pending and errors == "raise":
            raise error_of(answered[pending[0]], self.simulator)
        self.count += len(cases) - len(pending)
        return answered

    def record(
        self, cases: Cases, outcomes: Sequence[Outcome], contexts: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Sample | None]:
        """Append one row per answer, by one write; infrastructure errors go to the records beside the rows.

        :param contexts: further fields of each row. :return: the rows as stored; None for an error, or without a log.
        :raises SampleLogError: a row could not be written.
        """
        if self.log is None or not len(cases):
            return [None] * len(cases)
        rows: list[Sample | None] = []
        for case, outcome, context in zip(cases, outcomes, contexts or [{}] * len(cases), strict=True):
            fields = {**self.context, **context}
            if outcome.label is None:
                self.log.append_error(ErrorRecord.from_outcome(cases.circuit, case, outcome, **_of_errors(fields)))
                rows.append(None)
            else:
                rows.append(self._row(cases, case, outcome, fields))
        stored = iter(self.log.append_many(row for row in rows if row is not None))
        return [None if row is None else next(stored) for row in rows]

    def record_errors(
        self,
        cases: Cases,
        outcomes: Sequence[Outcome],
        error: SimulatorError,
        contexts: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Record what nobody could answer, outside the samples; `error` is what will be raised for it."""
        lost = [row for row, outcome in enumerate(outcomes) if outcome.label is None]
        try:
            self.record(
                cases[lost], [outcomes[row] for row in lost], [contexts[row] for row in lost] if contexts else None
            )
        except SampleLogError as log_error:
            # The simulator's failure is what the caller must hear about first.
            error.add_note(f"It could not be written to the sample log either: {log_error}")

    def close(self) -> None:
        """Close the log, and the simulator if it is the evaluator's. Safe to call twice."""
        if self.log is not None:
            self.log.close()
        if self._owns_simulator:
            self.simulator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _row(self, cases: Cases, case: Any, outcome: Outcome, fields: Mapping[str, Any]) -> Sample:
        if self.policy is None:
            self.policy = policy_name(self.simulator, cases.circuit)
        return Sample.from_outcome(
            cases.circuit, case, outcome, provenance=self.provenance, policy=self.policy, **fields
        )

    def _answers(self, cases: Cases, targets: Sequence[Mapping[str, float]] | None) -> list[Outcome]:
        if self._executor is not None:
            outcomes = self._spread(self._executor, cases, targets)
        else:
            outcomes = _simulate(self.simulator, cases, targets)
        if len(outcomes) != len(cases):
            raise SimulatorOutputError(f"{self.simulator.name} gave {len(outcomes)} outcomes for {len(cases)} cases")
        for outcome in outcomes:
            _check(outcome, cases.circuit, self.simulator.name)
        return outcomes

    def _spread(self, executor: Executor, cases: Cases, targets: Sequence[Mapping[str, float]] | None) -> list[Outcome]:
        copy = pickle.dumps(self.simulator)
        parts = [slice(start, start + _CASES_PER_TASK) for start in range(0, len(cases), _CASES_PER_TASK)]
        futures: list[Future[list[Outcome]]] = []
        try:
            for part in parts:
                futures.append(_submit(executor, copy, cases[part], None if targets is None else targets[part]))
            return [
                outcome
                for future, part in zip(futures, parts, strict=True)
                for outcome in _result(future, len(cases[part]))
            ]
        finally:
            for future in futures:
                future.cancel()  # nobody waits any longer for what was interrupted


def check_log_place(log: LogPlace) -> None:
    """:raises ConfigError: it is not a place for a log."""
    if not isinstance(log, bool | str | os.PathLike) or log == "":
        raise ConfigError(f"log must be True, False or a directory, got {log!r}")


def error_of(outcome: Outcome, simulator: Simulator) -> SimulatorError:
    """The infrastructure error that an outcome without a label stands for."""
    return outcome.error or SimulatorError(f"{simulator.name} failed without giving a reason")


@functools.lru_cache(maxsize=4)
def _unpickled(copy: bytes) -> Simulator:
    """One simulator for each worker of an executor, however many tasks it gets."""
    return pickle.loads(copy)  # type: ignore[no-any-return]


def _simulate(simulator: Simulator, cases: Cases, targets: Sequence[Mapping[str, float]] | None) -> list[Outcome]:
    if targets is not None and isinstance(simulator, TargetAware):
        return simulator.simulate_for(targets, cases, errors="return")
    return simulator.simulate(cases, errors="return")


def _simulate_elsewhere(copy: bytes, cases: Cases, targets: Sequence[Mapping[str, float]] | None) -> list[Outcome]:
    return _simulate(_unpickled(copy), cases, targets)


def _submit(
    executor: Executor, copy: bytes, cases: Cases, targets: Sequence[Mapping[str, float]] | None
) -> Future[list[Outcome]]:
    try:
        return executor.submit(_simulate_elsewhere, copy, cases, targets)
    except RuntimeError as error:  # a pool that has lost a worker takes no more tasks
        refused: Future[list[Outcome]] = Future()
        refused.set_exception(error)
        return refused


def _result(future: Future[list[Outcome]], count: int) -> list[Outcome]:
    """The outcomes of one task; a worker that died is an infrastructure error of every case that it had."""
    try:
        return future.result()
    except SimulatorError as error:
        lost = error
    except ZsgymError:
        raise
    except Exception as error:
        lost = SimulatorError(f"a worker of the executor failed: {error!r}")
    return [Outcome(Status.INFRASTRUCTURE_ERROR, error=lost)] * count


def _of_errors(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in ErrorRecord.model_fields}


def _check(outcome: Outcome, circuit: Circuit, backend: str) -> None:
    """A success without all its numbers is the simulator's mistake; it must not reach an agent as a zero or a NaN.

    An optional metric may be undetermined, but not passed over in silence.
    """
    if not outcome.success:
        return
    metrics = outcome.metrics or {}
    bad = [name for name in circuit.metrics.names if not math.isfinite(metrics.get(name, math.nan))]
    if circuit.asked:
        bad = [name for name in bad if name not in circuit.asked or not math.isnan(metrics.get(name, math.inf))]
    if bad:
        raise SimulatorOutputError(f"{backend} reported a success without finite {', '.join(bad)}")
