"""The drawings: positions, ticks, and what is written beside the curves."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from zsgym.base.plot import WIDTH, Axis, Panel, drawing, padded, round_ticks
from zsgym.base.typography import MISSING, printed
from zsgym.circuits import load_circuit
from zsgym.classes.amplifier.figures import bode_plot, closed_loop_plot, step_plot, temperature_plot
from zsgym.classes.amplifier.measurements import Step
from zsgym.report.figures import curve_plot
from zsgym.report.search import search_plots
from zsgym.sizing.history import SearchHistory

MINUS = "\N{MINUS SIGN}"
STEP = Step(low=0.3, high=0.5, rise=1e-6, fall=201e-6, end=401e-6)
FREQUENCY = np.logspace(-1, 9, 101)


def texts(svg: str) -> list[str]:
    """Every text of a drawing; fails when it is no well-formed XML."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def open_loop(dc_gain: float, *poles: float) -> dict[str, np.ndarray]:
    """An open loop with real poles (Hz), as the backend keeps it: out over inn is inverting."""
    gain = dc_gain / np.prod([1 + 1j * FREQUENCY / pole for pole in poles], axis=0)
    return {"frequency": FREQUENCY, "out": -gain, "inn": np.ones_like(gain)}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.582862e6, "Hz", "2.583 MHz"),
        (-9.7e-7, "V", f"{MINUS}970 nV"),
        (1.74e-6, "A", "1.74 µA"),
        (5.0e5, "V/s", "0.5 V/µs"),
        (2920.0, "ohm", "2.92 kΩ"),
        (-135.0, "deg", f"{MINUS}135°"),
        (0.62, "um", "0.62 µm"),
        (96.0, "", "96"),
        (0.0, "W", "0 W"),
        (None, "s", MISSING),
        (math.nan, "s", MISSING),
        (math.inf, "s", MISSING),
    ],
)
def test_numbers_are_typeset(value: float | None, unit: str, text: str) -> None:
    assert printed(value, unit) == text


def test_axes_place_values() -> None:
    assert Axis(1.0, 1e4, scale="log").fraction(100.0) == pytest.approx(0.5)
    assert Axis(-2.0, 2.0).fraction(1.0) == pytest.approx(0.75)
    panel = Panel(Axis(0.0, 1.0), Axis(0.0, 1.0))
    (left, bottom), (right, top) = panel.at(0.0, 0.0), panel.at(1.0, 1.0)
    assert left < right
    assert bottom > top, "SVG counts downwards"


def test_ticks_are_round_and_inside() -> None:
    assert round_ticks(-0.3, 1.1) == pytest.approx([0.0, 0.5, 1.0])
    assert Axis(0.1, 1e3, scale="log").tick_positions() == pytest.approx([0.1, 1.0, 10.0, 100.0, 1000.0])
    assert Axis(0.0, 10.0, ticks=(-5, 5, 15)).tick_positions() == [5]


def test_limits_have_a_width_whatever_the_values() -> None:
    for values in ([0.0, 0.0], [3.0], [np.nan, 2.0], [np.nan]):
        low, high = padded(values)
        assert low < high


def test_a_drawing_is_xml_and_escapes_what_it_prints() -> None:
    panel = Panel(Axis(0.0, 1.0, "a < b"), Axis(0.0, 1.0, "c & d"))
    panel.line(np.array([0.0, np.nan, 1.0]), np.array([0.0, 1.0, 1.0]))
    panel.label(0.5, 0.5, "<here>")
    svg = drawing([panel], 'a "plot"')
    assert {"a < b", "c & d", "<here>"} <= set(texts(svg))
    assert len(re.search(r'points="([^"]*)"', svg)[1].split()) == 2, "what is not finite is left out"


