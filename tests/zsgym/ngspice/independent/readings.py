"""What docs/metrics.md says of a closed loop, read from waveforms by code that shares nothing with zsgym's own.

All waveforms are sampled densely enough for straight lines between their points.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def slew_rate(time: Floats, output: Floats, low: float, high: float, level: float) -> float:
    """V/s: half the step over the time to a level, which is the half-way point (low + high) / 2 for the metric.

    :param time: s since the edge of the input. :param output: V. :param low, high, level: V.
    """
    beyond = output >= level if output[0] < level else output <= level
    k = int(np.argmax(beyond))
    assert k > 0, "the output never gets half-way"
    share = (level - output[k - 1]) / (output[k] - output[k - 1])
    return float((high - low) / 2.0 / (time[k - 1] + share * (time[k] - time[k - 1])))


def settling_time(time: Floats, output: Floats, end: float, room: float) -> float:
    """s: from when on the output stays within `room` (V; 1 % of the level, for the metric) of where it ends (V)."""
    deviation = np.abs(output - end)
    outside = np.flatnonzero(deviation > room)
    assert len(outside) > 0
    assert outside[-1] < len(time) - 1, "the output does not settle"
    k = int(outside[-1])
    share = (deviation[k] - room) / (deviation[k] - deviation[k + 1])
    return float(time[k] + share * (time[k + 1] - time[k]))


def peaking(magnitude: Floats) -> float:
    """dB: the largest output of the closed loop over that at the lowest frequency."""
    return float(20.0 * np.log10(magnitude.max() / magnitude[0]))


def bandwidth(frequency: Floats, magnitude: Floats) -> float:
    """Hz: where the closed loop has lost 3 dB for the first time."""
    level = 20.0 * np.log10(magnitude / magnitude[0])
    k = int(np.argmax(level < -3.0))
    assert k > 0, "the closed loop never loses 3 dB"
    share = (level[k - 1] + 3.0) / (level[k - 1] - level[k])
    return float(frequency[k - 1] * (frequency[k] / frequency[k - 1]) ** share)


def outside_tube(time: Floats, output: Floats, reference_time: Floats, reference: Floats, shift: Floats) -> float:
    """V: how far a waveform leaves the tube that a reference sweeps when it is moved to and fro in time.

    A steep edge that comes a little late is then no large difference, while a plateau or a ripple is compared in volts.

    :param shift: (points,) s by which the reference may come early or late at each point of the waveform.
    """
    moved = [np.interp(time + share * shift, reference_time, reference) for share in np.linspace(-1.0, 1.0, 21)]
    return float(np.max(np.maximum(output - np.max(moved, axis=0), np.min(moved, axis=0) - output), initial=0.0))
