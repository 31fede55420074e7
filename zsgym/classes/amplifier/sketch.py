"""The open loop as the metrics alone tell it, for the picture of an environment. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from zsgym.base.pictures import BROKEN, MISSED, MUTED, NEUTRAL, plain


def two_pole_response(metrics: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """Frequencies (Hz) and open-loop gain of the two-pole amplifier with the same gain, bandwidth and phase margin.

    Every backend gives these three, none gives a waveform. The second pole p2 follows from the margin at the unity-gain
    frequency f1: PM = 90 degrees - atan(f1 / p2), the first from the gain there. Margins outside 1 to 89 degrees are
    drawn at that limit.
    """
    unity, gain = metrics["gbw"], 10.0 ** (metrics["dc_gain"] / 20.0)
    lag = np.deg2rad(90.0 - np.clip(metrics["phase_margin"], 1.0, 89.0))
    second = unity / np.tan(lag)
    first = unity / np.sqrt(max((gain * np.cos(lag)) ** 2 - 1.0, 1.0))
    frequency = np.geomspace(min(first, unity) / 10.0, 100.0 * unity, 200)
    return frequency, gain / ((1.0 + 1j * frequency / first) * (1.0 + 1j * frequency / second))


def draw_response(axes: Axes, metrics: Mapping[str, float] | None) -> None:
    """Magnitude and phase, and the phase margin as a bar at the unity-gain frequency. See `CircuitClass.sketch`."""
    plain(axes, "open loop (two-pole model)")
    axes.tick_params(labelsize=8, labelcolor=MUTED)
    if metrics is None:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, fontsize=9, color=BROKEN, ha="center")
        return
    unity = metrics["gbw"]
    frequency, response = two_pole_response(metrics)
    axes.semilogx(frequency, 20.0 * np.log10(np.abs(response)), color=NEUTRAL, linewidth=1.4)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.plot(unity, 0.0, "o", color=NEUTRAL, markersize=4)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.set_ylabel("dB", fontsize=8.5, color=NEUTRAL, labelpad=0)
    axes.set_xlabel("Hz", fontsize=8.5, color=MUTED, labelpad=0)
    degrees = axes.twinx()
    degrees.semilogx(frequency, np.rad2deg(np.unwrap(np.angle(response))), color=MISSED, linewidth=1.2)
    degrees.plot([unity, unity], [-180.0, metrics["phase_margin"] - 180.0], color=MISSED, linewidth=2.4, alpha=0.5)
    degrees.set_ylim(-190.0, 5.0)
    degrees.set_yticks([-180, -90, 0], ["-180°", "-90°", "0°"], fontsize=8, color=MISSED)
    plain(degrees, "")
