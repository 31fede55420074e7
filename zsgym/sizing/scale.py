"""Logarithmic positions: where the optimisers search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.circuits import Circuit
from zsgym.pdk.geometry import SIZE_LIMITS

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LogScale:
    """Positions in [0, 1]^n, logarithmic in every parameter, between the bounds that the transistor models cover.

    Actions are linear in W and L and reach outside the models on purpose; a search has no use for either.
    """

    circuit: Circuit
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)

    @classmethod
    def of(cls, circuit: Circuit) -> Self:
        """The scale of a circuit."""
        low, high = (bound.copy() for bound in circuit.bounds)
        names = circuit.parameter_names
        for device in circuit.devices:
            for key, limits in zip("wl", SIZE_LIMITS.get(device.kind, ()), strict=False):
                name = str(device.values[key])
                if name in names:
                    i = names.index(name)
                    low[i], high[i] = max(low[i], limits[0]), min(high[i], limits[1])
        return cls(circuit, low, high)

    def values(self, positions: ArrayLike) -> FloatArray:
        """Declared units (..., n) at positions (..., n), clipped to [0, 1]; counts are not rounded."""
        clipped = np.clip(np.asarray(positions, dtype=np.float64), 0.0, 1.0)
        values: FloatArray = np.clip(self.low * (self.high / self.low) ** clipped, self.low, self.high)
        return values

    def points(self, positions: ArrayLike) -> FloatArray:
        """Unit values (..., n) at positions (..., n)."""
        return np.clip(self.circuit.to_point(self.values(positions)), -1.0, 1.0)

    def positions(self, points: ArrayLike) -> FloatArray:
        """Positions (..., n) of points (..., n)."""
        values = np.clip(self.circuit.from_point(points), self.low, self.high)
        positions: FloatArray = np.log(values / self.low) / np.log(self.high / self.low)
        return positions
