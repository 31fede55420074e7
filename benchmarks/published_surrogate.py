"""What pages say of the surrogate."""

import shlex
from collections.abc import Sequence
from typing import Any

from published_markdown import percent, read, table

from zsgym.base.quantities import quantity
from zsgym.classes.amplifier import METRICS

_ABLATION = "fast-"
"""Checkpoints with such a name are variants of the shipped model, which only the table of variants shows."""


def surrogate() -> str:
    """Every model on the widest held-out set of each circuit."""
    result = read("surrogate_vs_spice")
    rows = []
    for name in _widest(result):
        models = {m: scores for m, scores in result["results"][name].items() if not m.startswith(_ABLATION)}
        for i, (model, scores) in enumerate(models.items()):
            inside, everything, means = scores["validity"]["in_bin"], scores["validity"]["all"], scores["summary"]
            rows.append(
                [
                    f"{_circuit_of(name)} ({inside['rows']:,})" if i == 0 else "",
                    f"**{model}**" if i == 0 else model,
                    f"{inside['auroc']:.4f} ({everything['auroc']:.4f})",
                    percent(inside["caught_at_5_percent_false_alarms"], 1),
                    f"{inside['ece']:.3f}",
                    f"{means['median_r2']:.3f}",
                    f"{means['lowest_r2']:.3f}",
                    percent(means["coverage"], 1),
                    percent(scores["decisions_at_medians"]["mean_flip"], 1),
                ]
            )
    header = ["held-out rows", "model", "AUROC in-bin (all)", "failures caught at 5 % false alarms", "ECE"]
    return table([*header, "median R²", "lowest R²", "90 % intervals cover", "spec verdicts flipped"], rows)


def ablation() -> str:
    """The trained checkpoints alone, with the number of rows that each has learnt."""
    result = read("surrogate_vs_spice")
    rows = []
    for name in _widest(result):
        for model, facts in result["checkpoints"].items():
            scores = result["results"][name][model]
            learnt = sum(sides["train"] for sides in facts["rows"].values())
            rows.append(
                [
                    _circuit_of(name),
                    model,
                    f"{facts['parameters']:,}",
                    f"{learnt:,}",
                    f"{scores['validity']['in_bin']['auroc']:.4f}",
                    f"{scores['validity']['in_bin']['ece']:.3f}",
                    f"{scores['summary']['median_r2']:.3f}",
                    f"{scores['summary']['lowest_r2']:.3f}",
                ]
            )
    header = ["circuit", "model", "parameters", "rows learnt", "AUROC, in-bin", "ECE", "median R²", "lowest R²"]
    return table(header, rows)


def checkpoint() -> str:
    """What the shipped checkpoint is."""
    result = read("surrogate_vs_spice")
    facts = result["checkpoints"]["fast"]
    sides = ("train", "validation", "calibration", "test")
    rows = [
        f"{circuit.upper()} " + ", ".join(f"{counts[side]:,} {side}" for side in sides)
        for circuit, counts in facts["rows"].items()
    ]
    lines = [
        ["checkpoint", f"`{facts['sha256'][:16]}`"],
        ["parameters", f"{facts['parameters']:,}"],
        ["rows, in-bin", "; ".join(rows)],
        ["data hash", f"`{facts['data_hash']}`"],
        ["command", f"`python -m surrogate.train {shlex.join(facts['command'][1:])}`"],
        ["git revision", f"`{facts['git_revision'][:12]}`"],
        ["best epoch", f"{facts['best_epoch']}"],
    ]
    return table(["", ""], lines)


def validity() -> str:
    """The shipped model's verdict on every test set, in-bin."""
    result = read("surrogate_vs_spice")
    rows = []
    for name, models in result["results"].items():
        v = models["fast"]["validity"]["in_bin"]
        rows.append(
            [
                f"{_circuit_of(name)}, {name[len(_circuit_of(name)) :].strip(',- ')}",
                f"{v['rows']:,}",
                percent(v["working_share"]),
                f"{v['auroc']:.4f} ({v['auroc_low']:.4f} to {v['auroc_high']:.4f})",
                f"{v['average_precision_of_failures']:.4f}",
                percent(v["recall_of_failures"], 1),
                percent(v["false_alarms"], 1),
                f"{v['ece']:.3f}",
                f"{v['brier']:.4f}",
            ]
        )
    header = ["held-out rows", "rows", "working", "AUROC (95 % interval)", "average precision of failures"]
    return table([*header, "failures below the threshold", "working below it", "ECE", "Brier"], rows)


