"""Operating points, small signals and poles of a batch of circuits with the same wiring.

Newton's method starts each case where it is told to, or with every node at one voltage; no node may move far in one
iteration. Where that fails, conductances tie every node to where it was (a backward-Euler step of a circuit with equal
capacitances everywhere) and are let go in steps. A case without a solution says so: it never passes for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsgym.simulators.physics import nodal
from zsgym.simulators.physics.elimination import Order
from zsgym.simulators.physics.lanes import NEWTON_ROWS, SIGNAL_ROWS, blocks_for
from zsgym.simulators.physics.stamps import NODES
from zsgym.simulators.physics.system import Floats, System, Values

GMIN = 1e-12
"""Conductance across every junction, in S: ngspice's default."""
TOLERANCE = 1e-11
"""Newton's method has converged when its last step moved no node by more than this, in V. It converges quadratically,
so that what is left is rounding."""
START = 0.4
"""Where nodes start, as a part of the highest source voltage."""
PLAN = ((60, 0.2), (200, 0.07))
"""Attempts of plain Newton: most iterations, and by how much a node may move in one, in V."""
LAST_ATTEMPT = (60, 0.2)
"""The same at the end of the pseudo-transient."""
TIME_STEP = (20, 0.2, 1e-6)
"""The same for one pseudo-transient step, and its tolerance in V."""
FIRST_SHUNT, LAST_SHUNT = 1e-3, 1e-14
"""Conductance that ties a node to where it was, in S: at the first step, and where it no longer matters."""
MOST_TIME_STEPS = 500

Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class OperatingPoints:
    """Steady states of a batch.

    x: (cases, unknowns + 1) node voltages, then currents through voltage sources and inductors, then the ground's 0.
    inner: (cases, transistors, 3) voltages of the transistors' inner nodes. converged: (cases,).
    iterations: (cases,) Newton iterations spent. fallback: (cases,) whether plain Newton had failed.
    residual: (cases,) largest sum of currents into a node, in A.
    """

    system: System
    values: Values
    x: Floats
    inner: Floats
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]
    fallback: NDArray[np.bool_]
    residual: Floats

    def __getitem__(self, node: str) -> Floats:
        """(cases,) voltage of a node."""
        return self.x[:, self.system.place(node)]

    def through(self, branch: str) -> Floats:
        """(cases,) current through a voltage source or inductor, from its first node to its second, in A."""
        return self.x[:, self.system.branch(branch)]


@dataclass(frozen=True)
class SmallSignals:
    """Linear circuits (conductance + s capacitance + s^2 second) x = excitation.

    The matrices are (cases, unknowns + 1, unknowns + 1), with the ground in the last row and column.
    """

    system: System
    order: Order
    conductance: Floats
    capacitance: Floats
    second: Floats

    def responses(self, excitations: Sequence[str], hertz: Floats) -> Complex:
        """(cases, frequencies, unknowns, excitations): answers to a unit signal of each named source, or several.

        A name may be `a+b`: both sources at once. Where the equations are singular, the answer is NaN.
        :raises ConfigError: a name is not that of a voltage source.
        """
        right = np.zeros((self.system.size + 1, len(excitations)))
        for column, names in enumerate(excitations):
            for name in names.split("+"):
                right[self.system.branch(name), column] = 1.0
        return self.answers(right, hertz)

    def answers(self, excitations: Floats, hertz: Floats) -> Complex:
        """(cases, frequencies, unknowns, k): answers to right-hand sides (unknowns + 1, k): see `system.Wiring`."""
        found = np.zeros(
            (len(self.conductance), len(hertz), self.system.size, excitations.shape[1]), dtype=np.complex128
        )
        omega = 2.0 * np.pi * np.asarray(hertz, dtype=np.float64)
        right = np.ascontiguousarray(excitations, dtype=np.float64)
        shapes = (right.shape[:1] * 2, right.shape, right.shape)
        space = tuple(np.zeros(shape, dtype=np.complex128) for shape in shapes)
        nodal.responses(self.order, self.conductance, self.capacitance, self.second, right, omega, space, found)
        return found

    def poles(self) -> list[Complex]:
        """Natural modes of each case, in rad/s, slowest first.

        They are the eigenvalues of the pencil of conductance and capacitance. Those that rounding cannot tell from
        infinity are left out, and so is the body network's own second order: its modes lie above 1e11 rad/s.
        """
        found = []
        for conductance, capacitance in zip(self.conductance[:, :-1, :-1], self.capacitance[:, :-1, :-1], strict=True):
            times = np.linalg.eigvals(-np.linalg.solve(conductance, capacitance))
            times = times[np.abs(times) > 1e-14 * np.abs(times).max(initial=0.0)]
            found.append(1.0 / times[np.argsort(-np.abs(times))])
        return found


