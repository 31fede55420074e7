"""From margins to decisions: the reward of a circuit that works, and the table that people read.

The reward of a working circuit is the sum of its negative margins: 0 when every spec is met, never below minus the
number of specs. How margins are made is the business of `MetricSet`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from zsgym.base.quantities import quantity
from zsgym.base.tables import table
from zsgym.classes.metrics import MetricSet, Targets

FAILURE_REWARD = -100.0
"""Reward of a sizing that does not work. The worst working one gets minus the number of its specs, each missed
completely."""


def exactly(defaults: Targets, targets: Targets) -> dict[str, float | None]:
    """Overrides that leave these targets and no others: a default that they do not name is dropped."""
    return {**dict.fromkeys(defaults), **targets}


def reward(margins: Mapping[str, float]) -> float:
    """Reward of a working circuit: the sum of its missed margins, 0 when every spec is met."""
    return sum((min(margin, 0.0) for margin in margins.values()), 0.0)


def meets_all(margins: Mapping[str, float]) -> bool:
    """True when no spec is missed."""
    return all(margin >= 0.0 for margin in margins.values())


def spec_table(metric_set: MetricSet, metrics: Mapping[str, float] | None, targets: Targets) -> str:
    """Value, target, margin and verdict of every metric.

    :param metrics: metric -> SI value, at least of those with a target; None for a circuit that does not work, which
        meets no spec. :param targets: metric -> SI value.
    """
    measured = metrics or {}
    margins = metric_set.margins(measured, targets) if metrics else {}
    rows = []
    for name, unit in ((metric.name, metric.unit) for metric in metric_set):
        target, margin = targets.get(name), margins.get(name)
        rows.append(
            (
                name,
                quantity(_determined(measured.get(name)), unit),
                "-" if target is None else target_text(metric_set, name, target),
                "-" if margin is None else f"{margin:+.3f}",
                "-" if target is None else "yes" if margin is not None and margin >= 0.0 else "no",
            )
        )
    return table(("metric", "value", "target", "margin", "met"), rows, right=(1, 3))


def _determined(value: float | None) -> float | None:
    """An optional metric that could not be determined (NaN) has no value."""
    return None if value is None or math.isnan(value) else value


def target_text(metric_set: MetricSet, name: str, target: float) -> str:
    """A target (SI) with the direction in which it counts, e.g. `> 1 MHz`."""
    metric = metric_set[name]
    return f"{'>' if metric.higher_is_better else '<'} {quantity(metric.magnitude(target), metric.unit)}"
