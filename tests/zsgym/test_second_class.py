"""A class of circuits from another package (`tests/second_class`) needs nothing of zsgym but an entry point.

It is loaded, simulated, made into environments, logged, exported, reported on and sized like an amplifier. Where its
testbench can be calculated by hand, ngspice must agree.
"""

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator
from gymnasium.utils.env_checker import check_env

import zsgym
from tests.zsgym.conftest import Run
from tests.zsgym.report.drawings import drawn_nets, faults, netlist_nets
from zsgym.base.errors import ConfigError, NotCoveredError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import circuit_class as classes
from zsgym.classes import find_class, list_classes
from zsgym.classes.verdict import misses
from zsgym.datasets.generate import Plan, generate
from zsgym.datasets.relabel import judge_anew
from zsgym.envs.env import SizingEnv
from zsgym.envs.vector import SizingVectorEnv
from zsgym.evaluate import Evaluator
from zsgym.report import Request, gather, render_page, verdict
from zsgym.report.schematic import automatic_schematic
from zsgym.samples import read_samples, read_table
from zsgym.samples.dataset import info, merge
from zsgym.samples.export import export_zerosim
from zsgym.samples.parquet import compact
from zsgym.simulators import make_simulator
from zsgym.simulators.base import Simulator
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome

FOLDER = Path(__file__).parents[1] / "second_class"
FILE = FOLDER / "circuits" / "stage.yaml"
WEAK = {"W_driver": 0.5, "L_driver": 2.0, "M_driver": 1.0, "rload": 1e3, "rsense": 1e3}
BOLTZMANN = 1.380649e-23


