"""The retraining loop as a whole: rounds, promotion, interruption, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from surrogate.checkpoint import Checkpoint
from surrogate.retrain.loop import Loop
from surrogate.simulator import SurrogateSimulator
from tests.surrogate.retrain.setup import SETTINGS, RuleSimulator, arguments, make_data
from tests.surrogate.synthetic import make_row, make_rows, nmcf, nmcnr, sizings, untrained_checkpoint, write_rows
from zsgym.base.errors import ConfigError, SampleLogError, SimulatorError
from zsgym.classes import Failure
from zsgym.samples import SampleLog, read_errors, read_samples
from zsgym.simulators import Outcome, Sizing, Status


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("retrain"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], RuleSimulator]:
    """A run that nothing disturbed: its folder, its state, its simulator."""
    run = tmp_path_factory.mktemp("finished") / "run"
    simulator = RuleSimulator(nmcf())
    return run, Loop(arguments(data, run), simulator).run(), simulator


def _outcome(state: dict[str, Any]) -> dict[str, Any]:
    """All that must not depend on how often a run was interrupted: every figure, but not the hashes of checkpoints,
    which also hold the command and the git revision."""
    searched = [*state["rounds"], state["audit"]]
    figures = [{k: v for k, v in found.items() if k not in ("checkpoint", "candidate")} for found in searched]
    return {"figures": figures} | {key: state[key] for key in ("identity", "simulations", "current")}


def test_every_simulation_is_a_row_and_counted(finished: tuple[Path, dict[str, Any], RuleSimulator]) -> None:
    run, state, simulator = finished
    rows = list(read_samples(run / "labels"))
    assert len(rows) == state["simulations"] == len(simulator.answered)
    kinds = Counter(row.strategy for row in rows)
    assert kinds["retrain/round-1/best"] == kinds["retrain/round-2/best"] == 16
    assert kinds["retrain/round-1/uncertain"] == kinds["retrain/round-1/random"] == 12
    assert kinds["retrain/audit-2/best"] > 0


def test_the_run_says_what_it_is(finished: tuple[Path, dict[str, Any], RuleSimulator]) -> None:
    run, state, _ = finished
    assert json.loads((run / "state.json").read_text()) == json.loads(json.dumps(state))
    assert [r["round"] for r in state["rounds"]] == [1, 2]
    current = Checkpoint.load(run / "surrogate.safetensors")
    card = (run / "MODEL_CARD.md").read_text()
    for fact in (current.sha256[:16], state["identity"]["data"]["hash"], nmcf().netlist_hash):
        assert fact in card
    assert state["audit"]["checkpoint"] == current.sha256[:16]


def test_a_checkpoint_is_promoted_exactly_if_it_is_better_beyond_chance(
    finished: tuple[Path, dict[str, Any], RuleSimulator],
) -> None:
    _, state, _ = finished
    assert any(r["promoted"] for r in state["rounds"]), "nothing was learnt"
    for r in state["rounds"]:
        deciding = [r["untouched"][when]["log"] for when in ("before", "after")]
        before, after = (scores["brier"] + (scores["metric_error"] or 0.0) for scores in deciding)
        assert deciding[0]["rows"] >= SETTINGS["gate"]["rows"]
        assert r["promoted"] == (r["p"] <= SETTINGS["gate"]["level"] and not any("base" in x for x in r["refused"]))
        assert r["promoted"] <= (after < before)


@pytest.mark.parametrize("call", [3, 7])
def test_an_interrupted_run_ends_like_an_undisturbed_one(
    data: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any], RuleSimulator], call: int
) -> None:
    first = RuleSimulator(nmcf(), interrupt_at=call)
    with pytest.raises(KeyboardInterrupt):
        Loop(arguments(data, tmp_path / "run"), first).run()
    second = RuleSimulator(nmcf())
    state = Loop(arguments(data, tmp_path / "run"), second).run()
    assert _outcome(state) == _outcome(finished[1])
    assert not set(first.answered) & set(second.answered), "a labelled sizing was simulated again"


def test_an_interrupt_in_training_continues_from_the_last_epoch(
    data: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any], RuleSimulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    from surrogate.trainer import Trainer

    epochs, train_epoch = [], Trainer._train_epoch

    def stop_once(trainer: Trainer) -> float:
        epochs.append((trainer.folder.name, trainer.epoch))
        if epochs[-1] == ("tune", 2) and epochs.count(("tune", 2)) == 1:
            raise KeyboardInterrupt
        return train_epoch(trainer)

    monkeypatch.setattr(Trainer, "_train_epoch", stop_once)
    with pytest.raises(KeyboardInterrupt):
        Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    seen = len(epochs)
    state = Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    assert epochs[seen] == ("tune", 2)
    assert _outcome(state) == _outcome(finished[1])


def test_a_dead_simulator_ends_the_run_and_leaves_it_resumable(
    data: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any], RuleSimulator]
) -> None:
    dying = RuleSimulator(nmcf(), crash_at=range(3, 100))
    with pytest.raises(SimulatorError, match="killed"):
        Loop(arguments(data, tmp_path / "run"), dying).run()
    assert len(list(read_samples(tmp_path / "run" / "labels"))) == len(dying.answered) > 0
    state = Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    assert _outcome(state) == _outcome(finished[1])
    assert list(read_errors(tmp_path / "run" / "labels")) == []


def test_a_full_disk_loses_no_label(
    data: Path,
    tmp_path: Path,
    finished: tuple[Path, dict[str, Any], RuleSimulator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append, written = SampleLog.append_many, []

    def fill(log: SampleLog, rows: Any) -> Any:
        rows = list(rows)
        if len(written) >= 16:
            raise SampleLogError("disk full")
        written.extend(append(log, rows))
        return written[-len(rows) :]

    with monkeypatch.context() as patch:
        patch.setattr(SampleLog, "append_many", fill)
        with pytest.raises(SampleLogError, match="disk full"):
            Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    assert len(list(read_samples(tmp_path / "run" / "labels"))) == 16
    state = Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    assert _outcome(state) == _outcome(finished[1])


def test_what_makes_the_surrogate_worse_is_rolled_back(data: Path, tmp_path: Path) -> None:
    spoil = {"learn": {"learning_rate": 3.0}}
    loop = Loop(arguments(data, tmp_path / "run", rounds=1, sections=spoil), RuleSimulator(nmcf()))
    state = loop.run()
    (only,) = state["rounds"]
    assert not only["promoted"]
    assert only["refused"]
    assert state["current"] == "start.safetensors"
    assert Checkpoint.load(tmp_path / "run" / "surrogate.safetensors").sha256[:16] == state["start"]
    assert only["refused"][0] in (tmp_path / "run" / "MODEL_CARD.md").read_text()


def test_more_rounds_continue_a_finished_run(
    data: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any], RuleSimulator]
) -> None:
    Loop(arguments(data, tmp_path / "run", rounds=1), RuleSimulator(nmcf())).run()
    simulator = RuleSimulator(nmcf())
    state = Loop(arguments(data, tmp_path / "run", rounds=2), simulator).run()
    assert state["rounds"][0]["untouched"] == finished[1]["rounds"][0]["untouched"]
    assert len(state["rounds"]) == 2
    assert state["audit"]["after"] == 2


def test_a_folder_belongs_to_one_run(data: Path, tmp_path: Path) -> None:
    Loop(arguments(data, tmp_path / "run", rounds=1), RuleSimulator(nmcf())).run()
    changed = arguments(data, tmp_path / "run", rounds=1, seed=5, sections={"learn": {"steps": 3}})
    with pytest.raises(ConfigError, match="another seed, settings"):
        Loop(changed, RuleSimulator(nmcf()))


def test_labels_of_another_verdict_policy_are_refused(data: Path, tmp_path: Path) -> None:
    rows = [make_row(nmcf(), sizing, policy="measured") for sizing in sizings(nmcf(), 60, "log")]
    other = arguments(data, tmp_path / "run", base=[write_rows(tmp_path / "measured", rows)])
    with pytest.raises(ConfigError, match=r"verdict policy 'functional'.*'measured'"):
        Loop(other, RuleSimulator(nmcf()))


def test_a_circuit_that_the_checkpoint_does_not_know_is_learnt(tmp_path: Path) -> None:
    untrained_checkpoint([nmcnr()]).save(tmp_path / "other.safetensors")
    base = write_rows(tmp_path / "base", make_rows(nmcnr(), 200, "log"))
    learn = {"learn": {"steps": 60, "learning_rate": 1e-2}}
    unknown = arguments(
        tmp_path,
        tmp_path / "run",
        rounds=1,
        per_round=80,
        base=[base],
        checkpoint=tmp_path / "other.safetensors",
        sections=learn,
    )
    state = Loop(unknown, RuleSimulator(nmcf())).run()
    assert list(state["start_scores"]) == ["nmcnr"]
    assert state["rounds"][0]["promoted"], state["rounds"][0]["refused"]
    current = Checkpoint.load(tmp_path / "run" / "surrogate.safetensors")
    assert set(current.topologies.values()) == {"nmcf", "nmcnr"}
    assert nmcf().netlist_hash in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    surrogate = SurrogateSimulator(nmcf(), checkpoint=tmp_path / "run" / "surrogate.safetensors")
    assert surrogate.simulate(nmcf().cases([nmcf().known_good["robust"]]))[0].p_valid > 0.0


def test_nothing_is_trained_where_no_label_works(data: Path, tmp_path: Path) -> None:
    class Dead(RuleSimulator):
        def _answer(self, sizing: Sizing) -> Outcome:
            return Outcome(Status.CIRCUIT_FAILURE, Failure.NO_GAIN, raw={"dc_gain": -40.0}, backend=self.name)

    state = Loop(arguments(data, tmp_path / "run", rounds=1, base=[]), Dead(nmcf())).run()
    (only,) = state["rounds"]
    assert not only["promoted"]
    assert "no new training row works" in only["refused"][0]
    assert only["labelled"] == 40
    assert "no new training row works" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


# --- on a sample log ------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What an environment on the surrogate has written."""
    with SampleLog(tmp_path / "log") as log:
        log.append_many(make_row(nmcf(), s, backend="surrogate", raw={}) for s in sizings(nmcf(), 600, "log", seed=7))
    return tmp_path / "log"


