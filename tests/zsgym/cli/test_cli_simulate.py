"""`zsgym simulate`: its JSON contract, its inputs, and what it says when they are wrong."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSimulator, ask
from tests.zsgym.cli.conftest import sizings, write
from tests.zsgym.conftest import Run
from zsgym import simulators
from zsgym.base.errors import SimulatorCrashError
from zsgym.circuits import Circuit
from zsgym.classes.amplifier import METRICS
from zsgym.simulators.outcome import Outcome, Status


def test_simulate_prints_the_json_contract(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    path = write(tmp_path / "s.json", sizings(circuit, 12))
    code, out, err = run("simulate", "nmcf", "--backend", "ngspice", "--sizing", path, "--json", "--workers", 2)
    assert (code, err) == (0, "")
    outcomes = json.loads(out)["outcomes"]
    expected = ask(FakeSimulator(circuit), sizings(circuit, 12))
    assert {outcome["status"] for outcome in outcomes} == {"success", "circuit_failure"}
    for outcome, answer in zip(outcomes, expected, strict=True):
        assert list(outcome) == ["status", "failure", "metrics", "elapsed_s", *([] if answer.success else ["raw"])]
        assert outcome["status"] == answer.status
        assert outcome["failure"] == answer.failure
        assert outcome["metrics"] == answer.metrics
        if not answer.success:
            assert outcome["raw"] == answer.raw
        if answer.success:
            assert set(outcome["metrics"]) == set(METRICS.names)
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


def test_undefined_measurements_are_null(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON has neither NaN nor infinity."""
    raw = {"gbw": 1e6, "phase_margin": float("nan"), "max_pole_real": float("inf"), "slew_rate": None}
    failed = Outcome(Status.CIRCUIT_FAILURE, "unstable", raw=raw, backend="fake")
    lost = Outcome(Status.INFRASTRUCTURE_ERROR, raw=raw, error=SimulatorCrashError("killed"))
    monkeypatch.setattr(FakeSimulator, "simulate", lambda *_, **__: [failed, lost])
    path = write(tmp_path / "s.json", sizings(circuit, 2))
    code, out, _ = run("simulate", "nmcf", "--sizing", path, "--json")
    assert code == 3
    outcomes = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["outcomes"]
    assert outcomes[0]["raw"] == {"gbw": 1e6, "phase_margin": None, "max_pole_real": None, "slew_rate": None}
    assert "raw" not in outcomes[1]


@pytest.mark.ngspice
def test_what_failures_have_measured_is_in_the_json(run: Run, circuit: Circuit, tmp_path: Path) -> None:
    robust = dict(circuit.known_good["robust"])
    narrow, starved = robust | {"W_gm3": 0.2}, robust | {"cap1": 1e-12, "cap2": 1e-12, "M_gm2": 100}
    code, out, _ = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", [narrow, starved, robust]), "--json")
    assert code == 0
    geometry, unstable, works = json.loads(out)["outcomes"]
    assert (geometry["failure"], geometry["raw"]) == ("geometry", {})
    assert (unstable["failure"], unstable["metrics"]) == ("unstable", None)
    assert unstable["raw"]["max_pole_real"] > 0.0
    assert unstable["raw"]["gbw"] > 0.0
    assert "raw" not in works


@pytest.mark.ngspice
def test_a_failure_says_what_was_missed(run: Run, circuit: Circuit, tmp_path: Path) -> None:
    robust = dict(circuit.known_good["robust"])
    narrow, starved = robust | {"W_gm3": 0.2}, robust | {"cap1": 1e-12, "cap2": 1e-12, "M_gm2": 100}
    code, out, _ = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", [narrow, starved]))
    assert code == 0
    first, second = out.split("sizing 2 of 2")
    assert "does not work: geometry" in first
    assert "  M12: W 0.2 um is not within 0.36 to 100" in first
    assert "does not work: " in second
    assert re.search(r"^  rightmost closed-loop pole: .* Mrad/s, limit ≤ 0 rad/s$", second, re.MULTILINE)


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
        (["--supply", "0.4"], "conditions.supply: must lie between 0.5 and 5 V, got 0.4"),
        (["--supply", "5.5"], "conditions.supply: must lie between 0.5 and 5 V, got 5.5"),
        (["--temperature", "-300"], "temperature"),
        (["--temperature", "-56"], "conditions.temperature: must lie between -55 and 175 C, got -56"),
        (["--temperature", "2000"], "conditions.temperature: must lie between -55 and 175 C, got 2000"),
        (["--load", "nan"], "load"),
        (["--load=-1e-12"], "conditions.load: must lie between 0 and 0.001 F, got -1e-12"),
        (["--load", "1"], "conditions.load: must lie between 0 and 0.001 F, got 1"),
        (["--common-mode-ratio", "1.1"], "common_mode_ratio"),
        (["--checkpoint", "mine"], "--checkpoint goes with --backend surrogate or --backend hybrid"),
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
    assert err.count("\n") == 1
    assert fakes == []


