"""Conditions belong to a case: they reach the simulation, are refused alike everywhere, and tell rows apart."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import yaml
from fakes import FakeSimulator, ask

from tests.zsgym.conftest import Run
from zsgym.base.errors import ConfigError
from zsgym.base.paths import data_root
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.datasets.generate import Plan
from zsgym.envs.env import SizingEnv
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.vector import SizingVectorEnv
from zsgym.evaluate import Evaluator
from zsgym.pdk import load_corner
from zsgym.samples import Sample, read_samples, relabel_queue
from zsgym.samples.dataset import merge
from zsgym.samples.schema import sample_id
from zsgym.simulators import make_simulator
from zsgym.simulators.ngspice.deck import size_netlist


@pytest.fixture
def circuit() -> Circuit:
    return load_circuit("nmcf")


# --- they reach the simulation --------------------------------------------------------------------------------------


def plain_operating_point(circuit: Circuit, celsius: float, folder: Path) -> tuple[float, float]:
    """Supply power (W) and output offset (V) of the robust sizing: a wire as feedback, and ngspice's own `print`."""
    netlist = size_netlist(circuit, circuit.known_good["robust"], load_corner("tt"))
    assert netlist is not None
    deck = [
        "* one operating point",
        f".temp {celsius}",
        ".options reltol=1e-8 vntol=1e-12 abstol=1e-18",
        *(line.replace(" inn ", " out ") for line in netlist.elements),  # the feedback is a wire
        *netlist.models,
        "vp vdd 0 1.8",
        "vn vss 0 0",
        "vi inp 0 0.72",
        ".control",
        "set num_threads=1",
        "op",
        "print -1.8*i(vp) v(out)-0.72",
        "quit",
        ".endc",
        ".end",
    ]
    (folder / "op.cir").write_text("\n".join(deck) + "\n")
    done = subprocess.run(
        [shutil.which("ngspice") or "", "-b", "op.cir"], cwd=folder, capture_output=True, text=True, check=True
    )
    power, offset = re.findall(r"^\S+ = (\S+)$", done.stdout, re.MULTILINE)
    return float(power), float(offset)


@pytest.mark.ngspice
def test_power_and_offset_are_those_at_the_temperature_of_the_case(circuit: Circuit, tmp_path: Path) -> None:
    """At the published temperature, 27 degrees, they are read at 25, as the published bench does."""
    read_at = {-40.0: -40.0, 27.0: 25.0, 125.0: 125.0}
    simulator = make_simulator("ngspice", circuit)
    try:
        cases = circuit.cases(
            [circuit.known_good["robust"]] * 3, [circuit.conditions.replace(temperature=each) for each in read_at]
        )
        outcomes = simulator.simulate(cases)
    finally:
        simulator.close()
    powers = []
    for outcome, celsius in zip(outcomes, read_at.values(), strict=True):
        assert outcome.metrics is not None
        power, offset = plain_operating_point(circuit, celsius, tmp_path)
        assert outcome.metrics["power"] == pytest.approx(power, rel=1e-5)
        assert outcome.metrics["vos"] == pytest.approx(offset, abs=1e-8)
        powers.append(power)
    assert min(abs(a / b - 1.0) for a, b in zip(powers, [*powers[1:], powers[0]], strict=True)) > 0.002
    # What belongs to the sweep does not depend on the temperature of the case.
    sweeps = [outcome.raw["tc"] for outcome in outcomes]
    assert sweeps == pytest.approx([sweeps[0]] * 3, rel=1e-3)


@pytest.mark.ngspice
def test_no_load_at_all(circuit: Circuit, run: Run, tmp_path: Path) -> None:
    """By the command line, a keyword argument, a YAML file: the same amplifier, faster than a loaded one."""
    sizing = circuit.known_good["robust"]
    unloaded = load_circuit(without_load(tmp_path))
    assert unloaded.conditions.load == 0.0  # type: ignore[attr-defined]
    found = []
    for asked, conditions in ((circuit, circuit.conditions.replace(load=0)), (unloaded, None)):
        simulator = make_simulator("ngspice", asked)
        found.append(ask(simulator, [sizing], conditions)[0].raw)
        simulator.close()
    assert found[0] == found[1]
    env = SizingEnv(circuit, backend="ngspice", conditions={"load": 0}, log=False)
    metrics = env.reset(options={"sizing": "robust"})[1]["metrics"]
    env.close()
    assert metrics == {name: found[0][name] for name in metrics}
    code, out, err = run("simulate", "nmcf", "--known-good", "robust", "--load", "0")
    assert (code, err) == (0, "")
    assert f"{found[0]['gbw'] / 1e6:.4g} MHz" in out


