"""Gradient ascent of a belief: Adam climbs from many starts at once.

Counts are relaxed first, then rounded and kept while the other parameters settle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zsgym.base.errors import ConfigError
from zsgym.sizing.belief import Belief
from zsgym.sizing.loop import FRESH_LOOK, distinct_positions
from zsgym.sizing.problem import Design
from zsgym.sizing.score import score

FloatArray = NDArray[np.float64]


class Ascent:
    """Proposes the ends of climbs; the next round goes on from there, and every tenth looks around again.

    :param budget: evaluations of the model in the first round: 30 % look for starts, 70 % climb.
    :param starts: points that climb at the same time.
    :param learning_rate: first step of Adam, as a fraction of a parameter's logarithmic range.
    :raises ConfigError: there is nothing to climb from, or the step is not a fraction.
    """

    def __init__(self, seed: int, budget: int = 7000, starts: int = 32, learning_rate: float = 0.03) -> None:
        self._generator = np.random.default_rng(seed)
        if starts < 1 or not 0.0 < learning_rate < 1.0:
            raise ConfigError(f"starts must be at least 1, learning_rate in (0, 1): got {starts} and {learning_rate:g}")
        self._starts, self._few, self._rate = starts, max(starts // 4, 1), learning_rate
        self._pool = max(round(0.3 * budget), starts)
        self._steps = max(round(0.7 * budget / starts), 3)
        self._rounds = 0
        self._ends = torch.empty(0)

    def __call__(self, belief: Belief, simulated: Sequence[Design], k: int) -> FloatArray:
        """See `zsgym.sizing.loop.Propose`."""
        fresh = self._rounds % FRESH_LOOK == 0 or not simulated
        if fresh:
            ends, values = self._climb(belief, self._look_around(belief), self._steps, self._rate)
        else:
            starts = torch.cat([self._ends[: self._few], self._around_best(belief, simulated)])
            ends, values = self._climb(belief, starts, self._steps // 3, self._rate / 2.0)
        self._rounds += 1
        order = values.argsort(descending=True)
        self._ends = ends[order]
        return distinct_positions(self._ends.numpy(), values[order].numpy(), k)

    def _look_around(self, belief: Belief) -> Tensor:
        """The most promising of many random positions."""
        pool = torch.from_numpy(self._generator.uniform(size=(self._pool, len(belief.scale.low))))
        with torch.no_grad():
            values = torch.cat([belief.log_feasibility(part) for part in torch.split(pool, 256)])
        return pool[values.argsort(descending=True)[: self._starts]]

    def _around_best(self, belief: Belief, simulated: Sequence[Design]) -> Tensor:
        """Positions near the best simulated design."""
        best = belief.scale.positions(max(simulated, key=score).point)
        steps = 0.03 * self._generator.standard_normal((self._few, len(best)))
        return torch.from_numpy(np.clip(best + steps, 0.0, 1.0))

    def _climb(self, belief: Belief, starts: Tensor, steps: int, rate: float) -> tuple[Tensor, Tensor]:
        """Adam with a cosine schedule, projected onto [0, 1]; counts are whole from two thirds of the way on."""
        positions = starts.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([positions], lr=rate, betas=(0.9, 0.99))
        for step in range(steps):
            settled = step >= 2 * steps // 3
            if step == 2 * steps // 3:
                _assign(positions, belief.rounded(positions.detach()))
            optimiser.param_groups[0]["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / steps) + 0.02)
            optimiser.zero_grad()
            loss = -belief.log_feasibility(positions).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            before = positions.detach().clone()
            optimiser.step()
            moved = positions.detach().clamp(0.0, 1.0)
            _assign(positions, torch.where(belief.is_count & settled, before, moved))
        ends = belief.rounded(positions.detach())
        with torch.no_grad():
            return ends, belief.log_feasibility(ends)


def _assign(positions: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        positions.copy_(values)
