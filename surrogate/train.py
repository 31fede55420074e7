"""Train a surrogate: python -m surrogate.train --config configs/surrogate/fast.yaml

The run folder receives TensorBoard curves, the state from which an interrupted run continues exactly, and at the end
the calibrated checkpoint of the best epoch. Stop with Ctrl-C and start the same command again to continue.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from surrogate.calibration import CalibrationRows, calibrate, fit_precision, mahalanobis
from surrogate.checkpoint import Checkpoint
from surrogate.config import SurrogateConfig, read_config
from surrogate.corpus import Corpus, load_corpus
from surrogate.data import to_batch
from surrogate.model import SurrogateModel
from surrogate.trainer import Trainer, predict_all
from surrogate.transforms import CLIP
from zsgym.base.errors import ConfigError
from zsgym.base.scripts import ending_in_one_line
from zsgym.samples.manifest import provenance_of_this_process


def calibrated(
    model: SurrogateModel, corpus: Corpus, config: SurrogateConfig, provenance: dict[str, Any]
) -> Checkpoint:
    """A checkpoint: the model with what was measured on the calibration rows of every circuit."""
    embedding = predict_all(model, corpus.topology, corpus.train).embedding.double().numpy()
    mean, precision = fit_precision(embedding)
    parts = [calibration_rows(model, corpus, index, mean, precision) for index in range(len(corpus.rows))]
    levels = {"failure_recall": config.calibration.failure_recall, "coverage": config.calibration.coverage}
    measured = {"pooled": calibrate(CalibrationRows.pooled(parts), **levels)}
    for rows, part in zip(corpus.rows, parts, strict=True):
        measured[rows.circuit.netlist_hash] = calibrate(part, **levels)
    return Checkpoint(
        model.eval(),
        corpus.normaliser,
        measured,
        {r.circuit.netlist_hash: r.circuit.name for r in corpus.rows},
        torch.from_numpy(mean),
        torch.from_numpy(precision),
        provenance,
    )


def calibration_rows(
    model: SurrogateModel, corpus: Corpus, index: int, mean: NDArray[np.float64], precision: NDArray[np.float64]
) -> CalibrationRows:
    """What is measured of one circuit, which has calibration rows.

    :param index: of the circuit in the corpus. :param mean, precision: of the training rows' embeddings.
    """
    sides = [r.side("calibration") for r in corpus.rows]
    batch = to_batch(sides, corpus.normaliser)
    batch = batch[batch.index == index]
    features = corpus.train.features[corpus.train.index == index].double().numpy()  # (m, P, F)
    prediction = predict_all(model, corpus.topology, batch)
    residual = torch.where(batch.metrics_known > 0, prediction.metrics.clamp(-CLIP, CLIP) - batch.metrics, torch.nan)
    return CalibrationRows(
        logit=prediction.validity.double().numpy(),
        residual=residual.double().numpy(),
        distance=mahalanobis(prediction.embedding.double().numpy(), mean, precision),
        valid=batch.valid.numpy() > 0.5,
        features={group: features[:, position] for position, group in enumerate(corpus.rows[index].circuit.groups)},
    )


def train(config: SurrogateConfig, folder: Path, initial: Path | None = None) -> Checkpoint:
    """Train, or continue, a run, and write its checkpoint `<name>.safetensors` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    start = None if initial is None else Checkpoint.load(initial)
    corpus = load_corpus(config, start.normaliser if start else None)
    if start is not None and start.policy != corpus.policy:
        raise ConfigError(
            f"{initial} was trained on labels of the verdict policy {start.policy!r}, the data sets hold those of "
            f"{corpus.policy!r}: fine-tune on labels of the same policy, or train anew"
        )
    trainer = Trainer(config, corpus, folder, start)
    resumed = trainer.resume()
    print(
        f"{config.name}: {sum(p.numel() for p in trainer.model.parameters()):,} parameters, "
        f"{len(corpus.train):,} training rows of {', '.join(r.circuit.name for r in corpus.rows)}"
        + (f"; continuing after epoch {trainer.epoch}" if resumed else "")
    )
    trainer.run()
    trainer.model.load_state_dict(trainer.best)
    provenance = {
        **provenance_of_this_process(),
        "config": json.loads(config.model_dump_json()),
        "policy": corpus.policy,
        "data_hash": corpus.digest,
        "rows": {
            r.circuit.name: r.counts() | {"train": len(r.side("train").drawn(config.data.limit).vectors)}
            for r in corpus.rows
        },
        "best_epoch": trainer.best_epoch,
        "initial": None if initial is None else str(initial),
    }
    checkpoint = calibrated(trainer.model, corpus, config, provenance)
    checkpoint.save(folder / f"{config.name}.safetensors")
    return checkpoint


def _overrides(pairs: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"--set needs KEY=VALUE, got {pair!r}")
        yield key, yaml.safe_load(value)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m surrogate.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML file, see configs/surrogate/")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/NAME)")
    parser.add_argument("--data", nargs="+", metavar="DIR", help="data sets instead of those of the configuration")
    parser.add_argument("--init", type=Path, metavar="FILE", help="fine-tune: start from this checkpoint")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="override, e.g. training.epochs=5")
    parser.add_argument(
        "--threads", type=int, default=1, help="torch threads; more than 1 can be far slower (default: 1)"
    )
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    with ending_in_one_line("interrupted; start the same command again to continue"):
        overrides = dict(_overrides(arguments.set))
        if arguments.data:
            overrides["data.paths"] = arguments.data
        config = read_config(arguments.config, overrides)
        folder = arguments.run or Path("runs") / config.name
        train(config, folder, arguments.init)
    print(f"checkpoint: {folder / f'{config.name}.safetensors'}")


if __name__ == "__main__":
    main()
