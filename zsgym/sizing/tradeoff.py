"""What stands in the way of specs that a search did not meet, and the front of the two that pull against each other.

All of it is read off the designs that were simulated: a bound on what is possible, not the last word. A longer search
may find a spec that gives less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from zsgym.base.errors import ConfigError
from zsgym.base.problems import read_section
from zsgym.base.quantities import quantity
from zsgym.base.tables import table
from zsgym.circuits import Circuit
from zsgym.classes import MetricSet, Targets
from zsgym.classes.specs import target_text
from zsgym.sizing.dominance import best_alone, fewest_missed, goodness, met, non_dominated
from zsgym.sizing.problem import Design

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Pair = tuple[str, str]

_MOST_LINES = 12
_A_FEW = 4
"""Designs of a front that show a trade-off."""
_MOST_POINTS, _MOST_OTHERS = 60, 200
"""Designs of a front, and behind it, that are written down at most: more cannot be told apart in a picture."""


def checked_pair(metrics: MetricSet, pair: object) -> Pair:
    """Two different metrics.

    :raises ConfigError: they are not, or are not of these metrics.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2 or pair[0] == pair[1]:
        raise ConfigError(f"a front needs two different metrics, such as power and gbw, got {pair!r}")
    for name in pair:
        metrics.check_name(name)
    return pair[0], pair[1]


class Binding(BaseModel):
    """One spec that is missed, and how far it alone would have to give.

    target, reached: SI. reached: the best value among the designs that meet all other specs; None where none does.
    simulation, sizing: that design, counted from 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    target: float
    reached: float | None = None
    simulation: int | None = None
    sizing: dict[str, float] | None = None


class Point(BaseModel):
    """A design of a front: its number, counted from 1, metrics in SI units, sizing in declared units.

    An optional metric that could not be determined is not among the metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    simulation: int = Field(ge=1)
    meets_all: bool
    metrics: dict[str, float]
    sizing: dict[str, float]


