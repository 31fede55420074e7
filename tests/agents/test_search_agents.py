"""Optimisers optimise; the belief is differentiable and learns; proposals are verified until one holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

pytest.importorskip("cma")
pytest.importorskip("optuna")

from agents import cma_es, command, gradient, random_search, tpe
from surrogate.checkpoint import Checkpoint
from surrogate.graph import group_features, topology_tensors
from surrogate.predict import Predictor
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf, untrained_checkpoint
from zsgym.circuits import Circuit
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Conditions, Outcome, Sizing, Status
from zsgym.report.search import SearchHistory
from zsgym.sizing import loop
from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import Problem
from zsgym.sizing.scale import LogScale

MAKERS = {
    "cma_es": cma_es.cma_es(10),
    "tpe": tpe.tpe(20),
    "random_search": random_search.random_search(30),
}
TARGETS = {"dc_gain": 118.0, "power": 4e-4, "vos": 2e-3}


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A random but smooth model whose metrics spread as if it had been trained; its validity is too mild to decide."""
    made = untrained_checkpoint([nmcf()])
    made.calibration = {
        key: value.model_copy(update={"temperature": 0.5, "threshold": 1e-6}) for key, value in made.calibration.items()
    }
    vectors = LogScale.of(nmcf()).values(positions(200, seed=9).numpy())
    features = group_features(nmcf(), torch.from_numpy(vectors))
    with torch.no_grad():
        made.model.metric_head *= 20.0
        metrics = made.model.predict(made.model.encode_structure(topology_tensors([nmcf()])), None, features).metrics
        made.model.metric_bias -= metrics.mean(dim=0)
    return made


class ShiftedTruth(FakeSimulator):
    """A truth that differs from a surrogate by a constant in one metric (normalised), and has no failures."""

    name = "ngspice"

    def __init__(self, circuit: Circuit, checkpoint: Checkpoint, metric: str, shift: float) -> None:
        super().__init__(circuit)
        self.predictor = Predictor(checkpoint, circuit)
        self.column = METRIC_NAMES.index(metric)
        self.transform, self.shift = checkpoint.normaliser.metrics[self.column], shift

    def simulate(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        metrics = self.predictor.predict(np.array([self.circuit.vector(sizing) for sizing in sizings])).metrics
        moved = self.transform.normalise(metrics[:, self.column]) + self.shift
        metrics[:, self.column] = self.transform.restore(moved)
        rows = [dict(zip(METRIC_NAMES, row, strict=True)) for row in metrics.tolist()]
        return [Outcome(Status.SUCCESS, metrics=row, backend=self.name) for row in rows]


def positions(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0.1, 0.9, (count, len(nmcf().parameters))))


# --- optimisers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("start", [None, 0.3])
def test_optimisers_approach_an_optimum(name: str, start: float | None) -> None:
    def value(points: np.ndarray) -> np.ndarray:
        return -((points - 0.7) ** 2).sum(axis=1)

    begin = None if start is None else np.full(5, start)
    optimiser = MAKERS[name](5, 1, begin, 0.3)
    values: list[float] = []
    while len(values) < 150:
        asked = optimiser.ask()
        assert asked.min() >= 0.0 and asked.max() <= 1.0  # noqa: PT018
        optimiser.tell(asked, value(asked))
        values += value(asked).tolist()
    assert max(values[100:]) > max(values[:20]) > -5 * 0.7**2
    assert max(values) > -0.05


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_depends_on_its_seed_alone_and_keeps_its_budget(name: str) -> None:
    never = {"dc_gain": 1e9}

    def run(seed: int) -> list[float]:
        with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=45, targets=never) as problem:
            loop.search(problem, MAKERS[name], seed, quiet=True)
            assert problem.simulations == 45
            return [step.reward for step in problem.history]

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize("name", MAKERS)
def test_a_search_ends_with_the_first_feasible_design(name: str) -> None:
    simulator = FakeSimulator(nmcf())
    with Problem(
        nmcf(), backend=simulator, budget=400, targets=dict.fromkeys(nmcf().targets) | {"gbw": 1e6}
    ) as problem:
        loop.search(problem, MAKERS[name], 3, quiet=True)
        assert problem.best is not None and problem.best.feasible  # noqa: PT018
        assert problem.simulations <= 400


def test_cma_es_starts_again_with_twice_the_population() -> None:
    optimiser = cma_es.CmaEs(2, 1, None, 0.3, 4)
    sizes = []
    for _ in range(60):
        asked = optimiser.ask()
        sizes.append(len(asked))
        optimiser.tell(asked, np.zeros(len(asked)))  # flat: stalls at once
    assert sizes[0] == 4
    assert sizes == sorted(sizes)
    assert {8, 64} <= set(sizes) <= {4, 8, 16, 32, 64}, "at most sixteen times the first"


