"""Sizes as people write them: plain micrometres with the SKY130 models, not metres."""

from __future__ import annotations

from collections.abc import Mapping

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression

_AREAS, _LENGTHS = ("ad", "as"), ("w", "l", "pd", "ps", "sa", "sb", "sd")
_SMALLEST = {**dict.fromkeys(_LENGTHS, 1e-3), **dict.fromkeys(_AREAS, 1e-6)}
"""In um and um^2: no drawn size is below it, and one that was written in metres always is."""


def constant(value: Expression) -> float | None:
    """The number that a value is, or None when it depends on a parameter or has no value."""
    try:
        return None if value.names else value.evaluate()
    except NetlistError:
        return None


def in_metres(values: Mapping[str, Expression]) -> list[str]:
    """Drawn sizes that are written in metres, each with what to write instead.

    SKY130's library sets `.option scale=1.0u`, so that ngspice multiplies `W=5u` by a micrometre once more.
    """
    problems = []
    for key, smallest in _SMALLEST.items():
        value = constant(values[key]) if key in values else None
        if value is None or not 0 < abs(value) < smallest:
            continue
        square, factor = ("square ", 1e12) if key in _AREAS else ("", 1e6)
        name = key.upper()
        problems.append(
            f"{name}={values[key]} is in {square}metres, but SKY130 takes plain {square}micrometres: "
            f"write {name}={value * factor:.6g}"
        )
    return problems
