"""The surrogate against ngspice, and against the models a sceptic names, on held-out rows.

    python benchmarks/surrogate_vs_spice.py --data data/nmcf-uniform data/nmcf-targeted data/nmcnr-targeted

Only rows of the test side are scored, which no training, validation or calibration has seen. Every figure stands per
circuit and data set; validity twice, on all sizings (those outside the transistor models are caught by a closed-form
check) and on in-bin ones, the honest figure. Baselines are trained here, on the training rows of the same data sets;
what they answered is kept in the cache folder, so that an interrupted run goes on where it stopped.

Writes surrogate_vs_spice.json, surrogate_parity.png, surrogate_reliability.png and surrogate_comparison.png.
"""

import argparse
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, provenance, run_resumable, write_json
from surrogate_baselines import BASELINES, QUICK
from surrogate_figures import comparison_figure, parity_figure, reliability_figure
from surrogate_networks import Effort, Raw
from surrogate_rows import Data, TestSet, load_data
from surrogate_scores import (
    Answers,
    calibrated_answers,
    calibration_of,
    checkpoint_answers,
    decision_scores,
    hybrid_scores,
    median_targets,
    metric_scores,
    regret_scores,
    summary,
    validity_scores,
)
from surrogate_speed import measure_speed
from surrogate_tables import goals_table, speed_table, tables
from tqdm import tqdm

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.config import CalibrationConfig
from surrogate.data import Rows
from zsgym.base.files import new_file
from zsgym.simulators import make_simulator

CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
"""Of the hybrid backend."""

_QUICK_ROWS = 1500
_BASELINE_CODE = ("surrogate_baselines.py", "surrogate_networks.py")


def baseline_answers(
    name: str, data: Data, effort: Effort, limit: int | None, cache: Path
) -> tuple[dict[str, Answers], dict[str, float]]:
    """Answers of one baseline for every test set, and what it took.

    It is trained on the training side, stopped by the validation side and calibrated on the calibration side.
    """
    calibration_rows = data.side("calibration")
    asked = [*calibration_rows, *(test.rows for test in data.tests)]
    raw, cost = _cached_raw(name, data, effort, limit, asked, cache)
    levels = CalibrationConfig()
    calibrations = {
        rows.circuit.name: calibration_of(part, rows, data.scales, levels.failure_recall, levels.coverage)
        for rows, part in zip(calibration_rows, raw, strict=False)
    }
    answers = {
        test.name: calibrated_answers(part, calibrations[test.rows.circuit.name], data.scales)
        for test, part in zip(data.tests, raw[len(calibration_rows) :], strict=True)
    }
    return answers, cost


def _cached_raw(
    name: str, data: Data, effort: Effort, limit: int | None, asked: Sequence[Rows], cache: Path
) -> tuple[list[Raw], dict[str, float]]:
    code = b"".join(Path(__file__).with_name(file).read_bytes() for file in _BASELINE_CODE)
    key = hashlib.sha256(f"{name} {data.digest} {effort} {limit} {[t.name for t in data.tests]}".encode() + code)
    place = cache / f"{name}-{key.hexdigest()[:12]}.npz"
    if place.is_file():
        with np.load(place) as saved:
            raw = [Raw(saved[f"logit{k}"], saved[f"metrics{k}"]) for k in range(len(asked))]
            return raw, {"fit_s": float(saved["fit_s"]), "answers_per_s": float(saved["answers_per_s"])}
    started = time.perf_counter()
    model = BASELINES[name](data.side("train", limit), data.side("validation"), data.scales, effort)
    fitted = time.perf_counter()
    raw = [model(rows.circuit, rows.vectors) for rows in asked]
    cost = {
        "fit_s": fitted - started,
        "answers_per_s": sum(len(r.vectors) for r in asked) / (time.perf_counter() - fitted),
    }
    arrays = {f"{field}{k}": getattr(part, field) for k, part in enumerate(raw) for field in Raw._fields}
    with new_file(place) as partial, partial.open("wb") as file:  # numpy appends .npz to a path
        np.savez(file, allow_pickle=False, **arrays, **{k: np.array(v) for k, v in cost.items()})
    return raw, cost


