"""The sizing benchmark: cells are kept and not repeated, and the scores say who needed how many calls."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")

import sizing
import sizing_agents
import sizing_cells
from sizing_agents import AGENTS, Agent
from sizing_cells import Cell, cells, published, run_cells
from sizing_tables import scores, table

from tests.fakes import FakeSimulator
from zsgym.circuits import Circuit, load_circuit
from zsgym.sizing.problem import BudgetSpent, Problem


def result(agent: str, seed: int, rewards: list[float], problem: str = "nmcf") -> dict[str, Any]:
    """A search whose best reward went like this, half a second per call."""
    history = [[i + 1, 0.5 * (i + 1), reward, reward == 0.0] for i, reward in enumerate(rewards)]
    return {
        "agent": agent, "problem": problem, "seed": seed, "budget": 10, "circuit": "nmcf", "title": "NMCF",
        "targets": {}, "history": history, "best": None,
    }  # fmt: skip


RESULTS = [
    result("random", 1, [-100.0] * 4 + [-2.0] * 6),
    result("random", 2, [-3.0] * 9 + [0.0]),
    result("random", 3, [-100.0] * 10),
    result("gradient", 1, [-0.1, 0.0]),
    result("gradient", 2, [0.0]),
    result("gradient", 3, [-100.0, -1.0, 0.0]),
]


def test_scores_count_calls_and_training_rows() -> None:
    plain, learned = scores(RESULTS, {"nmcf": 1000, "nmcnr": 5})
    assert plain["success_rate"] == pytest.approx(1 / 3)
    assert plain["calls"] == {"median": math.inf, "low": 10.0, "high": math.inf}
    assert plain["reward"] == {"median": -2.0, "low": -100.0, "high": 0.0}
    assert plain["training_rows"] == 0
    assert learned["success_rate"] == 1.0
    assert learned["calls"] == {"median": 2.0, "low": 1.0, "high": 3.0}
    assert learned["seconds"]["median"] == 1.0
    assert learned["training_rows"] == 1000


def test_the_table_says_who_loses() -> None:
    text = table("nmcf", "NMCF", scores(RESULTS, {"nmcf": 1000}))
    lines = {line.split(",")[0]: line for line in text.splitlines()}
    assert "1/3" in lines["random search with refinement"] and "> 10" in lines["random search with refinement"]  # noqa: PT018
    assert "3/3" in lines["gradient"] and "1,002" in lines["gradient"]  # noqa: PT018


def test_a_published_history_keeps_every_improvement() -> None:
    assert published(RESULTS[0])["history"] == [[1, 0.5, -100.0], [5, 2.5, -2.0], [10, 5.0, -2.0]]
    assert published(RESULTS[4])["history"] == [[1, 0.5, 0.0]]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two agents on a fake simulator; returns the cells that were really run."""
    ran: list[str] = []

    def make(checkpoint: str) -> Any:
        def solve(problem: Problem, seed: int) -> None:
            ran.append(f"{problem.agent} {problem.circuit.name} {seed}")
            try:
                problem.evaluate(np.random.default_rng(seed).uniform(-1, 1, (20, problem.dimension)))
            except BudgetSpent:
                return

        return solve

    class FakeProblem(Problem):
        def __init__(self, circuit: Circuit, **arguments: Any) -> None:
            super().__init__(circuit, backend=FakeSimulator(circuit), **arguments)

    monkeypatch.setattr(sizing_cells, "Problem", FakeProblem)
    monkeypatch.setitem(AGENTS, "fake", Agent("fake", False, make))
    monkeypatch.setitem(AGENTS, "fake+surrogate", Agent("fake, surrogate", True, make))
    return ran


def test_finished_cells_are_not_repeated(tmp_path: Path, quick: list[str]) -> None:
    wanted = cells([("fake", "nmcf"), ("fake", "nmcf-hard")], [1, 2], 8, "")
    first = run_cells(wanted[:3], tmp_path, 1)
    assert len(quick) == 3
    second = run_cells(wanted, tmp_path, 1)
    assert len(quick) == 4, "only the missing cell was run"
    assert second[:3] == json.loads(json.dumps(first))
    assert [(r["problem"], r["seed"]) for r in second] == [(c.problem, c.seed) for c in wanted]
    assert all(len(r["history"]) == 8 for r in second)


