"""Agents that size amplifiers at an equal budget of ngspice simulations: who meets every spec, and after how many?

Every agent gets the same problems, seeds and budget; only designs that ngspice confirms count. Agents with a surrogate
owe the simulations that trained it: the table shows their calls with and without. Finished cells (agent, problem, seed)
are kept, so that the benchmark can be interrupted and extended.

    python benchmarks/sizing.py                                       # all agents, problems, 5 seeds
    python benchmarks/sizing.py --agents gradient cma_es --problems nmcf-hard --seeds 1 2 --budget 3000
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, provenance, write_json
from sizing_agents import AGENTS
from sizing_cells import cells, published, run_cells
from sizing_tables import figure, scores, table

from surrogate.checkpoint import Checkpoint, shipped
from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.base.scripts import ending_in_one_line
from zsgym.sizing.named_problems import list_problems, load_problem


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), metavar="NAME", help=f"of {', '.join(AGENTS)}")
    parser.add_argument(
        "--problems", nargs="+", default=["nmcf", "nmcf-hard", "nmcnr"], metavar="NAME", help="see configs/problems"
    )
    parser.add_argument(
        "--skip", nargs="+", default=[], metavar="AGENT/PROBLEM", help="combinations to leave out, shown as a dash"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="default: 1 2 3 4 5")
    parser.add_argument("--budget", type=int, default=1000, help="ngspice simulations per cell (default: %(default)s)")
    parser.add_argument("--checkpoint", default="", help="surrogate; default: the one that comes with the package")
    parser.add_argument("--processes", type=int, default=2, help="cells at the same time (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/sizing"), help="folder of finished cells")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of JSON and figure")
    arguments = parser.parse_args()
    with ending_in_one_line(f"interrupted; finished cells are kept in {arguments.runs}: run it again to go on"):
        run(arguments)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, print the tables, write JSON and figure."""
    for agent in arguments.agents:
        if agent not in AGENTS:
            raise ConfigError(f"unknown agent {agent!r}. {did_you_mean(agent, AGENTS)}")
    for problem in arguments.problems:
        if problem not in list_problems():
            raise ConfigError(f"unknown problem {problem!r}. {did_you_mean(problem, list_problems())}")
    pairs = [(agent, problem) for problem in arguments.problems for agent in arguments.agents]
    names = {f"{agent}/{problem}": (agent, problem) for agent, problem in pairs}
    for name in arguments.skip:
        if name not in names:
            known = did_you_mean(name, names)
            raise ConfigError(f"--skip: {name!r} is not an agent with a problem of this run. {known}")
        pairs.remove(names[name])
    wanted = cells(pairs, arguments.seeds, arguments.budget, arguments.checkpoint)
    results = run_cells(wanted, arguments.runs, arguments.processes)
    checkpoint = Checkpoint.load(Path(arguments.checkpoint) if arguments.checkpoint else shipped())
    trained = {circuit: sum(sides.values()) for circuit, sides in checkpoint.provenance.get("rows", {}).items()}
    rows = scores(results, trained)
    for problem in arguments.problems:
        print(table(problem, load_problem(problem)[2], rows))
    content = {
        "scores": rows,
        "problems": {p: {"title": load_problem(p)[2], "targets": load_problem(p)[1]} for p in arguments.problems},
        "cells": [published(result) for result in results],
        "provenance": provenance(
            "cma", "optuna", "torch", checkpoint=checkpoint.sha256[:16], training_rows=trained, seeds=arguments.seeds
        ),
    }
    write_json(arguments.out / "sizing.json", content)
    print(f"written: {arguments.out / 'sizing.json'}, {figure(results, arguments.out / 'sizing.png')}")
    return content


if __name__ == "__main__":
    main()
