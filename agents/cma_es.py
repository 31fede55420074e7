"""CMA-ES (N. Hansen and A. Ostermeier, 2001) on logarithmic sizes: the strongest agent that needs no surrogate.

The score is graded for sizings that do not work, which guides the search where the reward of the environments is flat.
A stalled search starts again elsewhere with twice the population (A. Auger and N. Hansen, CEC 2005).

    python agents/cma_es.py --env zsgym/NMCF-v0 --backend ngspice --budget 1500 --seed 1
    python agents/cma_es.py --env zsgym/NMCF-v0 --backend surrogate --seed 1      # SPICE only verifies
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about a missing matplotlib, which nobody asked for
    try:
        import cma
    except ImportError:
        raise SystemExit('error: this agent needs the package cma: pip install "zsgym[bench]"') from None

from agents.command import Arguments, main, option
from zsgym.errors import ConfigError
from zsgym.sizing.loop import MakeOptimiser

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CmaArguments(Arguments):
    """What the search is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 1500, "surrogate": 6000}

    population: int = option(14, "candidates per generation; doubled at every restart")


_LARGEST = 16
"""Largest population after restarts, in initial populations."""


class CmaEs:
    """Ask and tell, with restarts. :param start: None begins in the middle of the range."""

    def __init__(self, dimension: int, seed: int, start: FloatArray | None, width: float, population: int) -> None:
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
    """CMA-ES with a population.

    :raises ConfigError: it is too small to select from.
    """
    if population < 4:
        raise ConfigError(f"the population must be at least 4, got {population}")
    return lambda dimension, seed, start, width: CmaEs(dimension, seed, start, width, population)


if __name__ == "__main__":
    main(CmaArguments, "cma_es", __doc__, make=lambda arguments: cma_es(arguments.population))
