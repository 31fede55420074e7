"""Compiled kernels of the solver: nodal equations of one case, Newton's method, and the linear circuit at its solution.

The inner nodes of a transistor are eliminated inside Newton's step: what they do to the terminals is added to the
circuit's matrix, and their own step follows from the terminals'. Transistors are evaluated eight at a time (`lanes`).
"""

from typing import Any

import numpy as np

from zsgym.simulators.physics.compiling import compiled, inlined
from zsgym.simulators.physics.elimination import solve_dense, solve_in_order
from zsgym.simulators.physics.lanes import (
    FIELDS,
    LANES,
    NEWTON_ROWS,
    RESULT_ROW,
    SIGNAL_ROWS,
    VOLTAGE_ROW,
    load_charges,
    load_currents,
    load_reduced,
    newton_block,
    signal_block,
)
from zsgym.simulators.physics.stamps import Currents, fill_charges, fill_currents

_CHARGES_AFTER = len(Currents._fields)
"""Rows between the currents and the charges of `signal_block`."""


@inlined
def _conductance(matrix: Any, a: int, b: int, g: float) -> None:
    matrix[a, a] += g
    matrix[b, b] += g
    matrix[a, b] -= g
    matrix[b, a] -= g


@compiled
def assemble_linear(wiring: Any, values: Any, case: int, matrix: Any, sources: Any, nodes: int) -> None:
    """The part of the equations matrix @ x = sources that does not change during Newton's method."""
    for i in range(matrix.shape[0]):
        sources[i] = 0.0
        for j in range(matrix.shape[1]):
            matrix[i, j] = 0.0
    for k in range(wiring.resistors.shape[0]):
        _conductance(matrix, wiring.resistors[k, 0], wiring.resistors[k, 1], 1.0 / values.resistance[case, k])
    for k in range(wiring.isources.shape[0]):
        sources[wiring.isources[k, 0]] -= values.current[case, k]
        sources[wiring.isources[k, 1]] += values.current[case, k]
    for k in range(wiring.vsources.shape[0]):
        _branch(matrix, wiring.vsources[k, 0], wiring.vsources[k, 1], nodes + k)
        sources[nodes + k] = values.voltage[case, k]
    first = nodes + wiring.vsources.shape[0]
    for k in range(wiring.inductors.shape[0]):
        _branch(matrix, wiring.inductors[k, 0], wiring.inductors[k, 1], first + k)
    for k in range(wiring.followers.shape[0]):
        column = nodes + wiring.controls[k]
        matrix[wiring.followers[k, 0], column] += values.gain[case, k]
        matrix[wiring.followers[k, 1], column] -= values.gain[case, k]


@inlined
def _branch(matrix: Any, a: int, b: int, row: int) -> None:
    matrix[row, a] += 1.0
    matrix[row, b] -= 1.0
    matrix[a, row] += 1.0
    matrix[b, row] -= 1.0


