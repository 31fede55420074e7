"""The retraining loop, round by round: does ngspice confirm what the surrogate promises to an agent?

Reads the state that `zsgym retrain` keeps of its runs, prints a table per run, and draws them side by side: the
share of designs called feasible that ngspice confirms, and the gap between surrogate and ngspice, on the designs of the
searches and on random sizings.

    python benchmarks/retrain_rounds.py runs/retrain-nmcf runs/retrain-weak
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import COLOURS, RESULTS, format_table, new_figure, provenance, save_figure, write_json

from zsgym.base.errors import ConfigError
from zsgym.base.scripts import ending_in_one_line, reason
from zsgym.classes.amplifier import METRICS


def read_run(folder: Path) -> dict[str, Any]:
    """What a run has found, in the order of the checkpoints that were searched.

    :raises ConfigError: the folder holds no run, or one without a finished round.
    """
    place = folder / "state.json"
    try:
        state = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read {place}: {reason(error)}. It is written by zsgym retrain --run {folder}"
        ) from None
    rounds = state.get("rounds", [])
    audit = state.get("audit", {})
    searched = [*rounds, *([audit] if audit.get("after") == len(rounds) else [])]  # an older one has been overtaken
    if not searched:
        raise ConfigError(f"{folder} has no finished round yet")
    simulations = 0
    points = []
    for number, found in enumerate(searched):
        points.append(_point(number, simulations, found))
        simulations += found["labelled"]
    return {
        "name": folder.name,
        "label": _label(state["identity"]),
        "circuit": state["identity"]["circuit"],
        "identity": state["identity"],
        "processes": state["processes"],
        "simulations": simulations,
        "points": points,
        "rounds": [{key: r[key] for key in ("round", "promoted", "refused", "untouched")} for r in rounds],
    }


def _label(identity: Mapping[str, Any]) -> str:
    """What a run began with."""
    return f"{identity['circuit'].upper()}, from {identity['init_file'] or 'the shipped checkpoint'}"


def _point(number: int, simulations: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint after `number` rounds, which has cost `simulations`."""
    best, control = found["kinds"].get("best", {}), found["kinds"].get("random", {})
    return {
        "after_rounds": number,
        "simulations": simulations,
        "checkpoint": found["checkpoint"],
        "claims": found["claims"],
        "certain": found["certain"],
        "published": found["published"],
        "reward_gap": best.get("reward_gap"),
        "metric_gap": best.get("metric_gap") or {},
        "metric_gap_random": control.get("metric_gap") or {},
    }


def table(run: Mapping[str, Any]) -> str:
    """One line per searched checkpoint."""
    header = (
        "after round",
        "simulations",
        "called feasible",
        "confirmed",
        "share",
        "certain",
        "confirmed",
        "reward gap",
        "metric gap",
        "random",
    )
    rows = [
        (
            str(p["after_rounds"]),
            p["simulations"],
            p["claims"]["designs"],
            p["claims"]["confirmed"],
            p["claims"]["share"],
            p["certain"]["designs"],
            p["certain"]["confirmed"],
            p["reward_gap"],
            _mean(p["metric_gap"]),
            _mean(p["metric_gap_random"]),
        )
        for p in run["points"]
    ]
    return format_table(f"{run['name']} ({run['circuit']})", header, rows)


def _mean(values: Mapping[str, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Confirmed share, gap of the designs, and the gap of each metric before and after, of several runs."""
    figure, axes = new_figure(1, 3, 12.0, 4.0)
    share, gap, metrics = axes[0]
    for run, colour in zip(runs, COLOURS, strict=False):
        _draw_share(share, run, colour)
        rounds = [p["after_rounds"] for p in run["points"]]
        gap.plot(rounds, [_mean(p["metric_gap"]) for p in run["points"]], "o-", color=colour)
        gap.plot(rounds, [_mean(p["metric_gap_random"]) for p in run["points"]], "x:", color=colour, alpha=0.6)
    share.axhline(0.9, color="#7f7f7f", linestyle="--", linewidth=1)
    share.set(title="Designs called feasible that ngspice confirms", xlabel="rounds of retraining", ylim=(0, 1.09))
    gap.set(title="|surrogate - ngspice| (standard deviations)", xlabel="rounds of retraining")
    gap.set_ylim(bottom=0)
    gap.plot([], [], "o-", color="#7f7f7f", label="designs of the searches")
    gap.plot([], [], "x:", color="#7f7f7f", label="random sizings")
    gap.legend()
    _draw_metrics(metrics, runs)
    figure.legend(*share.get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    for axis in (share, gap):
        axis.xaxis.get_major_locator().set_params(integer=True)
    return save_figure(figure, path)


def _draw_share(axis: Any, run: Mapping[str, Any], colour: str) -> None:
    points = [p for p in run["points"] if p["claims"]["designs"]]
    rounds = [p["after_rounds"] for p in points]
    shares = [p["claims"]["share"] for p in points]
    low, high = zip(*(p["claims"]["interval"] for p in points), strict=True) if points else ((), ())
    axis.plot(rounds, shares, "o-", color=colour, label=run["label"])
    axis.fill_between(rounds, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_metrics(axis: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    for run, colour in zip(runs, COLOURS, strict=False):
        for point, marker, alpha in ((run["points"][0], "o", 0.45), (run["points"][-1], "D", 1.0)):
            gaps = [point["metric_gap"].get(name) for name in METRICS.names]
            axis.plot(gaps, range(len(METRICS.names)), marker, color=colour, alpha=alpha)
    axis.plot([], [], "o", color="#7f7f7f", alpha=0.45, label="before the first round")
    axis.plot([], [], "D", color="#7f7f7f", label="after the last")
    axis.set_yticks(range(len(METRICS.names)), METRICS.names)
    axis.invert_yaxis()
    axis.set(title="The same by metric, on the designs", xlim=(0, None))
    axis.legend(fontsize=7)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of zsgym retrain")
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "retrain_rounds.json", help="JSON; the figure goes beside"
    )
    arguments = parser.parse_args(argv)
    with ending_in_one_line():
        runs = [read_run(folder) for folder in arguments.runs]
    for run in runs:
        print(table(run))
    write_json(arguments.out, {"runs": runs, "provenance": provenance()})
    print(f"written: {arguments.out}, {draw(runs, arguments.out.with_suffix('.png'))}")


if __name__ == "__main__":
    main()
