"""What the surrogate knows of a topology it never saw, and how few samples of it make it useful.

    python benchmarks/zero_shot.py --data data/nmcf-uniform data/nmcf-targeted data/nmcnr-targeted

A surrogate is trained on every circuit but one, answers the test rows of that one zero-shot, and is then fine-tuned on
50, 200 and 1,000 of its training rows, several random subsets each; a model from scratch gets the same rows. The stated
number of rows is all that is used: a fifth of them stops the training and calibrates, the rest is learnt.

Every point is written to zero_shot.json as soon as it is known, and an interrupted run goes on with the points that are
missing; another configuration, other data or another base model start anew. The curve is drawn to zero_shot.png.
"""

import argparse
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import COLOURS, RESULTS, format_table, new_figure, provenance, run_resumable, save_figure, write_json
from surrogate_networks import Raw
from surrogate_rows import Data, TestSet, load_data
from surrogate_scores import (
    Answers,
    calibrated_answers,
    calibration_of,
    checkpoint_answers,
    decision_scores,
    median_targets,
    metric_scores,
    summary,
    validity_scores,
)
from tqdm import tqdm

from surrogate.calibration import Calibration, fit_threshold, probability
from surrogate.checkpoint import Checkpoint
from surrogate.config import CalibrationConfig, SurrogateConfig, read_config
from surrogate.corpus import Corpus
from surrogate.data import Normaliser, Rows, to_batch
from surrogate.graph import topology_tensors
from surrogate.predict import ZeroShotWarning
from surrogate.train import train
from surrogate.trainer import Trainer, predict_all
from zsgym.base.errors import ConfigError

_HELD_BACK = 0.2
"""Share of the few rows that stops the training and calibrates."""


@dataclass(frozen=True, slots=True)
class Point:
    """One trained model of the curve: n rows of the new topology, drawn with a seed."""

    kind: str
    rows: int
    seed: int


def points(sizes: Sequence[int], subsets: int) -> list[Point]:
    """Zero-shot, then both ways of learning from every subset."""
    learnt = [Point(kind, n, seed) for n in sizes if n for seed in range(subsets) for kind in ("fine-tuned", "scratch")]
    return [Point("fine-tuned", 0, 0), *learnt]


def few_shot_answers(
    point: Point, config: SurrogateConfig, base: Checkpoint, new: Rows, test: Rows, folder: Path
) -> Answers:
    """Train on `point.rows` of the training rows `new` and answer the test rows."""
    order = np.random.default_rng(point.seed).permutation(len(new.vectors))[: point.rows]
    held_back = max(round(_HELD_BACK * len(order)), 1)
    calibration, learnt = _rows_at(new, order[:held_back]), _rows_at(new, order[held_back:])
    fine_tuned = point.kind == "fine-tuned"
    scales = base.normaliser if fine_tuned else Normaliser.fit([learnt])
    training, stopping, asked = (to_batch([rows], scales) for rows in (learnt, calibration, test))
    topology = topology_tensors([new.circuit])
    trainer = Trainer(
        config,
        Corpus([new], topology, scales, training, stopping, digest=f"{point}"),
        folder,
        base if fine_tuned else None,
    )
    with warnings.catch_warnings(), redirect_stdout(None):  # one line per epoch would bury the points
        warnings.simplefilter("ignore", RuntimeWarning)  # a handful of rows may have no variance to explain
        trainer.run()
    trainer.model.load_state_dict(trainer.best)
    raw = []
    for batch in (stopping, asked):
        prediction = predict_all(trainer.model, topology, batch)
        raw.append(Raw(prediction.validity.double().numpy(), prediction.metrics.double().numpy()))
    return calibrated_answers(raw[1], _calibration(raw[0], calibration, scales, config.calibration), scales)


def _calibration(raw: Raw, rows: Rows, scales: Normaliser, levels: CalibrationConfig) -> Calibration:
    """The usual calibration, except that a handful of rows, often separated perfectly, never raises the confidence."""
    measured = calibration_of(raw, rows, scales, levels.failure_recall, levels.coverage)
    temperature = max(measured.temperature, 1.0)
    threshold = fit_threshold(probability(raw.logit, temperature), rows.valid, levels.failure_recall)
    return measured.model_copy(update={"temperature": temperature, "threshold": threshold})


def _rows_at(rows: Rows, index: np.ndarray[Any, np.dtype[np.int64]]) -> Rows:
    mask = np.zeros(len(rows.vectors), dtype=bool)
    mask[index] = True
    return rows.take(mask)


