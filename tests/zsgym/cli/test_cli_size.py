"""`zsgym size`: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zsgym.conftest import Run
from tests.zsgym.sizing.test_size import FIVE
from zsgym.base.errors import SimulatorMissingError
from zsgym.circuits import load_circuit
from zsgym.simulators.ngspice import simulator
from zsgym.sizing import comparison
from zsgym.sizing.optimisers.cma_es import CmaEs
from zsgym.sizing.tradeoff import Tradeoff

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def specs_in(table: str) -> dict[str, str]:
    """Metric -> target of a printed table."""
    rows = [line.split("  ") for line in table.splitlines() if line.rstrip().endswith(("yes", "no", "-"))]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return {row[0]: row[2] for row in cells if len(row) == 5 and row[2].strip("-")}


@pytest.mark.ngspice
def test_a_stranger_s_circuit_is_sized_and_everything_agrees_about_the_targets(run: Run, folder: Path) -> None:
    asked = ("--target", "gbw=3meg", "--target", "cmrr=none")
    code, printed, err = run("size", FIVE, "--seed", 2, "--budget", 300, *asked, "--netlist", "five.spice")
    assert code == 0
    assert "verified in ngspice: the surrogate was trained on nmcf, nmcnr, not on five" in err
    assert printed.startswith("five: every spec is met in ngspice (")
    assert "\nmultipliers of the netlist: M0 x2 of M_tail\n" in printed
    place = Path("runs") / "size" / "five"
    assert printed.splitlines()[-3:] == [
        f"designs: {place / 'designs.json'}", f"report:  {place / 'report.html'}", "netlist: five.spice"
    ]  # fmt: skip
    assert ".subckt five" in (folder / "five.spice").read_text()
    targets = json.loads((place / "designs.json").read_text())["targets"]
    assert targets["gbw"] == 3e6
    assert "cmrr" not in targets
    assert specs_in(printed).keys() == targets.keys()
    page = (place / "report.html").read_text()
    assert "Works and meets all 5 specs" in page
    data = page.split('id="design">')[1].split("</script>")[0]
    assert json.loads(data)["targets"] == targets
    code, again, _ = run("simulate", FIVE, "--sizing", place / "designs.json")
    assert code == 0
    assert specs_in(again) == specs_in(printed)
    code, reported, _ = run("report", FIVE, "--designs", place / "designs.json", "--out", "r.html", "--json")
    assert code == 0
    assert json.loads(reported)["targets"] == targets
    assert json.loads(reported)["meets_all_specs"]


@pytest.mark.ngspice
def test_exit_code_1_when_no_design_meets_the_specs(run: Run, folder: Path) -> None:
    code, printed, _ = run("size", FIVE, "--method", "cma-es", "--budget", 16, "--target", "dc_gain=120dB", "--no-log")
    assert code == 1
    assert printed.startswith("five: no design meets every spec: the best one misses dc_gain")
    assert specs_in(printed)["dc_gain"] == "> 120 dB"
    assert "to go on: a larger --budget" in printed
    assert "report:  " in printed
    place = folder / "runs" / "size" / "five"
    found = Tradeoff.read(json.loads((place / "designs.json").read_text())["tradeoff"], "designs.json")
    told = found.in_words(load_circuit(FIVE).metrics)
    assert "dc_gain" in " ".join(told)
    assert all(line in printed for line in told), "what the file says is printed"
    assert found.front is not None
    assert "dc_gain" in found.front.metrics
    page = (place / "report.html").read_text()
    assert "<h2>Trade-off</h2>" in page
    assert "surrogate" not in page.split("<script")[0], "no model covers it"
    code, _, _ = run("report", FIVE, "--designs", place / "designs.json", "--out", "again.html")
    assert code == 0
    assert "<h2>Trade-off</h2>" in (folder / "again.html").read_text()


@pytest.mark.ngspice
def test_a_circuit_is_sized_under_other_conditions(run: Run, folder: Path) -> None:
    asked = ("--corner", "ss", "--load", "20e-12", "--target", "gbw=1meg", "--target", "slew_rate=none")
    code, printed, err = run("size", FIVE, *asked, "--budget", 40, "--no-log", "--pareto", "power", "gbw")
    assert code in (0, 1), "so few simulations need not find any"
    assert "the front is drawn by a sequence of searches" in err
    written = json.loads((folder / "runs" / "size" / "five" / "designs.json").read_text())
    assert (written["conditions"]["corner"], written["conditions"]["load"]) == ("ss", 20e-12)
    assert written["simulations"] == 40
    assert "corner ss" in (folder / "runs" / "size" / "five" / "report.html").read_text()
    code, again, _ = run("simulate", FIVE, "--sizing", "runs/size/five/designs.json")
    assert code == 0
    assert again.splitlines()[2:] == [line for line in printed.splitlines() if line in again.splitlines()[2:]], (
        "simulated again under the conditions in the file, without being told"
    )


@pytest.mark.ngspice
def test_which_circuit_of_a_class(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "list_circuits", lambda directories: ["five", "nmcf", "nmcnr"])  # not twenty
    asked = ("--target", "gbw=1.5meg", "--target", "power=400u", "--target", "dc_gain=90")
    code, printed, err = run("size", "amplifier", *asked, "--circuits-dir", FIVE, "--budget", 45, "--seed", 3)
    assert code == 0
    assert "zsgym: amplifier: 3 circuits, all at corner tt, 1.8 V, 27 °C, load 10 pF" in err
    assert "zsgym: five is left out: the best dc_gain known of it is 40 dB, and 90 dB is asked for" in err
    assert "left out: five: " in printed
    written = json.loads((folder / "runs" / "size" / "amplifier" / "designs.json").read_text())
    ranking = written["comparison"]["ranking"]
    assert {"nmcf", "nmcnr"} <= {row["circuit"] for row in ranking}
    assert [row["met"] for row in ranking] == sorted((row["met"] for row in ranking), reverse=True)
    assert ranking[0]["met"]
    assert sum(row["simulations"] for row in ranking) <= 45
    assert written["circuit"] == ranking[0]["circuit"]
    assert written["designs"][0]["sizing"] == ranking[0]["best"]["sizing"]
    page = (folder / "runs" / "size" / "amplifier" / "report.html").read_text()
    assert "<h2>Which circuit</h2>" in page
    assert "Left out" in page
    code, again, _ = run("simulate", ranking[0]["circuit"], "--sizing", "runs/size/amplifier/designs.json")
    assert code == 0
    gbw = f"{ranking[0]['best']['metrics']['gbw'] / 1e6:.4g} MHz"
    assert gbw in again
    assert gbw in printed, "the same design, under the same conditions"


@pytest.mark.ngspice
def test_ctrl_c_prints_and_writes_the_best_so_far(run: Run, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def interrupted(self: CmaEs, positions: np.ndarray, values: np.ndarray) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CmaEs, "tell", interrupted)
    code, printed, err = run("size", FIVE, "--target", "dc_gain=120", "--no-log", "--out", "mine.json")
    assert code == 130
    assert "zsgym: interrupted; the best design so far:" in err
    assert "solved sizings, 1 simulation in ngspice" in printed
    assert "designs: mine.json" in printed
    assert json.loads((folder / "mine.json").read_text())["simulations"] == 1


@pytest.mark.ngspice
def test_the_result_as_json(run: Run) -> None:
    code, printed, _ = run("size", FIVE, "--method", "cma-es", "--budget", 5, "--target", "dc_gain=120", "--json")
    result = json.loads(printed)
    assert code == 1
    assert (result["circuit"], result["method"], result["met"], result["verified"]) == ("five", "cma-es", False, True)
    assert result["simulations"] == 5
    assert "dc_gain" in result["missed"]
    assert result["best"]["sizing"].keys() >= {"W_pair", "bias_current"}
    assert result["files"] == {"designs": "runs/size/five/designs.json", "report": "runs/size/five/report.html"}


class TestWithoutNgspice:
    """A prediction where there is a model, and a message where there is none."""

    @pytest.fixture(autouse=True)
    def no_ngspice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object, **__: object) -> None:
            raise SimulatorMissingError("no ngspice was found; apt-get install ngspice")

        monkeypatch.setattr(simulator, "WorkerPool", missing)

    def test_a_prediction_says_that_it_is_one(self, run: Run, folder: Path) -> None:
        code, printed, err = run("size", "nmcf", "--no-log")
        assert code == 3
        assert "zsgym: not verified, a prediction only: no ngspice was found" in err
        assert printed.startswith("nmcf: not verified, a prediction only: the best proposal ")
        assert "not verified" in (folder / "runs" / "size" / "nmcf" / "report.html").read_text()
        (design,) = json.loads((folder / "runs" / "size" / "nmcf" / "designs.json").read_text())["designs"]
        assert design["backend"] == "surrogate"

    def test_an_unknown_circuit_is_solved(self, run: Run, folder: Path) -> None:
        code, printed, err = run("size", FIVE, "--no-log")
        assert code == 3
        assert "zsgym: not verified, a prediction only: no ngspice was found" in err
        assert printed.startswith("five: not verified, a prediction only: the best proposal meets every spec")
        (design,) = json.loads((folder / "runs" / "size" / "five" / "designs.json").read_text())["designs"]
        assert design["backend"] == "physics"

    def test_a_search_in_ngspice_needs_ngspice(self, run: Run) -> None:
        code, printed, err = run("size", FIVE, "--method", "cma-es")
        assert (code, printed) == (3, "")
        assert err.splitlines()[-1] == "zsgym: error: no ngspice was found; apt-get install ngspice"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nmfc",), "unknown circuit 'nmfc'"),
        (("nmcf", "--method", "cma_es"), "Did you mean 'cma-es'?"),
        ((FIVE, "--method", "gradient"), "what it says of five is a guess. Use the method physics (or auto)"),
        (("nmcf", "--method", "random", "--checkpoint", "x.safetensors"), "uses no model"),
        (("nmcf", "--checkpoint", "x.safetensors"), "there is no checkpoint x.safetensors"),
        (("nmcf", "--seed", "-1"), "a seed is a number from 0"),
        (("nmcf", "--budget", "0"), "must be at least 1"),
        (("nmcf", "--target", "gbw=2M"), "M is milli in SPICE"),
        (("nmcf", "--target", "gbw=none,power"), "a number in Hz is needed"),
        (("nmcf", "--specs", "nmcf-hrd"), "Did you mean 'nmcf-hard'?"),
        (("nmcf", "--out", "."), "it is a folder"),
        (("nmcf", "--pareto", "power", "power"), "a front needs two different metrics"),
        (("nmcf", "--pareto", "power", "gwb"), "Did you mean 'gbw'?"),
        (("nmcf", "--pareto", "power", "gbw", "--method", "gradient"), "a front is searched in ngspice"),
        (("nmcf", "--supply", "9"), "conditions.supply: must lie between 0.5 and 5 V"),
        (("amplifier",), "name at least one --target METRIC=VALUE, or --specs"),
        (("amplifier", "--target", "gbw=none"), "name at least one --target METRIC=VALUE, or --specs"),
        (("amplifier", "--target", "gwb=1"), "Did you mean 'gbw'?"),
        (("amplifier", "--target", "gbw=1meg", "--pareto", "power", "gbw"), "--pareto is about one circuit"),
        (("amplifier", "--target", "gbw=1meg", "--method", "random"), "leave --method out"),
        (("amplifier", "--target", "gbw=1meg", "--corner", "xx"), "conditions.corner"),
    ],
)
def test_mistakes_are_named(run: Run, arguments: tuple[Any, ...], message: str) -> None:
    code, printed, err = run("size", *arguments)
    assert (code, printed) == (2, "")
    assert message in err


def test_the_help_says_how_targets_and_exit_codes_are_read(run: Run) -> None:
    told = " ".join(run("size", "--help")[1].split())
    assert "m is milli and meg is mega" in told
    assert "exit codes: 0 a design meets every spec in ngspice, 1 none does" in told
