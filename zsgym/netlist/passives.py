"""SKY130's capacitors and resistors, as netlists name them.

MIM capacitors are read: their card is a capacitance and a small series resistance, which follow from the drawn size
alone. All other passives of the library depend on voltage and temperature, or on a well below them; they are refused
with the plain element to write instead, and its value where geometry gives it.

The numbers are those of the library's typical resistors and capacitors, which all five corners share; a test compares
them with what ngspice makes of the complete library.
"""

from __future__ import annotations

import math

from zsgym.netlist.expressions import Expression
from zsgym.netlist.subcircuit import Device, Subcircuit

PREFIX = "sky130_fd_pr__"
"""What every device of the library is called first."""


def _mim(name: str, sheet: float, via: float, via_area: float) -> Subcircuit:
    """A MIM capacitor: 2 fF/um^2 and 0.19 fF/um of edge, each side drawn in by 25 nm, behind plate and vias.

    :param sheet: of the plate, ohm. :param via: resistance of one, ohm. :param via_area: um^2 for each.
    """
    width, length = "(w-0.025)", "(l-0.025)"
    capacitance = Expression.parse(f"2e-15*{width}*{length}+0.38e-15*({width}+{length})")
    series = Expression.parse(f"{sheet!r}*{length}/{width}+{via * via_area!r}/({width}*{length})")
    devices = (
        Device("c1", "capacitor", {"p": "c0", "n": "plate"}, None, {"value": capacitance}),
        Device("rs", "resistor", {"p": "plate", "n": "c1"}, None, {"value": series}),
    )
    # The number of devices `mf` enters mismatch only; `m` of the instance multiplies it.
    defaults = dict.fromkeys(("w", "l", "mf"), Expression.constant(1.0))
    return Subcircuit(name, ("c0", "c1"), devices, defaults)


CAPACITORS = {
    subcircuit.name: subcircuit
    for subcircuit in (
        _mim(f"{PREFIX}cap_mim_m3_1", 0.047, 3.41, 0.56**2),
        _mim(f"{PREFIX}cap_mim_m3_2", 0.047, 0.38, 0.73**2),
    )
}
"""The capacitors that are read, by the library's name: subcircuits like those of a netlist."""

_SHEETS = {  # ohm at 27 C, and by how much the conducting width is larger than the drawn one (um)
    "nd": (119.49, 0.017),
    "pd": (196.26, 0.004),
    "nd__hv": (113.52, 0.017),
    "pd__hv": (190.22, 0.004),
    "nw": (1692.6, 0.0),
    "po": (48.07, -0.056),
    "l1": (12.178, 0.017),
    "m1": (0.12381, -0.039),
    "m2": (0.12381, -0.039),
    "m3": (0.046517, -0.025),
    "m4": (0.046517, -0.025),
    "m5": (0.0282, -0.09),
}
_PRECISE = {  # width: contacts (ohm), their part that falls with the length, its power, ohm per um of length
    "0p35": (589.99, 427.1, 0.5, 1112.41),
    "0p69": (389.90, 244.3, 1.0, 491.36),
    "1p41": (254.77, 134.1, 1.0, 230.05),
    "2p85": (130.36, 103.4, 1.0, 113.56),
    "5p73": (68.05, 0.0, 1.0, 56.46),
}


def resistance(model: str, width: float | None, length: float | None) -> float | None:
    """What a resistor of the library measures at 27 C and small voltages, in ohm; None when that is not known.

    :param model: the library's name. :param width, length: as drawn, in micrometres.
    """
    kind, _, size = model.removeprefix(f"{PREFIX}res_").partition("_po")
    size = size.removeprefix("_")
    if length is None or length <= 0:
        return None
    if kind == "high" and size in _PRECISE:
        contacts, short, power, per_length = _PRECISE[size]
        return contacts + short * math.pow(length, -power) + per_length * length
    if kind == "xhigh" and size in _PRECISE:
        drawn = float(size.replace("p", "."))
        return -46.62 / drawn**2 + 331.73 / drawn + 20.576 + 2000.0 * length / drawn
    if width is None or width <= 0:
        return None
    narrow = 0.0672 * max(0.69 - width, 0.0)
    if kind == "high" and not size:
        effective = width - 0.001 - narrow
        return 346.3 / (effective + 0.1558) + 316.9 * (length + 0.247) / effective
    if kind == "xhigh" and not size:
        effective = width - 0.056 - narrow
        return 2.0 * 188.2 / (effective + 1.41) + 2000.0 * (length - 0.0592) / effective
    sheet, wider = _SHEETS.get(model.removeprefix(f"{PREFIX}res_generic_"), (math.nan, 0.0))
    return sheet * length / (width + wider) if math.isfinite(sheet) and width + wider > 0 else None
