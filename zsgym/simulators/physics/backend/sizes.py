"""Sizings as numbers of the solver: values of elements, and prepared transistors at any corner and temperature."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.netlist import Expression
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


class Sizes:
    """Sizings of one circuit as arrays.

    :param vectors: (B, n) sizings in declared units. :param corner: of the process.
    """

    def __init__(self, circuit: Circuit, vectors: Floats, corner: str) -> None:
        self._circuit, self._vectors, self._cards = circuit, vectors, cards_of(corner)
        self._known: dict[str, Floats] = {}
        self._transistors = [device for device in circuit.devices if device.kind in ("nmos", "pmos")]
        self.geometry = np.zeros((len(vectors), len(self._transistors)), dtype=GEOMETRY)
        """(B, transistors) of `GEOMETRY`; the temperature is still open."""
        self.geometry["nf"] = 1.0
        self._which = np.zeros(self.geometry.shape, dtype=np.int64)
        self._inside = np.zeros(self.geometry.shape, dtype=bool)
        found: dict[tuple[str, str, str], tuple[Places, NDArray[np.bool_]]] = {}
        for place, device in enumerate(self._transistors):
            for name, unit in _SIZES.items():
                if name in device.values:
                    column = self.column(device.values[name]) * unit
                    self.geometry["as_" if name == "as" else name][:, place] = column
            key = (device.kind, str(device.values["w"]), str(device.values["l"]))
            if key not in found:
                found[key] = self._cards.find(device.kind, self.geometry["w"][:, place], self.geometry["l"][:, place])
            self._which[:, place], self._inside[:, place] = found[key]

    def column(self, expression: Expression) -> Floats:
        """(B,) value of an expression."""
        text = str(expression)
        if text not in self._known:
            self._known[text] = self._evaluated(expression, text)
        return self._known[text]

    def values(self) -> dict[str, Floats]:
        """Name of every device of two terminals -> (B,) SI value."""
        return {
            device.name: self.column(device.values["value"])
            for device in self._circuit.devices
            if device.kind not in ("nmos", "pmos")
        }

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

    def _evaluated(self, expression: Expression, text: str) -> Floats:
        names = self._circuit.parameter_names
        if text in names:
            return self._vectors[:, names.index(text)]
        if not expression.names:
            return np.full(len(self._vectors), expression.evaluate())
        rows = (dict(zip(names, row, strict=True)) for row in self._vectors.tolist())
        return np.array([expression.evaluate(row) for row in rows], dtype=np.float64)
