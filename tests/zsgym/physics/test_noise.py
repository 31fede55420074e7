"""Noise of a device: what must hold without a reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zsgym.physics.cards import device
from zsgym.simulators.physics.noise import channel_noise
from zsgym.simulators.physics.stamps import NODES

KINDS = st.sampled_from(["nmos", "pmos"])


def bias(kind: str, v_g: float, v_d: float) -> np.ndarray:
    voltages = np.zeros(NODES)
    voltages[:2] = v_d, v_g
    return voltages if kind == "nmos" else -voltages


@given(kind=KINDS, v_g=st.floats(-0.5, 1.8), v_d=st.floats(0.0, 1.8), hertz=st.floats(1e-1, 1e9))
def test_densities_are_finite_scale_with_the_multiplier_and_fall_with_frequency(
    kind: str, v_g: float, v_d: float, hertz: float
) -> None:
    voltages = bias(kind, v_g, v_d)
    thermal, flicker = channel_noise(device(kind)[0], voltages, hertz)
    assert np.isfinite([thermal, flicker]).all()
    assert flicker >= 0.0
    triple = channel_noise(device(kind, m=3.0)[0], voltages, hertz)
    assert triple == pytest.approx((3.0 * thermal, 3.0 * flicker), rel=1e-12)
    white, less = channel_noise(device(kind)[0], voltages, 10.0 * hertz)
    assert white == thermal
    assert less == pytest.approx(flicker * 10.0**-0.9, rel=1e-9)


@given(kind=KINDS, v_g=st.floats(-0.5, 1.8), v_d=st.floats(0.01, 1.8))
def test_a_reversed_device_makes_the_same_noise(kind: str, v_g: float, v_d: float) -> None:
    forward = bias(kind, v_g, v_d)
    reverse = forward.copy()
    reverse[[0, 2]] = forward[[2, 0]]
    p = device(kind)[0]
    assert channel_noise(p, reverse, 1e3) == pytest.approx(channel_noise(p, forward, 1e3), rel=1e-9)


def test_without_current_there_is_no_flicker_noise() -> None:
    assert channel_noise(device("nmos")[0], bias("nmos", 1.0, 0.0), 1e3)[1] == 0.0