def test_a_cell_of_other_targets_is_run_again(tmp_path: Path, quick: list[str]) -> None:
    [cell] = cells([("fake", "nmcf")], [1], 8, "")
    run_cells([cell], tmp_path, 1)
    kept = json.loads((tmp_path / cell.key).read_text())
    (tmp_path / cell.key).write_text(json.dumps({**kept, "targets": {**kept["targets"], "power": 1.0}}))
    run_cells([cell], tmp_path, 1)
    assert len(quick) == 2


def test_a_new_surrogate_makes_new_cells_for_those_who_use_it() -> None:
    old, new = (Cell("gradient", "nmcf", 1, 8, "a.safetensors", sha) for sha in ("aaa", "bbb"))
    assert old.key != new.key
    plain = cells([("random", "nmcf"), ("gradient", "nmcf")], [1], 8, "")
    assert [bool(cell.checkpoint_hash) for cell in plain] == [False, True]


def test_the_benchmark_writes_scores_and_figure(
    tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--budget", "8", "--processes", "1", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    asked = ["--agents", "fake", "fake+surrogate", "--problems", "nmcf", "nmcnr", "--seeds", "1", "2"]
    monkeypatch.setattr(sys, "argv", ["sizing.py", *asked, *common])
    sizing.main()
    written = json.loads((tmp_path / "sizing.json").read_text())
    assert len(written["cells"]) == 8
    assert [(row["problem"], row["agent"]) for row in written["scores"]] == [
        (problem, agent) for problem in ("nmcf", "nmcnr") for agent in ("fake", "fake+surrogate")
    ]
    assert written["provenance"]["seeds"] == [1, 2]
    assert written["scores"][1]["training_rows"] > 1000, "the shipped surrogate owes its training data"
    assert (tmp_path / "sizing.png").stat().st_size > 10_000
    assert "fake, surrogate" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["sizing.py", *asked, *common, "--skip", "fake/nmcnr"])
    sizing.main()
    left = {(row["problem"], row["agent"]) for row in json.loads((tmp_path / "sizing.json").read_text())["scores"]}
    assert left == {("nmcf", "fake"), ("nmcf", "fake+surrogate"), ("nmcnr", "fake+surrogate")}
    monkeypatch.setattr(sys, "argv", ["sizing.py", *asked, *common, "--skip", "fake/nmcn"])
    with pytest.raises(SystemExit, match=r"Did you mean 'fake/nmcnr'\?"):
        sizing.main()
    monkeypatch.setattr(sys, "argv", ["sizing.py", "--agents", "gradiant", *common])
    with pytest.raises(SystemExit, match=r"Did you mean 'gradient'\?"):
        sizing.main()


@pytest.mark.parametrize(("confirmed_after", "expected"), [(1, [7]), (2, [7, 1007]), (9, [7, 1007, 2007])])
def test_ppo_begins_anew_until_a_design_is_confirmed(
    confirmed_after: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agents import ppo

    seeds: list[int] = []

    class Ended:
        confirmed = property(lambda self: len(seeds) == confirmed_after)

    monkeypatch.setattr(ppo, "train", lambda arguments, *_: seeds.append(arguments.seed) or Ended())
    with Problem(load_circuit("nmcf"), backend=FakeSimulator(load_circuit("nmcf")), budget=5) as problem:
        sizing_agents.ppo("")(problem, 7)
    assert seeds == expected


def test_ppo_respects_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    from agents import ppo

    circuit = load_circuit("nmcf")
    monkeypatch.setattr(ppo, "make_simulator", lambda *_, **__: FakeSimulator(circuit))
    with Problem(circuit, backend=FakeSimulator(circuit), budget=3) as problem:
        small = {"n_envs": 4, "n_steps": 8, "batch_size": 16, "width": 8, "steps": 96, "evaluate_every": 32}
        sizing_agents.ppo("", verify=2, **small)(problem, 1)
        assert problem.simulations == 3
        assert problem.best is not None
