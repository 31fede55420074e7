"""What commands print and write: tables and numbers in engineering notation for people, JSON for scripts, files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zsgym.errors import ConfigError

_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_SCALABLE = ("A", "F", "H", "Hz", "V", "V/s", "W", "ohm", "s")


def engineering(value: float | None, unit: str) -> str:
    """Four digits with an SI prefix where the unit takes one.

    >>> engineering(2.554416e6, "Hz"), engineering(-57.40823, "dB"), engineering(None, "s")
    ('2.554 MHz', '-57.41 dB', '-')
    """
    if value is None:
        return "-"
    if unit not in _SCALABLE or value == 0 or not math.isfinite(value):
        return f"{value:.4g} {unit}".strip()
    # Rounding first: 999.96 is 1 k, not 1000.
    rounded = float(f"{value:.4g}")
    exponent = min(max(3 * math.floor(math.log10(abs(rounded)) / 3), -18), 12)
    return f"{rounded / 10.0**exponent:.4g} {_PREFIXES[exponent]}{unit}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns; the columns with the given positions are flush right."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN and infinity are refused, because JSON has neither."""
    print(json.dumps(value, indent=2, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader ever sees half of it.

    :raises ConfigError: it cannot be written there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
