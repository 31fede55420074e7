"""Metrics from waveforms of systems whose answers are known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsgym.classes.amplifier.measurements import (
    TEMPERATURES,
    Step,
    decibel,
    edge_response,
    open_loop,
    step_response,
    temperature_coefficient,
    unity_crossings,
)

PUBLISHED_GRID = np.logspace(-1, 9, 101)
FINE_GRID = np.logspace(-1, 9, 20_001)
STEP = Step(low=0.3, high=0.5, rise=1e-6, fall=201e-6, end=401e-6)
BAND = 0.01


def _gain(frequency, dc_gain, poles=(), zeros=()):
    """dc_gain times (1 + s/z) over (1 + s/p); poles and zeros in Hz, a negative zero is in the right half-plane."""
    s = 1j * frequency
    response = np.full(frequency.size, complex(dc_gain))
    for zero in zeros:
        response *= 1.0 + s / zero
    for pole in poles:
        response /= 1.0 + s / pole
    return response


def _unity_frequency(dc_gain, poles, zeros=()):
    """The highest 0 dB crossing in Hz, by bisection on the exact magnitude."""
    low, high = 1e-1, 1e12
    for _ in range(200):
        middle = np.sqrt(low * high)
        above = abs(_gain(np.array([middle]), dc_gain, poles, zeros)[0]) > 1.0
        low, high = (middle, high) if above else (low, middle)
    return low


def _margin(frequency, poles, zeros=()):
    """Phase margin in degrees, summed pole by pole, so that nothing can wrap."""
    lag = sum(np.degrees(np.arctan(frequency / pole)) for pole in poles)
    return 180.0 - lag + sum(np.degrees(np.arctan(frequency / zero)) for zero in zeros)


class TestOpenLoop:
    @pytest.mark.parametrize(
        ("dc_gain", "poles", "zeros"),
        [
            (1e5, (10.0,), ()),
            (1e5, (10.0, 1e6), ()),
            (1e6, (1.0, 3e6, 5e6), ()),
            (1e5, (10.0, 1e7), (-3e6,)),  # a right-half-plane zero adds lag like a pole
            (1e5, (10.0, 1e6), (1.2e6,)),
            (10 ** (130 / 20), (0.3, 2e6), ()),  # the first pole is close to the start of the sweep
        ],
    )
    def test_known_systems(self, dc_gain, poles, zeros):
        raw = open_loop(FINE_GRID, _gain(FINE_GRID, dc_gain, poles, zeros))
        crossing = _unity_frequency(dc_gain, poles, zeros)
        assert raw["gbw"] == pytest.approx(crossing, rel=1e-6)
        assert raw["phase_margin"] == pytest.approx(_margin(crossing, poles, zeros), abs=1e-3)
        assert raw["dc_gain"] == pytest.approx(decibel(_gain(np.array([0.1]), dc_gain, poles, zeros))[0], abs=1e-9)
        assert raw["unity_crossings"] == 1.0

    def test_published_grid_is_close_to_exact(self):
        poles = (10.0, 2e6)
        raw = open_loop(PUBLISHED_GRID, _gain(PUBLISHED_GRID, 1e5, poles))
        crossing = _unity_frequency(1e5, poles)
        assert raw["gbw"] == pytest.approx(crossing, rel=0.01)
        assert raw["phase_margin"] == pytest.approx(_margin(crossing, poles), abs=1.0)

    def test_margin_beyond_the_wrap(self):
        """Lag of more than 360 degrees: the wrapped reading is positive and looks fine, the true margin is not."""
        poles = (1.0, 1e4, 2e4, 3e4, 5e4)
        raw = open_loop(FINE_GRID, _gain(FINE_GRID, 1e6, poles))
        crossing = _unity_frequency(1e6, poles)
        assert _margin(crossing, poles) < -100.0
        assert raw["phase_margin"] == pytest.approx(_margin(crossing, poles), abs=1e-3)
        wrapped = (_margin(crossing, poles) + 180.0) % 360.0 - 180.0
        assert raw["phase_margin_wrapped"] == pytest.approx(wrapped, abs=1e-3)

    def test_worst_of_several_crossings(self):
        """A resonance lifts the gain above 0 dB a second time, after another 180 degrees of lag."""
        s = 1j * FINE_GRID
        resonance = 1.0 / (1.0 + 0.01 * s / 3e6 + (s / 3e6) ** 2)
        gain = _gain(FINE_GRID, 1e5, (10.0,)) * resonance
        raw = open_loop(FINE_GRID, gain)
        assert raw["unity_crossings"] == 3.0
        assert raw["gbw"] == pytest.approx(1.185e6, rel=1e-2)  # the first one is the bandwidth
        assert raw["phase_margin_wrapped"] == pytest.approx(90.0, abs=1.0)
        assert raw["phase_margin"] < -80.0

    def test_no_crossing(self):
        raw = open_loop(PUBLISHED_GRID, _gain(PUBLISHED_GRID, 0.5, (1e3,)))
        assert raw["gbw"] is None
        assert raw["phase_margin"] is None
        assert raw["phase_margin_wrapped"] is None
        assert raw["unity_crossings"] == 0.0

    def test_wrong_polarity_shows_in_the_phase(self):
        raw = open_loop(PUBLISHED_GRID, -_gain(PUBLISHED_GRID, 1e4, (10.0,)))
        assert abs(raw["dc_phase"]) > 90.0

    @given(
        dc_gain=st.floats(10.0, 1e6),
        first=st.floats(0.1, 100.0),  # the product stays below the end of the sweep
        others=st.lists(st.floats(1e5, 1e9), max_size=3),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_all_pole_amplifier(self, dc_gain, first, others):
        poles = (first, *others)
        crossing = _unity_frequency(dc_gain, poles)
        raw = open_loop(FINE_GRID, _gain(FINE_GRID, dc_gain, poles))
        assert raw["gbw"] == pytest.approx(crossing, rel=1e-5)
        assert raw["phase_margin"] == pytest.approx(_margin(crossing, poles), abs=0.01)


class TestUnityCrossings:
    def test_interpolates_linearly_in_frequency_and_decibels(self):
        crossings = unity_crossings(np.array([1.0, 3.0, 4.0]), np.array([10.0, -30.0, -40.0]))
        assert crossings == [(1.5, 0, 0.25)]

    @given(st.lists(st.floats(-50, 50).filter(lambda x: x != 0.0), min_size=2, max_size=30))
    def test_count_is_odd_exactly_when_the_ends_differ(self, decibels):
        frequency = np.arange(1.0, len(decibels) + 1.0)
        crossings = unity_crossings(frequency, np.array(decibels))
        assert len(crossings) % 2 == ((decibels[0] > 0.0) != (decibels[-1] > 0.0))
        assert all(frequency[i] <= where <= frequency[i + 1] for where, i, _ in crossings)


def test_decibel_of_nothing_is_finite():
    assert decibel(0.0) == -400.0
    assert decibel(10.0j) == pytest.approx(20.0)


class TestTemperatureCoefficient:
    def test_straight_line(self):
        output = 0.72 * (1.0 + 1e-5 * (TEMPERATURES - 42.5))  # the mean is at the middle of the span
        assert temperature_coefficient(TEMPERATURES, output) == pytest.approx(1e-5, rel=1e-9)

    def test_constant(self):
        assert temperature_coefficient(TEMPERATURES, np.full(TEMPERATURES.size, 0.72)) == 0.0

    @pytest.mark.parametrize("step", [1, 5])
    def test_smooth_curve_on_a_coarser_grid(self, step):
        def curve(t):
            return 0.72 + 1e-5 * np.exp((t - 125.0) / 40.0) - 2e-7 * t

        coarse = TEMPERATURES[::step]
        exact = temperature_coefficient(TEMPERATURES, curve(TEMPERATURES))
        assert temperature_coefficient(coarse, curve(coarse)) == pytest.approx(exact, rel=1e-3)


def _time(points=6000):
    """Time points of a transient: both edges are met, and resolved like an adaptive step resolves them."""
    after_edge = np.concatenate([[0.0], np.logspace(-12, np.log10(199.9e-6), points)])
    return np.unique(np.concatenate([[0.0], 1e-6 + after_edge, 201e-6 + after_edge, [201e-6, 401e-6]]))


def _respond(time, shape):
    """Unity buffer whose response to a unit step is `shape(t)`, t >= 0 s (each edge long settled before the next)."""
    rise, fall = time - STEP.rise, time - STEP.fall
    swing = STEP.high - STEP.low
    up = np.where(rise >= 0.0, shape(np.maximum(rise, 0.0)), 0.0)
    down = np.where(fall >= 0.0, shape(np.maximum(fall, 0.0)), 0.0)
    return STEP.low + swing * (up - down)


class TestStepResponse:
    @pytest.mark.parametrize("tau", [2e-8, 1e-6, 1e-5])
    def test_first_order(self, tau):
        time = _time()
        raw = step_response(time, _respond(time, lambda t: 1.0 - np.exp(-t / tau)), STEP, BAND)
        # Half of 0.2 V after tau ln 2. The band is 1 % of the output level: 3 mV after the falling edge, the worse one.
        assert raw["slew_rate"] == pytest.approx(0.1 / (tau * np.log(2.0)), rel=1e-3)
        assert raw["settling_time"] == pytest.approx(tau * np.log(0.2 / 0.003), rel=1e-3)
        assert raw["static_error"] == pytest.approx(0.0, abs=1e-6)
        assert raw["ringing"] == pytest.approx(0.0, abs=1e-6)

    def test_slewing_edge_and_the_slower_one_counts(self):
        time = _time()
        output = np.interp(
            time,
            [0.0, STEP.rise, STEP.rise + 1e-6, STEP.fall, STEP.fall + 4e-6, STEP.end],
            [0.3, 0.3, 0.5, 0.5, 0.3, 0.3],
        )
        raw = step_response(time, output, STEP, BAND)
        assert raw["slew_rate"] == pytest.approx(0.2 / 4e-6, rel=1e-3)
        assert raw["settling_time"] == pytest.approx(4e-6 * (1.0 - 0.003 / 0.2), rel=1e-3)

    @pytest.mark.parametrize("damping", [0.1, 0.4, 0.8])
    def test_second_order(self, damping):
        natural = 2.0 * np.pi * 5e5
        time = _time()

        def shape(t):
            damped = natural * np.sqrt(1.0 - damping**2)
            sine = damping / np.sqrt(1.0 - damping**2) * np.sin(damped * t)
            return 1.0 - np.exp(-damping * natural * t) * (np.cos(damped * t) + sine)

        dense = np.linspace(0.0, 100e-6, 2_000_001)
        expected = dense[np.flatnonzero(np.abs(shape(dense) - 1.0) * 0.2 > 0.003)[-1]]
        raw = step_response(time, _respond(time, shape), STEP, BAND)
        assert raw["settling_time"] == pytest.approx(expected, rel=5e-3)
        assert raw["ringing"] < 1e-6

    def test_static_error_does_not_spoil_settling(self):
        """A buffer that settles quickly, to 2 % less than it should."""
        time = _time()
        output = 0.98 * _respond(time, lambda t: 1.0 - np.exp(-t / 1e-7))
        raw = step_response(time, output, STEP, BAND)
        assert raw["static_error"] == pytest.approx(0.02, rel=1e-3)
        assert raw["settling_time"] == pytest.approx(1e-7 * np.log(0.98 * 0.2 / 0.003), rel=1e-2)

    def test_sustained_oscillation_rings(self):
        time = np.linspace(0.0, STEP.end, 40_001)
        output = _respond(time, lambda t: np.ones_like(t)) + 0.03 * np.sin(2.0 * np.pi * 3e5 * time)
        raw = step_response(time, output, STEP, BAND)
        assert raw["ringing"] == pytest.approx(0.06 / 0.2, rel=0.02)

    def test_oscillation_after_one_edge_only_counts(self):
        time = np.linspace(0.0, STEP.end, 40_001)
        ripple = 0.01 * np.sin(2.0 * np.pi * 3e5 * time) * (time > STEP.fall)
        raw = step_response(time, _respond(time, lambda t: np.ones_like(t)) + ripple, STEP, BAND)
        assert raw["ringing"] == pytest.approx(0.1, rel=0.02)

    @pytest.mark.parametrize("end", [0.5e-6, 50e-6, 190e-6, 250e-6, 350e-6])
    def test_cut_short_gives_no_numbers(self, end):
        time = _time()
        output = _respond(time, lambda t: 1.0 - np.exp(-t / 1e-7))
        kept = time <= end
        raw = step_response(time[kept], output[kept], STEP, BAND)
        assert all(value is None for value in raw.values())

    @pytest.mark.parametrize("level", [0.0, 0.35, 0.72, 1.8])
    def test_railed_output(self, level):
        """A constant output crosses the middle after one edge at most, and is far from at least one ideal level."""
        time = _time()
        raw = step_response(time, np.full(time.size, level), STEP, BAND)
        assert raw["slew_rate"] is None
        assert raw["static_error"] > 0.1
        assert raw["ringing"] == 0.0

    def test_slow_ramp_that_never_settles(self):
        """Still moving at the end: settling within the last tenth, and a static error far above any threshold."""
        time = _time()
        output = np.interp(time, [0.0, STEP.rise, STEP.fall, STEP.end], [0.3, 0.3, 0.38, 0.3])
        raw = step_response(time, output, STEP, BAND)
        assert raw["slew_rate"] is None
        assert raw["static_error"] > 0.2

    @given(tau=st.floats(1e-8, 1e-5), seed=st.integers(0, 1000))
    @settings(max_examples=30, deadline=None)
    def test_the_choice_of_time_points_does_not_matter(self, tau, seed):
        """An irregular grid, as an adaptive integrator might choose it, moves results by its resolution only."""
        generator = np.random.default_rng(seed)
        # Short steps while the output moves, long ones afterwards.
        growth = np.concatenate([np.full(200, 0.05), np.full(200, 1.0)])
        after_edge = np.cumsum(tau * growth * (1.0 + generator.random(growth.size)))
        after_edge = np.concatenate([[0.0], after_edge[after_edge < 199.9e-6], np.linspace(180e-6, 199.9e-6, 5)])
        time = np.unique(np.concatenate([[0.0, 201e-6, 401e-6], 1e-6 + after_edge, 201e-6 + after_edge]))
        raw = step_response(time, _respond(time, lambda t: 1.0 - np.exp(-t / tau)), STEP, BAND)
        assert raw["slew_rate"] == pytest.approx(0.1 / (tau * np.log(2.0)), rel=0.02)
        assert raw["settling_time"] == pytest.approx(tau * np.log(0.2 / 0.003), rel=0.02)


def test_ringing_is_what_swings_in_the_last_tenth_of_a_half_period():
    """A swing that dies out between 92 % and 95 % of the half-period is still seen."""
    time = np.linspace(0.0, 200e-6, 20001)
    output = np.full(time.size, 0.5)
    swinging = (time > 184e-6) & (time < 190e-6)
    output[swinging] += 0.01 * np.sin(2.0 * np.pi * 1e6 * time[swinging])
    assert edge_response(time, output, 0.0, 200e-6, 0.3, 0.5, 0.01)["ringing"] == pytest.approx(0.1, rel=0.01)
