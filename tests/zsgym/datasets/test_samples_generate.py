"""Generation: reproducible whatever the batches and interruptions, and honest about what could not be simulated."""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSimulator
from tests.zsgym.samples.rows import make_row
from zsgym.base.errors import ConfigError, SampleLogError, SimulatorCrashError, SimulatorError, SimulatorMissingError
from zsgym.circuits import Cases, Circuit, Sizing, load_circuit
from zsgym.datasets.generate import Plan, generate
from zsgym.samples import Sample, SampleLog, SampleLogWarning, read_errors, read_samples, read_table
from zsgym.samples.manifest import read_manifest, write_manifest
from zsgym.simulators.outcome import Outcome, Status

COUNT = 300


@pytest.fixture
def circuit() -> Circuit:
    return load_circuit("nmcf")


def content(directory: Path) -> list[dict[str, Any]]:
    """The rows sorted by index, without what says when and by which process they were written."""
    rows = sorted(read_samples(directory), key=lambda row: row.index or 0)
    return [row.model_dump(exclude={"time", "writer", "elapsed_s"}) for row in rows]


class Interrupted(FakeSimulator):
    """Ctrl-C arrives in the given call."""

    def __init__(self, circuit: Circuit, at: int) -> None:
        super().__init__(circuit)
        self.at = at

    def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
        if self.calls + 1 == self.at:
            raise KeyboardInterrupt
        return super().simulate(cases, **options)


class Losing(FakeSimulator):
    """The infrastructure cannot answer sizings for which `lost` is true."""

    def __init__(self, circuit: Circuit, lost: Callable[[Sizing], bool], error: SimulatorError | None = None) -> None:
        super().__init__(circuit)
        self.lost = lost
        self.error = error or SimulatorCrashError("killed by signal 9")

    def simulate(self, cases: Cases, **options: Any) -> list[Outcome]:
        outcomes = super().simulate(cases, **options)
        infrastructure = Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=self.error)
        return [infrastructure if self.lost(s) else o for s, o in zip(cases.sizings, outcomes, strict=True)]


@pytest.mark.parametrize("strategy", ["uniform", "log", "targeted"])
def test_the_rows_depend_on_the_seed_and_not_on_batches_or_interruptions(
    tmp_path: Path, circuit: Circuit, strategy: str
) -> None:
    plan = Plan(circuit, COUNT, seed=7, strategy=strategy)
    counts = generate(plan, tmp_path / "a", FakeSimulator(circuit), batch_size=64, progress=False)
    reference = content(tmp_path / "a")
    assert counts.rows == COUNT == len(reference)
    assert [row["index"] for row in reference] == list(range(COUNT))
    assert len({row["sample_id"] for row in reference}) == COUNT

    generate(plan, tmp_path / "b", FakeSimulator(circuit), batch_size=7, progress=False)
    assert content(tmp_path / "b") == reference

    for call in (3, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            generate(plan, tmp_path / "c", Interrupted(circuit, call), batch_size=20, progress=False)
    kept = len(content(tmp_path / "c"))
    simulator = FakeSimulator(circuit)
    generate(plan, tmp_path / "c", simulator, batch_size=11, progress=False)
    assert content(tmp_path / "c") == reference
    assert len(simulator.simulated) == COUNT - kept, "what was simulated once is not simulated again"

    generate(Plan(circuit, COUNT, seed=8, strategy=strategy), tmp_path / "d", FakeSimulator(circuit), progress=False)
    # The targeted strategy starts with known-good sizings, which no seed changes.
    same = {row["sample_id"] for row in content(tmp_path / "d")} & {row["sample_id"] for row in reference}
    assert len(same) <= len(circuit.known_good)


def test_a_complete_data_set_is_one_sorted_parquet_file(tmp_path: Path, circuit: Circuit) -> None:
    generate(Plan(circuit, 50), tmp_path, FakeSimulator(circuit), batch_size=8, progress=False)
    assert list((tmp_path / "segments").iterdir()) == []
    (part,) = (tmp_path / "parquet").glob("*.parquet")
    assert read_table(part)["index"].to_pylist() == list(range(50))


def test_a_larger_count_extends_and_a_smaller_one_changes_nothing(tmp_path: Path, circuit: Circuit) -> None:
    for strategy in ("uniform", "targeted"):
        out, whole = tmp_path / strategy, tmp_path / f"{strategy} at once"
        generate(Plan(circuit, 100, strategy=strategy), out, FakeSimulator(circuit), progress=False)
        generate(Plan(circuit, COUNT, strategy=strategy), out, FakeSimulator(circuit), progress=False)
        generate(Plan(circuit, COUNT, strategy=strategy), whole, FakeSimulator(circuit), progress=False)
        assert content(out) == content(whole)
        simulator = FakeSimulator(circuit)
        assert generate(Plan(circuit, 10, strategy=strategy), out, simulator, progress=False).rows == COUNT
        assert simulator.calls == 0


def test_a_data_set_from_before_the_step_had_levels_goes_on(tmp_path: Path, circuit: Circuit) -> None:
    generate(Plan(circuit, 10, seed=1), tmp_path, FakeSimulator(circuit), progress=False)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    for name in ("step_low", "step_high"):
        del manifest["configuration"]["conditions"][name]
    write_manifest(tmp_path, manifest)
    assert generate(Plan(circuit, 20, seed=1), tmp_path, FakeSimulator(circuit), progress=False).rows == 20
    elsewhere = circuit.conditions.replace(step_low=0.31)
    with pytest.raises(SampleLogError, match="conditions"):
        generate(Plan(circuit, 20, seed=1, conditions=elsewhere), tmp_path, FakeSimulator(circuit), progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "seed: 1 there, 2 now"),
        ({"strategy": "log"}, "strategy: uniform there, log now"),
        ({"policy": "measured"}, "policy: functional there, measured now"),
    ],
)
def test_another_plan_in_the_same_directory_is_refused(
    tmp_path: Path, circuit: Circuit, change: dict[str, Any], message: str
) -> None:
    generate(Plan(circuit, 20, seed=1), tmp_path, FakeSimulator(circuit), progress=False)
    before = content(tmp_path)
    arguments: dict[str, Any] = {"circuit": circuit, "count": 20, "seed": 1} | change
    with pytest.raises(SampleLogError, match=message):
        generate(Plan(**arguments), tmp_path, FakeSimulator(circuit), progress=False)
    hot, other = circuit.conditions.replace(temperature=125.0), load_circuit("nmcnr")
    with pytest.raises(SampleLogError, match="conditions"):
        generate(Plan(circuit, 20, seed=1, conditions=hot), tmp_path, FakeSimulator(circuit), progress=False)
    with pytest.raises(SampleLogError, match="circuit: nmcf there, nmcnr now"):
        generate(Plan(other, 20, seed=1), tmp_path, FakeSimulator(other), progress=False)
    assert content(tmp_path) == before


