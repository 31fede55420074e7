"""Fine-tuning on what the log has labelled, among rows of the base data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surrogate.checkpoint import Checkpoint
from surrogate.config import CalibrationConfig, DataConfig, SurrogateConfig, TrainingConfig
from surrogate.corpus import Corpus
from surrogate.data import SIDES, Rows
from surrogate.retrain.recalibrate import CalibrateSettings, recalibrated, widen_intervals
from surrogate.retrain.rows import LearnSettings
from surrogate.trainer import Trainer
from zsgym.samples.manifest import provenance_of_this_process


def fine_tune(
    corpus: Corpus,
    new: Rows,
    start: Checkpoint,
    folder: Path,
    settings: LearnSettings,
    calibrate: CalibrateSettings,
    seed: int,
    facts: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Train on from a checkpoint, and calibrate. Continues what the folder holds of the same training.

    :param new: the labelled rows of the log in the corpus, on which the intervals shall cover, too.
    :param facts: for the provenance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch_size = TrainingConfig().batch_size
    batches = max(len(corpus.train) // batch_size, 1)
    # Of few rows, each would come by hundreds of times.
    epochs = min(math.ceil(settings.steps / batches), settings.passes)
    training = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=batches * epochs // 10,
        patience=epochs,
        seed=seed,
    )
    config = SurrogateConfig(
        name="retrained", model=start.model.config, data=DataConfig(paths=("base", "log")), training=training
    )
    trainer = Trainer(config, corpus, folder, start)
    trainer.resume()
    trainer.run(quiet=True)
    # The weights of the last epoch, when the learning rate has decayed to zero. Which epoch validates best is a matter
    # of luck where few rows validate; what is worse on untouched rows is refused by the gate.
    provenance = {
        **provenance_of_this_process(),
        "training": training.model_dump(),
        "data_hash": corpus.digest,
        "policy": corpus.policy,
        "rows": {r.circuit.name: {side: len(r.side(side).vectors) for side in SIDES} for r in corpus.rows},
        "initial": start.sha256[:16],
        **(facts or {}),
    }
    levels = CalibrationConfig()
    checkpoint = recalibrated(trainer.model, corpus, start, calibrate, levels, provenance)
    widen_intervals(checkpoint, new, levels.coverage)
    return checkpoint