def without_load(folder: Path, **changes: Any) -> Path:
    """The YAML file of NMCF with other conditions."""
    content = yaml.safe_load((data_root() / "configs" / "circuits" / "nmcf.yaml").read_text())
    content["netlist"] = str(data_root() / "netlists" / "nmcf.spice")
    content["conditions"] |= changes or {"load": 0}
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


# --- they are refused alike -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("supply", -1, "conditions.supply: must lie between 0.5 and 5 V, got -1"),
        ("supply", 0.49, "conditions.supply: must lie between 0.5 and 5 V, got 0.49"),
        ("temperature", 175.1, "conditions.temperature: must lie between -55 and 175 C, got 175.1"),
        ("load", -1e-15, "conditions.load: must lie between 0 and 0.001 F, got -1e-15"),
        ("common_mode_ratio", 1.01, "conditions.common_mode_ratio: must lie between 0 and 1, got 1.01"),
        ("corner", "typical", "conditions.corner: 'typical' is not valid here. Valid: tt, ff, ss, sf, fs"),
        ("step_low", -0.1, "conditions.step_low: must lie between 0 and 5 V, got -0.1"),
        ("step_low", 0, "conditions.step_low: must lie above ground, got 0 V"),
        ("step_low", 0.5, "conditions.step_high: must lie 0.01 V or more above step_low, 0.5 V; got 0.5 V"),
        ("step_high", 0.2, "conditions.step_high: must lie 0.01 V or more above step_low, 0.3 V; got 0.2 V"),
        ("step_high", 1.81, "conditions.step_high: must not lie above the supply of 1.8 V, got 1.81 V"),
    ],
)
def test_nonsense_is_refused_in_the_same_words_everywhere(
    circuit: Circuit, run: Run, tmp_path: Path, name: str, value: Any, message: str
) -> None:
    given = {name: value}
    ways = {
        "gym.make": lambda: gym.make("zsgym/NMCF-v0", backend="ngspice", conditions=given, log=False),
        "vector": lambda: SizingVectorEnv(circuit, 2, backend=FakeSimulator(circuit), conditions=given, log=False),
        "sb3": lambda: SizingVecEnv(circuit, 2, backend=FakeSimulator(circuit), conditions=given, log=False),
        "replace": lambda: circuit.conditions.replace(**given),
        "plan": lambda: Plan(circuit, 1, conditions=AmplifierConditions.read(circuit.conditions.as_dict() | given)),
    }
    for way, call in ways.items():
        with pytest.raises(ConfigError) as refused:
            call()
        assert str(refused.value) == message, way
    path = without_load(tmp_path, **given)
    with pytest.raises(ConfigError) as refused:
        load_circuit(path)
    assert str(refused.value) == f"{path}: {message}"
    code, out, err = run("simulate", "nmcf", "--known-good", "robust", f"--{name.replace('_', '-')}={value}")
    assert (code, out, err) == (2, "", f"zsgym: error: {message}\n")


def test_what_is_not_a_number_is_refused(circuit: Circuit) -> None:
    for value in (float("nan"), float("inf"), None, "high", [1.8]):
        with pytest.raises(ConfigError, match=r"conditions\.supply: Input should be a (valid|finite) number"):
            circuit.conditions.replace(supply=value)


# --- levels of the step ---------------------------------------------------------------------------------------------


def test_levels_that_are_not_stated_follow_the_common_mode() -> None:
    conditions = AmplifierConditions()
    assert conditions.step_levels == pytest.approx((0.62, 0.82))
    assert conditions.replace(supply=1.62).step_levels == pytest.approx((0.548, 0.748))
    assert conditions.replace(common_mode_ratio=0.6).step_levels == pytest.approx((0.98, 1.18))
    stated = conditions.replace(step_low=0.3)
    assert stated.step_levels == pytest.approx((0.3, 0.82))
    assert stated.replace(common_mode_ratio=0.6).step_levels == pytest.approx((0.3, 1.18))
    assert stated.replace(step_low=None) == conditions
    assert "step 0.62 V to 0.82 V" in conditions.in_words()
    published = load_circuit("nmcf").conditions
    assert published.replace(common_mode_ratio=0.6).as_dict()["step_low"] == 0.3
    assert published.replace(step_low=None, step_high=None) == conditions


