"""What a class of circuits is measured by: names, units, which way is better, and the scale on which an agent sees it.

Everything inside the project uses the canonical name and the SI unit of a metric. Conversion to the published format
(microwatts, microseconds, negative decibels for rejection ratios) happens only in the exporter, through
`Metric.published_value`. Which way is better is decided here and nowhere else.

The margin of a spec is the normalised distance used throughout the literature on sizing (AutoCkt, AnalogGym):
`(m - t) / (|m| + |t|)`, with the sign turned where low is better, so that a margin of zero or more means "met". It
lies in [-1, 1] for finite numbers, whatever the unit, which makes margins of different metrics comparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.base.arrays import rowwise
from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean

FloatArray = NDArray[np.float64]
Targets = Mapping[str, float]
"""Metric name -> target in the metric's SI unit. A metric without an entry has no spec."""

_SIGNED = ("dB", "deg")
"""Units of metrics that may be negative. An offset counts by its magnitude."""


class Better(StrEnum):
    """Which direction improves a metric."""

    LOW = "low"
    LOW_MAGNITUDE = "low magnitude"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of one metric that an observation resolves, mapped onto [-1, 1] and clipped outside.

    low, high: SI units. logarithmic: for heavy-tailed positive metrics.
    """

    low: float
    high: float
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One performance figure of a circuit.

    scale: of observations. `published_name` and `published_factor` give the key and the multiplier from SI to the
    published sample format; a metric without a published name keeps its own. optional: measured only when somebody
    asks, and it may turn out to be undetermined (NaN) for a circuit that works, which then misses any spec on it.
    """

    name: str
    unit: str
    better: Better
    title: str
    scale: Scale
    published_name: str = ""
    published_factor: float = 1.0
    optional: bool = False

    @property
    def higher_is_better(self) -> bool:
        """Whether a target is a lower limit."""
        return self.better is Better.HIGH

    def magnitude(self, value: float) -> float:
        """The number that is compared with a target: the absolute value where only the magnitude matters."""
        return abs(value) if self.better is Better.LOW_MAGNITUDE else value

    def published_value(self, value: float) -> float:
        """An SI value in the unit and sign of the published sample format."""
        return value * self.published_factor

    def worse_end(self, low: float, high: float) -> float:
        """The less welcome end of an interval."""
        return {Better.HIGH: low, Better.LOW: high}.get(self.better, max(abs(low), abs(high)))


