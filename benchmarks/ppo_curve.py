"""Learning curves of PPO runs, read from their TensorBoard events.

    python benchmarks/ppo_curve.py runs/NMCF-v0__ppo__* --out benchmarks/results/ppo_curve

Runs of the same settings with different seeds become one line (the median) with their range. The figure shows the share
of sizings that work, the share of episodes that meet every spec on the surrogate, the mean reward of working sizings,
and the best reward that ngspice has confirmed; the JSON holds the same numbers with the arguments of every run.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, format_table, new_figure, provenance, save_figure, write_json
from curves import Curve, read_curves
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.base.scripts import reason

CURVES = {
    "sizing/validity_rate": "sizings that work",
    "sizing/success_rate": "episodes that succeed on the surrogate",
    "sizing/reward_working": "mean reward of working sizings",
    "spice/best_reward": "best reward in ngspice",
}
_GRID = 60
_PLACES = ("run", "resume", "quiet", "log")


@dataclass(frozen=True)
class Run:
    """One run, and its curves by name."""

    arguments: dict[str, Any]
    curves: dict[str, Curve]

    @property
    def group(self) -> str:
        """What runs of different seeds have in common."""
        return json.dumps({k: v for k, v in self.arguments.items() if k != "seed"}, sort_keys=True)


def read_run(folder: Path) -> Run:
    """The curves of a run of agents/ppo.py."""
    arguments = json.loads((folder / "arguments.json").read_text())
    return Run({name: value for name, value in arguments.items() if name not in _PLACES}, read_curves(folder, CURVES))


def median_curve(runs: Sequence[Run], name: str, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, grid) lowest, median and highest value over runs; each the mean over one interval of the grid."""
    rows = []
    for run in runs:
        if name not in run.curves:
            continue
        steps, values = run.curves[name]
        place = np.searchsorted(grid, steps)
        means = np.array([values[place == i].mean() if (place == i).any() else np.nan for i in range(len(grid))])
        known = np.isfinite(means)
        row = np.interp(grid, grid[known], means[known])
        rows.append(np.where(grid < steps.min(), np.nan, row))
    if not rows:
        return np.full((3, len(grid)), np.nan)
    # A rate that no run has yet (no finished episode) stays empty.
    known = ~np.isnan(rows).all(axis=0)
    spread = np.full((3, len(grid)), np.nan)
    values = np.array(rows)[:, known]
    spread[:, known] = np.nanmin(values, axis=0), np.nanmedian(values, axis=0), np.nanmax(values, axis=0)
    return spread


def label_of(run: Run) -> str:
    """A line's name in the legend."""
    arguments = run.arguments
    symlog = "" if arguments["symlog"] else "without symlog"
    parts = [arguments["env"].rpartition("/")[2], arguments["specs"], symlog]
    if arguments["goals"] == "random":
        parts.insert(1, "random targets")
    return ", ".join(part for part in parts if part)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of agents/ppo.py")
    parser.add_argument("--labels", nargs="+", help="names of the lines (default: environment and hyperparameters)")
    parser.add_argument("--out", type=Path, default=RESULTS / "ppo_curve", help="name of the figure and the JSON file")
    arguments = parser.parse_args()
    groups: dict[str, list[Run]] = {}
    for folder in arguments.runs:
        try:
            run = read_run(folder)
        except (OSError, ValueError, ConfigError) as error:
            raise SystemExit(f"error: {folder} holds no run of agents/ppo.py: {reason(error)}") from None
        groups.setdefault(run.group, []).append(run)
    labels = arguments.labels or [label_of(runs[0]) for runs in groups.values()]
    if len(labels) != len(groups):
        raise SystemExit(f"error: {len(labels)} labels for {len(groups)} kinds of runs")
    figure, axes = new_figure(2, 2, 9.0, 6.0)
    lines, rows = [], []
    for label, runs in zip(labels, groups.values(), strict=True):
        last = max(steps.max() for run in runs for steps, _ in run.curves.values())
        grid = np.linspace(last / _GRID, last, _GRID)
        line: dict[str, Any] = {"label": label, "runs": [run.arguments for run in runs], "steps": grid}
        for axis, (name, title) in zip(axes.flat, CURVES.items(), strict=True):
            low, middle, high = line[name] = median_curve(runs, name, grid)
            (drawn,) = axis.plot(grid / 1000, middle, label=label)
            axis.fill_between(grid / 1000, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
            axis.set_title(title)
            axis.set_xlabel("thousand environment steps")
        lines.append(line)
        rows.append([label, len(runs), int(last), *(float(line[name][1][-1]) for name in CURVES)])
    if len(lines) > 1:
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    save_figure(figure, arguments.out.with_suffix(".png"))
    result = {"lines": lines, "provenance": provenance("stable-baselines3", "torch")}
    write_json(arguments.out.with_suffix(".json"), result)
    print(format_table("PPO, at the end of training", ["run", "seeds", "steps", *CURVES], rows))
    print(f"written: {arguments.out}.json, {arguments.out}.png")


if __name__ == "__main__":
    main()