def point_config(base: SurrogateConfig, point: Point, arguments: argparse.Namespace) -> SurrogateConfig:
    """The base configuration with the steps, batch size and learning rate of a short training."""
    learnt = max(round((1.0 - _HELD_BACK) * point.rows), 1)
    batch = min(64, max(learnt // 4, 1))
    epochs = min(arguments.max_epochs, max(10, arguments.steps * batch // learnt))
    content = base.model_dump()
    content["training"] |= {
        "epochs": epochs,
        "batch_size": batch,
        "patience": max(epochs // 3, 5),
        "warmup_steps": 20,
        "learning_rate": base.training.learning_rate / (4.0 if point.kind == "fine-tuned" else 1.0),
        "seed": point.seed,
    }
    return SurrogateConfig.model_validate(content)


def scores_of(test: TestSet, answers: Answers, data: Data) -> dict[str, Any]:
    """What the curve shows of one model, and all that is behind it."""
    new = next(rows for rows in data.side("train") if rows.circuit.name == test.rows.circuit.name)
    metrics = metric_scores(test.rows, answers, data.scales)
    return {
        "validity": validity_scores(test.rows.valid, answers, test.outside)["in_bin"],
        "summary": summary(metrics),
        "decisions_at_medians": decision_scores(test.rows, answers, median_targets(new)),
        "r2": {name: s["r2"] for name, s in metrics.items()},
    }


def base_model(config: SurrogateConfig, arguments: argparse.Namespace) -> Checkpoint:
    """The model that never saw the new topology: given, or trained here (and continued if that was interrupted)."""
    if arguments.base is None:
        print(f"training the base model without {arguments.new}", flush=True)
        return Checkpoint.load(_trained(config, arguments.run))
    base = Checkpoint.load(arguments.base)
    if arguments.new in base.topologies.values():
        raise ConfigError(f"{arguments.base} was trained on {arguments.new}: nothing about it would be zero-shot")
    return base


def _trained(config: SurrogateConfig, folder: Path) -> Path:
    path = folder / f"{config.name}.safetensors"
    if not path.is_file():
        train(config, folder)
    return path


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all points that are missing; returns what the JSON file holds."""
    data = load_data(arguments.data)
    if arguments.new not in [rows.circuit.name for rows in data.pooled]:
        raise ConfigError(f"the data sets hold no rows of {arguments.new}")
    test = [test for test in data.tests if test.rows.circuit.name == arguments.new][-1]
    new = next(rows for rows in data.side("train") if rows.circuit.name == arguments.new)
    config = read_config(arguments.config, _base_overrides(arguments))
    base = base_model(config, arguments)
    identity = hashlib.sha256(
        json.dumps([config.model_dump_json(), base.sha256, data.digest, arguments.steps, arguments.max_epochs]).encode()
    ).hexdigest()[:16]
    out = arguments.out / "zero_shot.json"
    content: dict[str, Any] = {
        **provenance("torch"),
        "identity": identity,
        "new_topology": arguments.new,
        "trained_on": sorted(base.topologies.values()),
        "test_set": {"name": test.name, "rows": len(test.rows.vectors), "working": float(test.rows.valid.mean())},
        "data_hash": data.digest,
        "base": {"sha256": base.sha256, **{k: base.provenance.get(k) for k in ("rows", "best_epoch")}},
        "config": json.loads(config.model_dump_json()),
        "points": _known_points(out, identity),
    }
    wanted = points(arguments.sizes, arguments.subsets)
    missing = [point for point in wanted if _key(point) not in content["points"]]
    for point in tqdm(missing, desc="few-shot", unit="model"):
        content["points"][_key(point)] = scores_of(test, _answers(point, config, base, new, test, arguments), data)
        write_json(out, content)
    if arguments.reference is not None:
        reference = checkpoint_answers(Checkpoint.load(arguments.reference), test.rows.circuit, test.rows.vectors)
        content["reference"] = scores_of(test, reference, data)
    write_json(out, content)
    print(_table(content, wanted))
    figure(arguments.out / "zero_shot.png", content, wanted)
    print(f"\nwritten: {out} and {out.with_suffix('.png')}")
    return content


def _answers(
    point: Point,
    config: SurrogateConfig,
    base: Checkpoint,
    new: Rows,
    test: TestSet,
    arguments: argparse.Namespace,
) -> Answers:
    if not point.rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZeroShotWarning)
            return checkpoint_answers(base, test.rows.circuit, test.rows.vectors)
    with tempfile.TemporaryDirectory() as folder:
        return few_shot_answers(point, point_config(config, point, arguments), base, new, test.rows, Path(folder))


def _key(point: Point) -> str:
    return f"{point.kind}, {point.rows} rows, subset {point.seed}"


def _known_points(path: Path, identity: str) -> dict[str, Any]:
    """Points of an earlier run with the same identity."""
    if not path.is_file():
        return {}
    earlier: dict[str, Any] = json.loads(path.read_text())
    return dict(earlier["points"]) if earlier.get("identity") == identity else {}


_SHOWN: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
    ("AUROC, in-bin", lambda s: s["validity"]["auroc"]),
    ("failures caught at 5 % false alarms", lambda s: s["validity"]["caught_at_5_percent_false_alarms"]),
    ("calibration error (ECE)", lambda s: s["validity"]["ece"]),
    ("median R2 of the metrics", lambda s: s["summary"]["median_r2"]),
    ("spec verdicts flipped, median targets", lambda s: s["decisions_at_medians"]["mean_flip"]),
)


def _curve(content: dict[str, Any], wanted: Sequence[Point], kind: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Number of rows and the scores of its subsets, for one way of learning."""
    for rows in sorted({point.rows for point in wanted if point.kind == kind}):
        own = [point for point in wanted if point.kind == kind and point.rows == rows]
        yield rows, [content["points"][_key(point)] for point in own]


def _table(content: dict[str, Any], wanted: Sequence[Point]) -> str:
    rows: list[list[Any]] = []
    for kind in ("fine-tuned", "scratch"):
        for n, scores in _curve(content, wanted, kind):
            rows.append([kind, n, *(_mean(score, scores) for _, score in _SHOWN)])
    if "reference" in content:
        rows.append(["trained on all rows", "", *(_mean(score, [content["reference"]]) for _, score in _SHOWN)])
    title = f"{content['new_topology']} by a model of {', '.join(content['trained_on'])}; means over subsets"
    return format_table(title, ("model", "rows", *(name for name, _ in _SHOWN)), rows)


def _mean(score: Any, scores: Sequence[dict[str, Any]]) -> float:
    values = [value for s in scores if (value := score(s)) is not None]
    return float(np.mean(values)) if values else float("nan")


def figure(path: Path, content: dict[str, Any], wanted: Sequence[Point]) -> None:
    """The curves: scores against the number of rows; zero-shot as the first point."""
    shown, axes = new_figure(1, len(_SHOWN), 16.5, 3.5)
    sizes = [0, *sorted({point.rows for point in wanted if point.rows})]
    for axis, (title, score) in zip(axes[0], _SHOWN, strict=True):
        for colour, kind in zip(COLOURS, ("fine-tuned", "scratch"), strict=False):
            curve = list(_curve(content, wanted, kind))
            place = [sizes.index(n) for n, _ in curve]
            for at, (_, scores) in zip(place, curve, strict=True):
                axis.plot([at] * len(scores), [score(s) for s in scores], "o", color=colour, ms=4, alpha=0.5)
            axis.plot(place, [_mean(score, scores) for _, scores in curve], color=colour, label=_LABELS[kind])
        if "reference" in content:
            axis.axhline(
                score(content["reference"]), color="black", lw=0.9, linestyle="--", label="trained on all rows"
            )
        axis.set(title=title, xlabel=f"{content['new_topology'].upper()} samples")
        axis.set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
        if "R2" in title:
            low, high = axis.get_ylim()
            axis.set_ylim(max(low, -1.0), min(high, 1.02))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    shown.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=9)
    save_figure(shown, path)


_LABELS = {"fine-tuned": "zero-shot, then fine-tuned", "scratch": "from scratch on the same samples"}


def _base_overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    overrides: dict[str, Any] = {
        "data.paths": [str(path) for path in arguments.data],
        "data.hold_out": [arguments.new],
        "data.limit": arguments.base_limit,
        "training.seed": arguments.seed,
    }
    if arguments.base_epochs is not None:
        overrides["training.epochs"] = arguments.base_epochs
    return overrides


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR", help="data sets of all circuits")
    parser.add_argument("--new", default="nmcnr", metavar="CIRCUIT", help="the topology never seen (default: nmcnr)")
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("configs/surrogate/fast.yaml"),
        help="(default: configs/surrogate/fast.yaml)",
    )
    parser.add_argument("--base", type=Path, metavar="FILE", help="trained without the new topology (default: trained)")
    parser.add_argument("--base-epochs", type=int, default=12, help="if it is trained here (default: 12)")
    parser.add_argument("--base-limit", type=int, help="training rows per circuit, if trained here (default: all)")
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 200, 1000], help="(default: 50 200 1000)")
    parser.add_argument("--subsets", type=int, default=3, help="random subsets of each size (default: 3)")
    parser.add_argument("--steps", type=int, default=500, help="optimisation steps of a small model (default: 500)")
    parser.add_argument("--max-epochs", type=int, default=100, help="bound on its epochs (default: 100)")
    parser.add_argument(
        "--reference", type=Path, metavar="FILE", help="checkpoint trained on everything, drawn as a line"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the base model (default: 0)")
    parser.add_argument("--run", type=Path, default=Path("runs/zero-shot"), help="run folder of the base model")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="(default: benchmarks/results)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = parse(argv)
    run_resumable(lambda: run(arguments))


if __name__ == "__main__":
    main()
