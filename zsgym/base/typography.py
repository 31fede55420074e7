"""Numbers as a data sheet prints them: those of the text tables, typeset."""

from __future__ import annotations

import math

from zsgym.base.quantities import quantity

MISSING = "\N{EN DASH}"
_TYPESET = {" u": " µ", "/us": "/µs", "^2": "²", "ohm": "Ω", " deg": "°", "sqrt(Hz)": "√Hz", "-": "\N{MINUS SIGN}"}


def printed(value: float | None, unit: str = "") -> str:
    """What `quantity` prints, typeset; a dash for no value.

    >>> printed(2.582862e6, "Hz"), printed(5.0e5, "V/s"), printed(60.0, "deg"), printed(0.62, "um"), printed(-3.0)
    ('2.583 MHz', '0.5 V/µs', '60°', '0.62 µm', '−3')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return typeset(quantity(value, unit))


def typeset(text: str) -> str:
    """A text of numbers and units with the signs of a data sheet."""
    for plain, sign in _TYPESET.items():
        text = text.replace(plain, sign)
    return text
