"""Frozen specs: what was simulated is not repeated, conditions are what they say, and a circuit's file is edited."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import freeze_search
import freeze_specs
from freeze_search import Rows, Search, Yardstick, scout
from freeze_specs import holds, relaxed, rounded, write_specs

from tests.fakes import FakeSimulator
from zsgym.base.paths import data_root
from zsgym.circuits import Circuit, load_circuit
from zsgym.evaluate import Evaluator
from zsgym.simulators import outcome as outcomes


@pytest.fixture
def circuit() -> Circuit:
    return freeze_search.unknown_circuit("smc")


@pytest.fixture
def evaluator(circuit: Circuit) -> Evaluator:
    return Evaluator(FakeSimulator(circuit))


def found_rows(circuit: Circuit, evaluator: Evaluator, folder: Path, count: int = 40) -> Rows:
    rows = Rows(circuit, folder / "rows.jsonl")
    rows.extend(evaluator, count, seed=1)
    return rows


def test_rows_are_kept_and_not_repeated(circuit: Circuit, evaluator: Evaluator, tmp_path: Path) -> None:
    first = found_rows(circuit, evaluator, tmp_path, 30)
    asked = evaluator.count
    again = found_rows(circuit, evaluator, tmp_path, 34)
    assert evaluator.count == asked + 4
    assert again.rows[:30] == json.loads(json.dumps(first.rows))
    assert 0.0 < again.share < 1.0
    assert again.metrics.shape == (len(again.working), len(circuit.metrics))


def test_no_row_is_drawn_around_a_known_good_sizing(circuit: Circuit) -> None:
    assert circuit.known_good == {}
    assert circuit.netlist_hash == load_circuit("smc").netlist_hash


def test_the_yardstick_knows_which_way_is_better(circuit: Circuit, evaluator: Evaluator, tmp_path: Path) -> None:
    rows = found_rows(circuit, evaluator, tmp_path)
    yardstick = Yardstick.of(rows)
    table = circuit.metrics.magnitudes(rows.metrics)
    good = np.where(circuit.metrics.signs > 0, table.max(axis=0), table.min(axis=0))
    bad = np.where(circuit.metrics.signs > 0, table.min(axis=0), table.max(axis=0))
    best, worst = ({n: float(v) for n, v in zip(circuit.metrics.names, row, strict=True)} for row in (good, bad))
    assert yardstick.beyond(best) == list(circuit.metrics.names)
    assert yardstick.beyond(worst) == []
    middle = {n: float(v) for n, v in zip(circuit.metrics.names, np.median(table, axis=0), strict=True)}
    assert yardstick.value(worst) < yardstick.value(middle) < yardstick.value(best)


def test_a_search_goes_on_where_it_stopped(circuit: Circuit, evaluator: Evaluator, tmp_path: Path) -> None:
    rows = found_rows(circuit, evaluator, tmp_path)

    def searched(name: str, *counts: int) -> tuple[float, dict[str, float]]:
        for count in counts:
            search = Search(rows, evaluator, tmp_path / name, seed=1)
            search.run(count)
        return search.best

    assert searched("whole", 60) == searched("parts", 20, 60)
    before = evaluator.count
    searched("whole", 60)
    assert evaluator.count == before, "every generation was replayed"


def test_a_search_prefers_what_works_at_every_supply(circuit: Circuit, tmp_path: Path) -> None:
    class Frail(FakeSimulator):
        """Works at the nominal supply only."""

        def simulate(self, cases: Any, **options: Any) -> Any:
            found = super().simulate(cases, **options)
            railed = outcomes.Outcome(outcomes.Status.CIRCUIT_FAILURE, "operating_point", backend=self.name)
            return [o if c.conditions.supply == 1.8 else railed for c, o in zip(cases, found, strict=True)]

    evaluator = Evaluator(Frail(circuit, always_works=True))
    rows = found_rows(circuit, evaluator, tmp_path)
    search = Search(rows, evaluator, tmp_path / "search.jsonl", seed=1)
    search.run(30)
    assert search.simulations > 30, "checks at other supplies are counted"
    assert search.best[0] < max(search.yardstick.value(row["metrics"]) for row in rows.working)


def test_a_scout_stops_at_the_first_sizing_that_works(circuit: Circuit, evaluator: Evaluator, tmp_path: Path) -> None:
    found = scout(circuit, evaluator, tmp_path / "scout.json", seed=1, simulations=100)
    assert found["sizing"] is not None
    assert scout(circuit, evaluator, tmp_path / "scout.json", seed=1, simulations=100) == json.loads(json.dumps(found))
    assert evaluator.count == found["simulations"]
    (row,) = found_rows(freeze_search.starting_at(circuit, found["sizing"]), evaluator, tmp_path, 1).rows
    assert row["sizing"] == found["sizing"]


@pytest.mark.parametrize(
    ("name", "value", "spec"),
    [
        ("dc_gain", 123.4, 110.0),
        ("gbw", 1.234e6, 1.1e6),
        ("power", 1.0e-4, 1.1e-4),
        ("power", 1.01e-4, 1.2e-4),
        ("vos", -1.5e-4, 1.7e-4),
        ("psrr_p", -4.0, -4.4),
        ("phase_margin", 61.0, 54.0),
    ],
)
def test_a_spec_gives_way_by_a_tenth_and_rounds_to_the_easier_side(
    circuit: Circuit, name: str, value: float, spec: float
) -> None:
    assert relaxed(circuit, name, value) == pytest.approx(spec)


def test_an_entry_keeps_every_condition_or_is_not_frozen() -> None:
    entry = {"rows": 1000, "supplies": [1.62, 1.8, 1.98], "beyond": list("abcdef"), "rows_that_meet_all": 0}
    assert holds(entry)
    for change in ({"rows": 999}, {"supplies": [1.8]}, {"beyond": list("abcde")}, {"rows_that_meet_all": 1}):
        assert not holds(entry | change)


def test_specs_and_known_good_sizing_are_written_into_the_file(tmp_path: Path) -> None:
    for kind, folder in (("spice", "netlists"), ("yaml", "configs/circuits")):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(data_root() / folder / f"smc.{kind}", tmp_path / folder)
    circuit = load_circuit(tmp_path / "configs" / "circuits" / "smc.yaml")
    sizing = rounded(circuit, circuit.sizing(circuit.from_point(np.full(len(circuit.parameters), 0.123))))
    specs = dict.fromkeys(circuit.metrics.names, 12.0)
    for gbw in (1e6, 2e6):  # written twice: the second time replaces the first
        write_specs(circuit, {"specs": {**specs, "gbw": gbw}, "sizing": sizing, "supplies": [1.62, 1.8, 1.98]})
    found = load_circuit(tmp_path / "configs" / "circuits" / "smc.yaml")
    assert found.targets == {**specs, "gbw": 2e6}
    assert found.known_good == {"robust": pytest.approx(sizing)}
    assert found.known_good_designs["robust"].supplies == (1.62, 1.8, 1.98)
    assert (found.parameters, found.conditions) == (circuit.parameters, circuit.conditions)
    text = (tmp_path / "configs" / "circuits" / "smc.yaml").read_text()
    assert text.count("targets:") == text.count("known_good:") == text.count("freeze_specs.py") == 1
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("path", sorted(freeze_specs.RESULTS.glob("frozen_*specs.json")), ids=lambda path: path.stem)
def test_circuits_have_the_specs_and_the_sizing_of_the_published_search(path: Path) -> None:
    for name, entry in json.loads(path.read_text())["circuits"].items():
        circuit = load_circuit(name)
        assert circuit.targets == entry["specs"], name
        assert circuit.known_good["robust"] == pytest.approx(entry["sizing"]), name
        assert circuit.known_good_designs["robust"].supplies == tuple(entry["supplies"]) == freeze_search.SUPPLIES


def test_the_script_searches_every_circuit_before_it_checks_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(freeze_specs, "evaluator_of", lambda circuit: Evaluator(FakeSimulator(circuit)))
    arguments = ["--circuits", "smc", "pfc", "--rows", "40", "--rows-first", "30", "--simulations", "28"]
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["freeze_specs.py", *arguments, *places])
    freeze_specs.main()
    written = json.loads((tmp_path / "frozen_specs.json").read_text())
    assert set(written["circuits"]) == {"smc", "pfc"}
    entry = written["circuits"]["smc"]
    assert (entry["rows"], entry["rows_before_search"]) == (40, 30)
    assert set(entry["specs"]) == set(load_circuit("smc").metrics.names)
    assert "pfc" in capsys.readouterr().out
