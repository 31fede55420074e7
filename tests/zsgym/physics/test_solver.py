"""The solver: linear circuits with known answers, transistor circuits, and what it says when there is no solution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zsgym.physics.cards import device
from zsgym.base.errors import ConfigError
from zsgym.simulators.physics import solver
from zsgym.simulators.physics.elimination import find_order, solve_dense, solve_in_order
from zsgym.simulators.physics.solver import linearise, operating_points
from zsgym.simulators.physics.system import Element, System, Values


def no_devices(cases: int = 1) -> np.ndarray:
    return np.zeros((cases, 0), dtype=device("nmos").dtype)


# --- elimination ----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 12), filled=st.floats(0.0, 0.5), is_complex=st.booleans())
def test_matrices_of_one_pattern_are_solved_in_one_order(seed: int, size: int, filled: float, is_complex: bool) -> None:
    rng = np.random.default_rng(seed)
    pattern = rng.uniform(size=(size, size)) < filled
    pattern[np.arange(size), rng.permutation(size)] = True
    order = find_order(pattern, np.where(pattern, rng.uniform(0.5, 1.0, (size, size)), 0.0))
    assert sorted(order.row) == sorted(order.column) == list(range(size))
    matrix = np.where(pattern, rng.uniform(-1.0, 1.0, (size, size)), 0.0)
    if is_complex:
        matrix = matrix * np.exp(1j * rng.uniform(0.0, 6.0, (size, size)))
    right = rng.uniform(-1.0, 1.0, (size, 2)).astype(matrix.dtype)
    for solved, answer in (
        _solve(lambda m, r, a: solve_in_order(order, m, r, a), matrix, right),
        _solve(lambda m, r, a: solve_dense(m, r, a, size), matrix, right),
    ):
        if solved and np.linalg.cond(matrix) < 1e6:
            np.testing.assert_allclose(matrix @ answer, right, atol=1e-7)


def _solve(solve, matrix, right):  # type: ignore[no-untyped-def]
    answer = np.zeros_like(right)
    return solve(matrix.copy(), right.copy(), answer), answer


def test_a_pivot_that_is_too_small_is_noticed() -> None:
    matrix = np.array([[1e-12, 1.0], [1.0, 1.0]])
    order = find_order(np.ones((2, 2), dtype=bool), np.array([[1.0, 0.1], [0.1, 0.1]]))
    right = np.ones((2, 1))
    assert (order.row[0], order.column[0]) == (0, 0)
    assert not solve_in_order(order, matrix.copy(), right.copy(), np.zeros((2, 1)))
    solved, answer = _solve(lambda m, r, a: solve_dense(m, r, a, 2), matrix, right)
    assert solved
    np.testing.assert_allclose(answer[:, 0], [0.0, 1.0], atol=1e-11)
    assert not _solve(lambda m, r, a: solve_dense(m, r, a, 2), np.ones((2, 2)), right)[0]


# --- linear circuits ------------------------------------------------------------------------------------------------


def filter_circuit() -> System:
    """A source, then R and L in series, then C and R to ground; a follower copies the source's current into R3."""
    return System(
        [
            Element("v1", "vsource", ("in", "0"), 2.0),
            Element("r1", "resistor", ("in", "a"), 50.0),
            Element("l1", "inductor", ("a", "out"), 1e-6),
            Element("c1", "capacitor", ("out", "0"), 1e-9),
            Element("r2", "resistor", ("out", "0"), 150.0),
            Element("i1", "isource", ("0", "out"), 4e-3),
            Element("f1", "follower", ("0", "copy"), 3.0, control="v1"),
            Element("r3", "resistor", ("copy", "0"), 10.0),
        ]
    )


def test_a_linear_circuit_is_solved_at_once() -> None:
    system = filter_circuit()
    points = operating_points(system, system.values(no_devices(2), v1=np.array([2.0, 0.0])))
    current = (np.array([2.0, 0.0]) - 4e-3 * 150.0) / 200.0  # through r1: superposition of source and current source
    np.testing.assert_allclose(points["out"], np.array([2.0, 0.0]) - 50.0 * current, rtol=1e-12)
    np.testing.assert_allclose(points.through("l1"), current, rtol=1e-12)
    np.testing.assert_allclose(points.through("v1"), -current, rtol=1e-12)
    np.testing.assert_allclose(points["copy"], 10.0 * 3.0 * -current, rtol=1e-12)
    assert points.converged.all()
    assert points.residual.max() < 1e-12


def test_small_signals_and_poles_are_those_of_the_circuit() -> None:
    system = filter_circuit()
    signals = linearise(operating_points(system, system.values(no_devices())))
    hertz = np.logspace(3, 8, 20)
    s = 2j * np.pi * hertz
    load = 1.0 / (1.0 / 150.0 + s * 1e-9)
    expected = load / (load + 50.0 + s * 1e-6)
    found = signals.responses(["v1"], hertz)
    np.testing.assert_allclose(found[0, :, system.place("out"), 0], expected, rtol=1e-12)
    modes = np.roots([1e-6 * 1e-9, 1e-6 / 150.0 + 50.0 * 1e-9, 50.0 / 150.0 + 1.0])
    np.testing.assert_allclose(np.sort_complex(signals.poles()[0]), np.sort_complex(modes), rtol=1e-9)


