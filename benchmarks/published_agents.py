"""What pages say of the agents and of the retraining loop."""

import math
from typing import Any

from common import RESULTS
from published_markdown import percent, read, table
from sizing_agents import AGENTS


def sizing() -> str:
    """Calls to the first feasible design: a row per agent, the best first, and a column per problem."""
    result = read("sizing")
    scores = {(s["agent"], s["problem"]): s for s in result["scores"]}
    problems = list(result["problems"])

    def order(agent: str) -> list[float]:
        medians = [scores[agent, p]["calls"]["median"] for p in problems if (agent, p) in scores]
        return [math.inf if median is None else median for median in medians]

    agents = sorted(dict.fromkeys(agent for agent, _ in scores), key=order)
    rows = [[AGENTS[agent].title, *(_calls(scores.get((agent, p))) for p in problems)] for agent in agents]
    return table(["agent", *(result["problems"][p]["title"] for p in problems)], rows)


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
    rows = read("sizing")["provenance"]["training_rows"]
    owed = " and ".join(f"{n:,} for {circuit.upper()}" for circuit, n in rows.items())
    return f"The surrogate owes the simulations that it learnt from, once for all specs: {owed}."


def ppo_curve() -> str:
    """Where the learning curves of PPO end: median and range over seeds."""
    rows = []
    for line in read("ppo_curve")["lines"]:
        ends = [[values[-1] for values in line[f"sizing/{name}"]] for name in ("validity_rate", "success_rate")]
        shares = [f"{percent(middle)} ({percent(low)} to {percent(high)})" for low, middle, high in ends]
        rows.append([line["label"], str(len(line["runs"])), f"{line['steps'][-1]:,.0f}", *shares])
    return table(["run", "seeds", "steps", "sizings that work", "episodes that reach the guarded targets"], rows)


def goals() -> str:
    """Unseen targets that goal-conditioned agents met."""
    rows = []
    for name in sorted(path.stem for path in RESULTS.glob("goals_*.json")):
        result = read(name)
        s, control = result["summary"], result["arguments"]["control"]
        rows.append(
            [
                result["circuit"].upper(),
                "random actions" if control else "PPO",
                f"{round(s['met'] * s['goals'])} of {s['goals']} ({_interval(s)})",
                percent(s["met_at_first_call"]),
                f"{s['seconds_median']:.1f} s",
            ]
        )
    header = ["circuit", "policy", "unseen sets of targets met in ngspice", "by the first call", "median time"]
    return table(header, rows)


def steps_per_second() -> str:
    """Speed of training on the surrogate, log on, and its ratio to ngspice."""
    result = read("env_speed")
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
    runs = read("retrain_rounds")["runs"]
    most = max(len(run["points"]) for run in runs)
    rows = []
    for i in range(most):
        points = [run["points"][i] if i < len(run["points"]) else None for run in runs]
        budget = next(p["simulations"] for p in points if p is not None)
        rows.append([str(i), f"{budget:,}", *(_confirmed(p) for p in points)])
    return table(["after round", "simulations", *(run["label"] for run in runs)], rows)


def retraining_effect() -> str:
    """Each run before its first round and after its last: own targets, gap of the designs, and what was rolled back."""
    rows = []
    for run in read("retrain_rounds")["runs"]:
        ends = (run["points"][0], run["points"][-1])
        gaps = [sum(p["metric_gap"].values()) / len(p["metric_gap"]) for p in ends]
        refused = [str(r["round"]) for r in run["rounds"] if not r["promoted"]]
        own = [f"{p['published']['confirmed']} of {p['published']['designs']}" for p in ends]
        rows.append([run["label"], *own, *(f"{gap:.2f}" for gap in gaps), ", ".join(refused) or "none"])
    header = ["run", "own targets confirmed, before", "after", "gap of the designs, before", "after"]
    return table([*header, "rounds rolled back"], rows)


def _confirmed(point: dict[str, Any] | None) -> str:
    if point is None:
        return ""
    claims = point["claims"]
    return f"{claims['confirmed']} of {claims['designs']} ({percent(claims['confirmed'] / max(claims['designs'], 1))})"


def _interval(summary: dict[str, Any]) -> str:
    return f"{100 * summary['met_low']:.0f} to {100 * summary['met_high']:.0f} %"
