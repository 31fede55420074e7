"""Transient analyses of a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zsgym.classes.testbench import CurrentSource, Pulse, Testbench, Transient, VoltageSource
from zsgym.simulators.physics.solver import GMIN, OperatingPoints
from zsgym.simulators.physics.system import System
from zsgym.simulators.physics.transient import Control, integrate, space_for

Floats = NDArray[np.float64]
TOLERANCE = 2e-4
"""Error of a node in one step, in V: slew rates are then good to 0.1 %, settling times to 0.3 %, each in the median."""
_NEWTON = 0.125
"""Error of the equations' solution, as a share of that of a step."""
_FIRST = 2e-11
_LONGER = 2.0
"""A step is at most so many times as long as the testbench says: the formula is told by its error how far it can go."""
_SHARE = 0.5
"""And the bound on the number of points is this share of the testbench's: ngspice needs twice as many."""


class Transients:
    """One transient analysis of a testbench.

    pulses: source -> its pulse.
    """

    def __init__(self, system: System, testbench: Testbench, wanted: Transient) -> None:
        self._system, self._wanted = system, wanted
        self.pulses: dict[str, Pulse] = {
            element.name: element.pulse
            for element in testbench.elements
            if isinstance(element, VoltageSource | CurrentSource) and element.pulse is not None
        }
        names = (*system.names("isource"), *system.names("vsource"))
        self._table = np.full((len(names), 5), np.nan)
        corners = {wanted.stop}
        for row, name in enumerate(names):
            pulse = self.pulses.get(name.removeprefix("t.")) if name.startswith("t.") else None
            if pulse is not None:
                self._table[row] = pulse.low, pulse.high, pulse.start, pulse.stop, pulse.edge
                corners |= {pulse.start, pulse.start + pulse.edge, pulse.stop, pulse.stop + pulse.edge}
        self._breaks = np.array(sorted(corner for corner in corners if corner <= wanted.stop))

    def run(self, points: OperatingPoints, places: list[int]) -> list[tuple[Floats, Floats] | None]:
        """(times, (times, places) unknowns) of each case, which begins at its operating point; None without solution.

        A case that reaches the bound on the number of points ends early.
        """
        system, wanted = self._system, self._wanted
        most = max(int(_SHARE * wanted.max_points), 16)
        control = Control(TOLERANCE, TOLERANCE * _NEWTON, _FIRST, _LONGER * wanted.max_step, most)
        space = space_for(system.size, points.inner.shape[1])
        order = system.order(points.values.gain[0])
        probes = np.array(places, dtype=np.int64)
        times, waves = np.zeros(most), np.zeros((most, len(places)))
        runs: list[tuple[Floats, Floats] | None] = []
        for case in range(len(points.x)):
            count = integrate(
                system.wiring, order, points.values, case, len(system.nodes), points.x[case], GMIN, self._table,
                self._breaks, control, space, probes, times, waves,
            )  # fmt: skip
            runs.append((times[:count].copy(), waves[:count].copy()) if count > 0 else None)
        return runs
