"""Noise at a node: every channel and every resistor, each by its own way to the output.

Left out are the resistors of the bodies (together below a thousandth of the channel's noise), and the milliohm that
ngspice puts into every drain and source as soon as a deck asks for noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zsgym.simulators.physics.noise import BOLTZMANN, channel_noise
from zsgym.simulators.physics.solver import OperatingPoints, SmallSignals, linearise

Floats = NDArray[np.float64]


def noise_of(
    points: OperatingPoints, devices: NDArray[np.void], stimulus: Floats, output: int, hertz: Floats
) -> list[tuple[Floats, Floats]]:
    """Of each case: density at the output (V^2/Hz) and magnitude of the gain from the stimulus, over frequency.

    :param devices: (cases, transistors) of `DEVICE`. :param stimulus: (unknowns + 1, 1) right-hand side.
    :param output: place of the output's voltage.
    """
    wiring = points.system.wiring
    pairs = np.concatenate([wiring.transistors[:, [0, 2]], wiring.resistors])
    right = np.zeros((points.system.size + 1, len(pairs) + 1))
    for column, (above, below) in enumerate(pairs):
        right[above, column] += 1.0
        right[below, column] -= 1.0
    right[-1] = 0.0  # the ground
    right[:, -1:] = stimulus
    signals = linearise(points)
    found = []
    for case in range(len(points.x)):
        ways = np.abs(_of_case(signals, case).answers(right, hertz)[0, :, output, :])
        sources = np.array(list(_sources(points, devices, case, hertz)))
        found.append((np.asarray((ways[:, :-1] ** 2 * sources.T).sum(axis=1)), ways[:, -1]))
    return found


def _sources(points: OperatingPoints, devices: NDArray[np.void], case: int, hertz: Floats) -> Iterator[Floats]:
    """Density of each source of noise over frequency, in A^2/Hz: transistors, then resistors."""
    for place, terminals in enumerate(points.system.wiring.transistors):
        voltages = np.concatenate([points.x[case, terminals], points.inner[case, place]])
        device = devices[case, place]
        thermal, flicker = channel_noise(device, voltages, 1.0)
        yield thermal + flicker / hertz ** float(device["ef"])
    kelvin = float(devices["temperature"][case, 0]) if devices.shape[1] else 300.15
    for resistance in points.values.resistance[case]:
        yield np.full(len(hertz), 4.0 * BOLTZMANN * kelvin / float(resistance))


def _of_case(signals: SmallSignals, case: int) -> SmallSignals:
    part = slice(case, case + 1)
    return SmallSignals(
        signals.system, signals.order, signals.conductance[part], signals.capacitance[part], signals.second[part]
    )
