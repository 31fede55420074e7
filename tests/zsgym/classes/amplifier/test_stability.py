"""Right-half-plane poles must be found, and never invented, from samples of a closed-loop response alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsgym.classes.amplifier.stability import closed_loop_poles, rightmost_pole

FREQUENCY = np.logspace(-1, 9, 101)
"""Grid of the published AC sweep, Hz."""
NOISE = 1e-9
"""Relative accuracy of ngspice's AC data."""


def _sample(poles, zeros=(), noise=NOISE, seed=0):
    """Response prod(1 - s/z) / prod(1 - s/p) on the grid; poles and zeros in rad/s, conjugates included."""
    s = 2j * np.pi * FREQUENCY
    response = np.ones(s.size, complex)
    for zero in zeros:
        response *= 1.0 - s / zero
    for pole in poles:
        response /= 1.0 - s / pole
    generator = np.random.default_rng(seed)
    return response * (1.0 + noise * (generator.standard_normal(s.size) + 1j * generator.standard_normal(s.size)))


def _pair(magnitude, damping):
    """A complex pole pair; a negative damping puts it into the right half-plane."""
    root = np.sqrt(1.0 - damping**2)
    return [magnitude * complex(-damping, root), magnitude * complex(-damping, -root)]


class TestKnownSystems:
    def test_single_pole(self):
        assert rightmost_pole(FREQUENCY, _sample([-2e6])) == pytest.approx(-2e6, rel=1e-5)

    @pytest.mark.parametrize("damping", [0.7, 0.05, 0.005, -0.005, -0.05, -0.7])
    @pytest.mark.parametrize("magnitude", [1e4, 1e6, 1e8])
    def test_complex_pair(self, magnitude, damping):
        found = rightmost_pole(FREQUENCY, _sample(_pair(magnitude, damping)))
        assert found == pytest.approx(-damping * magnitude, rel=1e-3)

    def test_unstable_pair_behind_a_slow_stable_pole(self):
        poles = [-1e5, *_pair(3e7, -0.1), -2e8]
        assert rightmost_pole(FREQUENCY, _sample(poles)) == pytest.approx(3e6, rel=1e-3)

    def test_right_half_plane_zero_is_no_pole(self):
        assert rightmost_pole(FREQUENCY, _sample([-1e6, -5e6], zeros=[3e6])) < 0.0

    def test_cancelled_pole_is_invisible(self):
        """A pole under a zero (a numerical doublet) has no part in the response."""
        poles, zeros = [-1e6, 1e4], [1e4 * (1.0 + 1e-9)]
        assert rightmost_pole(FREQUENCY, _sample(poles, zeros)) == pytest.approx(-1e6, rel=1e-4)

    @pytest.mark.parametrize("apart", [1e-6, 1e-5])
    def test_a_pole_that_a_zero_all_but_cancels_is_not_judged(self, apart):
        """The fit resolves it, and its residue is below what counts."""
        response = _sample([-1e6, 1e4], [1e4 * (1.0 + apart)])
        assert rightmost_pole(FREQUENCY, response) == pytest.approx(-1e6, rel=1e-4)

    def test_a_lone_pole_of_the_fit_is_no_mode_of_the_circuit(self):
        """With this noise the fit ends with a right-half-plane pole at 1 rad/s that has no conjugate."""
        assert rightmost_pole(FREQUENCY, _sample([-1e4, -31622776.60168379], seed=1)) == pytest.approx(-1e4, rel=1e-4)

    def test_constant_response_has_no_pole(self):
        assert rightmost_pole(FREQUENCY, np.ones(FREQUENCY.size, complex)) == float("-inf")

    def test_poles_above_the_sweep_prove_nothing(self):
        """Feedthrough makes a response flat at the top of the sweep; what a fit puts beyond it was not measured."""
        assert rightmost_pole(FREQUENCY, _sample([-1e5, 6e10], zeros=[-4e10])) == pytest.approx(-1e5, rel=1e-3)
        beyond = _sample([-1e5, 2e10], zeros=[-1e9])
        assert rightmost_pole(FREQUENCY, beyond) == pytest.approx(-1e5, rel=1e-3)
        top = 2.0 * np.pi * FREQUENCY[-1]
        assert rightmost_pole(FREQUENCY, _sample([-1e5, 0.9 * top])) == pytest.approx(0.9 * top, rel=1e-2)

    def test_small_and_large_responses_are_treated_alike(self):
        response = _sample([-1e5, *_pair(2e7, -0.2)])
        assert rightmost_pole(FREQUENCY, 1e-6 * response) == pytest.approx(4e6, rel=1e-3)
        assert rightmost_pole(FREQUENCY, 1e6 * response) == pytest.approx(4e6, rel=1e-3)

    def test_poles_come_with_their_conjugates(self):
        poles = closed_loop_poles(FREQUENCY, _sample([-1e5, *_pair(2e7, 0.3)]))
        for pole in poles:
            assert np.min(np.abs(poles - pole.conjugate())) < 1e-6 * abs(pole)


# Poles at least a factor of 1.6 apart, so that none hides another; up to four real ones and pairs.
_exponents = st.lists(st.floats(4.0, 8.5), min_size=1, max_size=4).filter(
    lambda values: all(b - a > 0.2 for a, b in zip(sorted(values), sorted(values)[1:], strict=False))
)
_stable_damping = st.floats(0.02, 0.95)


@st.composite
def _stable_poles(draw):
    poles = []
    for exponent in draw(_exponents):
        magnitude = 10.0**exponent
        poles += _pair(magnitude, draw(_stable_damping)) if draw(st.booleans()) else [-magnitude]
    return poles


@given(poles=_stable_poles(), zeros=st.lists(st.floats(4.0, 8.5), max_size=2), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_stable_systems_are_never_called_unstable(poles, zeros, seed):
    zeros = [(-1.0) ** k * 10.0**exponent for k, exponent in enumerate(zeros)][: len(poles)]
    assert rightmost_pole(FREQUENCY, _sample(poles, zeros, seed=seed)) < 0.0


@given(
    poles=_stable_poles(),
    exponent=st.floats(4.0, 8.5),
    damping=st.floats(0.01, 0.9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_unstable_pairs_are_found(poles, exponent, damping, seed):
    """Wherever the response still shows them: slower poles damp a mode far above them out of the data."""
    unstable = _pair(10.0**exponent, -damping)
    response = _sample([*poles, *unstable], seed=seed)
    there = np.interp(10.0**exponent, 2.0 * np.pi * FREQUENCY, np.abs(response)) / np.abs(response).max()
    found = rightmost_pole(FREQUENCY, response)
    if there > 1e-3:
        assert found > 0.0
        assert found == pytest.approx(damping * 10.0**exponent, rel=0.02)
