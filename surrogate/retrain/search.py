"""An agent of the loop's own: many searches on the surrogate at once, each for targets of its own.

An optimiser finds the sizings about which a surrogate is most mistaken to its own advantage. So the searches are both
the test of a checkpoint (what share of their designs does ngspice confirm?) and the source of what it has to learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from surrogate.checkpoint import Checkpoint
from surrogate.retrain.choose import Found, judged
from surrogate.simulator import SurrogateSimulator
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import Better
from zsgym.sizing.belief import Belief

FloatArray = NDArray[np.float64]

_DECADE = {"dB": 20.0, "deg": 25.0}
"""Unit -> what counts as a factor of ten in a metric that is a logarithm or an angle."""
_CONTROL = 1000
"""Random sizings among which the control is chosen."""


class SearchSettings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    searches: int = Field(gt=0)
    generations: int = Field(gt=0)
    population: int = Field(ge=4)
    step: float = Field(gt=0, le=1)
    starts: int = Field(gt=0)
    published: float = Field(ge=0, le=1)
    looser: float = Field(ge=0)
    tighter: float = Field(ge=0)


def draw_targets(circuit: Circuit, settings: SearchSettings, rng: np.random.Generator) -> dict[str, float]:
    """The circuit's targets, each relaxed or tightened on its own by a uniform number of decades."""
    targets = {}
    for name, target in circuit.targets.items():
        metric = circuit.metrics[name]
        decades = float(rng.uniform(-settings.looser, settings.tighter))  # positive: harder
        if metric.better is not Better.HIGH:
            decades = -decades
        targets[name] = target + _DECADE[metric.unit] * decades if metric.unit in _DECADE else target * 10.0**decades
    return targets


class Crowd(Belief):
    """What a surrogate believes about many searches at once, each with targets of its own.

    :param targets: of S searches.
    """

    def __init__(self, checkpoint: Checkpoint, circuit: Circuit, targets: Sequence[Mapping[str, float]]) -> None:
        super().__init__(checkpoint, circuit, circuit.targets)
        low = np.full((len(targets), 1, len(circuit.metrics)), -np.inf)
        high = -low
        for i, wanted in enumerate(targets):
            for name, target in wanted.items():
                k, better = circuit.metrics.names.index(name), circuit.metrics[name].better
                bounds = self._transforms[k].normalise(np.array([-abs(target), target]))
                if better is not Better.HIGH:
                    high[i, 0, k] = bounds[1]
                if better is not Better.LOW:
                    low[i, 0, k] = bounds[0] if better is Better.LOW_MAGNITUDE else bounds[1]
        self._lowest, self._highest = torch.from_numpy(low), torch.from_numpy(high)  # (S, 1, K)

    def predict(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Logarithm of the probability of being feasible (S, B), and of working p_valid (S, B).

        :param positions: (S, B, n) logarithmic positions in [0, 1]; counts are rounded.
        """
        searches, size, n = positions.shape
        with torch.inference_mode():
            flat = self.rounded(torch.from_numpy(positions.reshape(-1, n)))
            parts = [self._predict(part) for part in torch.split(flat, 512)]
            logit, metrics = (torch.cat(column) for column in zip(*parts, strict=True))
            metrics = metrics.reshape(searches, size, -1)  # (S, B, K)
            value = torch.nn.functional.logsigmoid(logit).reshape(searches, size)
            for excess in (metrics - self._lowest, self._highest - metrics):
                value = value + torch.special.log_ndtr(excess / self._spread).sum(dim=-1)
        return value.numpy(), torch.sigmoid(logit).reshape(searches, size).numpy()


def search(simulator: SurrogateSimulator, settings: SearchSettings, rng: np.random.Generator) -> Found:
    """Run all searches, one generation of all of them per call of the surrogate.

    :return: the design that each search thinks most probably feasible, best first, and every sizing on the way.
    :raises ConfigError: the package `cma` is missing.
    """
    circuit, n = simulator.circuit, len(simulator.circuit.parameters)
    kept = round(settings.published * settings.searches)
    targets = [
        dict(circuit.targets) if i < kept else draw_targets(circuit, settings, rng) for i in range(settings.searches)
    ]
    crowd = Crowd(simulator.checkpoint, circuit, targets)
    asked = rng.random((settings.searches, settings.starts, n))
    values, p_valid = crowd.predict(asked)
    best, best_value = _best_of(asked, values)
    strategies = _strategies(best, settings, rng)
    visited, chances = [asked], [p_valid]
    for _ in tqdm(range(settings.generations), desc="search", unit="generation", leave=False):
        asked = np.array([strategy.ask() for strategy in strategies])
        values, p_valid = crowd.predict(asked)
        for strategy, positions, own in zip(strategies, asked, values, strict=True):
            strategy.tell(list(positions), (-own).tolist())
        found, value = _best_of(asked, values)
        best = np.where((value > best_value)[:, None], found, best)
        best_value = np.maximum(value, best_value)
        visited.append(asked)
        chances.append(p_valid)

    def vectors(positions: FloatArray) -> FloatArray:
        return circuit.from_point(crowd.scale.points(positions.reshape(-1, n)))

    ends = judged(simulator, vectors(best), targets)
    return Found(
        sorted(ends, key=lambda end: (end.design.reward, end.design.outcome.p_valid or 0.0), reverse=True),
        np.concatenate([vectors(positions) for positions in visited]),
        np.concatenate([p.ravel() for p in chances]),
        vectors(rng.random((_CONTROL, n))),
    )


def _best_of(positions: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Position (S, n) and value (S,) of the best in each search, of positions (S, B, n) and values (S, B)."""
    rows = np.arange(len(values)), values.argmax(axis=1)
    return positions[rows], values[rows]


def _strategies(starts: FloatArray, settings: SearchSettings, rng: np.random.Generator) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing matplotlib, which nobody asked for
        try:
            import cma
        except ImportError as error:
            raise ConfigError("the searches need the package cma: pip install 'zsgym[bench]'") from error
    # cma's own generator is global; this one makes a round repeatable.
    options = {
        "bounds": [0.0, 1.0],
        "popsize": settings.population,
        "verbose": -9,
        "seed": np.nan,
        "randn": lambda *shape: rng.standard_normal(shape),
    }
    return [cma.CMAEvolutionStrategy(start, settings.step, options) for start in starts]
