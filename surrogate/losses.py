"""The training loss: L = L_perf + lambda_valid L_valid + lambda_auxiliary L_aux (paper, section VII, plus L_aux).

L_perf is the mean squared error of the normalised metrics, over rows where they are defined: never a sentinel. L_valid
is the binary cross-entropy of the validity logit. L_aux regresses raw measurements that grade how far an amplifier is
from failing (the rightmost closed-loop pole, the output error, the static error), of working and failing rows alike.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from surrogate.config import TrainingConfig
from surrogate.data import Batch
from surrogate.model import Prediction


class Losses(NamedTuple):
    """Scalars. total is what is minimised."""

    total: Tensor
    performance: Tensor
    validity: Tensor
    auxiliary: Tensor


def losses(prediction: Prediction, batch: Batch, config: TrainingConfig) -> Losses:
    """Loss of a batch of n rows."""
    known = batch.metrics_known  # (n, K)
    if not config.regress_failures:
        known = known * batch.valid.unsqueeze(-1)
    performance = _masked_error(prediction.metrics, batch.metrics, known)
    validity = binary_cross_entropy_with_logits(prediction.validity, batch.valid)
    auxiliary = _masked_error(prediction.auxiliary, batch.auxiliary, batch.auxiliary_known)
    total = performance + config.lambda_valid * validity + config.lambda_auxiliary * auxiliary
    return Losses(total, performance, validity, auxiliary)


def _masked_error(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error where known is one; zero when nothing is."""
    return ((prediction - target).square() * known).sum() / known.sum().clamp(min=1.0)
