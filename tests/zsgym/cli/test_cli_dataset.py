"""`zsgym dataset`: generate, look at, export, compact, merge and relabel, from the shell."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSimulator
from tests.zsgym.cli.conftest import sizings, write
from tests.zsgym.conftest import Run
from tests.zsgym.samples.rows import failed_row, make_row
from zsgym import simulators
from zsgym.base.errors import SimulatorCrashError
from zsgym.circuits import Circuit
from zsgym.datasets import sample
from zsgym.samples import Sample, SampleLog, read_samples, read_table
from zsgym.simulators.outcome import Outcome, Status


def log_rows(directory: Path, *rows: Sample) -> Path:
    with SampleLog(directory) as log:
        log.append_many(rows)
    return directory


def test_dataset_generate_then_info_then_export(
    run: Run, fakes: list[FakeSimulator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("dataset", "generate", "nmcf", "-n", 100, "--seed", 4, "--strategy", "log", "--workers", 2)
    assert code == 0
    assert "data/nmcf-log-4: 100 rows" in out
    assert "100/100" in err
    assert "works" in err
    assert fakes[0].closed
    assert fakes[0].batch_sizes == [64, 36]

    code, out, _ = run("dataset", "info", "data/nmcf-log-4")
    assert code == 0
    assert "nmcf: 100 rows" in out
    assert "Hz" in out
    summary = json.loads(run("dataset", "info", "data/nmcf-log-4", "--json")[1])
    assert summary["labelled"] == 100
    assert summary["manifest"]["configuration"]["seed"] == 4

    code, out, _ = run("dataset", "export", "data/nmcf-log-4", "--format", "zerosim-json", "--out", "nmcf.json")
    assert (code, out) == (
        0,
        "nmcf.json: 100 samples\nnmcf.nodes.json: the device and pin behind each number under parameters\n",
    )
    assert Path("nmcf.nodes.json").is_file()
    exported = json.loads(Path("nmcf.json").read_text())
    assert [entry["label"] for entry in exported] == [row.label for row in read_samples("data/nmcf-log-4")]
    code, out, _ = run("dataset", "export", "data/nmcf-log-4", "--format", "parquet", "--out", "nmcf.parquet")
    assert (code, out) == (0, "nmcf.parquet: 100 samples\n")
    assert read_table("nmcf.parquet").num_rows == 100


def test_dataset_generate_is_quiet_and_scriptable(run: Run, fakes: list[FakeSimulator], tmp_path: Path) -> None:
    arguments = ["dataset", "generate", "nmcf", "-n", "20", "--out", str(tmp_path / "d"), "--quiet", "--json"]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    counts = json.loads(out)
    assert counts["rows"] == 20
    assert counts["open"] == []
    assert run(*arguments)[1] == out, "a repeated command finds everything done"
    code, _, err = run(*arguments, "--seed", "1")
    assert code == 2
    assert "seed: 0 there, 1 now" in err
    assert run("dataset", "generate", "nmcf", "-n", 5, "--strategy", "lucky", "--out", tmp_path / "e")[0] == 2


def test_dataset_generate_says_how_to_go_on_after_an_interrupt(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Interrupted(FakeSimulator):
        def simulate(self, *arguments: Any, **options: Any) -> Any:
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().simulate(*arguments, **options)

    arguments = ["dataset", "generate", "nmcf", "-n", "100", "--out", str(tmp_path / "d"), "--quiet"]
    monkeypatch.setattr(simulators, "make_simulator", lambda _, circuit, **__: Interrupted(circuit))
    code, _, err = run(*arguments)
    assert code == 130
    assert "repeat the command to go on" in err
    monkeypatch.setattr(simulators, "make_simulator", lambda _, circuit, **__: FakeSimulator(circuit))
    assert run(*arguments)[0] == 0
    assert read_table(tmp_path / "d")["index"].to_pylist() == list(range(100))


def test_dataset_compact(run: Run, tmp_path: Path) -> None:
    log = log_rows(tmp_path / "a", make_row(), failed_row())
    code, out, _ = run("dataset", "compact", log)
    assert code == 0
    assert read_table(out.strip()).num_rows == 2
    assert run("dataset", "compact", log) == (0, f"{log}: nothing to gather\n", "")
    assert run("dataset", "compact", tmp_path / "missing")[0] == 2


def test_dataset_merge(run: Run, tmp_path: Path) -> None:
    a = log_rows(tmp_path / "a", make_row())
    b = log_rows(tmp_path / "b", make_row(), failed_row(sizing={"W_gm3": 2.0}))
    code, out, _ = run("dataset", "merge", a, b, "--out", tmp_path / "c")
    assert (code, out) == (0, f"{tmp_path / 'c'}: 2 rows; left out 1 repetition\n")
    conflicting = log_rows(tmp_path / "d", failed_row())
    code, _, err = run("dataset", "merge", a, conflicting, "--out", tmp_path / "e")
    assert code == 1
    assert err.startswith("zsgym: 1 sizing was labelled both ways")
    assert make_row().sample_id in err
    assert run("dataset", "merge", a, "--out", tmp_path / "c")[0] == 2
    code, out, _ = run("dataset", "merge", a, conflicting, "--out", tmp_path / "f", "--json")
    merged = json.loads(out)
    assert (code, merged["rows"], merged["path"]) == (1, 1, str(tmp_path / "f"))
    assert merged["conflicts"] == [make_row().sample_id]


def test_dataset_relabel(run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path) -> None:
    fields = {"netlist_hash": circuit.netlist_hash, "sizing": sizings(circuit, 1)[0], "raw": {"converged": 1.0}}
    log = log_rows(tmp_path / "a", make_row(**fields, backend="surrogate"), make_row(**fields | {"conditions": {}}))
    code, out, _ = run("dataset", "relabel", log, "--quiet")
    assert code == 0
    assert "simulated 1 row, " in out
    assert run("dataset", "info", log)[1].count("0 wait for simulation") == 1

    assert run("dataset", "relabel", log, "--policy", "measured")[0] == 2
    assert run("dataset", "relabel", log, "--policy", "measured", "--out", tmp_path / "b", "--limit", 3)[0] == 2
    code, out, _ = run("dataset", "relabel", log, "--policy", "measured", "--out", tmp_path / "b")
    assert code == 0
    assert "2 now fails" in out or "1 now fails" in out
    code, out, _ = run("dataset", "relabel", log, "--policy", "measured", "--out", tmp_path / "c", "--json")
    assert (code, sum(json.loads(out)["changes"].values())) == (0, 2)
    assert json.loads(run("dataset", "relabel", log, "--quiet", "--json")[1])["rows"] == 0


def test_one_of_a_thing_is_no_plural(run: Run, circuit: Circuit, tmp_path: Path) -> None:
    fields = [{"netlist_hash": circuit.netlist_hash, "sizing": sizing} for sizing in sizings(circuit, 2)]
    log = log_rows(tmp_path / "a", make_row(**fields[0]), make_row(**fields[1], backend="surrogate"))
    out = run("dataset", "info", log)[1]
    assert "2 rows: 1 simulated, 1 answered by a surrogate (1 waits for simulation)" in out
    assert "nmcf: 1 row, 1 works (100.0%)" in out
    for name in ("parquet", "zerosim-json"):
        out = run("dataset", "export", log, "--format", name, "--out", tmp_path / f"{name}.out")[1]
        assert out.splitlines()[0].endswith(".out: 1 sample")


def test_one_open_sizing_is_no_plural(
    run: Run, monkeypatch: pytest.MonkeyPatch, circuit: Circuit, tmp_path: Path
) -> None:
    never = sample(circuit, "uniform", 0, 1)

    class Stubborn(FakeSimulator):
        def simulate(self, cases: Any, **options: Any) -> Any:
            lost = Outcome(Status.INFRASTRUCTURE_ERROR, error=SimulatorCrashError("killed"))
            answers = super().simulate(cases, **options)
            return [lost if sizing == never else answer for sizing, answer in zip(cases.sizings, answers, strict=True)]

    monkeypatch.setattr(simulators, "make_simulator", lambda _, circuit, **__: Stubborn(circuit))
    code, out, err = run("dataset", "generate", "nmcf", "-n", 2, "--out", tmp_path / "d", "--quiet")
    assert code == 3
    assert f"{tmp_path / 'd'}: 1 row, " in out
    assert err == "zsgym: 1 sizing could not be simulated (see errors/): repeat the command to try again\n"


def test_dataset_warnings_and_errors_are_single_lines(run: Run, tmp_path: Path) -> None:
    log = log_rows(tmp_path / "a", make_row(), failed_row(circuit="other"))
    segment = next((log / "segments").iterdir())
    segment.write_bytes(segment.read_bytes() + b'{"torn')
    code, out, err = run("dataset", "info", log)
    assert code == 0
    assert "unreadable lines: 1" in out
    assert err.startswith("zsgym: warning: left out a row: ")
    last = len(segment.read_bytes().split(b"\n"))
    assert f"line {last}: incomplete last line" in err
    assert err.count("\n") == 1
    code, _, err = run("dataset", "export", log, "--format", "zerosim-json", "--out", tmp_path / "x.json")
    assert code == 2
    assert "--circuit" in err
    code, _, err = run("dataset", "info", tmp_path / "missing")
    assert code == 2
    assert err.startswith(
        f"zsgym: error: there is no sample log at {tmp_path / 'missing'}: the directory does not exist"
    )
    assert err.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert run("dataset", "export", log, "--format", "parquet", "--out", tmp_path / "file" / "x.parquet")[0] == 3


@pytest.mark.ngspice
def test_real_simulation_through_the_command_line(run: Run, circuit: Circuit, tmp_path: Path) -> None:
    many = [sample(circuit, "log", 1, index) for index in range(4)]
    code, out, _ = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", many), "--json")
    assert code == 0
    simulated = json.loads(out)["outcomes"]
    generate = ["dataset", "generate", "nmcf", "-n", "4", "--strategy", "log", "--seed", "1", "--quiet"]
    assert run(*generate, "--out", tmp_path / "one", "--workers", 1)[0] == 0
    assert run(*generate, "--out", tmp_path / "two", "--workers", 2)[0] == 0
    one, two = (
        [row.model_dump(exclude={"time", "writer", "elapsed_s"}) for row in read_samples(tmp_path / name)]
        for name in ("one", "two")
    )
    assert one == two
    assert [row["failure"] for row in one] == [outcome["failure"] for outcome in simulated]
    assert [row["metrics"] if row["label"] else None for row in one] == [outcome["metrics"] for outcome in simulated]
