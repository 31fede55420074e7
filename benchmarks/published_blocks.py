"""What pages say of the results: Markdown, made from the JSON files of `benchmarks/results/`."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from common import RESULTS
from sizing_agents import AGENTS

from zsgym.outcome import Failure


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _interval(summary: dict[str, Any]) -> str:
    return f"{100 * summary['met_low']:.0f} to {100 * summary['met_high']:.0f} %"


# --- agents ---------------------------------------------------------------------------------------------------------


def sizing() -> str:
    """Calls to the first feasible design: a row per agent, the best first, and a column per problem."""
    result = _read("sizing")
    scores = {(s["agent"], s["problem"]): s for s in result["scores"]}
    problems = list(result["problems"])

    def order(agent: str) -> list[float]:
        medians = [scores[agent, p]["calls"]["median"] for p in problems if (agent, p) in scores]
        return [math.inf if median is None else median for median in medians]

    agents = sorted(dict.fromkeys(agent for agent, _ in scores), key=order)
    rows = [[AGENTS[agent].title, *(_calls(scores.get((agent, p))) for p in problems)] for agent in agents]
    return _table(["agent", *(result["problems"][p]["title"] for p in problems)], rows)


def _calls(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    calls = {which: _count(score["calls"][which]) for which in ("median", "low", "high")}
    found = f"{round(score['success_rate'] * score['seeds'])}/{score['seeds']} seeds"
    if score["success_rate"] == 0.0:
        return f"never, {found}"
    seconds = score["seconds"]["median"]
    time = "" if seconds is None else f", {seconds:.0f} s"
    return f"**{calls['median']}** ({calls['low']} to {calls['high']}), {found}{time}"


def _count(calls: float | None) -> str:
    return "never" if calls is None or math.isinf(calls) else f"{calls:,.0f}"


def training_rows() -> str:
    """What the surrogate owes."""
    rows = _read("sizing")["provenance"]["training_rows"]
    owed = " and ".join(f"{n:,} for {circuit.upper()}" for circuit, n in rows.items())
    return f"The surrogate owes the simulations that it learnt from, once for all specs: {owed}."


def ppo_curve() -> str:
    """Where the learning curves of PPO end: median and range over seeds."""
    rows = []
    for line in _read("ppo_curve")["lines"]:
        ends = [[values[-1] for values in line[f"sizing/{name}"]] for name in ("validity_rate", "success_rate")]
        shares = [f"{_percent(middle)} ({_percent(low)} to {_percent(high)})" for low, middle, high in ends]
        rows.append([line["label"], str(len(line["runs"])), f"{line['steps'][-1]:,.0f}", *shares])
    return _table(["run", "seeds", "steps", "sizings that work", "episodes that reach the guarded targets"], rows)


def goals() -> str:
    """Unseen targets that goal-conditioned agents met."""
    rows = []
    for name in sorted(path.stem for path in RESULTS.glob("goals_*.json")):
        result = _read(name)
        s, control = result["summary"], result["arguments"]["control"]
        rows.append(
            [
                result["circuit"].upper(),
                "random actions" if control else "PPO",
                f"{round(s['met'] * s['goals'])} of {s['goals']} ({_interval(s)})",
                _percent(s["met_at_first_call"]),
                f"{s['seconds_median']:.1f} s",
            ]
        )
    header = ["circuit", "policy", "unseen sets of targets met in ngspice", "by the first call", "median time"]
    return _table(header, rows)


def steps_per_second() -> str:
    """Speed of training on the surrogate, log on, and its ratio to ngspice."""
    result = _read("env_speed")
    trained = [r for r in result["results"] if r["what"] == "PPO" and r["log"]]
    fast = max((r for r in trained if r["backend"] == "surrogate"), key=lambda r: r["steps_per_s"])
    slow = max((r for r in trained if r["backend"] == "ngspice"), key=lambda r: r["steps_per_s"])
    ratio = fast["steps_per_s"] / slow["steps_per_s"]
    return (
        f"PPO trains at {fast['steps_per_s']:,.0f} environment steps per second on the surrogate with the sample log "
        f"on ({fast['n_envs']} environments), {ratio:.0f} times as fast as on ngspice."
    )


def retraining() -> str:
    """Designs that the surrogate calls feasible and ngspice confirms, after each round of each run."""
    runs = _read("retrain_rounds")["runs"]
    most = max(len(run["points"]) for run in runs)
    rows = []
    for i in range(most):
        points = [run["points"][i] if i < len(run["points"]) else None for run in runs]
        budget = next(p["simulations"] for p in points if p is not None)
        rows.append([str(i), f"{budget:,}", *(_confirmed(p) for p in points)])
    return _table(["after round", "simulations", *(run["label"] for run in runs)], rows)


def retraining_effect() -> str:
    """Each run before its first round and after its last: own targets, gap of the designs, and what was rolled back."""
    rows = []
    for run in _read("retrain_rounds")["runs"]:
        ends = (run["points"][0], run["points"][-1])
        gaps = [sum(p["metric_gap"].values()) / len(p["metric_gap"]) for p in ends]
        refused = [str(r["round"]) for r in run["rounds"] if not r["promoted"]]
        own = [f"{p['published']['confirmed']} of {p['published']['designs']}" for p in ends]
        rows.append([run["label"], *own, *(f"{gap:.2f}" for gap in gaps), ", ".join(refused) or "none"])
    header = ["run", "own targets confirmed, before", "after", "gap of the designs, before", "after"]
    return _table([*header, "rounds rolled back"], rows)


def _confirmed(point: dict[str, Any] | None) -> str:
    if point is None:
        return ""
    claims = point["claims"]
    return f"{claims['confirmed']} of {claims['designs']} ({_percent(claims['confirmed'] / max(claims['designs'], 1))})"


# --- surrogate ------------------------------------------------------------------------------------------------------


_ABLATION = "fast-"
"""Checkpoints with such a name are variants of the shipped model, which only the table of variants shows."""


def surrogate() -> str:
    """Every model on the widest held-out set of each circuit."""
    result = _read("surrogate_vs_spice")
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
                    _percent(inside["caught_at_5_percent_false_alarms"], 1),
                    f"{inside['ece']:.3f}",
                    f"{means['median_r2']:.3f}",
                    f"{means['lowest_r2']:.3f}",
                    _percent(means["coverage"], 1),
                    _percent(scores["decisions_at_medians"]["mean_flip"], 1),
                ]
            )
    header = ["held-out rows", "model", "AUROC in-bin (all)", "failures caught at 5 % false alarms", "ECE"]
    return _table([*header, "median R²", "lowest R²", "90 % intervals cover", "spec verdicts flipped"], rows)


def ablation() -> str:
    """The trained checkpoints alone, with the number of rows that each has learnt."""
    result = _read("surrogate_vs_spice")
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
    return _table(header, rows)


def training() -> str:
    """What training each checkpoint took."""
    rows = []
    for run in _read("training_curves")["runs"]:
        speed = sorted(run["rows_per_s"])[len(run["rows_per_s"]) // 2]
        sizes = [f"{run['parameters']:,}", f"{run['rows']:,}", f"{len(run['epochs'])}"]
        rows.append([run["name"], *sizes, f"{speed:,.0f}", f"{run['minutes'][-1]:.0f}"])
    return _table(["run", "parameters", "rows", "epochs", "rows per second", "minutes on one core"], rows)


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
    reached = _read("surrogate_vs_spice")["goals"]
    missed = [
        f"{g['figure']} on {g['where']}, {g['measured']:.3f} (goal {g['goal']})" for g in reached if not g["reached"]
    ]
    met = f"`fast` meets {len(reached) - len(missed)} of the {len(reached)} goals that were set for it"
    return f"{met}; missed: {'; '.join(missed)}." if missed else f"{met}."


def hybrid() -> str:
    """What the hybrid backend would have simulated, at 95 % confidence."""
    result = _read("surrogate_vs_spice")
    rows = []
    for name in _widest(result):
        s = next(iter(result["results"][name].values()))["hybrid"]["0.95"]
        rows.append(
            [
                _circuit_of(name),
                _percent(s["share_all"]),
                _percent(s["wrong_labels"], 2),
                f"{s['false_accepts']}",
                f"{s['false_rejects']}",
            ]
        )
    header = ["circuit", "answered by the surrogate", "wrong labels among these"]
    return _table([*header, "wrongly accepted against the specs", "wrongly rejected"], rows)


def surrogate_speed() -> str:
    """Batched throughput and latency against ngspice in the same run."""
    rows = []
    for name, s in _read("surrogate_vs_spice")["speed"].items():
        circuit, _, model = name.partition(", ")
        if model.startswith(_ABLATION):
            continue
        batch = [f"{s['surrogate_per_s']:,.0f}", f"{s['ngspice_per_s']:.1f}", f"**{s['ratio']:.0f}**"]
        rows.append([circuit.upper(), model, *batch, f"{s['latency_ms']:.2f} ms", f"{s['ngspice_ms']:.0f} ms"])
    header = ["circuit", "model", "sizings per second, batched", "ngspice, one worker", "ratio"]
    return _table([*header, "one sizing", "ngspice"], rows)


def zero_shot() -> str:
    """A topology that the model never saw, and what a few rows of it change."""
    result = _read("zero_shot")
    points: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, point in result["points"].items():
        kind, rows, _ = key.split(", ")
        points.setdefault((kind, int(rows.partition(" ")[0])), []).append(point)
    table = [
        [kind if n else "zero-shot", f"{n:,}", *_few_shot(scores)]
        for (kind, n), scores in sorted(points.items(), key=lambda item: (item[0][1], item[0][0]))
    ]
    if "reference" in result:
        table.append(["trained on all rows", "", *_few_shot([result["reference"]])])
    return _table(["model", f"rows of {result['new_topology'].upper()}", "AUROC, in-bin", "ECE", "median R²"], table)


def _few_shot(scores: Sequence[dict[str, Any]]) -> list[str]:
    values = zip(
        *((s["validity"]["auroc"], s["validity"]["ece"], s["summary"]["median_r2"]) for s in scores), strict=True
    )
    return [_spread(list(column)) for column in values]


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


# --- data and ngspice -----------------------------------------------------------------------------------------------


def data_sets() -> str:
    """What became of the sizings of each data set."""
    sets = _read("data_sets")["sets"]
    reasons = [reason.value for reason in Failure if any(reason.value in s["failures"] for s in sets)]
    rows = [["rows", *(f"{s['rows']:,}" for s in sets)]]
    rows += [[f"`{r}`", *(_percent(s["failures"].get(r, 0) / s["rows"], 1) for s in sets)] for r in reasons]
    rows.append(["**works**", *(f"**{_percent(s['working'] / s['rows'], 1)}**" for s in sets)])
    return _table(["first reason", *(f"{s['circuit'].upper()}, {s['strategy']}" for s in sets)], rows)


def spice_speed() -> str:
    """One evaluation, in zsgym and in the published flow."""
    s = _read("spice_speed")["speed"]
    rows = []
    for name in s["wall_s"]:
        ratio = s["wall_ratio"].get(name, {"median": 1.0, "min": 1.0})
        times = [f"{s['wall_s'][name]:.3g}", f"{s['cpu_s'][name]:.3g}"]
        rows.append([name, *times, f"{ratio['median']:.0f}", f"{ratio['min']:.0f}"])
    return _table(["flow", "wall s", "CPU s", "times zsgym (wall, median)", "lowest"], rows)


def spice_throughput() -> str:
    """Evaluations per second of a pool of workers, and its memory."""
    t = _read("spice_speed")["throughput"]
    memory = t["memory_mib"]
    return (
        f"{t['workers']} workers sustain {t['per_second']:.1f} uniform NMCF evaluations per second, failures included "
        f"({t['minutes_for_12500']:.1f} minutes for 12,500 samples), with {memory['start']:.0f} MiB of memory at the "
        f"start and {memory['end']:.0f} MiB after {t['evaluations']:,} evaluations."
    )


def spice_accuracy() -> str:
    """Largest difference from the published flow, metric by metric."""
    accuracy = _read("spice_speed")["accuracy"]
    rows = [
        [f"`{name}`", *(f"{m[flow]['max']:.1e}" if flow in m else "-" for flow in ("shipped", "converged"))]
        for name, m in accuracy["metrics"].items()
    ]
    return _table([f"metric, {accuracy['sizings']} sizings", "as shipped", "converged"], rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "sizing": sizing,
    "training-rows": training_rows,
    "ppo-curve": ppo_curve,
    "goals": goals,
    "steps-per-second": steps_per_second,
    "retraining": retraining,
    "retraining-effect": retraining_effect,
    "surrogate": surrogate,
    "ablation": ablation,
    "training": training,
    "goals-missed": goals_missed,
    "hybrid": hybrid,
    "surrogate-speed": surrogate_speed,
    "zero-shot": zero_shot,
    "data-sets": data_sets,
    "spice-speed": spice_speed,
    "spice-throughput": spice_throughput,
    "spice-accuracy": spice_accuracy,
}
"""Name in a page -> what is written there."""