# --- belief ---------------------------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_value(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), TARGETS)
    at = positions(1).requires_grad_(True)
    belief.log_feasibility(at).sum().backward()
    assert at.grad is not None
    step = 1e-2  # the model computes in float32
    for i in (0, 5, 12, int(at.grad.abs().argmax())):
        forth, back = at.detach().clone(), at.detach().clone()
        forth[0, i] += step
        back[0, i] -= step
        with torch.no_grad():
            slope = (belief.log_feasibility(forth) - belief.log_feasibility(back)) / (2 * step)
        assert float(slope) == pytest.approx(float(at.grad[0, i]), rel=0.05, abs=0.02 * float(at.grad.abs().max()))
    assert all(parameter.requires_grad for parameter in checkpoint.model.parameters()), "the checkpoint is untouched"


def test_tighter_targets_are_believed_less(checkpoint: Checkpoint) -> None:
    at = positions(20)
    loose, tight = (
        Belief(checkpoint, nmcf(), TARGETS | {"vos": vos}).log_feasibility(at).detach() for vos in (2e-3, 2e-4)
    )
    assert (tight < loose).all()
    assert (loose <= 0.0).all()


def test_counts_are_rounded_and_nothing_else(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), TARGETS)
    at = positions(10)
    values = belief.scale.values(belief.rounded(at).numpy())
    counts = belief.is_count.numpy()
    assert values[:, counts] == pytest.approx(np.rint(values[:, counts]))
    assert np.array_equal(belief.rounded(at).numpy()[:, ~counts], at.numpy()[:, ~counts])


def test_simulations_correct_the_belief_where_they_were_made(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 113.0})
    truth = Problem(
        nmcf(), backend=ShiftedTruth(nmcf(), checkpoint, "dc_gain", -3.0), targets=belief_targets("dc_gain")
    )
    simulated = truth.evaluate(belief.scale.units(positions(12).numpy()))
    seen = torch.from_numpy(belief.scale.positions(np.array([design.unit for design in simulated])))
    before = belief.log_feasibility(seen).detach()
    belief.learn(simulated)
    after = belief.log_feasibility(seen).detach()
    assert (after < before - 2.0).all(), "three standard deviations less gain are noticed"
    beside = belief.log_feasibility((seen + 0.01).clamp(0.0, 1.0)).detach()
    assert beside == pytest.approx(after, rel=0.5), "and hold in the neighbourhood"


def belief_targets(*names: str) -> dict[str, float | None]:
    return {name: (113.0 if name in names else None) for name in nmcf().targets}


def test_a_failure_makes_its_neighbourhood_doubtful(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": -1e3})  # validity alone decides
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as problem:
        designs = problem.evaluate(belief.scale.units(positions(40).numpy()))
    seen = torch.from_numpy(belief.scale.positions(np.array([design.unit for design in designs])))
    works = torch.tensor([design.outcome.success for design in designs])
    assert 5 < int(works.sum()) < 35
    belief.learn(designs)
    after = belief.log_feasibility(seen).detach()
    assert after[works].min() > after[~works].max()


# --- the loop -------------------------------------------------------------------------------------------------------


PROPOSERS: dict[str, Callable[[], loop.Propose]] = {
    "gradient": lambda: gradient.Ascent(1, budget=600, starts=6),
    "cma_es": lambda: loop.proposer(MAKERS["cma_es"], 400, 1),
    "random_search": lambda: loop.proposer(MAKERS["random_search"], 400, 1),
}


@pytest.mark.parametrize("name", PROPOSERS)
def test_a_surrogate_that_is_wrong_is_corrected_until_a_design_holds(name: str, checkpoint: Checkpoint) -> None:
    """The true offset is half a standard deviation above the predicted one: where the surrogate sees none, there is."""
    wanted = {"vos": 9e-5}
    belief = Belief(checkpoint, nmcf(), wanted)
    truth = ShiftedTruth(nmcf(), checkpoint, "vos", 0.5)
    with Problem(nmcf(), backend=truth, budget=12, targets=dict.fromkeys(nmcf().targets) | wanted) as problem:
        designs = loop.propose_and_verify(problem, belief, PROPOSERS[name](), quiet=True)
    assert not designs[0].feasible
    assert designs[-1].feasible, [round(design.reward, 4) for design in designs]


def test_no_design_is_simulated_twice_and_the_budget_is_kept(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 1e3})
    truth = ShiftedTruth(nmcf(), checkpoint, "dc_gain", 0.0)
    with Problem(nmcf(), backend=truth, budget=7, targets={"dc_gain": 1e3}) as problem:
        designs = loop.propose_and_verify(problem, belief, PROPOSERS["gradient"](), k=2, quiet=True)
    assert len(designs) == 7
    assert len({tuple(design.sizing.values()) for design in designs}) == 7


