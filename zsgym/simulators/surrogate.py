"""The surrogate backend: a trained model behind the `Simulator` contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.predict import Predictions, Predictor
from zsgym.circuits import Circuit
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status


class SurrogateSimulator:
    """Predicts sizings of one circuit in microseconds, and says how far to trust the prediction.

    :param circuit: which circuit; one that the model was not trained on is answered zero-shot, with a warning.
    :param checkpoint: path of a checkpoint; None means the one that comes with the package.

    Outcomes carry `p_valid`, the conformal intervals and whether the sizing resembles the training data. A sizing that
    is expected to fail has the reason `geometry` (exact) or `predicted`. The model knows the circuit's default
    conditions only.
    """

    name = "surrogate"

    def __init__(self, circuit: Circuit, *, checkpoint: Path | str | None = None) -> None:
        self.circuit = circuit
        self.checkpoint = Checkpoint.load(Path(checkpoint) if checkpoint is not None else shipped())
        self._predictor = Predictor(self.checkpoint, circuit)

    @property
    def provenance(self) -> Mapping[str, str]:
        """Hash of the checkpoint file."""
        return {"checkpoint": self.checkpoint.sha256[:16]}

    def predict(self, sizings: Sequence[Sizing], conditions: Conditions | None = None) -> Predictions:
        """Predictions as arrays, for callers that want more than outcomes."""
        if conditions not in (None, self.circuit.conditions):
            raise ConfigError(
                f"the surrogate knows {self.circuit.name} at {self.circuit.conditions} only; "
                'use backend="ngspice" for other conditions'
            )
        return self._predictor.predict(np.array([self.circuit.vector(sizing) for sizing in sizings]))

    def simulate(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        """See `Simulator.simulate`. There is no infrastructure that could fail, so `errors` changes nothing."""
        return self.outcomes(self.predict(sizings, conditions)) if sizings else []

    def outcomes(self, predictions: Predictions) -> list[Outcome]:
        """The outcomes that predictions amount to, one for each row."""
        return [self._outcome(predictions, row) for row in range(len(predictions.valid))]

    def close(self) -> None:
        """Nothing to release."""

    def _outcome(self, predictions: Predictions, row: int) -> Outcome:
        p_valid = float(predictions.p_valid[row])
        in_distribution = bool(predictions.in_distribution[row])
        if not predictions.valid[row]:
            failure = Failure.PREDICTED if predictions.geometry[row] else Failure.GEOMETRY
            return Outcome(
                Status.CIRCUIT_FAILURE,
                failure,
                p_valid=p_valid,
                in_distribution=in_distribution,
                backend=self.name,
                elapsed_s=predictions.elapsed_s,
            )
        values, low, high = (getattr(predictions, name)[row].tolist() for name in ("metrics", "low", "high"))
        return Outcome(
            Status.SUCCESS,
            metrics=dict(zip(METRIC_NAMES, values, strict=True)),
            p_valid=p_valid,
            uncertainty=dict(zip(METRIC_NAMES, zip(low, high, strict=True), strict=True)),
            in_distribution=in_distribution,
            backend=self.name,
            elapsed_s=predictions.elapsed_s,
        )