def test_a_log_is_labelled_learnt_and_labelled_further(data: Path, tmp_path: Path, log: Path) -> None:
    simulator = RuleSimulator(nmcf())
    small = arguments(data, tmp_path / "run", log=log)
    state = Loop(small, simulator).run()
    rows = [row for row in read_samples(log) if row.backend == "ngspice"]
    assert len(rows) == len(simulator.answered) == len(set(simulator.answered)) == 80
    assert Counter(row.strategy for row in rows)["retrain/round-2/random"] == 12
    assert "audit" not in state
    assert state["simulations"] == 80
    assert state["rounds"][1]["untouched"]["before"]["log"]["rows"] >= 2 * 12
    assert not (tmp_path / "run" / "labels").exists()
    # Another run on the same log begins with these labels, and labels others.
    again = RuleSimulator(nmcf())
    other = Loop(arguments(data, tmp_path / "other", log=log, rounds=1), again).run()
    assert not set(simulator.answered) & set(again.answered)
    assert other["rounds"][0]["untouched"]["before"]["log"]["rows"] >= 3 * 12


def test_an_interrupted_run_on_a_log_ends_like_an_undisturbed_one(data: Path, tmp_path: Path, log: Path) -> None:
    shutil.copytree(log, tmp_path / "copy")
    whole = Loop(arguments(data, tmp_path / "whole", log=log), RuleSimulator(nmcf())).run()
    with pytest.raises(KeyboardInterrupt):
        Loop(arguments(data, tmp_path / "cut", log=tmp_path / "copy"), RuleSimulator(nmcf(), interrupt_at=8)).run()
    state = Loop(arguments(data, tmp_path / "cut", log=tmp_path / "copy"), RuleSimulator(nmcf())).run()
    figures = ("labelled", "kinds", "claims", "untouched", "promoted", "refused", "p", "simulations")
    assert [[r[key] for key in figures] for r in state["rounds"]] == [
        [r[key] for key in figures] for r in whole["rounds"]
    ]


