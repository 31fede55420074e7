"""Tree-structured Parzen estimator (J. Bergstra et al., NeurIPS 2011) of Optuna, multivariate, on logarithmic sizes.

python agents/tpe.py --env zsgym/NMCF-v0 --backend ngspice --budget 800 --seed 1
python agents/tpe.py --env zsgym/NMCF-v0 --backend surrogate --seed 1         # SPICE only verifies
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

try:
    import optuna
except ImportError:
    raise SystemExit('error: this agent needs the package optuna: pip install "zsgym[bench]"') from None

from agents.command import Arguments, main, option
from zsgym.errors import ConfigError
from zsgym.sizing.loop import MakeOptimiser

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TpeArguments(Arguments):
    """What the search is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 800, "surrogate": 1000}

    startup: int = option(100, "random sizings before the estimator is used")


class Tpe:
    """Ask and tell, one position at a time.

    :param start: the first position; the random ones then stay within twice `width` of it.
    """

    def __init__(self, dimension: int, seed: int, start: FloatArray | None, width: float, startup: int) -> None:
        low, high = np.zeros(dimension), np.ones(dimension)
        if start is not None:
            low, high = np.clip(start - 2.0 * width, 0.0, 1.0), np.clip(start + 2.0 * width, 0.0, 1.0)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=startup)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space: dict[str, optuna.distributions.BaseDistribution] = {
            f"x{i}": optuna.distributions.FloatDistribution(low[i], high[i]) for i in range(dimension)
        }
        if start is not None:
            self._study.enqueue_trial(dict(zip(self._space, start.tolist(), strict=True)))

    def ask(self) -> FloatArray:
        """See `zsgym.sizing.loop.Optimiser`."""
        self._trial = self._study.ask(self._space)
        return np.array([[self._trial.params[name] for name in self._space]])

    def tell(self, positions: FloatArray, values: FloatArray) -> None:
        """See `zsgym.sizing.loop.Optimiser`."""
        self._study.tell(self._trial, float(values[0]))


def tpe(startup: int = 100) -> MakeOptimiser:
    """TPE with a number of random sizings.

    :raises ConfigError: there is none to learn from.
    """
    if startup < 1:
        raise ConfigError(f"startup must be at least 1 random sizing, got {startup}")
    return lambda dimension, seed, start, width: Tpe(dimension, seed, start, width, startup)


if __name__ == "__main__":
    main(TpeArguments, "tpe", __doc__, make=lambda arguments: tpe(arguments.startup))
