"""Sizings as numbers of the solver: values of elements, and prepared transistors at any corner and temperature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.netlist import TRANSISTORS, Expression
from zsgym.pdk import load_corner
from zsgym.simulators.physics.card import CARD, read_card
from zsgym.simulators.physics.prepare import GEOMETRY, prepare_many

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
_MICRO = 1e-6
_SIZES = {
    "w": _MICRO, "l": _MICRO, "m": 1.0, "nf": 1.0, "ad": _MICRO**2, "as": _MICRO**2, "pd": _MICRO, "ps": _MICRO,
    "nrd": 1.0, "nrs": 1.0,
}  # fmt: skip
"""Size of a transistor -> its unit in the netlist, in SI."""
_BIN_TOLERANCE = 1e-9
"""In m: ngspice accepts a size that misses a bin limit by up to 1 nm (`zsgym.pdk.library`)."""


class Cards:
    """All model cards of one corner, those of both kinds of transistor in one row; each is read when it is needed."""

    def __init__(self, corner: str) -> None:
        bins = load_corner(corner).bins
        self._bins = [(kind, bin_) for kind in bins for bin_ in bins[kind]]
        limits = [(bin_.w_min, bin_.w_max, bin_.l_min, bin_.l_max) for _, bin_ in self._bins]
        self._w_min, self._w_max, self._l_min, self._l_max = np.array(limits).T
        self._first = {"nmos": 0, "pmos": 0}
        for place, (kind, _) in enumerate(self._bins):
            if place == 0 or self._bins[place - 1][0] != kind:
                self._first[kind] = place
        self._last = {kind: first + len(bins[kind]) for kind, first in self._first.items()}
        self.numbers = np.zeros((len(self._bins), 4), dtype=CARD)
        """(bins, 4) of `CARD`: those that were found are read."""
        self._read = np.zeros(len(self._bins), dtype=bool)

    def find(self, kind: str, width: Floats, length: Floats) -> tuple[Places, NDArray[np.bool_]]:
        """Number of the first bin that holds each size (m), as ngspice chooses, and whether there is one."""
        part, e = slice(self._first[kind], self._last[kind]), _BIN_TOLERANCE
        w, l = width[:, None], length[:, None]  # noqa: E741 (the field's name)
        holds = (self._l_min[part] - e <= l) & (l <= self._l_max[part] + e)
        holds &= (self._w_min[part] - e <= w) & (w <= self._w_max[part] + e)
        inside = holds.any(axis=1)
        which = self._first[kind] + holds.argmax(axis=1)
        for place in np.unique(which[inside]):
            if not self._read[place]:
                own, bin_ = self._bins[place]
                self.numbers[place] = read_card(own, bin_.parameters, name=bin_.name)
                self._read[place] = True
        return which, inside


@lru_cache(maxsize=8)
def cards_of(corner: str) -> Cards:
    """The cards of a corner. :raises PdkError: no PDK is installed, or it lacks the corner."""
    return Cards(corner)


@dataclass(frozen=True)
class _Plan:
    """What a circuit's sizes are made of, found once.

    expressions: every different one. fields: expression, transistor, field of `GEOMETRY`, unit. bins: kind, and the
    transistors of one width and length. values: name and expression of each device of two terminals.
    """

    count: int
    expressions: tuple[Expression, ...]
    fields: tuple[tuple[int, int, str, float], ...]
    bins: tuple[tuple[str, list[int]], ...]
    values: tuple[tuple[str, int], ...]


@lru_cache(maxsize=64)
def _plan(circuit: Circuit) -> _Plan:
    numbers: dict[str, int] = {}
    expressions: list[Expression] = []

    def number(expression: Expression) -> int:
        text = str(expression)
        if text not in numbers:
            numbers[text] = len(expressions)
            expressions.append(expression)
        return numbers[text]

    transistors = [device for device in circuit.devices if device.kind in TRANSISTORS]
    fields: list[tuple[int, int, str, float]] = []
    bins: dict[tuple[str, int, int], list[int]] = {}
    for place, device in enumerate(transistors):
        for name, unit in _SIZES.items():
            if name in device.values:
                fields.append((number(device.values[name]), place, "as_" if name == "as" else name, unit))
        bins.setdefault((device.kind, number(device.values["w"]), number(device.values["l"])), []).append(place)
    values = [(d.name, number(d.values["value"])) for d in circuit.devices if d.kind not in TRANSISTORS]
    groups = tuple((kind, places) for (kind, _, _), places in bins.items())
    return _Plan(len(transistors), tuple(expressions), tuple(fields), groups, tuple(values))


class Sizes:
    """Sizings of one circuit as arrays.

    :param vectors: (B, n) sizings in declared units. :param corner: of the process.
    """

    def __init__(self, circuit: Circuit, vectors: Floats, corner: str) -> None:
        self._cards, self._plan = cards_of(corner), _plan(circuit)
        self._columns = [_column(circuit, vectors, expression) for expression in self._plan.expressions]
        self.geometry = np.zeros((len(vectors), self._plan.count), dtype=GEOMETRY)
        """(B, transistors) of `GEOMETRY`; the temperature is still open."""
        self.geometry["nf"] = 1.0
        for number, place, field, unit in self._plan.fields:
            self.geometry[field][:, place] = self._columns[number] * unit
        self._which = np.zeros(self.geometry.shape, dtype=np.int64)
        self._inside = np.zeros(self.geometry.shape, dtype=bool)
        for kind, places in self._plan.bins:
            first = self.geometry[:, places[0]]
            which, inside = self._cards.find(kind, first["w"], first["l"])
            self._which[:, places], self._inside[:, places] = which[:, None], inside[:, None]

    def values(self) -> dict[str, Floats]:
        """Name of every device of two terminals -> (B,) SI value."""
        return {name: self._columns[number] for name, number in self._plan.values}

    def devices(
        self, temperature: float, rows: Places | slice = slice(None)
    ) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """(rows, transistors) of `DEVICE` at a temperature (degrees Celsius).

        :return: and (rows,) whether the models hold for every transistor.
        """
        geometry = self.geometry[rows]
        geometry["temperature"] = temperature
        devices, status = prepare_many(self._cards.numbers, self._which[rows].ravel(), geometry.ravel())
        accepted = self._inside[rows] & (status.reshape(geometry.shape) == 0)
        return devices.reshape(geometry.shape), accepted.all(axis=1)


def _column(circuit: Circuit, vectors: Floats, expression: Expression) -> Floats:
    """(B,) value of an expression."""
    names, text = circuit.parameter_names, str(expression)
    if text in names:
        return vectors[:, names.index(text)]
    if not expression.names:
        return np.full(len(vectors), expression.evaluate())
    rows = (dict(zip(names, row, strict=True)) for row in vectors.tolist())
    return np.array([expression.evaluate(row) for row in rows], dtype=np.float64)
