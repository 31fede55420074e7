"""What all benchmarks share: where results go, where they come from, tables and the look of figures."""

import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from threadpoolctl import threadpool_limits

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

from zsgym.base.files import write_text
from zsgym.base.scripts import ending_in_one_line
from zsgym.samples.manifest import package_version, provenance_of_this_process

RESULTS = Path(__file__).with_name("results")
"""Default folder of JSON files and figures."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Colours that colour-blind readers can tell apart (M. Okabe and K. Ito, 2008)."""

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "figure.constrained_layout.use": True,
}
plt.rcParams.update(_STYLE)


def run_resumable(run: Callable[[], Any]) -> None:
    """Run a benchmark that can be continued, with one thread; a user's mistake and Ctrl-C end in one line each."""
    torch.set_num_threads(1)
    again = shlex.join([sys.executable, *sys.argv])
    with ending_in_one_line(f"interrupted; to continue: {again}"), threadpool_limits(1):
        run()


def provenance(*packages: str, **facts: Any) -> dict[str, Any]:
    """Where a result comes from: command, git revision, versions, machine, load and time, and any further facts."""
    process = provenance_of_this_process()
    versions = process.pop("versions") | {name: package_version(name) for name in packages}
    return {
        **process,
        "versions": versions,
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **facts,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result in one step; numbers that JSON cannot hold become null."""
    write_text(path, json.dumps(_plain(content), indent=1) + "\n")


def _plain(value: Any) -> Any:
    """Plain JSON values: floats of six significant digits, null for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | bool | int) or value is None:
        return value
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return str(value)


def format_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An aligned table: the first column flush left, all others flush right."""
    text = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in text) for column in range(len(header))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in text]
    rule = "-" * max(map(len, lines))
    return "\n".join(["", title, rule, lines[0], rule, *lines[1:], rule])


def _cell(value: Any) -> str:
    """Numbers in four significant digits, NaN and None as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 10.0 or value == 0.0 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def display_unit(unit: str) -> tuple[float, str]:
    """Factor and name of the unit in which people read a quantity of this SI unit."""
    return _DISPLAY.get(unit, (1.0, unit))


_DISPLAY = {
    "1/K": (1e6, "ppm/K"),
    "W": (1e6, "uW"),
    "V": (1e6, "uV"),
    "Hz": (1e-6, "MHz"),
    "V/s": (1e-6, "V/us"),
    "s": (1e6, "us"),
}


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """A figure in the common style and its axes as a (rows, columns) array; sizes in inches."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure at a resolution that a README shows well, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, facecolor="white")
    plt.close(figure)
    return path
