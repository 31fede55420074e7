"""The model card of a retrained surrogate, from the state of its run (M. Mitchell et al., FAT* 2019)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from surrogate.checkpoint import Checkpoint
from surrogate.retrain.gate import LOG


def model_card(state: Mapping[str, Any], checkpoint: Checkpoint) -> str:
    """Markdown."""
    identity = state["identity"]
    sections = [
        f"# Model card: surrogate retrained for {identity['circuit']}",
        _origin(state, checkpoint),
        "## Use\n\n"
        "Predicts whether a sizing works and its eleven metrics, at the default conditions of the circuits below:\n"
        '`backend="surrogate", backend_options={"checkpoint": PATH}`. Made for agents that search on it; a\n'
        "design that it calls feasible is a candidate, to be simulated before anybody relies on it.\n\n"
        "Limits: other conditions, corners and circuits; sizings far from its training rows (`in_distribution` is\n"
        "false there); the shares below hold for the designs of this run and targets like theirs, and a stronger\n"
        "optimiser may still find errors.",
        "## Rounds\n\n" + _rounds(state),
        "## Scores on rows that nothing was trained or calibrated on\n\n" + _scores(state),
        "## Calibration\n\n" + _calibration(checkpoint),
        "## Data\n\n" + _data(state, checkpoint),
    ]
    return "\n\n".join(sections) + "\n"


def _origin(state: Mapping[str, Any], checkpoint: Checkpoint) -> str:
    process = state["processes"][-1]
    kept = [r["round"] for r in state.get("rounds", []) if r["promoted"]]
    lines = [
        ("checkpoint", f"`{checkpoint.sha256[:16]}`"),
        ("started from", f"`{state['start']}`" + (f" ({state['identity']['init_file'] or 'shipped with zsgym'})")),
        ("rounds", f"{len(state['rounds'])}, promoted: {', '.join(map(str, kept)) or 'none'}"),
        ("ngspice simulations", f"{state.get('simulations', 0):,}"),
        ("command", f"`{shlex.join(process['command'])}`"),
        ("git revision", f"`{process['git_revision']}`"),
        ("versions", ", ".join(f"{name} {version}" for name, version in process["versions"].items())),
    ]
    return _table(("", ""), lines)


def _rounds(state: Mapping[str, Any]) -> str:
    intro = (
        "Each row: the designs that agents found on the checkpoint before that round. *Confirmed*: of those that it\n"
        "calls feasible (for the targets they were made for), those that meet these targets in ngspice, with the 95 %\n"
        "interval of the share (Wilson); *certain*: the same for those that stay feasible at the worse end of every\n"
        "prediction interval; *published*: for the circuit's own targets. *Reward gap*: median absolute difference\n"
        "between surrogate and ngspice on the most promising designs; *metric gap*: mean absolute difference in\n"
        "standard deviations, on these designs and on random sizings. *Chance*: of so large an improvement on the\n"
        "deciding rows, if old and new checkpoint were equally good.\n\n"
    )
    rows = [_round_row(str(r["round"]), r, "promoted" if r["promoted"] else "refused") for r in state["rounds"]]
    if "audit" in state:
        rows.append(_round_row("after", state["audit"], ""))
    header = (
        "round",
        "confirmed",
        "certain",
        "published",
        "reward gap",
        "metric gap",
        "random sizings",
        "simulations",
        "chance",
        "candidate",
    )
    reasons = [f"- round {r['round']}: {reason}" for r in state["rounds"] for reason in r["refused"]]
    return intro + _table(header, rows) + ("\n\nRefused because:\n\n" + "\n".join(reasons) if reasons else "")


def _round_row(name: str, found: Mapping[str, Any], verdict: str) -> tuple[str, ...]:
    best, control = found["kinds"].get("best", {}), found["kinds"].get("random", {})
    return (
        name,
        _share(found["claims"]),
        _share(found["certain"]),
        _share(found["published"]),
        _number(best.get("reward_gap")),
        _number(_mean(best.get("metric_gap"))),
        _number(_mean(control.get("metric_gap"))),
        str(found["labelled"]),
        _number(found.get("p")),
        verdict,
    )


def _share(claims: Mapping[str, Any]) -> str:
    if not claims["designs"]:
        return "no claim"
    low, high = claims["interval"]
    return f"{claims['confirmed']} of {claims['designs']}: {claims['share']:.0%} ({low:.0%} to {high:.0%})"


def _scores(state: Mapping[str, Any]) -> str:
    """At the start and at the end, on the same rows where these exist at both times."""
    last = state["audit"]["untouched"] if "audit" in state else {}
    if not last and state["rounds"]:
        end = state["rounds"][-1]
        last = end["untouched"]["after" if end["promoted"] else "before"]
    rows = []
    for name, start in state["start_scores"].items():
        rows += [_score_row(name, "start", start)] + ([_score_row(name, "end", last[name])] if name in last else [])
    for r in state["rounds"]:
        for when in ("before", "after"):
            if LOG in r["untouched"][when]:
                rows.append(_score_row("log", f"{when} round {r['round']}", r["untouched"][when][LOG]))
    header = ("test rows", "checkpoint", "rows", "working", "Brier", "AUROC", "metric error", "coverage")
    return _table(header, rows)


def _score_row(name: str, when: str, scores: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        when,
        str(scores["rows"]),
        str(scores["working"]),
        *(_number(scores[key]) for key in ("brier", "auroc", "metric_error", "coverage")),
    )


def _calibration(checkpoint: Checkpoint) -> str:
    rows = [
        (name, _number(c.temperature), _number(c.threshold), str(c.rows), str(c.working))
        for key, name in checkpoint.topologies.items()
        for c in [checkpoint.calibration[key]]
    ]
    kept = [f"- {note}" for note in checkpoint.provenance.get("calibration_kept", [])]
    return "\n".join([_table(("circuit", "temperature", "threshold on p_valid", "rows", "working"), rows), "", *kept])


def _data(state: Mapping[str, Any], checkpoint: Checkpoint) -> str:
    data, log = state["identity"]["data"], state["identity"]["log"]
    hashes = ", ".join(f"{name} `{key}`" for key, name in checkpoint.topologies.items())
    where = "`labels/` of the run" if log is None else f"the sample log {log}"
    text = (
        f"Netlists: {hashes}. Sides follow from a hash of the sizing. New rows: {where}.\n"
        f"Base data sets: {', '.join(data['paths']) or 'none, so that nothing was replayed'}; hash of all their rows "
        f"`{data['hash']}`."
    )
    if not state["rows"]:
        return text
    rows = [(name, *(str(count) for count in sides.values())) for name, sides in state["rows"].items()]
    return f"{text}\n\n" + _table(("circuit", *next(iter(state["rows"].values()))), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(values: Mapping[str, float] | None) -> float | None:
    return sum(values.values()) / len(values) if values else None


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3g}"
