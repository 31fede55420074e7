"""What becomes a label, on which side it stands, and what no statistic and no loss ever sees."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate.config import read_config
from surrogate.corpus import load_corpus
from surrogate.data import AUXILIARY, SIDES, Normaliser, Rows, read_rows, to_batch
from surrogate.losses import losses
from surrogate.model import SurrogateModel
from tests.surrogate.synthetic import (
    RC_LOADED,
    TINY,
    make_row,
    make_rows,
    nmcf,
    nmcnr,
    sizings,
    vectors,
    write_config,
    write_rows,
)
from zsgym.base.errors import ConfigError, ZsgymError
from zsgym.circuits import load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes.amplifier import METRICS
from zsgym.samples import Sample, SampleLog

K = {name: k for k, name in enumerate(METRICS.names)}


def read(folder: Path, rows: Sequence[Sample]) -> dict[str, Rows]:
    return read_rows([write_rows(folder, rows)])


def by_sizing(rows: Rows) -> dict[bytes, tuple[str, bool, bytes, bytes]]:
    """Sizing -> side, label and numbers of its row."""
    return {
        part.vectors[i].tobytes(): (side, bool(part.valid[i]), part.measured[i].tobytes(), part.raw[i].tobytes())
        for side in SIDES
        for part in [rows.side(side)]
        for i in range(len(part.valid))
    }


# --- split ----------------------------------------------------------------------------------------------------------


def test_every_row_stands_on_exactly_one_side() -> None:
    n = 4000
    random = np.random.default_rng(0)
    position = random.uniform(size=n)
    nothing = np.zeros((n, 1))
    rows = Rows(nmcf(), np.arange(n, dtype=float)[:, None], np.ones(n, bool), nothing, nothing, position)
    sides = {side: set(rows.side(side).vectors[:, 0].tolist()) for side in SIDES}
    assert sum(map(len, sides.values())) == n
    assert set.union(*sides.values()) == set(range(n))
    for side, share in SIDES.items():
        assert len(sides[side]) / n == pytest.approx(share, abs=0.02)
    edges = Rows(
        nmcf(), np.zeros((2, 1)), np.ones(2, bool), np.zeros((2, 1)), np.zeros((2, 1)), np.array([0.0, 1 - 1e-12])
    )
    assert len(edges.side("train").valid) == len(edges.side("test").valid) == 1


def test_the_shares_are_those_that_were_asked_for(data: Path) -> None:
    for rows in read_rows([data]).values():
        for side, share in SIDES.items():
            assert len(rows.side(side).valid) / len(rows.valid) == pytest.approx(share, abs=0.05)


def test_the_split_depends_on_the_sizing_alone(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 200)
    expected = by_sizing(read(tmp_path / "plain", rows)["nmcf"])
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    assert by_sizing(read(tmp_path / "shuffled", shuffled)["nmcf"]) == expected
    again = [row.model_copy(update={"seed": 5, "index": 1000 + i, "time": "later"}) for i, row in enumerate(rows)]
    repeated = read(tmp_path / "repeated", [*rows, *again])["nmcf"]
    assert by_sizing(repeated) == expected
    assert len(repeated.valid) == len(expected)  # each sizing once
    few = by_sizing(read(tmp_path / "few", rows[:50])["nmcf"])
    assert few.items() <= expected.items()


def test_sizings_that_differ_by_rounding_are_the_same(tmp_path: Path) -> None:
    """Else a sizing that was computed on two paths could be learnt as one row and tested as the other."""
    rows = make_rows(nmcf(), 200)
    expected = by_sizing(read(tmp_path / "plain", rows)["nmcf"])
    twins = [
        row.model_copy(update={"sizing": {k: math.nextafter(v, 1) for k, v in row.sizing.items()}}) for row in rows
    ]
    both = read(tmp_path / "both", [*rows, *twins])["nmcf"]
    assert by_sizing(both) == expected
    alone = read(tmp_path / "twins", twins)["nmcf"]
    plain = read(tmp_path / "plain again", rows)["nmcf"]
    assert sorted(alone.position) == sorted(plain.position)
    assert not len(alone.without(plain).valid)


def test_the_split_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """Golden values: another hash or other shares would mix test rows of published checkpoints into training."""
    assert list(SIDES.items()) == [("train", 0.75), ("validation", 0.05), ("calibration", 0.10), ("test", 0.10)]
    values = {"W": 2.0, "L": 0.5, "M": 4.0, "value": 1e-11}
    sizing = {p.name: values[p.quantity] for p in nmcf().parameters}
    rows = read(tmp_path, [make_row(nmcf(), sizing)])["nmcf"]
    assert rows.position[0] == pytest.approx(0.035825598, abs=1e-8)


# --- labels ---------------------------------------------------------------------------------------------------------


def test_rows_hold_what_ngspice_said(tmp_path: Path) -> None:
    samples = {nmcf().vector(s.sizing).tobytes(): s for s in make_rows(nmcf(), 300)}
    rows = read(tmp_path, list(samples.values()))["nmcf"]
    seen = set()
    for vector, valid, measured, raw in zip(rows.vectors, rows.valid, rows.measured, rows.raw, strict=True):
        sample = samples[vector.tobytes()]
        seen.add(sample.failure)
        assert valid == (sample.label == 1)
        for name, value in zip(METRICS.names, measured, strict=True):
            if sample.label == 1:
                assert value == sample.metrics[name]
            elif sample.failure == "unstable" and name not in ("phase_margin", "slew_rate", "settling_time"):
                assert value == sample.raw[name]
            else:
                assert math.isnan(value)
        for name, value in zip(AUXILIARY, raw, strict=True):
            assert value == sample.raw[name] if name in sample.raw else math.isnan(value)
    assert seen == {None, "unstable", "no_gain"}


def test_sizings_outside_the_models_are_no_rows(tmp_path: Path) -> None:
    samples = make_rows(nmcf(), 300)
    outside = [sample for sample in samples if sample.failure == "geometry"]
    assert len(outside) > 30
    # Even a row that claims to work out there is none: the check is exact and comes first.
    claims = make_row(nmcf(), outside[0].sizing, label=1, failure=None, metrics=dict.fromkeys(METRICS.names, 1.0))
    rows = read(tmp_path, [*samples[1:], claims])["nmcf"]
    assert inside_models(nmcf(), rows.vectors).all()
    assert len(rows.valid) == len({s.sample_id for s in samples[1:]} - {s.sample_id for s in outside})


def test_what_a_surrogate_answered_is_no_label(tmp_path: Path) -> None:
    (asked, *others) = sizings(nmcf(), 40, "log")
    truth = [make_row(nmcf(), sizing) for sizing in others]
    guess = make_row(nmcf(), asked, backend="surrogate", label=0, failure="predicted", metrics=None, raw={})
    wrong = make_row(nmcf(), others[0], backend="surrogate", label=0, failure="predicted", metrics=None, raw={})
    log = SampleLog(tmp_path)
    log.append_many([wrong, guess, *truth])  # the guesses come first, and must not win
    log.close()
    rows = read_rows([tmp_path])["nmcf"]
    assert by_sizing(rows) == by_sizing(read(tmp_path / "truth", truth)["nmcf"])
    with pytest.raises(ConfigError, match="no rows that ngspice answered"):
        read(tmp_path / "guess", [guess])


def test_other_conditions_are_other_amplifiers(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 60, "log")
    slow = {**rows[0].conditions, "corner": "ss"}
    cold = {**rows[0].conditions, "temperature": -40.0}
    other = [make_row(nmcf(), row.sizing, conditions=slow) for row in rows[:30]]
    other += [make_row(nmcf(), row.sizing, conditions=cold) for row in rows[:30]]
    found = read(tmp_path, [*other, *rows[20:]])["nmcf"]
    assert by_sizing(found) == by_sizing(read(tmp_path / "alone", rows[20:])["nmcf"])


def test_rows_of_another_netlist_are_refused(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 5)
    rows.append(make_row(nmcf(), rows[0].sizing, netlist_hash="0123456789abcdef"))
    with pytest.raises(ConfigError, match=r"nmcf: rows of other netlists \(0123456789abcdef\)"):
        read(tmp_path, rows)


def test_labels_of_two_verdicts_are_not_mixed(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 5)
    rows.append(make_row(nmcf(), sizings(nmcf(), 6)[5], policy="measured"))
    with pytest.raises(ConfigError, match="different verdict policies: functional, measured"):
        read(tmp_path, rows)


def test_missing_data_are_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(ZsgymError, match=r"no sample log at .*nowhere"):
        read_rows([tmp_path / "nowhere"])


def test_several_data_sets_are_one(tmp_path: Path) -> None:
    rows = make_rows(nmcf(), 100)
    parts = [write_rows(tmp_path / "a", rows[:60]), write_rows(tmp_path / "b", [*rows[40:], *make_rows(nmcnr(), 20)])]
    together = read_rows(parts)
    assert list(together) == ["nmcf", "nmcnr"]
    assert by_sizing(together["nmcf"]) == by_sizing(read(tmp_path / "c", rows)["nmcf"])


# --- statistics -----------------------------------------------------------------------------------------------------


def corrupted(rows: Rows, where: np.ndarray, value: float) -> Rows:
    measured, raw = rows.measured.copy(), rows.raw.copy()
    measured[where], raw[where] = value, value
    return replace(rows, measured=measured, raw=raw)


@pytest.mark.parametrize("value", [1e9, -1e9, math.nan])
def test_statistics_come_from_valid_training_rows(data: Path, tmp_path: Path, value: float) -> None:
    rows = read_rows([data])["nmcf"]
    expected = Normaliser.fit([rows.side("train")])
    edges = np.cumsum(list(SIDES.values()))
    elsewhere = corrupted(rows, rows.position >= edges[0], value)
    assert Normaliser.fit([elsewhere.side("train")]) == expected
    failing = corrupted(rows, ~rows.valid, value)
    assert Normaliser.fit([failing.side("train")]).metrics == expected.metrics
    training = corrupted(rows, rows.valid & (rows.position < 0.05), value)
    if not math.isnan(value):
        assert Normaliser.fit([training.side("train")]).metrics != expected.metrics


def test_the_corpus_fits_its_scales_on_training_rows(data: Path, tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path / "tiny.yaml", [data]))
    corpus = load_corpus(config)
    assert corpus.normaliser == Normaliser.fit([rows.side("train") for rows in read_rows([data]).values()])
    valid = corpus.train.valid > 0.5
    metrics = corpus.train.metrics[valid]
    torch.testing.assert_close(metrics.mean(0), torch.zeros(11), atol=1e-5, rtol=0)
    torch.testing.assert_close(metrics.std(0, unbiased=False), torch.ones(11), atol=1e-2, rtol=0)
    assert metrics.abs().max() <= 6.0


def test_sentinels_of_failures_reach_no_loss(data: Path) -> None:
    """Every number of a failing row that is no measurement may be anything."""
    rows = read_rows([data])["nmcf"]
    normaliser = Normaliser.fit([rows.side("train")])
    batch = to_batch([rows], normaliser)
    undefined = ~np.isfinite(rows.measured)
    assert undefined.any()
    assert not undefined[rows.valid].any()
    assert torch.equal(batch.metrics_known, torch.from_numpy(~undefined).float() * batch.metrics_known)
    # log10 metrics that are defined as numbers but not as logarithms are unknown, too
    assert not batch.metrics[batch.metrics_known == 0.0].any()
    assert not batch.auxiliary[batch.auxiliary_known == 0.0].any()
    for tensor in (batch.metrics, batch.auxiliary, batch.features, batch.valid):
        assert torch.isfinite(tensor).all()
    assert batch.metrics.abs().max() <= 6.0
    # The transient of an unstable amplifier (-999 degrees, 1e9 V/s) is not learnt.
    failing = ~rows.valid
    for name in ("phase_margin", "slew_rate", "settling_time"):
        assert not batch.metrics_known[failing, K[name]].any()
    assert batch.metrics_known[failing, K["dc_gain"]].any()


def test_nan_in_the_data_is_no_nan_in_a_gradient(data: Path, tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path / "tiny.yaml", [data]))
    corpus = load_corpus(config)
    torch.manual_seed(0)
    model = SurrogateModel(TINY, auxiliary=len(AUXILIARY))
    batch = corpus.train[torch.arange(64)]
    found = losses(model(corpus.topology, batch.index, batch.features), batch, config.training)
    found.total.backward()
    assert torch.isfinite(found.total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# --- tensors --------------------------------------------------------------------------------------------------------


def test_circuits_share_a_batch_by_padding() -> None:
    small, big = load_circuit(RC_LOADED), nmcf()
    parts = []
    for circuit in (small, big):
        n = 5
        nothing = np.full((n, 11), np.nan), np.full((n, 3), np.nan)
        parts.append(Rows(circuit, vectors(circuit, n), np.zeros(n, bool), *nothing, np.zeros(n)))
    ones = Normaliser.fit([replace(parts[1], valid=np.ones(5, bool), measured=np.ones((5, 11)), raw=np.ones((5, 3)))])
    batch = to_batch(parts, ones)
    assert batch.features.shape == (10, len(big.groups), 6)
    assert batch.index.tolist() == [0] * 5 + [1] * 5
    assert not batch.features[:5, len(small.groups) :].any()
    assert len(batch[torch.tensor([1, 7])]) == 2


def test_hold_out_and_limit(data: Path, tmp_path: Path) -> None:
    def corpus_of(**section: object) -> object:
        return load_corpus(read_config(write_config(tmp_path / "tiny.yaml", [data], data=section)))

    corpus = corpus_of(hold_out=["nmcnr"])
    assert [rows.circuit.name for rows in corpus.rows] == ["nmcf"]  # type: ignore[attr-defined]
    limited = corpus_of(limit=50)
    assert torch.bincount(limited.train.index).tolist() == [50, 50]  # type: ignore[attr-defined]
    assert len(limited.validation) == len(corpus_of().validation)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="the data hold no nmcrn, only nmcf, nmcnr"):
        corpus_of(hold_out=["nmcrn"])
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        corpus_of(hold_out=["nmcnr", "nmcf"])


def test_too_few_rows_are_an_error_and_no_nan(tmp_path: Path) -> None:
    config = write_config(tmp_path / "tiny.yaml", [write_rows(tmp_path / "few", make_rows(nmcf(), 12))])
    with pytest.raises(ConfigError, match="nmcf: too few rows"):
        load_corpus(read_config(config))