def operating_points(
    system: System, values: Values, start: OperatingPoints | Floats | None = None, *, gmin: float = GMIN
) -> OperatingPoints:
    """Steady states of a batch of cases.

    :param start: operating points of the same circuit to start from (one, or one a case), or (cases, nodes) voltages.
    """
    count, transistors = len(values.devices), values.devices.shape[1]
    x = np.zeros((count, system.size + 1))
    if isinstance(start, OperatingPoints):
        x[:], inner = start.x, np.broadcast_to(start.inner, (count, transistors, 3)).copy()
    else:
        highest = np.abs(values.voltage).max(axis=1, initial=0.0)
        x[:, : len(system.nodes)] = START * highest[:, None] if start is None else start
        for place, (above, below) in enumerate(system.wiring.vsources):
            if below == system.size:
                x[:, above] = values.voltage[:, place]
        inner = np.repeat(x[:, system.wiring.transistors[:, 3]][:, :, None], 3, axis=2)
    search = _Search(system, values, x, inner, gmin)
    search.run()
    return OperatingPoints(system, values, x, inner, search.solved, search.spent, search.fallback, search.residual)


class _Search:
    """Newton's method over a batch: long steps, then short ones, then pseudo-transient steps for what is left."""

    def __init__(self, system: System, values: Values, x: Floats, inner: Floats, gmin: float) -> None:
        count, size, transistors = len(x), system.size + 1, inner.shape[1]
        self.system, self.values, self.x, self.inner, self.gmin = system, values, x, inner, gmin
        self.order = system.order(values.gain[0]) if count else None
        self.solved, self.fallback = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self.spent, self.residual = np.zeros(count, dtype=np.int64), np.full(count, np.inf)
        self.used = np.zeros(count, dtype=np.int64)
        self.space = (
            np.zeros((size, size)),
            np.zeros((size, size)),
            np.zeros(size),
            np.zeros((size, 1)),
            np.zeros((size, 1)),
            blocks_for(transistors, NEWTON_ROWS),
        )

    def run(self) -> None:
        """Try everything."""
        start, start_inner = self.x.copy(), self.inner.copy()
        free = np.zeros(len(self.x))
        for most, limit in PLAN:
            left = np.flatnonzero(~self.solved)
            if left.size:
                self.x[left], self.inner[left] = start[left], start_inner[left]
                self.newton(left, free, start, most, limit, TOLERANCE)
                self.solved[left] = self.used[left] > 0
        left = np.flatnonzero(~self.solved)
        if left.size:
            self.fallback[left] = True
            self.x[left], self.inner[left] = start[left], start_inner[left]
            self.pseudo_transient(left)
            self.newton(left, free, start, *LAST_ATTEMPT, TOLERANCE)
            self.solved[left] = self.used[left] > 0

    def pseudo_transient(self, cases: NDArray[np.int64]) -> None:
        """Follow the circuit from where it is, as if every node had the same capacitance, with growing time steps."""
        shunt = np.full(len(self.x), FIRST_SHUNT)
        for _ in range(MOST_TIME_STEPS):
            cases = cases[(shunt[cases] > LAST_SHUNT) & (shunt[cases] < 1e6 * FIRST_SHUNT)]
            if not cases.size:
                return
            before, before_inner = self.x.copy(), self.inner.copy()
            self.newton(cases, shunt, before, *TIME_STEP)
            failed = cases[self.used[cases] < 0]
            self.x[failed], self.inner[failed] = before[failed], before_inner[failed]
            shunt[cases] *= np.where(self.used[cases] < 0, 8.0, np.where(self.used[cases] <= 4, 0.1, 0.4))

    def newton(
        self, cases: NDArray[np.int64], shunt: Floats, anchor: Floats, most: int, limit: float, tolerance: float
    ) -> None:
        """Newton's method for some cases (`nodal.newton`)."""
        nodal.newton(
            self.system.wiring, self.order, self.values, cases, len(self.system.nodes), self.x, self.inner, self.gmin,
            shunt, anchor, most, limit, tolerance, self.space, self.used, self.residual,
        )  # fmt: skip
        self.spent[cases] += np.abs(self.used[cases])


def linearise(points: OperatingPoints, *, gmin: float = GMIN, gain: dict[str, float] | None = None) -> SmallSignals:
    """Small signals around operating points.

    :param gain: gains of followers for small signals, where they differ.
    """
    system, values = points.system, points.values
    if gain:
        gains = values.gain.copy()
        for name, value in gain.items():
            gains[:, system.names("follower").index(name)] = value
        values = values._replace(gain=gains)
    shape = (len(points.x), system.size + 1, system.size + 1)
    conductance, capacitance, second = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    pair = (np.zeros((NODES, NODES)), np.zeros((NODES, NODES)))
    blocks = blocks_for(points.inner.shape[1], SIGNAL_ROWS)
    space = (np.zeros(shape[1]), np.zeros(NODES), *pair, np.zeros((5, 3, 4)), blocks)
    nodal.linearise(
        system.wiring, values, len(system.nodes), points.x, points.inner, gmin, conductance, capacitance, second, space
    )
    return SmallSignals(system, system.order(values.gain[0]), conductance, capacitance, second)
