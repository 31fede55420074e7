"""The integrator: circuits with known answers, and transistors whose answer the operating point knows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.zsgym.physics.cards import device
from zsgym.simulators.physics.solver import GMIN, operating_points
from zsgym.simulators.physics.system import Element, System
from zsgym.simulators.physics.transient import Control, integrate, space_for

Run = tuple[np.ndarray, np.ndarray]


def follow(
    system: System, probe: str, end: float, *, tolerance: float = 1e-5, most: float = 1.0, stop_after: int = 20_000
) -> Run:
    """Times and voltages of a node after the source `v1` has jumped from 0 to 1 V at 1 ns."""
    values = system.values(no_devices() if not system.names("transistor") else _inverter())
    points = operating_points(system, values._replace(voltage=np.where(values.voltage == 1.0, 0.0, values.voltage)))
    sources = (*system.names("isource"), *system.vsources)
    pulses = np.full((len(sources), 5), np.nan)
    pulses[sources.index("v1")] = 0.0, 1.0, 1e-9, 1.0, 1e-12
    times, waves = np.zeros(stop_after), np.zeros((stop_after, 1))
    control = Control(tolerance, tolerance / 20.0, 1e-12, most, stop_after)
    count = integrate(
        system.wiring, system.order(values.gain[0]), values, 0, len(system.nodes), points.x[0], GMIN, pulses,
        np.array([1e-9, 1e-9 + 1e-12, end]), control, space_for(system.size, values.devices.shape[1]),
        np.array([system.place(probe)]), times, waves,
    )  # fmt: skip
    assert count > 0
    return times[:count] - 1e-9, waves[:count, 0]


def no_devices() -> np.ndarray:
    return np.zeros((1, 0), dtype=device("nmos").dtype)


def _inverter() -> np.ndarray:
    return np.concatenate([device("nmos", 2e-6, 3e-7), device("pmos", 4e-6, 3e-7)])[None]


def test_a_capacitor_is_charged_through_a_resistor() -> None:
    system = System(
        [
            Element("v1", "vsource", ("in", "0"), 1.0),
            Element("r1", "resistor", ("in", "out"), 1e3),
            Element("c1", "capacitor", ("out", "0"), 1e-9),
        ]
    )
    time, out = follow(system, "out", 1e-5)
    np.testing.assert_allclose(out[time > 0.0], 1.0 - np.exp(-time[time > 0.0] / 1e-6), atol=3e-4)
    assert out[time <= 0.0] == pytest.approx(0.0, abs=1e-12)
    assert time[-1] == pytest.approx(1e-5 - 1e-9)
    few, _ = follow(system, "out", 1e-5, tolerance=1e-3)
    assert len(few) < len(time) / 2


def test_a_resonance_neither_dies_nor_grows() -> None:
    """20 periods of a circuit without loss: the formula must not damp what an amplifier's limit cycle would be."""
    system = System(
        [
            Element("v1", "vsource", ("in", "0"), 1.0),
            Element("l1", "inductor", ("in", "out"), 1e-6),
            Element("c1", "capacitor", ("out", "0"), 1e-12),
            Element("r1", "resistor", ("out", "0"), 1e9),
        ]
    )
    period = 2.0 * np.pi * 1e-9
    time, out = follow(system, "out", 1e-9 + 20.0 * period, tolerance=2e-5)
    last = out[time > 19.0 * period]
    assert np.ptp(last) == pytest.approx(2.0, rel=0.02)


def test_an_inverter_ends_at_its_operating_point() -> None:
    system = System(
        [
            Element("vdd", "vsource", ("vdd", "0"), 1.8),
            Element("v1", "vsource", ("in", "0"), 1.0),
            Element("n1", "transistor", ("out", "in", "0", "0")),
            Element("p1", "transistor", ("out", "in", "vdd", "vdd")),
            Element("c1", "capacitor", ("out", "0"), 1e-13),
        ]
    )
    time, out = follow(system, "out", 1e-7)
    values = system.values(_inverter())
    assert out[0] == pytest.approx(1.8, abs=1e-3)
    assert out[-1] == pytest.approx(operating_points(system, values)["out"][0], abs=1e-4)
    assert out.max() > 1.8, "the input's edge comes through the overlap before the channel does"
    assert time[-1] == pytest.approx(1e-7 - 1e-9)


def test_the_number_of_points_is_bounded() -> None:
    system = System(
        [
            Element("v1", "vsource", ("in", "0"), 1.0),
            Element("r1", "resistor", ("in", "out"), 1e3),
            Element("c1", "capacitor", ("out", "0"), 1e-9),
        ]
    )
    time, _ = follow(system, "out", 1e-5, stop_after=20)
    assert len(time) == 20
    assert time[-1] < 1e-5
