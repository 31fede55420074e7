"""The surrogate backend: a trained model behind the `Simulator` contract."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.predict import Predictions, Predictor
from zsgym.circuits import DEFAULT_VERDICT, Circuit, did_you_mean
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status
from zsgym.simulators.base import differences

_COLUMNS = ("geometry", "valid", "p_valid", "in_distribution", "metrics", "low", "high")


class SurrogateSimulator:
    """Predicts sizings of one circuit in microseconds, and says how far to trust the prediction.

    :param circuit: which circuit; one that the model was not trained on is answered zero-shot, with a warning.
    :param checkpoint: path of a checkpoint; None means the one that comes with the package.
    :param policy: name of the verdict policy that is wanted; the checkpoint must have been trained on its labels.
    :raises ConfigError: the circuit has no such policy, or the checkpoint was trained on another one.
    :raises CheckpointError: the checkpoint cannot be used.

    Outcomes carry `p_valid`, the conformal intervals and whether the sizing resembles the training data. A sizing that
    is expected to fail has the reason `geometry` (exact) or `predicted`. The model knows the circuit's default
    conditions only.
    """

    name = "surrogate"

    def __init__(
        self, circuit: Circuit, *, checkpoint: Path | str | None = None, policy: str = DEFAULT_VERDICT
    ) -> None:
        if policy not in circuit.verdict_policies:
            known = did_you_mean(policy, circuit.verdict_policies)
            raise ConfigError(f"unknown verdict policy {policy!r} of {circuit.name}. {known}")
        path = Path(checkpoint) if checkpoint is not None else shipped()
        self.circuit, self.policy = circuit, policy
        self.checkpoint = Checkpoint.load(path)
        if self.checkpoint.policy != policy:
            raise ConfigError(
                f"{path} was trained on labels of the verdict policy {self.checkpoint.policy!r}, not {policy!r}: "
                f"use policy={self.checkpoint.policy!r}, or another checkpoint"
            )
        self._predictor = Predictor(self.checkpoint, circuit)

    @property
    def provenance(self) -> Mapping[str, str]:
        """Hash of the checkpoint file."""
        return {"checkpoint": self.checkpoint.sha256[:16]}

    def predict(self, sizings: Sequence[Sizing], conditions: Conditions | None = None) -> Predictions:
        """Predictions as arrays, for callers that want more than outcomes."""
        if conditions is not None and conditions != self.circuit.conditions:
            known, wanted = differences(conditions, self.circuit.conditions)
            raise ConfigError(
                f"the surrogate knows {self.circuit.name} at {known} only, not at {wanted}: "
                'use backend="ngspice" for other conditions (on the command line --backend ngspice)'
            )
        return self._predictor.predict(self._vectors(sizings))

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
        rows = zip(*(getattr(predictions, name).tolist() for name in _COLUMNS), strict=True)
        return [self._outcome(predictions.elapsed_s, *row) for row in rows]

    def close(self) -> None:
        """Nothing to release."""

    def _vectors(self, sizings: Sequence[Sizing]) -> NDArray[np.float64]:
        """(B, n) in declared units; only a sizing that is not obviously complete is looked at name by name."""
        rows = []
        for sizing in sizings:
            row = tuple(map(sizing.get, self.circuit.parameter_names))
            plain = len(sizing) == len(row) and set(map(type, row)) == {float}
            rows.append(row if plain else self.circuit.vector(sizing))
        vectors = np.array(rows, dtype=np.float64)
        if not ((vectors > 0.0) & (vectors < np.inf)).all():
            for sizing in sizings:
                self.circuit.validate(sizing)  # raises, and says what is wrong
        return vectors

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
        return Outcome(
            Status.SUCCESS,
            metrics=dict(zip(METRIC_NAMES, metrics, strict=True)),
            p_valid=p_valid,
            uncertainty=dict(zip(METRIC_NAMES, zip(low, high, strict=True), strict=True)),
            in_distribution=in_distribution,
            backend=self.name,
            elapsed_s=elapsed_s,
        )
