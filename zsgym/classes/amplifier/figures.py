"""The pictures of an amplifier's report: Bode plot, step response, temperature sweep, closed loop."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from zsgym.base.plot import Axis, Panel, drawing, padded
from zsgym.base.typography import printed
from zsgym.classes.amplifier import optional_figures
from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.measurements import (
    SUPPLY_TEMPERATURE,
    Real,
    Step,
    decibel,
    edge_response,
    unity_crossings,
)
from zsgym.classes.amplifier.testbench import input_step, temperature_sweep
from zsgym.classes.amplifier.verdict import AmplifierPolicy
from zsgym.classes.circuit_class import Figure
from zsgym.classes.testbench import Wave, Waves

_LOWEST_GAIN_DB = -60.0
_PHASE_STEP = 90.0
_WORTH_SAYING_DB = 0.2


def figures(waves: Waves, conditions: AmplifierConditions, policy: AmplifierPolicy) -> list[Figure]:
    """Every picture whose analyses were run."""
    found = []
    if "open_loop" in waves:
        caption = "The phase is unwrapped from 0.1 Hz upwards, and every unity-gain crossing counts."
        found.append(Figure("Open loop", bode_plot(waves["open_loop"]), caption))
    if "transient" in waves:
        caption = "In unity feedback. The settling band lies around the level at which the output ends."
        drawn = step_plot(waves["transient"], input_step(conditions), policy.settling_band)
        found.append(Figure("Step response", drawn, caption))
    if "hot" in waves or "hot_coarse" in waves:
        found.append(Figure("Temperature: offset and power are defined at 25 °C", temperature_plot(waves, conditions)))
    if "closed_loop" in waves:
        found.append(Figure("Closed loop", closed_loop_plot(waves["closed_loop"])))
    return found + optional_figures.figures(waves, conditions)


def bode_plot(open_loop: Mapping[str, Wave]) -> str:
    """Magnitude and unwrapped phase of the open loop, with every unity crossing and the worst phase margin.

    :param open_loop: `frequency` (Hz), `out` and `inn` (complex, V), as the backend keeps them.
    """
    frequency = np.real(open_loop["frequency"])
    gain = -open_loop["out"] / open_loop["inn"]
    magnitude, phase = decibel(gain), np.degrees(np.unwrap(np.angle(gain)))  # type: ignore[arg-type]
    crossings = [
        (hertz, float(np.interp(hertz, frequency[i : i + 2], phase[i : i + 2])))
        for hertz, i, _ in unity_crossings(frequency, magnitude)
    ]
    # A hundred times beyond the last crossing everything of interest is over.
    end = 10.0 ** min(math.ceil(math.log10(crossings[-1][0]) + 1.5), 9) if crossings else float(frequency[-1])
    shown = frequency <= end * 1.001
    x = Axis(float(frequency[0]), end, "frequency", "log", unit="Hz")
    top, bottom = _magnitude_panel(x, magnitude, shown), _phase_panel(x, phase, shown)
    top.line(frequency[shown], magnitude[shown])
    bottom.line(frequency[shown], phase[shown], "second")
    for hertz, _ in crossings:
        for panel in (top, bottom):
            panel.upright(hertz, "cursor")
        top.dot(hertz, 0.0)
    if crossings:
        top.label(crossings[0][0], 0.0, f"unity gain {printed(crossings[0][0], 'Hz')}", "end", dx=-9, dy=15)
        _mark_margin(bottom, *min(crossings, key=lambda crossing: crossing[1]))
    return drawing([top, bottom], "Bode plot: open-loop gain and unwrapped phase over frequency")


def _magnitude_panel(x: Axis, magnitude: Real, shown: np.ndarray) -> Panel:
    low = max(_LOWEST_GAIN_DB, float(magnitude[shown].min()))
    high = max(float(magnitude[shown].max()), 0.0)
    step = 40 if high - low > 120.0 else 20
    ticks = range(step * math.floor(low / step), step * math.ceil(high / step) + 1, step)
    panel = Panel(x, Axis(low, high + 15.0, "gain (dB)", ticks=ticks), height=190, show_x=False)
    panel.level(0.0)
    return panel


def _phase_panel(x: Axis, phase: Real, shown: np.ndarray) -> Panel:
    low = min(_PHASE_STEP * math.floor(float(phase[shown].min()) / _PHASE_STEP), -180.0)
    high = max(float(phase[shown].max()), 0.0) + 20.0
    ticks = np.arange(low, high, _PHASE_STEP * (1 if high - low < 500 else 2)).tolist()
    panel = Panel(x, Axis(low - 10.0, high, "phase (°)", ticks=ticks), height=190)
    panel.level(-180.0)
    return panel


def _mark_margin(panel: Panel, hertz: float, phase: float) -> None:
    """The distance from -180 degrees at a crossing."""
    panel.segment((hertz, -180.0), (hertz, phase), "measure")
    panel.dot(hertz, phase, "second")
    panel.label(hertz, (phase - 180.0) / 2.0, f"phase margin {printed(180.0 + phase, 'deg')}", "end", dx=-9, dy=4)


def step_plot(transient: Mapping[str, Wave], step: Step, settling_band: float) -> str:
    """Both edges of the step response from their input edge, with settling band, settling time and slew rate.

    :param transient: `time` (s) and `out` (V). :param step: the input pulse.
    :param settling_band: fraction of the final output level.
    """
    time, output = np.real(transient["time"]), np.real(transient["out"])
    low, high = step.low, step.high
    edges = ((step.rise, step.fall, low, high, "rising"), (step.fall, step.end, high, low, "falling"))
    panels = [
        _edge_panel(time, output, start, stop, before, after, settling_band, f"{name} output (V)")
        for start, stop, before, after, name in edges
        if time[-1] > start
    ]
    return drawing(panels, "Step response in unity feedback: rising and falling edge")


def _edge_panel(
    time: Real, output: Real, start: float, stop: float, before: float, after: float, settling_band: float, title: str
) -> Panel:
    measured = edge_response(time, output, start, stop, before, after, settling_band)
    settled, slew = measured["settling_time"], measured["slew_rate"]
    end = min(3.0 * settled, stop - start) if settled is not None else stop - start
    first, last = np.searchsorted(time, (start - 0.1 * end, start + end))
    t, v = time[max(first - 1, 0) : last + 1] - start, output[max(first - 1, 0) : last + 1]
    inside = (time >= start) & (time <= stop)
    final = float(output[inside][-1])
    y_low, y_high = padded(v, [before, after], share=0.12)
    panel = Panel(Axis(-0.08 * end, end, "time after the edge", unit="s"), Axis(y_low, y_high, title), height=205)
    if settled is not None:
        panel.band(final - settling_band * after, final + settling_band * after)
    panel.line(np.array([-end, 0.0, 0.0, end]), np.array([before, before, after, after]), "input")
    panel.line(t, v)
    away = -1.0 if after > before else 1.0  # the side of the final level on which there is room for words
    if settled is not None:
        panel.upright(settled, "cursor")
        panel.label(settled, final, f"settled to {settling_band:.0%} in {printed(settled, 's')}", dx=7, dy=-26 * away)
    if slew is not None:
        middle = (before + after) / 2.0
        half_way = abs(middle - before) / slew
        panel.dot(half_way, middle)
        panel.label(half_way, middle, f"slew rate {printed(slew, 'V/s')}", dx=9, dy=5)
    return panel


def temperature_plot(waves: Waves, conditions: AmplifierConditions) -> str:
    """Offset and supply power of the buffer over temperature; the marked point is what the metrics report."""
    celsius, output = temperature_sweep(waves, "out")
    _, branch = temperature_sweep(waves, "i(vdd)")
    offset, power = output - conditions.common_mode, -branch * conditions.supply
    room = int(np.argmin(np.abs(celsius - SUPPLY_TEMPERATURE)))
    x = Axis(-40.0, 125.0, "temperature (°C)", ticks=(-40, 0, 25, 50, 75, 100, 125))
    upper = Panel(x, Axis(*padded(offset, share=0.15), "output offset", unit="V"), height=170, show_x=False)
    lower = Panel(x, Axis(*padded(power, share=0.15), "supply power", unit="W"), height=200)
    for panel, values, style, unit in ((upper, offset, "main", "V"), (lower, power, "second", "W")):
        panel.line(celsius, values, style)
        panel.dot(float(celsius[room]), float(values[room]), style)
        panel.label(float(celsius[room]), float(values[room]), f"{printed(float(values[room]), unit)} at 25 °C", dx=9)
    return drawing([upper, lower], "Output offset and supply power over temperature")


def closed_loop_plot(closed_loop: Mapping[str, Wave]) -> str:
    """Magnitude of the unity buffer, with its peaking and its -3 dB bandwidth.

    :param closed_loop: `frequency` (Hz) and `out` (complex, V per V of input).
    """
    frequency, magnitude = np.real(closed_loop["frequency"]), decibel(closed_loop["out"])  # type: ignore[arg-type]
    fallen = np.flatnonzero(magnitude < -3.0)
    bandwidth = None
    if fallen.size and fallen[0] > 0:
        i = int(fallen[0])
        bandwidth = float(np.interp(3.0, -magnitude[i - 1 : i + 1], frequency[i - 1 : i + 1]))
    start = 10.0 ** math.floor(math.log10(bandwidth or 1e6) - 3.0)
    end = start * 1e5
    shown = (frequency >= start * 0.999) & (frequency <= end * 1.001)
    peak = int(np.argmax(np.where(shown, magnitude, -np.inf)))
    y = Axis(-40.0, max(10.0, float(magnitude[peak]) + 8.0), "gain (dB)", ticks=range(-40, 101, 10))
    panel = Panel(Axis(start, end, "frequency", "log", unit="Hz"), y, height=260)
    panel.level(0.0)
    panel.line(frequency[shown], magnitude[shown])
    if magnitude[peak] > _WORTH_SAYING_DB:
        panel.dot(float(frequency[peak]), float(magnitude[peak]))
        text = f"peaking {magnitude[peak]:.2g} dB"
        panel.label(float(frequency[peak]), float(magnitude[peak]), text, "end", dx=-9, dy=-6)
    if bandwidth is not None:
        panel.upright(bandwidth, "cursor")
        panel.label(bandwidth, -12.0, f"−3 dB at {printed(bandwidth, 'Hz')}", "end", dx=-7)  # noqa: RUF001
    return drawing([panel], "Closed-loop gain of the unity buffer over frequency")