class MetricSet(Sequence[Metric]):
    """The metrics of one class of circuits, in a fixed order: rows and tables (..., K) hold them in this order.

    Metrics are found by position or by name. Two sets are equal when they hold the same metrics. A set may be empty:
    that of the optional metrics of a class that has none.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)
        self.names: tuple[str, ...] = tuple(metric.name for metric in self._metrics)
        self._by_name = dict(zip(self.names, self._metrics, strict=True))
        if len(self._by_name) != len(self._metrics):
            raise ValueError(f"each metric of a set needs a name of its own, got {self.names}")
        self._high = np.array([metric.higher_is_better for metric in self], dtype=bool)
        self._optional = np.array([metric.optional for metric in self], dtype=bool)
        self._has_optional = bool(self._optional.any())
        self.by_magnitude = np.array([metric.better is Better.LOW_MAGNITUDE for metric in self], dtype=bool)
        """(K,) metrics of which only the magnitude counts."""
        self.signs = np.where(self._high, 1.0, -1.0)
        """(K,) 1 where high is better, else -1."""
        self._logarithmic = np.array([metric.scale.logarithmic for metric in self], dtype=bool)
        # The smallest number that has a logarithm here: zero (a perfect offset, no current) lies below every decade.
        self._floor = np.array([m.scale.low if m.scale.logarithmic else -np.inf for m in self])
        ends = np.array([[m.scale.low for m in self], [m.scale.high for m in self]])
        self.bad_ends = np.where(self._high, *ends)
        """(K,) the bad end of every metric's observation scale, SI units: an optional metric that is undetermined."""
        self._low, self._top = self._on_scale(ends) if self._metrics else ends

    def __getitem__(self, key: int | str) -> Metric:  # type: ignore[override]
        return self._by_name[key] if isinstance(key, str) else self._metrics[key]

    def __len__(self) -> int:
        return len(self._metrics)

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name or name in self._metrics

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricSet) and self._metrics == other._metrics

    def __hash__(self) -> int:
        return hash(self._metrics)

    def __reduce__(self) -> tuple[type[MetricSet], tuple[tuple[Metric, ...]]]:
        return MetricSet, (self._metrics,)

    def check_name(self, name: str) -> None:
        """Raise a ConfigError that names the metrics when `name` is not one of them."""
        if name not in self._by_name:
            raise ConfigError(f"unknown metric {name!r}. {did_you_mean(name, self.names, 'Metrics')}")

    # --- targets ----------------------------------------------------------------------------------------------------

    def resolve_targets(self, defaults: Targets, overrides: Mapping[str, float | None] | None) -> dict[str, float]:
        """The targets in force, in the order of the metrics.

        :param defaults: the circuit's targets, SI units.
        :param overrides: metric -> new target in SI units; None as a value drops that spec. None changes nothing.
        :raises ConfigError: an unknown metric, a target that is not a number or that no circuit could miss, or no spec
            left.
        """
        if overrides is not None and not isinstance(overrides, Mapping):
            raise ConfigError(f"targets must be a mapping of metric names to SI values, got {type(overrides).__name__}")
        merged: dict[str, float | None] = {**defaults, **(overrides or {})}
        for name, target in merged.items():
            self._check_target(name, target)
        targets = {name: float(value) for name in self.names if (value := merged.get(name)) is not None}
        if not targets:
            raise ConfigError("no spec is left: at least one metric needs a target")
        return targets

    def _check_target(self, name: str, target: object) -> None:
        self.check_name(name)
        if target is None:
            return
        unit = self[name].unit
        if isinstance(target, bool) or not isinstance(target, int | float) or not math.isfinite(target):
            raise ConfigError(
                f"the target of {name} must be a finite number in {unit} (or None for no spec): {target!r}"
            )
        if target <= 0.0 and unit not in _SIGNED:
            raise ConfigError(f"the target of {name} must be positive, got {target:g} {unit}")

    # --- margins ----------------------------------------------------------------------------------------------------

    def margins(self, metrics: Mapping[str, float], targets: Targets) -> dict[str, float]:
        """Signed normalised margin of every spec, in [-1, 1]; zero or more means met.

        :param metrics: measured metrics in SI units; at least those that have a target. An optional one that could not
            be determined is NaN, and its spec missed completely.
        :param targets: metric -> target in SI units. Offset is compared by magnitude.
        :raises ConfigError: a target of an unknown metric, a metric that is missing, or a value that is not finite.
        """
        for name, target in targets.items():
            self.check_name(name)
            if name not in metrics:
                raise ConfigError(
                    f"the spec on {name} cannot be judged: the metrics hold {', '.join(metrics) or 'nothing'}"
                )
            undetermined = self[name].optional and math.isnan(metrics[name])
            if not (math.isfinite(metrics[name]) or undetermined) or not math.isfinite(target):
                raise ConfigError(f"the spec on {name} cannot be judged: metric {metrics[name]!r}, target {target!r}")
        row = self.margin_table(np.array(self.row(metrics)), np.array(self.row(targets)))
        by_name = dict(zip(self.names, row.tolist(), strict=True))
        return {name: by_name[name] for name in targets}

    def row(self, values: Mapping[str, float] | None) -> list[float]:
        """Values in the order of the metrics; NaN for a metric that has none."""
        return [math.nan] * len(self) if values is None else [values.get(name, math.nan) for name in self.names]

    def magnitudes(self, values: FloatArray) -> FloatArray:
        """Metrics (..., K) in SI units as they are compared with targets: the offset by its magnitude."""
        return np.where(self.by_magnitude, np.abs(values), values)

    def margin_table(self, metrics: FloatArray, targets: FloatArray) -> FloatArray:
        """Margins of many circuits at once.

        :param metrics: (..., K) in SI units. :param targets: (..., K) in SI units, NaN where there is no spec.
        :return: (..., K) in [-1, 1]. NaN where the target is, and where the metric is unless it is an optional one,
            which then misses its spec completely.
        """
        measured, wanted = self.magnitudes(metrics), self.magnitudes(targets)
        scale = np.abs(measured) + np.abs(wanted)
        margin = (measured - wanted) / np.where(scale == 0.0, 1.0, scale)
        margin = np.where(self._high, margin, 0.0 - margin)
        if self._has_optional:
            margin = np.where(self._optional & np.isnan(measured) & ~np.isnan(wanted), -1.0, margin)
        return margin

    def worst_of(self, metrics: FloatArray) -> FloatArray:
        """The worst value of every metric, (..., B, K) -> (..., K): of one circuit under several conditions, say.

        NaN where a row has no value: what was not measured is not known to be any better.
        """
        counted = self.signs * self.magnitudes(metrics)
        position = np.where(np.isnan(counted), -np.inf, counted).argmin(axis=-2)
        return np.take_along_axis(metrics, position[..., None, :], axis=-2)[..., 0, :]

    # --- observations -----------------------------------------------------------------------------------------------

    @property
    def worst(self) -> FloatArray:
        """(K,) the bad end of every metric's observation scale: -1 where high is better, else 1."""
        return -self.signs

    def normalise(self, values: ArrayLike) -> FloatArray:
        """Metrics on the scale of observations.

        :param values: (B, K) in SI units; the offset counts by its magnitude.
        :return: (B, K) in [-1, 1]; the bad end of the scale where a value is NaN.
        """
        found = self.magnitudes(np.asarray(values, dtype=np.float64))
        position = 2.0 * (self._on_scale(found) - self._low) / (self._top - self._low) - 1.0
        return np.where(np.isnan(found), self.worst, np.clip(position, -1.0, 1.0))

    def on_scale(self, values: FloatArray) -> FloatArray:
        """(B, K) metrics in SI units as they are, as logarithms where the scale is logarithmic; offset by magnitude."""
        return self._on_scale(self.magnitudes(values))

    def _on_scale(self, values: FloatArray) -> FloatArray:
        """(B, K) values as they are, as logarithms where the scale is logarithmic."""
        logs = rowwise(np.log, np.where(self._logarithmic, np.maximum(values, self._floor), 1.0))
        return np.where(self._logarithmic, logs, values)
