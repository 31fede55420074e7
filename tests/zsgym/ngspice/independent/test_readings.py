"""The independent readings themselves, on waveforms whose readings are known."""

import math

import numpy as np
import pytest
import readings

TAU = 1e-7
TIME = np.linspace(0.0, 40.0 * TAU, 40_001)
RISING = 0.3 + 0.2 * -np.expm1(-TIME / TAU)
FALLING = 0.8 - RISING


@pytest.mark.parametrize("output", [RISING, FALLING])
def test_slew_rate_of_an_exponential(output: np.ndarray) -> None:
    expected = 0.1 / (TAU * math.log(2.0))
    assert readings.slew_rate(TIME, output, 0.3, 0.5, 0.4) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("output", "end"), [(RISING, 0.5), (FALLING, 0.3)])
def test_settling_time_of_an_exponential(output: np.ndarray, end: float) -> None:
    room = 0.01 * end
    expected = TAU * math.log(0.2 / room)
    assert readings.settling_time(TIME, output, end, room) == pytest.approx(expected, rel=1e-4)


def test_a_ripple_that_leaves_the_band_again_has_not_settled_before() -> None:
    ripple = RISING + 0.006 * np.exp(-(((TIME - 2e-6) / 1e-8) ** 2))
    expected = 2e-6 + 1e-8 * math.sqrt(math.log(0.006 / 0.005))
    assert readings.settling_time(TIME, ripple, 0.5, 0.005) == pytest.approx(expected, rel=1e-4)


def test_peaking_and_bandwidth_of_a_resonance() -> None:
    frequency = np.logspace(-1, 9, 2001)
    s, damping = 1j * frequency / 1e6, 0.3
    magnitude = np.abs(1.0 / (s**2 + 2.0 * damping * s + 1.0))
    assert readings.peaking(magnitude) == pytest.approx(
        -20 * math.log10(2 * damping * math.sqrt(1 - damping**2)), abs=1e-3
    )
    a = 1.0 - 2.0 * damping**2
    expected = 1e6 * math.sqrt(a + math.sqrt(a**2 + 10**0.3 - 1.0))
    assert readings.bandwidth(frequency, magnitude) == pytest.approx(expected, rel=1e-4)


def test_a_late_edge_is_in_the_tube_and_a_plateau_is_not() -> None:
    late = np.interp(TIME - 2e-9, TIME, RISING)
    shift = np.full_like(TIME, 2e-9)
    assert readings.outside_tube(TIME, late, TIME, RISING, shift) < 1e-6
    assert readings.outside_tube(TIME, late, TIME, RISING, shift / 4.0) > 1e-3
    assert readings.outside_tube(TIME, RISING + 2e-3 * (TIME > 2e-6), TIME, RISING, shift) == pytest.approx(
        2e-3, rel=1e-3
    )
