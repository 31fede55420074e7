"""What an agent sees: one flat, bounded float32 vector per sub-environment, always in this order.

| entries        | what                                                  | range   | when it does not work    |
| -------------- | ----------------------------------------------------- | ------- | ------------------------ |
| the parameters | normalised sizing, in the order of the circuit        | [-1, 1] | the sizing all the same  |
| the metrics    | metrics on their scales, in the order of the class    | [-1, 1] | the bad end of the scale |
| the margins    | spec margins; 0 where a metric has no spec            | [-1, 1] | -1 for every spec        |
| the targets    | targets of the episode on their scales; the bad end   | [-1, 1] | the targets all the same |
|                | of the scale, which asks for nothing, without a spec  |         |                          |
| validity       | 1 when the simulator says that the circuit works      | [0, 1]  | 0                        |

The metric scales do not depend on the targets: with targets that change from episode to episode, the metric tells
where the circuit is, the target what is wanted, and the margin how far the one is from the other.
"""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from zsgym.classes import MetricSet

FloatArray = NDArray[np.float64]


def action_space(n_parameters: int) -> spaces.Box:
    """One number in [-1, 1] per sizing parameter, float32."""
    return spaces.Box(-1.0, 1.0, (n_parameters,), np.float32)


def observation_space(n_parameters: int, n_metrics: int) -> spaces.Box:
    """The space of the observations described at the top of this module."""
    low = np.full(n_parameters + 3 * n_metrics + 1, -1.0, np.float32)
    low[-1] = 0.0
    return spaces.Box(low, np.ones_like(low), dtype=np.float32)


def observations(
    metric_set: MetricSet,
    points: FloatArray,
    metrics: FloatArray,
    margins: FloatArray,
    targets: FloatArray,
    works: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Observations of B states, shape (B, parameters + 3 K + 1).

    :param points: (B, parameters) normalised sizings in [-1, 1].
    :param metrics: (B, K) SI units, NaN where the circuit does not work.
    :param margins: (B, K) margin of every spec in [-1, 1], 0 without one.
    :param targets: (B, K) SI units, NaN where there is no spec. :param works: (B,) whether the circuits work.
    """
    shown, wanted = metric_set.normalise(metrics), metric_set.normalise(targets)
    return np.concatenate([points, shown, margins, wanted, works[:, None]], axis=1).astype(np.float32)