def score(test: TestSet, answers: Answers, data: Data, *, hybrid: bool) -> dict[str, Any]:
    """All scores of one model on one test set."""
    rows, circuit = test.rows, test.rows.circuit
    medians = median_targets(next(r for r in data.side("train") if r.circuit.name == circuit.name))
    metrics = metric_scores(rows, answers, data.scales)
    scores = {
        "validity": validity_scores(rows.valid, answers, test.outside),
        "metrics": metrics,
        "summary": summary(metrics),
        "decisions": decision_scores(rows, answers, circuit.targets),
        "decisions_at_medians": decision_scores(rows, answers, medians),
        "regret": regret_scores(rows, answers, circuit.targets),
    }
    if hybrid:
        scores["hybrid"] = hybrid_scores(rows, answers, circuit.targets, CONFIDENCES, len(test.outside))
    return scores


def goals(results: Mapping[str, Any], speed: Mapping[str, Any], model: str) -> list[dict[str, Any]]:
    """The project's goals for the shipped model, and what was measured."""
    found = []

    def add(where: str, figure: str, low: float, high: float, measured: float) -> None:
        text = f">= {low:g}" if high == np.inf else f"<= {high:g}" if low == -np.inf else f"{low:g} to {high:g}"
        reached = bool(low <= measured <= high)
        found.append({"where": where, "figure": figure, "goal": text, "measured": measured, "reached": reached})

    for test, models in results.items():
        scores = models[model]
        in_bin, everything = scores["validity"]["in_bin"], scores["validity"]["all"]
        coverage = [s["coverage"] for s in scores["metrics"].values()]
        add(test, "working share", 1 / 3, np.inf, in_bin["working_share"])
        add(test, "AUROC in-bin", 0.985, np.inf, in_bin["auroc"])
        add(test, "AUROC all", 0.99, np.inf, everything["auroc"])
        add(test, "failures caught at 5 % false alarms", 0.95, np.inf, in_bin["caught_at_5_percent_false_alarms"])
        add(test, "ECE in-bin", -np.inf, 0.02, in_bin["ece"])
        add(test, "median R2", 0.98, np.inf, scores["summary"]["median_r2"])
        add(test, "lowest R2", 0.90, np.inf, scores["summary"]["lowest_r2"])
        add(test, "mean coverage", 0.88, 0.92, scores["summary"]["coverage"])
        add(test, "lowest coverage of a metric", 0.88, 0.92, min(coverage))
        add(test, "highest coverage of a metric", 0.88, 0.92, max(coverage))
    for name, s in speed.items():
        if name.endswith(f", {model}"):
            add(name, "sizings per second", 2000, np.inf, s["surrogate_per_s"])
            add(name, "times ngspice", 150, np.inf, s["ratio"])
            add(name, "one sizing [ms]", -np.inf, 2.0, s["latency_ms"])
    return found


