"""Tree-structured Parzen estimator (J. Bergstra et al., NeurIPS 2011) of Optuna, multivariate."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError

if TYPE_CHECKING:
    from zsgym.sizing.loop import MakeOptimiser

FloatArray = NDArray[np.float64]


class Tpe:
    """Ask and tell, one position at a time.

    :param start: (n,) in [0, 1], the first position; the random ones then stay within twice `width` of it.
    :param startup: random positions before the estimator is used.
    :raises ConfigError: there is no random position to learn from, or Optuna is missing.
    """

    def __init__(
        self, dimension: int, seed: int, start: FloatArray | None = None, width: float = 0.3, startup: int = 100
    ) -> None:
        if startup < 1:
            raise ConfigError(f"startup must be at least 1 random sizing, got {startup}")
        try:
            import optuna
        except ImportError:
            raise ConfigError('TPE needs the package optuna: pip install "zsgym[bench]"') from None
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
    """TPE with a number of random positions."""
    return lambda dimension, seed, start, width: Tpe(dimension, seed, start, width, startup)
