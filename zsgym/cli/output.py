"""What commands write besides text for people: JSON for scripts."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """One JSON document on stdout; NaN and infinity are refused, because JSON has neither."""
    print(json.dumps(value, indent=2, allow_nan=False))
