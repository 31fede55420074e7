"""From metrics to decisions: target specs, spec margins and reward.

The margin of a spec is the normalised distance used throughout the literature on sizing (AutoCkt, AnalogGym):
`(m - t) / (|m| + |t|)`, with the sign turned where low is better, so that a margin of zero or more means "met". It
lies in [-1, 1] for finite numbers, whatever the unit, which makes margins of different metrics comparable. The reward
of a working amplifier is the sum of the negative margins: 0 when every spec is met, never below minus the number of
specs.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES, METRICS, Better

Targets = Mapping[str, float]
"""Metric name -> target in the metric's SI unit. A metric without an entry has no spec."""

FAILURE_REWARD = -100.0
"""Reward of a sizing that does not work. The worst working one gets -11 (eleven specs, each missed completely)."""


_SIGNED = ("dB", "deg")
"""Units of metrics that may be negative. An offset counts by its magnitude."""


def resolve_targets(defaults: Targets, overrides: Mapping[str, float | None] | None) -> dict[str, float]:
    """The targets in force, in the order of `METRIC_NAMES`.

    :param defaults: the circuit's targets, SI units.
    :param overrides: metric -> new target in SI units; None as a value drops that spec. None changes nothing.
    :raises ConfigError: an unknown metric, a target that is no number or that no amplifier could miss, or no spec left.
    """
    if overrides is not None and not isinstance(overrides, Mapping):
        raise ConfigError(f"targets must be a mapping of metric names to SI values, got {type(overrides).__name__}")
    merged: dict[str, float | None] = {**defaults, **(overrides or {})}
    for name, target in merged.items():
        check_metric_name(name)
        if target is None:
            continue
        if isinstance(target, bool) or not isinstance(target, int | float) or not math.isfinite(target):
            unit = METRIC_BY_NAME[name].unit
            raise ConfigError(
                f"the target of {name} must be a finite number in {unit} (or None for no spec): {target!r}"
            )
        if target <= 0.0 and METRIC_BY_NAME[name].unit not in _SIGNED:
            raise ConfigError(f"the target of {name} must be positive, got {target:g} {METRIC_BY_NAME[name].unit}")
    targets = {name: float(value) for name in METRIC_NAMES if (value := merged.get(name)) is not None}
    if not targets:
        raise ConfigError("no spec is left: at least one metric needs a target")
    return targets


def exactly(defaults: Targets, targets: Targets) -> dict[str, float | None]:
    """Overrides that leave these targets and no others: a default that they do not name is dropped."""
    return {**dict.fromkeys(defaults), **targets}


def check_metric_name(name: str) -> None:
    """Raise a ConfigError that names the metrics when `name` is none of them."""
    if name not in METRIC_BY_NAME:
        near = difflib.get_close_matches(str(name), METRIC_NAMES, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"unknown metric {name!r}. {hint}Metrics: {', '.join(METRIC_NAMES)}")


def spec_margins(metrics: Mapping[str, float], targets: Targets) -> dict[str, float]:
    """Signed normalised margin of every spec, in [-1, 1]; zero or more means met.

    :param metrics: measured metrics in SI units; at least those that have a target.
    :param targets: metric -> target in SI units. Offset is compared by magnitude.
    :raises ConfigError: a target of an unknown metric, a metric that is missing, or a value that is not finite.
    """
    margins = {}
    for name, target in targets.items():
        check_metric_name(name)
        if name not in metrics:
            raise ConfigError(
                f"the spec on {name} cannot be judged: the metrics hold {', '.join(metrics) or 'nothing'}"
            )
        if not (math.isfinite(metrics[name]) and math.isfinite(target)):
            raise ConfigError(f"the spec on {name} cannot be judged: metric {metrics[name]!r}, target {target!r}")
        metric = METRIC_BY_NAME[name]
        measured, wanted = metric.magnitude(metrics[name]), metric.magnitude(target)
        scale = abs(measured) + abs(wanted)
        margin = (measured - wanted) / scale if scale > 0.0 else 0.0
        margins[name] = margin if metric.better is Better.HIGH else 0.0 - margin
    return margins


_MAGNITUDE = np.array([metric.better is Better.LOW_MAGNITUDE for metric in METRICS])
_HIGH = np.array([metric.better is Better.HIGH for metric in METRICS])


def metric_row(values: Mapping[str, float] | None) -> list[float]:
    """Values in the order of `METRIC_NAMES`; NaN for a metric that has none."""
    return [math.nan] * len(METRIC_NAMES) if values is None else [values.get(name, math.nan) for name in METRIC_NAMES]


def magnitudes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metrics (..., K) in SI units as they are compared with targets: the offset by its magnitude."""
    return np.where(_MAGNITUDE, np.abs(values), values)


def margin_table(metrics: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """`spec_margins` of many amplifiers at once, equal to the bit.

    :param metrics: (..., K) in SI units. :param targets: (..., K) in SI units, NaN where there is no spec.
    :return: (..., K), NaN where the metric or the target is NaN.
    """
    measured, wanted = magnitudes(metrics), magnitudes(targets)
    scale = np.abs(measured) + np.abs(wanted)
    margin = (measured - wanted) / np.where(scale == 0.0, 1.0, scale)
    return np.where(_HIGH, margin, 0.0 - margin)


def reward(margins: Mapping[str, float]) -> float:
    """Reward of a working amplifier: the sum of its missed margins, 0 when every spec is met."""
    return sum((min(margin, 0.0) for margin in margins.values()), 0.0)


def meets_all(margins: Mapping[str, float]) -> bool:
    """True when no spec is missed."""
    return all(margin >= 0.0 for margin in margins.values())
