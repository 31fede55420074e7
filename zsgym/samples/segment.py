"""Segments: the append-only files of a sample log, one per writer.

A segment is a sequence of lines, each with its own checksum. What stands in them: `zsgym.samples.packing`. Segments of
zsgym 0.1 (`*.jsonl`) and infrastructure errors are JSON lines throughout.

Why it survives what happens to long runs:

- a row, or a batch of rows, is one `write()` on an O_APPEND descriptor, together with the definitions that it needs, so
  a killed process leaves at most one incomplete last line;
- a writer never opens another writer's segment: after a crash nothing is appended behind an incomplete line;
- when a write fails half-way (disk full), the incomplete bytes are cut off again, or else the segment is abandoned;
- the writer holds a lock (`flock`) on its segment while it is open, which tells a reader that an incomplete last line
  is being written right now, and tells compaction to keep its hands off. The kernel drops the lock with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsgym.base.errors import SampleLogError
from zsgym.samples.packing import RowPacker, RowUnpacker

ROWS_SUFFIX = ".rows"
JSON_SUFFIX = ".jsonl"
SUFFIXES = (ROWS_SUFFIX, JSON_SUFFIX)
"""File names of segments end in one of these."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be read: which file, which line (from 1), and why."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def read_segment(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """Every row of a segment in order, as (line number, fields or problem).

    An incomplete last line is passed over without a problem while its writer is alive.
    """
    unpacker = RowUnpacker()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                decoded = unpacker.decode(line.removesuffix(b"\n"))
                if decoded is None:
                    continue
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
    """The one open file of one writer. Not thread-safe and not fork-safe by itself: `SampleLog` sees to both.

    packer: what encodes its rows, in the order in which they are written.
    """

    def __init__(self, directory: Path, suffix: str) -> None:
        self.packer = RowPacker()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.path, self._descriptor = _create(directory, suffix)
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


def _create(directory: Path, suffix: str) -> tuple[Path, int]:
    """A new, locked segment with a unique name that sorts by time of creation."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    path = directory / f"{stamp}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    return path, descriptor


def segments_in(directory: Path) -> list[Path]:
    """The segments of a folder, in the order of creation."""
    return sorted(path for suffix in SUFFIXES for path in directory.glob(f"*{suffix}"))
