"""Operations on whole data sets: what is in one, and several made one.

They work on any log directory, on a generated data set and on a single Parquet file of rows alike, and never change
what they read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zsgym.base.errors import SampleLogError
from zsgym.classes import CircuitClass, find_class
from zsgym.samples.log import PARTS
from zsgym.samples.manifest import provenance_of_this_process, read_manifest, write_manifest
from zsgym.samples.reader import LogPath, ReadReport, read_errors, read_table
from zsgym.simulators.outcome import PREDICTORS

if TYPE_CHECKING:
    import pyarrow as pa

_QUANTILES = (0.05, 0.5, 0.95)


@dataclass
class MergeReport:
    """What became of the rows: written to the output, left out as repetitions, and in conflict.

    conflicts: sample_id -> labels found, for sizings that were found to work by one simulation and not by another.
    """

    rows: int = 0
    duplicates: int = 0
    conflicts: dict[str, list[int]] = field(default_factory=dict)


def info(directory: LogPath) -> dict[str, Any]:
    """A summary of a log or data set, as plain JSON values.

    Per circuit: number of rows answered by a simulation, how many of them work, the failures by reason, and the 5 %,
    50 % and 95 % quantiles of every metric over the working ones (SI units; the offset by its magnitude).

    :raises SampleLogError: there is no log.
    """
    report = ReadReport()
    table = read_table(directory, include_predicted=True, report=report)
    predicted = np.isin(_text(table, "backend"), sorted(PREDICTORS))
    identities = _text(table, "sample_id")
    labelled = table.filter(~predicted)
    errors = sum(1 for _ in read_errors(directory, report))
    return {
        "path": str(directory),
        "rows": table.num_rows,
        "labelled": labelled.num_rows,
        "predicted": int(predicted.sum()),
        "relabel_queue": len(set(identities[predicted]) - set(identities[~predicted])),
        "duplicates": labelled.num_rows - len(set(identities[~predicted])),
        "unreadable": [{"file": str(p.path), "line": p.line, "reason": p.reason} for p in report.problems],
        "infrastructure_errors": errors,
        "backends": dict(Counter(_text(table, "backend").tolist())),
        "policies": dict(Counter(_text(labelled, "policy").tolist())),
        "circuits": {
            name: _circuit_info(labelled.filter(_text(labelled, "circuit") == name))
            for name in sorted(set(_text(labelled, "circuit").tolist()))
        },
        "manifest": read_manifest(directory),
    }


def _circuit_info(table: pa.Table) -> dict[str, Any]:
    works = table["label"].to_numpy() == 1
    reasons = Counter(reason for reason in table["failure"].to_pylist() if reason is not None)
    working = table.filter(works)
    metrics = {}
    circuit_class = find_class(table["circuit_class"][0].as_py()) if table.num_rows else None
    for metric in circuit_class.all_metrics if circuit_class else ():
        values = _numbers(working, f"metrics.{metric.name}")
        if values.size:
            magnitudes = np.array([metric.magnitude(value) for value in values])
            q05, q50, q95 = np.quantile(magnitudes, _QUANTILES).tolist()
            metrics[metric.name] = {"unit": metric.unit, "q05": q05, "q50": q50, "q95": q95}
    return {
        "rows": table.num_rows,
        "working": int(works.sum()),
        "working_share": float(works.mean()) if table.num_rows else 0.0,
        "failures": {reason: reasons[reason] for reason in _in_order(circuit_class, reasons)},
        "metrics": metrics,
    }


def _in_order(circuit_class: CircuitClass | None, reasons: Iterable[str]) -> list[str]:
    """The reasons that occur, in the order in which the class tests them."""
    order = [*circuit_class.reasons] if circuit_class else []
    return sorted(reasons, key=lambda reason: order.index(reason) if reason in order else len(order))


def merge(sources: Sequence[LogPath], out: str | os.PathLike[str]) -> MergeReport:
    """Write the rows of several logs to one new data set, each sizing once.

    Of several rows with one `sample_id` the first simulated one stays, in the order of the sources; a row that was
    predicted stays only when no simulation did. What is lost are transitions that revisit a sizing: merge logs
    of environments for supervised learning, not for replay.

    :raises SampleLogError: a source cannot be read, `out` exists, or the sources hold labels of several policies.
    """
    import pyarrow as pa

    from zsgym.samples.parquet import write_part

    check_new(out)
    table = pa.concat_tables([read_table(s, include_predicted=True) for s in sources], promote_options="default")
    predicted = np.isin(_text(table, "backend"), sorted(PREDICTORS))
    policies = sorted(set(_text(table, "policy")[~predicted].tolist()))
    if len(policies) > 1:
        raise SampleLogError(
            f"the labels were given by different verdict policies ({', '.join(policies)}): "
            "judge them by one of them first, with `zsgym dataset relabel DIR --policy NAME --out DIR2`"
        )
    labels = table["label"].to_numpy()
    report = MergeReport()
    kept: dict[str, int] = {}
    order = np.argsort(predicted, kind="stable")  # simulated rows first, else in the order of the sources
    for row, identity in zip(order.tolist(), _text(table, "sample_id")[order].tolist(), strict=True):
        first = kept.setdefault(identity, row)
        if first != row:
            report.duplicates += 1
            if labels[first] != labels[row] and not predicted[row]:
                report.conflicts.setdefault(identity, [int(labels[first])]).append(int(labels[row]))
    report.rows = len(kept)
    write_part(table.take(sorted(kept.values())), Path(out) / PARTS / "merged.parquet")
    write_manifest(
        out,
        {
            "made_by": "merge",
            "sources": [{"path": str(source), "manifest": read_manifest(source)} for source in sources],
            "rows": report.rows,
            "duplicates": report.duplicates,
            "conflicts": len(report.conflicts),
            **provenance_of_this_process(),
        },
    )
    return report


def check_new(out: str | os.PathLike[str]) -> None:
    """Refuse an output directory that holds something already, with a SampleLogError."""
    if Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise SampleLogError(f"{out} exists already: give a new directory")


def _text(table: pa.Table, column: str) -> Any:
    """A text column as a numpy array of str."""
    return np.array(table[column].to_pylist(), dtype=object)


def _numbers(table: pa.Table, column: str) -> Any:
    """The values of a column that are not null, as float64."""
    if column not in table.column_names:
        return np.empty(0)
    return table[column].drop_null().to_numpy()
