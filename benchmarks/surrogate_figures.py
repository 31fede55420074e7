"""Figures of the surrogate's evaluation."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import COLOURS, display_unit, new_figure, save_figure
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray
from surrogate_rows import TestSet
from surrogate_scores import Answers

from surrogate.data import Normaliser
from surrogate.scores import r_squared
from surrogate.transforms import Transform
from zsgym.classes import Metric
from zsgym.classes.amplifier import METRICS

FloatArray = NDArray[np.float64]


def parity_figure(
    path: Path, tests: Sequence[TestSet], answers: Mapping[str, Answers], scales: Normaliser, model: str
) -> Path:
    """Predicted against simulated, one panel per metric, two rows of panels per circuit; data sets in colours.

    :param answers: name of the test set -> answers of one model.
    """
    circuits = list(dict.fromkeys(test.rows.circuit.name for test in tests))
    figure, axes = new_figure(2 * len(circuits), 6, 15.5, 5.4 * len(circuits))
    for block, circuit in enumerate(circuits):
        own = [test for test in tests if test.rows.circuit.name == circuit]
        panels = axes[2 * block : 2 * block + 2].ravel()
        for k, metric in enumerate(METRICS):
            _parity_panel(panels[k], own, answers, k, metric, scales.metrics[k])
        _parity_legend(panels[len(METRICS)], own, answers, f"{circuit.upper()}, {model}")
    for row in axes:
        row[0].set_ylabel("predicted")
    for axis in axes[-1]:
        axis.set_xlabel("ngspice")
    return save_figure(figure, path)


def _parity_panel(
    axis: Axes, tests: Sequence[TestSet], answers: Mapping[str, Answers], k: int, metric: Metric, scale: Transform
) -> None:
    factor, unit = display_unit(metric.unit)
    shown = []
    for line, (colour, test) in enumerate(zip(COLOURS, tests, strict=False)):
        said = answers[test.name]
        both = test.rows.valid & said.valid
        truth, guess = test.rows.measured[both, k] * factor, said.metrics[both, k] * factor
        axis.scatter(truth, guess, s=4, alpha=0.35, linewidths=0, color=colour, rasterized=True)
        shown.append(np.concatenate([truth, guess]))
        r2 = r_squared(scale.normalise(truth / factor), scale.normalise(guess / factor))
        axis.text(
            0.04, 0.95 - 0.09 * line, f"R2 {r2:.3f}", transform=axis.transAxes, va="top", fontsize=8, color=colour
        )
    values = np.concatenate(shown)
    if scale.kind == "log10":
        axis.set_xscale("log")
        axis.set_yscale("log")
    elif scale.kind == "asinh":
        linear = scale.unit * factor
        axis.set_xscale("asinh", linear_width=linear)
        axis.set_yscale("asinh", linear_width=linear)
    low, high = np.quantile(values, [0.001, 0.999]) if values.size else (0.1, 1.0)
    low, high = _margin(float(low), float(high), scale.kind == "log10")
    axis.plot([low, high], [low, high], color="black", linewidth=0.8, zorder=0)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.set_title(f"{metric.name} [{unit}]")
    axis.tick_params(labelsize=7)
    if scale.kind == "asinh":
        ticks = _asinh_ticks(low, high, scale.unit * factor)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])


def _margin(low: float, high: float, logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        room = (high / low) ** 0.05
        return low / room, high * room
    room = 0.05 * (high - low)
    return low - room, high + room


def _asinh_ticks(low: float, high: float, linear: float) -> list[float]:
    """Zero and the powers of ten on both sides that stand apart from it."""
    largest = int(np.floor(np.log10(max(abs(low), abs(high)))))
    powers = [10.0**p for p in (largest - 1, largest) if 10.0**p > 2.0 * linear]
    return [tick for tick in [*(-p for p in reversed(powers)), 0.0, *powers] if low <= tick <= high]


def _parity_legend(axis: Axes, tests: Sequence[TestSet], answers: Mapping[str, Answers], title: str) -> None:
    axis.axis("off")
    marks = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=f"{test.name}: {_shown(test, answers):,} rows")
        for colour, test in zip(COLOURS, tests, strict=False)
    ]
    axis.legend(handles=marks, loc="center", title=f"{title}\nheld-out working sizings", fontsize=8, title_fontsize=9)


def _shown(test: TestSet, answers: Mapping[str, Answers]) -> int:
    return int((test.rows.valid & answers[test.name].valid).sum())


def reliability_figure(path: Path, tests: Sequence[TestSet], answers: Mapping[str, Mapping[str, Answers]]) -> Path:
    """Per test set: how often sizings work against the probability given, and how p_valid is distributed.

    :param answers: model -> name of the test set -> answers; histograms show the first model.
    """
    figure, axes = new_figure(2, len(tests), 3.6 * len(tests) + 0.6, 5.6)
    first = next(iter(answers))
    for column, test in enumerate(tests):
        top, bottom = axes[0, column], axes[1, column]
        top.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        for colour, (model, said) in zip(COLOURS, answers.items(), strict=False):
            _reliability_curve(top, test, said[test.name], colour, model)
        top.set(title=test.name, xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability of working")
        top.legend(loc="upper left", fontsize=8)
        p_valid, bins = answers[first][test.name].p_valid, np.linspace(0.0, 1.0, 31)
        bottom.hist(p_valid[test.rows.valid], bins, color=COLOURS[2], alpha=0.65, label="works in ngspice")
        bottom.hist(p_valid[~test.rows.valid], bins, color=COLOURS[1], alpha=0.65, label="fails in ngspice")
        threshold = answers[first][test.name].threshold
        bottom.axvline(threshold, color="black", linewidth=1.0, linestyle="--", label=f"threshold {threshold:.2f}")
        bottom.set(yscale="log", xlim=(0, 1), xlabel=f"p_valid of {first}")
        bottom.legend(fontsize=8)
    axes[0, 0].set_ylabel("share that works in ngspice")
    axes[1, 0].set_ylabel("held-out in-bin sizings")
    return save_figure(figure, path)


def _reliability_curve(axis: Axes, test: TestSet, said: Answers, colour: str, label: str, bins: int = 10) -> None:
    """Means over equal-width bins with two-sigma binomial bars, for bins of five rows or more."""
    which = np.minimum((said.p_valid * bins).astype(int), bins - 1)
    filled = [b for b in range(bins) if (which == b).sum() >= 5]
    rows = [which == b for b in filled]
    x = np.array([said.p_valid[r].mean() for r in rows])
    y = np.array([test.rows.valid[r].mean() for r in rows])
    spread = np.array([2.0 * np.sqrt(max(m * (1 - m), 0.25 / r.sum()) / r.sum()) for m, r in zip(y, rows, strict=True)])
    axis.errorbar(x, y, np.clip([spread, spread], 0, [y, 1 - y]), color=colour, label=label, marker="o", ms=4, lw=1.3)


_Scores = Mapping[str, Any]
_COMPARED: tuple[tuple[str, Callable[[_Scores], float], float | None], ...] = (
    ("1 - AUROC, in-bin", lambda s: 1.0 - s["validity"]["in_bin"]["auroc"], 0.015),
    (
        "failures missed at 5 % false alarms",
        lambda s: 1.0 - s["validity"]["in_bin"]["caught_at_5_percent_false_alarms"],
        0.05,
    ),
    ("calibration error (ECE)", lambda s: s["validity"]["in_bin"]["ece"], 0.02),
    ("1 - median R2 of the metrics", lambda s: 1.0 - s["summary"]["median_r2"], 0.02),
    ("spec verdicts flipped, median targets", lambda s: s["decisions_at_medians"]["mean_flip"], None),
)
"""Panels of the comparison: title, error that is shown, goal."""
_LEAST = 1e-3


def comparison_figure(path: Path, results: Mapping[str, Mapping[str, _Scores]]) -> Path:
    """Models compared by their errors on logarithmic axes: one panel per score, dots per test set.

    :param results: name of the test set -> model -> scores.
    """
    tests = list(results)
    models = list(dict.fromkeys(model for scores in results.values() for model in scores))
    figure, axes = new_figure(1, len(_COMPARED), 15.5, 0.4 * len(models) + 1.7)
    height = np.arange(len(models))[::-1]
    for axis, (title, error, goal) in zip(axes[0], _COMPARED, strict=True):
        for k, (colour, test) in enumerate(zip(COLOURS, tests, strict=False)):
            errors = [error(results[test][model]) if model in results[test] else np.nan for model in models]
            offset = 0.5 * ((len(tests) - 1) / 2 - k) / max(len(tests), 1)
            axis.plot(np.maximum(errors, _LEAST), height + offset, "o", color=colour, ms=5, label=test)
        if goal is not None:
            axis.axvline(goal, color="black", linewidth=0.9, linestyle="--", label="goal")
        axis.set(title=title, xscale="log", yticks=height, ylim=(-0.6, len(models) - 0.4))
        axis.set_yticklabels(models if axis is axes[0, 0] else [])
        axis.set_xlabel("lower is better", fontsize=8)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=9)
    return save_figure(figure, path)
