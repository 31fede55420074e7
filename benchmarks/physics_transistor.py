"""The physics backend's transistor against ngspice: every bin, corner and temperature; and what an evaluation costs.

    python benchmarks/physics_transistor.py            # about five minutes on a quiet core
    python benchmarks/physics_transistor.py --quick    # every corner at one temperature

Prints and saves, per corner, the median, 90th percentile and worst relative difference of currents, conductances,
charges, capacitances, junctions, admittances at 1 MHz (body network in place) and noise; then the time of an evaluation
with its derivatives on one core, and of the first evaluation after an installation and in a later process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import physics_devices as pd
from common import RESULTS, provenance, write_json
from numpy.typing import NDArray
from tqdm import tqdm

from zsgym.pdk import CORNERS, load_corner
from zsgym.simulators.ngspice.process import ProcessEngine
from zsgym.simulators.physics import lanes
from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.derivatives import channel_all, channel_current
from zsgym.simulators.physics.stamps import NODES, stamp, stamp_currents

CELSIUS = (-40.0, 0.0, 27.0, 85.0, 125.0)
GROUPS: dict[str, Sequence[str]] = {
    "drain current": ("id",),
    "substrate current": ("isub",),
    "gm": ("gm",),
    "gds": ("gds",),
    "gmb": ("gmbs",),
    "terminal currents": ("i_d", "i_s"),
    "body current": ("i_b",),
    "charges": pd.CHARGES,
    "capacitances": pd.CAPACITANCES,
    "junction capacitances": pd.JUNCTIONS,
    "threshold, saturation voltage": pd.VOLTAGES,
}
_TIMED = 24  # transistors of a usual amplifier
_FIRST = """
import time; start = time.perf_counter()
import numpy as np, physics_devices as pd
from zsgym.pdk import load_corner
models = load_corner("tt"); loaded = time.perf_counter()
devices = pd.draw(models, np.random.default_rng(0), 1)[:1]
pd.stamped(pd.prepared(devices, 27.0), np.array([devices[0].voltages]))
print(time.perf_counter() - loaded)
"""


def compare(corner: str, temperatures: Sequence[float], per_bin: int, seed: int) -> dict[str, dict[str, float]]:
    """Median, 90th percentile and worst relative difference of every group of quantities, over all temperatures."""
    models, engine = load_corner(corner), ProcessEngine()
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in GROUPS}
    for celsius in temperatures:
        devices = pd.draw(models, rng, per_bin)
        errors = pd.errors(pd.in_physics(devices, celsius), pd.in_ngspice(models, devices, celsius, engine))
        for group, names in GROUPS.items():
            found[group] += [errors[name] for name in names]
        some = [devices[place] for place in rng.choice(len(devices), 50, replace=False)]
        expected = pd.admittance_in_ngspice(models, some, celsius, 1e6, engine)
        mine = pd.admittance_in_physics(some, celsius, 1e6)
        scale = np.maximum(np.abs(expected), 1e-6 * np.abs(expected).max(axis=(1, 2), keepdims=True))
        found.setdefault("admittances", []).append((np.abs(mine - expected) / scale).ravel())
        with tempfile.TemporaryDirectory() as folder:
            noise = pd.noise_in_ngspice(models, some, celsius, 1e3, Path(folder))
        for name, values in pd.errors(pd.noise_in_physics(some, celsius, 1e3), noise).items():
            found.setdefault(f"{name} noise", []).append(values)
    return {group: summary(np.concatenate(values)) for group, values in found.items()}


def summary(errors: NDArray[np.float64]) -> dict[str, float]:
    """What a table shows of many relative differences."""
    return {
        "count": int(errors.size),
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "worst": float(errors.max()),
    }


def measure_speed() -> dict[str, float]:
    """Nanoseconds of one evaluation, the best of many repetitions over the transistors of an amplifier's size."""
    rng = np.random.default_rng(0)
    devices = pd.draw(load_corner("tt"), rng, 1)
    devices = [devices[place] for place in rng.choice(len(devices), _TIMED, replace=False)]
    records = pd.prepared(devices, 27.0)
    sign = records["polarity"]
    # On and in saturation, as in an amplifier: what is off costs less.
    drive = rng.uniform(0.1, 0.5, _TIMED) + np.abs(pd.in_physics(devices, 27.0)["vth"])
    bias = np.stack([drive, rng.uniform(0.2, 1.2, _TIMED), -rng.uniform(0.0, 0.4, _TIMED)], axis=1)
    voltage = np.zeros((_TIMED, NODES))
    voltage[:, 0], voltage[:, 1], voltage[:, 3:] = sign * bias[:, 1], sign * bias[:, 0], (sign * bias[:, 2])[:, None]
    vectors, matrices = np.zeros((2, _TIMED, NODES)), np.zeros((2, _TIMED, NODES, NODES))
    currents, whole = (vectors[0], matrices[0]), (vectors[0], vectors[1], matrices[0], matrices[1])
    return {
        "channel: current, conductances": _nanoseconds(_run_current, records, bias),
        "channel: current, charges, derivatives": _nanoseconds(_run_channel, records, bias),
        "device: currents, conductances": _nanoseconds(_run_stamp_currents, records, voltage, *currents),
        "device: currents, charges, derivatives": _nanoseconds(_run_stamp, records, voltage, *whole),
        "eight at a time: currents, conductances, inner nodes eliminated": _nanoseconds(
            _run_newton, *_blocks(records, voltage, lanes.NEWTON_ROWS)
        ),
        "eight at a time: currents, charges, derivatives": _nanoseconds(
            _run_signal, *_blocks(records, voltage, lanes.SIGNAL_ROWS)
        ),
    }