def test_bode_plot_reads_crossing_and_margin() -> None:
    """Gain 1e5, poles at 10 Hz and 1 MHz: it crosses near 786 kHz with a phase of -90 - 38.2 degrees."""
    found = texts(bode_plot(open_loop(1e5, 10.0, 1e6)))
    crossing = next(text for text in found if text.startswith("unity gain"))
    assert float(crossing.split()[2]) == pytest.approx(786.0, rel=0.02)
    margin = next(text for text in found if text.startswith("phase margin"))
    assert float(margin.removeprefix("phase margin ").rstrip("°")) == pytest.approx(51.8, abs=1.0)


def test_bode_plot_shows_a_negative_margin_of_an_unwrapped_phase() -> None:
    found = texts(bode_plot(open_loop(1e5, 1e3, 1e4, 1e4, 1e4, 1e4)))
    margin = next(text for text in found if text.startswith("phase margin"))
    assert MINUS in margin
    assert f"{MINUS}360" in found, "the phase axis goes on below a full turn"


def test_bode_plot_without_a_crossing() -> None:
    found = texts(bode_plot(open_loop(0.5, 1e6)))
    assert not any(text.startswith(("unity gain", "phase margin")) for text in found)


def transient(tau: float) -> dict[str, np.ndarray]:
    """A first-order step response with both edges."""
    time = np.unique(np.concatenate([np.linspace(0.0, 401e-6, 2001), 1e-6 + np.logspace(-9, -4, 400)]))
    rising = 0.3 + 0.2 * (1.0 - np.exp(-np.clip(time - 1e-6, 0.0, None) / tau))
    falling = np.where(time > 201e-6, 0.2 * (1.0 - np.exp(-np.clip(time - 201e-6, 0.0, None) / tau)), 0.0)
    return {"time": time, "out": rising - falling}


def test_step_plot_marks_settling_and_slew() -> None:
    """After tau ln(2) half of the step is done; after tau ln(200 mV / 5 mV) the output is within 1 % of 0.5 V."""
    found = texts(step_plot(transient(1e-6), STEP, 0.01))
    settled = next(text for text in found if text.startswith("settled"))
    assert settled.startswith("settled to 1%")
    assert float(settled.split()[-2]) == pytest.approx(math.log(40.0), rel=0.02)
    slew = next(text for text in found if text.startswith("slew rate"))
    assert float(slew.split()[2]) == pytest.approx(0.1 / math.log(2.0), rel=0.02)


def test_step_plot_of_a_transient_that_was_cut_short() -> None:
    wave = transient(1e-6)
    short = {name: values[wave["time"] < 90e-6] for name, values in wave.items()}
    found = texts(step_plot(short, STEP, 0.01))
    assert "rising output (V)" in found
    assert "falling output (V)" not in found
    assert not any(text.startswith("settled") for text in found)


def test_temperature_plot_marks_room_temperature() -> None:
    """The sweeps start at 25 degrees, with two points of lead-in each."""
    hot, cold = np.arange(23.0, 126.0), np.arange(27.0, -41.0, -1.0)
    waves = {
        name: {"out": 0.72 + 1e-6 * celsius, "i(vdd)": -1e-4 - 1e-7 * celsius}
        for name, celsius in (("hot", hot), ("cold", cold))
    }
    found = texts(temperature_plot(waves, load_circuit("nmcf").conditions))
    assert "25 µV at 25 °C" in found
    assert f"{1.8 * 102.5:.4g} µW at 25 °C" in found


def test_ticks_stay_clear_of_the_title_and_of_the_edge() -> None:
    """At the text size of narrow screens (13.5) and the width of a wide font, 0.62 of it for each character."""
    wide = 0.62 * 13.5
    panel = Panel(
        Axis(1e3, 1e8, "frequency", "log", unit="Hz"), Axis(-1.486e-4, 1e-6, "y", unit="V", ticks=[-1.485e-4])
    )
    drawn = ElementTree.fromstring(drawing([panel], "ticks"))
    places = {element.text: (float(element.get("x")), element.get("text-anchor")) for element in drawn.iter("text")}
    last, lowest = "100 MHz", f"{MINUS}148.5 µV"
    assert (places[last][1], places[lowest][1]) == ("middle", "end")
    assert places[last][0] + len(last) / 2 * wide <= WIDTH
    baseline = float(re.search(r"translate\(([\d.]+)", drawn.find(".//g[@transform]/g").get("transform"))[1])
    assert baseline >= 0.75 * 13.5, "what rises above the baseline is on the drawing"
    assert places[lowest][0] - len(lowest) * wide >= baseline + 0.25 * 13.5, (
        "so is what hangs below it, beside the tick"
    )


