"""The rows that the retraining loop learns: those of base data sets, replayed, and those that its log labels.

The sides of the split follow from a hash of the sizing (`surrogate.data`), for the rows of the log as for those of the
base data sets: test rows of either are never trained, validated or calibrated on, and decide about promotion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from surrogate.corpus import Corpus
from surrogate.data import Normaliser, Rows, Side, digest_of, read_labels, to_batch
from surrogate.graph import topology_tensors
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit

LEARNT: tuple[Side, ...] = ("train", "validation", "calibration")


class LearnSettings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replay: int = Field(gt=0)
    share: float = Field(ge=0, lt=1)
    repeat: int = Field(gt=0)
    steps: int = Field(gt=0)
    passes: int = Field(gt=0)
    learning_rate: float = Field(gt=0)


@dataclass(frozen=True)
class Base:
    """The rows that the loop starts with, by circuit name, a hash of everything in them, and their verdict policy.

    policy is None where there are no base data sets.
    """

    rows: dict[str, Rows]
    digest: str
    policy: str | None

    @staticmethod
    def read(paths: Sequence[Path], circuits: Iterable[Circuit] = ()) -> Base:
        """Read data sets; none are no rows.

        :param circuits: those that are not found by their names.
        :raises ConfigError: as `read_labels`, or a side of a circuit has no working row.
        """
        if not paths:
            return Base({}, digest_of([]), None)
        rows, policy = read_labels(paths, {circuit.name: circuit for circuit in circuits})
        for name, found in rows.items():
            for side in LEARNT:
                if not found.side(side).valid.any():
                    raise ConfigError(f"{name}: no {side} row of the base data sets works; give larger ones")
        return Base(rows, digest_of(rows.values()), policy)

    def counts(self) -> dict[str, dict[Side, int]]:
        """Rows by circuit and side."""
        return {name: r.counts() for name, r in self.rows.items()}


def mixed_corpus(
    base: Base, new: Rows, normaliser: Normaliser, policy: str, settings: LearnSettings, rng: np.random.Generator
) -> Corpus:
    """What a round trains on: a part of the base rows, and the new ones as often as `settings.share` asks for.

    Validation rows are mixed in the same proportion. Calibration rows are all of either, once each.

    :param new: labelled rows of one circuit, of which the base data sets may hold other rows or none.
    :param normaliser: scales of the model that is fine-tuned. :param policy: verdict policy of all labels.
    """
    total = sum(len(r.side("train").vectors) for r in base.rows.values())
    replayed = min(settings.replay / max(total, 1), 1.0)
    name = new.circuit.name
    train, validation = [], []
    everything = {**base.rows, name: Rows.joined([base.rows[name], new]) if name in base.rows else new}
    for other in everything:
        learnt, checked = [], []
        if other in base.rows:
            part = base.rows[other].side("train")
            size = max(round(replayed * len(part.vectors)), 1)
            learnt.append(part.take(np.sort(rng.permutation(len(part.vectors))[:size])))
            checked.append(base.rows[other].side("validation"))
        if other == name:
            fresh = new.side("train")
            repeat = _repetitions(sum(len(r.vectors) for r in learnt), len(fresh.vectors), settings)
            learnt += [fresh] * repeat
            checked += [new.side("validation")] * repeat
        train.append(Rows.joined(learnt))
        validation.append(Rows.joined(checked))
    digest = hashlib.sha256(base.digest.encode())
    for r in train:
        digest.update(np.ascontiguousarray(r.vectors).tobytes())
    # Validation draws a curve and chooses nothing. Without a row of its own it is drawn on what is trained on.
    curve = validation if sum(len(r.vectors) for r in validation) else train
    return Corpus(
        list(everything.values()),
        topology_tensors([r.circuit for r in everything.values()]),
        normaliser,
        to_batch(train, normaliser),
        to_batch(curve, normaliser),
        digest.hexdigest()[:16],
        policy,
    )


def _repetitions(base: int, new: int, settings: LearnSettings) -> int:
    if not base or not new:
        return 1
    return int(np.clip(round(settings.share / (1.0 - settings.share) * base / new), 1, settings.repeat))
