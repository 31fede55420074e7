"""Random search with local refinement: the floor for all other optimisers.

The first positions are drawn at random; the rest perturbs the best one found so far, with a step width that grows
after a success and shrinks after a failure (the one-fifth rule of I. Rechenberg, 1973).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zsgym.sizing.loop import MakeOptimiser

FloatArray = NDArray[np.float64]


class RandomSearch:
    """Ask and tell, one position at a time.

    :param start: (n,) in [0, 1]; refined from the beginning, without random draws. :param width: first step from it.
    :param explore: random draws otherwise.
    """

    def __init__(
        self, dimension: int, seed: int, start: FloatArray | None = None, width: float = 0.3, explore: int = 160
    ) -> None:
        self._generator = np.random.default_rng(seed)
        self._best = np.full(dimension, 0.5) if start is None else start
        self._value = -np.inf
        self._width = width if start is not None else 0.1
        self._explore = explore if start is None else 0

    def ask(self) -> FloatArray:
        """See `zsgym.sizing.loop.Optimiser`."""
        if self._explore > 0:
            return self._generator.uniform(size=(1, len(self._best)))
        step = self._width * self._generator.standard_normal((1, len(self._best)))
        return np.clip(self._best + step, 0.0, 1.0)

    def tell(self, positions: FloatArray, values: FloatArray) -> None:
        """See `zsgym.sizing.loop.Optimiser`."""
        better = values[0] > self._value
        if better:
            self._best, self._value = positions[0], values[0]
        if self._explore > 0:
            self._explore -= 1
        else:
            self._width = float(np.clip(self._width * (1.5 if better else 1.5**-0.25), 0.01, 0.3))


def random_search(explore: int = 160) -> MakeOptimiser:
    """Random search with a number of independent draws."""
    return lambda dimension, seed, start, width: RandomSearch(dimension, seed, start, width, explore)
