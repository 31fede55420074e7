"""A log and a data set that zsgym 0.1 wrote: `tests/golden/log-0.1` was made by that version and is never made anew.

It holds rows of a surrogate environment, of ngspice (one from before targets were logged), of a data set (compacted),
and an infrastructure error; `rows.json` is what the reader of 0.1 made of them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from zsgym.samples import ReadReport, read_errors, read_samples, read_table, relabel_queue
from zsgym.samples.parquet import compact

OLD_LOG = Path(__file__).parents[2] / "golden" / "log-0.1"


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((OLD_LOG / "rows.json").read_text())
    return rows


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for row, old in zip(found, expected, strict=True):
        # As text, in which 0.0 and -0.0 differ. The order of names within a row is that of the table's columns.
        assert json.dumps({name: row[name] for name in old}, sort_keys=True) == json.dumps(old, sort_keys=True)
        later = {name: row[name] for name in row.keys() - old.keys()}
        assert later == {"environment": None, "circuit_class": "amplifier"}


def test_every_row_of_an_old_log_still_reads(expected: list[dict[str, Any]]) -> None:
    report = ReadReport()
    rows = [row.as_dict() for row in read_samples(OLD_LOG, report)]
    assert not report.problems
    assert_same(rows, expected)
    assert len(relabel_queue(OLD_LOG)) == 3
    assert [error.message for error in read_errors(OLD_LOG)] == ["killed by signal 9"]
    assert read_table(OLD_LOG).num_rows == 6


def test_an_old_log_can_be_compacted(expected: list[dict[str, Any]], tmp_path: Path) -> None:
    copy = tmp_path / "log"
    shutil.copytree(OLD_LOG, copy)
    part = compact(copy)
    assert part is not None
    assert list((copy / "segments").iterdir()) == []
    assert_same([row.as_dict() for row in read_samples(copy)], expected)
