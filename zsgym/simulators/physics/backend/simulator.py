"""The physics backend: what the circuit's own equations say of a sizing, in milliseconds, with nothing trained."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym import __version__
from zsgym.base.errors import UndecidedError
from zsgym.circuits import DEFAULT_VERDICT, Cases, Circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes import Conditions, Failure
from zsgym.classes.circuit_class import Bench
from zsgym.classes.testbench import Testbench
from zsgym.classes.verdict import first_shown
from zsgym.pdk import models_hash
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status
from zsgym.simulators.physics.backend.bench import SUPPORTED, Answer, Batch, system_of
from zsgym.simulators.physics.compiling import is_kept
from zsgym.simulators.physics.nodal import newton
from zsgym.simulators.physics.system import System

_LARGEST = 128
"""Cases that are solved together: more would only take memory."""


class PhysicsSimulator:
    """Solves cases of one circuit.

    :param circuit: which circuit. :param policy: name of the circuit's verdict policy.
    :param transient: also follow the step response. Without it a sizing that fails for small signals is answered, and
        any other is undecided.

    Answers are predictions: rows of a log wait for ngspice as those of a surrogate do. A sizing for which an equation
    has no solution is `undecided`, never a failure.
    """

    name = "physics"

    def __init__(self, circuit: Circuit, *, policy: str = DEFAULT_VERDICT, transient: bool = True) -> None:
        self.circuit = circuit
        self.policy = circuit.policy(policy)
        self.transient = transient
        self.solved = 0
        """Cases that were answered so far."""
        self._systems: dict[tuple[object, ...], System] = {}

    @staticmethod
    def why_not(circuit: Circuit) -> str | None:
        """Why a circuit cannot be answered, or what it is asked for; None where it can."""
        bench = circuit.circuit_class.bench(circuit.subcircuit, circuit.conditions, circuit.policy(DEFAULT_VERDICT))
        analyses = [analysis for stage in bench.testbench.stages for analysis in stage.analyses]
        unknown = sorted({type(analysis).__name__ for analysis in analyses if not isinstance(analysis, SUPPORTED)})
        return f"the physics backend knows no analysis {', '.join(unknown)}" if unknown else None

    @property
    def provenance(self) -> Mapping[str, str]:
        """Version of zsgym with a hash of the equations, and a hash of the models at the default corner."""
        return {"physics": f"{__version__}+{_equations()}", "models": models_hash(self.circuit.conditions.corner)}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        """See `Simulator.simulate`. :raises UndecidedError: there is no answer, with errors="raise"."""
        outcomes: list[Outcome | None] = [None] * len(cases)
        inside = inside_models(self.circuit, cases.vectors) if len(cases) else np.zeros(0, dtype=bool)
        groups: dict[Conditions, list[int]] = {}
        for row, conditions in enumerate(cases.conditions):
            if inside[row]:
                groups.setdefault(conditions, []).append(row)
            else:
                outcomes[row] = Outcome(Status.CIRCUIT_FAILURE, Failure.GEOMETRY, backend=self.name)
        for conditions, rows in groups.items():
            for start in range(0, len(rows), _LARGEST):
                part = rows[start : start + _LARGEST]
                for row, outcome in zip(part, self._solve(cases.vectors[part], conditions), strict=True):
                    outcomes[row] = outcome
        self.solved += len(cases)
        answered = [outcome for outcome in outcomes if outcome is not None]
        lost = next((outcome.error for outcome in answered if outcome.error is not None), None)
        if lost is not None and errors == "raise":
            raise lost
        return answered

    def batch(self, vectors: NDArray[np.float64], conditions: Conditions, *, complete: bool = False) -> Batch:
        """Sizings in their testbench, not yet run: for callers that want waves, or time, rather than outcomes.

        :param vectors: (B, n) sizings. :param complete: run every stage, also those that cannot change the verdict.
        """
        bench = self._bench(conditions, complete)
        _announce_compilation()
        system = self._system(bench.testbench)
        return Batch(self.circuit, system, vectors, bench, conditions.corner, transient=self.transient)

    def close(self) -> None:
        """Nothing to release."""

    def _bench(self, conditions: Conditions, complete: bool = False) -> Bench:
        circuit_class, asked = self.circuit.circuit_class, self.circuit.asked_of_simulators
        bench = circuit_class.bench(self.circuit.subcircuit, conditions, self.policy, complete=complete)
        return circuit_class.asking(bench, asked) if asked else bench

    def _system(self, testbench: Testbench) -> System:
        """The wiring: whatever the conditions, it is the same as long as the testbench's elements are."""
        key = tuple((type(element).__name__, *_nodes(element)) for element in testbench.elements)
        if key not in self._systems:
            self._systems[key] = system_of(self.circuit, testbench)
        return self._systems[key]

    def _solve(self, vectors: NDArray[np.float64], conditions: Conditions) -> list[Outcome]:
        started = time.perf_counter()
        batch = self.batch(vectors, conditions)
        answers = batch.run()
        if self.circuit.asked:
            for answer, vector in zip(answers, vectors, strict=True):
                answer.raw |= self.circuit.closed_form(self.circuit.sizing(vector))
        elapsed = (time.perf_counter() - started) / len(answers)
        covered = zip(answers, batch.covered, strict=True)
        return [self.outcome(answer if known else None, elapsed) for answer, known in covered]

    def outcome(self, answer: Answer | None, elapsed_s: float = 0.0) -> Outcome:
        """What an answer amounts to under this simulator's verdict policy; None stands for a size without a model."""
        if answer is None:
            return Outcome(Status.CIRCUIT_FAILURE, Failure.GEOMETRY, backend=self.name, elapsed_s=elapsed_s)
        circuit_class = self.circuit.circuit_class
        common: dict[str, Any] = {
            "raw": {"converged": 1.0} | answer.raw,
            "operating_points": answer.devices,
            "backend": self.name,
            "elapsed_s": elapsed_s,
        }
        if not answer.solved:
            common["raw"] = answer.raw
            return self._undecided(common, "an analysis has not converged")
        if answer.missing:
            shown = first_shown(circuit_class.checks(self.policy), common["raw"])
            if shown is None:
                return self._undecided(common, f"it has no answer to the stage {', '.join(answer.missing)}")
            return Outcome(Status.CIRCUIT_FAILURE, shown.failure, **common)
        failure = circuit_class.judge(common["raw"], self.policy)
        if failure is not None:
            return Outcome(Status.CIRCUIT_FAILURE, failure, **common)
        return Outcome(Status.SUCCESS, metrics=circuit_class.metrics_of(common["raw"]), **common)

    def _undecided(self, common: Mapping[str, Any], why: str) -> Outcome:
        error = UndecidedError(
            f"the physics backend cannot say whether this sizing of {self.circuit.name} works: {why}. "
            'Use backend="hybrid", which asks ngspice then, or backend="ngspice"'
        )
        return Outcome(Status.UNDECIDED, error=error, **common)

    def __enter__(self) -> PhysicsSimulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _nodes(element: object) -> tuple[object, ...]:
    """Name and nodes of an element of a testbench."""
    return tuple(getattr(element, name, None) for name in ("name", "plus", "minus", "feedback", "output"))


def _announce_compilation() -> None:
    if not is_kept(newton):
        print(
            "zsgym: compiling the transistor's equations for this machine: about half a minute, once", file=sys.stderr
        )


@cache
def _equations() -> str:
    """First 8 hex digits of a hash over the backend's sources."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]
