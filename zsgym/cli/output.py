"""What commands write: counts in sentences for people, JSON for scripts."""

from __future__ import annotations

import json
from typing import Any


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `2 rows`. For nouns whose plural is regular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN and infinity are refused, because JSON has neither."""
    print(json.dumps(value, indent=2, allow_nan=False))
