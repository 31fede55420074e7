"""`zsgym simulate`: its JSON contract, its inputs, and what it says when they are wrong."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSimulator
from tests.zsgym.cli.conftest import sizings, write
from tests.zsgym.conftest import Run
from zsgym import simulators
from zsgym.circuits import Circuit
from zsgym.metrics import METRIC_NAMES


def test_simulate_prints_the_json_contract(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    path = write(tmp_path / "s.json", sizings(circuit, 12))
    code, out, err = run("simulate", "nmcf", "--backend", "ngspice", "--sizing", path, "--json", "--workers", 2)
    assert (code, err) == (0, "")
    outcomes = json.loads(out)["outcomes"]
    expected = FakeSimulator(circuit).simulate(sizings(circuit, 12))
    assert {outcome["status"] for outcome in outcomes} == {"success", "circuit_failure"}
    for outcome, answer in zip(outcomes, expected, strict=True):
        assert list(outcome) == ["status", "failure", "metrics", "elapsed_s"]
        assert outcome["status"] == answer.status
        assert outcome["failure"] == answer.failure
        assert outcome["metrics"] == answer.metrics
        if answer.success:
            assert set(outcome["metrics"]) == set(METRIC_NAMES)
    assert fakes[0].options == {"workers": 2}  # type: ignore[attr-defined]
    assert fakes[0].closed


def test_simulate_reads_one_sizing_from_standard_input(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(sizings(circuit, 1)[0])))
    code, out, _ = run("simulate", "nmcf", "--sizing", "-", "--json")
    assert code == 0
    assert len(json.loads(out)["outcomes"]) == 1


def test_simulate_prints_a_table_for_people(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    code, out, _ = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", sizings(circuit, 12)))
    assert code == 0
    assert "sizing 1 of 12: " in out
    assert "works (fake" in out
    assert "does not work: " in out
    assert "Hz" in out


def test_simulate_reads_published_names_and_units(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    (ours,) = sizings(circuit, 1)
    path = write(tmp_path / "published.json", circuit.to_published(ours))
    assert run("simulate", "nmcf", "--sizing", path, "--published")[0] == 0
    assert fakes[0].simulated[0] == pytest.approx(ours)
    code, _, err = run("simulate", "nmcf", "--sizing", path)
    assert code == 2
    assert "unknown parameter" in err


def test_simulate_under_other_conditions_and_policy(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    path = write(tmp_path / "s.json", sizings(circuit, 1))
    options = ["--corner", "ss", "--supply", "1.62", "--temperature", "-40", "--load", "20e-12"]
    code, _, err = run("simulate", "nmcf", "--sizing", path, *options, "--policy", "measured")
    assert (code, err) == (0, "")
    assert fakes[0].conditions == [circuit.conditions.replace(corner="ss", supply=1.62, temperature=-40.0, load=20e-12)]
    assert fakes[0].options == {"workers": 1, "policy": "measured"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corner", "sx"], "tt, ff, ss, sf, fs"),
        (["--supply", "-1"], "supply"),
        (["--temperature", "-300"], "temperature"),
        (["--load", "nan"], "load"),
        (["--backend", "spectre"], "choose one of: ngspice"),
    ],
)
def test_simulate_names_the_valid_choices(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path, options: list[str], message: str
) -> None:
    code, out, err = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", sizings(circuit, 1)), *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("zsgym: error: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ("3", "one sizing"),
        ("[]", "one sizing"),
        ("[1]", "one sizing"),
        ('{"W_gm3": 1, "W_gm3": 2}', "'W_gm3' twice"),
        ('{"W_gm3": 1}', "missing"),
        ({"W_gm33": 1}, "Did you mean"),
    ],
)
def test_simulate_explains_a_bad_sizing_file(
    run: Run, fakes: list[FakeSimulator], tmp_path: Path, content: Any, message: str
) -> None:
    code, out, err = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", content))
    assert (code, out) == (2, "")
    assert message in err
    assert fakes == []


def test_simulate_says_which_sizing_of_a_list_is_wrong(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    many = sizings(circuit, 3)
    many[1]["W_gm3"] = -1.0
    code, _, err = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", many))
    assert code == 2
    assert "sizing 2 of 3: " in err
    assert "W_gm3 must be a positive" in err
    assert run("simulate", "nmcf", "--sizing", tmp_path / "missing.json")[0] == 2


def test_simulate_known_good(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = sizings(circuit, 1)
    monkeypatch.setattr(Circuit, "known_good", property(lambda _: {"first": good}))
    assert run("simulate", "nmcf", "--known-good", "first")[0] == 0
    assert fakes[0].simulated == [good]
    code, _, err = run("simulate", "nmcf", "--known-good", "second")
    assert code == 2
    assert "it has: first" in err


def test_an_infrastructure_error_is_exit_code_3_and_no_verdict(
    run: Run, monkeypatch: pytest.MonkeyPatch, circuit: Circuit, tmp_path: Path
) -> None:
    monkeypatch.setattr(simulators, "make_simulator", lambda _, circuit, **__: FakeSimulator(circuit, raise_at={1}))
    code, out, _ = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", sizings(circuit, 1)), "--json")
    assert code == 3
    (outcome,) = json.loads(out)["outcomes"]
    assert outcome["status"] == "infrastructure_error"
    assert outcome["failure"] is None
    assert outcome["metrics"] is None
    assert "killed" in outcome["error"]
