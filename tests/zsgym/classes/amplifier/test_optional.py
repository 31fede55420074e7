"""Definitions of the optional metrics, on waves whose answer is known."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import AMPLIFIER, METRICS, AmplifierConditions, AmplifierPolicy, optional, optional_figures
from zsgym.classes.amplifier.measurements import reach, total_noise
from zsgym.classes.amplifier.testbench import AmplifierBench
from zsgym.classes.testbench import SourceSweep

FIVE = Path(__file__).parents[2] / "sizing" / "five"
CONDITIONS = AmplifierConditions()
LEVELS = [75_000 * k for k in range(25)]
"""Common modes at which an amplifier is looked at, uV."""
ALL = AMPLIFIER.optional_metrics.names
WORKING = dict.fromkeys(METRICS.names, 1.0) | {
    "converged": 0.0,
    "output_error": 0.0,
    "min_device_current": 1e-6,
    "dc_phase": 0.0,
    "unity_crossings": 1.0,
    "max_pole_real": -1.0,
    "transient_complete": 1.0,
    "transient_points": 400.0,
    "ringing": 0.0,
    "static_error": 0.0,
}


def five() -> Circuit:
    return load_circuit(FIVE)


# --- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [3, 50, 2000])
def test_white_noise_grows_with_the_root_of_the_bandwidth(points: int) -> None:
    frequency = np.geomspace(1.0, 1e8, points)
    assert total_noise(frequency, np.full(points, 5e-9)) == pytest.approx(5e-9 * math.sqrt(1e8 - 1.0), rel=1e-9)


@pytest.mark.parametrize("points", [3, 50])
def test_flicker_noise_has_the_same_share_in_every_decade(points: int) -> None:
    frequency = np.geomspace(1.0, 1e8, points)
    density = 1e-6 / np.sqrt(frequency)
    assert total_noise(frequency, density) == pytest.approx(1e-6 * math.sqrt(8.0 * math.log(10.0)), rel=1e-9)


def test_a_single_pole_cuts_noise_off_at_pi_half_of_its_frequency() -> None:
    frequency = np.geomspace(1.0, 1e8, 641)
    density = 20e-9 / np.sqrt(1.0 + (frequency / 1e5) ** 2)
    assert total_noise(frequency, density) == pytest.approx(20e-9 * math.sqrt(math.pi / 2.0 * 1e5), rel=1e-3)


def test_the_spot_is_read_at_a_kilohertz_and_the_total_over_both_sweeps() -> None:
    slow, fast = np.geomspace(1.0, 1e3, 31), np.geomspace(1e3, 1e8, 401)
    waves = {
        "slow_noise": {"frequency": slow, "input": np.full(31, 9.0), "output": np.full(31, 3e-9)},
        "fast_noise": {"frequency": fast, "input": 1e-4 / np.sqrt(fast), "output": np.full(401, 3e-9)},
    }
    found = optional.measure("noise", waves, CONDITIONS)
    assert found["input_noise"] == pytest.approx(1e-4 / math.sqrt(1e3))
    assert found["input_noise_rms"] == pytest.approx(3e-9 * math.sqrt(1e8 - 1.0), rel=1e-6)


# --- ranges ---------------------------------------------------------------------------------------------------------


def test_a_range_ends_where_the_gain_first_falls_below_the_floor() -> None:
    level, gain = np.array([0.7, 0.8, 0.9, 1.0, 1.1]), np.array([60.0, 58.0, 50.0, 59.0, 0.0])
    assert reach(level, gain, 54.0) == pytest.approx(0.85)
    assert reach(level, gain, -1.0) == 1.1, "it is never lost"
    assert reach(level, gain, 61.0) == 0.7, "it was never there"


def _sweeps(transfer: np.ufunc) -> dict[str, dict[str, np.ndarray]]:
    """Both sweeps of an amplifier whose differential input is a function of its output level."""
    (stage,) = optional.stages(("output_swing",), CONDITIONS)
    waves = {}
    for sweep in stage.analyses:
        assert isinstance(sweep, SourceSweep)
        shift = sweep.start + sweep.step * np.arange(round((sweep.stop - sweep.start) / sweep.step) + 1)
        output = CONDITIONS.common_mode - shift
        waves[sweep.name] = {"out": output, "inn": CONDITIONS.common_mode - transfer(output)}
    return waves


def test_output_swing_is_where_half_of_the_gain_is_left() -> None:
    # d(input)/d(output) = 1e-5 (1 + ((v - 0.72) / 0.4)^2): twice its smallest value 0.4 V from the nominal level.
    found = optional.measure("output_swing", _sweeps(lambda v: 1e-5 * (v + (v - 0.72) ** 3 / 0.48)), CONDITIONS)
    assert found["output_low"] == pytest.approx(0.32, abs=1e-3)
    assert found["output_high"] == pytest.approx(1.12, abs=1e-3)
    assert found["output_swing"] == pytest.approx(0.8, abs=2e-3)


def test_an_amplifier_that_loses_no_gain_swings_from_rail_to_rail() -> None:
    found = optional.measure("output_swing", _sweeps(lambda v: 1e-5 * v), CONDITIONS)
    assert found["output_swing"] == pytest.approx(1.8, abs=0.011)


def test_a_gain_that_changes_its_sign_is_infinite_in_between_and_not_lost() -> None:
    # The slope goes through zero at 1.0 V, and is as large as at the nominal level, with the other sign, at 1.28 V.
    found = optional.measure("output_swing", _sweeps(lambda v: -1e-5 * (v - 1.0) ** 2), CONDITIONS)
    assert found["output_high"] == pytest.approx(1.56, abs=1e-3)


def test_an_output_that_sticks_has_no_gain_there() -> None:
    waves = _sweeps(lambda v: 1e-5 * v)
    up = waves["output_up"]
    stuck = np.minimum(up["out"], 1.4)
    waves["output_up"] = {"out": stuck, "inn": up["inn"] + (up["out"] - stuck)}
    assert optional.measure("output_swing", waves, CONDITIONS)["output_high"] == pytest.approx(1.4, abs=0.011)


def _response(level: float) -> dict[str, np.ndarray]:
    """An open loop with a gain of 80 dB, of which 20 dB are lost in every 100 mV of common mode above 1.2 V."""
    gain = 1e4 * 10.0 ** (-max(level - 1.2, 0.0) / 0.1)
    return {"out": np.array([gain + 0j]), "inn": np.array([-1.0 + 0j])}


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0])
def test_common_modes_are_those_with_half_of_the_gain(ratio: float) -> None:
    conditions = AmplifierConditions(common_mode_ratio=ratio, step_low=0.3, step_high=0.5)
    (stage,) = optional.stages(("icmr",), conditions)
    waves = {"open_loop": _response(conditions.common_mode)}
    for analysis in stage.analyses:
        level = analysis.levels["inp"]  # type: ignore[union-attr]
        assert analysis.levels["loop"] == pytest.approx(level - conditions.common_mode)  # type: ignore[union-attr]
        waves[analysis.name] = _response(level)
    found = optional.measure("common_mode_range", waves, conditions)
    assert found["common_mode_low"] == 0.0
    expected = 1.2 + 0.1 * math.log10(2.0) if ratio < 1.0 else 1.8
    assert found["common_mode_high"] == pytest.approx(expected, abs=1e-9)
    assert found["icmr"] == found["common_mode_high"]


def test_a_common_mode_without_a_solution_is_passed_over() -> None:
    waves = {"open_loop": _response(0.72)} | {f"common_mode_{level}": _response(1e-6 * level) for level in LEVELS}
    whole = optional.measure("common_mode_range", waves, CONDITIONS)
    assert whole["common_mode_high"] == pytest.approx(1.2 + 0.1 * math.log10(2.0))
    del waves["common_mode_1275000"]
    passed_over = optional.measure("common_mode_range", waves, CONDITIONS)
    assert passed_over["common_mode_high"] == pytest.approx(whole["common_mode_high"])
    del waves["common_mode_150000"]
    assert optional.measure("common_mode_range", waves, CONDITIONS) == passed_over, "the gain is on both sides of it"


@pytest.mark.parametrize(
    ("stage", "metrics"),
    [
        ("noise", ("input_noise", "input_noise_rms")),
        ("output_swing", ("output_swing",)),
        ("common_mode_range", ("icmr",)),
    ],
)
def test_without_solutions_nothing_is_determined(stage: str, metrics: tuple[str, ...]) -> None:
    waves = {"open_loop": _response(0.72)}
    assert optional.measure(stage, waves, CONDITIONS) == dict.fromkeys(metrics)


def test_pictures_are_drawn_of_what_was_measured() -> None:
    waves = {"open_loop": _response(0.72)} | {f"common_mode_{level}": _response(1e-6 * level) for level in LEVELS}
    titles = [figure.title for figure in optional_figures.figures(waves, CONDITIONS)]
    assert titles == ["Gain over input common modes"]
    (figure,) = optional_figures.figures(_sweeps(lambda v: -1e-5 * (v - 1.0) ** 2), CONDITIONS)
    assert figure.title == "Gain over output levels"
    assert "1.56 V" in figure.svg
    assert optional_figures.figures({"open_loop": _response(0.72)}, CONDITIONS) == []


# --- closed forms ---------------------------------------------------------------------------------------------------


def test_gate_area_counts_fixed_multipliers_and_every_transistor() -> None:
    sizing = dict.fromkeys(five().parameter_names, 1.0) | {"W_tail": 2.0, "L_tail": 3.0, "M_tail": 5.0, "W_pair": 7.0}
    # XM5 with M_tail, XM0 with twice as many, two of the pair, two of the mirror.
    expected = (2.0 * 3.0 * 5.0) * (1.0 + 2.0) + 2.0 * 7.0 + 2.0
    assert optional.gate_area(five().subcircuit, sizing) == pytest.approx(expected * 1e-12, rel=1e-12)
    assert optional.compensation_capacitance(five().subcircuit, sizing) == 0.0


def test_capacitance_is_that_of_the_circuits_own_capacitors() -> None:
    circuit = load_circuit("nmcf")
    sizing = circuit.known_good["robust"]
    assert optional.compensation_capacitance(circuit.subcircuit, sizing) == pytest.approx(
        sizing["cap1"] + sizing["cap2"]
    )


# --- who asks -------------------------------------------------------------------------------------------------------


def bench(*asked: str) -> AmplifierBench:
    plain = AMPLIFIER.bench(five().subcircuit, CONDITIONS, AmplifierPolicy())
    return AMPLIFIER.asking(plain, asked) if asked else plain


def test_nothing_is_added_for_who_does_not_ask() -> None:
    names = [stage.name for stage in bench().testbench.stages]
    assert names == ["operating_point", "small_signal", "temperature", "temperature_coarse", "reading", "transient"]
    assert five().metrics is METRICS
    assert five().asking(["gbw"]).metrics is METRICS
    assert AMPLIFIER.metrics_of(WORKING).keys() == set(METRICS.names)


@pytest.mark.parametrize(
    ("asked", "stages"),
    [
        (["input_noise"], ["noise"]),
        (["input_noise_rms", "input_noise"], ["noise"]),
        (["icmr", "output_swing"], ["output_swing", "common_mode_range"]),
    ],
)
def test_each_metric_adds_its_stage_behind_all_others(asked: list[str], stages: list[str]) -> None:
    before, after = bench().testbench.stages, bench(*asked).testbench.stages
    assert after[: len(before)] == before
    assert [stage.name for stage in after[len(before) :]] == stages
    assert all(stage.optional for stage in after[len(before) :])


def test_closed_forms_add_no_stage() -> None:
    circuit = five().asking(["gate_area", "icmr", "compensation_capacitance"])
    assert circuit.asked == ("icmr", "gate_area", "compensation_capacitance"), "in the order of the class"
    assert circuit.asked_of_simulators == ("icmr",)
    assert list(circuit.closed_form(dict.fromkeys(circuit.parameter_names, 1.0))) == [
        "gate_area",
        "compensation_capacitance",
    ]


def test_only_amplifiers_that_work_are_measured() -> None:
    asked = bench("input_noise")
    assert asked.wants("noise", WORKING)
    assert not asked.wants("noise", WORKING | {"ringing": 0.5})
    assert not replace(asked, complete=True).wants("noise", WORKING | {"ringing": 0.5})


def test_what_could_not_be_determined_is_a_metric_without_a_value_of_an_amplifier_that_works() -> None:
    raw = WORKING | {"converged": 1.0, "icmr": None, "input_noise": 1e-8}
    assert AMPLIFIER.judge(raw, AmplifierPolicy()) is None
    metrics = AMPLIFIER.metrics_of(raw)
    assert math.isnan(metrics["icmr"])
    assert metrics["input_noise"] == 1e-8
    assert "output_swing" not in metrics


def test_such_a_metric_misses_its_spec_completely() -> None:
    metrics = AMPLIFIER.metrics_with(("icmr", "input_noise"))
    measured = dict.fromkeys(METRICS.names, 1.0) | {"icmr": math.nan, "input_noise": 1e-8}
    assert metrics.margins(measured, {"icmr": 1.0, "input_noise": 2e-8, "gbw": 1.0}) == {
        "icmr": -1.0,
        "input_noise": pytest.approx(1.0 / 3.0),
        "gbw": 0.0,
    }
    table = metrics.margin_table(np.array(metrics.row(measured)), np.array(metrics.row({"icmr": 1.0})))
    assert table[metrics.names.index("icmr")] == -1.0
    assert np.isnan(np.delete(table, metrics.names.index("icmr"))).all()
    assert metrics.normalise([metrics.row(measured)])[0, metrics.names.index("icmr")] == -1.0


def test_every_optional_metric_is_marked_as_one() -> None:
    assert all(metric.optional for metric in AMPLIFIER.optional_metrics)
    assert not any(metric.optional for metric in METRICS)
    assert AMPLIFIER.all_metrics.names == METRICS.names + ALL
    assert AMPLIFIER.closed_form.keys() <= set(ALL)
