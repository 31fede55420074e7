"""One amplifier in the disguises of people's netlists: ngspice answers all of them, and alike."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from surrogate.graph import pin_graph
from tests.zsgym.netlist.people import (
    DEVICES,
    ENDS,
    HEADER,
    MIRROR,
    NFET,
    OTA,
    PFET,
    XSCHEM,
    load,
    simulate,
    with_lines,
)
from zsgym.report.testbench import _runs_as_it_stands

Metrics = Mapping[str, float]
INNER = f".subckt mirror a b\nX1 a a {{0}} {{0}} {NFET} W=3 L=0.6 M=3\nX2 b a {{0}} {{0}} {NFET} W=3 L=0.6 M=3\n.ends\n"
NESTED = OTA.replace(MIRROR, "xm x1 x2 mirror\n")
EXPORT = f"**.subckt ota VSS VDD INN INP OUT\n*.iopin VSS\n{DEVICES}**.ends\n.GLOBAL GND\n.end\n"
DUMMIES = (
    f"XD1 vdd vdd vdd vdd {PFET} W=6 L=0.6 M=2",
    f"XD2 vss vss vss vss {NFET} W=3 L=0.6 M=2",
    f"XD3 vdd vss vdd vdd {PFET} W=10 L=2 M=4",  # a capacitor across the supply
    f"XD4 vdd vss vss vss {NFET} W=3 L=0.6",  # switched off
)

ALIKE = {
    "dummies": with_lines(*DUMMIES),
    "dummies in a subcircuit": with_lines("Xd vdd vss dummies")
    + f".subckt dummies a b\nX1 a a a a {PFET} W=6 L=0.6\nX2 b b b b {NFET} W=3 L=0.6\n.ends\n",
    "ground": HEADER + DEVICES.replace(" vss", " 0") + ENDS,
    "gnd": HEADER + DEVICES.replace(" vss", " GND") + ENDS,
    "gnd at depth": HEADER + NESTED.removeprefix(HEADER).replace(" vss", " Gnd") + INNER.format("GND"),
    "global": NESTED + INNER.format("vss") + ".GLOBAL VSS\n",
    "numeric nets": OTA.replace(" pb", " 1").replace(" cs", " 2").replace(" x1", " 3").replace(" z", " 00"),
    "nets of ngspice's": OTA.replace(" pb", " time").replace(" cs", " all").replace(" x1", " frequency"),
    "devices of the testbench's": with_lines("Vvdd q 0 0.3", "Rload q 0 1meg").replace("Cm", "Cload"),
    "encoding": ("* \N{MICRO SIGN}\r\n" + OTA.replace("\n", "\r\n")).encode("latin-1"),
    "exported": EXPORT,
    "behind the end": OTA + ".end\nV1 a 0 1\n",
    "mult": OTA.replace("M=8\nXP3", "m=8 mult=8\nXP3"),
    "a deck around it": OTA.replace("Cm", ".save all\nCm") + ".options reltol=1e-9\n.temp 85\n.control\nrun\n.endc\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    metrics = simulate(load(tmp_path_factory.mktemp("base"), OTA)).metrics
    assert metrics is not None
    return metrics


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ALIKE)
def test_disguises_of_the_same_amplifier(tmp_path: Path, base: Metrics, name: str) -> None:
    outcome = simulate(load(tmp_path, ALIKE[name]))
    assert outcome.success, (outcome.failure, outcome.raw)
    assert outcome.metrics == pytest.approx(base, rel=1e-6)


@pytest.mark.ngspice
def test_ground_beside_a_vss_differs_in_the_rejection_of_vss_only(tmp_path: Path, base: Metrics) -> None:
    """SPICE's meaning of two nets: what is on ground does not move when the testbench moves vss."""
    metrics = simulate(load(tmp_path, NESTED + INNER.format("0"))).metrics
    assert metrics is not None
    others = [name for name in base if name != "psrr_n"]
    assert [metrics[name] for name in others] == pytest.approx([base[name] for name in others], rel=1e-5)
    assert abs(metrics["psrr_n"] - base["psrr_n"]) > 1.0


