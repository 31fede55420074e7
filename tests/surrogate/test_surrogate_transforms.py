"""Metric scales: exact both ways, chosen from the distribution, and never a sentinel in them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from surrogate.transforms import CLIP, Transform, fit_transform

KINDS = ["identity", "log10", "asinh"]


@given(
    st.sampled_from(KINDS),
    st.floats(1e-9, 1e9),
    st.floats(-3.0, 3.0),
    st.floats(0.05, 2.0),
    st.lists(st.floats(-CLIP, CLIP), min_size=1, max_size=20),
)
def test_restore_undoes_normalise(kind: str, unit: float, center: float, spread: float, values: list[float]) -> None:
    transform = Transform(kind, unit, center, spread)  # type: ignore[arg-type]
    normalised = np.array(values)
    physical = transform.restore(normalised)
    assert np.isfinite(physical).all()
    assert transform.normalise(physical) == pytest.approx(normalised, abs=1e-6)


@given(arrays.arrays(np.float64, st.integers(3, 50), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_fitted_scale_standardises(values: np.ndarray) -> None:
    assume(values.std() > 1e-3 * np.abs(values).max())
    transform = fit_transform(values)
    normalised = transform.normalise(values)
    assert np.isfinite(normalised).all()
    assert np.abs(normalised).max() <= CLIP
    inside = np.abs(normalised) < CLIP
    assert transform.restore(normalised)[inside] == pytest.approx(
        values[inside], rel=1e-6, abs=1e-6 * np.abs(values).max()
    )
    if inside.all():
        assert normalised.mean() == pytest.approx(0.0, abs=1e-6)
        assert normalised.std() == pytest.approx(1.0, abs=1e-6)


def test_the_kind_follows_the_distribution() -> None:
    random = np.random.default_rng(0)
    normal = random.normal(size=5000)
    assert fit_transform(100.0 + 10.0 * normal).kind == "identity"
    assert fit_transform(1e-6 * 10.0**normal).kind == "log10"
    assert fit_transform(1e-3 * np.sinh(2.0 * normal)).kind == "asinh"
    assert fit_transform(-5.0 + normal).kind == "identity"
    assert fit_transform(random.uniform(-1.0, 1.0, 5000)).kind == "identity"  # no tails to tame


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_a_constant_has_a_scale(value: float) -> None:
    transform = fit_transform(np.full(10, value))
    assert transform.normalise(np.full(2, value)) == pytest.approx([0.0, 0.0])
    assert transform.restore(np.zeros(2)) == pytest.approx([value, value])


def test_what_a_scale_cannot_hold_is_undefined() -> None:
    logarithmic = Transform("log10", 1.0, 0.0, 1.0)
    assert np.isnan(logarithmic.normalise(np.array([-1.0, 0.0, np.nan]))).all()
    assert logarithmic.normalise(np.array([1e-300, 1e9]))[:].tolist() == [-CLIP, CLIP]
    for kind in KINDS:
        assert np.isnan(Transform(kind, 1.0, 0.0, 1.0).normalise(np.array([np.nan, np.inf]))).all()  # type: ignore[arg-type]
