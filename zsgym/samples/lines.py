"""Lines of JSON with a checksum: the last key of every object is the CRC32 of the rest,

    {"schema":1,"sample_id":"...",...,"crc":"1c291ca3"}

so that any JSON-lines tool can read the file, and a torn or damaged line cannot pass for a whole one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

_TRAILER = b',"crc":"%08x"}'
_TRAILER_LENGTH = len(_TRAILER % 0)


def encode_line(fields: Mapping[str, Any]) -> bytes:
    """One line, newline included. Floats keep every bit; NaN and infinity are refused (ValueError)."""
    return sealed(json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode())


def sealed(body: bytes) -> bytes:
    """One line from a JSON object: its checksum is added as the last key."""
    return body[:-1] + _TRAILER % zlib.crc32(body) + b"\n"


def decode_line(line: bytes) -> dict[str, Any] | str:
    """The fields of one line (without its newline), or the reason why it cannot be trusted."""
    if not line.startswith(b"{") or not line.endswith(b'"}') or line[-_TRAILER_LENGTH:][:8] != _TRAILER[:8]:
        return "no checksum at its end: torn or foreign line"
    body = line[:-_TRAILER_LENGTH] + b"}"
    if line[-_TRAILER_LENGTH:] != _TRAILER % zlib.crc32(body):
        return "checksum does not match: damaged line"
    try:
        fields: dict[str, Any] = json.loads(body)
    except ValueError:
        return "checksum matches but the line is not JSON: foreign line"
    return fields


def checksum(line: bytes) -> int:
    """The checksum that a whole line ends with, as a number."""
    return int(line.removesuffix(b"\n")[-10:-2], 16)
