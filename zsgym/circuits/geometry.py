"""Which sizings the transistor models cover: a closed-form check that needs no model file."""

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits.case import Sizing
from zsgym.circuits.circuit import Circuit
from zsgym.netlist import Expression
from zsgym.pdk.geometry import NARROWEST, SIZE_LIMITS, SIZE_TOLERANCE

_ONE = Expression.constant(1.0)


def inside_models(circuit: Circuit, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether every transistor of each sizing is covered by the models.

    :param values: (B, n) sizing vectors in declared units.
    :return: (B,) false means the failure `geometry`.
    """
    inside = np.ones(values.shape[0], dtype=bool)
    transistors = [device for device in circuit.devices if device.kind in SIZE_LIMITS]
    for kind, width, length in {(d.kind, d.values["w"], d.values["l"]) for d in transistors}:
        for expression, (low, high) in zip((width, length), SIZE_LIMITS[kind], strict=True):
            size = _column(circuit, values, expression)
            inside &= (size >= low - SIZE_TOLERANCE) & (size <= high + SIZE_TOLERANCE)
    for kind, width, count in {(d.kind, d.values["w"], d.values.get("nf", _ONE)) for d in transistors}:
        if count != _ONE:
            fingers = _column(circuit, values, count)
            finger = _column(circuit, values, width) / np.maximum(fingers, 1.0)
            inside &= (fingers >= 1.0) & (finger >= NARROWEST[kind] - SIZE_TOLERANCE)
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
    return found or _told_of_fingers(circuit, sizing)


def _told_of_fingers(circuit: Circuit, sizing: Sizing) -> list[str]:
    """Transistors whose fingers may be too narrow for the card that ngspice takes."""
    found = []
    for device in circuit.devices:
        fingers = device.values["nf"].evaluate(sizing) if "nf" in device.values else 1.0
        if device.kind in SIZE_LIMITS and fingers != 1.0:
            name = device.name.upper().removeprefix("X")
            width = device.values["w"].evaluate(sizing)
            found.append(
                f"{name}: {fingers:g} fingers of {width / fingers:.4g} um: ngspice takes the model bin of the total "
                f"width {width:.4g} um, which does not hold for much narrower fingers; use M instead of nf"
            )
    return found


def _column(circuit: Circuit, values: NDArray[np.float64], expression: Expression) -> NDArray[np.float64]:
    """(B,) value of an expression for every sizing."""
    names = circuit.parameter_names
    if str(expression) in names:
        return values[:, names.index(str(expression))]
    return np.array([expression.evaluate(dict(zip(names, row, strict=True))) for row in values.tolist()])
