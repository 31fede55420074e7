"""The retraining loop as a whole: rounds, promotion, interruption, and what it leaves behind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agents.retrain import Loop, main, only_run_in
from surrogate.checkpoint import Checkpoint
from tests.agents.retrain_setup import SETTINGS, RuleSimulator, arguments, make_data
from tests.surrogate.synthetic import make_row, nmcf, sizings, write_rows
from zsgym.errors import ConfigError, SampleLogError, SimulatorError
from zsgym.samples import SampleLog, read_errors, read_samples


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


def test_a_checkpoint_is_kept_exactly_if_it_is_better_on_untouched_rows(
    finished: tuple[Path, dict[str, Any], RuleSimulator],
) -> None:
    _, state, _ = finished
    judged = [r for r in state["rounds"] if r["untouched"]["before"]["rounds"]["rows"] >= SETTINGS["gate"]["rows"]]
    assert judged
    assert any(r["promoted"] for r in state["rounds"]), "nothing was learnt"
    for r in judged:
        sets = (r["untouched"][when]["rounds"] for when in ("before", "after"))
        before, after = (scores["brier"] + (scores["metric_error"] or 0.0) for scores in sets)
        assert r["promoted"] == (after < before and not any("nmcf" in reason for reason in r["refused"]))


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
    append, written = SampleLog.append, []

    def fill(log: SampleLog, row: Any) -> Any:
        if len(written) == 11:
            raise SampleLogError("disk full")
        written.append(append(log, row))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(SampleLog, "append", fill)
        with pytest.raises(SampleLogError, match="disk full"):
            Loop(arguments(data, tmp_path / "run"), RuleSimulator(nmcf())).run()
    assert len(list(read_samples(tmp_path / "run" / "labels"))) == 11
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


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    with only_run_in(tmp_path), pytest.raises(SampleLogError, match="another process"), only_run_in(tmp_path):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--env", "zsgym/NMFC-v0"], "choose one of: zsgym/NMCF-v0"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--data", "nowhere"], "nowhere"),
        (["--init", "nothing.safetensors"], "no checkpoint"),
    ],
)
def test_mistakes_are_told_in_one_line(data: Path, tmp_path: Path, options: list[str], message: str) -> None:
    common = ["--run", str(tmp_path / "run"), "--data", str(data / "data")]
    with pytest.raises(SystemExit) as ended:
        main([*common, *options])
    assert message in str(ended.value)
    assert str(ended.value).startswith("error: ")


def test_few_base_rows_make_a_weak_start(data: Path, tmp_path: Path) -> None:
    blank = arguments(data, tmp_path / "run", rounds=1, base_rows=100, init=data / "blank.safetensors")
    state = Loop(blank, RuleSimulator(nmcf())).run()
    start = Checkpoint.load(tmp_path / "run" / "start.safetensors")
    assert start.provenance["rows"]["nmcf"]["train"] == 100
    assert state["start"] == start.sha256[:16] != Checkpoint.load(data / "blank.safetensors").sha256[:16]
    assert "100 rows per circuit" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


def test_labels_of_another_verdict_policy_are_refused(data: Path, tmp_path: Path) -> None:
    rows = [make_row(nmcf(), sizing, policy="measured") for sizing in sizings(nmcf(), 60, "log")]
    other = arguments(data, tmp_path / "run", data=[write_rows(tmp_path / "measured", rows)])
    with pytest.raises(ConfigError, match=r"verdict policy 'functional'.*'measured'"):
        Loop(other, RuleSimulator(nmcf()))


@pytest.mark.ngspice
def test_a_round_with_ngspice(tmp_path: Path) -> None:
    """The shipped checkpoint, a few real labels: what the log holds is what ngspice says."""
    rows = [make_row(nmcf(), sizing) for sizing in sizings(nmcf(), 150, "log")]
    small = arguments(
        tmp_path, tmp_path / "run", rounds=1, per_round=8, init=None, data=[write_rows(tmp_path / "data", rows)]
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
