"""The published way to evaluate an amplifier, rebuilt from its description (AnalogGym, arXiv 2409.08534).

One ngspice launch for DC and AC with five copies of the amplifier, a second one for the step response; both include
the complete corner of the SKY130 library, and both run at ngspice's default tolerances and number of threads. It is
the yardstick of `spice_speed.py`, shares no testbench code with `zsgym.simulators.ngspice`, and, with tight tolerances,
is the independent reference for its numbers.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zsgym import pdk
from zsgym.circuits import Circuit
from zsgym.classes import Conditions
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.simulators.ngspice.process import read_raw

Array = npt.NDArray[Any]
Plots = dict[str, dict[str, Array]]

STEP = {"low": 0.3, "high": 0.5, "rise": 1e-6, "fall": 201e-6, "end": 401e-6}
"""Published input pulse: V and s."""

CONVERGED_DC = "reltol=1e-6 vntol=1e-9 abstol=1e-15"
CONVERGED_TRANSIENT = "reltol=1e-6 vntol=1e-9 abstol=1e-15 trtol=1"


@dataclass(frozen=True, slots=True)
class Flow:
    """A variant of the published flow.

    threads: OpenMP threads of ngspice; None leaves Debian's default. dc_options, transient_options: text of an
    `.option` line; empty leaves the default tolerances. max_time_step: bound on the transient's time step in s; None
    leaves ngspice's own, the 1 us print step.
    """

    threads: int | None = None
    dc_options: str = ""
    transient_options: str = ""
    max_time_step: float | None = None


AS_SHIPPED = Flow()
ONE_THREAD = Flow(threads=1)
CONVERGED = Flow(threads=1, dc_options=CONVERGED_DC, transient_options=CONVERGED_TRANSIENT, max_time_step=0.1e-6)


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of one or more launches: wall time, and processor time of all threads."""

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True, slots=True)
class Answer:
    """Metrics under zsgym's names in SI units, the transient (time, output), and what it took."""

    metrics: dict[str, float | None]
    effort: Effort
    time: Array = field(default_factory=lambda: np.empty(0))
    output: Array = field(default_factory=lambda: np.empty(0))


def evaluate(
    circuit: Circuit,
    sizing: Mapping[str, float],
    conditions: Conditions,
    flow: Flow,
    *,
    transient: bool = True,
) -> Answer:
    """One evaluation by the published flow; `transient=False` leaves out its second launch."""
    assert isinstance(conditions, AmplifierConditions)
    small = _launch(_small_signal_deck(circuit, sizing, conditions, flow), flow, ("dc", "ac"))
    metrics = _small_signal_metrics(small.plots["dc"], small.plots["ac"], conditions)
    if not transient:
        return Answer(metrics, small.effort)
    step = _launch(_transient_deck(circuit, sizing, conditions, flow), flow, ("tran",))
    wave = step.plots["tran"]
    return Answer(metrics, small.effort + step.effort, wave["time"], wave["out1"])


def _head(circuit: Circuit, sizing: Mapping[str, float], conditions: AmplifierConditions, options: str) -> list[str]:
    return [
        f"* {circuit.name}, published flow",
        # As the published decks have it: the complete corner, by its includes.
        *pdk.corner_includes(pdk.locate(), conditions.corner),
        *([f".option {options}"] if options else []),
        f".temp {conditions.temperature!r}",
        *(f".param {name}={value!r}" for name, value in sizing.items()),
        *circuit.netlist_text.splitlines(),
        f".param vcm={conditions.common_mode!r} cload={conditions.load!r}",
    ]


def _copy(circuit: Circuit, number: int, vdd: str, vss: str) -> list[str]:
    nodes = {"vss": vss, "vdd": vdd, "inn": f"inn{number}", "inp": f"inp{number}", "out": f"out{number}"}
    return [
        f"Xcopy{number} {' '.join(nodes[port] for port in circuit.subcircuit.ports)} {circuit.subcircuit.name}",
        f"Cload{number} out{number} 0 {{cload}}",
    ]


def _buffer(circuit: Circuit, number: int, vdd: str, vss: str) -> list[str]:
    """A unity buffer at the common mode."""
    return [
        *_copy(circuit, number, vdd, vss),
        f"Vloop{number} inn{number} out{number} 0",
        f"Vinp{number} inp{number} 0 {{vcm}}",
    ]


