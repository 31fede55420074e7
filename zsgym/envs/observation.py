"""What an agent sees: one flat, bounded float32 vector per sub-environment, always in this order.

| entries        | what                                                    | range   | when it does not work    |
| -------------- | ------------------------------------------------------- | ------- | ------------------------ |
| the parameters | normalised sizing, in the order of the circuit          | [-1, 1] | the sizing all the same  |
| eleven metrics | metrics on `METRIC_SCALES`, in the order of the metrics | [-1, 1] | the bad end of the scale |
| eleven margins | spec margins; 0 where a metric has no spec              | [-1, 1] | -1 for every spec        |
| validity       | 1 when the simulator says that the amplifier works      | [0, 1]  | 0                        |

The metric scales do not depend on the targets: with targets that change from episode to episode, the metric tells
where the amplifier is and the margin tells how far that is from what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES, Better


@dataclass(frozen=True, slots=True)
class MetricScale:
    """The range of one metric that an observation resolves, mapped onto [-1, 1] and clipped outside.

    low, high: SI units. logarithmic: for the heavy-tailed positive metrics.
    """

    low: float
    high: float
    logarithmic: bool = False

    def normalise(self, value: float) -> float:
        """Position of a value in SI units within the range, in [-1, 1]."""
        low, high = self.low, self.high
        if self.logarithmic:
            # A value of zero (a perfect offset, no current) lies below every decade: the lower end.
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        return min(max(2.0 * (value - low) / (high - low) - 1.0, -1.0), 1.0)


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


def normalise_metric(name: str, value: float) -> float:
    """A metric (SI unit) on the scale of observations, in [-1, 1]; the offset by its magnitude."""
    return METRIC_SCALES[name].normalise(METRIC_BY_NAME[name].magnitude(value))


def worst_normalised(name: str) -> float:
    """The bad end of a metric's scale."""
    return -1.0 if METRIC_BY_NAME[name].better is Better.HIGH else 1.0


def action_space(n_parameters: int) -> spaces.Box:
    """One number in [-1, 1] per sizing parameter, float32."""
    return spaces.Box(-1.0, 1.0, (n_parameters,), np.float32)


def observation_space(n_parameters: int) -> spaces.Box:
    """The space of the observations described at the top of this module."""
    low = np.full(n_parameters + 2 * len(METRIC_NAMES) + 1, -1.0, np.float32)
    low[-1] = 0.0
    return spaces.Box(low, np.ones_like(low), dtype=np.float32)


def observation(
    unit: NDArray[np.float64], metrics: Mapping[str, float] | None, margins: Mapping[str, float]
) -> NDArray[np.float32]:
    """One observation.

    :param unit: normalised sizing in [-1, 1], shape (parameters,).
    :param metrics: every metric in SI units, or None when the amplifier does not work.
    :param margins: margin of every spec in [-1, 1].
    """
    if metrics is None:
        shown = [worst_normalised(name) for name in METRIC_NAMES]
    else:
        shown = [normalise_metric(name, metrics[name]) for name in METRIC_NAMES]
    judged = [margins.get(name, 0.0) for name in METRIC_NAMES]
    valid = 0.0 if metrics is None else 1.0
    return np.concatenate([unit, shown, judged, [valid]]).astype(np.float32)
