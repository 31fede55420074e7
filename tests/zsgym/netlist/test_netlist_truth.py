"""What is read equals what plain ngspice makes of the same lines with SKY130's own, complete library."""

import math
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.zsgym.netlist.people import NFET, OTA, PFET, SIZING, XSCHEM, load, simulate, with_lines
from zsgym import pdk
from zsgym.netlist import parse_netlist
from zsgym.netlist.passives import CAPACITORS, resistance
from zsgym.netlist.subcircuit import ONE
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.ngspice.process import read_raw

pytestmark = pytest.mark.ngspice

# Kind, and what people write behind the model. `width` and `fingers` are parameters of the circuit.
TRANSISTORS = [
    ("nmos", f"L=0.5 W=5 nf=1 {XSCHEM} sa=0 sb=0 sd=0 mult=1 m=1"),
    ("nmos", f"L=0.5 W=4 nf=2 {XSCHEM} mult=1 m=4"),
    ("nmos", "W=20 L=0.5 nf=4 ad=2.9 as=4.35 pd=10.58 ps=15.87"),
    ("nmos", "W=1.68 L=0.15 M=2 sa=0.4 sb=0.3 sd=0.28 nf=2"),
    ("nmos", "W=5 L=0.5 m=8 mult=8"),
    ("nmos", "W=5 L=0.5 mult=8"),
    ("nmos", f"W={{width}} L=1 nf={{fingers}} {XSCHEM}"),
    ("nmos", "l='w*0.1' w=5 ad='l*w'"),
    ("pmos", f"L=0.35 W=10 nf=2 {XSCHEM} sa=0 sb=0 sd=0 mult=1 m=2"),
    ("pmos", "W=7 L=1 M='2*2' as=2.1 ps=14.6 nrs=0.5 nrd=0.2"),
    ("pmos", "W=1 L=0.15 sa=0.3 sb=0.5"),
    ("pmos", "w=1e+06u l=150000u ad=2.9e+11p pd=2.58e+06u as=0.29 ps=2.58"),
    ("pmos", f"W='2*width' L=0.5 {XSCHEM}"),
]  # fmt: skip
PARAMETERS = {"width": 20.0, "fingers": 2.0}


def library(corner: str = "tt") -> str:
    return "\n".join(pdk.corner_includes(pdk.locate(), corner))