def _small_signal_deck(circuit: Circuit, sizing: Mapping[str, float], c: AmplifierConditions, flow: Flow) -> list[str]:
    return [
        *_head(circuit, sizing, c, flow.dc_options),
        f"Vsupply vdd 0 {c.supply!r}",
        "* 1: open loop at AC, closed by the inductor at DC",
        *_copy(circuit, 1, "vdd", "0"),
        "Lloop out1 inn1 1T",
        "Cstim inn1 stim 1T",
        "Vstim stim 0 dc {vcm} ac 1",
        "Vinp1 inp1 0 {vcm}",
        "* 2: both inputs moved together",
        *_copy(circuit, 2, "vdd", "0"),
        "Vfb2 inn2 out2 dc 0 ac 1",
        "Vinp2 inp2 0 dc {vcm} ac 1",
        "* 3: the positive supply moved",
        *_buffer(circuit, 3, "vdd3", "0"),
        f"Vdd3 vdd3 0 dc {c.supply!r} ac 1",
        "* 4: the ground moved",
        *_buffer(circuit, 4, "vdd", "vss4"),
        "Vss4 vss4 0 dc 0 ac 1",
        "* 5: DC",
        *_buffer(circuit, 5, "vdd5", "0"),
        f"Vdd5 vdd5 0 {c.supply!r}",
        ".control",
        "set filetype=binary",
        "dc temp -40 125 1",
        "write dc.raw v(out5) i(Vdd5)",
        "ac dec 10 0.1 1G",
        "write ac.raw v(out1) v(stim) v(out2) v(out3) v(out4)",
        "op",
        "quit",
        ".endc",
        ".end",
    ]


def _transient_deck(circuit: Circuit, sizing: Mapping[str, float], c: AmplifierConditions, flow: Flow) -> list[str]:
    s = STEP
    bound = f" 0 {flow.max_time_step!r}" if flow.max_time_step else ""
    return [
        *_head(circuit, sizing, c, flow.transient_options),
        *_copy(circuit, 1, "vdd", "0"),
        f"Vdd vdd 0 {c.supply!r}",
        "Vloop inn1 out1 0",
        f"Vinp inp1 0 pulse({s['low']} {s['high']} {s['rise']!r} 1p 1p {s['fall'] - s['rise']!r} 1)",
        ".control",
        "set filetype=binary",
        f"tran 1u {s['end']!r}{bound}",
        "write tran.raw v(out1)",
        "quit",
        ".endc",
        ".end",
    ]


@dataclass(frozen=True, slots=True)
class _Launch:
    plots: Plots
    effort: Effort


def _launch(deck: list[str], flow: Flow, plots: tuple[str, ...]) -> _Launch:
    """Run ngspice on a deck in an empty folder, and read the plots that the deck writes there."""
    with tempfile.TemporaryDirectory(prefix="published-") as name:
        work = Path(name)
        # An initialisation file in the working folder keeps the user's own out.
        (work / ".spiceinit").write_text("" if flow.threads is None else f"set num_threads={flow.threads}\n")
        (work / "deck.cir").write_text("\n".join([*deck, ""]))
        effort = _run_ngspice(work)
        try:
            return _Launch({plot: dict(read_raw(work / f"{plot}.raw")) for plot in plots}, effort)
        except KeyError as error:
            tail = (work / "log").read_text(errors="replace")[-800:]
            raise RuntimeError(f"the published flow wrote no {error}: {tail}") from error


def _run_ngspice(work: Path) -> Effort:
    # "As shipped" means Debian's own number of threads, whatever this shell has been told.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"HOME": str(work)}
    started = time.perf_counter()
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(
            ["ngspice", "-b", "deck.cir"], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Effort(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)


def _small_signal_metrics(
    dc: Mapping[str, Array], ac: Mapping[str, Array], c: AmplifierConditions
) -> dict[str, float | None]:
    """What the published `meas` statements read."""
    output = dc["out5"]
    celsius = np.arange(-40.0, 126.0)
    mean = np.trapezoid(output, celsius) / 165.0
    room = int(np.flatnonzero(celsius == 25.0)[0])
    frequency = ac["frequency"].real
    response = ac["out1"] / ac["stim"]
    gain = 20.0 * np.log10(np.abs(response))
    metrics: dict[str, float | None] = {
        "tc": float((output.max() - output.min()) / mean / 165.0),
        "power": float(-dc["vdd5#branch"][room] * c.supply),
        "vos": float(output[room] - c.common_mode),
        "dc_gain": float(gain[0]),
        "gbw": None,
        "phase_margin_wrapped": None,
    }
    for metric, copy in (("cmrr", "out2"), ("psrr_p", "out3"), ("psrr_n", "out4")):
        metrics[metric] = float(-20.0 * np.log10(abs(ac[copy][0])))
    falls = np.flatnonzero((gain[:-1] > 0.0) & (gain[1:] <= 0.0))
    if falls.size:
        i = int(falls[0])
        # `meas` interpolates linearly in frequency and decibels, and reads the phase the same way.
        crossing = float(frequency[i] + gain[i] / (gain[i] - gain[i + 1]) * (frequency[i + 1] - frequency[i]))
        phase = np.degrees(np.angle(response))
        metrics["gbw"] = crossing
        metrics["phase_margin_wrapped"] = float(np.interp(crossing, frequency[i : i + 2], phase[i : i + 2]))
    return metrics
