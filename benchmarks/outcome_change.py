"""How outcomes of the same sizings differ between two revisions: labels, and the metrics of what works in both.

    python benchmarks/outcome_change.py nmcf runs/change/nmcf --draw 300      # writes runs/change/nmcf.json
    zsgym simulate nmcf --sizing runs/change/nmcf.json --json > runs/change/nmcf-before.json   # by the earlier revision
    zsgym simulate nmcf --sizing runs/change/nmcf.json --json > runs/change/nmcf-after.json    # by the later one
    python benchmarks/outcome_change.py nmcf runs/change/nmcf

It prints a table, and with --out adds the figures of the circuit to a JSON file.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsgym.base.files import write_text
from zsgym.base.scripts import ending_in_one_line
from zsgym.base.tables import table
from zsgym.circuits import load_circuit
from zsgym.datasets import make_strategy
from zsgym.samples.manifest import provenance_of_this_process


def change(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Labels that changed, and relative differences of each metric: median, 90th percentile, largest."""
    if len(before) != len(after):
        raise SystemExit(f"error: {len(before)} outcomes before, {len(after)} after: not the same sizings")
    kinds = [(b["failure"] or "works", a["failure"] or "works") for b, a in zip(before, after, strict=True)]
    moved: dict[str, int] = {}
    for was, now in kinds:
        if was != now:
            moved[f"{was} -> {now}"] = moved.get(f"{was} -> {now}", 0) + 1
    both = [(b["metrics"], a["metrics"]) for b, a in zip(before, after, strict=True) if b["metrics"] and a["metrics"]]
    metrics = {}
    for name in names:
        differences = [abs(a[name] - b[name]) / max(abs(a[name]), 1e-300) for b, a in both]
        if differences:
            q50, q90, most = np.quantile(differences, [0.5, 0.9, 1.0]).tolist()
            metrics[name] = {"median": q50, "p90": q90, "max": most}
    return {"sizings": len(before), "work_in_both": len(both), "moved": moved, "metrics": metrics}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuit", help="name or file of the circuit")
    parser.add_argument("files", type=Path, help="what the names of the files begin with: see above")
    parser.add_argument("--draw", type=int, metavar="N", help="write N sizings of the targeted strategy, and no more")
    parser.add_argument("--seed", type=int, default=11, help="of the draw (default: 11)")
    parser.add_argument("--out", type=Path, help="JSON file to add the figures to")
    arguments = parser.parse_args()
    circuit = load_circuit(arguments.circuit)
    stem = arguments.files
    if arguments.draw:
        drawn = make_strategy("targeted", circuit, []).propose(arguments.seed, range(arguments.draw))
        write_text(stem.with_name(f"{stem.name}.json"), json.dumps(drawn) + "\n")
        return
    paths = [stem.with_name(f"{stem.name}-{side}.json") for side in ("before", "after")]
    outcomes = [json.loads(path.read_text())["outcomes"] for path in paths]
    found = change(outcomes[0], outcomes[1], circuit.metrics.names)
    rows = [[name, *(f"{value:.2g}" for value in numbers.values())] for name, numbers in found["metrics"].items()]
    print(f"{circuit.name}: {found['sizings']} sizings, {found['work_in_both']} work in both")
    print(", ".join(f"{kind}: {count}" for kind, count in found["moved"].items()) or "no label changed")
    print(table(["metric, relative", "median", "90 %", "largest"], rows, right=(1, 2, 3)))
    if arguments.out:
        content = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"circuits": {}}
        content["circuits"][circuit.name] = found
        content["provenance"] = provenance_of_this_process()
        write_text(arguments.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    with ending_in_one_line():
        main()
