"""A device between the nodes of a circuit: conservation, symmetry, continuity, multiplicity, and derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.zsgym.physics.cards import device
from zsgym.simulators.physics.stamps import (
    BODY,
    DRAIN,
    DRAIN_BODY,
    GATE,
    INNER_BODY,
    NODES,
    SOURCE,
    SOURCE_BODY,
    settle,
    stamp,
    stamp_currents,
)

Floats = NDArray[np.float64]
volts = st.floats(-2.0, 2.0)
kinds = st.sampled_from(["nmos", "pmos"])
SWAPPED = [SOURCE, GATE, DRAIN, BODY, INNER_BODY, DRAIN_BODY, SOURCE_BODY]


def evaluate(p: Any, voltages: Floats, gmin: float = 1e-12) -> tuple[Floats, Floats, Floats, Floats]:
    """Currents, charges, conductances, capacitances."""
    vectors, matrices = np.zeros((2, NODES)), np.zeros((2, NODES, NODES))
    stamp(p, voltages, gmin, vectors[0], vectors[1], matrices[0], matrices[1])
    return vectors[0], vectors[1], matrices[0], matrices[1]


def bias(kind: str, v_g: float, v_d: float, v_b: float) -> Floats:
    """Node voltages with a body that junctions do not conduct from, its inner nodes apart by millivolts."""
    sign = 1.0 if kind == "nmos" else -1.0
    body = min(v_d, 0.0) - abs(v_b)
    return sign * np.array([v_d, v_g, 0.0, body, body + 1e-3, body - 2e-3, body + 3e-3])


@given(kind=kinds, v_g=volts, v_d=volts, v_b=volts, shift=st.floats(-1.0, 1.0))
def test_nothing_is_created_and_only_differences_of_voltage_count(
    kind: str, v_g: float, v_d: float, v_b: float, shift: float
) -> None:
    p, voltages = device(kind)[0], bias(kind, v_g, v_d, v_b)
    current, charge, conductance, capacitance = evaluate(p, voltages)
    for vector in (current, charge):
        assert abs(vector.sum()) <= 1e-14 * np.abs(vector).sum()
    for matrix in (conductance, capacitance):
        scale = 1e-13 * np.abs(matrix).max()
        assert np.abs(matrix.sum(axis=0)).max() <= scale  # of what flows into all nodes
        assert np.abs(matrix.sum(axis=1)).max() <= scale  # when all voltages move together
    moved = evaluate(p, voltages + shift)
    np.testing.assert_allclose(moved[0], current, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(moved[1], charge, rtol=1e-9, atol=1e-24)


@given(kind=kinds, v_g=volts, v_d=volts, v_b=volts)
def test_drain_and_source_of_a_symmetrical_device_can_be_exchanged(
    kind: str, v_g: float, v_d: float, v_b: float
) -> None:
    assume(v_d != 0.0)  # there BSIM4's capacitances take drain and source as named
    p = device(kind, cgdl=3e-11, cgdo=5e-11)[0]  # the same edge at both ends
    voltages = bias(kind, v_g, v_d, v_b)
    one, other = evaluate(p, voltages), evaluate(p, voltages[SWAPPED])
    for mine, yours, smallest in zip(one, other, (1e-22, 1e-30, 1e-20, 1e-28), strict=True):
        expected = yours[SWAPPED] if yours.ndim == 1 else yours[np.ix_(SWAPPED, SWAPPED)]
        np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=smallest)


@given(kind=kinds, v_g=volts, v_b=volts)
def test_current_charge_and_conductance_are_continuous_where_drain_and_source_change_roles(
    kind: str, v_g: float, v_b: float
) -> None:
    p = device(kind)[0]
    below, at, above = (evaluate(p, bias(kind, v_g, v_d, v_b)) for v_d in (-1e-9, 0.0, 1e-9))
    for side in (below, above):
        for mine, there in zip(side[:3], at[:3], strict=True):
            np.testing.assert_allclose(mine, there, rtol=1e-6, atol=1e-6 * np.abs(there).max())


@given(kind=kinds, v_g=volts, v_d=volts, v_b=volts, column=st.integers(0, NODES - 1))
@settings(max_examples=200)
def test_matrices_are_the_derivatives_of_currents_and_charges(
    kind: str, v_g: float, v_d: float, v_b: float, column: int
) -> None:
    p, voltages = device(kind)[0], bias(kind, v_g, v_d, v_b)
    if abs(voltages[DRAIN] - voltages[SOURCE]) < 1e-3:
        voltages[DRAIN] += 2e-3  # second derivatives jump there
    results = evaluate(p, voltages)
    step = np.zeros(NODES)
    step[column] = 2e-6
    ahead, behind = evaluate(p, voltages + step), evaluate(p, voltages - step)
    for place in (0, 1):
        slope = (ahead[place] - behind[place]) / 4e-6
        found = results[2 + place][:, column]
        noise = 1e-9 * np.abs(results[place]).max()  # rounding of the difference
        np.testing.assert_allclose(found, slope, rtol=2e-4, atol=1e-6 * np.abs(slope).max() + noise)


@given(kind=kinds, v_g=volts, v_d=volts, v_b=volts)
def test_currents_alone_are_the_same_currents(kind: str, v_g: float, v_d: float, v_b: float) -> None:
    p, voltages = device(kind)[0], bias(kind, v_g, v_d, v_b)
    current, _, conductance, _ = evaluate(p, voltages)
    alone, slopes = np.zeros(NODES), np.zeros((NODES, NODES))
    stamp_currents(p, voltages, 1e-12, alone, slopes)
    np.testing.assert_allclose(alone, current, rtol=1e-13)
    np.testing.assert_allclose(slopes, conductance, rtol=1e-11, atol=1e-13 * np.abs(conductance).max())


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
@pytest.mark.parametrize("v_d", [-0.7, 0.9])
def test_fingers_and_multiplier_count(kind: str, v_d: float) -> None:
    voltages = bias(kind, 0.8, v_d, 0.3)
    one = evaluate(device(kind)[0], voltages)
    four = evaluate(device(kind, m=4.0)[0], voltages)
    for single, many in zip(one, four, strict=True):
        np.testing.assert_allclose(many, 4.0 * single, rtol=1e-13)
    folded = evaluate(device(kind, width=4e-6, nf=2.0)[0], voltages)  # two fingers of the same width
    np.testing.assert_allclose(folded[0][GATE], 2.0 * one[0][GATE], rtol=1e-13)
    np.testing.assert_allclose(folded[1][GATE], 2.0 * one[1][GATE], rtol=1e-13)
    np.testing.assert_allclose(folded[2][:3, :3], 2.0 * one[2][:3, :3], rtol=1e-6)


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_inner_nodes_come_to_rest_between_fixed_terminals(kind: str) -> None:
    p, voltages = device(kind)[0], bias(kind, 1.5, 1.8, 0.0)
    voltages[4:] = 3.0 * voltages[0]  # far away
    terminals = voltages[:4].copy()
    assert settle(p, voltages, 1e-12)
    assert voltages[:4].tolist() == terminals.tolist()
    current, conductance = np.zeros(NODES), np.zeros((NODES, NODES))
    stamp_currents(p, voltages, 1e-12, current, conductance)
    assert np.abs(current[4:]).max() < 1e-16
    assert 0.0 < abs(voltages[INNER_BODY] - voltages[BODY]) < 1e-4  # the substrate current's drop


@pytest.mark.parametrize("kind", ["nmos", "pmos"])
def test_the_reference_differs_in_the_small_signal_by_the_body_alone(kind: str) -> None:
    voltages = bias(kind, 1.0, 1.5, 0.2)
    exact, reference = (evaluate(device(kind, reference_ac=flag)[0], voltages) for flag in (False, True))
    for place in range(3):
        assert exact[place].tolist() == reference[place].tolist()
    difference = np.abs(exact[3] - reference[3])
    columns = np.flatnonzero(difference.max(axis=0) > 1e-9 * np.abs(exact[3]).max())
    assert columns.tolist() == [SOURCE, INNER_BODY]
    assert np.abs(reference[3].sum(axis=1)).max() <= 1e-13 * np.abs(exact[3]).max()


def test_a_junction_with_area_and_perimeter_has_a_saturation_current_of_its_own() -> None:
    plain = device("nmos")[0]
    assert plain["i_sat_s"] == 1e-14
    layout = {"ad": 1e-12, "as_": 2e-12, "pd": 6e-6, "ps": 8e-6}
    drawn = device("nmos", layout=layout, celsius=30.0, jss=1e-4, jsws=1e-9, jswgs=1e-10)[0]
    edge = 2e-6 + 4e-9  # the drawn width less twice dwc
    assert drawn["i_sat_s"] == pytest.approx(2e-12 * 1e-4 + (8e-6 - edge) * 1e-9 + edge * 1e-10, rel=1e-12)
    assert drawn["i_sat_d"] == pytest.approx(1e-12 * 1e-4 + (6e-6 - edge) * 1e-9 + edge * 1e-10, rel=1e-12)
    only_area = device("nmos", layout={"ad": 1e-15, "as_": 1e-15}, jss=1e-4, jsws=1e-9)[0]
    assert only_area["i_sat_s"] == 0.0  # the gate's edge counts as negative perimeter
    assert np.isfinite(evaluate(only_area, np.array([1.0, 1.0, 0.0, -1.0, -1.0, -1.0, -1.0]))[0]).all()


def test_squares_of_diffusion_give_series_resistances() -> None:
    p = device("nmos", layout={"nrd": 3.0, "nrs": 0.5})[0]
    assert (p["r_drain"], p["r_source"]) == (15.0, 2.5)
