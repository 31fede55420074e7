"""Sizing on the solved equations: simulations in ngspice until every spec is met, of every shipped circuit.

    python benchmarks/physics_sizing.py                        # every problem, five seeds: an hour of one quiet core
    python benchmarks/physics_sizing.py --problems smc --seeds 1

Nothing is trained and no known-good sizing is used: a search from scratch on the physics backend, whose proposals
ngspice verifies (`zsgym size --method physics --from-scratch`). Solved sizings are counted beside simulations; the
processor's time is that of the search, without ngspice. Runs that are in the JSON already are not repeated.

Writes physics_sizing.json.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, format_table, provenance, run_resumable, write_json

from zsgym.sizing import size
from zsgym.sizing.named_problems import list_problems, load_problem

BUDGET = 30
"""Simulations after which a run counts as failed."""


def one(problem: str, seed: int) -> dict[str, Any]:
    """One run."""
    circuit, targets, _ = load_problem(problem)
    wall, processor = time.perf_counter(), time.process_time()
    result = size(circuit, dict(targets), method="physics", seed=seed, budget=BUDGET, from_scratch=True, log=False)
    return {
        "problem": problem,
        "seed": seed,
        "met": result.met,
        "simulations": result.simulations,
        "solved": result.solved,
        "missed": result.missed,
        "failures": [design.outcome.failure for design in result.designs if not design.outcome.success],
        "seconds": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
    }


def run(arguments: argparse.Namespace) -> None:
    """Every problem with every seed."""
    path = arguments.out / "physics_sizing.json"
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.is_file() else []
    done = {(row["problem"], row["seed"]) for row in runs}
    for seed in arguments.seeds:
        for problem in arguments.problems or list_problems():
            if (problem, seed) in done:
                continue
            runs.append(one(problem, seed))
            row = runs[-1]
            print(
                f"{problem}, seed {seed}: {'met' if row['met'] else 'missed ' + ', '.join(row['missed'])}, "
                f"{row['simulations']} simulations, {row['solved']} solved, {row['processor_s']:.0f} s of processor",
                flush=True,
            )
            _write(path, runs)
    _write(path, runs)
    print(table(runs))


def _write(path: Path, runs: Sequence[dict[str, Any]]) -> None:
    write_json(path, {"runs": list(runs), "budget": BUDGET, "provenance": provenance("zsgym", "numba", "cma")})


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Per problem: how many seeds are met, and the medians."""
    rows = []
    for problem in dict.fromkeys(row["problem"] for row in runs):
        own = [row for row in runs if row["problem"] == problem]
        medians = [float(np.median([row[key] for row in own])) for key in ("simulations", "solved", "processor_s")]
        rows.append((problem, f"{sum(row['met'] for row in own)}/{len(own)}", *medians))
    return format_table("Sizing on solved equations", ("problem", "met", "simulations", "solved", "processor s"), rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5], metavar="N", help="default: 1 to 5")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the results")
    arguments = parser.parse_args()
    run_resumable(lambda: run(arguments))


if __name__ == "__main__":
    main()
