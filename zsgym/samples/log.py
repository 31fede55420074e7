"""The sample log: every simulated sizing becomes one row, written so that no crash can spoil the rows before it.

Layout of a log directory (a data set has the same, plus `manifest.json`):

    DIR/segments/*.rows    rows, one append-only file per writer (`zsgym.samples.segment`)
    DIR/parquet/*.parquet  rows of closed segments after compaction (`zsgym.samples.parquet`)
    DIR/errors/*.jsonl     infrastructure errors: sizings that nobody could answer, never part of the data

Any number of processes and threads may write at once, with or without sharing a `SampleLog` object. Reading is in
`zsgym.samples.reader`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from zsgym.base.errors import SampleLogError
from zsgym.samples.lines import sealed
from zsgym.samples.schema import ErrorRecord, Sample
from zsgym.samples.segment import JSON_SUFFIX, ROWS_SUFFIX, Segment

SEGMENTS = "segments"
PARTS = "parquet"
ERRORS = "errors"


class SampleLog:
    """Append-only writer of one log directory.

    Threads may share one object. A forked child may go on using it: the child starts a segment of its own and never
    touches its parent's. A pickled copy likewise. Nothing is created on disk before the first row.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._segments: dict[str, Segment] = {}
        self._lock = threading.Lock()
        _OPEN_LOGS.add(self)

    def append(self, row: Sample | Mapping[str, Any]) -> Sample:
        """Store one row and return it as stored (with `sample_id`, `time` and `writer` filled in).

        The row has reached the operating system when this returns: killing the process cannot lose it.

        :raises SampleLogError: the row is invalid, or could not be written (disk full); the log stays readable.
        """
        return self.append_many([row])[0]

    def append_many(self, rows: Iterable[Sample | Mapping[str, Any]]) -> list[Sample]:
        """Store several rows in order, as `append` does, by one write: all of them, or none when it raises."""
        samples = [row if isinstance(row, Sample) else Sample.parse(row) for row in rows]
        if not samples:
            return []
        with self._lock:
            segment = self._segment(SEGMENTS)
            writer = {"writer": segment.path.name.removesuffix(ROWS_SUFFIX)}
            stored = [sample.model_copy(update=writer) for sample in samples]
            try:
                lines = [segment.packer.lines(sample) for sample in stored]
            except ValueError as error:
                segment.packer.forget()  # definitions that will not be written
                raise _not_json(error) from error
            self._write(SEGMENTS, segment, b"".join(lines))
        return stored

    def append_error(self, record: ErrorRecord | Mapping[str, Any]) -> None:
        """Record an infrastructure error, outside the samples.

        :raises SampleLogError: as for `append`.
        """
        valid = record if isinstance(record, ErrorRecord) else ErrorRecord.parse(record)
        try:
            line = sealed(valid.as_json())
        except ValueError as error:
            raise _not_json(error) from error
        with self._lock:
            self._write(ERRORS, self._segment(ERRORS), line)

    def close(self) -> None:
        """Flush to the disk and close. The log may be used again; it then starts a new segment."""
        with self._lock:
            for segment in self._segments.values():
                segment.close()
            self._segments.clear()

    def _segment(self, folder: str) -> Segment:
        if folder not in self._segments:
            suffix = ROWS_SUFFIX if folder == SEGMENTS else JSON_SUFFIX
            self._segments[folder] = Segment(self.directory / folder, suffix)
        return self._segments[folder]

    def _write(self, folder: str, segment: Segment, lines: bytes) -> None:
        try:
            segment.write(lines)
        except SampleLogError:
            # Whatever is left of the incomplete line stays alone at the end of this segment.
            self._segments.pop(folder).close()
            raise

    def _after_fork(self) -> None:
        for segment in self._segments.values():
            segment.forget()
        self._segments = {}
        self._lock = threading.Lock()  # another thread of the parent may have held it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        for segment in getattr(self, "_segments", {}).values():
            segment.close()

    def __reduce__(self) -> tuple[type[SampleLog], tuple[Path]]:
        return SampleLog, (self.directory,)

    def __repr__(self) -> str:
        return f"SampleLog({str(self.directory)!r})"


def _not_json(error: ValueError) -> SampleLogError:
    return SampleLogError(f"the row holds a value that JSON cannot store: {error}")


_OPEN_LOGS: weakref.WeakSet[SampleLog] = weakref.WeakSet()


def _forget_after_fork() -> None:
    for log in list(_OPEN_LOGS):
        log._after_fork()


os.register_at_fork(after_in_child=_forget_after_fork)