def ngspice(folder: Path, lines: list[str], control: list[str]) -> str:
    folder.mkdir(exist_ok=True)
    deck = [
        "* a test",
        *lines,
        ".control",
        "set filetype=binary",
        "set numdgt=12",
        *control,
        "quit",
        ".endc",
        ".end",
        "",
    ]
    (folder / "deck.cir").write_text("\n".join(deck))
    run = subprocess.run(
        ["ngspice", "-n", "-b", "deck.cir"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    return run.stdout + run.stderr


def currents(folder: Path, elements: list[str]) -> dict[str, complex]:
    """Into every gate, drain and bulk: at DC, and at 1 GHz with gates and drains stimulated."""
    sources = []
    for number, (kind, _) in enumerate(TRANSISTORS):
        sign = 1 if kind == "nmos" else -1
        sources += [f"vg{number} g{number} 0 dc {0.8 * sign} ac 1", f"vd{number} d{number} 0 dc {1.1 * sign} ac 0.7"]
        sources += [f"vb{number} b{number} 0 dc {-0.1 * sign} ac 0.2"]
    options = ".option reltol=1e-9 abstol=1e-18 vntol=1e-12"
    ngspice(folder, [options, *elements, *sources], ["op", "write op.raw all", "ac lin 1 1g 1g", "write ac.raw all"])
    return {
        f"{analysis} {name}": complex(values[0])
        for analysis in ("op", "ac")
        for name, values in read_raw(folder / f"{analysis}.raw").items()
        if re.fullmatch(r"v[gdb]\d+#branch", name) and abs(values[0]) > 1e-13
    }


def test_layout_parameters_act_as_in_the_complete_library(tmp_path: Path) -> None:
    """Currents at DC, and at 1 GHz, where the diffusions count."""
    models = {"nmos": NFET, "pmos": PFET}
    lines = [f"xm{n} d{n} g{n} 0 b{n} {models[kind]} {rest}" for n, (kind, rest) in enumerate(TRANSISTORS)]
    parameters = ".param " + " ".join(f"{name}={value!r}" for name, value in PARAMETERS.items())
    expected = currents(tmp_path / "library", [library(), parameters, *lines])

    # Every net is a port, so that the deck's names are those of the sources above.
    ports = " ".join(f"d{n} g{n} b{n}" for n in range(len(TRANSISTORS)))
    netlist = "\n".join([f".subckt many {ports}", *lines, ".ends"])
    measured = currents(tmp_path / "read", deck_lines(netlist, PARAMETERS))
    assert measured.keys() == expected.keys()
    assert len(measured) >= 4 * len(TRANSISTORS)
    for name, value in expected.items():
        number = int(re.findall(r"\d+", name)[0])
        assert measured[name] == pytest.approx(value, rel=1e-8), (name, TRANSISTORS[number])


def deck_lines(text: str, sizing: dict[str, float]) -> list[str]:
    """Lines of a deck for a flat netlist, which need not be an amplifier."""
    (subcircuit,) = parse_netlist(text).values()
    devices = [replace(device, values={"m": ONE, **device.values}) for device in subcircuit.devices]
    circuit: Any = SimpleNamespace(devices=devices, subcircuit=subcircuit)
    sized = size_netlist(circuit, sizing, pdk.load_corner("tt"))
    assert sized is not None
    return [*sized.elements, *sized.models]


@pytest.mark.parametrize("corner", ["tt", "ss", "fs"])
def test_mim_capacitors_equal_the_librarys(tmp_path: Path, corner: str) -> None:
    """Their admittance at 10 MHz and 1 GHz. The corner makes no difference, in the library either."""
    sizes = [
        ("sky130_fd_pr__cap_mim_m3_1", 10, 10, 1),
        ("sky130_fd_pr__cap_mim_m3_2", 3, 25, 4),
        ("sky130_fd_pr__cap_mim_m3_1", 1, 1, 1),
    ]
    lines, expected = [library(corner)], []
    for number, (model, width, length, count) in enumerate(sizes):
        lines += [f"v{number} a{number} 0 ac 1", f"x{number} a{number} 0 {model} w={width} l={length} m={count}"]
        values = {"w": float(width), "l": float(length)}
        capacitance, series = (device.values["value"].evaluate(values) for device in CAPACITORS[model].devices)
        expected.append([count / (series + 1 / (2j * math.pi * f * capacitance)) for f in (1e7, 1e9)])
    ngspice(tmp_path / corner, lines, ["ac dec 1 10meg 1g", "write ac.raw all"])
    found = read_raw(tmp_path / corner / "ac.raw")
    for number, admittance in enumerate(expected):
        measured = -found[f"v{number}#branch"][[0, -1]]
        assert measured == pytest.approx(admittance, rel=1e-6)


def test_resistances_that_messages_name_are_the_librarys(tmp_path: Path) -> None:
    fixed = [
        f"res_{kind}_po_{width}" for kind in ("high", "xhigh") for width in ("0p35", "0p69", "1p41", "2p85", "5p73")
    ]
    drawn = [
        "res_high_po",
        "res_xhigh_po",
        "res_generic_nd",
        "res_generic_pd",
        "res_generic_nd__hv",
        "res_generic_pd__hv",
    ]
    plain = [f"res_generic_{layer}" for layer in ("po", "l1", "m1", "m2", "m3", "m4", "m5", "nd", "pd", "nw")]
    cases = [
        (f"x{{}} a{{}} 0 0 sky130_fd_pr__{name} l={length}", name, None, length)
        for name in fixed
        for length in (1.0, 20.0)
    ]
    for form, names in (("x{{}} a{{}} 0 0 sky130_fd_pr__{}", drawn), ("r{{}} a{{}} 0 sky130_fd_pr__{}", plain)):
        for name in names:
            for width, length in ((1.0, 2.0), (0.5, 10.0), (2.0, 10.0)):
                cases.append((f"{form.format(name)} w={width} l={length}", name, width, length))
    lines = [library()]
    for number, (form, *_) in enumerate(cases):
        lines += [form.format(number, number), f"v{number} a{number} 0 1m"]
    ngspice(tmp_path / "r", lines, ["op", "write op.raw all"])
    found = read_raw(tmp_path / "r" / "op.raw")
    for number, (_, name, width, length) in enumerate(cases):
        measured = -1e-3 / float(found[f"v{number}#branch"][0].real)
        assert resistance(f"sky130_fd_pr__{name}", width, length) == pytest.approx(measured, rel=3e-3), (
            name,
            width,
            length,
        )


FINGERS = OTA.replace("W=3 L=0.6 M=24", "W=8 L=0.5 nf=FINGERS")


def test_fingers_that_the_model_card_refuses_are_a_matter_of_geometry(tmp_path: Path) -> None:
    """ngspice itself stops with a fatal error there, in the complete library, too: it is no infrastructure error."""
    outcome = simulate(load(tmp_path, FINGERS.replace("FINGERS", "8")))
    assert (outcome.label, outcome.failure) == (0, "geometry")
    assert simulate(load(tmp_path, FINGERS.replace("FINGERS", "1"))).failure != "geometry"


def test_an_operating_point_and_a_bandwidth_of_the_whole_amplifier(tmp_path: Path) -> None:
    """The amplifier as xschem writes its lines, in the same surroundings: read and flat, and plain with the library."""
    text = with_lines("XC1 x2 out sky130_fd_pr__cap_mim_m3_1 W=20 L=20 MF=1 m=2")
    text = text.replace(f"{PFET} ", f"{PFET} nf=2 {XSCHEM} ").replace(f"{NFET} ", f"{NFET} nf=1 {XSCHEM} ")
    circuit = load(tmp_path, text)
    sized = size_netlist(circuit, SIZING, pdk.load_corner("tt"))
    assert sized is not None
    bench = [
        "vdd vdd 0 1.8",
        "vss vss 0 0",
        "vinp inp 0 dc 0.72 ac 1",
        "vfb inn out 0",
        "cload out 0 10p",
        ".option reltol=1e-6 vntol=1e-9",
    ]
    control = ["op", "write op.raw v(out) i(vdd)", "ac dec 5 1meg 1g", "write ac.raw v(out)"]
    plain = [library(), f".param cc={SIZING['cc']!r}", text, "xa vss vdd inn inp out ota"]
    results = {}
    for name, lines in (("read", [*sized.elements, *sized.models]), ("library", plain)):
        ngspice(tmp_path / name, [*lines, *bench], control)
        results[name] = [read_raw(tmp_path / name / f"{raw}.raw") for raw in ("op", "ac")]
    for measured, expected in zip(results["read"], results["library"], strict=True):
        for vector in ("out", "vdd#branch") if "vdd#branch" in expected else ("out",):
            assert measured[vector] == pytest.approx(expected[vector], rel=2e-6), vector