def _blocks(records: NDArray[Any], voltage: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], int]:
    """Devices and voltages in blocks of eight, and the number of blocks."""
    blocks = lanes.blocks_for(_TIMED, rows)
    table = blocks.reshape(-1, rows, lanes.LANES)
    fields = records.view(np.float64).reshape(len(table), lanes.LANES, -1)
    table[:, : lanes.FIELDS] = fields.transpose(0, 2, 1)
    table[:, lanes.VOLTAGE_ROW : lanes.RESULT_ROW] = voltage.reshape(len(table), lanes.LANES, -1).transpose(0, 2, 1)
    return blocks, len(table)


def _nanoseconds(run: Callable[..., Any], *arguments: Any, repeats: int = 400, rounds: int = 25) -> float:
    run(*arguments, 1)
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run(*arguments, repeats)
        best = min(best, (time.process_time() - start) / (repeats * _TIMED))
    return 1e9 * best


@compiled
def _run_current(devices: Any, bias: Any, repeats: int) -> float:
    total = 0.0
    for _ in range(repeats):
        for i in range(devices.shape[0]):
            result = channel_current(devices[i], bias[i, 0], bias[i, 1], bias[i, 2])
            total += result[0] + result[2] + result[3] + result[4]
    return total


@compiled
def _run_channel(devices: Any, bias: Any, repeats: int) -> float:
    total = 0.0
    for _ in range(repeats):
        for i in range(devices.shape[0]):
            result = channel_all(devices[i], bias[i, 0], bias[i, 1], bias[i, 2])
            for k in range(20):
                total += result[k]
    return total


@compiled
def _run_stamp_currents(devices: Any, voltage: Any, current: Any, conductance: Any, repeats: int) -> None:
    for _ in range(repeats):
        for i in range(devices.shape[0]):
            stamp_currents(devices[i], voltage[i], 1e-12, current[i], conductance[i])


@compiled
def _run_stamp(devices: Any, voltage: Any, i: Any, q: Any, g: Any, c: Any, repeats: int) -> None:
    for _ in range(repeats):
        for k in range(devices.shape[0]):
            stamp(devices[k], voltage[k], 1e-12, i[k], q[k], g[k], c[k])


@compiled
def _run_newton(blocks: Any, count: int, repeats: int) -> None:
    for _ in range(repeats):
        for block in range(count):
            lanes.newton_block(blocks, block, 1e-12)


@compiled
def _run_signal(blocks: Any, count: int, repeats: int) -> None:
    for _ in range(repeats):
        for block in range(count):
            lanes.signal_block(blocks, block, 1e-12)


def measure_first() -> dict[str, float]:
    """Seconds of CPU and wall time until the first answer: with nothing compiled, and in the next process."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": str(Path(__file__).parent)}
        for name in ("first answer after installation", "first answer of a later process"):
            command = [sys.executable, "-c", _FIRST]
            before = os.times()
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            after = os.times()
            found[name] = float(output)
            found[f"{name}, whole process, CPU"] = after.children_user - before.children_user
    return found


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """The comparison as Markdown: one row a group, median / 90th percentile / worst of each corner."""
    corners = list(results)
    lines = ["| relative difference | " + " | ".join(corners) + " |", "|---" * (len(corners) + 1) + "|"]
    for group in results[corners[0]]:
        cells = [
            " / ".join(f"{results[corner][group][key]:.0e}" for key in ("median", "p90", "worst")) for corner in corners
        ]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run everything, print the tables, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-bin", type=int, default=2, help="devices in each bin at each temperature")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one device a bin, one temperature a corner")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    comparison = {}
    for place, corner in enumerate(tqdm(CORNERS, desc="corners")):
        temperatures = CELSIUS[place : place + 1] if arguments.quick else CELSIUS
        comparison[corner] = compare(corner, temperatures, 1 if arguments.quick else arguments.per_bin, arguments.seed)
    speed, first = measure_speed(), measure_first()
    print(table(comparison))
    for name, value in speed.items():
        print(f"{name}: {value:.0f} ns")
    for name, value in first.items():
        print(f"{name}: {value:.1f} s")
    write_json(
        arguments.out / "physics_transistor.json",
        {
            "comparison": comparison,
            "nanoseconds": speed,
            "seconds": first,
            "provenance": provenance("numba", "llvmlite", seed=arguments.seed, celsius=CELSIUS),
        },
    )


if __name__ == "__main__":
    main()