def test_a_directory_with_something_else_in_it_is_refused(tmp_path: Path, circuit: Circuit) -> None:
    with SampleLog(tmp_path / "log") as log:
        log.append(make_row())
    with pytest.raises(SampleLogError, match="not made by this command"):
        generate(Plan(circuit, 5), tmp_path / "log", FakeSimulator(circuit), progress=False)
    write_manifest(tmp_path / "merged", {"made_by": "merge"})
    with pytest.raises(SampleLogError, match="made by merge"):
        generate(Plan(circuit, 5), tmp_path / "merged", FakeSimulator(circuit), progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(SampleLogError, match="cannot write"):
        generate(Plan(circuit, 5), tmp_path / "file", FakeSimulator(circuit), progress=False)


def test_two_runs_in_one_directory_at_once_are_refused(tmp_path: Path, circuit: Circuit) -> None:
    with (tmp_path / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SampleLogError, match="another run"):
            generate(Plan(circuit, 5), tmp_path, FakeSimulator(circuit), progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "at least 1"),
        ({"seed": -1}, "at least 0"),
        ({"strategy": "lucky"}, "log, targeted, uniform"),
        ({"policy": "kind"}, "functional, measured"),
    ],
)
def test_an_impossible_plan(circuit: Circuit, change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"circuit": circuit, "count": 5} | change
    with pytest.raises(ConfigError, match=message):
        Plan(**arguments)


def test_a_lost_batch_is_asked_for_again(tmp_path: Path, circuit: Circuit) -> None:
    simulator = FakeSimulator(circuit, raise_at={2})
    counts = generate(Plan(circuit, 30), tmp_path, simulator, batch_size=10, progress=False)
    assert (counts.rows, counts.open, simulator.calls) == (30, [], 4)


def test_a_sizing_that_nobody_can_answer_stays_open_and_outside_the_data(tmp_path: Path, circuit: Circuit) -> None:
    plan = Plan(circuit, 60, seed=3)
    reference = generate(plan, tmp_path / "whole", FakeSimulator(circuit), progress=False)
    unlucky = content(tmp_path / "whole")[17]["sizing"]
    counts = generate(plan, tmp_path / "a", Losing(circuit, lambda s: s == unlucky), batch_size=9, progress=False)
    assert (counts.rows, counts.open) == (59, [17])
    assert 17 not in [row["index"] for row in content(tmp_path / "a")]
    (error,) = read_errors(tmp_path / "a")
    assert (error.index, error.error, error.sizing) == (17, "SimulatorCrashError", unlucky)
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest["runs"][-1]["status"] == "incomplete"
    assert manifest["counts"]["open"] == [17]

    counts = generate(plan, tmp_path / "a", FakeSimulator(circuit), progress=False)
    assert counts == reference
    assert content(tmp_path / "a") == content(tmp_path / "whole")


