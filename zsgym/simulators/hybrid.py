"""The hybrid backend: the surrogate where it can be trusted, ngspice where it cannot.

The surrogate's answer is used when

1. the sizing lies inside its training distribution,
2. its validity is decided: `p_valid` is above `confidence` or below one minus it, and
3. for a working circuit, every spec is decided: no conformal interval contains its target;

or when the sizing is outside the transistor models, which is a closed-form fact. Everything else is simulated, and its
outcome names ngspice as the backend, so that the sample log keeps it as a label.

With a `solver` (the physics backend) there is a rung between the two, which knows every circuit and all conditions: its
answer is used when it has one, and when no spec of a working circuit lies within `NEAR` of its target.

Which specs must be decided is the caller's business: an environment passes the targets of each episode to
`simulate_for`; `simulate` goes by the targets of the constructor.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.circuits import Cases, Circuit
from zsgym.simulators.base import Errors, Predictions, PredictiveSimulator, Simulator, policy_name
from zsgym.simulators.outcome import Outcome

NEAR = 0.03
"""Share of the larger of both by which a solved metric must differ from its target: several times the error of what the
backend knows worst, the settling time."""


class HybridSimulator:
    """Answers from `surrogate` where that is safe and from `truth` everywhere else.

    :param surrogate: a `SurrogateSimulator`. :param truth: an ngspice simulator of the same circuit.
    :param solver: the physics backend of the same circuit, or None.
    :param confidence: how decided `p_valid` must be, between 0.5 and 1.
    :param targets: specs that `simulate` must decide, metric -> SI value; None means the circuit's.
    :raises ConfigError: an invalid argument, or the two backends go by different verdict policies.
    """

    name = "hybrid"

    def __init__(
        self,
        surrogate: PredictiveSimulator,
        truth: Simulator,
        *,
        solver: Simulator | None = None,
        confidence: float = 0.95,
        targets: Mapping[str, float] | None = None,
    ) -> None:
        if not 0.5 < confidence < 1.0:
            raise ConfigError(f"confidence must lie between 0.5 and 1, got {confidence}")
        self.circuit: Circuit = surrogate.circuit
        self.confidence = confidence
        self.targets = dict(self.circuit.targets if targets is None else targets)
        for metric in self.targets:
            self.circuit.metrics.check_name(metric)
        self.policy = policy_name(surrogate, self.circuit)
        """Name of the verdict policy of both backends."""
        if policy_name(truth, self.circuit) != self.policy:
            raise ConfigError(
                f"the surrogate was trained on labels of the verdict policy {self.policy!r}, but ngspice judges by "
                f"{policy_name(truth, self.circuit)!r}: give both backends the same policy"
            )
        self._surrogate, self._solver, self._truth = surrogate, solver, truth
        self.answered = {"surrogate": 0, "ngspice": 0} | ({} if solver is None else {solver.name: 0})
        """How many sizings each backend has answered so far."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Versions of all backends."""
        solver = {} if self._solver is None else self._solver.provenance
        return {**solver, **self._truth.provenance, **self._surrogate.provenance}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        """See `Simulator.simulate`. Cases under conditions that the surrogate does not know go to ngspice."""
        return self.simulate_for([self.targets] * len(cases), cases, errors=errors)

    def simulate_for(
        self, targets: Sequence[Mapping[str, float]], cases: Cases, *, errors: Errors = "raise"
    ) -> list[Outcome]:
        """`simulate` for given specs: see `TargetAware.simulate_for`."""
        known = np.flatnonzero(cases.at_default_conditions).tolist()
        predicted: dict[int, Outcome] = {}
        if known:
            predictions = self._surrogate.predict(cases[known])
            trusted = self.trusted(predictions, [targets[row] for row in known])
            answers = zip(known, self._surrogate.outcomes(predictions), trusted, strict=True)
            predicted = {row: outcome for row, outcome, trust in answers if trust}
        if self._solver is not None:
            predicted |= self._solved(
                self._solver, cases, targets, [row for row in range(len(cases)) if row not in predicted]
            )
        asked = [row for row in range(len(cases)) if row not in predicted]
        truth = iter(self._truth.simulate(cases[asked], errors=errors) if asked else [])
        self.answered["ngspice"] += len(asked)
        for outcome in predicted.values():
            self.answered[outcome.backend] += 1
        return [predicted[row] if row in predicted else next(truth) for row in range(len(cases))]

    def trusted(
        self, predictions: Predictions, targets: Sequence[Mapping[str, float]] | None = None
    ) -> NDArray[np.bool_]:
        """(B,) whether the surrogate's answer is used: the rule of this module.

        :param targets: specs of each row that must be decided; None means the hybrid's own.
        """
        row = self.circuit.metrics.row
        wanted = np.array([row(specs) for specs in targets or [self.targets] * len(predictions.valid)])  # (B, K)
        fails = ~predictions.valid & (predictions.p_valid <= 1.0 - self.confidence)
        works = predictions.valid & (predictions.p_valid >= self.confidence) & self._specs_decided(predictions, wanted)
        return np.asarray(~predictions.geometry | (predictions.in_distribution & (fails | works)))

    def close(self) -> None:
        """Release all backends."""
        self._surrogate.close()
        if self._solver is not None:
            self._solver.close()
        self._truth.close()

    def _solved(
        self, solver: Simulator, cases: Cases, targets: Sequence[Mapping[str, float]], rows: Sequence[int]
    ) -> dict[int, Outcome]:
        """Row -> what the solver decides of it."""
        if not rows:
            return {}
        outcomes = solver.simulate(cases[rows], errors="return")
        return {
            row: outcome
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome.label is not None and self._far_from(outcome, targets[row])
        }

    def _far_from(self, outcome: Outcome, targets: Mapping[str, float]) -> bool:
        """Whether no metric lies so near its target that an error of the solver could decide."""
        metrics = outcome.metrics or {}
        pairs = ((abs(metrics[name]), abs(target)) for name, target in targets.items() if name in metrics)
        return all(abs(value - target) > NEAR * max(value, target) for value, target in pairs)

    def _specs_decided(self, predictions: Predictions, targets: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(B,) whether no interval contains its target; targets (B, K) are NaN where there is no spec."""
        metrics = self.circuit.metrics
        low, high = predictions.low, predictions.high
        lowest, highest = np.sort(metrics.magnitudes(np.stack([low, high])), axis=0)
        # The magnitude of an interval around zero begins at zero.
        lowest = np.where(metrics.by_magnitude & (low < 0.0) & (high > 0.0), 0.0, lowest)
        wanted = metrics.magnitudes(targets)
        decided = (lowest > wanted) | (highest < wanted) | np.isnan(targets)
        return np.asarray(decided.all(axis=1))
