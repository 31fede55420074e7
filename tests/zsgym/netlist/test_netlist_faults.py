"""Faults of a netlist that no sizing mends are found when it is loaded; harmless oddities are not taken for faults."""

from pathlib import Path

import pytest

from tests.zsgym.netlist.people import HEADER, NFET, OTA, PFET, load, with_lines
from zsgym.base.errors import ConfigError
from zsgym.netlist import carries_no_current, find_faults, parse_netlist

LEAVE_OUT = "which voltage sources of the testbench join already: leave it out"
HELD = "holds 'inn' and 'out', which the circuit must drive: leave it out"
NO_PATH = "has no path for direct current"
Q = f"XQ out x1 vss vss {NFET}"


@pytest.mark.parametrize(
    ("lines", "number", "why"),
    [
        # sources in parallel with the testbench's own, or in loops
        ("Vs vss 0 0", 13, f"voltage source 'vs' joins 'vss' and ground, {LEAVE_OUT}"),
        ("Vs vdd gnd 1.8", 13, f"voltage source 'vs' joins 'vdd' and ground, {LEAVE_OUT}"),
        ("Vs vdd vss 1.8", 13, f"voltage source 'vs' joins 'vdd' and 'vss', {LEAVE_OUT}"),
        ("Vs inp 0 0.7", 13, f"voltage source 'vs' joins 'inp' and ground, {LEAVE_OUT}"),
        ("Vs out inn 0", 13, f"voltage source 'vs' joins 'out' and 'inn', {LEAVE_OUT}"),
        ("Ls vdd vss 1n", 13, f"inductor 'ls' joins 'vdd' and 'vss', {LEAVE_OUT}"),
        ("Rs vdd vss 0", 13, f"resistor of 0 ohm 'rs' joins 'vdd' and 'vss', {LEAVE_OUT}"),
        ("Va q vss 1\nVb q vdd -0.8", 14, "voltage source 'vb' closes a loop ... with 'va', the testbench's"),
        ("Va x1 q 0\nRq q z 1k\nVb x1 q 0", 15, "'vb' closes a loop ... with 'va': leave one of them out"),
        ("La x1 q 1n\nLb x1 q 1n\nRq q z 1k", 14, "inductor 'lb' closes a loop of voltage sources or inductors with"),
        ("Vs x1 x1 0", 13, "voltage source 'vs' has both ends on net 'x1'"),
        ("Ls x1 x1 1n", 13, "inductor 'ls' has both ends on net 'x1'"),
        ("Vs out 0 0.9", 13, f"voltage source 'vs' {HELD}"),
        ("Vs q inn 0\nRq q 0 1k\nLs q vss 1n", 15, f"inductor 'ls' {HELD}"),
        # nets whose voltage nothing sets
        (f"{Q} W=1 L=1\nXR out vb vss vss {NFET} W=1 L=1", 14, "net 'vb' is connected to nothing but the gate"),
        (f"XR out vb vss vss {NFET} W=1 L=1\nCb vb vss 1p", 13, f"net 'vb' {NO_PATH} (the gate of 'xr', 'cb')"),
        ("Ca x1 q 1p\nCb q out 1p", 13, f"net 'q' {NO_PATH} ('ca', 'cb'): nothing sets its voltage"),
        ("Ca x1 q 1p\nRq q r 1k\nCb r out 1p", 13, f"net 'q', 'r' {NO_PATH}"),
        ("Iq q 0 1u\nCq q 0 1p", 13, f"net 'q' {NO_PATH} ('iq', 'cq'): the current of 'iq' has nowhere to go"),
        ("Ia vdd q 1u\nIb q vss 2u", 13, "('ia', 'ib'): the current of 'ia' has nowhere to go"),
        (f"XR out x1 vss b {NFET} W=1 L=1\nXS out x1 vss b {NFET} W=1 L=1", 13, "net 'b' ... the bulk of 'xs'"),
        (f"XD q q q q {NFET} W=1 L=1", 13, f"net 'q' {NO_PATH} (the drain of 'xd', the gate of 'xd', "),
        # single connections
        ("Iq q 0 1u", 13, "net 'q' is connected to nothing but 'iq': a device that is not needed can be left out"),
        ("Cq x1 q 1p", 13, "net 'q' is connected to nothing but 'cq'"),
        ("Rq x1 q 1k", 13, "net 'q' is connected to nothing but 'rq'"),
        (f"XR q x1 vss vss {NFET} W=1 L=1", 13, "net 'q' is connected to nothing but the drain of 'xr'"),
        (f"XR out x11 vss vss {NFET} W=1 L=1", 13, "but the gate of 'xr': did you mean 'x1'? A device"),
        # sizes that are none
        (f"{Q} W=1u L=0.5u", 13, "W=1e-06 is in metres, but SKY130 takes plain micrometres: write W=1"),
        (f"{Q} W=2 L=150n", 13, "L=1.5e-07 is in metres, but SKY130 takes plain micrometres: write L=0.15"),
        (f"{Q} W=2 L=1 ad=0.58p ps=4.6u", 13, "AD=5.8e-13 is in square metres ... write AD=0.58"),
        (f"{Q} W=2 L=1 pd='2.3u*2'", 13, "PD= ... is in metres ... write PD=4.6"),
        (f"{Q} W=0.2 L=1", 13, "W=0.2 of 'xq' is outside the models, which cover 0.36 to 100 um"),
        (f"{Q} W=2 L=120", 13, "L=120 of 'xq' is outside the models, which cover 0.15 to 100 um"),
        (f"XQ out x1 vdd vdd {PFET} W=0.4 L=1", 13, "W=0.4 of 'xq' is outside the models, which cover 0.42 to 100 um"),
        (f"{Q} W=2 L=1 nf=10", 13, "10 fingers of 'xq' are 0.2 um wide each, since W is the width of all of them"),
        (f"{Q} W=2 L=1 nf=0", 13, "NF=0 of 'xq' is not a number of fingers"),
        (f"{Q} W=2 L=1 M=0", 13, "M=0 of 'xq' is not a number of devices"),
        (f"{Q} W={{cc*1e6}} L=1", 13, "W={cc*1000000} of 'xq' is below 1 nm for every sizing"),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, lines: str, number: int, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, with_lines(lines))
    told = [line for line in str(caught.value).splitlines() if line.startswith(f"{tmp_path / 'ota.spice'}:{number}: ")]
    parts = why.split(" ... ")
    assert any(all(part in line for part in parts) for line in told), str(caught.value)


@pytest.mark.parametrize(
    ("netlist", "why"),
    [
        (OTA.replace("XB x2 inp", "XB x2 inn"), "ota.spice:1: port 'inp' is connected to no device"),
        (
            OTA.replace(" out x2", " z x2").replace("out pb", "z pb").replace("Rz z out", "Rz z z"),
            "ota.spice:1: port 'out'",
        ),
        (
            HEADER + "R1 vdd out 1k\nR2 out vss 1k\nR3 inn inp 1k\nC1 out vss {cc}\n.ends\n",
            "no transistor of 'ota' can carry",
        ),
        (
            HEADER + f"R1 vdd inn 1k\nX1 out inp out vss {NFET} W=1 L=1\nC1 out vss {{cc}}\n.ends\n",
            "no transistor of 'ota'",
        ),
    ],
)
def test_faults_of_the_whole(tmp_path: Path, netlist: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, netlist)
    assert why in str(caught.value)


def test_all_faults_of_both_files_are_told(tmp_path: Path) -> None:
    good = {"d": {"description": "d", "supplies": [1.8], "sizing": {"cc": 1.0}}}
    lines = ("Vs vss 0 0", "Cq x1 q 1p", f"{Q} W=1u L=1", "Rq x1 out {nothing}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, with_lines(*lines), known_good=good)
    told = [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]
    assert [line.split(": ")[0] for line in told] == ["ota.yaml", "ota.yaml", *(f"ota.spice:{n}" for n in (13, 14, 15))]


@pytest.mark.parametrize(
    "lines",
    [
        "Vb q 0 0.9\nRq q vss 1meg",
        "Vb q 0 dc 0.9 ac 0\nVc r q -0.1\nRq r vss 1meg",  # stacked
        "Va x1 q 0\nRq q vss 1meg",  # an ammeter
        "Va out q 0\nRq q vss 1meg",
        "Rs x2 q 0\nRt x2 q 0\nCq q vss 1f",  # ngspice makes a milliohm of 0 ohm: no loop
        "La x2 q 1n\nRq q vss 1meg",
        "Rq x1 x1 1k\nCq x1 x1 1p",  # both ends on one net: nothing flows
        "Iq vdd vss 1u",
        f"XD out vss x1 vss {NFET} W=1 L=1",
        f"XQ q x1 vss vss {NFET} W=1 L=1\nXR q q vdd vdd {PFET} W=1 L=1",
        f"XQ out x1 vss vss {NFET} W=2 L=1 nf=2",
        "Rq x1 r 1meg\nCq r q 1p\nRr q vss 1meg",
    ],
)
def test_what_is_not_a_fault(tmp_path: Path, lines: str) -> None:
    load(tmp_path, with_lines(lines))


def test_rules_know_nothing_of_amplifiers() -> None:
    """A divider between two supplies of its own, with an output that must not be held."""
    text = ".subckt divider in out\nR1 in out 1k\nX1 out in 0 0 sky130_fd_pr__nfet_01v8 W=1 L=1\n{}\n.ends\n"
    sources, low, high = [("in", "0")], ("0",), ("in",)

    def faults(line: str) -> list[str]:
        return find_faults(parse_netlist(text.format(line), "f")["divider"], sources, low, high)

    assert faults("C1 out 0 1p") == []
    gate = text.format("X2 in g 0 0 sky130_fd_pr__nfet_01v8 W=1 L=1\nC1 g 0 1p")
    netlist = parse_netlist(gate.replace("in out\n", "in out g\n"), "f")["divider"]
    assert [f.split(" (")[0] for f in find_faults(netlist, sources, low, high)] == [f"f:4: net 'g' {NO_PATH}"]
    assert find_faults(netlist, sources, low, high, resistors=[("g", "in")]) == []
    assert faults("V1 out 0 1") == ["f:4: voltage source 'v1' holds 'out', which the circuit must drive: leave it out"]
    assert faults("V1 in 0 1") == [f"f:4: voltage source 'v1' joins 'in' and ground, {LEAVE_OUT}"]


IDLE = ["q q q q", "vss x1 vss vss", "0 x1 vss vss", "x1 vss q vss", "q 0 x1 0", "out x2 out vss", "x1 q q vss"]
BUSY = ["out x2 vss vss", "x1 x1 vss vss", "q vdd vss vss", "vdd x1 vss vss", "q vb x1 q"]


@pytest.mark.parametrize(("nets", "idle"), [*((nets, True) for nets in IDLE), *((nets, False) for nets in BUSY)])
@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_transistors_that_carry_no_current(nets: str, idle: bool, kind: str) -> None:
    """The same for both kinds, with the rails exchanged."""
    if kind == "pmos":
        nets = " ".join({"vss": "vdd", "0": "vdd", "vdd": "vss"}.get(net, net) for net in nets.split())
    device = parse_netlist(f".subckt s a\nM1 {nets} {kind} W=1 L=1\n.ends")["s"].devices[0]
    assert carries_no_current(device, low=("vss", "0"), high=("vdd",)) is idle


def test_only_transistors_are_idle(tmp_path: Path) -> None:
    dummies = (
        f"XD1 vdd vdd vdd vdd {PFET} W=5 L=1",
        f"XD2 x1 vss vss vss {NFET} W=5 L=1",
        "RD vss vss 1k",
        "CD out out 1p",
    )
    circuit = load(tmp_path, with_lines(*dummies))
    assert circuit.circuit_class.idle_devices(circuit.subcircuit) == {"xd1", "xd2"}
