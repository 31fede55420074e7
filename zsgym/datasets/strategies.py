"""Where the generators' sizings come from: named strategies, each a pure function of circuit, seed and sample index.

Sample number i of a seed is always the same sizing, whoever draws it: a dataset does not depend on the number of
workers, and an interrupted one continues exactly. Only the raw bits of numpy's PCG64 and its SeedSequence are used:
numpy promises to keep those streams across versions (NEP 19), which it does not for the distributions of `Generator`.

A strategy may learn from labels. Then its samples come in *rounds*: the strategy of a round is made from the labelled
samples of all earlier rounds, and from nothing else, so that the whole sequence stays reproducible:

    labelled = []
    for indices in rounds(name, count):
        sizings = make_strategy(name, circuit, labelled).propose(seed, indices)
        labelled += [LabelledSizing(sizing, label) for ...]
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.circuits import Circuit, SizingParameter


class LabelledSizing(NamedTuple):
    """A sizing of an earlier round and its label: 1 works, 0 is a circuit failure."""

    sizing: dict[str, float]
    label: int


class Strategy(Protocol):
    """Proposes sizings. Immutable: the same call gives the same answer."""

    def propose(self, seed: int, indices: Sequence[int]) -> list[dict[str, float]]:
        """The complete sizings with these sample indices, in the same order."""
        ...


StrategyFactory = Callable[[Circuit, Sequence[LabelledSizing]], Strategy]


@dataclass(frozen=True, slots=True)
class _Entry:
    make: StrategyFactory
    round_size: int | None


_REGISTRY: dict[str, _Entry] = {}


def register_strategy(name: str, make: StrategyFactory, *, round_size: int | None = None) -> None:
    """Make a strategy known under a name.

    :param make: builds the strategy of a round from the circuit and the labelled samples of all earlier rounds.
    :param round_size: number of samples per round; None for a strategy that needs no labels and has a single round.
    :raises ConfigError: another strategy has this name.
    """
    if name in _REGISTRY and _REGISTRY[name].make is not make:
        raise ConfigError(f"a sampling strategy named {name!r} exists already")
    _REGISTRY[name] = _Entry(make, round_size)


def list_strategies() -> list[str]:
    """Names of every registered strategy."""
    return sorted(_REGISTRY)


def make_strategy(name: str, circuit: Circuit, labelled: Sequence[LabelledSizing] = ()) -> Strategy:
    """The strategy of the round that follows the labelled samples.

    :raises ConfigError: unknown name; the message lists the known ones.
    """
    return _entry(name).make(circuit, labelled)


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise ConfigError(f"unknown sampling strategy {name!r}. {did_you_mean(name, list_strategies(), 'Known')}")
    return _REGISTRY[name]


def rounds(name: str, count: int) -> list[range]:
    """The sample indices 0 .. count - 1 in consecutive rounds: all at once for a strategy that needs no labels."""
    size = _entry(name).round_size or max(count, 1)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def sample(circuit: Circuit, strategy: str, seed: int, index: int) -> dict[str, float]:
    """One sizing of a strategy that needs no labels (or of the first round of one that does)."""
    return make_strategy(strategy, circuit).propose(seed, [index])[0]


def uniform_numbers(stream: str, seed: int, index: int, count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), shape (count,), that depend on the three arguments alone.

    :param stream: keeps the draws of different circuits and strategies apart.
    :raises ConfigError: seed or index is negative.
    """
    if seed < 0 or index < 0:
        raise ConfigError(f"seed and sample index must not be negative, got {seed} and {index}")
    entropy = np.random.SeedSequence((zlib.crc32(stream.encode()), seed, index))
    raw = np.random.PCG64(entropy).random_raw(count)
    # The 53 highest bits make a double, as in numpy's own `random`.
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class _Independent:
    """Every parameter on its own: uniform in the published bounds, or log-uniform in the logarithmic ones."""

    name: str
    circuit: Circuit
    value: Callable[[SizingParameter, float], float]

    def propose(self, seed: int, indices: Sequence[int]) -> list[dict[str, float]]:
        stream = f"{self.name}/{self.circuit.name}"
        parameters = self.circuit.parameters
        return [
            {
                parameter.name: self.value(parameter, number)
                for parameter, number in zip(
                    parameters, uniform_numbers(stream, seed, index, len(parameters)).tolist(), strict=True
                )
            }
            for index in indices
        ]


def _uniform_value(parameter: SizingParameter, number: float) -> float:
    low, high = parameter.uniform_bounds
    # Every count gets the same share, the two at the ends included.
    return float(low + int(number * (high - low + 1))) if parameter.integer else low + number * (high - low)


def _log_value(parameter: SizingParameter, number: float) -> float:
    low, high = parameter.log_bounds
    # A count k stands for [k, k + 1).
    top = high + 1 if parameter.integer else high
    value = low * (top / low) ** number
    return min(float(int(value)), high) if parameter.integer else min(value, high)


register_strategy("uniform", lambda circuit, labelled: _Independent("uniform", circuit, _uniform_value))
register_strategy("log", lambda circuit, labelled: _Independent("log", circuit, _log_value))
