"""Numbers from waveforms: every definition of a metric is one function here, free of any simulator.

The small-signal and DC definitions are those of the published testbenches (AnalogGym, arXiv 2409.08534, and its
ngspice `meas` statements), including linear interpolation between the points of the published grids, so that figures
agree to the digit. Phase margin, slew rate and settling time are deliberately not: see each function.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Raw = dict[str, float | None]

TEMPERATURES = np.arange(-40.0, 126.0)
"""Grid of the published temperature sweep, degrees Celsius."""
SUPPLY_TEMPERATURE = 25.0
"""Temperature at which the published bench reads supply current and offset, degrees Celsius."""


@dataclass(frozen=True, slots=True)
class Step:
    """Input pulse of a step response: levels in V; rising edge, falling edge and end in s."""

    low: float
    high: float
    rise: float
    fall: float
    end: float


def temperature_coefficient(temperature: Real, output: Real) -> float:
    """Box-method temperature coefficient in 1/K: peak-to-peak over mean over span, as the published bench reads it.

    A coarser sweep is interpolated to the published 1 K grid by a quintic spline, which moves the result by about 1e-5.
    """
    if temperature.size < TEMPERATURES.size:
        from scipy.interpolate import make_interp_spline  # imported when needed: it takes longer than all else

        output = make_interp_spline(temperature, output, k=5)(TEMPERATURES)
    span = TEMPERATURES[-1] - TEMPERATURES[0]
    return float(np.ptp(output) / (np.trapezoid(output, TEMPERATURES) / span) / span)


def decibel(value: Complex | complex) -> Real:
    """20 log10 of the magnitude; minus infinity is clipped to -400 dB."""
    return 20.0 * np.log10(np.maximum(np.abs(value), 1e-20))


def unity_crossings(frequency: Real, magnitude_db: Real) -> list[tuple[float, int, float]]:
    """Every crossing of 0 dB: (frequency in Hz, index of the sample before it, fraction of the way to the next).

    Linear interpolation in frequency and decibels, as ngspice's `meas ... when` does.
    """
    above = magnitude_db > 0.0
    crossings = []
    for i in np.flatnonzero(above[:-1] != above[1:]):
        fraction = float(magnitude_db[i] / (magnitude_db[i] - magnitude_db[i + 1]))
        crossings.append((float(frequency[i] + fraction * (frequency[i + 1] - frequency[i])), int(i), fraction))
    return crossings


def open_loop(frequency: Real, gain: Complex) -> Raw:
    """Gain, bandwidth and margins of the open-loop response.

    :param frequency: (n,) Hz, from 0.1 Hz upwards. :param gain: (n,) output over differential input, positive polarity.

    `phase_margin` unwraps the phase from the lowest frequency and reports the worst of all unity-gain crossings.
    `phase_margin_wrapped` is the published reading (the wrapped phase of the inverting response at the first crossing);
    it is kept because it is known to call oscillating amplifiers good.
    """
    magnitude, phase = decibel(gain), np.degrees(np.unwrap(np.angle(gain)))
    inverted = np.degrees(np.angle(-gain))
    crossings = unity_crossings(frequency, magnitude)
    margins = [180.0 + _between(phase, i, fraction) for _, i, fraction in crossings]
    return {
        "dc_gain": float(magnitude[0]),
        "dc_phase": float(phase[0]),
        "gbw": crossings[0][0] if crossings else None,
        "phase_margin": min(margins) if margins else None,
        "phase_margin_wrapped": _between(inverted, *crossings[0][1:]) if crossings else None,
        "unity_crossings": float(len(crossings)),
    }


def _between(values: Real, index: int, fraction: float) -> float:
    return float(values[index] + fraction * (values[index + 1] - values[index]))


def reach(level: Real, gain_db: Real, floor_db: float) -> float:
    """The level up to which a gain is kept: where it first falls below the floor.

    :param level: (n,) levels in V, from the nominal one outwards. :param gain_db: (n,) gain at each of them.
    :return: V, by straight lines between the points; the first level where the gain is never there, the last one where
        it is never lost.
    """
    lost = np.flatnonzero(gain_db < floor_db)
    if not lost.size:
        return float(level[-1])
    i = int(lost[0])
    if i == 0:
        return float(level[0])
    return _between(level, i - 1, float((gain_db[i - 1] - floor_db) / (gain_db[i - 1] - gain_db[i])))


def total_noise(frequency: Real, density: Real) -> float:
    """Root mean square of noise between the first and the last frequency (Hz).

    The power density follows a power law between two points, the integral of which is exact: 1/f noise needs no finer
    sweep than white noise.
    """
    power, width = density[:-1] ** 2 * frequency[:-1], np.log(frequency[1:] / frequency[:-1])
    exponent = 2.0 * np.log(density[1:] / density[:-1]) + width  # of frequency times power density, over the interval
    flat = np.abs(exponent) < 1e-9
    growth = np.where(flat, 1.0, np.expm1(exponent) / np.where(flat, 1.0, exponent))
    return float(np.sqrt(np.sum(power * width * growth)))


def step_response(time: Real, output: Real, step: Step, settling_band: float) -> Raw:
    """Slew rate, settling and residual ringing of a unity-gain step response.

    :param time: (n,) s. :param output: (n,) V. :param step: the input pulse.

    Slew rate is half the step over the time from the input edge to the output's half-way point (the published
    definition), the slower edge counts. Settling time is the time after which the output stays within the band around
    its own final value, so that it describes the dynamics; how far that final value is from the ideal one is
    `static_error`. Ringing is the peak-to-peak swing in the last tenth of a half-period, as a fraction of the step.
    """
    low, high = step.low, step.high
    edges = (
        edge_response(time, output, step.rise, step.fall, low, high, settling_band),
        edge_response(time, output, step.fall, step.end, high, low, settling_band),
    )
    return {name: _worse(name, edges[0][name], edges[1][name]) for name in edges[0]}


def edge_response(
    time: Real, output: Real, start: float, stop: float, before: float, after: float, settling_band: float
) -> Raw:
    """The same four figures for one half-period, from `start` to `stop` (s); its ideal output goes `before` to `after`.

    All are None when the transient was cut short before the half-period had ended.
    """
    inside = (time >= start) & (time <= stop)
    t, v = time[inside] - start, output[inside]
    tail = v[t >= 0.9 * (stop - start)]
    if tail.size < 2:  # the transient was cut short before this half-period had ended
        return dict.fromkeys(("slew_rate", "settling_time", "static_error", "ringing"))
    final = float(tail[-1])
    half_way = (before + after) / 2.0
    direction = np.sign(after - before)
    passed = np.flatnonzero((v - half_way) * direction >= 0.0)
    outside = np.flatnonzero(np.abs(v - final) > settling_band * after)
    return {
        "slew_rate": abs(half_way - before) / _crossing_time(t, v, half_way, int(passed[0])) if passed.size else None,
        "settling_time": _settled_at(t, v, final, settling_band * after, outside),
        "static_error": abs(final - after) / after,
        "ringing": float(np.ptp(tail)) / abs(after - before),
    }


def _crossing_time(t: Real, v: Real, level: float, index: int) -> float:
    """Time at which the waveform reaches a level, interpolated between the samples around it (at least 1 ps)."""
    if index == 0:
        return 1e-12
    fraction = (level - v[index - 1]) / (v[index] - v[index - 1])
    return max(float(t[index - 1] + fraction * (t[index] - t[index - 1])), 1e-12)


def _settled_at(t: Real, v: Real, final: float, band: float, outside: npt.NDArray[np.intp]) -> float | None:
    if outside.size == 0:
        return float(t[0]) if t[0] > 0.0 else 1e-12
    last = int(outside[-1])
    if last + 1 >= t.size:
        return None
    edge = final + np.copysign(band, v[last] - final)
    return _crossing_time(t, v, float(edge), last + 1)


def _worse(name: str, rising: float | None, falling: float | None) -> float | None:
    if rising is None or falling is None:
        return None
    return min(rising, falling) if name == "slew_rate" else max(rising, falling)
