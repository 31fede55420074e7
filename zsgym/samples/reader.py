"""Reading a sample log: rows from its segments and its Parquet parts, with every unreadable line reported.

A log may be read while others write to it. The readers that feed a training never give a row that a model
answered: `training_rows` and `read_table` leave it out, `relabel_queue` gives exactly those.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zsgym.base.errors import SampleLogError
from zsgym.samples.log import ERRORS, PARTS, SEGMENTS
from zsgym.samples.schema import ErrorRecord, Sample
from zsgym.samples.segment import Problem, read_segment, segments_in
from zsgym.simulators.outcome import PREDICTORS

if TYPE_CHECKING:
    import pyarrow as pa

LogPath = str | os.PathLike[str]
"""A log directory, a data set directory, or one Parquet file of rows."""

_RecordT = TypeVar("_RecordT", Sample, ErrorRecord)


class SampleLogWarning(UserWarning):
    """A line of the log could not be read and was left out; the message names file and line."""


@dataclass
class ReadReport:
    """What a reader met: how many rows it gave, and which lines it could not read."""

    rows: int = 0
    problems: list[Problem] = field(default_factory=list)


def read_samples(directory: LogPath, report: ReadReport | None = None) -> Iterator[Sample]:
    """Every row of a log, predicted ones included: compacted rows first, then the segments in order of creation.

    A line that is torn or damaged is left out, noted in `report` and warned about (`SampleLogWarning`).

    :raises SampleLogError: there is no log, or a row has a schema version that this zsgym cannot read.
    """
    report = report if report is not None else ReadReport()
    segments, parts = log_files(directory)
    for sample in _chain(segments, parts, report):
        report.rows += 1
        yield sample


def training_rows(directory: LogPath, report: ReadReport | None = None) -> Iterator[Sample]:
    """The rows whose label came from a simulation. What was predicted never comes out of here."""
    return (sample for sample in read_samples(directory, report) if not sample.predicted)


def relabel_queue(directory: LogPath, report: ReadReport | None = None) -> list[Sample]:
    """Rows answered by a prediction that no simulation has answered yet, one per `sample_id`, oldest first."""
    queue: dict[str, Sample] = {}
    labelled: set[str] = set()
    for sample in read_samples(directory, report):
        if sample.predicted:
            queue.setdefault(sample.sample_id, sample)
        else:
            labelled.add(sample.sample_id)
    return [sample for identity, sample in queue.items() if identity not in labelled]


def read_table(directory: LogPath, *, include_predicted: bool = False, report: ReadReport | None = None) -> pa.Table:
    """The rows as one Arrow table (columns: see `zsgym.samples.parquet`); `.to_pandas()` gives a DataFrame.

    :param include_predicted: also give the rows that were predicted. Never train on those.
    :raises SampleLogError: as for `read_samples`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from zsgym.samples.parquet import read_part, samples_to_table

    report = report if report is not None else ReadReport()
    segments, parts = log_files(directory)
    tables = [read_part(part) for part in parts]
    tables += [samples_to_table(chunk) for chunk in _chunks(_chain(segments, [], report))]
    table = pa.concat_tables(tables, promote_options="default") if tables else samples_to_table([])
    if not include_predicted:
        known = pa.array(sorted(PREDICTORS))
        table = table.filter(pc.invert(pc.is_in(table["backend"], value_set=known)))
    report.rows += table.num_rows
    return table


def read_errors(directory: LogPath, report: ReadReport | None = None) -> Iterator[ErrorRecord]:
    """The infrastructure errors recorded next to the samples."""
    report = report if report is not None else ReadReport()
    for path in segments_in(Path(directory) / ERRORS):
        yield from read_records(path, ErrorRecord, report)


def read_records(path: Path, model: type[_RecordT], report: ReadReport) -> Iterator[_RecordT]:
    """The records of one segment; unreadable lines go to the report, with a warning each."""
    for number, fields in read_segment(path):
        if isinstance(fields, Problem):
            report.problems.append(fields)
            warnings.warn(f"left out a row: {fields}", SampleLogWarning, stacklevel=2)
            continue
        try:
            yield model.parse(fields)
        except SampleLogError as error:
            raise SampleLogError(f"{path}, line {number}: {error}") from error


def log_files(directory: LogPath) -> tuple[list[Path], list[Path]]:
    """The segments and the Parquet parts that hold the rows of a log, without those that a newer part replaces.

    :raises SampleLogError: the directory does not exist or holds no log.
    """
    root = Path(directory)
    if root.is_file() and root.suffix == ".parquet":
        return [], [root]
    if not root.is_dir():
        raise SampleLogError(
            f"there is no sample log at {root}: the directory does not exist. `zsgym dataset generate` makes data "
            "sets; docs/reproduce.md has the commands of those that were published"
        )
    if not any((root / folder).is_dir() for folder in (SEGMENTS, PARTS, ERRORS)):
        raise SampleLogError(f"{root} is not a sample log: it has neither a {SEGMENTS}/ nor a {PARTS}/ folder")
    # Segments before parts: a compaction in between then shows up as a part that replaces segments just listed.
    segments = segments_in(root / SEGMENTS)
    parts = sorted((root / PARTS).glob("*.parquet"))
    if not parts:
        return segments, parts
    from zsgym.samples.parquet import replaced_files

    replaced = {name for part in parts for name in replaced_files(part)}
    return [p for p in segments if p.name not in replaced], [p for p in parts if p.name not in replaced]


def _chain(segments: Iterable[Path], parts: Iterable[Path], report: ReadReport) -> Iterator[Sample]:
    for part in parts:
        from zsgym.samples.parquet import read_part, table_to_samples

        yield from table_to_samples(read_part(part))
    for segment in segments:
        yield from read_records(segment, Sample, report)


def _chunks(samples: Iterable[Sample], size: int = 4096) -> Iterator[list[Sample]]:
    """Lists of at most `size` rows, so that a long log never sits in memory as Python objects."""
    chunk: list[Sample] = []
    for sample in samples:
        chunk.append(sample)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
