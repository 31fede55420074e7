"""How good a front a number of evaluations gives: the sweep of `zsgym size --pareto` against NSGA-II and random search.

Power against bandwidth of NMCF at its other specs, on the shipped surrogate: thousands of ngspice simulations for every
method and seed would take hours, and it is the methods that are compared. All begin at the known-good sizing.
Hypervolume counts square decades beyond 1 mW and 100 kHz.

    python benchmarks/fronts.py
"""

import argparse
import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from common import RESULTS, provenance, write_json

from zsgym.circuits import load_circuit
from zsgym.sizing import BudgetSpent, LogScale, Problem
from zsgym.sizing.dominance import hypervolume
from zsgym.sizing.methods import METHODS
from zsgym.sizing.pareto import trace
from zsgym.sizing.problem import Design
from zsgym.sizing.run import simulate_known_good
from zsgym.sizing.score import score

PAIR = ("power", "gbw")
CORNER = (1e-3, 1e5)
"""W and Hz: what is worse counts for nothing."""
Draw = Callable[[Problem, int], None]


def sweep(method: str) -> Draw:
    """The searches of `zsgym size --pareto`."""

    def draw(problem: Problem, seed: int) -> None:
        make = METHODS[method].optimiser
        assert make is not None
        trace(problem, PAIR, make(), seed, known_good(problem), lambda text: None)

    return draw


def nsga(problem: Problem, seed: int) -> None:
    """NSGA-II of Optuna with constraints; 40 individuals."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna\..*")  # what is experimental or will be called otherwise
    scale, start = LogScale.of(problem.circuit), known_good(problem)
    sampler = optuna.samplers.NSGAIISampler(
        population_size=40, seed=seed, constraints_func=lambda trial: trial.user_attrs["missed"]
    )
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.enqueue_trial({f"x{i}": float(value) for i, value in enumerate(start)})

    def simulated(trial: optuna.Trial) -> tuple[float, float]:
        position = np.array([trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(problem.dimension)])
        (design,) = problem.evaluate(scale.points(position))
        metrics = design.outcome.metrics
        trial.set_user_attr("missed", [-(missed(design) if metrics else score(design))])
        return (np.log10(metrics["power"]), np.log10(metrics["gbw"])) if metrics else (0.0, 0.0)

    with contextlib.suppress(BudgetSpent):
        study.optimize(simulated, n_trials=2 * (problem.budget or 0))


METHODS_COMPARED: dict[str, Draw] = {
    "sweep, cma-es": sweep("cma-es"),
    "sweep, random": sweep("random"),
    "nsga-ii": nsga,
}


def known_good(problem: Problem) -> np.ndarray:
    """Position of the best known-good sizing, which is evaluated."""
    _, designs = simulate_known_good(problem)
    return LogScale.of(problem.circuit).positions(max(designs, key=score).point)


def missed(design: Design) -> float:
    """At most 0: by how much a working design misses the other specs."""
    return sum(min(margin, 0.0) for name, margin in design.margins.items() if name not in PAIR)


def dominated(problem: Problem) -> float:
    """Hypervolume of the designs that keep the other specs, in square decades."""
    kept = [design.outcome.metrics for design in problem.designs if design.outcome.metrics and missed(design) == 0.0]
    good = np.array([[-np.log10(row["power"]), np.log10(row["gbw"])] for row in kept]).reshape(-1, 2)
    return hypervolume(good, [-np.log10(CORNER[0]), np.log10(CORNER[1])])


def measure(budgets: list[int], seeds: list[int]) -> list[dict[str, Any]]:
    """One row for every method, budget and seed."""
    rows = []
    for name, draw in METHODS_COMPARED.items():
        for budget in budgets:
            for seed in seeds:
                started = time.perf_counter()
                with Problem(load_circuit("nmcf"), backend="surrogate", budget=budget) as problem:
                    draw(problem, seed)
                row = {"method": name, "budget": budget, "seed": seed, "hypervolume": dominated(problem)}
                rows.append(row | {"seconds": time.perf_counter() - started})
                print(f"{name:<14} {budget:>5} seed {seed}: {row['hypervolume']:.3f}", flush=True)
    return rows


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, nargs="+", default=[500, 1500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=RESULTS / "fronts.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.budgets, options.seeds)
    write_json(options.out, {"rows": rows, "provenance": provenance("cma", "optuna")})


if __name__ == "__main__":
    main()
