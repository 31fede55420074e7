"""Waves of a batch: each is computed for all its cases when the first of them is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zsgym.classes.testbench import Wave

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class Waves:
    """The waves of one analysis for several cases, each computed when it is read first."""

    def __init__(self, made: Mapping[str, Callable[[], Sequence[Wave] | Wave]]) -> None:
        self._made, self._known = made, dict[str, "Sequence[Wave] | Wave"]()

    def of(self, probe: str) -> Sequence[Wave] | Wave:
        """A probe's waves, one for each case."""
        if probe not in self._known:
            self._known[probe] = self._made[probe]()
        return self._known[probe]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class View(Mapping[str, Wave]):
    """The waves of one case."""

    def __init__(self, waves: Waves, row: int) -> None:
        self._waves, self._row = waves, row

    def __getitem__(self, probe: str) -> Wave:
        return self._waves.of(probe)[self._row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._waves)

    def __len__(self) -> int:
        return len(self._waves)


class Once:
    """Computes a value when it is wanted first."""

    def __init__(self, make: Callable[[], NDArray[np.complex128]]) -> None:
        self._make = make
        self._value: NDArray[np.complex128] | None = None

    def __call__(self) -> NDArray[np.complex128]:
        """The value."""
        if self._value is None:
            self._value = self._make()
        return self._value


def filled(steps: Floats, chosen: Rows, values: Floats) -> Floats:
    """(rows, steps) from (rows, chosen)."""
    if len(chosen) == len(steps):
        return values
    from scipy.interpolate import make_interp_spline  # imported when needed: it takes longer than all else

    way = np.sign(steps[-1] - steps[0])  # splines go upwards
    return np.asarray(make_interp_spline(way * steps[chosen], values.T, k=5)(way * steps).T, dtype=np.float64)


def now(values: Wave) -> Callable[[], Wave]:
    """What is known already."""
    return lambda: values


def later(function: Callable[..., Sequence[Wave] | Wave], *arguments: object) -> Callable[[], Sequence[Wave] | Wave]:
    """What a function gives when it is wanted."""
    return lambda: function(*arguments)
