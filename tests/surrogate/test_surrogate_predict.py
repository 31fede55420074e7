"""Predictions: classification first, exact geometry, honest intervals, and a word about what was never seen."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from surrogate.checkpoint import Checkpoint
from surrogate.predict import Predictions, Predictor, ZeroShotWarning
from tests.surrogate.synthetic import RC_LOADED, TINY_PINS, disguise, nmcf, nmcnr, untrained_checkpoint, vectors
from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.geometry import inside_models

FIELDS = ("geometry", "p_valid", "valid", "metrics", "low", "high", "in_distribution")
CIRCUITS = [nmcf(), nmcnr(), load_circuit(RC_LOADED)]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return untrained_checkpoint(CIRCUITS)


def predict(checkpoint: Checkpoint, circuit: Circuit, values: np.ndarray) -> Predictions:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Predictor(checkpoint, circuit).predict(values)


def assert_same(a: Predictions, b: Predictions, rtol: float = 1e-4) -> None:
    for name in FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        if x.dtype == bool:
            assert np.array_equal(x, y), name
        else:
            np.testing.assert_allclose(x, y, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.name)
@pytest.mark.parametrize("tokens", ["groups", "pins"])
def test_metrics_only_where_the_sizing_is_expected_to_work(
    checkpoint: Checkpoint, circuit: Circuit, tokens: str
) -> None:
    if tokens == "pins":
        checkpoint = untrained_checkpoint(CIRCUITS, TINY_PINS)
    found = predict(checkpoint, circuit, vectors(circuit, 80, "uniform"))
    assert found.metrics.shape == found.low.shape == found.high.shape == (80, 11)
    assert np.isfinite(found.metrics[found.valid]).all()
    for numbers in (found.metrics, found.low, found.high):
        assert np.isnan(numbers[~found.valid]).all()
    assert ((found.p_valid >= 0.0) & (found.p_valid <= 1.0)).all()
    threshold = checkpoint.calibration[circuit.netlist_hash].threshold
    assert np.array_equal(found.valid, found.geometry & (found.p_valid >= threshold))


def test_both_verdicts_occur(checkpoint: Checkpoint) -> None:
    found = predict(checkpoint, nmcf(), vectors(nmcf(), 80, "uniform"))
    assert 10 < found.valid.sum() < found.geometry.sum() - 10
    assert found.geometry.sum() < 75


def test_geometry_is_exact_and_comes_first(checkpoint: Checkpoint) -> None:
    values = vectors(nmcf(), 80, "uniform")
    found = predict(checkpoint, nmcf(), values)
    assert np.array_equal(found.geometry, inside_models(nmcf(), values))
    assert not found.p_valid[~found.geometry].any()
    assert not found.valid[~found.geometry].any()
    # Even when every probability is high enough.
    trusting = {key: value.model_copy(update={"threshold": 0.0}) for key, value in checkpoint.calibration.items()}
    assert np.array_equal(predict(replace(checkpoint, calibration=trusting), nmcf(), values).valid, found.geometry)


def test_intervals_hold_their_value(checkpoint: Checkpoint) -> None:
    found = predict(checkpoint, nmcf(), vectors(nmcf(), 80))
    low, value, high = (x[found.valid] for x in (found.low, found.metrics, found.high))
    assert len(value) > 10
    assert (low < value).all()
    assert (value < high).all()
    # The half-width is that of the calibration, on the normalised scale.
    interval = checkpoint.calibration[nmcf().netlist_hash].interval
    for k, scale in enumerate(checkpoint.normaliser.metrics):
        middle = scale.normalise(value[:, k])
        np.testing.assert_allclose(scale.normalise(high[:, k]) - middle, interval[k], atol=1e-6)
        np.testing.assert_allclose(middle - scale.normalise(low[:, k]), interval[k], atol=1e-6)


def test_an_unbounded_interval_says_nothing(checkpoint: Checkpoint) -> None:
    calibration = {
        key: value.model_copy(update={"interval": (float("inf"),) * 11})
        for key, value in checkpoint.calibration.items()
    }
    found = predict(replace(checkpoint, calibration=calibration), nmcf(), vectors(nmcf(), 20))
    assert (found.low[found.valid] <= 0.0).all()
    assert np.isposinf(found.high[found.valid]).all()
    assert np.isfinite(found.metrics[found.valid]).all()


@pytest.mark.parametrize("count", [1, 7, 300])
def test_a_batch_is_the_same_as_one_by_one_in_order(checkpoint: Checkpoint, count: int) -> None:
    predictor = Predictor(checkpoint, nmcf())
    values = vectors(nmcf(), count, "uniform")
    together = predictor.predict(values)
    rows = np.random.default_rng(0).permutation(count)[:12]
    for row in rows:
        alone = predictor.predict(values[row : row + 1])
        assert_same(alone, Predictions(*(getattr(together, name)[row : row + 1] for name in FIELDS)))


def test_no_sizings_have_no_predictions(checkpoint: Checkpoint) -> None:
    found = predict(checkpoint, nmcf(), np.empty((0, 24)))
    assert [getattr(found, name).shape for name in FIELDS] == [(0,)] * 3 + [(0, 11)] * 3 + [(0,)]


def test_what_was_trained_on_together_is_predicted_as_alone(checkpoint: Checkpoint) -> None:
    """The model sees one topology without padding here, and several padded ones in training."""
    import torch

    from surrogate.graph import group_features, topology_tensors

    small = CIRCUITS[2]
    values = vectors(small, 10)
    features = group_features(small, torch.from_numpy(values))
    padded = torch.nn.functional.pad(features, (0, 0, 0, len(nmcf().groups) - features.shape[1]))
    with torch.inference_mode():
        together = checkpoint.model(topology_tensors([nmcf(), small]), torch.ones(10, dtype=torch.long), padded)
    temperature = checkpoint.calibration[small.netlist_hash].temperature
    expected = torch.sigmoid(together.validity.double() / temperature).numpy()
    found = predict(checkpoint, small, values)
    np.testing.assert_allclose(found.p_valid, np.where(found.geometry, expected, 0.0), rtol=1e-2)


def test_a_wild_sizing_has_an_answer(checkpoint: Checkpoint) -> None:
    """Sizes far outside of any bounds, but inside the models as far as these can tell."""
    sizing = dict(nmcf().known_good["robust"])
    wild = [{**sizing, "M_gm3": 1e300}, {**sizing, "cap1": 1e-300, "bias_current": 1e6}, {**sizing, "L_gm3": 1e-300}]
    with np.errstate(all="raise"):
        found = predict(checkpoint, nmcf(), np.array([nmcf().vector(s) for s in wild]))
    assert np.isfinite(found.p_valid).all()
    assert np.isfinite(found.metrics[found.valid]).all()
    assert not found.in_distribution.any()
    assert found.geometry.tolist() == [True, True, False]


# --- in and out of distribution -------------------------------------------------------------------------------------


def test_sizes_beyond_those_of_training_are_flagged(checkpoint: Checkpoint) -> None:
    values = vectors(nmcf(), 200, "uniform")  # those from which the ranges are
    predictor = Predictor(checkpoint, nmcf())
    assert predictor.predict(values).in_distribution.all()
    for column, parameter in enumerate(nmcf().parameters):
        beyond = values[:1].copy()
        beyond[:, column] = parameter.high * 1.01
        assert not predictor.predict(beyond).in_distribution.any(), parameter.name
        beyond[:, column] = parameter.low / 1.01
        assert not predictor.predict(beyond).in_distribution.any(), parameter.name


def test_a_strange_embedding_is_flagged(checkpoint: Checkpoint) -> None:
    values = vectors(nmcf(), 50, "uniform")
    strict = {key: value.model_copy(update={"max_distance": 1e-3}) for key, value in checkpoint.calibration.items()}
    assert not predict(replace(checkpoint, calibration=strict), nmcf(), values).in_distribution.any()


# --- topologies -----------------------------------------------------------------------------------------------------


def test_an_unseen_topology_is_answered_with_a_warning() -> None:
    checkpoint = untrained_checkpoint([nmcf()])
    with pytest.warns(ZeroShotWarning, match=r"trained on nmcf, not on nmcnr: .*zero-shot"):
        predictor = Predictor(checkpoint, nmcnr())
    assert predictor.calibration == checkpoint.calibration["pooled"]
    values = vectors(nmcnr(), 40, "uniform")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        found = predictor.predict(values)
    assert not found.in_distribution.any()
    assert np.array_equal(found.geometry, inside_models(nmcnr(), values))
    assert np.isfinite(found.metrics[found.valid]).all()


def test_a_disguised_topology_is_predicted_alike_zero_shot() -> None:
    checkpoint = untrained_checkpoint([nmcf()])
    hidden = disguise(nmcf(), 3)
    values = vectors(nmcf(), 20, "uniform")
    theirs = np.array([hidden.circuit.vector(hidden.sizing(nmcf().sizing(row))) for row in values])
    with pytest.warns(ZeroShotWarning):
        found = Predictor(checkpoint, hidden.circuit).predict(theirs)
    plain = predict(checkpoint, nmcf(), values)
    assert_same(replace(found, in_distribution=plain.in_distribution), plain, rtol=2e-3)


def test_the_order_of_parameters_in_the_yaml_means_nothing(checkpoint: Checkpoint) -> None:
    """Same netlist, other order: the topology is still a trained one, and every range meets its own group."""
    shuffled = replace(nmcf(), parameters=nmcf().parameters[::-1])
    assert shuffled.netlist_hash == nmcf().netlist_hash
    assert list(shuffled.groups) != list(nmcf().groups)
    values = vectors(nmcf(), 60, "uniform", seed=2)
    plain = predict(checkpoint, nmcf(), values)
    assert 0 < plain.in_distribution.sum() < 60
    assert_same(predict(checkpoint, shuffled, values[:, ::-1]), plain, rtol=2e-3)