def test_a_log_without_a_sizing_of_the_circuit_is_refused(data: Path, tmp_path: Path) -> None:
    with SampleLog(tmp_path / "log") as file:
        file.append(make_row(nmcnr(), sizings(nmcnr(), 1, "log")[0], backend="surrogate", raw={}))
    with pytest.raises(ConfigError, match=r"holds no sizing of nmcf .* let an agent train .*--search"):
        Loop(arguments(data, tmp_path / "run", log=tmp_path / "log"), RuleSimulator(nmcf()))


@pytest.mark.ngspice
def test_a_round_with_ngspice(tmp_path: Path) -> None:
    """The shipped checkpoint, a few real labels: what the log holds is what ngspice says."""
    rows = [make_row(nmcf(), sizing) for sizing in sizings(nmcf(), 150, "log")]
    small = arguments(
        tmp_path, tmp_path / "run", rounds=1, per_round=8, checkpoint=None, base=[write_rows(tmp_path / "data", rows)]
    )
    loop = Loop(small)
    try:
        state = loop.run()
    finally:
        loop.simulator.close()
    labelled = list(read_samples(tmp_path / "run" / "labels"))
    assert len(labelled) == state["simulations"] > 8
    assert {row.backend for row in labelled} == {"ngspice"}
    assert all(row.provenance["ngspice"] for row in labelled)
