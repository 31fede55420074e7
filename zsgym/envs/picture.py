"""The picture of one state: normalised sizing, spec margins, rewards of the episode so far, and what its class draws.

Imported only when a picture is drawn, since matplotlib is optional. Figures are made as objects, without pyplot: no
display, no global state, safe in threads and worker processes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from zsgym.base.pictures import BROKEN, INK, MET, MISSED, MUTED, NEUTRAL, TRACK, plain
from zsgym.base.quantities import quantity
from zsgym.circuits import Circuit
from zsgym.classes import MetricSet, Targets
from zsgym.classes.specs import target_text
from zsgym.envs.rendering import failure_line, headline, status_line
from zsgym.envs.state import State
from zsgym.simulators.outcome import Outcome

WIDTH, HEIGHT, DPI = 1040, 680, 100
"""Size of the picture in pixels; even numbers, as video encoders want."""


def draw(circuit: Circuit, state: State) -> NDArray[np.uint8]:
    """An RGB image of shape (HEIGHT, WIDTH, 3)."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
    figure.set_layout_engine("none")  # every axis has its place, whatever the user's style says
    _draw_header(figure, circuit, state)
    _draw_sizing(figure.add_axes((0.115, 0.055, 0.22, 0.795)), circuit, state)
    margins = figure.add_axes((0.505, 0.365, 0.27, 0.485))
    draw_margins(margins, circuit.metrics, state.outcome, state.targets, state.margins)
    sketch = circuit.circuit_class.sketch()
    rewards = figure.add_axes((0.505, 0.085, 0.205 if sketch else 0.435, 0.185))
    draw_rewards(rewards, state.rewards, state.failure_reward, state.step_limit)
    if sketch:
        sketch(figure.add_axes((0.765, 0.085, 0.175, 0.185)), state.metrics)
    pixels = io.BytesIO()
    figure.savefig(pixels, format="rgba", dpi=DPI)
    return np.frombuffer(pixels.getvalue(), np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3].copy()


def _draw_header(figure: Figure, circuit: Circuit, state: State) -> None:
    color = BROKEN if not state.outcome.success else MET if state.is_success else MISSED
    figure.text(0.02, 0.945, headline(circuit, state), fontsize=14, color=INK, weight="bold", va="center")
    figure.text(0.02, 0.908, circuit.title, fontsize=9.5, color=MUTED, va="center")
    box = {"boxstyle": "round,pad=0.6", "facecolor": color, "edgecolor": "none"}
    status = status_line(state)
    figure.text(0.965, 0.936, status, fontsize=11, color="white", weight="bold", ha="right", va="center", bbox=box)


def _draw_sizing(axes: Axes, circuit: Circuit, state: State) -> None:
    """One bar per parameter from the low to the high bound, the value at its end of the track."""
    positions = range(len(circuit.parameters))
    axes.barh(positions, 2.0, left=-1.0, height=0.5, color=TRACK)
    axes.barh(positions, state.point + 1.0, left=-1.0, height=0.5, color=NEUTRAL)
    fontsize = min(8.5, 190.0 / len(positions))
    for position, parameter in zip(positions, circuit.parameters, strict=True):
        value = state.sizing[parameter.name]
        axes.text(1.06, position, quantity(value, parameter.unit), fontsize=fontsize, color=INK, va="center")
    axes.set_yticks(positions, [parameter.name for parameter in circuit.parameters], fontsize=fontsize, color=INK)
    axes.set_ylim(len(positions) - 0.4, -0.6)
    axes.set_xlim(-1.0, 1.0)
    axes.set_xticks([-1.0, 0.0, 1.0], ["low", "", "high"], fontsize=8, color=MUTED)
    plain(axes, "sizing within its bounds")


def draw_margins(
    axes: Axes, metric_set: MetricSet, outcome: Outcome, targets: Targets, margins: Mapping[str, float]
) -> None:
    """One bar per spec, to the right when it is met; on the right the measured value, the target and the verdict.

    :param targets: metric -> SI value. :param margins: of every spec; not looked at when the circuit does not work.
    """
    positions = range(len(metric_set.names))
    metrics = outcome.determined
    bars = [0.0 if metrics is None else margins.get(name, 0.0) for name in metric_set.names]
    axes.barh(positions, 2.0, left=-1.0, height=0.56, color=TRACK)
    axes.barh(positions, bars, height=0.56, color=[MET if bar >= 0.0 else MISSED for bar in bars])
    axes.axvline(0.0, color=INK, linewidth=1.0)
    columns = axes.get_yaxis_transform()
    for position, name in zip(positions, metric_set.names, strict=True):
        value = "" if metrics is None else quantity(metrics.get(name), metric_set[name].unit)
        target = target_text(metric_set, name, targets[name]) if name in targets else "no spec"
        axes.text(1.38, position, value, transform=columns, fontsize=8.5, color=INK, va="center", ha="right")
        axes.text(1.43, position, target, transform=columns, fontsize=8.5, color=MUTED, va="center")
        if metrics is not None and name in targets:
            # A spec that is just met or just missed has no visible bar.
            marker, color = ("o", MET) if margins[name] >= 0.0 else ("X", MISSED)
            axes.plot(1.71, position, marker, transform=columns, color=color, markersize=6, clip_on=False)
    if metrics is None:
        message = f"no metrics\n{failure_line(outcome)}"
        box = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": BROKEN}
        axes.text(
            0.0,
            len(positions) / 2 - 0.5,
            message,
            fontsize=12,
            color=BROKEN,
            weight="bold",
            ha="center",
            va="center",
            bbox=box,
        )
    axes.set_yticks(positions, metric_set.names, fontsize=8.5, color=INK)
    axes.set_ylim(len(positions) - 0.4, -0.6)
    axes.set_xlim(-1.0, 1.0)
    axes.set_xticks([-1.0, 0.0, 1.0], ["-1", "0", "1"], fontsize=8, color=MUTED)
    plain(axes, "spec margins")


def draw_rewards(axes: Axes, episode: Sequence[float], failure_reward: float, step_limit: int | None) -> None:
    """Rewards of working sizings as a line; a failure is far below any of them and gets a mark on the floor.

    :param episode: the reward of every step so far. :param failure_reward: what a failure gets; drawn off the scale.
    :param step_limit: where the episode is truncated, as far as it is known.
    """
    rewards = np.array(episode)
    steps = np.arange(1, len(rewards) + 1)
    works = rewards > failure_reward
    floor = min([-1.0, *(rewards[works] * 1.15)])
    axes.axhline(0.0, color=MET, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.plot(steps[works], rewards[works], "-o", color=NEUTRAL, markersize=4, linewidth=1.4)
    axes.plot(steps[~works], np.full((~works).sum(), floor), "x", color=BROKEN, markersize=5, clip_on=False)
    axes.set_xlim(0.5, max(len(rewards), step_limit or 10) + 0.5)
    axes.set_ylim(floor, -0.08 * floor)
    failed = not works.all()
    scale = MaxNLocator(4).tick_values(floor, 0.0) if works.any() or not failed else [0.0]
    names = {tick: f"{tick:g}" for tick in scale if (0.8 if failed else 1.0) * floor <= tick <= 0.0}
    if failed:
        names[floor] = "failed"  # no reward, so no number, and none stands close to it
    axes.set_yticks(list(names), list(names.values()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8, labelcolor=MUTED, length=0)
    axes.grid(axis="y", color=TRACK)
    axes.set_axisbelow(True)
    axes.set_xlabel("step", fontsize=8.5, color=MUTED)
    plain(axes, f"rewards (x: failed, {failure_reward:g})")
