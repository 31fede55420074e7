"""What an agent sees: one flat, bounded float32 vector per sub-environment, always in this order.

| entries        | what                                                    | range   | when it does not work    |
| -------------- | ------------------------------------------------------- | ------- | ------------------------ |
| the parameters | normalised sizing, in the order of the circuit          | [-1, 1] | the sizing all the same  |
| eleven metrics | metrics on `METRIC_SCALES`, in the order of the metrics | [-1, 1] | the bad end of the scale |
| eleven margins | spec margins; 0 where a metric has no spec              | [-1, 1] | -1 for every spec        |
| eleven targets | targets of the episode on `METRIC_SCALES`; the bad end  | [-1, 1] | the targets all the same |
|                | of the scale, which asks for nothing, without a spec    |         |                          |
| validity       | 1 when the simulator says that the amplifier works      | [0, 1]  | 0                        |

The metric scales do not depend on the targets: with targets that change from episode to episode, the metric tells
where the amplifier is, the target what is wanted, and the margin how far the one is from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from zsgym.circuits.circuit import rowwise
from zsgym.metrics import METRIC_NAMES, METRICS, Better
from zsgym.specs import magnitudes

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MetricScale:
    """The range of one metric that an observation resolves, mapped onto [-1, 1] and clipped outside.

    low, high: SI units. logarithmic: for the heavy-tailed positive metrics.
    """

    low: float
    high: float
    logarithmic: bool = False


METRIC_SCALES: dict[str, MetricScale] = {
    "tc": MetricScale(1e-8, 1e-2, logarithmic=True),
    "power": MetricScale(1e-6, 1e-1, logarithmic=True),
    "vos": MetricScale(1e-7, 1e0, logarithmic=True),
    "cmrr": MetricScale(0.0, 160.0),
    "dc_gain": MetricScale(0.0, 160.0),
    "gbw": MetricScale(1e3, 1e9, logarithmic=True),
    "phase_margin": MetricScale(0.0, 180.0),
    "psrr_p": MetricScale(0.0, 160.0),
    "psrr_n": MetricScale(0.0, 160.0),
    "slew_rate": MetricScale(1e3, 1e9, logarithmic=True),
    "settling_time": MetricScale(1e-9, 1e-3, logarithmic=True),
}
"""SI units. Wider than the 5 % to 95 % range of random working SKY130 amplifiers by more than a decade (or 30 dB)."""

_SCALES = tuple(METRIC_SCALES[name] for name in METRIC_NAMES)
_LOGARITHMIC = np.array([scale.logarithmic for scale in _SCALES])
# The smallest number that has a logarithm here: zero (a perfect offset, no current) lies below every decade.
_FLOOR = np.array([scale.low if scale.logarithmic else -np.inf for scale in _SCALES])


def _on_scale(values: FloatArray) -> FloatArray:
    """(B, K) values as they are, as logarithms where the scale is logarithmic."""
    logs = rowwise(np.log, np.where(_LOGARITHMIC, np.maximum(values, _FLOOR), 1.0))
    return np.where(_LOGARITHMIC, logs, values)


_LOW, _HIGH = _on_scale(np.array([[scale.low for scale in _SCALES], [scale.high for scale in _SCALES]]))

WORST = np.array([-1.0 if metric.better is Better.HIGH else 1.0 for metric in METRICS])
"""(K,) the bad end of every metric's scale."""


def normalise_metrics(values: ArrayLike) -> FloatArray:
    """Metrics on the scale of observations.

    :param values: (B, K) in SI units; the offset counts by its magnitude.
    :return: (B, K) in [-1, 1]; the bad end of the scale where a value is NaN.
    """
    found = magnitudes(np.asarray(values, dtype=np.float64))
    position = 2.0 * (_on_scale(found) - _LOW) / (_HIGH - _LOW) - 1.0
    return np.where(np.isnan(found), WORST, np.clip(position, -1.0, 1.0))


def action_space(n_parameters: int) -> spaces.Box:
    """One number in [-1, 1] per sizing parameter, float32."""
    return spaces.Box(-1.0, 1.0, (n_parameters,), np.float32)


def observation_space(n_parameters: int) -> spaces.Box:
    """The space of the observations described at the top of this module."""
    low = np.full(n_parameters + 3 * len(METRIC_NAMES) + 1, -1.0, np.float32)
    low[-1] = 0.0
    return spaces.Box(low, np.ones_like(low), dtype=np.float32)


def observations(
    units: FloatArray, metrics: FloatArray, margins: FloatArray, targets: FloatArray, works: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Observations of B states, shape (B, parameters + 34).

    :param units: (B, parameters) normalised sizings in [-1, 1].
    :param metrics: (B, K) SI units, NaN where the amplifier does not work.
    :param margins: (B, K) margin of every spec in [-1, 1], 0 without one.
    :param targets: (B, K) SI units, NaN where there is no spec. :param works: (B,) whether the amplifiers work.
    """
    shown, wanted = normalise_metrics(metrics), normalise_metrics(targets)
    return np.concatenate([units, shown, margins, wanted, works[:, None]], axis=1).astype(np.float32)
