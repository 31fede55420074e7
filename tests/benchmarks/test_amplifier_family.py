"""The benchmark of the amplifier family: every circuit once, with its share and the calls of every seed."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")

import amplifier_family
import sizing_cells
from amplifier_family import amplifiers, median, table

from tests.fakes import FakeSimulator
from zsgym.circuits import Circuit, list_circuits
from zsgym.evaluate import Evaluator
from zsgym.sizing.problem import Problem


def test_every_shipped_amplifier_takes_part() -> None:
    assert {"nmcf", "nmcnr", "az", "tcfc"} <= set(amplifiers()) <= set(list_circuits())


def test_a_seed_without_a_design_counts_as_infinite() -> None:
    assert median([10, None, 30]) == 30
    assert median([None, 10, None]) == math.inf


def test_the_table_counts_circuits_and_names_those_below_a_fifth() -> None:
    entry = {
        "circuit": "a",
        "parameters": 3,
        "load": 1e-11,
        "working_share": 0.3,
        "calls": [5, None],
        "seconds": [1.0, None],
    }
    text = table(
        [entry, {**entry, "circuit": "b", "working_share": 0.1, "calls": [None, None], "seconds": [None, None]}]
    )
    assert "1 of 2 circuits" in text
    assert "below 20% working rows: b" in text


def test_the_benchmark_writes_json_and_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeProblem(Problem):
        def __init__(self, circuit: Circuit, **arguments: Any) -> None:
            super().__init__(circuit, backend=FakeSimulator(circuit), **arguments)

    monkeypatch.setattr(sizing_cells, "Problem", FakeProblem)
    monkeypatch.setattr(amplifier_family, "evaluator_of", lambda circuit: Evaluator(FakeSimulator(circuit)))
    asked = ["--circuits", "nmcf", "pfc", "--seeds", "1", "2", "--budget", "28", "--rows", "20", "--processes", "1"]
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["amplifier_family.py", *asked, *places])
    amplifier_family.main()
    written = json.loads((tmp_path / "amplifier_family.json").read_text())
    assert [entry["circuit"] for entry in written["circuits"]] == ["nmcf", "pfc"]
    assert [entry["seeds"] for entry in written["circuits"]] == [[1, 2]] * 2
    assert all(entry["rows"] == 20 for entry in written["circuits"])
    assert (tmp_path / "amplifier_family.png").stat().st_size > 5_000
