"""Rows as Parquet: flat columns with an explicit type each, and the compaction of segments.

One column per number, so that `table["metrics.gbw"]`, `frame["sizing.W_gm3"]` and a torch tensor are one step away:

| columns | type | meaning |
| --- | --- | --- |
| schema, sample_id, circuit, netlist_hash | int16, text | identity of the row |
| label, failure | int8, text | 1 works, 0 does not, and why |
| sizing.NAME | float64 | sizing parameter, in the unit that the circuit declares |
| conditions.NAME | float64 or text | corner, supply (V), temperature (C), and those of the class, SI |
| metrics.NAME | float64 | canonical metric, SI; null in a failed row |
| raw.NAME | float64 | raw measurement, SI; null where undefined |
| op.DEVICE.QUANTITY | float64 | operating point, SI |
| backend, provenance.NAME, policy, p_valid | text, float64 | who answered and how the label was decided |
| env_id, episode, step, action, reward, terminated, truncated | | the transition, for rows from an environment |
| targets.NAME | float64 | specs of that episode, SI; null where there was none |
| environment | text | JSON of the arguments that make the environment anew |
| strategy, index, seed, writer, time, elapsed_s | | the origin; seed is text because Gymnasium's own have 128 bits |

Rows of several circuits share one table; a column that a circuit does not have is null in its rows.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsgym.base.errors import SampleLogError
from zsgym.base.files import new_file
from zsgym.classes import find_class, list_classes
from zsgym.samples.log import PARTS, SEGMENTS
from zsgym.samples.reader import LogPath, ReadReport, log_files, read_records
from zsgym.samples.schema import Sample
from zsgym.samples.segment import SUFFIXES, is_being_written

_SCALARS: dict[str, pa.DataType] = {
    "schema": pa.int16(),
    "sample_id": pa.string(),
    "circuit": pa.string(),
    "circuit_class": pa.string(),
    "netlist_hash": pa.string(),
    "label": pa.int8(),
    "failure": pa.string(),
    "backend": pa.string(),
    "policy": pa.string(),
    "p_valid": pa.float64(),
    "env_id": pa.string(),
    "episode": pa.int64(),
    "step": pa.int64(),
    "action": pa.list_(pa.float64()),
    "reward": pa.float64(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
    "environment": pa.string(),
    "strategy": pa.string(),
    "index": pa.int64(),
    "seed": pa.string(),
    "writer": pa.string(),
    "time": pa.string(),
    "elapsed_s": pa.float64(),
}
_LATER_SCALARS = ("environment",)
"""Columns that tables of zsgym 0.1 do not have."""
_GROUPS: dict[str, pa.DataType] = {
    "sizing": pa.float64(),
    "conditions": pa.float64(),
    "metrics": pa.float64(),
    "raw": pa.float64(),
    "op": pa.float64(),
    "provenance": pa.string(),
    "targets": pa.float64(),
}
_REPLACES = b"zsgym.replaces"
_CHUNK_ROWS = 4096


def samples_to_table(samples: Sequence[Sample]) -> pa.Table:
    """Flat columns of the given rows, all columns of the table above that any row fills."""
    rows = [_flatten(sample) for sample in samples]
    names = dict.fromkeys(_SCALARS)  # an ordered set
    for group in _GROUPS:
        names.update(dict.fromkeys(name for row in rows for name in row if name.startswith(f"{group}.")))
    columns = {name: [row.get(name) for row in rows] for name in names}
    types = {name: _type(name, values) for name, values in columns.items()}
    arrays = [pa.array(values, types[name]) for name, values in columns.items()]
    return pa.Table.from_arrays(arrays, schema=pa.schema(list(types.items())))


def table_to_samples(table: pa.Table) -> Iterator[Sample]:
    """The rows of a table in the flat layout, equal in every bit to those that it was made of."""
    for batch in table.to_batches(max_chunksize=_CHUNK_ROWS):
        for row in batch.to_pylist():
            yield Sample.parse(_nest(row))


def read_part(path: Path) -> pa.Table:
    """One Parquet file of rows, its checksums verified.

    :raises SampleLogError: the file is damaged, or was not written by zsgym.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise SampleLogError(f"cannot read {path}: {error}") from error
    if "circuit_class" not in table.column_names:  # parts of zsgym 0.1, which knew amplifiers only
        amplifiers = pa.array(["amplifier"] * table.num_rows, pa.string())
        table = table.append_column("circuit_class", amplifiers)
    table = _with_later_conditions(table)
    missing = sorted(set(_SCALARS) - set(table.column_names) - set(_LATER_SCALARS))
    if missing:
        raise SampleLogError(f"{path} is not a table of samples: it has no column {', '.join(missing)}")
    return table


