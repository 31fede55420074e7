"""Scores, table and figure of the sizing benchmark."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import COLOURS, format_table, new_figure, save_figure
from sizing_agents import AGENTS
from sizing_cells import history_of

Result = dict[str, Any]


def scores(results: Sequence[Result], training_rows: dict[str, int]) -> list[dict[str, Any]]:
    """One row per problem and agent, over its seeds.

    :param training_rows: circuit -> simulations that taught the surrogate.
    :return: success rate, best verified reward, and ngspice calls and seconds to the first feasible design: median,
        smallest and largest. A seed without one counts as infinite, so that a median above half the seeds is infinite.
    """
    rows = []
    for problem, agent in dict.fromkeys((r["problem"], r["agent"]) for r in results):
        own = [r for r in results if (r["problem"], r["agent"]) == (problem, agent)]
        calls, seconds = zip(*(_first_feasible(r) for r in own), strict=True)
        rewards = [history_of(r)[-1].reward for r in own]
        rows.append(
            {
                "problem": problem,
                "agent": agent,
                "seeds": len(own),
                "budget": own[0]["budget"],
                "success_rate": float(np.mean(np.isfinite(calls))),
                "reward": _spread(rewards),
                "calls": _spread(calls),
                "seconds": _spread(seconds),
                "simulated": _spread([len(r["history"]) for r in own]),
                "training_rows": training_rows.get(own[0]["circuit"], 0) if AGENTS[agent].surrogate else 0,
            }
        )
    return rows


def _first_feasible(result: Result) -> tuple[float, float]:
    """ngspice calls and seconds to the first feasible design; infinite without one."""
    found = next((step for step in history_of(result) if step.feasible), None)
    return (math.inf, math.inf) if found is None else (float(found.simulations), found.seconds)


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest; the upper of two middle values, so that infinity never meets a number."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "low": ordered[0], "high": ordered[-1]}


def table(problem: str, title: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table of one problem."""
    header = (
        "agent", "success", "best reward", "worst seed", "calls", "range", "seconds", "range", "training rows",
        "calls + rows",
    )  # fmt: skip
    cells = [
        (
            AGENTS[row["agent"]].title,
            f"{round(row['success_rate'] * row['seeds'])}/{row['seeds']}",
            f"{row['reward']['median']:.4f}",
            f"{row['reward']['low']:.4f}",
            _count(row["calls"]["median"], row["budget"]),
            _range(row["calls"], partial(_count, budget=row["budget"])),
            _seconds(row["seconds"]["median"]),
            _range(row["seconds"], _seconds),
            row["training_rows"],
            _count(row["calls"]["median"] + row["training_rows"], row["budget"] + row["training_rows"]),
        )
        for row in rows
        if row["problem"] == problem
    ]
    caption = (
        f"{title} ({problem}): ngspice calls and wall time to the first design that meets every spec in ngspice; "
        f"median over {max(row['seeds'] for row in rows)} seeds and range"
    )
    return format_table(caption, header, cells)


def _range(spread: dict[str, float], text: Callable[[float], str]) -> str:
    low, high = text(spread["low"]), text(spread["high"])
    return low if low == high else f"{low} to {high}"


def _count(value: float, budget: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else f"> {budget:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "never"


def figure(results: Sequence[Result], path: Path) -> Path:
    """Best verified reward against ngspice calls: median over seeds as a line, the range as a band."""
    problems = list(dict.fromkeys((r["problem"], r["title"]) for r in results))
    agents = list(dict.fromkeys(r["agent"] for r in results))
    fig, axes = new_figure(1, len(problems), 4.6 * len(problems), 4.0)
    for ax, (problem, title) in zip(axes[0], problems, strict=True):
        budget = max(r["budget"] for r in results if r["problem"] == problem)
        calls = np.unique(np.round(np.logspace(0, math.log10(budget), 200))).astype(int)
        for agent in agents:
            own = [r for r in results if (r["problem"], r["agent"]) == (problem, agent)]
            if not own:
                continue
            curves = np.array([_best_after(r, calls) for r in own])
            colour = COLOURS[list(AGENTS).index(agent) % len(COLOURS)]
            style = "-" if AGENTS[agent].surrogate else "--"
            middle = np.sort(curves, axis=0)[len(curves) // 2]
            ax.plot(calls, middle, style, color=colour, label=AGENTS[agent].title, linewidth=1.5)
            ax.fill_between(calls, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.12, linewidth=0)
        ax.set(xscale="log", xlabel="ngspice calls", ylabel="best verified reward", title=title)
        ax.set_yscale("symlog", linthresh=0.1)
        ax.set_ylim(-120.0, 0.05)
        ax.set_yticks([-100, -10, -1, -0.1, 0], ["-100", "-10", "-1", "-0.1", "0"])
    lines = {line.get_label(): line for ax in axes[0] for line in ax.get_lines()}
    fig.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, fontsize=8)
    return save_figure(fig, path)


def _best_after(result: Result, calls: np.ndarray) -> np.ndarray:
    """Best reward after so many calls; what was found last holds from the end of the search on."""
    rewards = np.array([step.reward for step in history_of(result)])
    best: np.ndarray = rewards[np.minimum(calls, len(rewards)) - 1]
    return best