def test_simulate_takes_the_conditions_at_the_limits(run: Run, fakes: list[FakeSimulator], circuit: Circuit) -> None:
    for supply, temperature in ((0.5, -55.0), (5.0, 175.0)):
        options = ["--supply", supply, "--temperature", temperature]
        assert run("simulate", "nmcf", "--known-good", "robust", *options)[0] == 0
        assert fakes[-1].conditions == [circuit.conditions.replace(supply=supply, temperature=temperature)]


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


def test_many_unknown_names_list_the_valid_ones_once(run: Run, fakes: list[FakeSimulator], tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", {"cap3": 1, "w_gm3": 2, "agent": "cma_es"})
    code, _, err = run("simulate", "nmcf", "--sizing", path)
    assert code == 2
    assert "unknown parameters 'cap3' (did you mean 'cap2'?), 'w_gm3' (did you mean 'W_gm3'?), 'agent'. Valid: " in err
    assert err.endswith("; missing every one of them\n")
    assert err.count("bias_current") == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"cap1": 3.4}, "cap1=3.4 F lies outside its bounds, 1e-12 to 1e-10 F"),
        ({"M_gm3": 2.5}, "M_gm3=2.5 is a count, and not a whole number"),
        (
            {"M_gm3": 101, "W_gm3": 0.1},
            "W_gm3=0.1 um lies outside its bounds, 0.2 to 10 um; M_gm3=101 lies outside its bounds, 1 to 100",
        ),
        ({"cap1": 1e-10, "cap2": 1e-12, "M_gm3": 100, "L_gm3": 0.13}, None),
    ],
)
def test_unusual_values_of_a_sizing_get_one_warning_and_are_simulated(
    run: Run,
    fakes: list[FakeSimulator],
    circuit: Circuit,
    tmp_path: Path,
    changes: dict[str, float],
    warning: str | None,
) -> None:
    sizing = sizings(circuit, 1)[0] | changes
    code, _, err = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", sizing))
    assert code == 0
    assert err == ("" if warning is None else f"zsgym: warning: {warning}\n")
    assert fakes[0].simulated == [sizing]


def test_the_warning_about_unusual_values_stays_one_line(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    good, many = sizings(circuit, 1)[0], {p.name: 2.0 * p.high for p in circuit.parameters}
    _, _, err = run("simulate", "nmcf", "--sizing", write(tmp_path / "s.json", [good, many, good, many]))
    assert err.startswith("zsgym: warning: sizing 2 of 4: W_bias_p=20 um lies outside its bounds, 0.2 to 10 um; ")
    assert err.endswith("; and 21 values more (and 1 sizing more with such values)\n")
    assert err.count("\n") == 1


def test_published_values_at_their_bounds_are_not_unusual(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    for edge in ({p.name: p.low for p in circuit.parameters}, {p.name: p.high for p in circuit.parameters}):
        path = write(tmp_path / "s.json", circuit.to_published(edge))
        assert run("simulate", "nmcf", "--sizing", path, "--published")[2] == ""


def test_the_help_says_the_units_of_a_sizing(run: Run) -> None:
    told = " ".join(run("simulate", "--help")[1].split())
    assert "widths and lengths in um, multipliers as counts, capacitances in F (3.4e-12, not 3.4)" in told
    assert "resistances in ohm, currents in A" in told


def test_simulate_takes_the_best_design_of_an_agent(
    run: Run, fakes: list[FakeSimulator], circuit: Circuit, tmp_path: Path
) -> None:
    first, second = sizings(circuit, 2)
    designs = [{"sizing": first, "reward": -1.0, "feasible": False}, {"sizing": second, "reward": 0, "feasible": True}]
    path = tmp_path / "designs.json"

    def simulate(*options: str, **changes: Any) -> tuple[int, str, str]:
        write(path, {"agent": "cma_es", "circuit": "nmcf", "targets": {}, "designs": designs} | changes)
        return run("simulate", "nmcf", "--sizing", path, *options)

    code, _, err = simulate()
    assert code == 0
    assert err == f"zsgym: note: {path} holds 2 designs: the best one is taken, with its targets and conditions\n"
    assert fakes[0].simulated == [second]
    for refused, message in (
        (simulate("--published"), "have no published names"),
        (simulate(circuit="nmcnr"), "are of nmcnr, not of nmcf"),
        (simulate(designs=[]), "holds no design"),
        (simulate(designs=[{"sizing": first, "reward": None}]), "the reward of a design must be a number"),
        (simulate(designs=[{"sizing": {}}]), "nmcf: missing W_bias_p"),
        (simulate(designs=[{"sizing": 3}]), "a sizing is a mapping"),
    ):
        assert refused[0] == 2
        assert message in refused[2]


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
