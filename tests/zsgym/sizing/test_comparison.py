"""Which circuit of a class: who is tried, how the budget is shared, who comes first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.fakes import FakeSimulator
from tests.zsgym.sizing.test_size import FIVE
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.report.comparison import comparison_section
from zsgym.samples import read_samples
from zsgym.simulators.ngspice import simulator as ngspice
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing import ComparisonInterrupted, compare
from zsgym.sizing import comparison as comparison_module
from zsgym.sizing.comparison import Comparison
from zsgym.sizing.optimisers.cma_es import CmaEs


class Known(FakeSimulator):
    """What each circuit reaches at its best: an ideal parameter vector in the middle of its range."""

    gbw: ClassVar[Mapping[str, float]] = {"nmcf": 8e6, "nmcnr": 4e6, "five": 30e6}
    gain: ClassVar[Mapping[str, float]] = {"nmcf": 130.0, "nmcnr": 120.0, "five": 45.0}
    made: ClassVar[list[Known]] = []

    def __init__(self, circuit: Circuit, *, workers: int = 1) -> None:
        super().__init__(circuit)
        self.name = "ngspice"
        Known.made.append(self)

    def for_circuit(self, circuit: Circuit) -> Known:
        return Known(circuit)

    def _answer(self, sizing: Mapping[str, float]) -> Outcome:
        unit = np.array(self.circuit.to_point(self.circuit.vector(sizing)))
        off = 10.0 ** -float(np.mean(unit**2))
        name = self.circuit.name
        metrics = dict.fromkeys(self.circuit.metrics.names, 1.0)
        metrics |= {"gbw": self.gbw[name] * off, "dc_gain": self.gain[name], "power": 1e-4}
        return Outcome(Status.SUCCESS, metrics=metrics, backend=self.name)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> list[Known]:
    monkeypatch.setattr(comparison_module, "list_circuits", lambda directories: sorted(Known.gbw))
    monkeypatch.setattr(ngspice, "NgspiceSimulator", Known)
    monkeypatch.setattr(Known, "made", [])
    return Known.made


def found(targets: Mapping[str, float], **options: Any) -> Comparison:
    return compare("amplifier", targets, **{"directories": [FIVE], "budget": 300, "log": False} | options)


def names(comparison: Comparison) -> list[str]:
    return [ranked.result.circuit.name for ranked in comparison.ranking]


def test_who_meets_the_specs_comes_first_then_the_larger_margin() -> None:
    told: list[str] = []
    comparison = found({"gbw": 2e6}, notify=told.append)
    assert names(comparison) == ["five", "nmcf", "nmcnr"]
    assert comparison.met
    margins = [ranked.margin for ranked in comparison.ranking]
    assert margins == sorted(margins, reverse=True)
    assert [ranked.rounds for ranked in comparison.ranking] == [2, 2, 1], "the better half goes on"
    assert sum(len(ranked.result.designs) for ranked in comparison.ranking) <= 300
    assert "round 2 of 2" in told[-1]
    assert comparison.summary().startswith("five meets every spec, with the largest margin; so do")
    tight = found({"gbw": 2e6, "dc_gain": 44.0})
    assert names(tight)[0] == "nmcf", "it is the smallest margin that counts"
    assert {ranked.result.circuit.name: ranked.tightest for ranked in tight.ranking}["five"] == "dc_gain"
    harder = found({"gbw": 9e6, "dc_gain": 80.0})
    assert names(harder)[0] == "nmcf"
    assert not harder.met
    assert harder.summary().startswith("no circuit meets every spec: nmcf comes nearest, and misses gbw")


def test_a_search_goes_on_beyond_the_specs() -> None:
    few, many = (found({"gbw": 1e5}, budget=budget).ranking[0].margin for budget in (60, 600))
    assert few is not None
    assert many is not None
    assert many > few > 0.0


def test_a_circuit_that_cannot_be_expected_to_reach_a_target_is_left_out(known: list[Known]) -> None:
    comparison = found({"gbw": 1e6, "dc_gain": 90.0})
    assert comparison.left_out == {"five": "the best dc_gain known of it is 40 dB, and 90 dB is asked for"}
    assert "five" not in names(comparison)
    assert not [s for s in known if s.circuit.name == "five" and s.simulated], "it has no known-good sizing either"
    page = comparison_section(comparison)
    assert "<dt>five</dt>" in page
    assert page.index("nmcf") < page.index("nmcnr")


def test_the_nearest_is_tried_where_nobody_can_be_expected_to_get_there() -> None:
    told: list[str] = []
    comparison = found({"power": 1e-9}, notify=told.append)
    assert len(comparison.ranking) == 1
    assert any("nobody can be expected to reach the targets" in text for text in told)


def test_everybody_is_asked_under_the_same_conditions(known: list[Known], tmp_path: Path) -> None:
    comparison = found({"gbw": 1e6}, conditions={"load": 20e-12, "corner": "ss"}, log=tmp_path)
    asked = {conditions for simulator in known for conditions in simulator.conditions}
    assert asked == {comparison.conditions}
    own = type(comparison.conditions)
    assert comparison.conditions == own(load=20e-12, corner="ss"), "those of the class, not those of a circuit"
    rows = list(read_samples(tmp_path))
    assert {row.circuit for row in rows} == set(names(comparison))
    assert {row.conditions["load"] for row in rows} == {20e-12}


@pytest.mark.parametrize("budget", [1, 2, 20, 43])
def test_a_small_budget_is_kept(budget: int) -> None:
    comparison = found({"gbw": 1e6}, budget=budget)
    assert 1 <= sum(len(ranked.result.designs) for ranked in comparison.ranking) <= budget
    assert {*names(comparison), *comparison.left_out} == set(Known.gbw), "nobody is passed over in silence"


def test_it_is_written_as_json(tmp_path: Path) -> None:
    comparison = found({"gbw": 1e6})
    comparison.write(tmp_path / "designs.json")
    written = json.loads((tmp_path / "designs.json").read_text())
    assert written["circuit"] == names(comparison)[0]
    assert written["comparison"] == json.loads(json.dumps(comparison.as_dict()))
    assert written["designs"][0]["sizing"] == comparison.best.best.sizing
    assert [row["circuit"] for row in written["comparison"]["ranking"]] == names(comparison)


def test_an_interrupt_carries_the_ranking_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: CmaEs, positions: np.ndarray, values: np.ndarray) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CmaEs, "tell", interrupted)
    with pytest.raises(ComparisonInterrupted) as caught:
        found({"gbw": 1e6})
    assert caught.value.result.ranking


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown class 'amplifer'\. Did you mean 'amplifier'"):
        compare("amplifer", {"gbw": 1e6})
    with pytest.raises(ConfigError, match="has no specs of its own"):
        compare("amplifier", {})
    with pytest.raises(ConfigError, match="Did you mean 'gbw'"):
        compare("amplifier", {"gwb": 1e6})
    with pytest.raises(ConfigError, match="at least one simulation"):
        found({"gbw": 1e6}, budget=0)
