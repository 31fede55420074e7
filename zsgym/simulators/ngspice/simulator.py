"""The ngspice backend behind the `Simulator` contract."""

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal

from zsgym.base.errors import ConfigError, SimulatorError
from zsgym.circuits import DEFAULT_VERDICT, Cases, Circuit
from zsgym.classes import Failure
from zsgym.pdk import load_corner, models_hash
from zsgym.simulators.base import Errors
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.ngspice.job import BenchJob, Measurement
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool
from zsgym.simulators.outcome import Outcome, Status


class NgspiceSimulator:
    """Simulates cases of one circuit in ngspice.

    :param circuit: which circuit.
    :param workers: how many cases are simulated at the same time, each in a process of its own.
    :param policy: name of the circuit's verdict policy.
    :param engine: `library` (libngspice, fast) or `process` (one ngspice program per launch).
    :param executable: program for the process engine.
    :param timeout_s: wall time without an answer after which a worker is killed: an infrastructure error, not a label.
    :param keep_waveforms: run every stage of failures too, and keep all waves (see `measure`).
    """

    name = "ngspice"

    def __init__(
        self,
        circuit: Circuit,
        *,
        workers: int = 1,
        policy: str = DEFAULT_VERDICT,
        engine: Literal["library", "process"] = "library",
        executable: str = "ngspice",
        timeout_s: float = 120.0,
        keep_waveforms: bool = False,
    ) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        self.circuit = circuit
        self.policy = circuit.policy(policy)
        self._keep_waveforms = keep_waveforms
        self._pool = WorkerPool(workers, WorkerOptions(engine, executable, timeout_s))

    def for_circuit(self, circuit: Circuit, policy: str = DEFAULT_VERDICT) -> "NgspiceSimulator":
        """A simulator of another circuit that uses the same workers: to close either ends those of both."""
        other = copy.copy(self)
        other.circuit, other.policy = circuit, circuit.policy(policy)
        return other

    @property
    def provenance(self) -> Mapping[str, str]:
        """Version of ngspice, and a hash of the models at the default corner, which names the model library."""
        return {"ngspice": self._pool.version(), "models": models_hash(self.circuit.conditions.corner)}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        """See `Simulator.simulate`."""
        return [self.outcome(answer) for answer in self.measure(cases, errors=errors)]

    def measure(self, cases: Cases, *, errors: Errors = "return") -> list[Measurement | SimulatorError | None]:
        """What ngspice measured, before any verdict; None for a sizing outside the models.

        With `keep_waveforms`, each measurement holds the waves of every analysis that ran, by the names of the class's
        testbench; the first operating point has a value (V) for every net of the circuit.
        """
        asked = cases.circuit.asked_of_simulators
        jobs = [self._job(case.sizing, case.conditions, asked) for case in cases]
        found = iter(self._pool.map([job for job in jobs if job is not None], fail_fast=errors == "raise"))
        answers = [None if job is None else next(found) for job in jobs]
        if cases.circuit.asked:
            for sizing, answer in zip(cases.sizings, answers, strict=True):
                if isinstance(answer, Measurement):
                    answer.raw |= cases.circuit.closed_form(sizing)
        return answers

    def _job(self, sizing: Mapping[str, float], conditions: Any, asked: tuple[str, ...]) -> BenchJob | None:
        netlist = size_netlist(self.circuit, sizing, load_corner(conditions.corner))
        if netlist is None:
            return None
        complete = self._keep_waveforms
        bench = self.circuit.circuit_class.bench(self.circuit.subcircuit, conditions, self.policy, complete=complete)
        if asked:
            bench = self.circuit.circuit_class.asking(bench, asked)
        return BenchJob(netlist, bench, complete)

    def outcome(self, answer: Measurement | SimulatorError | None) -> Outcome:
        """What one answer of `measure` amounts to under this simulator's verdict policy."""
        if isinstance(answer, SimulatorError):
            return Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=answer)
        if answer is None:
            return Outcome(Status.CIRCUIT_FAILURE, Failure.GEOMETRY, backend=self.name)
        circuit_class = self.circuit.circuit_class
        failure = circuit_class.judge(answer.raw, self.policy)
        common: dict[str, Any] = {
            "raw": answer.raw,
            "operating_points": answer.operating_points,
            "backend": self.name,
            "elapsed_s": math.fsum(answer.stages.values()),
        }
        if failure is not None:
            return Outcome(Status.CIRCUIT_FAILURE, failure, **common)
        return Outcome(Status.SUCCESS, metrics=circuit_class.metrics_of(answer.raw), **common)

    def close(self) -> None:
        """End all workers; the next call of `simulate` starts new ones."""
        self._pool.close()

    def __enter__(self) -> "NgspiceSimulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
