"""A two-stage amplifier for tests that disguise it as people's netlists do, and its circuit file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from zsgym.circuits import Circuit, load_circuit
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome

PFET, NFET = "sky130_fd_pr__pfet_01v8", "sky130_fd_pr__nfet_01v8"
HEADER = ".subckt ota vss vdd inn inp out\n"
MIRROR = f"XN1 x1 x1 vss vss {NFET} W=3 L=0.6 M=3\nXN2 x2 x1 vss vss {NFET} W=3 L=0.6 M=3\n"
DEVICES = (
    f"""Iref pb vss 12u
XP1 pb pb vdd vdd {PFET} W=6 L=0.6 M=4
XP2 cs pb vdd vdd {PFET} W=6 L=0.6 M=8
XP3 out pb vdd vdd {PFET} W=6 L=0.6 M=32
XA x1 inn cs cs {PFET} W=12 L=0.4 M=8
XB x2 inp cs cs {PFET} W=12 L=0.4 M=8
"""
    + MIRROR
    + f"""XN3 out x2 vss vss {NFET} W=3 L=0.6 M=24
Cm x2 z {{cc}}
Rz z out 1.2k
"""
)
ENDS = ".ends\n"
OTA = HEADER + DEVICES + ENDS
SIZING = {"cc": 2e-12}
XSCHEM = (
    "ad='int((nf+1)/2) * W/nf * 0.29' as='int((nf+2)/2) * W/nf * 0.29' pd='2*int((nf+1)/2) * (W/nf + 0.29)'\n"
    "+ ps='2*int((nf+2)/2) * (W/nf + 0.29)' nrd='0.29 / W' nrs='0.29 / W'"
)
"""What xschem's transistor symbols write behind W, L and nf, as a continued line."""

CONTENT: dict[str, Any] = {
    "title": "two-stage amplifier",
    "class": "amplifier",
    "source": "tests",
    "netlist": "ota.spice",
    "quantities": {"capacitance": {"unit": "F", "bounds": [0.1e-12, 20e-12], "scale": "log"}},
    "groups": {"cc": {"device": "capacitor"}},
    "conditions": {"corner": "tt", "supply": 1.8, "temperature": 27, "load": 10e-12, "common_mode_ratio": 0.4},
    "targets": {"dc_gain": 60},
    "verdict": {"functional": {"judge": "functional"}},
}


def with_lines(*lines: str) -> str:
    """The amplifier with more devices; the first of them stands in line 13."""
    return HEADER + DEVICES + "\n".join(lines) + "\n" + ENDS


def write(folder: Path, netlist: str | bytes, **keys: Any) -> Path:
    """A circuit file of the amplifier with this netlist, and with further keys."""
    data = netlist if isinstance(netlist, bytes) else netlist.encode()
    (folder / "ota.spice").write_bytes(data)
    path = folder / "ota.yaml"
    path.write_text(yaml.safe_dump({**CONTENT, **keys}, sort_keys=False))
    return path


def load(folder: Path, netlist: str | bytes, **keys: Any) -> Circuit:
    """The circuit of `write`."""
    return load_circuit(write(folder, netlist, **keys))


def simulate(circuit: Circuit, sizing: Mapping[str, float] = SIZING) -> Outcome:
    """What ngspice says about one sizing."""
    with NgspiceSimulator(circuit) as simulator:
        (outcome,) = simulator.simulate(circuit.cases([sizing]))
    return outcome
