"""The surrogate backend: a trained model behind the `Simulator` contract."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.predict import Predictor
from zsgym.base.errors import ConfigError, NotCoveredError
from zsgym.circuits import DEFAULT_VERDICT, Cases, Circuit
from zsgym.classes import Failure
from zsgym.simulators.base import Errors, Predictions
from zsgym.simulators.outcome import Outcome, Status

_COLUMNS = ("geometry", "valid", "p_valid", "in_distribution", "metrics", "low", "high")


class SurrogateSimulator:
    """Predicts sizings of one circuit in microseconds, and says how far to trust the prediction.

    :param circuit: which circuit; one that the model was not trained on is answered zero-shot, with a warning.
    :param checkpoint: path of a checkpoint; None means the one that comes with the package.
    :param policy: name of the verdict policy that is wanted; the checkpoint must have been trained on its labels.
    :raises ConfigError: the circuit has no such policy, or the checkpoint was trained on another one, or on another
        class of circuits.
    :raises CheckpointError: the checkpoint cannot be used.

    Outcomes carry `p_valid`, the conformal intervals and whether the sizing resembles the training data. A sizing that
    is expected to fail has the reason `geometry` (exact) or `predicted`. The model knows the circuit's default
    conditions only. Optional metrics of closed form are computed; their intervals are points.
    """

    name = "surrogate"

    def __init__(
        self, circuit: Circuit, *, checkpoint: Path | str | None = None, policy: str = DEFAULT_VERDICT
    ) -> None:
        circuit.policy(policy)
        path = Path(checkpoint) if checkpoint is not None else shipped()
        self.circuit, self.policy = circuit, policy
        self.checkpoint = Checkpoint.load(path)
        if self.checkpoint.policy != policy:
            raise ConfigError(
                f"{path} was trained on labels of the verdict policy {self.checkpoint.policy!r}, not {policy!r}: "
                f"use policy={self.checkpoint.policy!r}, or another checkpoint"
            )
        if circuit.circuit_class.metrics.names != self.checkpoint.metric_names:
            raise NotCoveredError(
                f"{path} predicts {', '.join(self.checkpoint.metric_names)}, and a circuit of the class "
                f'{circuit.circuit_class.name!r} has other metrics: use backend="ngspice", or another checkpoint'
            )
        if circuit.asked_of_simulators:
            raise NotCoveredError(
                f"the surrogate does not predict {', '.join(circuit.asked_of_simulators)}, which is asked for: use "
                'backend="ngspice" (on the command line --backend ngspice), or drop the spec (a target of None; on the '
                "command line none)"
            )
        self._predictor = Predictor(self.checkpoint, circuit)

    @property
    def provenance(self) -> Mapping[str, str]:
        """Hash of the checkpoint file."""
        return {"checkpoint": self.checkpoint.sha256[:16]}

    @property
    def coverage(self) -> float:
        """Share of cases whose interval is meant to hold the true value."""
        calibration = self.checkpoint.provenance.get("config", {}).get("calibration", {})
        return float(calibration.get("coverage", 0.9))

    def predict(self, cases: Cases) -> Predictions:
        """Predictions as arrays, for callers that want more than outcomes.

        :raises NotCoveredError: a case is asked under conditions that the model does not know.
        """
        known = cases.at_default_conditions
        if not known.all():
            other = cases.conditions[int(known.argmin())]
            at, not_at = self.circuit.conditions.differences(other)
            raise NotCoveredError(
                f"the surrogate knows {self.circuit.name} at {at} only, not at {not_at}: "
                'use backend="ngspice" for other conditions (on the command line --backend ngspice)'
            )
        predictions = self._predictor.predict(cases.vectors)
        return self._with_closed_forms(predictions, cases) if self.circuit.asked else predictions

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        """See `Simulator.simulate`. There is no infrastructure that could fail, so `errors` changes nothing."""
        return self.outcomes(self.predict(cases)) if len(cases) else []

    def outcomes(self, predictions: Predictions) -> list[Outcome]:
        """The outcomes that predictions amount to, one for each row."""
        rows = zip(*(getattr(predictions, name).tolist() for name in _COLUMNS), strict=True)
        return [self._outcome(predictions.elapsed_s, *row) for row in rows]

    def close(self) -> None:
        """Nothing to release."""

    def _with_closed_forms(self, predictions: Predictions, cases: Cases) -> Predictions:
        """With a column for each optional metric that the circuit is asked for: all of them follow from the sizing."""
        known = np.array([list(self.circuit.closed_form(sizing).values()) for sizing in cases.sizings])
        known = np.where(predictions.valid[:, None], known, np.nan)
        metrics, low, high = (
            np.hstack([column, known]) for column in (predictions.metrics, predictions.low, predictions.high)
        )
        return replace(predictions, metrics=metrics, low=low, high=high)

    def _outcome(
        self,
        elapsed_s: float,
        geometry: bool,
        valid: bool,
        p_valid: float,
        in_distribution: bool,
        metrics: list[float],
        low: list[float],
        high: list[float],
    ) -> Outcome:
        if not valid:
            return Outcome(
                Status.CIRCUIT_FAILURE,
                Failure.PREDICTED if geometry else Failure.GEOMETRY,
                p_valid=p_valid,
                in_distribution=in_distribution,
                backend=self.name,
                elapsed_s=elapsed_s,
            )
        names = self.circuit.metrics.names
        return Outcome(
            Status.SUCCESS,
            metrics=dict(zip(names, metrics, strict=True)),
            p_valid=p_valid,
            uncertainty=dict(zip(names, zip(low, high, strict=True), strict=True)),
            in_distribution=in_distribution,
            backend=self.name,
            elapsed_s=elapsed_s,
        )
