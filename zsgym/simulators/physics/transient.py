"""The response in time of one circuit: the trapezoidal rule with steps of its own choice.

Unknowns are those of the steady state. Charges are differentiated by the trapezoidal rule, which neither damps nor
feeds what rings: limit cycles are found, and high quality factors kept. The first two steps after an edge of a source
are those of backward Euler, which damps what is faster than they are. A quadratic prediction starts Newton's method,
and tells the error of a step.

The three inner nodes of a transistor are taken to be at the potential of its body terminal: what the body's resistance
does takes 1e-11 s.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from zsgym.simulators.physics.compiling import compiled, inlined
from zsgym.simulators.physics.elimination import solve_dense, solve_in_order
from zsgym.simulators.physics.lanes import (
    LANES,
    RESULT_ROW,
    SIGNAL_ROWS,
    VOLTAGE_ROW,
    blocks_for,
    load_charges,
    load_currents,
    signal_block,
)
from zsgym.simulators.physics.nodal import assemble_linear, load_devices, place_of
from zsgym.simulators.physics.stamps import Charges, Currents


class Control(NamedTuple):
    """How an integration is controlled.

    tolerance: error of a node in one step, V. newton: of the equations' solution, V. first, most: steps, s.
    stop_after: points at most.
    """

    tolerance: float
    newton: float
    first: float
    most: float
    stop_after: int


class Space(NamedTuple):
    """Work arrays of a circuit of n unknowns: see `space_for`."""

    linear: Any
    stored: Any
    matrix: Any
    sources: Any
    f: Any
    step: Any
    history: Any
    charges: Any
    sum: Any
    blocks: Any


def space_for(unknowns: int, transistors: int) -> Space:
    """Work arrays; the ground is one more."""
    size = unknowns + 1
    square = (size, size)
    return Space(
        np.zeros(square),
        np.zeros(square),
        np.zeros(square),
        np.zeros(size),
        np.zeros((size, 1)),
        np.zeros((size, 1)),
        np.zeros((4, size)),
        np.zeros((3, size)),
        np.zeros(size),
        blocks_for(transistors, SIGNAL_ROWS),
    )


@inlined
def _stored(wiring: Any, values: Any, case: int, matrix: Any, first: int) -> None:
    """Linear charges: capacitors at their nodes, fluxes of inductors (counted negative) in their branches."""
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            matrix[i, j] = 0.0
    for k in range(wiring.capacitors.shape[0]):
        a, b, c = wiring.capacitors[k, 0], wiring.capacitors[k, 1], values.capacitance[case, k]
        matrix[a, a] += c
        matrix[b, b] += c
        matrix[a, b] -= c
        matrix[b, a] -= c
    for k in range(wiring.inductors.shape[0]):
        matrix[first + k, first + k] -= values.inductance[case, k]


@inlined
def _level(pulse: Any, time: float) -> float:
    """Value of a source at a time; pulse: low, high, start, stop, edge."""
    low: float = pulse[0]
    high: float = pulse[1]
    start: float = pulse[2]
    stop: float = pulse[3]
    edge: float = pulse[4]
    level = low
    if start < time < start + edge:
        level = low + (high - low) * (time - start) / edge
    elif start + edge <= time <= stop:
        level = high
    elif stop < time < stop + edge:
        level = high + (low - high) * (time - stop) / edge
    return level


@inlined
def _set_sources(wiring: Any, values: Any, case: int, pulses: Any, nodes: int, time: float, sources: Any) -> None:
    for i in range(sources.shape[0]):
        sources[i] = 0.0
    currents = wiring.isources.shape[0]
    for k in range(currents):
        value = values.current[case, k] if np.isnan(pulses[k, 0]) else _level(pulses[k], time)
        sources[wiring.isources[k, 0]] -= value
        sources[wiring.isources[k, 1]] += value
    for k in range(wiring.vsources.shape[0]):
        pulse = pulses[currents + k]
        sources[nodes + k] = values.voltage[case, k] if np.isnan(pulse[0]) else _level(pulse, time)


@inlined
def _load_terminals(blocks: Any, transistors: Any, x: Any) -> None:
    """Node voltages of the transistors, all inner nodes at the body's."""
    count = transistors.shape[0]
    for k in range((count + LANES - 1) // LANES * LANES):
        at = place_of(k, SIGNAL_ROWS) + LANES * VOLTAGE_ROW
        last = min(k, count - 1)
        for n in range(7):
            blocks[at + LANES * n] = x[transistors[last, min(n, 3)]]


@inlined
def _evaluate(wiring: Any, space: Any, x: Any, gmin: float, rate: float, charge: Any) -> None:
    """Fill matrix (conductance + rate capacitance), f (sum of currents) and the charges of the nodes."""
    size = x.shape[0]
    for i in range(size):
        total, stored = -space.sources[i], 0.0
        for j in range(size):
            g, c = space.linear[i, j], space.stored[i, j]
            total += g * x[j]
            stored += c * x[j]
            space.matrix[i, j] = g + rate * c
        space.f[i, 0] = total
        charge[i] = stored
    transistors = wiring.transistors
    count = transistors.shape[0]
    _load_terminals(space.blocks, transistors, x)
    for block in range((count + LANES - 1) // LANES):
        signal_block(space.blocks, block, gmin)
    for k in range(count):
        at = place_of(k, SIGNAL_ROWS) + LANES * RESULT_ROW
        current = load_currents(space.blocks, at)
        stored = load_charges(space.blocks, at + LANES * _CHARGES_AFTER)
        _add_transistor(transistors[k], current, stored, rate, space.matrix, space.f, charge)


_CHARGES_AFTER = len(Currents._fields)


@inlined
def _add_transistor(nodes: Any, c: Currents, q: Charges, rate: float, matrix: Any, f: Any, charge: Any) -> None:
    """A device of four terminals: what flows into the body is what is left of the others."""
    d, g, s, b = nodes[0], nodes[1], nodes[2], nodes[3]
    f[d, 0] += c.i_d
    f[s, 0] += c.i_s
    f[b, 0] -= c.i_d + c.i_s
    charge[d] += q.q_d
    charge[g] += q.q_g
    charge[s] += q.q_s
    charge[b] -= q.q_d + q.q_g + q.q_s
    _add_row(matrix, d, b, d, g, s, c.d_by_d + rate * q.d_by_d, c.d_by_g + rate * q.d_by_g, c.d_by_s + rate * q.d_by_s)
    _add_row(matrix, s, b, d, g, s, c.s_by_d + rate * q.s_by_d, c.s_by_g + rate * q.s_by_g, c.s_by_s + rate * q.s_by_s)
    _add_row(matrix, g, b, d, g, s, rate * q.g_by_d, rate * q.g_by_g, rate * q.g_by_s)


@inlined
def _add_row(matrix: Any, row: int, b: int, d: int, g: int, s: int, by_d: float, by_g: float, by_s: float) -> None:
    """Derivatives of what enters at `row` and leaves at the body; only differences of voltages count."""
    by_b = -(by_d + by_g + by_s)
    matrix[row, d] += by_d
    matrix[row, g] += by_g
    matrix[row, s] += by_s
    matrix[row, b] += by_b
    matrix[b, d] -= by_d
    matrix[b, g] -= by_g
    matrix[b, s] -= by_s
    matrix[b, b] -= by_b


@inlined
def _move_charges(wiring: Any, space: Any, step: Any, charge: Any) -> None:
    """Let the charges follow a step of the nodes, by their derivatives at the last evaluation."""
    size = charge.shape[0]
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += space.stored[i, j] * step[j, 0]
        charge[i] -= total
    transistors = wiring.transistors
    for k in range(transistors.shape[0]):
        q = load_charges(space.blocks, place_of(k, SIGNAL_ROWS) + LANES * (RESULT_ROW + _CHARGES_AFTER))
        d, g, s, b = transistors[k, 0], transistors[k, 1], transistors[k, 2], transistors[k, 3]
        v_d, v_g, v_s = step[d, 0] - step[b, 0], step[g, 0] - step[b, 0], step[s, 0] - step[b, 0]
        q_d = q.d_by_d * v_d + q.d_by_g * v_g + q.d_by_s * v_s
        q_g = q.g_by_d * v_d + q.g_by_g * v_g + q.g_by_s * v_s
        q_s = q.s_by_d * v_d + q.s_by_g * v_g + q.s_by_s * v_s
        charge[d] -= q_d
        charge[g] -= q_g
        charge[s] -= q_s
        charge[b] += q_d + q_g + q_s


@inlined
def _predict(past: Any, known: int, h: float, before: float, earlier: float, i: int) -> float:
    """Where unknown i is expected after a step h: on the parabola, or the line, through the points since the corner."""
    value: float = past[0, i]
    if known > 1:
        slope = (past[0, i] - past[1, i]) / before
        value += h * slope
        if known > 2:
            bend = (slope - (past[1, i] - past[2, i]) / earlier) / (before + earlier)
            value += h * (h + before) * bend
    return value


@inlined
def _equations(wiring: Any, space: Any, new: Any, gmin: float, rate: float, flow: float) -> None:
    """Matrix and right-hand side of one iteration: currents, and charges by the rule of the step."""
    charges, charge = space.charges, space.sum
    _evaluate(wiring, space, new, gmin, rate, charge)
    for i in range(new.shape[0] - 1):
        space.f[i, 0] += rate * (charge[i] - charges[0, i]) - flow * charges[1, i]


@inlined
def _solve_step(
    wiring: Any, order: Any, space: Any, nodes: int, new: Any, gmin: float, rate: float, flow: float, tolerance: float
) -> bool:
    """Newton's method from a prediction, which ends at the new state; whether it has converged."""
    size = new.shape[0] - 1
    for _ in range(12):
        _equations(wiring, space, new, gmin, rate, flow)
        if not solve_in_order(order, space.matrix, space.f, space.step):
            _equations(wiring, space, new, gmin, rate, flow)
            if not solve_dense(space.matrix, space.f, space.step, size):
                return False
        largest = 0.0
        for i in range(nodes):
            largest = max(largest, abs(space.step[i, 0]))
        if not largest < 10.0:
            return False
        space.step[size, 0] = 0.0
        shrink = min(1.0, 0.3 / largest) if largest > 0.0 else 1.0
        for i in range(size):
            space.step[i, 0] *= shrink
            new[i] -= space.step[i, 0]
        # Newton's method is quadratic: what is left after a step is about its square over a thermal voltage.
        if shrink == 1.0 and largest * largest < 0.03 * tolerance:
            return True
    return False


@inlined
def _error_of(past: Any, new: Any, nodes: int, known: int, h: float, before: float, earlier: float) -> float:
    """Largest error of a node in a step, in V: that of the prediction tells it."""
    error = 0.0
    for i in range(nodes):
        error = max(error, abs(new[i] - _predict(past, known, h, before, earlier, i)))
    if known > 2:
        return error * 0.5 * h * h / ((h + before) * (h + before + earlier))
    return 0.5 * error if known > 1 else 0.0


@inlined
def _accept(wiring: Any, space: Any, new: Any, rate: float, flow: float) -> None:
    """Make the new state the present one."""
    past, charges, charge = space.history, space.charges, space.sum
    _move_charges(wiring, space, space.step, charge)
    for i in range(new.shape[0]):
        past[2, i], past[1, i], past[0, i] = past[1, i], past[0, i], new[i]
        charges[1, i] = rate * (charge[i] - charges[0, i]) - flow * charges[1, i]
        charges[0, i] = charge[i]


@compiled
def integrate(
    wiring: Any, order: Any, values: Any, case: int, nodes: int, start: Any, gmin: float, pulses: Any, breaks: Any,
    control: Any, space: Any, probes: Any, times: Any, waves: Any,
) -> int:  # fmt: skip
    """Follow a circuit from its steady state.

    :param start: (unknowns + 1,) the state at time 0. :param pulses: (current, then voltage sources, 5) low, high,
        start, stop, edge; NaN for a source without one. :param breaks: times at which a source has a corner, ascending;
        nothing happens before the first, and the last one is the end.
    :param probes: places of the unknowns that are kept. :param times: (control.stop_after,), filled.
    :param waves: (control.stop_after, probes), filled.
    :return: number of points; negative where the equations of a step could not be solved however short it was.
    """
    size = start.shape[0] - 1
    assemble_linear(wiring, values, case, space.linear, space.sources, nodes)
    _stored(wiring, values, case, space.stored, nodes + wiring.vsources.shape[0])
    load_devices(space.blocks, values.devices[case], SIGNAL_ROWS)
    past, new = space.history, space.history[3]
    for i in range(size + 1):
        past[0, i] = start[i]
    _set_sources(wiring, values, case, pulses, nodes, breaks[0], space.sources)
    _evaluate(wiring, space, past[0], gmin, 0.0, space.charges[0])
    times[0], times[1] = 0.0, breaks[0]
    for k in range(probes.shape[0]):
        waves[0, k] = waves[1, k] = start[probes[k]]
    points = 2
    time = breaks[0]
    for stretch in range(1, breaks.shape[0]):
        end = breaks[stretch]
        known = 1  # points since the corner
        h, before, earlier = min(control.first, end - time), 0.0, 0.0
        while time < end:
            if points >= control.stop_after:
                return points
            at_end = time + h >= end * (1.0 - 1e-14)
            h = end - time if at_end else h
            rate, flow = (2.0 / h, 1.0) if known > 2 else (1.0 / h, 0.0)
            for i in range(size + 1):
                new[i] = _predict(past, known, h, before, earlier, i)
            _set_sources(wiring, values, case, pulses, nodes, time + h, space.sources)
            solved = _solve_step(wiring, order, space, nodes, new, gmin, rate, flow, control.newton)
            if not solved:
                h *= 0.125
                known = min(known, 2)
                if h < 1e-18:
                    return -points
                continue
            error = _error_of(past, new, nodes, known, h, before, earlier) / control.tolerance
            if error > 2.0 and h > 1e-15:
                h *= max(0.1, 0.8 * error ** (-1.0 / 3.0))
                continue
            _accept(wiring, space, new, rate, flow)
            time = end if at_end else time + h
            earlier, before = before, h
            known = min(known + 1, 3)
            times[points] = time
            for k in range(probes.shape[0]):
                waves[points, k] = past[0, probes[k]]
            points += 1
            growth = 2.0 if known < 3 or error < 0.1 else min(2.0, max(0.3, 0.9 * error ** (-1.0 / 3.0)))
            h = min(h * growth, control.most)
    return points
