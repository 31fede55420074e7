"""What pages say of fronts of two metrics."""

from statistics import mean

from published_markdown import read, table

_NAMES = {
    "sweep, cma-es": "the sweep, CMA-ES (`--pareto`)",
    "sweep, random": "the sweep, random search (`--method random`)",
    "nsga-ii": "NSGA-II of Optuna, 40 individuals",
}


def fronts() -> str:
    """Hypervolume of each method's front: mean over the seeds, least and most."""
    rows = read("fronts")["rows"]
    budgets = sorted({row["budget"] for row in rows})
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [_NAMES.get(method, method)]
        for budget in budgets:
            values = [row["hypervolume"] for row in rows if (row["method"], row["budget"]) == (method, budget)]
            cells.append(f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        found.append(cells)
    return table(["method", *(f"{budget:,} evaluations" for budget in budgets)], found)