def test_sources_can_be_moved_together() -> None:
    system = System(
        [
            Element("v1", "vsource", ("a", "0")),
            Element("v2", "vsource", ("b", "0")),
            Element("r1", "resistor", ("a", "m"), 1e3),
            Element("r2", "resistor", ("b", "m"), 3e3),
        ]
    )
    found = linearise(operating_points(system, system.values(no_devices()))).responses(["v1", "v2", "v1+v2"], [1.0])
    np.testing.assert_allclose(found[0, 0, system.place("m")], [0.75, 0.25, 1.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ([Element("r1", "resistor", ("a", "0")), Element("r1", "resistor", ("b", "0"))], "the same name"),
        ([Element("m1", "transistor", ("a", "0"))], "m1: a transistor has 4 nodes"),
        ([Element("r1", "resistor", ("a", "b"), 1.0)], "ground"),
        ([Element("f1", "follower", ("a", "0"), 1.0, control="v9")], "f1: no voltage source 'v9'"),
    ],
)
def test_a_circuit_that_cannot_be_is_refused(elements: list[Element], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        System(elements)


def test_unknown_names_are_refused() -> None:
    system = filter_circuit()
    with pytest.raises(ConfigError, match="no node 'x'; the circuit has in, a, out, copy"):
        system.place("x")
    with pytest.raises(ConfigError, match="no branch 'r1'; the circuit has v1, l1"):
        system.branch("r1")
    with pytest.raises(ConfigError, match="no element 'r9'"):
        system.values(no_devices(), r9=np.ones(1))


# --- transistors ----------------------------------------------------------------------------------------------------


def inverters() -> tuple[System, Values]:
    """Two inverters in a ring (a latch) with a resistor that pulls one side up."""
    transistors = []
    for place, (gate, drain) in enumerate((("a", "b"), ("b", "a"))):
        transistors.append(Element(f"n{place}", "transistor", (drain, gate, "0", "0")))
        transistors.append(Element(f"p{place}", "transistor", (drain, gate, "vdd", "vdd")))
    system = System(
        [Element("vdd", "vsource", ("vdd", "0"), 1.8), *transistors, Element("r1", "resistor", ("vdd", "a"), 1e6)]
    )
    kinds = ["nmos", "pmos"] * 2
    row = np.concatenate([device(kind, 2e-6, 3e-7) for kind in kinds])
    return system, system.values(np.stack([row] * 3))


def test_a_latch_settles_where_every_node_is_at_rest() -> None:
    system, values = inverters()
    start = np.zeros((3, len(system.nodes)))
    a, b = system.place("a"), system.place("b")
    start[:, system.place("vdd")] = 1.8
    start[0, a], start[1, b], start[2, :] = 1.8, 1.8, 0.9
    points = operating_points(system, values, start)
    assert points.converged.all()
    assert points.residual.max() < 1e-13
    assert (points["a"][0] > 1.7, points["b"][0] < 0.1) == (True, True)
    assert (points["a"][1] < 0.3, points["b"][1] > 1.7) == (True, True)
    again = operating_points(system, values, points)
    np.testing.assert_allclose(again.x, points.x, atol=1e-12)
    assert again.iterations.max() <= 3


def test_pseudo_transient_steps_find_the_same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    system, values = inverters()
    start = np.full((3, len(system.nodes)), 0.2)
    start[:, system.place("vdd")] = 1.8
    start[:, system.place("a")] = 1.5
    usual = operating_points(system, values, start)
    monkeypatch.setattr(solver, "PLAN", ((1, 0.2),))  # plain Newton has no chance
    points = operating_points(system, values, start)
    assert points.fallback.all()
    assert points.converged.all()
    np.testing.assert_allclose(points.x, usual.x, atol=1e-9)


def test_a_circuit_without_a_solution_says_so() -> None:
    system = System(
        [
            Element("v1", "vsource", ("a", "0"), 1.0),
            Element("v2", "vsource", ("a", "0"), 2.0),
            Element("r1", "resistor", ("a", "0"), 1e3),
        ]
    )
    points = operating_points(system, system.values(no_devices()))
    assert not points.converged.any()


def test_cases_of_a_batch_do_not_touch_each_other() -> None:
    system, values = inverters()
    supplies = np.array([1.6, 1.8, 2.0])
    together = operating_points(system, values._replace(voltage=supplies[:, None]))
    for place in range(3):
        row = slice(place, place + 1)
        alone = operating_points(
            system, Values(*(array[row] for array in values))._replace(voltage=supplies[row, None])
        )
        np.testing.assert_allclose(alone.x[0], together.x[place], rtol=1e-12, atol=1e-15)


def test_small_signals_are_the_slopes_of_operating_points() -> None:
    system = System(
        [
            Element("vdd", "vsource", ("vdd", "0"), 1.8),
            Element("vin", "vsource", ("in", "0"), 0.6),
            Element("m1", "transistor", ("out", "in", "tail", "0")),
            Element("rs", "resistor", ("tail", "0"), 1e3),
            Element("rd", "resistor", ("vdd", "out"), 2e4),
        ]
    )
    devices = np.stack([device("nmos", 5e-6, 5e-7)] * 3)
    points = operating_points(system, system.values(devices, vin=np.array([0.6, 0.6 + 1e-5, 0.6 - 1e-5])))
    slope = (points["out"][1] - points["out"][2]) / 2e-5
    gain = linearise(points).responses(["vin"], [1e-3])[0, 0, system.place("out"), 0]
    assert gain.real == pytest.approx(slope, rel=1e-6)
    assert slope < -2.0