def test_closed_loop_plot_reads_bandwidth_and_peaking() -> None:
    natural, damping = 1e6, 0.2
    response = 1.0 / (1.0 - (FREQUENCY / natural) ** 2 + 2j * damping * FREQUENCY / natural)
    found = texts(closed_loop_plot({"frequency": FREQUENCY, "out": response}))
    peak = next(text for text in found if text.startswith("peaking"))
    assert float(peak.split()[1]) == pytest.approx(-20 * math.log10(2 * damping * math.sqrt(1 - damping**2)), abs=0.5)
    bandwidth = next(text for text in found if text.startswith(f"{MINUS}3 dB"))
    assert float(bandwidth.split()[3]) == pytest.approx(1.51, abs=0.05)


def test_a_training_curve_of_one_step_can_be_drawn() -> None:
    assert texts(curve_plot("loss", (np.array([5.0]), np.array([0.1]))))


def simulation(evaluations: int, reward: float, belief: float | None = 0.5) -> dict[str, object]:
    works = reward > -100.0
    return {"evaluations": evaluations, "belief": belief, "works": works, "reward": reward, "feasible": reward == 0.0}


def heights(svg: str, tag: str) -> list[float]:
    """Vertical positions of the dots, or of the corners of every line, downwards."""
    elements = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith(tag)]
    if tag == "circle":
        return [float(element.get("cy", "nan")) for element in elements]
    points = [point for element in elements for point in (element.get("points") or "").split()]
    return [float(point.split(",")[1]) for point in points]


def test_the_search_begins_anew_after_each_correction() -> None:
    """Two climbs: to 0.8 and, after a simulation that missed, to 0.4; the second one meets every spec."""
    believed = [(100, 0.2), (900, 0.8), (12_000, 0.1), (20_000, 0.4)]
    rows = [simulation(10_000, -0.3, belief=0.8), simulation(25_000, 0.0, belief=0.4)]
    history = SearchHistory.model_validate({"searched": "surrogate", "believed": believed, "simulations": rows})
    promised, simulated = search_plots(history).values()
    lines = [element for element in ElementTree.fromstring(promised).iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2
    assert max(heights(promised, "circle")) == heights(promised, "circle")[1], "the second promise is the lower one"
    assert "evaluations of the surrogate" in texts(promised)
    assert "10,000" in texts(promised)
    assert "every spec met by simulation 2" in texts(simulated)
    first, second = heights(simulated, "circle")
    assert first > second


def test_a_search_in_ngspice_shows_failures_at_the_lower_edge() -> None:
    rewards = [-100.0, -2.0, -100.0, -3.0, -1.0]
    rows = [simulation(i + 1, reward, belief=None) for i, reward in enumerate(rewards)]
    history = SearchHistory.model_validate({"searched": "ngspice", "simulations": rows})
    (simulated,) = search_plots(history).values()
    dots = heights(simulated, "circle")
    assert dots[0] == dots[2] == max(dots)
    assert dots[4] < dots[1] < dots[3] < dots[0]
    line = heights(simulated, "polyline")
    assert line == sorted(line, reverse=True), "the best so far never falls"
    assert "simulations" in texts(simulated)
    assert not any("every spec" in text for text in texts(simulated))


@pytest.mark.parametrize("rewards", [[], [-100.0], [0.0]])
def test_a_search_that_was_short_can_be_drawn(rewards: list[float]) -> None:
    rows = [simulation(1, reward, belief=None) for reward in rewards]
    history = SearchHistory.model_validate({"searched": "ngspice", "simulations": rows})
    assert [len(heights(plot, "circle")) for plot in search_plots(history).values()] == [1] * len(rewards)
