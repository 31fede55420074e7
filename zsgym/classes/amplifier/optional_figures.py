"""Pictures of the optional metrics: noise over frequency, and the gain over output levels and common modes."""

from __future__ import annotations

import math

import numpy as np

from zsgym.base.plot import Axis, Panel, drawing
from zsgym.base.typography import printed
from zsgym.classes.amplifier import optional
from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.measurements import Real
from zsgym.classes.circuit_class import Figure
from zsgym.classes.testbench import Waves


def figures(waves: Waves, conditions: AmplifierConditions) -> list[Figure]:
    """Every picture whose analyses were run."""
    found = []
    if "slow_noise" in waves and "fast_noise" in waves:
        caption = "Referred to the input, and dashed what the unity buffer has at its output."
        found.append(Figure("Noise", noise_plot(waves), caption))
    for stage, title, letter in (
        ("output_swing", "Gain over output levels", "output"),
        ("common_mode_range", "Gain over input common modes", "common_mode"),
    ):
        curve = optional.gain_curve(stage, waves, conditions)
        ends = optional.measure(stage, waves, conditions) if curve else {}
        low, high = ends.get(f"{letter}_low"), ends.get(f"{letter}_high")
        if curve is not None and low is not None and high is not None:
            caption = "Between the marks at least half of the gain at the nominal level is left."
            found.append(Figure(title, gain_plot(*curve, (low, high), conditions.supply, title), caption))
    return found


def noise_plot(waves: Waves) -> str:
    """Noise density over frequency, with the value at 1 kHz."""
    parts = [waves["slow_noise"], waves["fast_noise"]]
    frequency, at_input, at_output = (
        np.concatenate([np.real(part[name]) for part in parts]) for name in ("frequency", "input", "output")
    )
    spot = float(np.real(waves["fast_noise"]["input"][0]))
    lowest, highest = spot / 100.0, float(max(at_input.max(), at_output.max()))
    low, high = (10.0 ** rounded(math.log10(v)) for rounded, v in ((math.floor, lowest), (math.ceil, highest)))
    panel = Panel(
        Axis(*optional.NOISE_BAND, "frequency", "log", unit="Hz"),
        Axis(low, high, "noise density", "log", unit="V/sqrt(Hz)"),
        height=260,
    )
    panel.line(frequency, at_output, "input")
    panel.line(frequency, at_input)
    panel.dot(optional.SPOT, spot)
    panel.label(optional.SPOT, spot, f"{printed(spot, 'V/sqrt(Hz)')} at 1 kHz", dx=7, dy=-9)
    return drawing([panel], "Noise density over frequency")


def gain_plot(level: Real, gain_db: Real, ends: tuple[float, float], supply: float, title: str) -> str:
    """A gain in decibels over levels in V, with the ends of the range in which it is usable."""
    usable = gain_db[(level >= ends[0]) & (level <= ends[1])]
    # Where the gain changes its sign it is infinite for once.
    top = min(float(gain_db.max()), float(np.median(usable if usable.size else gain_db)) + 12.0)
    panel = Panel(Axis(0.0, supply, "level", unit="V"), Axis(max(top - 60.0, 0.0), top + 6.0, "gain (dB)"), height=260)
    panel.line(level, gain_db)
    low, high = ends
    panel.upright(low, "cursor")
    panel.upright(high, "cursor")
    panel.label(low, top - 40.0, printed(low, "V"), "start", dx=7)
    panel.label(high, top - 40.0, printed(high, "V"), "end", dx=-7)
    return drawing([panel], f"{title}, from rail to rail")
