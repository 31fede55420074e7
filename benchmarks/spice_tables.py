"""Tables and figure of `spice_speed.py`."""

from pathlib import Path
from typing import Any

import numpy as np
from common import COLOURS, format_table, new_figure, save_figure

_NOT_STAGES = ("sizings",)


DRAWN = ("speed", "accuracy", "stages", "throughput")
"""Results that the figure needs."""


def report(result: dict[str, Any]) -> None:
    """Print what there is as tables."""
    tables = {
        "speed": _speed_table,
        "accuracy": _accuracy_table,
        "throughput": _throughput_table,
        "stages": _stage_table,
        "stability": _stability_table,
    }
    for name, table in tables.items():
        if name in result:
            print(table(result[name]))


def _speed_table(speed: dict[str, Any]) -> str:
    rows = [
        [
            name,
            speed["sizings"][name],
            speed["wall_s"][name],
            speed["cpu_s"][name],
            *(
                speed[f"{quantity}_ratio"].get(name, {}).get(kind)
                for quantity in ("wall", "cpu")
                for kind in ("median", "min")
            ),
        ]
        for name in speed["wall_s"]
    ]
    header = ["one working NMCF sizing", "sizings", "wall s", "CPU s", "times zsgym: wall", "lowest", "CPU", "lowest"]
    return format_table("(a) Seconds per evaluation", header, rows)


def _accuracy_table(accuracy: dict[str, Any]) -> str:
    columns = [(label, kind) for label in ("shipped", "converged") for kind in ("median", "max")]
    rows = []
    for name, labels in accuracy["metrics"].items():
        unit = f"{name} (V)" if name == "vos" else name
        rows.append([unit, *(_scientific(labels.get(label, {}).get(kind)) for label, kind in columns)])
    untied = accuracy["metrics"]["settling_time"]["converged, no tie"]
    rows.append(["settling_time, no tie", None, None, _scientific(untied["median"]), _scientific(untied["max"])])
    title = (
        f"(b) Relative difference from the published flow, {accuracy['sizings']} sizings (offset: absolute); "
        f"{accuracy['settling_ties']} settling ties"
    )
    return format_table(title, ["metric", *(f"{label}, {kind}" for label, kind in columns)], rows)


def _scientific(value: float | None) -> str | None:
    return None if value is None else f"{value:.1e}"


def _throughput_table(throughput: dict[str, Any]) -> str:
    keys = ("workers", "evaluations", "per_second", "simulated_per_second", "cpu_ms_per_evaluation")
    rows = [[key.replace("_", " "), throughput[key]] for key in (*keys, "minutes_for_12500")]
    rows += [[f"memory, {when} (MiB)", value] for when, value in throughput["memory_mib"].items()]
    rows += [[f"share: {reason}", value] for reason, value in throughput["shares"].items()]
    return format_table("(c) Throughput on uniform NMCF sizings", ["", "value"], rows)


def _stage_table(stages: dict[str, Any]) -> str:
    names = [name for name in next(iter(stages.values())) if name not in _NOT_STAGES]
    rows = [[name.replace("_", " "), *(kind[name] for kind in stages.values())] for name in names]
    rows.append(["sum", *(sum(kind[name] for name in names) for kind in stages.values())])
    header = ["stage", *(f"{name} ({kind['sizings']})" for name, kind in stages.items())]
    return format_table("(d) Milliseconds per evaluation (uniform in-bin NMCF sizings)", header, rows)


def _stability_table(stability: dict[str, Any]) -> str:
    cases = sorted({case for found in stability.values() for case in found["table"]})
    rows = [[case, *(found["table"].get(case, 0) for found in stability.values())] for case in cases]
    rows += [
        [
            f"time points of working ones, {kind}",
            *(found["time_points_of_working"][kind] for found in stability.values()),
        ]
        for kind in ("median", "p95", "max")
    ]
    header = ["poles, step response", *(f"{name} ({found['strategy']})" for name, found in stability.items())]
    return format_table("(e) Two judges of stability", header, rows)


