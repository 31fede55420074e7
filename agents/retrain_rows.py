"""The rows that the retraining loop learns: those of the base data sets, replayed, and those that its rounds label.

The sides of the split follow from a hash of the sizing (`surrogate.data`), for the rows of the rounds as for those of
the base data sets: a tenth of either is never trained, validated or calibrated on, and decides about promotion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from surrogate.corpus import Corpus
from surrogate.data import SIDES, Normaliser, Rows, Side, digest_of, read_labels, to_batch
from surrogate.graph import topology_tensors
from zsgym.errors import ConfigError


class LearnSettings(BaseModel):
    """See `configs/agents/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replay: int = Field(gt=0)
    share: float = Field(ge=0, lt=1)
    repeat: int = Field(gt=0)
    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)


@dataclass(frozen=True)
class Base:
    """The rows that the loop starts with, by circuit name, a hash of everything in them, and their verdict policy."""

    rows: dict[str, Rows]
    digest: str
    policy: str

    @staticmethod
    def read(paths: Sequence[Path], limit: int | None = None) -> Base:
        """Read data sets.

        :param limit: keep this many training rows of each circuit, and as large a part of the validation and
            calibration rows; all test rows stay.
        :raises ConfigError: as `read_labels`.
        """
        rows, policy = read_labels(paths)
        if limit is not None:
            rows = {name: _limited(r, limit) for name, r in rows.items()}
        return Base(rows, digest_of(rows.values()), policy)

    def counts(self) -> dict[str, dict[Side, int]]:
        """Rows by circuit and side."""
        return {name: r.counts() for name, r in self.rows.items()}


def _limited(rows: Rows, limit: int) -> Rows:
    part = limit / max(len(rows.side("train").vectors), 1)
    kept: dict[Side, Rows] = {side: rows.side(side) for side in SIDES}
    return Rows.joined(
        r if side == "test" else r.take(np.arange(min(len(r.vectors), max(round(part * len(r.vectors)), 1))))
        for side, r in kept.items()
    )


def mixed_corpus(
    base: Base, new: Rows | None, normaliser: Normaliser | None, settings: LearnSettings, rng: np.random.Generator
) -> Corpus:
    """What a round trains on: a part of the base rows, and the new ones as often as `settings.share` asks for.

    Validation rows are mixed in the same proportion. Calibration rows are all of either, once each.

    :param new: rows of the rounds, of one circuit; None for base rows alone. :param normaliser: None fits one.
    :raises ConfigError: a side of the base rows has no working amplifier.
    """
    total = sum(len(r.side("train").vectors) for r in base.rows.values())
    replayed = min(settings.replay / total, 1.0)
    train, validation, everything = [], [], []
    for name, rows in base.rows.items():
        own = new if new is not None and new.circuit.name == name else None
        part = rows.side("train")
        size = max(round(replayed * len(part.vectors)), 1)
        learnt = part.take(np.sort(rng.permutation(len(part.vectors))[:size]))
        if own is not None:
            fresh = own.side("train")
            repeat = _repetitions(len(learnt.vectors), len(fresh.vectors), settings)
            learnt = Rows.joined([learnt, *[fresh] * repeat])
            checked = Rows.joined([rows.side("validation"), *[own.side("validation")] * repeat])
        else:
            checked = rows.side("validation")
        train.append(learnt)
        validation.append(checked)
        everything.append(rows if own is None else Rows.joined([rows, own]))
        for side, r in (("training", learnt), ("validation", checked), ("calibration", rows.side("calibration"))):
            if not r.valid.any():
                raise ConfigError(f"{name}: no {side} row of the base data sets works; give larger ones with --data")
    normaliser = normaliser or Normaliser.fit(train)
    digest = hashlib.sha256(base.digest.encode())
    for r in train:
        digest.update(np.ascontiguousarray(r.vectors).tobytes())
    return Corpus(
        everything,
        topology_tensors([r.circuit for r in everything]),
        normaliser,
        to_batch(train, normaliser),
        to_batch(validation, normaliser),
        digest.hexdigest()[:16],
        base.policy,
    )


def _repetitions(base: int, new: int, settings: LearnSettings) -> int:
    if not new:
        return 1
    return int(np.clip(round(settings.share / (1.0 - settings.share) * base / new), 1, settings.repeat))