def forget() -> None:
    """Classes are looked up once in a process."""
    classes._classes.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """The package lies where Python looks for packages; its `.dist-info` names the class."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        forget()
        yield
    forget()


@pytest.fixture(scope="module")
def circuit(installed: None) -> Circuit:
    return load_circuit(FILE)


@pytest.fixture(scope="module")
def plain(circuit: Circuit) -> dict[str, float]:
    return circuit.known_good["plain"]


@pytest.fixture(scope="module", params=["library", "process"])
def engine(request: pytest.FixtureRequest, circuit: Circuit) -> Iterator[NgspiceSimulator]:
    with NgspiceSimulator(circuit, engine=request.param, keep_waveforms=True) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def simulator(circuit: Circuit) -> Iterator[NgspiceSimulator]:
    with NgspiceSimulator(circuit) as simulator:
        yield simulator


def answers(simulator: Simulator, circuit: Circuit, *sizings: dict[str, float], **conditions: Any) -> list[Outcome]:
    return simulator.simulate(circuit.cases(sizings, circuit.conditions.replace(**conditions)))


# --- it is found, and read ------------------------------------------------------------------------------------------


def test_it_is_found_by_its_entry_point(circuit: Circuit) -> None:
    assert list_classes() == ["amplifier", "stage"]
    assert circuit.circuit_class is find_class("stage")
    assert circuit.metrics.names == ("gain", "power", "noise", "delay")
    assert pickle.loads(pickle.dumps(circuit)).circuit_class is circuit.circuit_class
    assert "stage_class" in sys.modules


def test_mistakes_name_what_is_valid_in_its_class(circuit: Circuit, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"conditions.load: unknown key.*sense_current, wire"):
        circuit.conditions.replace(load=1e-12)
    with pytest.raises(ConfigError, match=r"conditions.wire: 'middling' is not valid here. Valid: short, long"):
        circuit.conditions.replace(wire="middling")
    with pytest.raises(ConfigError, match="unknown metric 'gbw'"):
        SizingEnv(circuit, backend="ngspice", targets={"gbw": 1e6}, log=False)
    with pytest.raises(ConfigError, match="stage needs StageConditions, got AmplifierConditions"):
        circuit.cases([circuit.known_good["plain"]], load_circuit("nmcf").conditions)
    with pytest.raises(NotCoveredError, match="the class 'stage' has other metrics"):
        make_simulator("surrogate", circuit)


# --- its testbench in ngspice ---------------------------------------------------------------------------------------


@pytest.mark.ngspice
@pytest.mark.parametrize("temperature", [-40.0, 27.0, 125.0])
def test_ngspice_agrees_with_what_can_be_calculated(
    engine: NgspiceSimulator, circuit: Circuit, plain: dict[str, float], temperature: float
) -> None:
    (outcome,) = answers(engine, circuit, plain, temperature=temperature, wire="long")
    raw, point = outcome.raw, (outcome.operating_points or {})["xm1"]
    load, sense, capacitance = plain["rload"], plain["rsense"], 10e-12
    assert outcome.success
    # A sweep of a source, and levels of its own at an operating point.
    assert raw["resistance"] == pytest.approx(sense, rel=1e-9)
    assert raw["starved"] == pytest.approx(0.0, abs=1e-12)
    # Small signals: a single pole, the loop opened, the loop closed. `show` prints six digits of gm and gds.
    assert raw["corner"] == pytest.approx(1.0 / (2.0 * math.pi * sense * capacitance), rel=1e-6)
    gain = point["gm"] / (point["gds"] + 1.0 / load)
    assert 10.0 ** (raw["gain"] / 20.0) == pytest.approx(gain, rel=1e-4)
    assert raw["gain_at_1_mhz"] == pytest.approx(raw["gain"], abs=0.1), "the input does not load an open loop"
    assert raw["closed"] == pytest.approx(-gain / (1.0 + gain), rel=1e-4)
    # Noise of a resistor, seen as a voltage and as a current.
    density = 4.0 * BOLTZMANN * (temperature + 273.15)
    at_1_khz = 1.0 / math.hypot(1.0, 1e3 / raw["corner"])
    assert raw["noise"] == pytest.approx(math.sqrt(density * sense) * at_1_khz, rel=1e-5)
    assert raw["input_noise"] == pytest.approx(math.sqrt(density / sense), rel=1e-6)
    # A transient: half-way after R C ln 2.
    assert raw["delay"] == pytest.approx(sense * capacitance * math.log(2.0), rel=2e-3)
    current = (circuit.conditions.supply - raw["output"]) / load
    assert raw["power"] == pytest.approx(circuit.conditions.supply * current, rel=1e-6)


@pytest.mark.ngspice
def test_its_conditions_reach_the_simulation(
    simulator: NgspiceSimulator, circuit: Circuit, plain: dict[str, float]
) -> None:
    short, long = (answers(simulator, circuit, plain, wire=wire)[0].raw for wire in ("short", "long"))
    assert long["delay"] == pytest.approx(10.0 * short["delay"], rel=0.01)
    slow, fast = (answers(simulator, circuit, plain, corner=corner)[0].raw for corner in ("ss", "ff"))
    assert slow["power"] < fast["power"]


@pytest.mark.ngspice
def test_engines_agree_to_the_last_bit(circuit: Circuit, plain: dict[str, float]) -> None:
    found = []
    for name in ("library", "process"):
        with NgspiceSimulator(circuit, engine=name, keep_waveforms=True) as simulator:
            found.append([outcome.raw for outcome in answers(simulator, circuit, plain, WEAK)])
    assert found[0] == found[1]


@pytest.mark.ngspice
def test_its_own_reasons(simulator: NgspiceSimulator, circuit: Circuit, plain: dict[str, float]) -> None:
    outside = plain | {"L_driver": 0.1}
    works, weak, geometry = answers(simulator, circuit, plain, WEAK, outside)
    assert (works.failure, weak.failure, geometry.failure) == (None, "weak", "geometry")
    (still,) = answers(simulator, circuit, plain, sense_current=0.0)
    assert still.failure == "sluggish"
    assert "delay" not in weak.raw, "no transient for a stage that small signals have shown to be weak"
    circuit_class, policy = circuit.circuit_class, circuit.policy("functional")
    assert misses(circuit_class.checks(policy), weak.raw) == ["gain of the stage: -26.8 dB, limit ≥ 6 dB"]
    assert circuit_class.severity(weak.raw, policy) == pytest.approx(5.0 + 4.0 * 32.8 / 106.0, abs=0.01)
    assert circuit_class.severity(works.raw, policy) == 0.0


# --- environments, rows, data sets ----------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_an_environment(circuit: Circuit, tmp_path: Path) -> None:
    env = SizingEnv(FILE, backend="ngspice", log=tmp_path / "log", render_mode="rgb_array", action_mode="delta")
    check_env(env, skip_render_check=True)
    n = len(circuit.parameters)
    assert env.observation_space.shape == (n + 3 * 4 + 1,)
    observation, info_ = env.reset(seed=1, options={"sizing": "plain"})
    assert observation[-1] == 1.0
    assert info_["is_success"]
    assert list(info_["metrics"]) == list(circuit.metrics.names)
    np.testing.assert_allclose(observation[n : n + 4], circuit.metrics.normalise([list(info_["metrics"].values())])[0])
    assert env.render().shape == (680, 1040, 3)
    env.reset(options={"sizing": WEAK})
    assert env.core.state(0).failure == "weak"
    env.render()
    env.close()
    rows = list(read_samples(tmp_path / "log"))
    assert {row.circuit_class for row in rows} == {"stage"}
    assert rows[-1].metrics == dict.fromkeys(circuit.metrics.names)
    assert rows[-1].failure == "weak"
    assert rows[-1].conditions["wire"] == "short"


@pytest.mark.ngspice
def test_many_environments_of_a_registered_id(tmp_path: Path) -> None:
    gym.register("stage/Stage-v0", SizingEnv, kwargs={"circuit": str(FILE)}, max_episode_steps=5)
    env = gym.make("stage/Stage-v0", backend="ngspice", log=False, conditions={"wire": "long"})
    assert env.reset(seed=0)[0] in env.observation_space
    env.close()
    envs = SizingVectorEnv(FILE, 2, backend="ngspice", log=tmp_path / "log")
    envs.reset(seed=3)
    for _ in range(4):
        observations, rewards, *_ = envs.step(envs.action_space.sample())
        assert observations.shape == (2, 5 + 3 * 4 + 1)
        assert np.isfinite(rewards).all()
    envs.close()
    assert len(list(read_samples(tmp_path / "log"))) == 10


@pytest.mark.ngspice
def test_its_rows_stand_beside_those_of_an_amplifier(
    simulator: NgspiceSimulator, circuit: Circuit, plain: dict[str, float], tmp_path: Path
) -> None:
    amplifier = load_circuit("nmcf")
    stage_cases = circuit.cases(
        [plain, WEAK, plain], [circuit.conditions, circuit.conditions, circuit.conditions.replace(wire="long")]
    )
    for cases, asked in ((stage_cases, simulator), (amplifier.cases(amplifier.known_good.values()), None)):
        with Evaluator(
            asked or FakeSimulator(amplifier, always_works=True), log=tmp_path / "log", owns_simulator=False
        ) as evaluator:
            evaluator.evaluate(cases)
    written = sorted(read_samples(tmp_path / "log"), key=lambda row: row.time)
    table = read_table(tmp_path / "log")
    assert table["metrics.gain"].null_count == table.num_rows - 2
    assert compact(tmp_path / "log") is not None
    assert sorted(read_samples(tmp_path / "log"), key=lambda row: row.time) == written
    assert {row.conditions.get("wire") for row in written} == {"short", "long", None}
    assert len({row.sample_id for row in written}) == len(written), "one sizing, two wires: two samples"
    report = merge([tmp_path / "log"], tmp_path / "merged")
    assert (report.rows, report.duplicates) == (len(written), 0)
    summary = info(tmp_path / "merged")["circuits"]
    assert summary["stage"]["failures"] == {"weak": 1}
    assert summary["stage"]["metrics"]["noise"]["unit"] == "V/sqrt(Hz)"
    assert "gbw" in summary["nmcf"]["metrics"]
    (row,) = (r for r in written if r.circuit == "stage" and r.label == 0)
    export_zerosim([r for r in written if r.circuit == "stage"], circuit, tmp_path / "stage.json")
    performance = [sample["performance"] for sample in json.loads((tmp_path / "stage.json").read_text())]
    assert list(performance[0]) == ["gain", "P", "noise", "delay", "sim_success"]
    assert performance[0]["P"] == pytest.approx(1e6 * written[0].metrics["power"])
    assert sorted({p["gain"] for p in performance})[-1] == 1e9, row.failure


@pytest.mark.ngspice
def test_data_sets_are_generated_and_judged_anew(
    simulator: NgspiceSimulator, circuit: Circuit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = generate(Plan(circuit, 10, seed=1, strategy="log"), tmp_path / "a", simulator, progress=False)
    assert counts.rows == 10
    assert set(counts.failures) <= circuit.circuit_class.reasons.keys()
    monkeypatch.setenv("ZSGYM_CIRCUITS", str(FILE.parent))
    assert judge_anew(tmp_path / "a", "functional", tmp_path / "b") == {"kept": 10, "now works": 0, "now fails": 0}


# --- reports, sizing, commands --------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_a_schematic(circuit: Circuit, plain: dict[str, float]) -> None:
    """Its class names no rails: their names tell. What hangs on a port is not a bias branch."""
    schematic = automatic_schematic(circuit)
    assert drawn_nets(schematic) == netlist_nets(circuit)
    assert faults(schematic, circuit, plain) == []
    assert schematic.rails == {"vdd": 0.0, "vss": schematic.bottom}
    assert {"in", "out", "sense"} == schematic.labels.keys()
    assert schematic.titles == {}


def test_a_report(circuit: Circuit, plain: dict[str, float]) -> None:
    evidence = gather(Request.of(circuit, plain))
    assert verdict(evidence) == ("good", "Works and meets all 4 specs")
    assert (evidence.prediction, evidence.notes) == (None, ()), "no model covers it: nothing is said of one"
    page = render_page(evidence)
    for text in ("40.71 nV/√Hz", "Sensing node", "The current doubles after 1 µs.", "sense current 1 uA, wire short"):
        assert text in page, text
    assert "unity" not in page, "what is said of amplifiers only"
    failed = render_page(gather(Request.of(circuit, WEAK)))
    assert "Does not work: weak" in failed
    assert "gain of the stage" in failed


@pytest.mark.ngspice
def test_it_is_sized(circuit: Circuit, tmp_path: Path) -> None:
    result = zsgym.size(circuit, seed=1, budget=200, from_scratch=True, log=False)
    assert result.met, result.summary()
    assert result.method == "physics", "its equations are solved, whatever the class"
    assert result.simulations <= 10


@pytest.mark.ngspice
def test_a_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Which finds the package on PYTHONPATH."""
    asked = ("--known-good", "plain", "--sense-current", "2e-6", "--wire", "long", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "zsgym", "simulate", str(FILE), *asked],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)["outcomes"]
    assert outcome["metrics"]["delay"] == pytest.approx(1e5 * 10e-12 * math.log(2.0), rel=2e-3)


