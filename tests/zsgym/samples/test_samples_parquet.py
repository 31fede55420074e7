"""Parquet tables and the compaction of segments: exact, crash-safe, and out of the way of writers."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zsgym.samples.rows import failed_row, make_row, samples
from zsgym.base.errors import SampleLogError
from zsgym.samples import Sample, SampleLog, SampleLogWarning, read_samples, read_table
from zsgym.samples.parquet import compact, read_part, samples_to_table, table_to_samples, write_part


def log_rows(directory: Path, *rows: Sample) -> None:
    with SampleLog(directory) as log:
        log.append_many(rows)


def indices(directory: Path) -> list[int | None]:
    return [row.index for row in read_samples(directory)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(samples(), max_size=4))
def test_rows_survive_the_table_in_every_bit(rows: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.parquet"
        write_part(samples_to_table(rows), path)
        assert list(table_to_samples(read_part(path))) == rows


def test_columns_are_flat_and_typed_for_numpy_and_pandas(tmp_path: Path) -> None:
    log_rows(
        tmp_path,
        make_row(operating_points={"xm1": {"gm": 1e-5}}),
        failed_row(circuit="other", sizing={"W_new": 2.0}),
        make_row(backend="surrogate"),
    )
    table = read_table(tmp_path)
    assert table.num_rows == 2, "predicted rows are left out unless asked for"
    assert read_table(tmp_path, include_predicted=True).num_rows == 3
    assert table["label"].to_pylist() == [1, 0]
    assert table.schema.field("metrics.gbw").type == pa.float64()
    assert table["metrics.gbw"].to_pylist() == [9.0, None]
    assert table["sizing.W_new"].to_pylist() == [None, 2.0]
    assert table["conditions.corner"].to_pylist() == ["tt", "tt"]
    assert table["op.xm1.gm"].to_pylist() == [1e-5, None]
    np.testing.assert_array_equal(table["sizing.M_gm3"].to_numpy(), [4.0, np.nan])


def test_an_empty_log_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    assert read_table(tmp_path).num_rows == 0
    assert compact(tmp_path) is None


def test_compaction_keeps_every_row_once_and_can_be_repeated(tmp_path: Path) -> None:
    log_rows(tmp_path, make_row(index=2), make_row(index=0))
    log_rows(tmp_path, make_row(index=1))
    before = sorted(read_samples(tmp_path), key=lambda row: row.index or 0)
    part = compact(tmp_path, sort_by=("index",))
    assert part is not None
    assert list(read_samples(tmp_path)) == before
    assert list((tmp_path / "segments").iterdir()) == []
    log_rows(tmp_path, make_row(index=3))
    compact(tmp_path, sort_by=("index",))
    assert indices(tmp_path) == [0, 1, 2, 3]
    assert len(list((tmp_path / "parquet").glob("*.parquet"))) == 1
    assert compact(tmp_path) is None
    assert read_table(next((tmp_path / "parquet").glob("*.parquet"))).num_rows == 4


def test_compaction_leaves_a_living_writer_alone(tmp_path: Path) -> None:
    log_rows(tmp_path, make_row(index=0))
    with SampleLog(tmp_path) as log:
        log.append(make_row(index=1))
        compact(tmp_path)
        assert len(list((tmp_path / "segments").iterdir())) == 1
        log.append(make_row(index=2))
    assert indices(tmp_path) == [0, 1, 2]


def test_compaction_keeps_a_damaged_segment_for_inspection(tmp_path: Path) -> None:
    log_rows(tmp_path, make_row(index=0))
    segment = next((tmp_path / "segments").iterdir())
    segment.write_bytes(segment.read_bytes() + b'{"torn":')
    with pytest.warns(SampleLogWarning, match="incomplete last line"):
        assert compact(tmp_path) is None
    with pytest.warns(SampleLogWarning, match="incomplete last line"):
        assert indices(tmp_path) == [0]


def test_a_compaction_that_crashed_before_it_cleaned_up_doubles_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_rows(tmp_path, make_row(index=0))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        compact(tmp_path)
    assert len(list((tmp_path / "segments").iterdir())) == 1
    assert indices(tmp_path) == [0]
    assert read_table(tmp_path).num_rows == 1
    log_rows(tmp_path, make_row(index=1))
    compact(tmp_path)
    assert sorted(index or 0 for index in indices(tmp_path)) == [0, 1]


def test_a_damaged_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    log_rows(tmp_path, make_row(index=0))
    part = compact(tmp_path)
    assert part is not None
    content = bytearray(part.read_bytes())
    content[40] ^= 0xFF
    part.write_bytes(content)
    with pytest.raises(SampleLogError, match=part.name):
        list(read_samples(tmp_path))
    part.write_bytes(content[:100])
    with pytest.raises(SampleLogError, match=part.name):
        list(read_samples(tmp_path))


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    write_part(pa.table({"x": [1.0]}), tmp_path / "foreign.parquet")
    with pytest.raises(SampleLogError, match="not a table of samples"):
        list(read_samples(tmp_path / "foreign.parquet"))
