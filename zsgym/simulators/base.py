"""The contract that every simulator obeys: a batch of cases in, one three-way outcome each, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import DEFAULT_VERDICT, Cases, Circuit
from zsgym.simulators.outcome import Outcome

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Errors = Literal["raise", "return"]


@runtime_checkable
class Simulator(Protocol):
    """Anything that answers cases of one circuit."""

    name: str
    """Short backend name: ngspice, physics, surrogate or hybrid."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """What produced the answers: versions of ngspice and PDK, or the checkpoint hash."""
        ...

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        """Answer a batch, in order.

        :param cases: of this simulator's circuit, see `Circuit.cases`.
        :param errors: raise an infrastructure error (the default), or return it as an outcome without a label.
        :raises SimulatorError: infrastructure failed, after bounded retries, with errors="raise".
        """
        ...

    def close(self) -> None:
        """Release processes and files. Safe to call twice."""
        ...


@runtime_checkable
class TargetAware(Simulator, Protocol):
    """A simulator whose way of answering depends on which specs its caller will judge; the hybrid is one.

    Who knows the specs (an environment, whose targets may change from episode to episode) calls `simulate_for`;
    `simulate` goes by the simulator's own targets.
    """

    def simulate_for(
        self, targets: Sequence[Mapping[str, float]], cases: Cases, *, errors: Errors = "raise"
    ) -> list[Outcome]:
        """`simulate` for given specs.

        :param targets: of each case, metric -> target in SI units.
        """
        ...


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says about B cases.

    geometry: (B,) inside the transistor models (a closed-form check). p_valid: (B,) calibrated probability that the
    circuit works. valid: (B,) p_valid above the threshold. metrics, low, high: (B, K) value and conformal interval
    in SI units, NaN where not valid. in_distribution: (B,) false where the model was not trained on anything alike.
    elapsed_s: wall time of the batch divided by B, in seconds.
    """

    geometry: BoolArray
    p_valid: FloatArray
    valid: BoolArray
    metrics: FloatArray
    low: FloatArray
    high: FloatArray
    in_distribution: BoolArray
    elapsed_s: float = 0.0


@runtime_checkable
class PredictiveSimulator(Simulator, Protocol):
    """A simulator that predicts, and says how far to trust it."""

    circuit: Circuit
    """The circuit that it knows."""

    def predict(self, cases: Cases) -> Predictions:
        """Predictions as arrays."""
        ...

    def outcomes(self, predictions: Predictions) -> list[Outcome]:
        """The outcomes that these predictions amount to."""
        ...


def policy_name(simulator: object, circuit: Circuit) -> str:
    """Name of the verdict policy by which a simulator decides what works.

    It is its `policy`: a name, or one of the circuit's policies. A simulator without one goes by the default.
    """
    policy = getattr(simulator, "policy", DEFAULT_VERDICT)
    names = (name for name, known in circuit.verdict_policies.items() if policy in (name, known))
    return next(names, DEFAULT_VERDICT)
