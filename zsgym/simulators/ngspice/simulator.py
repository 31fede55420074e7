"""The ngspice backend behind the `Simulator` contract."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from zsgym.circuits import Circuit
from zsgym.errors import ConfigError, SimulatorError
from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status
from zsgym.pdk import load_corner, models_hash
from zsgym.simulators.ngspice.amplifier import AmplifierJob, Measurement
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool
from zsgym.verdict import judge, metrics_of


class NgspiceSimulator:
    """Simulates sizings of one circuit in ngspice.

    :param circuit: which circuit.
    :param workers: how many sizings are simulated at the same time, each in a process of its own.
    :param policy: name of the circuit's verdict policy.
    :param engine: `library` (libngspice, fast) or `process` (one ngspice program per launch).
    :param executable: program for the process engine.
    :param timeout_s: wall time without an answer after which a worker is killed: an infrastructure error, not a label.
    :param keep_waveforms: simulate the step response of failures too, and keep all waveforms (see `measure`).
    """

    name = "ngspice"

    def __init__(
        self,
        circuit: Circuit,
        *,
        workers: int = 1,
        policy: str = "functional",
        engine: Literal["library", "process"] = "library",
        executable: str = "ngspice",
        timeout_s: float = 120.0,
        keep_waveforms: bool = False,
    ) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        if policy not in circuit.verdict_policies:
            raise ConfigError(
                f"unknown verdict policy {policy!r}; {circuit.name} has: {', '.join(circuit.verdict_policies)}"
            )
        self.circuit = circuit
        self.policy = circuit.verdict_policies[policy]
        self._keep_waveforms = keep_waveforms
        self._pool = WorkerPool(workers, WorkerOptions(engine, executable, timeout_s))
        self._nets = (*circuit.subcircuit.nets,)

    @property
    def provenance(self) -> Mapping[str, str]:
        """Version of ngspice, and a hash of the models at the default corner, which names the model library."""
        return {"ngspice": self._pool.version(), "models": models_hash(self.circuit.conditions.corner)}

    def simulate(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        """See `Simulator.simulate`."""
        return [self.outcome(answer) for answer in self.measure(sizings, conditions, errors=errors)]

    def measure(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "return",
    ) -> list[Measurement | SimulatorError | None]:
        """What ngspice measured, before any verdict; None for a sizing outside the model bins.

        With `keep_waveforms`, each measurement holds the vectors of every analysis that ran, by analysis and vector
        name: operating_point (one value per net, V), open_loop and closed_loop (frequency in Hz, complex node
        voltages), hot and cold (temperature sweeps, outwards), transient (time in s, output in V).
        """
        conditions = conditions or self.circuit.conditions
        models = load_corner(conditions.corner)
        netlists = [size_netlist(self.circuit, self.circuit.validate(sizing), models) for sizing in sizings]
        jobs = [
            AmplifierJob(netlist, self._nets, conditions, self.policy, self._keep_waveforms)
            for netlist in netlists
            if netlist is not None
        ]
        answers = iter(self._pool.map(jobs, fail_fast=errors == "raise"))
        return [None if netlist is None else next(answers) for netlist in netlists]

    def outcome(self, answer: Measurement | SimulatorError | None) -> Outcome:
        """What one answer of `measure` amounts to under this simulator's verdict policy."""
        if isinstance(answer, SimulatorError):
            return Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=answer)
        if answer is None:
            return Outcome(Status.CIRCUIT_FAILURE, Failure.GEOMETRY, backend=self.name)
        failure = judge(answer.raw, self.policy)
        common: dict[str, Any] = {
            "raw": answer.raw,
            "operating_points": answer.operating_points,
            "backend": self.name,
            "elapsed_s": math.fsum(answer.stages.values()),
        }
        if failure is not None:
            return Outcome(Status.CIRCUIT_FAILURE, failure, **common)
        return Outcome(Status.SUCCESS, metrics=metrics_of(answer.raw), **common)

    def close(self) -> None:
        """End all workers; the next call of `simulate` starts new ones."""
        self._pool.close()

    def __enter__(self) -> "NgspiceSimulator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
