"""What a round trains on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from surrogate.corpus import Corpus
from surrogate.data import Rows, read_rows, to_batch
from surrogate.retrain.rows import Base, LearnSettings, mixed_corpus
from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, untrained_checkpoint, write_rows
from zsgym.base.errors import ConfigError


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Base rows of two circuits, and new ones of the first."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "base", [*make_rows(nmcf(), 400, "log"), *make_rows(nmcnr(), 200, "log")])
    write_rows(folder / "new", make_rows(nmcf(), 40, "log", seed=9))
    return folder / "base", folder / "new"


NORMALISER = untrained_checkpoint([nmcf()]).normaliser
LEARN = LearnSettings(replay=120, share=0.4, repeat=3, steps=10, passes=30, learning_rate=1e-3)


def corpus_of(base: Base, new: Rows) -> Corpus:
    return mixed_corpus(base, new, NORMALISER, "functional", LEARN, np.random.default_rng(0))


def test_no_test_row_is_learnt_or_chosen_by(both: tuple[Path, Path]) -> None:
    base, new = Base.read([both[0]]), read_rows([both[1]])["nmcf"]
    corpus = corpus_of(base, new)
    learnt = {f.numpy().tobytes() for f in [*corpus.train.features, *corpus.validation.features]}
    sides = to_batch([r.side("test") for r in corpus.rows], corpus.normaliser)
    assert len(sides) > 30
    assert not any(f.numpy().tobytes() in learnt for f in sides.features)


def test_replay_and_repetition_have_the_sizes_that_were_asked_for(both: tuple[Path, Path]) -> None:
    base, new = Base.read([both[0]]), read_rows([both[1]])["nmcf"]
    corpus = corpus_of(base, new)
    _, counts = np.unique(corpus.train.features.flatten(1).numpy(), axis=0, return_counts=True)
    fresh, total = (len(r.side("train").vectors) for r in (new, base.rows["nmcf"]))
    replayed = round(LEARN.replay * total / (total + len(base.rows["nmcnr"].side("train").vectors)))
    repeat = round(LEARN.share / (1.0 - LEARN.share) * replayed / fresh)
    assert 1 < repeat < LEARN.repeat
    assert Counter(counts.tolist()) == {1: LEARN.replay, repeat: fresh}


def test_a_circuit_without_base_rows_is_learnt_beside_the_others(both: tuple[Path, Path]) -> None:
    base, new = Base.read([both[0]]), read_rows([both[1]])["nmcf"]
    del base.rows["nmcf"]
    corpus = corpus_of(base, new)
    assert [r.circuit.name for r in corpus.rows] == ["nmcnr", "nmcf"]
    assert (corpus.train.index == 1).sum() == len(new.side("train").vectors)


def test_without_base_rows_each_new_one_comes_once(both: tuple[Path, Path]) -> None:
    base, new = Base.read([]), read_rows([both[1]])["nmcf"]
    corpus = corpus_of(base, new)
    assert base.policy is None
    assert len(corpus.train) == len(new.side("train").vectors)
    assert len(corpus.validation) > 0
    few = new.take(new.position < 0.75)  # no validation row: its curve is drawn on the training rows
    assert len(corpus_of(base, few).validation) == len(few.vectors)


def test_base_rows_of_which_none_works_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, [row for row in make_rows(nmcf(), 100, "log") if not row.label])
    with pytest.raises(ConfigError, match="nmcf: no train row of the base data sets works; give larger ones"):
        Base.read([tmp_path])
