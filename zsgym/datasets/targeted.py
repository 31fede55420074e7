"""The `targeted` sampling strategy: more samples where amplifiers work, and along the border of that region.

Uniform draws teach nothing about a topology whose working region is a sliver of the bounds (of 600 uniform NMCNR
sizings none works). This strategy starts broad and then learns from its own labels, round by round:

- *Bootstrap* (the first 256 samples): the circuit's known-good sizings, a quarter of the rest as perturbations of them,
  all others logarithmic draws.
- *Later rounds* (128 samples each, made from all earlier labels), by fixed shares:

  | share | move | what it is for |
  | --- | --- | --- |
  | 25 % | perturb a working sizing: some of its parameters, by a step of 1 % to 50 % of their range | the inside |
  | 35 % | a point between a working sizing and one of its nearest failing ones | the border, from both sides |
  | 10 % | a point on the line through two working sizings, up to 30 % beyond either | new parts of the inside |
  | 30 % | a fresh draw, logarithmic or uniform with equal chances | everything else, and a look for unknown modes |

  On NMCNR about 80 %, 50 %, 85 % and 4 % of these work, so that the whole comes out near balance.

Against collapse onto the first few working sizings and their offspring, a parent is, of 64 working sizings drawn at
random, the nearest to a random place as seen along four random parameters: a small region far from the crowd keeps its
share, and the spread along every parameter is kept. Fresh draws never stop. All moves are made on logarithmic positions
between the bounds of an action, reflected at the bounds, so that a step means the same for a capacitor and for a width.
While no working sizing is known, every sample is a bootstrap sample.

Sample i depends on circuit, seed, i and the labels of earlier rounds alone (see `zsgym.datasets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.datasets.strategies import LabelledSizing, register_strategy, sample, uniform_numbers

FloatArray = NDArray[np.float64]

ROUND_SIZE = 128
BOOTSTRAP = 256
"""Samples before labels are used: 2 % of a data set of 12,500."""

_PERTURB, _BORDER, _BLEND = 0.25, 0.60, 0.70  # cumulative shares; the rest are fresh draws
_KNOWN_GOOD_SHARE = 0.25
_SMALLEST_STEP, _LARGEST_STEP = 0.01, 0.5  # fractions of a parameter's (logarithmic) range
_REACH = 0.3  # how far beyond two working sizings a blend may go, as a fraction of their distance
_SOME = 64  # rows among which the nearest is looked for
_SEEN = 4
"""Parameters along which a parent is the nearest. Along all of them it would be the same few central rows each time."""
_STRIDE = 7919  # a prime


@dataclass(frozen=True, eq=False)
class Targeted:
    """The strategy of one round.

    working, failing: logarithmic positions (rows, parameters) of the sizings labelled in earlier rounds.
    """

    circuit: Circuit
    working: FloatArray
    failing: FloatArray

    @classmethod
    def from_labels(cls, circuit: Circuit, labelled: Sequence[LabelledSizing]) -> Targeted:
        """Learn from the labelled samples of all earlier rounds, in their order."""
        names = circuit.parameter_names
        values = np.array([[row.sizing[name] for name in names] for row in labelled]).reshape(-1, len(names))
        works = np.array([row.label == 1 for row in labelled], dtype=bool)
        positions = _positions(circuit, values)
        return cls(circuit, positions[works], positions[~works])

    def propose(self, seed: int, indices: Sequence[int]) -> list[dict[str, float]]:
        """See `Strategy.propose`."""
        return [self._sizing(seed, index) for index in indices]

    def _sizing(self, seed: int, index: int) -> dict[str, float]:
        count = len(self.circuit.parameters)
        numbers = uniform_numbers(f"targeted/{self.circuit.name}", seed, index, 4 * count + 8)
        choice, draws = float(numbers[0]), _Draws(numbers[1:8], numbers[8:].reshape(4, count))
        if index < BOOTSTRAP or not len(self.working):
            return self._bootstrap(seed, index, choice, draws)
        if choice < _PERTURB:
            return self._at(_perturbed(self._parent(draws), self._is_count, draws))
        if choice < _BORDER and len(self.failing):
            return self._at(self._between(draws))
        if choice < _BLEND:
            return self._at(self._blend(draws))
        return sample(self.circuit, "log" if draws.scalars[0] < 0.5 else "uniform", seed, index)

    def _bootstrap(self, seed: int, index: int, choice: float, draws: _Draws) -> dict[str, float]:
        known = list(self.circuit.known_good.values())
        if index < len(known):
            return known[index]
        if known and choice < _KNOWN_GOOD_SHARE:
            start = self.circuit.vector(known[_pick(draws.scalars[0], len(known))])
            return self._at(_perturbed(_positions(self.circuit, start), self._is_count, draws))
        return sample(self.circuit, "log", seed, index)

    def _parent(self, draws: _Draws) -> FloatArray:
        """Of some working sizings, drawn at random, the nearest to a random place as seen along a few parameters.

        Rows of a crowd share the places around them, so that each of them is chosen more rarely than a row on its own.
        """
        some = _some(self.working, draws.scalars[0])
        return _nearest(some, draws.rows[2], np.argsort(draws.rows[3])[:_SEEN])

    def _between(self, draws: _Draws) -> FloatArray:
        """A point between a working sizing and the nearest of some failing ones, spread evenly along the way."""
        inside = self._parent(draws)
        outside = _nearest(_some(self.failing, draws.scalars[3]), inside, slice(None))
        point: FloatArray = inside + draws.scalars[4] * (outside - inside)
        return point

    def _blend(self, draws: _Draws) -> FloatArray:
        """A point on the line through two working sizings."""
        one, other = self._parent(draws), _some(self.working, draws.scalars[3])[0]
        if np.array_equal(one, other):
            return _perturbed(one, self._is_count, draws)
        point: FloatArray = one + (draws.scalars[4] * (1.0 + 2.0 * _REACH) - _REACH) * (other - one)
        return point

    def _at(self, positions: FloatArray) -> dict[str, float]:
        """The sizing at logarithmic positions (n,); positions beyond the bounds are reflected, counts rounded."""
        folded = np.abs(positions) % 2.0
        low, high = self.circuit.bounds
        values = low * (high / low) ** np.where(folded > 1.0, 2.0 - folded, folded)
        return self.circuit.sizing(np.clip(np.where(self._is_count, np.rint(values), values), low, high))

    @property
    def _is_count(self) -> NDArray[np.bool_]:
        return np.array([parameter.integer for parameter in self.circuit.parameters])


@dataclass(frozen=True, slots=True)
class _Draws:
    """Uniform numbers of one sample: `scalars` (7,), and `rows` (4, parameters)."""

    scalars: FloatArray
    rows: FloatArray


def _perturbed(position: FloatArray, is_count: NDArray[np.bool_], draws: _Draws) -> FloatArray:
    """Some parameters (from one to all) moved by a third of a step to a whole one, up or down.

    The step has any size, over almost two decades. A count may round back to where it was, so that a parameter that is
    no count always moves: no sample repeats its parent.
    """
    step = _SMALLEST_STEP * (_LARGEST_STEP / _SMALLEST_STEP) ** draws.scalars[4]
    moved = draws.rows[0] < (1.0 / len(position)) ** draws.scalars[5]
    moved[int(np.argmin(np.where(is_count, 2.0, draws.rows[0])))] = True
    up_or_down = 2.0 * draws.rows[1] - 1.0
    return position + np.where(moved, step * (np.sign(up_or_down) + 2.0 * up_or_down) / 3.0, 0.0)


def _positions(circuit: Circuit, values: FloatArray) -> FloatArray:
    """Logarithmic positions (..., n) of values in declared units: 0 at the lower bound of an action, 1 at the upper."""
    low, high = circuit.bounds
    positions: FloatArray = np.log(values / low) / np.log(high / low)
    return positions


def _some(positions: FloatArray, number: float) -> FloatArray:
    """A few rows (at least one) that a uniform number in [0, 1) selects.

    They are far apart in the log, because rows next to each other are often siblings and no random sample.
    """
    count = len(positions)
    chosen: FloatArray = positions[(_pick(number, count) + _STRIDE * np.arange(min(_SOME, count))) % count]
    return chosen


def _nearest(positions: FloatArray, place: FloatArray, parameters: NDArray[np.intp] | slice) -> FloatArray:
    """The row that is nearest to a place, as seen along some of the parameters."""
    offsets = (positions - place)[:, parameters]
    row: FloatArray = positions[int(np.argmin(np.einsum("ij,ij->i", offsets, offsets)))]
    return row


def _pick(number: float, count: int) -> int:
    """An index below `count` from a uniform number in [0, 1)."""
    return min(int(number * count), count - 1)


register_strategy("targeted", Targeted.from_labels, round_size=ROUND_SIZE)