@pytest.mark.ngspice
def test_what_failed_is_said_in_its_own_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "weak.json").write_text(json.dumps(WEAK))
    code, out, _ = run("simulate", FILE, "--sizing", tmp_path / "weak.json")
    assert code == 0
    assert "does not work: weak" in out
    assert "gain of the stage: -26.8 dB, limit ≥ 6 dB" in out
    page = tmp_path / "page.html"
    code, out, err = run("report", FILE, "--known-good", "plain", "--out", page, "--netlist", tmp_path / "x.spice")
    assert (code, out) == (2, "")
    assert "the class 'stage' has no testbench for plain ngspice" in err


def test_commands_without_a_simulation(run: Run) -> None:
    code, out, _ = run("circuits", FILE)
    assert code == 0
    assert "sense current 1 uA, wire short" in out
    assert "50 nV/sqrt(Hz)" in out
    for wrong, message in (
        (("--load", "1e-12"), "conditions.load: unknown key. Valid: corner, supply, temperature, sense_current, wire"),
        (("--sense-current", "-1"), "conditions.sense_current: must lie between 0 and 0.001 A, got -1"),
        (("--backend", "surrogate"), "the class 'stage' has other metrics"),
    ):
        code, out, err = run("simulate", FILE, "--known-good", "plain", *wrong)
        assert (code, out) == (2, "")
        assert message in err
