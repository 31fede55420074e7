"""The page: self-contained, well-formed, and true to the evidence."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.zsgym.netlist.people import NFET, PFET
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Failure
from zsgym.report import Evidence, Request, render_page, verdict
from zsgym.report.devices import multipliers_of_the_netlist, operating_point_table, sizing_table
from zsgym.simulators.outcome import Outcome, Status

METRICS = {
    "tc": 5e-7,
    "power": 1.5e-4,
    "vos": -1e-6,
    "cmrr": 100.0,
    "dc_gain": 140.0,
    "gbw": 2.5e6,
    "phase_margin": 70.0,
    "psrr_p": 105.0,
    "psrr_n": 102.0,
    "slew_rate": 5e5,
    "settling_time": 4e-6,
}
"""Meets every target of NMCF."""
RAW = {"converged": 1.0, "output_error": 1e-6, "min_device_current": 1e-7, "unity_crossings": 1.0, "gbw": 2.5e6}


@pytest.fixture(scope="module")
def nmcf() -> Circuit:
    return load_circuit("nmcf")


@pytest.fixture
def evidence(nmcf: Circuit) -> Evidence:
    """A working design, with a prediction whose interval misses the power."""
    intervals = {name: (value - abs(value), value + abs(value)) for name, value in METRICS.items()}
    prediction = Outcome(
        Status.SUCCESS,
        metrics={**METRICS, "power": 3e-4},
        p_valid=0.97,
        uncertainty={**intervals, "power": (2.5e-4, 3.5e-4)},
        in_distribution=True,
    )
    truth = Outcome(Status.SUCCESS, metrics=METRICS, raw=RAW, backend="ngspice")
    request = Request.of(nmcf, nmcf.known_good["robust"])
    return Evidence(request, truth, prediction, provenance={"zsgym": "1.2.3", "command": "zsgym report <nmcf>"})


class Page(HTMLParser):
    """Checks that elements are closed in order; collects attributes that would load something, and the text."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [(tag, str(value)) for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [(tag, str(value)) for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def test_the_page_is_well_formed_and_loads_nothing(evidence: Evidence) -> None:
    page = render_page(evidence, "* a netlist <with> & everything", {"reward": (np.arange(3.0), np.arange(3.0))})
    read = Page(page)
    assert read.open == []
    assert read.loads == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "* a netlist <with> & everything" in read.text
    assert "zsgym report <nmcf>" in read.text
    assert "reward" in read.text


