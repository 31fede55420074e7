"""Tables of the surrogate's evaluation, as text."""

from collections.abc import Iterator, Mapping
from typing import Any

from common import display_unit, format_table

from zsgym.classes.amplifier import METRICS

Results = Mapping[str, Mapping[str, Any]]
"""Name of the test set -> model -> scores."""


def tables(results: Results, detailed: str) -> Iterator[str]:
    """All tables of the scores. `detailed` is the model whose single metrics are listed."""
    for test, models in results.items():
        yield validity_table(test, models)
        yield metrics_table(test, models)
        if detailed in models:
            yield metric_table(f"{test}: every metric, {detailed}", models[detailed])
        for model, scores in models.items():
            if "hybrid" in scores:
                yield hybrid_table(f"{test}: hybrid backend with {model}", scores["hybrid"])


def validity_table(test: str, models: Mapping[str, Any]) -> str:
    """Validity scores, one row per model."""
    header = (
        "model", "AUROC in-bin", "90 % interval", "AP (failures)", "caught at 5 % FA", "recall at thr.",
        "false alarms", "ECE", "Brier", "AUROC all", "caught all",
    )  # fmt: skip
    rows = []
    for model, scores in models.items():
        near, far = scores["validity"]["in_bin"], scores["validity"]["all"]
        rows.append(
            (
                model, near["auroc"], f"{near['auroc_low']:.4f}-{near['auroc_high']:.4f}",
                near["average_precision_of_failures"], near["caught_at_5_percent_false_alarms"],
                near["recall_of_failures"], near["false_alarms"], near["ece"], near["brier"], far["auroc"],
                far["caught_at_5_percent_false_alarms"],
            )
        )  # fmt: skip
    first = next(iter(models.values()))["validity"]
    title = (
        f"{test}: validity. {first['in_bin']['rows']:,} in-bin test rows, {first['in_bin']['working_share']:.1%} work; "
        f"{first['all']['rows']:,} in all, {first['all']['working_share']:.1%} work"
    )
    return format_table(title, header, rows)


def metrics_table(test: str, models: Mapping[str, Any]) -> str:
    """Regression and decision scores, one row per model."""
    header = (
        "model", "median R2", "answered", "lowest R2", "median MAPE", "coverage", "width [sd]", "flips/spec",
        "any flip", "wrong", "flips at medians", "regret top 1", "top 10",
    )  # fmt: skip
    rows = []
    for model, s in models.items():
        total, decided, hard = s["summary"], s["decisions"], s["decisions_at_medians"]
        rows.append(
            (
                model, total["median_r2"], total["median_r2_answered"], total["lowest_r2"],
                total["median_mape"], total["coverage"], total["width"], decided["mean_flip"], decided["any_flip"],
                decided["wrong_decisions"], hard["mean_flip"], s["regret"]["top_1"], s["regret"]["top_10"],
            )
        )  # fmt: skip
    first = next(iter(models.values()))
    title = (
        f"{test}: metrics of working sizings, and decisions on the published specs "
        f"({first['decisions']['true_passes']} sizings meet all; best reward {first['regret']['best']:.3f})"
    )
    return format_table(title, header, rows)


def metric_table(title: str, scores: Mapping[str, Any]) -> str:
    """Scores of one model, one row per metric, errors in customary units."""
    header = (
        "metric", "scale", "R2", "R2 physical", "MAE", "unit", "MAPE", "median APE", "coverage", "width [sd]",
        "flips", "flips at median",
    )  # fmt: skip
    rows = []
    for name, s in scores["metrics"].items():
        factor, unit = display_unit(METRICS[name].unit)
        rows.append(
            (
                name, s["scale"], s["r2"], s["r2_physical"], s["mae"] * factor, unit, s["mape"], s["median_ape"],
                s["coverage"], s["width"], scores["decisions"]["flips"].get(name),
                scores["decisions_at_medians"]["flips"].get(name),
            )
        )  # fmt: skip
    return format_table(title, header, rows)


def hybrid_table(title: str, hybrid: Mapping[str, Any]) -> str:
    """The hybrid's savings and errors, one row per confidence."""
    header = (
        "confidence", "answered by surrogate", "of all sizings", "false accepts", "false rejects",
        "failures called working", "working called failures", "wrong labels",
        "flipped specs",
    )  # fmt: skip
    keys = (
        "share", "share_all", "false_accepts", "false_rejects", "failures_called_working", "working_called_failures",
        "wrong_labels", "flipped_specs",
    )  # fmt: skip
    return format_table(title, header, [(confidence, *(s[k] for k in keys)) for confidence, s in hybrid.items()])


def speed_table(speed: Mapping[str, Mapping[str, Any]]) -> str:
    """Speeds, one row per circuit and model."""
    header = (
        "circuit, model", "ngspice /s", "surrogate /s", "ratio", "arrays only /s", "one sizing [ms]", "95 % [ms]",
        "ngspice [ms]",
    )  # fmt: skip
    keys = (
        "ngspice_per_s", "surrogate_per_s", "ratio", "predictor_per_s", "latency_ms", "latency_ms_q95", "ngspice_ms",
    )  # fmt: skip
    return format_table("Speed on one core", header, [(name, *(s[k] for k in keys)) for name, s in speed.items()])


def goals_table(goals: list[dict[str, Any]]) -> str:
    """Goals and what was reached."""
    rows = [(g["where"], g["figure"], g["goal"], g["measured"], "yes" if g["reached"] else "NO") for g in goals]
    return format_table("Goals", ("where", "figure", "goal", "measured", "reached"), rows)
