"""Which transistor sizes the SKY130 models cover: a closed-form check that needs no model file.

The model bins of each transistor tile one rectangle without gaps (a test compares the two), so that a size outside it
is known to fail before anything is simulated or predicted.
"""

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.netlist import Expression
from zsgym.outcome import Sizing

SIZE_LIMITS = {"nmos": ((0.36, 100.0), (0.15, 100.0)), "pmos": ((0.42, 100.0), (0.15, 100.0))}
"""Device kind -> limits of width and of length, in micrometres, inclusive."""

SIZE_TOLERANCE = 1e-3
"""In micrometres: ngspice accepts a size that misses a bin limit by up to 1 nm."""


def inside_models(circuit: Circuit, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether every transistor of each sizing is covered by the models.

    :param values: (B, n) sizing vectors in declared units.
    :return: (B,) false means the failure `geometry`.
    """
    inside = np.ones(values.shape[0], dtype=bool)
    sizes = {(d.kind, d.values["w"], d.values["l"]) for d in circuit.devices if d.kind in SIZE_LIMITS}
    for kind, width, length in sizes:
        for expression, (low, high) in zip((width, length), SIZE_LIMITS[kind], strict=True):
            size = _column(circuit, values, expression)
            inside &= (size >= low - SIZE_TOLERANCE) & (size <= high + SIZE_TOLERANCE)
    return inside


def outside_models(circuit: Circuit, sizing: Sizing) -> list[str]:
    """What a sizing asks of the transistors that no model covers, such as `M3: W 0.3 um is not within 0.36 to 100`."""
    found = []
    for device in circuit.devices:
        for name, (low, high) in zip("wl", SIZE_LIMITS.get(device.kind, ()), strict=False):
            size = device.values[name].evaluate(sizing)
            if not low - SIZE_TOLERANCE <= size <= high + SIZE_TOLERANCE:
                part = f"{device.name.upper().removeprefix('X')}: {name.upper()}"
                found.append(f"{part} {size:.4g} um is not within {low:g} to {high:g}")
    return found


def _column(circuit: Circuit, values: NDArray[np.float64], expression: Expression) -> NDArray[np.float64]:
    """(B,) value of an expression for every sizing."""
    names = circuit.parameter_names
    if str(expression) in names:
        return values[:, names.index(str(expression))]
    return np.array([expression.evaluate(dict(zip(names, row, strict=True))) for row in values.tolist()])