def draw(result: dict[str, Any], path: Path) -> Path:
    """Seconds per evaluation, differences, stages, and memory."""
    figure, axes = new_figure(2, 2, 11.0, 7.4)
    _draw_speed(axes[0, 0], result["speed"])
    _draw_accuracy(axes[0, 1], result["accuracy"])
    _draw_stages(axes[1, 0], result["stages"])
    _draw_memory(axes[1, 1], result["throughput"])
    return save_figure(figure, path)


def _draw_speed(ax: Any, speed: dict[str, Any]) -> None:
    names, height = list(speed["wall_s"]), 0.38
    places = np.arange(len(names))
    for shift, quantity, colour in ((-height / 2, "wall", COLOURS[0]), (height / 2, "cpu", COLOURS[1])):
        values = [speed[f"{quantity}_s"][name] for name in names]
        title = {"wall": "wall", "cpu": "CPU, all threads"}[quantity]
        bars = ax.barh(places + shift, values, height, color=colour, label=title)
        ax.bar_label(bars, [f"{value:.3g} s" for value in values], padding=3)
    values = [*speed["wall_s"].values(), *speed["cpu_s"].values()]
    ax.set(xscale="log", xlabel="seconds (median)", xlim=(min(values) / 2, max(values) * 5))
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    ax.grid(axis="y", visible=False)
    ax.set_title("One evaluation of a working NMCF sizing")


def _draw_accuracy(ax: Any, accuracy: dict[str, Any]) -> None:
    metrics = accuracy["metrics"]
    names = list(metrics)
    for label, colour, marker in (("shipped", COLOURS[1], "s"), ("converged", COLOURS[0], "o")):
        found = [(name, metrics[name][label]) for name in names if label in metrics[name]]
        ax.scatter(
            [max(values["max"], 1e-14) for _, values in found],
            [names.index(name) for name, _ in found],
            color=colour,
            marker=marker,
            zorder=3,
            label=f"published flow, {'default tolerances' if label == 'shipped' else 'converged'}",
        )
    ax.axvline(1e-6, color=COLOURS[2], linestyle="--")
    ax.text(1e-6, -0.75, " 1e-6 ", color=COLOURS[2], ha="right", va="center")
    ax.axvline(0.02, color=COLOURS[3], linestyle="--")
    ax.text(0.02, -0.75, " 2 %", color=COLOURS[3], ha="left", va="center")
    ax.set(xscale="log", xlabel="largest relative difference (offset: V)", ylim=(len(names) - 0.5, -1.2))
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title(f"Difference from the published flow, {accuracy['sizings']} sizings")


def _draw_stages(ax: Any, stages: dict[str, Any]) -> None:
    offset = np.zeros(len(stages))
    names = [name for name in next(iter(stages.values())) if name not in _NOT_STAGES]
    labels = [f"{kind}\n({found['sizings']} sizings)" for kind, found in stages.items()]
    for colour, name in zip(COLOURS, names, strict=False):
        values = np.array([found[name] for found in stages.values()])
        ax.barh(labels, values, 0.5, left=offset, color=colour, label=name.replace("_", " "))
        offset += values
    for place, total in enumerate(offset):
        ax.text(total, place, f" {total:.0f} ms", va="center")
    ax.set(xlabel="milliseconds, wall (mean)", xlim=(0, 1.15 * offset.max()), ylim=(len(stages) - 0.5, -1.1))
    ax.legend(fontsize=8, ncols=3, loc="upper center")
    ax.grid(axis="y", visible=False)
    ax.set_title("What one evaluation spends where")


def _draw_memory(ax: Any, throughput: dict[str, Any]) -> None:
    memory = throughput["memory_mib_every_100"]
    ax.plot(100 * np.arange(len(memory)), memory, color=COLOURS[0])
    ax.set(xlabel="evaluations", ylabel="MiB", ylim=(0, 1.3 * max(memory)))
    ax.set_title(f"Memory, {throughput['workers']} workers: {throughput['per_second']:.1f} evaluations/s")