def metric_errors() -> str:
    """The shipped model's error of every metric on the widest held-out set of each circuit."""
    result = read("surrogate_vs_spice")
    names = _widest(result)
    rows = []
    for metric in METRICS.names:
        cells = []
        for name in names:
            m = result["results"][name]["fast"]["metrics"][metric]
            mae = quantity(float(f"{m['mae']:.2g}"), m["unit"])
            cells += [f"{m['r2']:.3f}", mae, percent(m["median_ape"], 1), percent(m["coverage"], 1)]
        rows.append([f"`{metric}`", *cells])
    columns = ("R²", "MAE", "median error", "coverage")
    return table(["metric", *(f"{_circuit_of(name)} {c}" for name in names for c in columns)], rows)


def training() -> str:
    """What training each checkpoint took."""
    rows = []
    for run in read("training_curves")["runs"]:
        speed = sorted(run["rows_per_s"])[len(run["rows_per_s"]) // 2]
        sizes = [f"{run['parameters']:,}", f"{run['rows']:,}", f"{len(run['epochs'])}"]
        rows.append([run["name"], *sizes, f"{speed:,.0f}", f"{run['minutes'][-1]:.0f}"])
    return table(["run", "parameters", "rows", "epochs", "rows per second", "minutes on one core"], rows)


def _circuit_of(test_set: str) -> str:
    return test_set.partition(",")[0].partition("-")[0].upper()


def _widest(result: dict[str, Any]) -> list[str]:
    """The pooled test set of each circuit, or its only one."""
    sets = list(result["results"])
    pooled = [name for name in sets if "pooled" in name]
    covered = {_circuit_of(name) for name in pooled}
    return pooled + [name for name in sets if _circuit_of(name) not in covered]


def goals_missed() -> str:
    """How many of the goals the shipped model meets, on every test set, and which it misses."""
    reached = read("surrogate_vs_spice")["goals"]
    missed = [
        f"{g['figure']} on {g['where']}, {g['measured']:.3f} (goal {g['goal']})" for g in reached if not g["reached"]
    ]
    met = f"`fast` meets {len(reached) - len(missed)} of the {len(reached)} goals that were set for it"
    return f"{met}; missed: {'; '.join(missed)}." if missed else f"{met}."


def hybrid() -> str:
    """What the hybrid backend would have simulated, at 95 % confidence."""
    result = read("surrogate_vs_spice")
    rows = []
    for name in _widest(result):
        s = next(iter(result["results"][name].values()))["hybrid"]["0.95"]
        rows.append(
            [
                _circuit_of(name),
                percent(s["share_all"]),
                percent(s["wrong_labels"], 2),
                f"{s['false_accepts']}",
                f"{s['false_rejects']}",
            ]
        )
    header = ["circuit", "answered by the surrogate", "wrong labels among these"]
    return table([*header, "wrongly accepted against the specs", "wrongly rejected"], rows)


def surrogate_speed() -> str:
    """Batched throughput and latency against ngspice in the same run."""
    rows = []
    for name, s in read("surrogate_vs_spice")["speed"].items():
        circuit, _, model = name.partition(", ")
        if model.startswith(_ABLATION):
            continue
        batch = [f"{s['surrogate_per_s']:,.0f}", f"{s['ngspice_per_s']:.1f}", f"**{s['ratio']:.0f}**"]
        rows.append([circuit.upper(), model, *batch, f"{s['latency_ms']:.2f} ms", f"{s['ngspice_ms']:.0f} ms"])
    header = ["circuit", "model", "sizings per second, batched", "ngspice, one worker", "ratio"]
    return table([*header, "one sizing", "ngspice"], rows)


def zero_shot() -> str:
    """A topology that the model never saw, and what a few rows of it change."""
    result = read("zero_shot")
    points: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, point in result["points"].items():
        kind, rows, _ = key.split(", ")
        points.setdefault((kind, int(rows.partition(" ")[0])), []).append(point)
    lines = [
        [kind if n else "zero-shot", f"{n:,}", *_few_shot(scores)]
        for (kind, n), scores in sorted(points.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    if "reference" in result:
        lines.append(["trained on all rows", "", *_few_shot([result["reference"]])])
    return table(["model", f"rows of {result['new_topology'].upper()}", "AUROC, in-bin", "ECE", "median R²"], lines)


def _few_shot(scores: Sequence[dict[str, Any]]) -> list[str]:
    values = zip(
        *((s["validity"]["auroc"], s["validity"]["ece"], s["summary"]["median_r2"]) for s in scores), strict=True
    )
    return [_spread(list(column)) for column in values]


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"
