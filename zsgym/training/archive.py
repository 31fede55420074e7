"""The best sizings that a policy has passed, as the simulator that it trains on saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.classes import Targets

FloatArray = NDArray[np.float64]

CAPACITY = 1000


class Archive:
    """The best working sizings seen so far: by reward, and where every spec is met by the smallest margin.

    points: (N, n) normalised sizings, best first. merit: (N,) the reward below zero, the smallest margin above.

    :param targets: that count, whatever a policy is shown (metric -> SI value).
    """

    def __init__(self, circuit: Circuit, targets: Targets) -> None:
        self.circuit, self.targets = circuit, targets
        self.points: FloatArray = np.empty((0, len(circuit.parameters)))
        self.merit: FloatArray = np.empty(0)
        self._columns = [i for i, name in enumerate(circuit.metrics.names) if name in targets]
        self._wanted = np.array(circuit.metrics.row(targets))

    @property
    def specs(self) -> list[str]:
        """Names of the metrics with a target, in the order of the class: the columns of margins."""
        return [self.circuit.metrics.names[column] for column in self._columns]

    @property
    def feasible(self) -> int:
        """How many of them meet every spec."""
        return int((self.merit >= 0.0).sum())

    def offer(self, infos: Sequence[Mapping[str, Any]]) -> FloatArray:
        """Take what is better than the worst that is kept.

        :param infos: of steps of an environment. :return: margins (B, specs) of those that work.
        """
        working = [info for info in infos if info["sim_success"]]
        if not working:
            return np.empty((0, len(self._columns)))
        metrics = np.array([list(info["metrics"].values()) for info in working])  # in the order of the class
        vectors = np.array([list(info["sizing"].values()) for info in working])
        margins: FloatArray = self.circuit.metrics.margin_table(metrics, self._wanted)[:, self._columns]
        self.add(np.clip(self.circuit.to_point(vectors), -1.0, 1.0), margins)
        return margins

    def add(self, points: FloatArray, margins: FloatArray) -> None:
        """The same for working sizings (B, n) with their margins (B, specs)."""
        reward = np.minimum(margins, 0.0).sum(axis=1)
        merit = np.where(reward < 0.0, reward, margins.min(axis=1))
        floor = self.merit.min() if len(self.merit) >= CAPACITY else -np.inf
        better = merit > floor
        if not better.any():
            return
        points, first = np.unique(np.concatenate([self.points, points[better]]), axis=0, return_index=True)
        merit = np.concatenate([self.merit, merit[better]])[first]
        order = np.argsort(-merit, kind="stable")[:CAPACITY]
        self.points, self.merit = points[order], merit[order]