def _with_later_conditions(table: pa.Table) -> pa.Table:
    """A table that is older than some conditions of its classes, with what these were when it was written.

    A part can also hold both kinds of rows: what one lacks is null there.
    """
    for name in sorted(set(pc.unique(table["circuit_class"]).to_pylist()) & set(list_classes())):
        rows = pc.equal(table["circuit_class"], name)
        for condition, value in find_class(name).conditions.before_stored.items():
            column = f"conditions.{condition}"
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(table.num_rows, pa.scalar(value).type))
            filled = pc.if_else(pc.and_(rows, pc.is_null(table[column])), value, table[column])
            table = table.set_column(table.column_names.index(column), column, filled)
    return table


def write_part(table: pa.Table, path: Path, replaces: Iterable[str] = ()) -> None:
    """Write a table of rows in one step: either the complete file is there afterwards, or nothing.

    :param replaces: names of the segments and parts whose rows it holds, which readers must not read again.
    :raises SampleLogError: it cannot be written.
    """
    metadata = {**(table.schema.metadata or {}), _REPLACES: json.dumps(sorted(replaces)).encode()}
    with new_file(path, SampleLogError) as place:
        pq.write_table(table.replace_schema_metadata(metadata), place, compression="zstd", write_page_checksum=True)


def replaced_files(part: Path) -> list[str]:
    """Names of the segments and parts whose rows this part holds."""
    try:
        metadata = pq.read_metadata(part).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise SampleLogError(f"cannot read {part}: {error}") from error
    names: list[str] = json.loads(metadata.get(_REPLACES, b"[]"))
    return names


def compact(directory: LogPath, sort_by: Sequence[str] = ()) -> Path | None:
    """Gather all closed segments and earlier parts of a log in one Parquet part, and remove them.

    Segments that are being written, and segments with unreadable lines, stay as they are. At any moment, and also
    after a crash in the middle, a reader sees every row exactly once.

    :param sort_by: columns by which the part is sorted, for example ("index",).
    :returns: the part, or None when there is nothing to gather.
    :raises SampleLogError: a file cannot be read or written, or another compaction is at work.
    """
    root = Path(directory)
    log_files(root)  # refuses what is not a log before anything is created in it
    folder = root / PARTS
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SampleLogError(f"another process is compacting {root}: wait until it has finished") from error
        return _compact_locked(root, folder, sort_by)


def _compact_locked(root: Path, folder: Path, sort_by: Sequence[str]) -> Path | None:
    segments, parts = log_files(root)
    replaced = {name for part in folder.glob("*.parquet") for name in replaced_files(part)}
    gathered: list[Path] = []
    tables = [read_part(part) for part in parts]
    for segment in segments:
        if is_being_written(segment):
            continue
        report = ReadReport()
        samples = list(read_records(segment, Sample, report))
        if not report.problems:
            gathered.append(segment)
            tables += [samples_to_table(samples[i : i + _CHUNK_ROWS]) for i in range(0, len(samples), _CHUNK_ROWS)]
    if not gathered and len(parts) < 2:
        return None
    table = pa.concat_tables(tables, promote_options="default")
    if sort_by:
        table = table.sort_by([(name, "ascending") for name in sort_by])
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    part = folder / f"{stamp}-{secrets.token_hex(4)}.parquet"
    # What an interrupted compaction has left behind is still replaced by a part that is about to go.
    left_over = [root / SEGMENTS / name for name in replaced if name.endswith(SUFFIXES)]
    old = {*gathered, *folder.glob("*.parquet"), *filter(Path.exists, left_over)}
    write_part(table, part, replaces=[path.name for path in old])
    for path in old:
        with contextlib.suppress(OSError):  # a left-over is skipped by readers, since the part replaces it
            path.unlink()
    return part


def _flatten(sample: Sample) -> dict[str, Any]:
    fields = sample.as_dict()
    flat = {name: fields[name] for name in _SCALARS}
    if flat["seed"] is not None:
        flat["seed"] = str(flat["seed"])
    for group in ("sizing", "conditions", "metrics", "raw", "provenance", "targets"):
        flat.update((f"{group}.{name}", value) for name, value in (fields[group] or {}).items())
    for device, quantities in (fields["operating_points"] or {}).items():
        flat.update((f"op.{device}.{name}", value) for name, value in quantities.items())
    return flat


def _nest(row: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: row.get(name) for name in _SCALARS}
    fields["seed"] = None if row["seed"] is None else int(row["seed"])
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for column, value in row.items():
        group, _, name = column.partition(".")
        if name and value is not None:
            groups[group][name] = value
    points: dict[str, dict[str, float]] = {}
    for name, value in groups.pop("op").items():
        device, _, quantity = name.rpartition(".")
        points.setdefault(device, {})[quantity] = value
    return {**fields, **groups, "operating_points": points or None, "targets": groups["targets"] or None}


def _type(column: str, values: Iterable[Any]) -> pa.DataType:
    group, _, name = column.partition(".")
    if group == "conditions" and any(isinstance(value, str) for value in values):
        return pa.string()
    return _GROUPS[group] if name else _SCALARS[column]