def test_stated_and_followed_levels_are_the_same_conditions() -> None:
    """Rows hold the levels, not whether they were stated: what is read from one is what it was asked under."""
    followed = AmplifierConditions(common_mode_ratio=0.55)
    stated = AmplifierConditions.read(followed.as_dict())
    assert stated.step_low is not None
    assert stated == followed
    assert len({stated, followed}) == 1
    assert stated != followed.replace(step_low=0.8)
    assert followed.differences(AmplifierConditions()) == (
        "common mode ratio 0.55, step low 890 mV, step high 1.09 V",
        "common mode ratio 0.4, step low 620 mV, step high 820 mV",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"common_mode_ratio": 0.05}, "step_low: must lie above ground, got -0.01 V. A level that is not stated lies"),
        (
            {"common_mode_ratio": 0.95},
            "step_high: must not lie above the supply of 1.8 V, got 1.81 V. A level that is not stated lies 0.1 V from "
            "the common mode, which is 1.71 V: state both, or move the common mode",
        ),
        ({"step_low": 0.9}, "step_high: must lie 0.01 V or more above step_low, 0.9 V; got 0.82 V. A level"),
    ],
)
def test_levels_that_do_not_fit_say_where_they_come_from(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"conditions.{message}")):
        AmplifierConditions.read(changes)
    assert AmplifierConditions(step_low=0.4, step_high=0.41).step_levels == (0.4, 0.41)


# --- they tell rows apart -------------------------------------------------------------------------------------------


def test_rows_that_differ_in_a_corner_only_are_different_rows(circuit: Circuit, tmp_path: Path) -> None:
    sizing = circuit.known_good["robust"]
    corners = ["tt", "ss", "ff", "tt"]
    cases = circuit.cases([sizing] * 4, [circuit.conditions.replace(corner=corner) for corner in corners])
    with Evaluator(FakeSimulator(circuit, always_works=True), log=tmp_path / "log") as evaluator:
        evaluator.evaluate(cases)
    rows = list(read_samples(tmp_path / "log"))
    assert [row.conditions["corner"] for row in rows] == corners
    assert len({row.sample_id for row in rows}) == 3
    assert rows[0].sample_id == sample_id("nmcf", circuit.netlist_hash, sizing, circuit.conditions)
    report = merge([tmp_path / "log"], tmp_path / "merged")
    assert (report.rows, report.duplicates, report.conflicts) == (3, 1, {})
    assert sorted(row.conditions["corner"] for row in read_samples(tmp_path / "merged")) == ["ff", "ss", "tt"]


@pytest.mark.parametrize("name", list(AmplifierConditions.model_fields))
def test_every_condition_is_part_of_the_identity(circuit: Circuit, name: str) -> None:
    other = {"corner": "sf", "supply": 1.81, "temperature": 27.5, "load": 0.0, "common_mode_ratio": 0.41}
    other |= {"step_low": 0.31, "step_high": 0.51}
    sizing = circuit.known_good["robust"]
    ids = {
        sample_id("nmcf", circuit.netlist_hash, sizing, conditions)
        for conditions in (circuit.conditions, circuit.conditions.replace(**{name: other[name]}))
    }
    assert len(ids) == 2


def test_a_prediction_at_one_corner_is_not_answered_by_a_simulation_at_another(
    circuit: Circuit, tmp_path: Path
) -> None:
    cases = circuit.cases(
        [circuit.known_good["robust"]] * 2, [circuit.conditions, circuit.conditions.replace(corner="ss")]
    )
    simulator = FakeSimulator(circuit, always_works=True)
    with Evaluator(simulator, log=tmp_path / "log") as evaluator:
        (outcome,) = evaluator.evaluate(cases[:1])
        assert evaluator.log is not None
        guess = Sample.from_outcome(circuit, cases[1], outcome)
        evaluator.log.append(Sample.parse(guess.as_dict() | {"backend": "surrogate", "p_valid": 0.9}))
    (waiting,) = relabel_queue(tmp_path / "log")
    assert waiting.conditions["corner"] == "ss"