class Front(BaseModel):
    """Designs of which none is better in both of two metrics, from the best in the first to the best in the second.

    kept: the specs that every one of them meets. complete: these are all specs besides those of the two metrics.
    others: (first, second), SI, of dominated designs that keep the same specs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: Pair
    kept: list[str]
    complete: bool
    points: list[Point]
    others: list[tuple[float, float]] = []

    def in_the_middle(self, metrics: MetricSet) -> Point:
        """The point that is the farthest from giving everything for one metric, on the scales of both.

        One that meets every spec comes before all others.
        """
        table = np.array([metrics.row(point.metrics) for point in self.points])
        columns = [metrics.names.index(name) for name in self.metrics]
        good = (metrics.signs * metrics.on_scale(table))[:, columns]  # (P, 2)
        low, high = good.min(axis=0), good.max(axis=0)
        worst = ((good - low) / np.where(high > low, high - low, 1.0)).min(axis=1).tolist()
        return max(zip(self.points, worst, strict=True), key=lambda each: (each[0].meets_all, each[1]))[0]


class Tradeoff(BaseModel):
    """What is written about specs that pull against each other, `tradeoff` in the file of the designs.

    asked: a front was drawn on purpose, whether or not the specs are met. binding: the specs that would have to give;
    none where every spec is met. together: those that the design with the fewest misses misses.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: bool = False
    binding: list[Binding] = []
    together: list[str] = []
    front: Front | None = None

    @classmethod
    def of(cls, circuit: Circuit, designs: Sequence[Design], targets: Targets, pair: Pair | None = None) -> Self | None:
        """Read off the designs of a search.

        :param designs: simulated ones, in the order of their simulation. :param targets: complete, SI.
        :param pair: of the front; None chooses the pair of specs in which the least would have to give.
        :return: None where no design works, or every spec is met and no front was asked for.
        """
        working = [(number, design) for number, design in enumerate(designs, start=1) if design.outcome.metrics]
        feasible = any(design.feasible for _, design in working)
        if not working or (feasible and pair is None):
            return None
        designs_table = _Table(circuit.metrics, working, targets)
        return cls(
            asked=pair is not None,
            binding=[] if feasible else designs_table.binding(),
            together=[] if feasible else designs_table.together(),
            front=designs_table.closest_front() if pair is None else designs_table.front(pair),
        )

    @staticmethod
    def read(content: object, source: str) -> Tradeoff:
        """The trade-off in a file of designs.

        :raises ConfigError: it is not one; the message names the source and the key.
        """
        return read_section(content, Tradeoff, f"{source}: tradeoff")

    def in_words(self, metrics: MetricSet) -> list[str]:
        """Lines that say which specs bind; none where every spec is met."""
        alone = [row for row in self.binding if row.reached is not None]
        if not self.binding:
            return []
        if not alone:
            return [
                "more than one spec stands in the way: no design of this search misses a single one; "
                f"the fewest are {len(self.together)} ({', '.join(self.together)})"
            ]
        lines = ["one of these alone would have to give for a design of this search to meet all others:"]
        width = max(len(row.metric) for row in alone)
        for row in alone:
            wanted, reached = target_text(metrics, row.metric, row.target), value_text(metrics, row.metric, row.reached)
            lines.append(f"  {row.metric:<{width}}  {wanted}  ->  {reached}")
        return lines

    def front_text(self, metrics: MetricSet) -> list[str]:
        """The front that was asked for, as the lines of a table of some of its designs; none otherwise."""
        if not self.asked or self.front is None:
            return []
        chosen = [self.front.points[place] for place in thinned(len(self.front.points), _MOST_LINES)]
        names = self.front.metrics
        rows = [
            (
                str(point.simulation),
                *(value_text(metrics, name, point.metrics[name]) for name in names),
                "yes" if point.meets_all else "no",
            )
            for point in chosen
        ]
        return table(("simulation", *names, "meets all"), rows, right=(0, 1, 2)).splitlines()


def value_text(metrics: MetricSet, name: str, value: float | None) -> str:
    """A value (SI) as it is compared with a target, with its unit."""
    metric = metrics[name]
    return quantity(None if value is None else metric.magnitude(value), metric.unit)


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(position) for position in np.linspace(0, count - 1, most)})