def test_the_page_holds_the_evidence_as_data(evidence: Evidence) -> None:
    spiteful = replace(evidence, notes=("</script><script>alert(1)</script>",))
    page = render_page(spiteful)
    data = re.search(r'<script type="application/json" id="design">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1]) == json.loads(json.dumps(spiteful.as_dict()))
    assert page.count("<script") == 1


def test_values_targets_margins_and_predictions_are_printed(evidence: Evidence) -> None:
    text = Page(render_page(evidence)).text
    for expected in ("150 µW", "≤ 200 µW", "+0.143", "300 µW", "250 µW … 350 µW", "2.5 MHz", "≥ 1 MHz", "0.970"):
        assert expected in text
    assert "10 of its 11 intervals hold the simulated value" in text
    assert evidence.covered("power") is False
    assert evidence.covered("gbw") is True


@pytest.mark.parametrize(
    ("metrics", "kind", "sentence"),
    [
        (METRICS, "good", "Works and meets all 11 specs"),
        (METRICS | {"power": 3e-4, "gbw": 5e5}, "fair", "Works and meets 9 of 11 specs"),
    ],
)
def test_verdicts_of_working_designs(evidence: Evidence, metrics: dict[str, float], kind: str, sentence: str) -> None:
    judged = replace(evidence, truth=replace(evidence.truth, metrics=metrics))
    assert verdict(judged) == (kind, sentence)
    assert judged.meets_all == (kind == "good")
    assert sentence in Page(render_page(judged)).text


def test_one_spec_is_no_plural(evidence: Evidence) -> None:
    for power, sentence in ((2e-4, "Works and meets its one spec"), (1e-4, "Works and meets 0 of 1 spec")):
        request = replace(evidence.request, targets={"power": power})
        assert verdict(replace(evidence, request=request))[1] == sentence


def test_a_failure_says_why_and_shows_the_checks(evidence: Evidence) -> None:
    raw = RAW | {"max_pole_real": 1e5, "dc_phase": -7.0}
    truth = Outcome(Status.CIRCUIT_FAILURE, Failure.UNSTABLE, raw=raw, backend="ngspice")
    failed = replace(evidence, truth=truth)
    text = Page(render_page(failed)).text
    assert verdict(failed) == ("bad", "Does not work: unstable")
    assert "A sizing that does not work has no metrics" in text
    assert "100 krad/s" in text
    assert "not reached" in text, "nothing is said about a step response that was not simulated"
    assert failed.as_dict()["metrics"] is None
    assert failed.covered("power") is None


def test_without_ngspice_everything_is_marked_as_a_prediction(evidence: Evidence) -> None:
    predicted = replace(evidence, truth=None, notes=("Not verified: no ngspice",))
    text = Page(render_page(predicted)).text
    assert verdict(predicted) == ("unknown", "Predicted to meet 10 of 11 specs; not verified")
    assert "Not verified: no ngspice" in text
    assert "300 µW" in text
    assert "150 µW" not in text
    assert not predicted.as_dict()["verified"]


def test_a_predicted_failure(evidence: Evidence) -> None:
    outcome = Outcome(Status.CIRCUIT_FAILURE, Failure.PREDICTED, p_valid=0.01)
    assert verdict(replace(evidence, truth=None, prediction=outcome)) == ("bad", "Predicted to fail")


def test_sizing_is_grouped_with_multipliers_and_marks_at_bounds(nmcf: Circuit) -> None:
    table = sizing_table(nmcf, nmcf.known_good["robust"])
    text = Page(table).text
    assert all(group in text for group in nmcf.groups)
    for expected in ("4.93 µm", "1.11 pF", "1.74 µA", "M23\N{NO-BREAK SPACE}×8", "M1, M2"):  # noqa: RUF001
        assert expected in text
    assert '<span class="edge" title="at the upper bound">100</span>' in table, "M of gmf2"
    assert '<span class="edge" title="at the lower bound">1</span>' in table, "M of bias_p"


def test_multipliers_that_the_netlist_fixes_are_told(tmp_path: Path) -> None:
    """Those beyond a sized multiplier, and those of a group whose M is not sized; not the M of another group."""
    (tmp_path / "amp.spice").write_text(
        f"""* fixed multipliers
.subckt amp vss vdd inn inp out
XM1 out inn vss vss {NFET} W={{W_in}} L={{L_in}} M={{M_in}}
XM2 out inp vss vss {NFET} W={{W_in}} L={{L_in}} M={{M_in*6}}
XM3 out out vdd vdd {PFET} W={{W_load}} L={{L_load}} M=4
XM4 out inp vdd vdd {PFET} W={{W_in}} L={{L_in}} M={{M_top}}
.ends
"""
    )
    bounds = {"bounds": [0.5, 8], "scale": "log"}
    content = {
        "title": "fixed multipliers",
        "class": "amplifier",
        "source": "test",
        "netlist": "amp.spice",
        "quantities": {"W": {"unit": "um", **bounds}, "L": {"unit": "um", **bounds}}
        | {"M": {"unit": "count", "bounds": [1, 50], "scale": "log"}},
        "groups": {
            "in": {"device": "transistor"},
            "load": {"device": "transistor", "sizes": ["W", "L"]},
            "top": {"device": "transistor", "sizes": ["M"]},
        },
        "targets": {"gbw": 1e6},
    }
    (tmp_path / "amp.yaml").write_text(yaml.safe_dump(content))
    circuit = load_circuit(tmp_path / "amp.yaml")
    sizing = dict.fromkeys(circuit.parameter_names, 3.0)
    text = Page(sizing_table(circuit, sizing)).text
    for expected in ("M2\N{NO-BREAK SPACE}×6", "M3\N{NO-BREAK SPACE}×4"):  # noqa: RUF001
        assert expected in text
    assert multipliers_of_the_netlist(circuit, sizing) == "M2 x6 of M_in, M3 x4"
    assert multipliers_of_the_netlist(load_circuit("ota5t"), load_circuit("ota5t").known_good["by_hand"]) == ""


def test_the_page_says_how_much_headroom_is_enough(evidence: Evidence) -> None:
    text = Page(render_page(evidence)).text
    assert "less than 50 mV to spare" not in text, "nothing is explained that is not there"
    point = {"id": 1e-6, "gm": 2e-5, "gds": 1e-7, "vgs": 0.6, "vds": 0.9, "vdsat": 0.1}
    biased = replace(evidence, truth=replace(evidence.truth, operating_points={"xm1": point}))
    assert "less than 50 mV to spare" in Page(render_page(biased)).text


def test_operating_points_name_the_region(nmcf: Circuit) -> None:
    point = {"id": 1e-6, "gm": 2e-5, "gds": 1e-7, "vgs": 0.6, "vds": 0.9, "vdsat": 0.1}
    points = {device.name: dict(point) for device in nmcf.devices if device.kind in ("nmos", "pmos")}
    points["xm21"]["vds"] = 0.05
    points["xm22"]["vds"] = 0.102
    points["xm23"] |= {"vds": 0.05, "vdsat": 0.0}
    points["xm5"] |= {"vds": -0.14, "vdsat": -0.1}
    points["xm9"] |= {"id": 0.0, "gds": 0.0}
    table = operating_point_table(nmcf, Outcome(Status.SUCCESS, operating_points=points))
    text = Page(table).text
    assert text.count("saturation") == len(points) - 1
    assert text.count("triode") == 1
    regions = dict(re.findall(r"<td[^>]*>(M\d+)</td><td[^>]*>[^<]*</td><td[^>]*>(<span.*?</span>)", table))
    assert len(regions) == len(points)
    assert regions["M21"] == '<span class="edge">triode</span>'
    assert regions["M22"] == regions["M5"] == '<span class="edge">edge of saturation</span>'
    assert text.count("edge of saturation") == 2
    assert regions["M1"] == regions["M23"] == '<span class="yes">saturation</span>'
    assert "20 /V" in text
    assert "200" in text
    assert operating_point_table(nmcf, Outcome(Status.SUCCESS)) == ""
