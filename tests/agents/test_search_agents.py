"""The searching agents as programs: what they print and write, and how they end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from agents import cma_es, command, gradient, random_search, tpe
from tests.surrogate.synthetic import nmcf
from zsgym.base.errors import SimulatorMissingError
from zsgym.samples import read_samples
from zsgym.simulators.ngspice import simulator
from zsgym.sizing.optimisers.random_search import RandomSearch

SCRIPTS = {
    "cma_es": (cma_es.CmaArguments, cma_es.search_ngspice, cma_es.search_surrogate),
    "gradient": (gradient.GradientArguments, None, gradient.climb_surrogate),
    "random_search": (random_search.RandomArguments, random_search.search_ngspice, random_search.search_surrogate),
    "tpe": (tpe.TpeArguments, tpe.search_ngspice, tpe.search_surrogate),
}


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    """A script with arguments, as its own process would run it."""
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
    kind, search_ngspice, search_surrogate = SCRIPTS[script]
    command.main(kind, script, None, search_ngspice, search_surrogate)


@pytest.mark.ngspice
@pytest.mark.parametrize("script", [name for name in SCRIPTS if name != "gradient"])
def test_a_search_of_ngspice_logs_and_writes_what_it_simulated(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "designs.json"
    run(monkeypatch, script, "--backend", "ngspice", "--budget", "6", "--out", out)
    written = json.loads(out.read_text())
    assert (written["agent"], written["simulations"]) == (script, 6)
    assert written["provenance"]["ngspice"]
    rows = list(read_samples(tmp_path / "samples"))
    assert [row.strategy for row in rows] == [script] * 6
    assert len(written["history"]["simulations"]) == 6


@pytest.mark.ngspice
@pytest.mark.parametrize("script", ["cma_es", "gradient", "random_search"])
def test_what_is_found_on_the_surrogate_is_verified(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "designs.json"
    run(monkeypatch, script, "--backend", "surrogate", "--budget", 1500, "--spice-budget", 12, "--out", out)
    written = json.loads(out.read_text())
    assert written["designs"][0]["backend"] == "ngspice"
    assert written["designs"][0]["status"] == "success"
    assert 1 <= written["simulations"] == len(written["history"]["simulations"]) <= 12
    assert "phase_margin" in capsys.readouterr().out


@pytest.mark.ngspice
def test_what_is_found_on_the_equations_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "designs.json"
    asked = ["--env", "zsgym/OTA5T-v0", "--backend", "physics", "--no-log", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["cma_es.py", *asked])
    kind, search_ngspice, search_surrogate = SCRIPTS["cma_es"]
    command.main(kind, "cma_es", None, search_ngspice, search_surrogate, lambda own: cma_es.cma_es(own.population))
    written = json.loads(out.read_text())
    assert written["designs"][0]["backend"] == "ngspice"
    assert written["history"]["searched"] == "physics"
    assert written["history"]["evaluations"] > written["simulations"] == len(written["history"]["simulations"])


def test_without_ngspice_there_is_a_prediction_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise SimulatorMissingError("no ngspice was found; apt-get install ngspice")

    monkeypatch.setattr(simulator, "WorkerPool", missing)
    out = tmp_path / "designs.json"
    run(monkeypatch, "gradient", "--budget", 300, "--starts", 4, "--no-log", "--out", out)
    printed = capsys.readouterr()
    assert "not verified, a prediction only: no ngspice was found" in printed.err
    assert "1 sizing answered by surrogate" in printed.out
    written = json.loads(out.read_text())
    assert [design["backend"] for design in written["designs"]] == ["surrogate"]
    assert written["history"]["simulations"] == []
    with pytest.raises(SystemExit, match="no ngspice was found"):
        run(monkeypatch, "cma_es", "--no-log")


@pytest.mark.ngspice
def test_a_dropped_spec_stays_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    specs, out = tmp_path / "mine.yaml", tmp_path / "designs.json"
    specs.write_text("title: mine\ncircuit: nmcf\ntargets: {power: 60e-6, tc: null}\n")
    run(monkeypatch, "gradient", "--specs", specs, "--budget", 400, "--spice-budget", 1, "--no-log", "--out", out)
    assert json.loads(out.read_text())["targets"].keys() == nmcf().targets.keys() - {"tc"}
    assert "< 1 ppm/K" not in capsys.readouterr().out


@pytest.mark.ngspice
def test_an_interrupted_search_prints_the_best_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: RandomSearch, positions: np.ndarray, values: np.ndarray) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RandomSearch, "tell", interrupted)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "random_search", "--no-log")
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
        with pytest.raises(SystemExit, match=message):
            run(monkeypatch, "cma_es", *arguments)
