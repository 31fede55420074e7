"""Which specs bind, the front of two metrics, and the searches that draw one on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import Failure
from zsgym.report.tradeoff import front_plot, tradeoff_section
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing import SizingInterrupted, problem, size
from zsgym.sizing.dominance import goodness, hypervolume, non_dominated
from zsgym.sizing.optimisers.cma_es import CmaEs
from zsgym.sizing.problem import Design, Problem
from zsgym.sizing.tradeoff import Tradeoff, checked_pair, thinned

TARGETS = {"power": 100e-6, "gbw": 2e6, "vos": 1e-3}


def design(power: float, gbw: float, vos: float = 0.0, works: bool = True) -> Design:
    """A design with these metrics, in uW, MHz and mV, under TARGETS."""
    metrics = {"power": power * 1e-6, "gbw": gbw * 1e6, "vos": vos * 1e-3}
    outcome = Outcome(Status.SUCCESS, metrics=metrics) if works else Outcome(Status.CIRCUIT_FAILURE, Failure.UNSTABLE)
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), targets=dict.fromkeys(nmcf().targets) | TARGETS) as judge:
        return judge.design_of(np.zeros(judge.dimension), {"W": power}, outcome)


def tradeoff(designs: Sequence[Design], pair: tuple[str, str] | None = None) -> Tradeoff:
    found = Tradeoff.of(nmcf(), designs, TARGETS, pair)
    assert found is not None
    return found


def alone(found: Tradeoff) -> dict[str, tuple[float | None, int | None]]:
    return {row.metric: (row.reached, row.simulation) for row in found.binding}


# --- which specs bind -----------------------------------------------------------------------------------------------


def test_each_spec_alone_gives_to_the_best_of_the_designs_that_meet_all_others() -> None:
    designs = [design(150, 2.5), design(130, 2.1), design(90, 1.2), design(90, 1.8), design(20, 9, works=False)]
    found = tradeoff(designs)
    assert alone(found) == {"power": (pytest.approx(130e-6), 2), "gbw": (pytest.approx(1.8e6), 4), "vos": (None, None)}
    lines = found.in_words(nmcf().metrics)
    assert lines[0] == "one of these alone would have to give for a design of this search to meet all others:"
    assert lines[1:] == ["  power  < 100 uW  ->  130 uW", "  gbw    > 2 MHz  ->  1.8 MHz"]


def test_an_offset_gives_by_its_magnitude() -> None:
    found = tradeoff([design(90, 3, vos=-2.0), design(90, 3, vos=-1.5), design(90, 3, vos=1.6)])
    assert alone(found)["vos"] == (pytest.approx(-1.5e-3), 2)
    assert found.in_words(nmcf().metrics)[1:] == ["  vos  < 1 mV  ->  1.5 mV"]


def test_more_than_one_spec_in_the_way() -> None:
    found = tradeoff([design(150, 1.5), design(200, 1.9, vos=3)])
    assert [row.reached for row in found.binding] == [None, None, None]
    assert found.together == ["power", "gbw"]
    assert "the fewest are 2 (power, gbw)" in found.in_words(nmcf().metrics)[0]


def test_nothing_is_said_where_every_spec_is_met_or_nothing_works() -> None:
    assert Tradeoff.of(nmcf(), [design(90, 2.5)], TARGETS) is None
    assert Tradeoff.of(nmcf(), [design(90, 2.5, works=False)], TARGETS) is None
    asked = tradeoff([design(90, 2.5)], ("power", "gbw"))
    assert (asked.asked, asked.binding, asked.in_words(nmcf().metrics)) == (True, [], [])


# --- the front ------------------------------------------------------------------------------------------------------


def test_the_front_of_a_search_is_that_of_the_two_specs_that_pull_against_each_other() -> None:
    designs = [design(150, 2.5), design(160, 2.4), design(90, 1.2), design(10, 9, vos=5), design(150, 2.5)]
    front = tradeoff(designs).front
    assert front is not None
    assert (front.metrics, front.kept, front.complete) == (("power", "gbw"), ["vos"], True)
    assert [point.simulation for point in front.points] == [3, 1], "from the best in the first metric on, equals once"
    assert front.others == [(pytest.approx(160e-6), pytest.approx(2.4e6))]
    assert front.points[0].sizing == {"W": 90}


def test_where_no_design_keeps_all_others_the_front_keeps_what_the_best_one_keeps() -> None:
    front = tradeoff([design(150, 1.5, vos=2), design(200, 1.9, vos=3)], ("power", "gbw")).front
    assert front is not None
    assert (front.kept, front.complete) == ([], False)
    page = tradeoff_section(tradeoff([design(150, 1.5, vos=2)], ("power", "gbw")), nmcf().metrics, TARGETS)
    assert "Hardly a design of the search meets all other specs; these keep none of them" in page


def test_a_front_of_hardly_any_design_gives_way_to_one_that_keeps_what_the_best_keeps() -> None:
    only_one = [design(300, 2.5)]  # keeps the offset
    others = [design(110 + 10 * i, 1.5 + 0.2 * i, vos=1.001) for i in range(5)]
    front = tradeoff([*only_one, *others]).front
    assert front is not None
    assert (front.metrics, front.kept, front.complete) == (("power", "gbw"), [], False)
    assert len(front.points) == 6
    asked = tradeoff([*only_one, *others], ("power", "gbw")).front
    assert asked is not None
    assert asked.kept == ["vos"], "what is asked for is kept"


def test_the_middle_of_a_front_is_its_knee() -> None:
    front = tradeoff([design(400, 1.9), design(110, 1.8), design(60, 0.1)], ("power", "gbw")).front
    assert front is not None
    assert front.in_the_middle(nmcf().metrics).simulation == 2
    feasible = tradeoff([design(400, 2.9), design(110, 2.2), design(99, 2.01), design(60, 0.1)], ("power", "gbw")).front
    assert feasible is not None
    assert feasible.in_the_middle(nmcf().metrics).simulation == 3, "one that meets every spec comes first"


def test_a_long_front_is_thinned_and_keeps_its_ends() -> None:
    designs = [design(100 + i, 1 + 0.01 * i) for i in range(150)]
    front = tradeoff(designs, ("gbw", "power")).front
    assert front is not None
    assert len(front.points) == 60
    assert (front.points[0].simulation, front.points[-1].simulation) == (150, 1)
    assert thinned(3, 5) == [0, 1, 2]
    assert thinned(100, 3) == [0, 50, 99]


def test_a_trade_off_is_written_and_read() -> None:
    found = tradeoff([design(150, 2.5), design(90, 1.2)])
    assert Tradeoff.read(json.loads(json.dumps(found.model_dump())), "designs.json") == found
    with pytest.raises(ConfigError, match=r"designs\.json: tradeoff\.binding\.0\.metric: this key is required"):
        Tradeoff.read({"binding": [{}]}, "designs.json")


def test_the_picture_shows_front_and_targets() -> None:
    found = tradeoff([design(150, 2.5), design(130, 2.2), design(140, 2.1), design(90, 1.2)])
    assert found.front is not None
    drawn = front_plot(found.front, nmcf().metrics, TARGETS)
    assert drawn.count('class="dot main"') == 3
    assert drawn.count('class="dot behind"') == 1
    assert drawn.count('class="line main"') == 1
    assert drawn.count('class="rule"') == 2
    assert "≤ 100 µW" in drawn
    page = tradeoff_section(found, nmcf().metrics, TARGETS)
    assert "<b>130 µW</b>" in page
    assert "To give in vos alone helps no design of this search." in page
    single = tradeoff([design(150, 2.5)]).front
    assert single is not None
    assert front_plot(single, nmcf().metrics, {}).count('class="dot main"') == 1


def test_two_different_metrics_make_a_pair() -> None:
    assert checked_pair(nmcf().metrics, ["power", "tc"]) == ("power", "tc")
    with pytest.raises(ConfigError, match="Did you mean 'power'"):
        checked_pair(nmcf().metrics, ("powr", "gbw"))
    for wrong in (("gbw", "gbw"), ("gbw",), "gbw"):
        with pytest.raises(ConfigError, match="two different metrics"):
            checked_pair(nmcf().metrics, wrong)


# --- a front on purpose ---------------------------------------------------------------------------------------------


class Bowl(FakeSimulator):
    """GBW costs power in proportion, and some parameters waste power away from their middle."""

    def _answer(self, sizing: Mapping[str, float]) -> Outcome:
        first, *others = self.circuit.to_point(self.circuit.vector(sizing)).tolist()
        if others[0] > 0.9:
            return Outcome(Status.CIRCUIT_FAILURE, Failure.UNSTABLE, backend=self.name)
        waste = 10.0 ** float(np.square(others[:6]).mean())
        gbw = 1e6 * 10.0**first
        metrics = dict.fromkeys(nmcf().metrics.names, 1.0)
        return Outcome(
            Status.SUCCESS,
            metrics=metrics | {"gbw": gbw, "power": 1e-10 * gbw * waste, "dc_gain": 60.0 + 10.0 * others[1]},
            backend=self.name,
        )


@pytest.fixture
def bowl(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(backend: str, circuit: Circuit, **_: Any) -> FakeSimulator:
        return Bowl(circuit)

    monkeypatch.setattr(problem, "make_simulator", make)


def only(**targets: float) -> dict[str, float | None]:
    return dict.fromkeys(nmcf().targets) | targets


def area(designs: Sequence[Design]) -> float:
    """Dominated by those that keep the gain, in square decades of GBW and power, beyond a bad corner."""
    rows = [d.outcome.metrics for d in designs if d.outcome.metrics and d.outcome.metrics["dc_gain"] >= 65.0]
    good = np.array([[np.log10(row["gbw"]), -np.log10(row["power"])] for row in rows]).reshape(-1, 2)
    return hypervolume(good, [5.0, 2.5])


@pytest.mark.usefixtures("bowl")
@pytest.mark.parametrize(("method", "ahead"), [("auto", 0.2), ("random", 0.0)])
def test_a_front_on_purpose_keeps_the_other_specs_and_beats_chance(method: str, ahead: float, tmp_path: Path) -> None:
    told: list[str] = []
    asked = only(dc_gain=65.0, gbw=1e6)
    result = size("nmcf", asked, pareto=("power", "gbw"), method=method, budget=600, log=False, notify=told.append)
    assert result.simulations == 600
    assert result.has_front
    assert told[-1].startswith("search 16 of 16: the best gbw with power at ")
    front = result.tradeoff.front if result.tradeoff else None
    assert front is not None
    assert (front.kept, front.complete) == (["dc_gain"], True)
    assert all(point.metrics["dc_gain"] >= 65.0 for point in front.points)
    good = goodness(nmcf().metrics, [nmcf().metrics.row(point.metrics) for point in front.points])
    assert non_dominated(good[:, [1, 5]]).all()
    assert result.met, "the middle of the front meets the spec on gbw"
    assert result.summary().startswith("a front of power and gbw with ")
    with Problem(nmcf(), budget=600) as chance:
        chance.evaluate(np.random.default_rng(1).uniform(-1, 1, (600, chance.dimension)))
    assert area(result.designs) > area(chance.designs) + ahead
    result.write(tmp_path / "designs.json")
    written = json.loads((tmp_path / "designs.json").read_text())
    assert Tradeoff.read(written["tradeoff"], "designs.json").front == front
    assert written["arguments"]["pareto"] == ["power", "gbw"]


@pytest.mark.usefixtures("bowl")
def test_a_front_whose_other_specs_nobody_keeps() -> None:
    result = size("nmcf", only(dc_gain=500.0), pareto=("power", "gbw"), budget=60, log=False)
    assert result.simulations == 60
    assert not result.has_front
    assert not result.met


@pytest.mark.usefixtures("bowl")
def test_an_interrupted_front_holds_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = CmaEs.tell

    def interrupted(self: CmaEs, positions: np.ndarray, values: np.ndarray) -> None:
        tell(self, positions, values)
        if values.max() > 0.0:
            raise KeyboardInterrupt

    monkeypatch.setattr(CmaEs, "tell", interrupted)
    with pytest.raises(SizingInterrupted) as caught:
        size("nmcf", only(gbw=1e6), pareto=("power", "gbw"), budget=600, log=False)
    assert caught.value.result.simulations < 100
    assert caught.value.result.has_front


def test_a_front_takes_no_model() -> None:
    with pytest.raises(ConfigError, match="a front is searched in ngspice"):
        size("nmcf", pareto=("power", "gbw"), method="gradient", log=False)
    with pytest.raises(ConfigError, match="Did you mean 'cma-es'"):
        size("nmcf", pareto=("power", "gbw"), method="cma_es", log=False)