class _Table:
    """Working designs as arrays. Axes: N designs, S specs in the order of the targets."""

    def __init__(self, metrics: MetricSet, working: Sequence[tuple[int, Design]], targets: Targets) -> None:
        self._metrics, self._working, self._targets = metrics, working, targets
        self._specs = list(targets)
        values = np.array([metrics.row(design.outcome.metrics) for _, design in working])
        self._good = goodness(metrics, values)  # (N, K)
        columns = [metrics.names.index(name) for name in self._specs]
        self._limits = goodness(metrics, metrics.row(targets))[columns]  # (S,)
        self._meets = met(self._good[:, columns], self._limits)  # (N, S)
        self._of_specs = self._good[:, columns]  # (N, S)
        # By the reward of the environments, as every search does.
        self._best = max(range(len(working)), key=lambda row: working[row][1].reward)

    def binding(self) -> list[Binding]:
        """Every spec with the design that is best in it among those that meet all others."""
        rows = best_alone(self._of_specs, self._limits).tolist()
        return [self._binding(name, row) for name, row in zip(self._specs, rows, strict=True)]

    def _binding(self, name: str, row: int) -> Binding:
        target = float(self._targets[name])
        if row < 0:
            return Binding(metric=name, target=target)
        number, design = self._working[row]
        reached = _metrics_of(design)[name]
        return Binding(metric=name, target=target, reached=reached, simulation=number, sizing=design.sizing)

    def together(self) -> list[str]:
        """The specs that the design with the fewest misses misses."""
        row = fewest_missed(self._of_specs, self._limits)
        return [] if row < 0 else [name for name, meets in zip(self._specs, self._meets[row], strict=True) if not meets]

    def closest_front(self) -> Front | None:
        """The front of the two specs that are nearest to being all that stands in the way, and pull against each other.

        One of them is missed by the best design. It is that of designs that keep all other specs, if there are a few of
        them, else of those that keep what the best one keeps. Of the pairs of specs, those count whose front has a few
        designs, then those whose designs keep all others, then by the best reward, then by the number of designs.
        """
        missed = [name for name, meets in zip(self._specs, self._meets[self._best], strict=True) if not meets]
        pairs = [pair for pair in combinations(self._specs, 2) if set(pair) & set(missed)]
        fronts = [(pair, kept) for pair in pairs for kept in self._may_be_kept(pair)]
        return self._front(*max(fronts, key=lambda front: self._worth(*front))) if fronts else None

    def front(self, pair: Pair) -> Front:
        """The front of two metrics among the designs that keep all other specs, or those that the best one keeps."""
        return self._front(pair, self._may_be_kept(pair)[0])

    def _may_be_kept(self, pair: Pair) -> list[BoolArray]:
        """(S,) the specs that a front of the pair may keep: all others, if any design does, and what the best keeps."""
        others = np.array([name not in pair for name in self._specs])
        kept = [others, others & self._meets[self._best]]
        return [each for each in kept if self._keeping(each).any()]

    def _keeping(self, kept: BoolArray) -> BoolArray:
        """(N,) the designs that keep these specs."""
        rows: BoolArray = np.all(self._meets | ~kept, axis=1)
        return rows

    def _is_complete(self, pair: Pair, kept: BoolArray) -> bool:
        return all(kept[place] or name in pair for place, name in enumerate(self._specs))

    def _worth(self, pair: Pair, kept: BoolArray) -> tuple[int, bool, float, int]:
        """What `closest_front` chooses by."""
        rows = self._keeping(kept)
        size = len(np.unique(self._pair(pair)[rows][non_dominated(self._pair(pair)[rows])], axis=0))
        reward = max(self._working[row][1].reward for row in np.flatnonzero(rows).tolist())
        return min(size, _A_FEW), self._is_complete(pair, kept), reward, size

    def _front(self, pair: Pair, kept: BoolArray) -> Front:
        numbers = np.flatnonzero(self._keeping(kept))
        good = self._pair(pair)[numbers]
        on_front = non_dominated(good)
        # Two designs that are equal in both metrics are one point.
        _, first = np.unique(good[on_front], axis=0, return_index=True)
        chosen = numbers[on_front][first]
        chosen = chosen[np.argsort(-self._pair(pair)[chosen, 0])].tolist()
        behind = numbers[~on_front & ~np.isnan(good).any(axis=1)].tolist()
        return Front(
            metrics=pair,
            kept=[name for name, keeps in zip(self._specs, kept, strict=True) if keeps],
            complete=self._is_complete(pair, kept),
            points=[self._point(chosen[place]) for place in thinned(len(chosen), _MOST_POINTS)],
            others=[self._xy(behind[place], pair) for place in thinned(len(behind), _MOST_OTHERS)],
        )

    def _pair(self, pair: Pair) -> FloatArray:
        """(N, 2) goodness of the two metrics."""
        return self._good[:, [self._metrics.names.index(name) for name in pair]]

    def _point(self, row: int) -> Point:
        number, design = self._working[row]
        determined = design.outcome.determined or {}
        return Point(simulation=number, meets_all=design.feasible, metrics=determined, sizing=design.sizing)

    def _xy(self, row: int, pair: Pair) -> tuple[float, float]:
        metrics = _metrics_of(self._working[row][1])
        return metrics[pair[0]], metrics[pair[1]]


def _metrics_of(design: Design) -> Mapping[str, float]:
    metrics = design.outcome.determined
    assert metrics is not None, "only working designs have a place in the table"
    return metrics
