"""Every shipped amplifier at its own specs: how many sizings work, and what CMA-ES on ngspice needs from scratch.

The working share is that of targeted sampling on the circuit as it ships. The search is `zsgym`'s CMA-ES, which begins
in the middle of the bounds and knows nothing; it ends with the first design that meets every spec, or with the cap.
Finished cells (circuit, seed) and rows are kept, so that the benchmark can be interrupted and extended; one seed of all
circuits comes first.

    python benchmarks/amplifier_family.py                          # every amplifier, three seeds, at most 1,500 calls
    python benchmarks/amplifier_family.py --circuits smc pfc --seeds 1 --budget 1500 --rows 256
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from common import COLOURS, RESULTS, format_table, new_figure, provenance, run_resumable, save_figure, write_json
from freeze_search import Rows, evaluator_of
from sizing_cells import Cell, history_of, run_cells

from zsgym.circuits import list_circuits, load_circuit
from zsgym.classes.amplifier import AmplifierConditions

AGENT = "cma_es"
LEAST_SHARE = 0.2
"""Of targeted rows that work, on every circuit that ships."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--circuits", nargs="+", metavar="NAME", help="default: every shipped amplifier")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="default: 1 2 3")
    parser.add_argument("--budget", type=int, default=1500, help="simulations per search (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=384, help="targeted rows per circuit (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="searches at the same time (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/family"), help="folder of cells and rows")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of JSON and figure")
    arguments = parser.parse_args()
    run_resumable(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, print the table, write JSON and figure."""
    names = arguments.circuits or amplifiers()
    wanted = [Cell(AGENT, name, seed, arguments.budget) for seed in arguments.seeds for name in names]
    cells = run_cells(wanted, arguments.runs, arguments.processes)
    entries = [
        entry(name, [cell for cell in cells if cell["problem"] == name], share(name, arguments)) for name in names
    ]
    print(table(entries))
    content = {"budget": arguments.budget, "circuits": entries, "provenance": provenance("cma", seeds=arguments.seeds)}
    write_json(arguments.out / "amplifier_family.json", content)
    print(f"written: {arguments.out / 'amplifier_family.json'}, {figure(entries, arguments.budget, arguments.out)}")
    return content


def amplifiers() -> list[str]:
    """Names of the shipped circuits of the class."""
    return [name for name in list_circuits() if load_circuit(name).circuit_class.name == "amplifier"]


def share(name: str, arguments: argparse.Namespace) -> Rows:
    """Targeted rows of a circuit as it ships."""
    circuit = load_circuit(name)
    rows = Rows(circuit, arguments.runs / f"{name}-rows.jsonl")
    with evaluator_of(circuit) as evaluator:
        rows.extend(evaluator, arguments.rows, seed=1)
    return rows


def entry(name: str, cells: Sequence[dict[str, Any]], rows: Rows) -> dict[str, Any]:
    """What is published of one circuit. calls, seconds: to the first design that meets all specs, None without one."""
    circuit = load_circuit(name)
    found = [next((step for step in history_of(cell) if step.feasible), None) for cell in cells]
    assert isinstance(circuit.conditions, AmplifierConditions)
    return {
        "circuit": name,
        "title": circuit.title,
        "devices": len(circuit.devices),
        "parameters": len(circuit.parameters),
        "load": circuit.conditions.load,
        "specs": dict(circuit.targets),
        "rows": len(rows.rows),
        "working_share": rows.share,
        "seeds": [cell["seed"] for cell in cells],
        "calls": [None if step is None else step.simulations for step in found],
        "seconds": [None if step is None else step.seconds for step in found],
        "best_reward": [history_of(cell)[-1].reward for cell in cells],
        "simulated": [len(cell["history"]) for cell in cells],
    }


def median(values: Sequence[float | None]) -> float:
    """The middle of the seeds, the upper of two; infinite where that seed has not met the specs."""
    ordered = sorted(math.inf if value is None else float(value) for value in values)
    return ordered[len(ordered) // 2]


def table(entries: Sequence[dict[str, Any]]) -> str:
    """One line per circuit."""
    header = ("circuit", "parameters", "load (pF)", "work", "meets specs", "calls", "of each seed", "seconds")
    lines = [
        (
            entry["circuit"],
            entry["parameters"],
            f"{entry['load'] * 1e12:g}",
            f"{100 * entry['working_share']:.0f} %",
            f"{sum(call is not None for call in entry['calls'])}/{len(entry['calls'])}",
            _or_dash(median(entry["calls"])),
            " ".join("-" if call is None else str(call) for call in entry["calls"]),
            _or_dash(median(entry["seconds"])),
        )
        for entry in entries
    ]
    reached = sum(any(call is not None for call in entry["calls"]) for entry in entries)
    short = [entry["circuit"] for entry in entries if entry["working_share"] < LEAST_SHARE]
    title = (
        f"CMA-ES on ngspice from scratch: {reached} of {len(entries)} circuits meet their specs in at least one seed"
    )
    if short:
        title += f"; below {LEAST_SHARE:.0%} working rows: {', '.join(short)}"
    return format_table(title, header, lines)


def _or_dash(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "-"


def figure(entries: Sequence[dict[str, Any]], budget: int, folder: Path) -> Path:
    """Calls of every seed, and the working share, circuit by circuit."""
    image, axes = new_figure(1, 2, 9.0, 0.28 * len(entries) + 1.2)
    calls, shares = axes[0]
    place = np.arange(len(entries))[::-1]
    for row, entry in zip(place, entries, strict=True):
        for call in entry["calls"]:
            met = call is not None
            calls.plot(call if met else budget, row, "o" if met else "x", color=COLOURS[0 if met else 1], markersize=5)
    calls.axvline(budget, color=COLOURS[6], linewidth=0.8)
    calls.set(
        title="ngspice calls to the first design that meets all specs", xlabel="calls (x: not met within the cap)"
    )
    shares.barh(place, [100 * entry["working_share"] for entry in entries], color=COLOURS[2], height=0.6)
    shares.axvline(100 * LEAST_SHARE, color=COLOURS[6], linewidth=0.8)
    shares.set(title="targeted rows that work", xlabel="%")
    for axis in (calls, shares):
        axis.set_yticks(place, [entry["circuit"] for entry in entries])
    return save_figure(image, folder / "amplifier_family.png")


if __name__ == "__main__":
    main()