# --- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gradient", "cma_es", "random_search"])
def test_the_history_of_a_search_counts_evaluations_and_begins_anew_with_every_correction(
    name: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 118.0})
    truth = ShiftedTruth(nmcf(), checkpoint, "dc_gain", -9.0)
    with Problem(nmcf(), backend=truth, budget=5, targets=belief_targets() | {"dc_gain": 118.0}) as problem:
        loop.propose_and_verify(problem, belief, PROPOSERS[name](), quiet=True)
        command.write_designs(tmp_path / "designs.json", name, problem, belief, {})
    written = json.loads((tmp_path / "designs.json").read_text())
    rewards = [design["reward"] for design in written["designs"]]
    assert rewards == sorted(rewards, reverse=True)
    assert len(rewards) > 1
    history = SearchHistory.read(written["history"], "designs.json")
    assert [row.reward for row in history.simulations] == [design.reward for design in problem.designs]
    asked = [row.evaluations for row in history.simulations]
    assert asked == sorted(set(asked))
    assert belief.evaluations >= asked[-1] >= 400
    counts = [count for count, _ in history.believed]
    assert counts == sorted(counts)
    rounds = [
        [value for count, value in history.believed if low < count <= high] for low, high in pairwise([0, *asked])
    ]
    assert all(values == sorted(values) for values in rounds), "within a round the best can only rise"
    for row, values in zip(history.simulations, rounds, strict=True):
        assert row.belief is not None
        assert row.belief <= values[-1] * (1.0 + 1e-6)


def test_a_search_in_ngspice_counts_simulations(tmp_path: Path) -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=30, targets={"dc_gain": 1e9}) as problem:
        loop.search(problem, MAKERS["random_search"], 1, quiet=True)
        command.write_designs(tmp_path / "new" / "designs.json", "random_search", problem, None, {})
    written = json.loads((tmp_path / "new" / "designs.json").read_text())
    assert [row["evaluations"] for row in written["history"]["simulations"]] == list(range(1, 31))
    assert written["history"]["believed"] == []
    working = [row["works"] for row in written["history"]["simulations"]]
    assert 0 < sum(working) < 30
    # The best come first, and those that do not work last.
    assert [design["status"] == "success" for design in written["designs"]] == sorted(working, reverse=True)
    assert problem.best is not None
    assert written["designs"][0]["sizing"] == problem.best.sizing


# --- command line ---------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_gradient_sizes_an_amplifier_that_ngspice_confirms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "designs.json"
    monkeypatch.setattr(sys, "argv", ["gradient.py", "--budget", "1500", "--spice-budget", "12", "--out", str(out)])
    command.main(gradient.GradientArguments, "gradient", gradient.__doc__, propose=gradient.ascent)
    written = json.loads(out.read_text())
    assert written["designs"][0]["backend"] == "ngspice"
    assert written["designs"][0]["status"] == "success"
    assert 1 <= written["simulations"] == len(written["history"]["simulations"]) <= 12
    assert "phase_margin" in capsys.readouterr().out


@pytest.mark.ngspice
def test_a_dropped_spec_stays_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs, out = tmp_path / "mine.yaml", tmp_path / "designs.json"
    specs.write_text("title: mine\ncircuit: nmcf\ntargets: {power: 60e-6, tc: null}\n")
    arguments = ["--specs", str(specs), "--budget", "400", "--spice-budget", "1", "--no-log", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gradient.py", *arguments])
    command.main(gradient.GradientArguments, "gradient", None, propose=gradient.ascent)
    assert json.loads(out.read_text())["targets"].keys() == nmcf().targets.keys() - {"tc"}
    assert "< 1 ppm/K" not in capsys.readouterr().out


@pytest.mark.ngspice
def test_an_interrupted_search_prints_the_best_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(random_search.RandomSearch):
        def tell(self, positions: np.ndarray, values: np.ndarray) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["random_search.py", "--no-log"])
    with pytest.raises(SystemExit) as ended:
        command.main(
            random_search.RandomArguments,
            "random_search",
            None,
            make=lambda arguments: lambda dimension, seed, start, width: Interrupted(dimension, seed, start, width, 10),
        )
    assert ended.value.code == 130
    captured = capsys.readouterr()
    assert "interrupted" in captured.err
    assert "1 sizing answered by ngspice" in captured.out


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (
        (["--env", "zsgym/NMCX-v0"], "NMCX"),
        (["--specs", "nmcf-hrd"], "nmcf-hard"),
        (["--backend", "spice"], "ngspice"),
        (["--budget", "0"], "at least 1"),
        (["--seed", "-1"], "a seed is a number from 0"),
        (["--out", "."], "it is a folder"),
        (["--population", "2"], "at least 4"),
        (["--specs", "nmcf-hard", "--env", "zsgym/NMCNR-v0"], "nmcnr"),
    ):
        monkeypatch.setattr(sys, "argv", ["cma_es.py", *arguments])
        with pytest.raises(SystemExit, match=message):
            command.main(cma_es.CmaArguments, "cma_es", None, make=lambda a: cma_es.cma_es(a.population))