@pytest.mark.ngspice
@pytest.mark.parametrize(
    "lines",
    [
        ("Vb vb 0 0.9", f"XQ pb vb vss vss {NFET} W=1 L=1"),
        ("Vb vb gnd dc 0.9 ac 0", f"XQ pb vb vss vss {NFET} W=1 L=1", "Vc pc pb 0", "Ic pc 0 1u"),
        (f"XC out x2 out vss {NFET} W=5 L=5",),
        ("XC x2 out sky130_fd_pr__cap_mim_m3_1 W=10 L=10 MF=1 m=1",),
        ("Lb q x2 1n", "Rq q vss 10meg"),
        (f"XQ x1 cs cs vdd {PFET} W=12 L=0.4 M=2",),
        ("Rq x2 q 0", "Cq q vss 10f"),
    ],
    ids=["bias source", "sources in series", "gate capacitor", "mim", "inductor", "gate on its source", "zero ohm"],
)
def test_other_devices_are_answered(tmp_path: Path, base: Metrics, lines: tuple[str, ...]) -> None:
    outcome = simulate(load(tmp_path, with_lines(*lines)))
    assert outcome.success, (outcome.failure, outcome.raw)
    assert outcome.metrics is not None
    assert outcome.metrics["dc_gain"] == pytest.approx(base["dc_gain"], rel=0.05)


@pytest.mark.ngspice
def test_an_export_of_xschem_runs_once_its_ports_are_named(tmp_path: Path, base: Metrics) -> None:
    """With the lines that it writes by default, a MIM capacitor, and a bias through a symbol of ground."""
    netlist = EXPORT.replace("VSS VDD INN INP OUT", "VGND VPWR MINUS PLUS VOUT")
    for port, name in (("vss", "GND"), ("vdd", "VPWR"), ("inn", "MINUS"), ("inp", "PLUS"), ("out", "VOUT")):
        netlist = netlist.replace(f" {port}", f" {name}")
    for model in (NFET, PFET):
        netlist = netlist.replace(f"{model} ", f"{model} nf=1 {XSCHEM} sa=0 sb=0 sd=0 mult=1 ")
    netlist = netlist.replace("**.ends", "XC9 VOUT x2 sky130_fd_pr__cap_mim_m3_1 W=10 L=10 MF=1 m=1\n**.ends")
    ports = {"vss": "VGND", "vdd": "VPWR", "inn": "MINUS", "inp": "PLUS", "out": "VOUT"}
    outcome = simulate(load(tmp_path, netlist, ports=ports))
    assert outcome.success, (outcome.failure, outcome.raw)
    assert outcome.metrics is not None
    for name, tolerance in (("dc_gain", 0.01), ("psrr_n", 0.05), ("power", 0.01), ("gbw", 0.2)):
        assert outcome.metrics[name] == pytest.approx(base[name], rel=tolerance)


@pytest.mark.ngspice
def test_a_load_may_have_any_name(tmp_path: Path, base: Metrics) -> None:
    found = [simulate(load(tmp_path, with_lines(f"{name} out vss 30p"))).metrics for name in ("Cload", "Cl9")]
    assert found[0] == found[1]
    assert found[0] is not None
    assert found[0]["gbw"] < 0.8 * base["gbw"]


def test_sources_and_mim_capacitors_are_known_to_the_graph_of_the_surrogate(tmp_path: Path) -> None:
    lines = ("Vb vb 0 0.9", "Rb vb pb 1meg", "XC x2 out sky130_fd_pr__cap_mim_m3_1 W=10 L=10", *DUMMIES)
    graph = pin_graph(load(tmp_path, with_lines(*lines)))
    assert {data["device"] for _, data in graph.nodes(data=True)} >= {"vsource", "capacitor", "resistor"}


@pytest.mark.parametrize(
    ("netlist", "keys", "as_it_stands"),
    [
        (OTA, {}, True),
        ("* a comment\n\n" + OTA, {}, True),
        (OTA.replace("W=6", "ad='W*0.29' W=6"), {}, True),
        (OTA + ".end\n", {}, False),  # would end the report's deck
        ("a title\n" + OTA, {}, False),
        (EXPORT, {}, False),
        (OTA + ".global vdd\n", {}, False),
        (OTA.replace("12u", "12\N{MICRO SIGN}"), {}, False),
        (HEADER + DEVICES.replace(" vss", " 0") + ENDS, {}, False),  # the deck moves vss
        (OTA.replace("vdd", "vcc"), {"ports": {"vdd": "vcc"}}, False),
        (OTA.replace("out\n", "out cc=1p\n", 1), {}, False),  # the default would hide the sizing
        (OTA.replace("XP1", "M1"), {}, False),  # the library has subcircuits
        (with_lines("XC x2 out sky130_fd_pr__cap_mim_m3_1 W=10 L=10"), {}, False),
    ],
)
def test_which_texts_a_report_takes_over(
    tmp_path: Path, netlist: str, keys: dict[str, dict[str, str]], as_it_stands: bool
) -> None:
    assert _runs_as_it_stands(load(tmp_path, netlist, **keys)) is as_it_stands
