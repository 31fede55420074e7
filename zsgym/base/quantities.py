"""Numbers with units for people: four digits, in a data sheet's unit or with an engineering prefix."""

from __future__ import annotations

import math

_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXED = ("A", "A/sqrt(Hz)", "F", "H", "Hz", "S", "V", "V/sqrt(Hz)", "W", "ohm", "rad/s", "s")
"""Units that take a prefix; numbers in any other are printed as they are."""
_CUSTOMARY = {"1/K": ("ppm/K", 1e6), "V/s": ("V/us", 1e-6), "count": ("", 1.0), "m^2": ("um^2", 1e12)}
"""Unit -> (what data sheets print instead, factor)."""


def quantity(value: float | None, unit: str) -> str:
    """A value in the unit that the project computes with (SI; micrometres, dB, counts), or `-` for none.

    >>> quantity(2.554416e6, "Hz"), quantity(5.0e5, "V/s"), quantity(-57.40823, "dB"), quantity(None, "s")
    ('2.554 MHz', '0.5 V/us', '-57.41 dB', '-')
    """
    if value is None:
        return "-"
    unit, factor = _CUSTOMARY.get(unit, (unit, 1.0))
    value = value * factor + 0.0  # the sum has no negative zero
    if unit not in _PREFIXED or value == 0.0 or not math.isfinite(value):
        return f"{value:.4g} {unit}".rstrip()
    # Rounded before the prefix is chosen: 999.96 Hz is 1 kHz, not 1000 Hz.
    mantissa, exponent = f"{value:.3e}".split("e")
    power = min(max(int(exponent) // 3 * 3, min(_PREFIXES)), max(_PREFIXES))
    return f"{float(mantissa) * 10.0 ** (int(exponent) - power):.4g} {_PREFIXES[power]}{unit}"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `2 rows`. For nouns whose plural is regular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
