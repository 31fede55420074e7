"""CMA-ES (N. Hansen and A. Ostermeier, 2001), the package `cma`, with restarts.

A stalled search starts again elsewhere with twice the population (A. Auger and N. Hansen, CEC 2005).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about a missing matplotlib, which nobody asked for
    import cma

if TYPE_CHECKING:
    from zsgym.sizing.loop import MakeOptimiser

FloatArray = NDArray[np.float64]

_LARGEST = 16
"""Largest population after restarts, in initial populations."""
_RESTART_WIDTH = 0.3
"""Least first step of a restart: it looks elsewhere, also where the search began by refining a design."""


class CmaEs:
    """Ask and tell, with restarts.

    :param start: (n,) in [0, 1]; None begins in the middle of the range. :param width: first standard deviation.
    :param population: candidates per generation; doubled at every restart.
    :raises ConfigError: the population is too small to select from.
    """

    def __init__(
        self, dimension: int, seed: int, start: FloatArray | None = None, width: float = 0.3, population: int = 14
    ) -> None:
        if population < 4:
            raise ConfigError(f"the population must be at least 4, got {population}")
        self._generator = np.random.default_rng(seed)
        self._dimension, self._width, self._population = dimension, width, population
        self._largest = _LARGEST * population
        self._strategy = self._begin(np.full(dimension, 0.5) if start is None else start)

    def ask(self) -> FloatArray:
        """See `zsgym.sizing.loop.Optimiser`."""
        return np.array(self._strategy.ask())

    def tell(self, positions: FloatArray, values: FloatArray) -> None:
        """See `zsgym.sizing.loop.Optimiser`."""
        self._strategy.tell(list(positions), (-values).tolist())
        if self._strategy.stop():
            self._population = min(2 * self._population, self._largest)
            self._width = max(self._width, _RESTART_WIDTH)
            self._strategy = self._begin(self._generator.uniform(0.2, 0.8, self._dimension))

    def _begin(self, start: FloatArray) -> cma.CMAEvolutionStrategy:
        options = {
            "bounds": [0.0, 1.0],
            "popsize": self._population,
            "seed": int(self._generator.integers(1, 2**31)),
            "verbose": -9,
        }
        return cma.CMAEvolutionStrategy(start.tolist(), self._width, options)


def cma_es(population: int = 14) -> MakeOptimiser:
    """CMA-ES with a population."""
    return lambda dimension, seed, start, width: CmaEs(dimension, seed, start, width, population)