def test_a_dead_infrastructure_stops_the_run_and_labels_nothing(tmp_path: Path, circuit: Circuit) -> None:
    with pytest.raises(SimulatorCrashError):
        generate(Plan(circuit, 30), tmp_path, Losing(circuit, lambda _: True), batch_size=10, progress=False)
    manifest = read_manifest(tmp_path)
    assert manifest is not None
    assert manifest["runs"][-1]["status"] == "failed: killed by signal 9"
    assert manifest["counts"]["rows"] == 0


def test_a_missing_simulator_is_not_asked_twice(tmp_path: Path, circuit: Circuit) -> None:
    simulator = Losing(circuit, lambda _: True, SimulatorMissingError("no ngspice"))
    with pytest.raises(SimulatorMissingError):
        generate(Plan(circuit, 5), tmp_path, simulator, progress=False)
    assert simulator.calls == 1


def test_the_manifest_says_how_the_data_set_was_made(tmp_path: Path, circuit: Circuit) -> None:
    with pytest.raises(KeyboardInterrupt):
        generate(Plan(circuit, 40, seed=5), tmp_path, Interrupted(circuit, 2), batch_size=10, progress=False)
    counts = generate(Plan(circuit, 40, seed=5), tmp_path, FakeSimulator(circuit), batch_size=10, progress=False)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["configuration"]["circuit"] == "nmcf"
    assert manifest["configuration"]["netlist_hash"] == circuit.netlist_hash
    assert manifest["configuration"]["seed"] == 5
    assert manifest["configuration"]["conditions"]["supply"] == 1.8
    assert manifest["count"] == 40
    assert [run["status"] for run in manifest["runs"]] == ["interrupted", "complete"]
    for run in manifest["runs"]:
        assert run["wall_s"] >= 0
        assert run["provenance"] == {"fake": "1"}
        assert run["versions"]["numpy"]
        assert "command" in run
        assert "git_revision" in run
    assert manifest["counts"] == counts.as_dict()
    assert manifest["counts"]["rows"] == 40
    assert sum(manifest["counts"]["failures"].values()) + manifest["counts"]["working"] == 40


def test_rows_of_another_simulator_version_are_warned_about(tmp_path: Path, circuit: Circuit) -> None:
    class Newer(FakeSimulator):
        @property
        def provenance(self) -> dict[str, str]:
            return {"fake": "2"}

    generate(Plan(circuit, 5), tmp_path, FakeSimulator(circuit), progress=False)
    with pytest.warns(SampleLogWarning, match="will hold both"):
        generate(Plan(circuit, 10), tmp_path, Newer(circuit), progress=False)


def test_a_torn_row_is_simulated_again(tmp_path: Path, circuit: Circuit) -> None:
    plan = Plan(circuit, 30)
    generate(plan, tmp_path / "whole", FakeSimulator(circuit), progress=False)
    with pytest.raises(KeyboardInterrupt):
        generate(plan, tmp_path / "a", Interrupted(circuit, 3), batch_size=10, progress=False)
    (segment,) = (tmp_path / "a" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-50])
    with pytest.warns(SampleLogWarning, match="incomplete last line"):
        generate(plan, tmp_path / "a", FakeSimulator(circuit), progress=False)
    with pytest.warns(SampleLogWarning, match="incomplete last line"):
        assert content(tmp_path / "a") == content(tmp_path / "whole")


def test_conditions_and_policy_reach_simulator_and_rows(tmp_path: Path, circuit: Circuit) -> None:
    hot = circuit.conditions.replace(temperature=125.0)
    simulator = FakeSimulator(circuit)
    generate(Plan(circuit, 5, conditions=hot, policy="measured"), tmp_path, simulator, progress=False)
    rows: list[Sample] = list(read_samples(tmp_path))
    assert simulator.conditions == [hot]
    assert {row.conditions["temperature"] for row in rows} == {125.0}
    assert {row.policy for row in rows} == {"measured"}
    assert {row.strategy for row in rows} == {"uniform"}


KILLED = """
import sys, time
from tests.fakes import FakeSimulator
from zsgym.circuits import load_circuit
from zsgym.datasets.generate import Plan, generate

class Slow(FakeSimulator):
    def simulate(self, *arguments, **options):
        time.sleep(0.01)
        return super().simulate(*arguments, **options)

circuit = load_circuit("nmcf")
generate(Plan(circuit, 300, seed=7, strategy="targeted"), sys.argv[1], Slow(circuit), batch_size=1, progress=False)
"""


def test_a_killed_run_continues_to_the_same_data_set(tmp_path: Path, circuit: Circuit) -> None:
    plan = Plan(circuit, COUNT, seed=7, strategy="targeted")
    generate(plan, tmp_path / "whole", FakeSimulator(circuit), progress=False)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")]) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("a/segments/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        process.kill()
    kept = len(content(tmp_path / "a"))
    assert 0 < kept < COUNT
    generate(plan, tmp_path / "a", FakeSimulator(circuit), progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "whole")
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert [run["status"] for run in manifest["runs"]] == ["killed", "complete"]
