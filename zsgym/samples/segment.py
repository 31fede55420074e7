"""Segments: the append-only files of a sample log, one per writer.

A segment holds one JSON object per line. The last key of every object is the CRC32 of the rest, so that any JSON-lines
tool can read the file and a damaged line cannot pass for a row:

    {"schema":1,"sample_id":"...",...,"crc":"1c291ca3"}

Why it survives what happens to long runs:

- a row, or a batch of rows, is one `write()` on an O_APPEND descriptor, so a killed process leaves at most one
  incomplete last line;
- a writer never opens another writer's segment: after a crash nothing is appended behind an incomplete line;
- when a write fails half-way (disk full), the incomplete bytes are cut off again, or else the segment is abandoned;
- the writer holds a lock (`flock`) on its segment while it is open, which tells a reader that an incomplete last line
  is being written right now, and tells compaction to keep its hands off. The kernel drops the lock with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsgym.base.errors import SampleLogError

SUFFIX = ".jsonl"
_TRAILER = b',"crc":"%08x"}'
_TRAILER_LENGTH = len(_TRAILER % 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read: which file, which line (from 1), and why."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def encode_line(fields: Mapping[str, Any]) -> bytes:
    """One line of a segment, newline included. Floats keep every bit; NaN and infinity are refused."""
    return sealed(json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode())


def sealed(body: bytes) -> bytes:
    """One line of a segment from a JSON object: its checksum is added as the last key."""
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


def read_segment(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Every line of a segment in order, as (line number, fields or problem).

    An incomplete last line is passed over without a problem while its writer is alive.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                decoded = decode_line(line.removesuffix(b"\n"))
                if isinstance(decoded, str):
                    if not line.endswith(b"\n"):
                        if is_being_written(path):
                            return
                        decoded = "incomplete last line: its writer was stopped in the middle of a row"
                    yield number, Problem(path, number, decoded)
                else:
                    yield number, decoded
    except OSError as error:
        raise SampleLogError(f"cannot read {path}: {error.strerror}") from error


def is_being_written(path: Path) -> bool:
    """True while the segment's writer is alive and has not closed it, or may not yet have begun.

    Once False it stays False: a writer locks its segment before the first row, and nobody opens a segment again.
    """
    if path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Segment:
    """The one open file of one writer. Not thread-safe and not fork-safe by itself: `SampleLog` sees to both."""

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.path, self._descriptor = _create(directory)
        except OSError as error:
            raise SampleLogError(f"cannot create a segment in {directory}: {error.strerror}") from error

    def write(self, lines: bytes) -> None:
        """Append encoded lines.

        :raises SampleLogError: it could not be written completely; nothing of it remains if that can be helped. The
            segment must not be used again: the next row belongs in a new one.
        """
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, lines)
            reason = "disk full" if written < len(lines) else ""
        except OSError as error:
            reason = error.strerror or str(error)
        if reason:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise SampleLogError(
                f"cannot write to {self.path}: {reason}. The rows before this one are safe; free some space and go on."
            )

    def close(self) -> None:
        """Flush to the disk and release the lock; an empty segment is removed. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == 0:
                self.path.unlink()
            else:
                os.fsync(descriptor)
        os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: drop the inherited descriptor and leave the file to the parent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _create(directory: Path) -> tuple[Path, int]:
    """A new, locked segment with a unique name that sorts by time of creation."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    path = directory / f"{stamp}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    return path, descriptor