@inlined
def place_of(k: int, rows: int) -> int:
    """Where transistor k begins in an array of blocks."""
    return (k // LANES) * (rows * LANES) + k % LANES


@inlined
def load_devices(blocks: Any, devices: Any, rows: int) -> None:
    """Write the records of a case's transistors into blocks; lanes that are left over repeat the last one."""
    count = devices.shape[0]
    for k in range((count + LANES - 1) // LANES * LANES):
        at = place_of(k, rows)
        last = min(k, count - 1)
        for field in range(FIELDS):
            blocks[at + LANES * field] = devices[last, field]


@inlined
def _load_voltages(blocks: Any, transistors: Any, x: Any, inner: Any, rows: int) -> None:
    """Write the node voltages of a case's transistors into blocks."""
    count = transistors.shape[0]
    for k in range((count + LANES - 1) // LANES * LANES):
        at = place_of(k, rows) + LANES * VOLTAGE_ROW
        last = min(k, count - 1)
        for n in range(4):
            blocks[at + LANES * n] = x[transistors[last, n]]
        for n in range(3):
            blocks[at + LANES * (4 + n)] = inner[last, n]


@inlined
def _add_transistors(blocks: Any, transistors: Any, x: Any, inner: Any, gmin: float, matrix: Any, f: Any) -> None:
    """Add the transistors of a case to its equations."""
    _load_voltages(blocks, transistors, x, inner, NEWTON_ROWS)
    count = transistors.shape[0]
    for block in range((count + LANES - 1) // LANES):
        newton_block(blocks, block, gmin)
    for k in range(count):
        r = load_reduced(blocks, place_of(k, NEWTON_ROWS) + LANES * RESULT_ROW)
        d, g, s, b = transistors[k, 0], transistors[k, 1], transistors[k, 2], transistors[k, 3]
        f[d, 0] += r.i_d
        f[s, 0] += r.i_s
        f[b, 0] += r.i_b
        matrix[d, d] += r.d_by_d
        matrix[d, g] += r.d_by_g
        matrix[d, s] += r.d_by_s
        matrix[d, b] += r.d_by_b
        matrix[s, d] += r.s_by_d
        matrix[s, g] += r.s_by_g
        matrix[s, s] += r.s_by_s
        matrix[s, b] += r.s_by_b
        matrix[b, d] += r.b_by_d
        matrix[b, g] += r.b_by_g
        matrix[b, s] += r.b_by_s
        matrix[b, b] += r.b_by_b


@inlined
def _move_inner(blocks: Any, transistors: Any, step: Any, inner: Any) -> None:
    """Let the inner nodes follow a step of the circuit's nodes."""
    for k in range(transistors.shape[0]):
        r = load_reduced(blocks, place_of(k, NEWTON_ROWS) + LANES * RESULT_ROW)
        d, g = step[transistors[k, 0], 0], step[transistors[k, 1], 0]
        s, b = step[transistors[k, 2], 0], step[transistors[k, 3], 0]
        inner[k, 0] -= r.inner_own - r.inner_by_d * d - r.inner_by_g * g - r.inner_by_s * s - r.inner_by_b * b
        inner[k, 1] -= r.sb_own - r.sb_by_d * d - r.sb_by_g * g - r.sb_by_s * s - r.sb_by_b * b
        inner[k, 2] -= r.db_own - r.db_by_d * d - r.db_by_g * g - r.db_by_s * s - r.db_by_b * b


@compiled
def newton(
    wiring: Any, order: Any, values: Any, cases: Any, nodes: int, x: Any, inner: Any, gmin: float, shunt: Any,
    anchor: Any, most: int, limit: float, tolerance: float, space: Any, iterations: Any, residual: Any,
) -> None:  # fmt: skip
    """Newton's method for some cases of a batch, from x and inner, which end at the last iterate.

    :param cases: numbers of the cases. :param x: (cases of the batch, unknowns + 1), and so on.
    :param shunt: conductance from every node to its voltage in `anchor`, in S. :param most: iterations.
    :param limit: a node moves by at most this in one iteration, in V. :param tolerance: largest last step, in V.
    :param iterations: filled with the number of iterations, negative for a case that has not converged.
    :param residual: filled with the largest sum of currents into a node before the last step, in A.
    """
    linear, matrix, sources, f, step, blocks = space
    size = linear.shape[0] - 1
    for at in range(cases.shape[0]):
        case = cases[at]
        assemble_linear(wiring, values, case, linear, sources, nodes)
        load_devices(blocks, values.devices[case], NEWTON_ROWS)
        iterations[case] = -most
        for iteration in range(most):
            singular = True
            for attempt in range(2):  # in the prepared order, and if a pivot fails there with pivoting
                for i in range(size + 1):
                    total = -sources[i]
                    for j in range(size + 1):
                        matrix[i, j] = linear[i, j]
                        total += linear[i, j] * x[case, j]
                    f[i, 0] = total
                for i in range(nodes):
                    matrix[i, i] += shunt[case]
                    f[i, 0] += shunt[case] * (x[case, i] - anchor[case, i])
                _add_transistors(blocks, wiring.transistors, x[case], inner[case], gmin, matrix, f)
                residual[case] = 0.0
                for i in range(nodes):
                    residual[case] = max(residual[case], abs(f[i, 0]))
                if attempt == 0:
                    singular = not solve_in_order(order, matrix, f, step)
                else:
                    singular = not solve_dense(matrix, f, step, size)
                if not singular:
                    break
            largest = 0.0
            for i in range(nodes):
                largest = max(largest, abs(step[i, 0]))
                step[i, 0] = min(max(step[i, 0], -limit), limit)
            if singular or not largest < 1e6:
                iterations[case] = -iteration - 1
                break
            step[size, 0] = 0.0
            for i in range(size):
                x[case, i] -= step[i, 0]
            _move_inner(blocks, wiring.transistors, step, inner[case])
            if largest <= tolerance:
                iterations[case] = iteration + 1
                break


@compiled
def linearise(
    wiring: Any, values: Any, nodes: int, x: Any, inner: Any, gmin: float, conductance: Any, capacitance: Any,
    second: Any, space: Any,
) -> None:  # fmt: skip
    """Matrices A, B, D of the small signals (A + s B + s^2 D) x = excitation at the solutions of a batch.

    The inner nodes of the transistors are eliminated; what is left out is of third order in s times the time constant
    of the body's resistance and capacitance (below 1e-11 s).

    :param capacitance: zeros. :param second: zeros.
    """
    sources, vector, g, c, small, blocks = space
    first = nodes + wiring.vsources.shape[0]
    count = wiring.transistors.shape[0]
    for case in range(x.shape[0]):
        assemble_linear(wiring, values, case, conductance[case], sources, nodes)
        for k in range(wiring.capacitors.shape[0]):
            _conductance(
                capacitance[case], wiring.capacitors[k, 0], wiring.capacitors[k, 1], values.capacitance[case, k]
            )
        for k in range(wiring.inductors.shape[0]):
            capacitance[case, first + k, first + k] -= values.inductance[case, k]
        load_devices(blocks, values.devices[case], SIGNAL_ROWS)
        _load_voltages(blocks, wiring.transistors, x[case], inner[case], SIGNAL_ROWS)
        for block in range((count + LANES - 1) // LANES):
            signal_block(blocks, block, gmin)
        for k in range(count):
            at = place_of(k, SIGNAL_ROWS) + LANES * RESULT_ROW
            fill_currents(load_currents(blocks, at), vector, g)
            fill_charges(load_charges(blocks, at + LANES * _CHARGES_AFTER), vector, c)
            _add_small_signal(g, c, wiring.transistors[k], small, conductance[case], capacitance[case], second[case])


@inlined
def _add_small_signal(g: Any, c: Any, places: Any, small: Any, conductance: Any, capacitance: Any, second: Any) -> None:
    """Add a transistor whose inner nodes i are eliminated from its terminals e.

    With P = Gii^-1 Gie, L = Gei Gii^-1, X = Cie - Cii P and Z = Cei - L Cii: A = Gee - Gei P, B = Cee - Cei P - L X,
    D = -Z Gii^-1 X.
    """
    inverse, p, left, x, z = small[0], small[1], small[2], small[3], small[4]  # left and z transposed
    per_sb, per_db = 1.0 / g[5, 5], 1.0 / g[6, 6]
    per_inner = 1.0 / (g[4, 4] - g[4, 5] * g[5, 4] * per_sb - g[4, 6] * g[6, 4] * per_db)
    share_sb, share_db = -g[4, 5] * per_sb, -g[4, 6] * per_db  # the inner matrix is an arrow, and symmetrical
    inverse[0, 0], inverse[0, 1], inverse[0, 2] = per_inner, share_sb * per_inner, share_db * per_inner
    for k in range(3):
        inverse[1, k] = share_sb * inverse[0, k]
        inverse[2, k] = share_db * inverse[0, k]
    inverse[1, 1] += per_sb
    inverse[2, 2] += per_db
    for i in range(3):
        for j in range(4):
            p[i, j] = left[i, j] = 0.0
            for k in range(3):
                p[i, j] += inverse[i, k] * g[4 + k, j]
                left[i, j] += g[j, 4 + k] * inverse[k, i]
    for i in range(3):
        for j in range(4):
            x[i, j] = c[4 + i, j]
            z[i, j] = c[j, 4 + i]
            for k in range(3):
                x[i, j] -= c[4 + i, 4 + k] * p[k, j]
                z[i, j] -= left[k, j] * c[4 + k, 4 + i]
    for i in range(4):
        for j in range(4):
            a, b, d = g[i, j], c[i, j], 0.0
            for k in range(3):
                a -= g[i, 4 + k] * p[k, j]
                b -= c[i, 4 + k] * p[k, j] + left[k, i] * x[k, j]
                for n in range(3):
                    d -= z[k, i] * inverse[k, n] * x[n, j]
            conductance[places[i], places[j]] += a
            capacitance[places[i], places[j]] += b
            second[places[i], places[j]] += d


@compiled
def responses(
    order: Any, conductance: Any, capacitance: Any, second: Any, excitation: Any, omega: Any, space: Any, answers: Any
) -> None:
    """Small-signal solutions: (cases, frequencies, unknowns, excitations) from (unknowns, excitations)."""
    matrix, right, answer = space
    size = conductance.shape[1] - 1
    for case in range(conductance.shape[0]):
        for k in range(omega.shape[0]):
            _at_frequency(conductance[case], capacitance[case], second[case], excitation, omega[k], matrix, right)
            solved = solve_in_order(order, matrix, right, answer)
            if not solved:
                _at_frequency(conductance[case], capacitance[case], second[case], excitation, omega[k], matrix, right)
                solved = solve_dense(matrix, right, answer, size)
            for i in range(size):
                for j in range(excitation.shape[1]):
                    answers[case, k, i, j] = answer[i, j] if solved else np.nan


@inlined
def _at_frequency(
    conductance: Any, capacitance: Any, second: Any, excitation: Any, omega: float, matrix: Any, right: Any
) -> None:
    size = conductance.shape[0]
    for i in range(size):
        for j in range(size):
            real = conductance[i, j] - omega * omega * second[i, j]
            matrix[i, j] = complex(real, omega * capacitance[i, j])
        for j in range(excitation.shape[1]):
            right[i, j] = excitation[i, j]
