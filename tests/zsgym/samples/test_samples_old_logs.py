"""Logs that earlier versions wrote, kept under `tests/golden` and never made anew: they can always be read.

`log-0.1`, by zsgym 0.1: rows of a surrogate environment, of ngspice (one from before targets were logged), of a data
set (compacted), and an infrastructure error, all in JSON. `log-0.2`: packed rows of both backends and of a data set,
and one that could not be packed. `rows.json` is what their own versions read from them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from zsgym.circuits import load_circuit
from zsgym.samples import ReadReport, Sample, read_errors, read_samples, read_table, relabel_queue
from zsgym.samples.parquet import compact

GOLDEN = Path(__file__).parents[2] / "golden"
LOGS = [GOLDEN / "log-0.1", GOLDEN / "log-0.2"]
LATER = {"environment": None, "circuit_class": "amplifier"}
"""Fields that rows of 0.1 do not have, and what they are taken for."""
LATER_CONDITIONS = {"step_low": 0.3, "step_high": 0.5}
"""The levels of the step response were no conditions yet: they were these."""


def expected(log: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((log / "rows.json").read_text())
    return [{**LATER, **row, "conditions": row["conditions"] | LATER_CONDITIONS} for row in rows]


def text(rows: list[Sample] | list[dict[str, Any]]) -> list[str]:
    """In which 0.0 and -0.0 differ; the order of names within a row of a table is that of its columns."""
    return [json.dumps(row.as_dict() if isinstance(row, Sample) else row, sort_keys=True) for row in rows]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_every_row_of_an_old_log_still_reads(log: Path) -> None:
    report = ReadReport()
    assert text(list(read_samples(log, report))) == text(expected(log))
    assert not report.problems


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_an_old_log_can_be_compacted(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "log"
    shutil.copytree(log, copy)
    part = compact(copy)
    assert part is not None
    assert list((copy / "segments").iterdir()) == []
    assert text(list(read_samples(copy))) == text(expected(log))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_an_old_row_is_one_of_today(log: Path) -> None:
    """It has the identity that it would get now, and is asked under the conditions of its circuit."""
    circuit, table = load_circuit("nmcf"), read_table(log)
    of_nmcf = [row for row in read_samples(log) if row.circuit == "nmcf"]
    assert of_nmcf
    for row in of_nmcf:
        assert Sample.parse(row.as_dict() | {"sample_id": ""}).sample_id == row.sample_id
        assert circuit.circuit_class.conditions.read(row.conditions).step_levels == (0.3, 0.5)  # type: ignore[attr-defined]
    assert [table[f"conditions.{name}"].to_pylist() for name in LATER_CONDITIONS] == [
        [level] * table.num_rows for level in LATER_CONDITIONS.values()
    ]


def test_an_old_log_is_more_than_its_rows() -> None:
    (old, _) = LOGS
    assert len(relabel_queue(old)) == 3
    assert [error.message for error in read_errors(old)] == ["killed by signal 9"]
    assert read_table(old).num_rows == 6
