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
from zsgym.simulators.ngspice import simulator
from zsgym.sizing.optimisers.cma_es import CmaEs

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
def test_exit_code_1_when_no_design_meets_the_specs(run: Run) -> None:
    code, printed, _ = run("size", FIVE, "--method", "cma-es", "--budget", 16, "--target", "dc_gain=120dB", "--no-log")
    assert code == 1
    assert printed.startswith("five: no design meets every spec: the best one misses dc_gain")
    assert specs_in(printed)["dc_gain"] == "> 120 dB"
    assert "to go on: a larger --budget" in printed
    assert "report:  " in printed


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
