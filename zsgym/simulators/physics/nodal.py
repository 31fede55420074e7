"""Compiled kernels of the solver: nodal equations of one case, Newton's method, and the linear circuit at its solution.

The inner nodes of a transistor are eliminated inside Newton's step: what they do to the terminals is added to the
circuit's matrix, and their own step follows from the terminals'.
"""

from typing import Any

import numpy as np

from zsgym.simulators.physics.compiling import compiled, inlined
from zsgym.simulators.physics.elimination import solve_dense, solve_in_order
from zsgym.simulators.physics.stamps import (
    DRAIN_BODY,
    INNER_BODY,
    SOURCE_BODY,
    solve_inner,
    stamp,
    stamp_currents,
)


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


@compiled
def _add_transistor(
    p: Any, places: Any, x: Any, inner: Any, gmin: float, v: Any, current: Any, g: Any, follow: Any, matrix: Any, f: Any
) -> None:
    """Add one transistor to the equations; `follow` keeps how its inner nodes answer to the terminals' step.

    Row k of `follow`: derivatives of inner node k by drain, gate, source and body, then its own Newton step.
    """
    for k in range(4):
        v[k] = x[places[k]]
    for k in range(3):
        v[4 + k] = inner[k]
    stamp_currents(p, v, gmin, current, g)
    # The two junction nodes meet only at the intrinsic body: eliminate them first.
    per_source, per_drain = 1.0 / g[SOURCE_BODY, SOURCE_BODY], 1.0 / g[DRAIN_BODY, DRAIN_BODY]
    from_source, from_drain = g[INNER_BODY, SOURCE_BODY] * per_source, g[INNER_BODY, DRAIN_BODY] * per_drain
    to_source, to_drain = g[SOURCE_BODY, INNER_BODY] * per_source, g[DRAIN_BODY, INNER_BODY] * per_drain
    per_pivot = 1.0 / (
        g[INNER_BODY, INNER_BODY] - from_source * g[SOURCE_BODY, INNER_BODY] - from_drain * g[DRAIN_BODY, INNER_BODY]
    )
    for j in range(5):
        if j == 4:
            bulk, source, drain = current[INNER_BODY], current[SOURCE_BODY], current[DRAIN_BODY]
        else:
            bulk, source, drain = g[INNER_BODY, j], g[SOURCE_BODY, j], g[DRAIN_BODY, j]
        answer = (bulk - from_source * source - from_drain * drain) * per_pivot
        follow[0, j] = answer
        follow[1, j] = per_source * source - to_source * answer
        follow[2, j] = per_drain * drain - to_drain * answer
    for i in range(4):
        row = places[i]
        a, b, c = g[i, INNER_BODY], g[i, SOURCE_BODY], g[i, DRAIN_BODY]
        f[row, 0] += current[i] - a * follow[0, 4] - b * follow[1, 4] - c * follow[2, 4]
        for j in range(4):
            matrix[row, places[j]] += g[i, j] - a * follow[0, j] - b * follow[1, j] - c * follow[2, j]


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
    linear, matrix, sources, f, step, v, current, g, follow = space
    size = linear.shape[0] - 1
    count = wiring.transistors.shape[0]
    for at in range(cases.shape[0]):
        case = cases[at]
        assemble_linear(wiring, values, case, linear, sources, nodes)
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
                for k in range(count):
                    _add_transistor(
                        values.devices[case, k], wiring.transistors[k], x[case], inner[case, k], gmin, v, current, g,
                        follow[k], matrix, f,
                    )  # fmt: skip
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
            for k in range(count):
                for n in range(3):
                    change = follow[k, n, 4]
                    for j in range(4):
                        change -= follow[k, n, j] * step[wiring.transistors[k, j], 0]
                    inner[case, k, n] -= change
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
    sources, v, current, charge, g, c, small = space
    first = nodes + wiring.vsources.shape[0]
    for case in range(x.shape[0]):
        assemble_linear(wiring, values, case, conductance[case], sources, nodes)
        for k in range(wiring.capacitors.shape[0]):
            _conductance(
                capacitance[case], wiring.capacitors[k, 0], wiring.capacitors[k, 1], values.capacitance[case, k]
            )
        for k in range(wiring.inductors.shape[0]):
            capacitance[case, first + k, first + k] -= values.inductance[case, k]
        for k in range(wiring.transistors.shape[0]):
            places = wiring.transistors[k]
            for n in range(4):
                v[n] = x[case, places[n]]
            for n in range(3):
                v[4 + n] = inner[case, k, n]
            stamp(values.devices[case, k], v, gmin, current, charge, g, c)
            _add_small_signal(g, c, places, small, conductance[case], capacitance[case], second[case])


@inlined
def _add_small_signal(g: Any, c: Any, places: Any, small: Any, conductance: Any, capacitance: Any, second: Any) -> None:
    """Add a transistor whose inner nodes i are eliminated from its terminals e.

    With P = Gii^-1 Gie, L = Gei Gii^-1, X = Cie - Cii P and Z = Cei - L Cii: A = Gee - Gei P, B = Cee - Cei P - L X,
    D = -Z Gii^-1 X.
    """
    inverse, p, left, x, z = small[0], small[1], small[2], small[3], small[4]  # left and z transposed
    for k in range(3):
        column = solve_inner(g, 1.0 if k == 0 else 0.0, 1.0 if k == 1 else 0.0, 1.0 if k == 2 else 0.0)
        for n in range(3):
            inverse[n, k] = column[n]
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