def speeds(data: Data, checkpoints: Mapping[str, Path], quick: bool) -> dict[str, Any]:
    """Speed of every checkpoint for every circuit."""
    effort = {"rounds": 2, "simulated": 3, "batch": 512, "singles": 30} if quick else {}
    out = {}
    for rows in data.side("test"):
        for model, path in checkpoints.items():
            backend = make_simulator("surrogate", rows.circuit, checkpoint=path)
            truth = make_simulator("ngspice", rows.circuit, workers=1)
            try:
                out[f"{rows.circuit.name}, {model}"] = measure_speed(
                    rows.circuit, backend, truth, Checkpoint.load(path), rows.vectors, **effort
                )
            finally:
                truth.close()
    return out


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole evaluation; returns what the JSON file holds."""
    effort, limit = (QUICK, _QUICK_ROWS) if arguments.quick else (Effort(seed=arguments.seed), None)
    paths = dict(arguments.checkpoint)
    checkpoints = {name: Checkpoint.load(path) for name, path in paths.items()}
    data = load_data(arguments.data)
    answers = {
        name: {
            test.name: checkpoint_answers(checkpoint, test.rows.circuit, test.rows.vectors)
            for test in tqdm(data.tests, desc=name, unit="set", leave=False)
        }
        for name, checkpoint in checkpoints.items()
    }
    costs = {}
    for name in tqdm(arguments.baselines, desc="baselines", unit="model", leave=False):
        answers[name], costs[name] = baseline_answers(name, data, effort, limit, arguments.cache)
    results = {
        test.name: {
            model: score(test, said[test.name], data, hybrid=model in checkpoints) for model, said in answers.items()
        }
        for test in data.tests
    }
    speed = {} if arguments.skip_speed else speeds(data, paths, arguments.quick)
    main_model = next(iter(checkpoints))
    reached = goals(results, speed, main_model)
    for table in [*tables(results, main_model), *([speed_table(speed)] if speed else []), goals_table(reached)]:
        print(table)
    facts = {name: _checkpoint_facts(checkpoint, data) for name, checkpoint in checkpoints.items()}
    for name, fact in facts.items():
        if not fact["trained_on_these_rows"]:
            print(f"\nnote: {name} was trained on other rows, or on these in another order; the baselines on these")
    content = {
        **provenance("torch", "scikit-learn", "scipy", seed=arguments.seed, quick=arguments.quick),
        "data": _data_facts(data, arguments.data),
        "checkpoints": facts,
        "baselines": {"effort": str(effort), "row_limit": limit, "cost": costs},
        "goals": reached,
        "speed": speed,
        "results": results,
    }
    out = arguments.out
    write_json(out / "surrogate_vs_spice.json", content)
    shown = [test for test in data.tests if not test.name.endswith(", pooled")]
    parity_figure(out / "surrogate_parity.png", shown, answers[main_model], data.scales, main_model)
    trained = {name: answers[name] for name in checkpoints}
    reliability_figure(out / "surrogate_reliability.png", shown, trained)
    comparison_figure(out / "surrogate_comparison.png", {t.name: results[t.name] for t in shown})
    print(f"\nwritten: {out / 'surrogate_vs_spice.json'} and three figures beside it")
    return content


def _data_facts(data: Data, paths: Sequence[Path]) -> dict[str, Any]:
    return {
        "paths": [str(path) for path in paths],
        "hash": data.digest,
        "rows": {r.circuit.name: r.counts() for r in data.pooled},
        "test_sets": {t.name: {"in_bin": len(t.rows.vectors), "outside": len(t.outside)} for t in data.tests},
        "scales": {name: [s.kind for s in getattr(data.scales, name)] for name in ("metrics", "auxiliary")},
    }


def _checkpoint_facts(checkpoint: Checkpoint, data: Data) -> dict[str, Any]:
    facts = checkpoint.provenance
    return {
        "sha256": checkpoint.sha256,
        "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
        "data_hash": facts.get("data_hash"),
        "trained_on_these_rows": facts.get("data_hash") == data.digest,
        **{key: facts.get(key) for key in ("rows", "best_epoch", "command", "git_revision")},
    }


def _named_path(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=PATH, got {text!r}")
    return name, Path(path)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR", help="data sets, kept apart")
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        type=_named_path,
        metavar="NAME=PATH",
        default=[("fast", shipped())],
        help="trained surrogates; the first one is detailed and held against the goals (default: the shipped one)",
    )
    parser.add_argument(
        "--baselines", nargs="*", choices=list(BASELINES), default=list(BASELINES), help="models to train beside them"
    )
    parser.add_argument("--skip-speed", action="store_true", help="measure no speed, so that ngspice is not needed")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"small baselines on {_QUICK_ROWS:,} rows per circuit, results under runs/: to see that everything runs",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the baselines (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results (default: benchmarks/results)")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", default=Path("runs/baselines"), help="answers of trained baselines"
    )
    arguments = parser.parse_args(argv)
    if arguments.out is None:
        arguments.out = Path("runs/surrogate_vs_spice_quick") if arguments.quick else RESULTS
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = parse(argv)
    run_resumable(lambda: run(arguments))


if __name__ == "__main__":
    main()
