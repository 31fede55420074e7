"""Summaries, merging and relabelling of whole data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.zsgym.samples.rows import WORKING, failed_row, make_row
from zsgym.base.errors import ConfigError, SampleLogError, SimulatorCrashError
from zsgym.circuits import Circuit, load_circuit
from zsgym.datasets.generate import Plan, generate
from zsgym.datasets.relabel import answer_queue, judge_anew
from zsgym.samples import (
    Sample,
    SampleLog,
    SampleLogWarning,
    read_errors,
    read_samples,
    relabel_queue,
    training_rows,
)
from zsgym.samples.dataset import info, merge
from zsgym.samples.manifest import read_manifest
from zsgym.samples.parquet import compact


def sized(width: float) -> dict[str, float]:
    return {"W_gm3": width}


def log_rows(directory: Path, *rows: Sample) -> Path:
    with SampleLog(directory) as log:
        log.append_many(rows)
    return directory


# --- info -----------------------------------------------------------------------------------------------------------


def test_info_counts_labels_reasons_repetitions_and_quantiles(tmp_path: Path) -> None:
    working = [
        make_row(sizing=sized(1 + i), metrics=WORKING | {"gbw": 1e6 * i, "vos": -1e-3 * i}) for i in range(1, 102)
    ]
    failing = [failed_row(sizing=sized(200 + i)) for i in range(3)]
    failing += [failed_row(sizing=sized(300), failure="geometry")] * 2
    predicted = [make_row(sizing=sized(w), backend="surrogate") for w in (2, 400, 400)]
    log_rows(tmp_path, *working, *failing, *predicted, failed_row(circuit="other"))
    segment = next((tmp_path / "segments").iterdir())
    segment.write_bytes(segment.read_bytes() + b'{"torn')
    with pytest.warns(SampleLogWarning):
        summary = info(tmp_path)
    assert (summary["rows"], summary["labelled"], summary["predicted"]) == (110, 107, 3)
    assert summary["relabel_queue"] == 1
    assert summary["duplicates"] == 1
    assert summary["backends"] == {"ngspice": 107, "surrogate": 3}
    assert [problem["reason"][:20] for problem in summary["unreadable"]] == ["incomplete last line"]
    assert summary["unreadable"][0]["line"] == len(segment.read_bytes().split(b"\n"))
    nmcf = summary["circuits"]["nmcf"]
    assert (nmcf["rows"], nmcf["working"]) == (106, 101)
    assert nmcf["working_share"] == pytest.approx(101 / 106)
    assert nmcf["failures"] == {"geometry": 2, "unstable": 3}
    assert nmcf["metrics"]["gbw"] == {"unit": "Hz", "q05": 6e6, "q50": 51e6, "q95": 96e6}
    assert nmcf["metrics"]["vos"]["q50"] == pytest.approx(51e-3), "the offset counts by its magnitude"
    assert summary["circuits"]["other"]["metrics"] == {}
    assert summary["manifest"] is None


def test_info_is_the_same_before_and_after_compaction(tmp_path: Path) -> None:
    log_rows(tmp_path, make_row(), failed_row(sizing=sized(2)), make_row(backend="surrogate"))
    before = info(tmp_path)
    compact(tmp_path)
    assert info(tmp_path) == before


# --- merge ----------------------------------------------------------------------------------------------------------


def test_merge_keeps_each_sizing_once_and_prefers_simulations(tmp_path: Path) -> None:
    a = log_rows(tmp_path / "a", make_row(sizing=sized(1), backend="surrogate"), failed_row(sizing=sized(2)))
    b = log_rows(
        tmp_path / "b",
        failed_row(sizing=sized(1)),
        failed_row(sizing=sized(2), elapsed_s=5.0),
        make_row(sizing=sized(3), backend="surrogate"),
        make_row(sizing=sized(3), backend="surrogate"),
    )
    report = merge([a, b], tmp_path / "c")
    assert (report.rows, report.duplicates, report.conflicts) == (3, 3, {})
    rows = {row.sizing["W_gm3"]: row for row in read_samples(tmp_path / "c")}
    assert rows[1].backend == "ngspice"
    assert rows[1].label == 0
    assert rows[2].elapsed_s == 0.0, "the first source wins"
    assert rows[3].predicted
    manifest = read_manifest(tmp_path / "c")
    assert manifest is not None
    assert [source["path"] for source in manifest["sources"]] == [str(a), str(b)]
    assert merge([tmp_path / "c", b], tmp_path / "d").rows == 3


def test_merge_reports_labels_that_disagree(tmp_path: Path) -> None:
    a = log_rows(tmp_path / "a", make_row(sizing=sized(1)), make_row(sizing=sized(2), backend="surrogate"))
    b = log_rows(tmp_path / "b", failed_row(sizing=sized(1)), failed_row(sizing=sized(2)))
    report = merge([a, b], tmp_path / "c")
    assert report.conflicts == {make_row(sizing=sized(1)).sample_id: [1, 0]}
    assert {row.sizing["W_gm3"]: row.label for row in read_samples(tmp_path / "c")} == {1: 1, 2: 0}


def test_merge_refuses_mixed_policies_and_existing_outputs(tmp_path: Path) -> None:
    a = log_rows(tmp_path / "a", make_row())
    b = log_rows(tmp_path / "b", make_row(sizing=sized(2), policy="measured"))
    with pytest.raises(SampleLogError, match=r"functional, measured.*relabel"):
        merge([a, b], tmp_path / "c")
    with pytest.raises(SampleLogError, match="exists already"):
        merge([a], b)
    assert not (tmp_path / "c").exists()


# --- another policy -------------------------------------------------------------------------------------------------

RAW = WORKING | {
    "converged": 1.0,
    "output_error": 0.001,
    "min_device_current": 1e-6,
    "dc_phase": 0.0,
    "max_pole_real": 100.0,
}


def measured_raw(**changes: Any) -> dict[str, Any]:
    return RAW | changes


def test_rows_are_judged_by_another_policy_without_simulating(tmp_path: Path) -> None:
    without_step = {k: v for k, v in RAW.items() if k not in ("slew_rate", "settling_time")}
    source = log_rows(
        tmp_path / "a",
        failed_row(sizing=sized(1), raw=without_step),
        failed_row(sizing=sized(2), failure="geometry", raw={}),
        failed_row(sizing=sized(3), failure="no_gain", raw=measured_raw(gbw=None)),
        make_row(sizing=sized(4), backend="surrogate"),
    )
    changes = judge_anew(source, "measured", tmp_path / "b")
    assert changes == {"kept": 2, "now works": 1, "now fails": 0}
    rows = {row.sizing["W_gm3"]: row for row in read_samples(tmp_path / "b")}
    assert set(rows) == {1, 2, 3}, "predicted rows are not copied"
    assert rows[1].label == 1
    assert rows[1].metrics == {k: v for k, v in WORKING.items() if k not in ("slew_rate", "settling_time")}
    assert rows[2].failure == "geometry"
    assert rows[3].failure == "no_gain"
    assert {row.policy for row in rows.values()} == {"measured"}
    assert [row.label for row in read_samples(source)] == [0, 0, 0, 1], "the source is not touched"

    back = judge_anew(tmp_path / "b", "functional", tmp_path / "c")
    assert back == {"kept": 2, "now works": 0, "now fails": 1}
    assert [row.failure for row in read_samples(tmp_path / "c")] == ["unstable", "geometry", "no_gain"]


def test_an_unknown_policy_names_the_known_ones(tmp_path: Path) -> None:
    log_rows(tmp_path / "a", make_row())
    with pytest.raises(ConfigError, match="functional, measured"):
        judge_anew(tmp_path / "a", "kind", tmp_path / "b")
    assert not (tmp_path / "b").exists()


# --- the queue of predicted rows ------------------------------------------------------------------------------------


@pytest.fixture
def circuit() -> Circuit:
    return load_circuit("nmcf")


def predicted_rows(circuit: Circuit, directory: Path, count: int) -> list[Sample]:
    """Rows that a surrogate answered, made from the sizings of a small data set."""
    generate(Plan(circuit, count, strategy="log"), directory / "source", FakeSimulator(circuit), progress=False)
    return [
        row.model_copy(update={"backend": "surrogate", "index": None}) for row in read_samples(directory / "source")
    ]


def test_the_queue_is_simulated_and_shrinks(tmp_path: Path, circuit: Circuit) -> None:
    rows = predicted_rows(circuit, tmp_path, 25)
    hot = Sample.parse(rows[0].as_dict() | {"sample_id": "", "conditions": rows[0].conditions | {"temperature": 85.0}})
    log = log_rows(tmp_path / "log", *rows, *rows[:5], hot)
    assert len(relabel_queue(log)) == 26
    simulators: list[FakeSimulator] = []

    def make(circuit: Circuit, policy: str) -> FakeSimulator:
        assert policy == "functional"
        simulators.append(FakeSimulator(circuit))
        return simulators[-1]

    counts = answer_queue(log, make, limit=10, batch_size=4, progress=False)
    assert counts.rows == 10
    assert len(relabel_queue(log)) == 16
    counts = answer_queue(log, make, batch_size=4, progress=False)
    assert counts.rows == 16
    assert relabel_queue(log) == []
    assert answer_queue(log, make, progress=False).rows == 0
    assert len(list(training_rows(log))) == 26
    assert {row.sample_id for row in training_rows(log)} == {row.sample_id for row in rows} | {hot.sample_id}
    assert all(simulator.closed for simulator in simulators)
    seen = {None if c is None else c.temperature for simulator in simulators for c in simulator.conditions}
    assert seen == {27.0, 85.0}


def test_rows_of_another_netlist_stay_in_the_queue(tmp_path: Path, circuit: Circuit) -> None:
    old = predicted_rows(circuit, tmp_path, 1)[0].as_dict() | {"netlist_hash": "0" * 16, "sample_id": ""}
    log = log_rows(tmp_path / "log", Sample.parse(old))
    with pytest.warns(SampleLogWarning, match="another version of the netlist"):
        assert answer_queue(log, lambda c, _: FakeSimulator(c), progress=False).rows == 0
    assert len(relabel_queue(log)) == 1


def test_a_dead_infrastructure_labels_nothing(tmp_path: Path, circuit: Circuit) -> None:
    log = log_rows(tmp_path / "log", *predicted_rows(circuit, tmp_path, 4))
    with pytest.raises(SimulatorCrashError):
        answer_queue(log, lambda c, _: FakeSimulator(c, raise_at=range(99)), progress=False)
    assert len(relabel_queue(log)) == 4
    assert list(read_errors(log)) == []


def test_rows_count_as_numbers_in_numpy(tmp_path: Path) -> None:
    """What a training script does first."""
    from zsgym.samples import read_table

    log_rows(tmp_path, make_row(), failed_row(sizing=sized(2)))
    table = read_table(tmp_path)
    labels = table["label"].to_numpy()
    assert labels.tolist() == [1, 0]
    assert np.isnan(table["metrics.gbw"].to_numpy()).tolist() == [False, True]
