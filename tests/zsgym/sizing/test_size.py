"""From specs to a design: which way is taken, what comes out, and what is said when nothing does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zsgym
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import RC_LOADED, nmcf, untrained_checkpoint
from zsgym.base.errors import ConfigError, SimulatorMissingError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Failure
from zsgym.samples import read_samples
from zsgym.simulators.outcome import Outcome, Status
from zsgym.simulators.physics.backend.simulator import PhysicsSimulator
from zsgym.sizing import SizingInterrupted, SizingResult, choose, problem, size
from zsgym.sizing.methods import METHODS
from zsgym.sizing.optimisers import gradient
from zsgym.sizing.optimisers.cma_es import CmaEs
from zsgym.sizing.scale import LogScale

FIVE = Path(__file__).with_name("five")
"""Five transistors that no model has seen, without a known-good sizing."""
Make = Callable[..., FakeSimulator]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[FakeSimulator]:
    """Every simulator is a fake one; they are kept here."""
    made: list[FakeSimulator] = []

    def make(backend: str, circuit: Circuit, **_: Any) -> FakeSimulator:
        made.append(FakeSimulator(circuit))
        made[-1].name = backend
        return made[-1]

    monkeypatch.setattr(problem, "make_simulator", make)
    return made


@pytest.fixture
def no_ngspice(monkeypatch: pytest.MonkeyPatch) -> None:
    real = problem.make_simulator

    def make(backend: str, *arguments: Any, **options: Any) -> Any:
        if backend == "ngspice":
            raise SimulatorMissingError("no ngspice was found; apt-get install ngspice")
        return real(backend, *arguments, **options)

    monkeypatch.setattr(problem, "make_simulator", make)


def never() -> dict[str, float | None]:
    return dict.fromkeys(nmcf().targets) | {"dc_gain": 1e6}


# --- the choice -----------------------------------------------------------------------------------------------------


def test_a_circuit_that_a_model_covers_is_climbed() -> None:
    choice = choose(nmcf())
    assert (choice.method, choice.reason) == ("gradient", "the surrogate was trained on this circuit")
    assert choice.model is not None
    assert choose(nmcf(), "gradient").method == "gradient"
    assert choose(nmcf(), "cma-es").model is None, "what is asked for is done"


def test_a_circuit_that_no_model_covers_is_solved() -> None:
    choice = choose(load_circuit(FIVE))
    assert (choice.method, choice.model) == ("physics", None)
    assert "was trained on nmcf, nmcnr, not on five" in choice.reason
    assert choose(nmcf(), "physics").reason == "as asked"
    with pytest.raises(ConfigError, match=r"what it says of five is a guess\. Use the method physics \(or auto\)"):
        choose(load_circuit(FIVE), "gradient")


def test_a_circuit_that_cannot_be_solved_is_searched_in_ngspice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PhysicsSimulator, "why_not", staticmethod(lambda circuit: "there is an antenna"))
    choice = choose(load_circuit(FIVE))
    assert (choice.method, choice.model) == ("cma-es", None)
    assert "there is an antenna, and so nothing but ngspice can be trusted" in choice.reason
    with pytest.raises(ConfigError, match="'physics' cannot be used: there is an antenna"):
        choose(load_circuit(FIVE), "physics")


def test_a_model_of_ones_own_decides_what_is_covered(tmp_path: Path) -> None:
    untrained_checkpoint([load_circuit(FIVE)]).save(tmp_path / "mine.safetensors")
    assert choose(load_circuit(FIVE), checkpoint=tmp_path / "mine.safetensors").method == "gradient"
    assert choose(nmcf(), checkpoint=tmp_path / "mine.safetensors").method == "physics"
    with pytest.raises(ConfigError, match="uses no model: leave the checkpoint out"):
        choose(nmcf(), "cma-es", tmp_path / "mine.safetensors")


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'cma_es'\. Did you mean 'cma-es'"):
        choose(nmcf(), "cma_es")
    with pytest.raises(ConfigError, match="Did you mean 'gbw'"):
        size("nmcf", {"gwb": 2e6})
    with pytest.raises(ConfigError, match="unknown circuit 'nmfc'"):
        size("nmfc")
    with pytest.raises(ConfigError, match=r"amplifier is a class of circuits: zsgym\.sizing\.compare tries all"):
        size("amplifier")
    with pytest.raises(ConfigError, match="a seed is a number from 0"):
        size("nmcf", seed=-1)
    with pytest.raises(ConfigError, match="at least one simulation"):
        size("nmcf", method="random", budget=0, log=False)


def test_zsgym_size_is_the_public_name() -> None:
    assert zsgym.size is size


# --- searches on a fake simulator -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("fakes")
def test_the_same_seed_gives_the_same_designs() -> None:
    def run(seed: int) -> list[dict[str, float]]:
        result = size("nmcf", never(), method="cma-es", seed=seed, budget=40, from_scratch=True, log=False)
        return [design.sizing for design in result.designs]

    assert run(1) == run(1) != run(2)
    assert len(run(1)) == 40


@pytest.mark.usefixtures("fakes")
def test_a_result_without_a_feasible_design_says_what_is_missed() -> None:
    result = size("nmcf", never(), method="random", budget=30, from_scratch=True, log=False)
    assert not result.met
    assert result.verified
    assert result.missed == ["dc_gain"]
    assert result.simulations == 30
    assert result.summary().startswith("no design meets every spec: the best one misses dc_gain (30 simulations")
    assert "> 1e+06 dB" in result.table()


def test_a_search_begins_at_a_known_good_sizing(fakes: list[FakeSimulator]) -> None:
    told: list[str] = []
    size("nmcf", never(), method="cma-es", budget=15, log=False, notify=told.append)
    assert told[-1] == "the search begins at the known-good sizing 'robust'"
    known = nmcf().known_good["robust"]
    first, *others = fakes[0].simulated
    assert first == pytest.approx(known)
    size("nmcf", never(), method="cma-es", budget=15, log=False, from_scratch=True)
    assert np.median(distances(others, known)) < 0.1 < np.median(distances(fakes[1].simulated, known))


def distances(sizings: list[dict[str, float]], known: dict[str, float]) -> np.ndarray:
    """Of every parameter, as shares of its range on the scale of the search."""
    scale = LogScale.of(nmcf())
    positions = [scale.positions(nmcf().to_point(nmcf().vector(sizing))) for sizing in (*sizings, known)]
    distance: np.ndarray = np.abs(np.array(positions[:-1]) - positions[-1])
    return distance


@pytest.mark.usefixtures("fakes")
def test_known_good_sizings_that_do_not_work_are_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: FakeSimulator, sizing: object) -> Outcome:
        return Outcome(Status.CIRCUIT_FAILURE, Failure.UNSTABLE, backend="ngspice")

    monkeypatch.setattr(FakeSimulator, "_answer", fails)
    told: list[str] = []
    result = size("nmcf", method="cma-es", budget=5, log=False, notify=told.append)
    assert told[-1] == "of the known-good sizings none works (robust): the search begins without one"
    assert result.summary().startswith("no design works: the best one fails as unstable")
    assert result.missed == list(result.targets)
    assert result.table() == "it does not work: unstable"


@pytest.mark.usefixtures("fakes")
def test_every_method_that_needs_no_model_works() -> None:
    pytest.importorskip("optuna")
    easy = dict.fromkeys(nmcf().targets) | {"gbw": 1e6}
    for method in ("cma-es", "random", "tpe"):
        result = size("nmcf", easy, method=method, budget=300, from_scratch=True, log=False)
        assert result.met, method
        assert (result.method, result.reason) == (method, "as asked")


def test_where_the_proposals_of_a_model_fail_auto_goes_on_in_ngspice(
    fakes: list[FakeSimulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "gradient", replace(METHODS["gradient"], budget=2))
    monkeypatch.setattr(gradient, "Ascent", partial(gradient.Ascent, budget=60, starts=2))  # short, and bad enough
    told: list[str] = []
    result = size("nmcf", never(), budget=40, log=False, notify=told.append)
    assert told[-1] == (
        "none of the 2 proposals of the surrogate meets every spec: CMA-ES in ngspice goes on, with 38 simulations left"
    )
    assert (result.method, result.simulations) == ("gradient, then cma-es", 40)
    assert result.history.searched == "ngspice"
    assert len(result.history.simulations) == 40
    alone = size("nmcf", never(), method="gradient", budget=3, log=False)
    assert (alone.method, alone.simulations) == ("gradient", 3), "what is asked for is done"
    assert choose(nmcf()).budget == METHODS["cma-es"].budget, "unless told otherwise"
    assert len(fakes) == 2


def test_conditions_are_those_that_are_asked_for(fakes: list[FakeSimulator], tmp_path: Path) -> None:
    asked: dict[str, Any] = {"budget": 3, "log": False, "method": "cma-es"}
    result = size("nmcf", never(), conditions={"corner": "ss", "load": 20e-12}, **asked)
    choice = choose(nmcf(), conditions=result.conditions)
    assert choice.method == "physics", "which knows all conditions"
    assert "the surrogate was trained on nmcf at corner tt, load 10 pF, not at corner ss, load 20 pF" in choice.reason
    assert set(fakes[0].conditions) == {result.conditions}
    assert (result.conditions.corner, result.conditions.supply) == ("ss", nmcf().conditions.supply)
    result.write(tmp_path / "designs.json")
    assert json.loads((tmp_path / "designs.json").read_text())["conditions"] == result.conditions.as_dict()
    same = size("nmcf", never(), conditions=nmcf().conditions, **asked)
    assert same.conditions == nmcf().conditions
    with pytest.raises(ConfigError, match=r"conditions\.suply: unknown key\. Did you mean 'supply'"):
        size("nmcf", conditions={"suply": 1.8}, **asked)


@pytest.mark.usefixtures("fakes")
def test_an_interrupt_carries_the_best_so_far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(self: CmaEs, positions: np.ndarray, values: np.ndarray) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CmaEs, "tell", interrupted)
    with pytest.raises(SizingInterrupted) as caught:
        size("nmcf", never(), method="cma-es", from_scratch=True, log=False)
    result = caught.value.result
    assert result.simulations == 14
    result.write(tmp_path / "designs.json")
    assert json.loads((tmp_path / "designs.json").read_text())["simulations"] == 14


@pytest.mark.usefixtures("fakes")
def test_specs_and_targets_add_up() -> None:
    result = size("nmcf", {"tc": None}, specs="nmcf-hard", method="random", budget=1, log=False)
    own = dict(nmcf().targets)
    del own["tc"]
    assert result.targets == own | {"power": 60e-6, "settling_time": 2e-6, "gbw": 1.5e6}


@pytest.mark.usefixtures("no_ngspice")
def test_without_ngspice_there_is_a_prediction_that_says_so() -> None:
    told: list[str] = []
    result = size("nmcf", log=False, notify=told.append)
    assert told[-1].startswith("not verified, a prediction only: no ngspice was found")
    assert not result.met
    assert not result.verified
    assert result.simulations == 0
    assert result.best.outcome.backend == "surrogate"
    assert result.summary().startswith("not verified, a prediction only")
    solved = size(FIVE, log=False)
    assert (solved.best.outcome.backend, solved.verified, solved.met) == ("physics", False, False)
    with pytest.raises(SimulatorMissingError, match="apt-get install ngspice"):
        size(FIVE, method="cma-es", log=False)


# --- ngspice --------------------------------------------------------------------------------------------------------


def simulated_again(result: SizingResult) -> dict[str, float]:
    """Metrics of the best design as a new simulator measures them."""
    from zsgym.simulators import make_simulator

    simulator = make_simulator("ngspice", result.circuit)
    try:
        (outcome,) = simulator.simulate(result.circuit.cases([result.best.sizing]))
    finally:
        simulator.close()
    return dict(outcome.metrics or {})


@pytest.mark.ngspice
def test_auto_meets_the_specs_of_a_circuit_that_no_model_knows(tmp_path: Path) -> None:
    """The transformer spent 60 simulations on such a circuit without one working design."""
    told: list[str] = []
    result = size(FIVE, seed=2, budget=300, log=tmp_path, notify=told.append)
    assert told == [f"five: search on the circuit's solved equations, verified in ngspice: {result.reason}"]
    assert result.method == "physics"
    assert result.met
    assert result.missed == []
    assert 1 <= result.simulations <= 10
    assert result.solved is not None
    assert result.solved > 100
    assert f"{result.solved} solved sizings, " in result.summary()
    assert {design.outcome.backend for design in result.designs} == {"ngspice"}
    metrics, targets = simulated_again(result), result.targets
    assert min(result.circuit.metrics.margins(metrics, targets).values()) >= 0.0
    assert [row.strategy for row in read_samples(tmp_path)] == ["physics"] * result.simulations


@pytest.mark.ngspice
def test_auto_climbs_the_surrogate_where_it_was_trained(tmp_path: Path) -> None:
    result = size("nmcf", seed=1, log=False)
    assert result.method == "gradient"
    assert result.met
    assert result.simulations <= 10
    assert result.history.searched == "surrogate"
    assert result.history.simulations[-1].feasible
    assert min(result.circuit.metrics.margins(simulated_again(result), result.targets).values()) >= 0.0
    result.write(tmp_path / "designs.json")
    written = json.loads((tmp_path / "designs.json").read_text())
    assert written["arguments"]["method"] == "gradient"
    assert written["provenance"]["ngspice"]
    result.write_report(tmp_path / "report.html", tmp_path / "nmcf.spice")
    assert "Works and meets all" in (tmp_path / "report.html").read_text()
    assert "<h2>Search</h2>" in (tmp_path / "report.html").read_text()
    assert ".subckt nmcf" in (tmp_path / "nmcf.spice").read_text()


@pytest.mark.ngspice
def test_a_known_good_sizing_that_meets_the_specs_is_the_answer() -> None:
    told: list[str] = []
    result = size(RC_LOADED, log=False, notify=told.append)
    assert told[-1] == "the known-good sizing 'hand_sized' meets every spec already"
    assert result.met
    assert result.simulations == 1
    assert result.best.sizing == pytest.approx(result.circuit.known_good["hand_sized"])
