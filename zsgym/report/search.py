"""Drawings of a search: what the surrogate promised, and what ngspice said of the designs that were simulated."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from zsgym.base.plot import Axis, Panel, drawing, round_ticks
from zsgym.sizing.history import SearchHistory, Simulation

_EVALUATIONS = {
    "ngspice": "simulations",
    "surrogate": "evaluations of the surrogate",
    "physics": "sizings solved from the equations",
}
_MOST_DOTS = 150
"""More cannot be told apart."""


def search_plots(history: SearchHistory) -> dict[str, str]:
    """Title -> drawing: the most probable design that the surrogate promised, if there is one, and rewards in ngspice.

    Both are drawn over the evaluations of what was searched.
    """
    counts = [count for count, _ in history.believed] + [row.evaluations for row in history.simulations]
    x = Axis(
        0.0,
        1.04 * max([*counts, 1]),
        _EVALUATIONS[history.searched],
    )
    plots = {}
    if history.believed:
        plots["Probability of meeting every spec, as predicted"] = _belief_plot(x, history)
    if history.simulations:
        plots["Simulated in ngspice"] = _reward_plot(x, history.simulations)
    return plots


def _belief_plot(x: Axis, history: SearchHistory) -> str:
    panel = Panel(x, Axis(-0.05, 1.08, "probability", ticks=(0.0, 0.25, 0.5, 0.75, 1.0)), height=220)
    points = [(0, 0.0), *history.believed]
    # A value below the one before: ngspice has corrected the surrogate, and the search began anew.
    starts = [0, *(i for i in range(1, len(points)) if points[i][1] < points[i - 1][1]), len(points)]
    last = max([row.evaluations for row in history.simulations] + [points[-1][0]])
    for start, stop in pairwise(starts):
        _staircase(panel, points[start:stop], points[stop][0] if stop < len(points) else last)
    for row in history.simulations:
        if row.belief is not None:
            panel.dot(row.evaluations, row.belief, "second")
    return drawing([panel], "Predicted probability of meeting every spec over evaluations")


def _reward_plot(x: Axis, simulations: list[Simulation]) -> str:
    worst = min([row.reward for row in simulations if row.works] + [0.0]) or -1.0
    floor = 1.2 * worst  # where failures are drawn
    panel = Panel(x, Axis(1.28 * worst, -0.3 * worst, "reward", ticks=round_ticks(worst, 0.0, about=4)), height=220)
    panel.level(0.0)
    best = np.maximum.accumulate([row.reward if row.works else -np.inf for row in simulations])
    known = [(row.evaluations, float(value)) for row, value in zip(simulations, best, strict=True) if value > -np.inf]
    _staircase(panel, known, simulations[-1].evaluations, "second")
    if len(simulations) <= _MOST_DOTS:
        for row in simulations:
            panel.dot(row.evaluations, row.reward if row.works else floor, "second" if row.works else "failed")
    confirmed = next((number for number, row in enumerate(simulations, 1) if row.feasible), None)
    if confirmed is not None:
        text = f"every spec met by simulation {confirmed}"
        panel.label(simulations[confirmed - 1].evaluations, 0.0, text, "end", dx=4, dy=-12)
    return drawing([panel], "Rewards in ngspice over evaluations")


def _staircase(panel: Panel, points: list[tuple[int, float]], last: int, style: str = "main") -> None:
    """Each value holds until the next one, the last one until the end."""
    if not points:
        return
    corners = [points[0]]
    for (_, before), (count, value) in pairwise(points):
        corners += [(count, before), (count, value)]
    corners.append((last, points[-1][1]))
    counts, values = np.array(corners, dtype=np.float64).T
    panel.line(counts, values, style)
