"""Optional metrics end to end: asked for by a spec or by name, measured, judged, logged, stored; and refused by name.

What nobody asks for is not there: see `tests/zsgym/classes/amplifier/test_optional.py`.
"""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeSimulator

from surrogate.simulator import SurrogateSimulator
from tests.zsgym.conftest import Run
from zsgym.base.errors import ConfigError, NotCoveredError, SampleLogError, SimulatorOutputError
from zsgym.circuits import Cases, Circuit, load_circuit
from zsgym.classes.amplifier import METRICS
from zsgym.classes.specs import exactly, spec_table
from zsgym.cli.targets import read_target
from zsgym.datasets import relabel
from zsgym.datasets.generate import Plan, generate
from zsgym.envs.env import SizingEnv
from zsgym.envs.offline import logged_episodes
from zsgym.evaluate import Evaluator
from zsgym.samples import Sample, read_samples, read_table
from zsgym.samples.dataset import info
from zsgym.simulators import make_simulator
from zsgym.simulators.base import Errors
from zsgym.simulators.ngspice.engine import NonConvergenceError
from zsgym.simulators.ngspice.job import BenchJob, _Run
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome
from zsgym.sizing import Problem, choose, problem, size
from zsgym.sizing.belief import Belief
from zsgym.sizing.models import installed_models
from zsgym.sizing.tradeoff import Tradeoff

FIVE = Path(__file__).parent / "sizing" / "five"
MEASURED = {"input_noise": 1e-7, "input_noise_rms": 1e-4, "output_swing": 1.2, "icmr": math.nan}

HARD: dict[str, float] = {
    "W_bias_p": 1.472,
    "L_bias_p": 0.7152,
    "M_bias_p": 52.0,
    "W_input_pair": 6.567,
    "L_input_pair": 0.5166,
    "M_input_pair": 17.0,
    "W_gm2": 5.281,
    "L_gm2": 0.2707,
    "M_gm2": 15.0,
    "W_gmf2": 8.29,
    "L_gmf2": 0.3016,
    "M_gmf2": 60.0,
    "W_bias_n": 1.244,
    "L_bias_n": 0.4097,
    "M_bias_n": 34.0,
    "W_load2": 0.8167,
    "L_load2": 0.2048,
    "M_load2": 40.0,
    "W_gm3": 1.234,
    "L_gm3": 0.7321,
    "M_gm3": 1.0,
    "cap1": 5.545e-11,
    "cap2": 2.113e-11,
    "bias_current": 4.177e-06,
}
"""A working NMCF sizing whose noise does not converge under the tolerances of all other analyses."""


class Asked(FakeSimulator):
    """A fake that measures what it is asked for; the input common-mode range it cannot determine."""

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        return [self._with_asked(cases, *pair) for pair in zip(cases, super().simulate(cases), strict=True)]

    def _with_asked(self, cases: Cases, case: Any, outcome: Outcome) -> Outcome:
        found = {name: MEASURED[name] for name in cases.circuit.asked_of_simulators}
        found |= cases.circuit.closed_form(case.sizing)
        raw = {name: None if math.isnan(value) else value for name, value in found.items()}
        metrics = {**outcome.metrics, **found} if outcome.metrics else None
        return replace(outcome, metrics=metrics, raw={**outcome.raw, **raw})


@pytest.fixture
def nmcf() -> Circuit:
    return load_circuit("nmcf")


def env_of(circuit: Circuit, **arguments: Any) -> SizingEnv:
    return SizingEnv(circuit, **{"backend": Asked(circuit, always_works=True), "log": False, **arguments})


# --- who asks -------------------------------------------------------------------------------------------------------


def test_an_unknown_metric_is_named_with_all_that_there_are(nmcf: Circuit) -> None:
    with pytest.raises(ConfigError, match=r"unknown metric 'input_nose'\. Did you mean 'input_noise'\?"):
        nmcf.asking(["input_nose"])


def test_the_specs_of_a_circuit_file_ask(tmp_path: Path) -> None:
    shutil.copytree(FIVE, tmp_path / "five")
    file = tmp_path / "five" / "five.yaml"
    text = file.read_text().replace("targets:\n", "targets:\n  input_noise: 5.0e-7\n  gate_area: 2.0e-9\n")
    file.write_text(text)
    circuit = load_circuit(tmp_path / "five")
    assert circuit.asked == ("input_noise", "gate_area")
    assert circuit.netlist_hash == load_circuit(FIVE).netlist_hash
    dropped = Problem(circuit, backend=Asked(circuit), targets={"input_noise": None})
    assert dropped.circuit.asked == ("gate_area",), "what a dropped spec has asked for is asked for no longer"
    file.write_text(text.replace("input_noise", "input_nose"))
    with pytest.raises(ConfigError, match=r"targets\.input_nose: unknown metric"):
        load_circuit(tmp_path / "five")


def test_what_was_asked_for_without_a_spec_stays(nmcf: Circuit) -> None:
    problem = Problem(nmcf.asking(["output_swing"]), backend=Asked(nmcf), targets={"gate_area": 1e-9})
    assert problem.circuit.asked == ("output_swing", "gate_area")
    assert problem.targets.keys() == {*nmcf.targets, "gate_area"}


def test_a_simulator_that_passes_over_what_is_asked_for_is_found_out(nmcf: Circuit) -> None:
    circuit = nmcf.asking(["output_swing"])
    with (
        Evaluator(FakeSimulator(nmcf, always_works=True)) as evaluator,
        pytest.raises(SimulatorOutputError, match="without finite output_swing"),
    ):
        evaluator.evaluate(circuit.cases(list(nmcf.known_good.values())))


# --- environments ---------------------------------------------------------------------------------------------------


def test_an_environment_without_them_is_as_before(nmcf: Circuit) -> None:
    env = env_of(nmcf)
    _, info = env.reset(seed=1)
    assert env.observation_space.shape == (len(nmcf.parameters) + 34,)
    assert list(info["metrics"]) == list(METRICS.names)


def test_an_environment_shows_what_its_targets_name(nmcf: Circuit) -> None:
    env = env_of(nmcf, targets={"input_noise": 2e-7, "gate_area": 1e-9})
    n = len(nmcf.parameters)
    observation, info = env.reset(seed=1)
    assert observation.shape == env.observation_space.shape == (n + 3 * 13 + 1,)
    assert env.observation_space.contains(observation)
    assert info["metrics"]["input_noise"] == 1e-7
    assert info["margins"]["input_noise"] == pytest.approx(1.0 / 3.0)
    assert info["metrics"]["gate_area"] == env.circuit.closed_form(info["sizing"])["gate_area"]
    k = env.circuit.metrics.names.index("input_noise")
    assert observation[n + 13 + k] == pytest.approx(1.0 / 3.0)
    assert info["reward_terms"]["input_noise"] == 0.0
    plain, _ = env_of(nmcf).reset(seed=1)
    assert observation[: n + 11].tolist() == plain[: n + 11].tolist(), "the start and its metrics are the same"


def test_what_cannot_be_determined_misses_its_spec_and_is_no_failure(nmcf: Circuit) -> None:
    env = env_of(nmcf, targets=exactly(nmcf.targets, {"icmr": 0.5}))
    _, info = env.reset(seed=1)
    assert (info["sim_success"], info["failure"], info["is_success"]) == (True, "", False)
    assert (info["margins"]["icmr"], info["reward_terms"]["icmr"]) == (-1.0, -1.0)
    assert info["metrics"]["icmr"] == env.circuit.metrics["icmr"].scale.low, "finite, and nothing to be proud of"
    observation, reward, *_ = env.step(np.zeros(len(nmcf.parameters)))
    assert reward == -1.0
    assert np.isfinite(observation).all()


def test_targets_of_an_episode_cannot_ask_for_more(nmcf: Circuit) -> None:
    env = env_of(nmcf)
    with pytest.raises(ConfigError, match=r"input_noise is not measured here.* must be made with a target of it"):
        env.reset(options={"targets": {"input_noise": 1e-7}})
    env = env_of(nmcf, targets={"input_noise": 2e-7})
    observation, info = env.reset(seed=1, options={"targets": {"input_noise": None}})
    assert observation.shape == env.observation_space.shape
    assert (info["metrics"]["input_noise"], info["margins"]["input_noise"]) == (1e-7, 0.0)


def test_random_targets_leave_them_as_given(nmcf: Circuit) -> None:
    env = env_of(nmcf, targets={"gate_area": 1e-9}, random_targets="train")
    env.reset(seed=3)
    targets = env.core.state(0).targets
    assert targets["gate_area"] == 1e-9
    assert targets["gbw"] != nmcf.targets["gbw"]


# --- logs and data sets ---------------------------------------------------------------------------------------------


def test_rows_hold_them_and_episodes_are_judged_by_them(nmcf: Circuit, tmp_path: Path) -> None:
    env = env_of(nmcf, targets={"input_noise": 2e-7, "icmr": 0.5}, log=tmp_path / "log")
    seen = [env.reset(seed=1)[0], env.step(np.zeros(len(nmcf.parameters)))[0]]
    env.close()
    for row in read_samples(tmp_path / "log"):
        assert row.metrics["input_noise"] == row.raw["input_noise"] == 1e-7
        assert "icmr" not in row.metrics, "it has no value"
        assert row.targets is not None
        assert row.targets["icmr"] == 0.5
    assert read_table(tmp_path / "log")["metrics.input_noise"].to_pylist() == [1e-7, 1e-7]
    plain = env_of(nmcf, log=tmp_path / "log")
    plain.reset(seed=1)
    plain.step(np.zeros(len(nmcf.parameters)))
    plain.close()
    (first, second), _ = logged_episodes(tmp_path / "log", nmcf)
    n = len(nmcf.parameters)
    assert [step.assessment.observation[n:].tolist() for step in first.steps] == [one[n:].tolist() for one in seen]
    assert first.steps[0].assessment.margins[METRICS.names.index("settling_time") + 2] == -1.0
    assert len(second.steps[0].assessment.margins) == 11


def test_a_data_set_has_columns_for_them(nmcf: Circuit, tmp_path: Path) -> None:
    circuit = nmcf.asking(["input_noise", "gate_area", "icmr"])
    counts = generate(Plan(circuit, 60, strategy="log"), tmp_path / "data", Asked(nmcf), progress=False)
    table = read_table(tmp_path / "data")
    works = np.array(table["label"].to_pylist()) == 1
    assert 0 < works.sum() == counts.working < 60
    for name in ("metrics.input_noise", "metrics.gate_area"):
        known = np.array([value is not None for value in table[name].to_pylist()])
        assert (known == works).all(), name
    assert "metrics.icmr" not in table.column_names
    assert info(tmp_path / "data")["circuits"]["nmcf"]["metrics"]["input_noise"]["unit"] == "V/sqrt(Hz)"
    with pytest.raises(SampleLogError, match=r"optional_metrics: \['input_noise', 'icmr', 'gate_area'\] there, None"):
        generate(Plan(nmcf, 60, strategy="log"), tmp_path / "data", Asked(nmcf), progress=False)
    assert "optional_metrics" not in Plan(nmcf, 60).configuration()


def test_what_a_surrogate_computed_is_there_when_ngspice_has_answered(nmcf: Circuit, tmp_path: Path) -> None:
    env = SizingEnv(nmcf, targets={"gate_area": 1e-9}, log=tmp_path / "log")
    env.reset(seed=1, options={"sizing": "robust"})
    env.close()
    relabel.answer_queue(tmp_path / "log", lambda circuit, _: Asked(circuit, always_works=True), progress=False)
    predicted, simulated = read_samples(tmp_path / "log")
    assert predicted.predicted
    assert not simulated.predicted
    assert simulated.metrics["gate_area"] == predicted.metrics["gate_area"] == pytest.approx(6.217165e-10)


def test_judging_anew_keeps_them(nmcf: Circuit) -> None:
    (outcome,) = Asked(nmcf, always_works=True).simulate(
        nmcf.asking(["output_swing", "icmr"]).cases([nmcf.known_good["robust"]])
    )
    case = nmcf.cases([nmcf.known_good["robust"]])[0]
    row = Sample.from_outcome(nmcf.asking(["output_swing", "icmr"]), case, outcome)
    assert relabel._measured(row) == [*METRICS.names, "output_swing"]


# --- models ---------------------------------------------------------------------------------------------------------


def test_the_surrogate_says_by_name_what_it_does_not_predict(nmcf: Circuit) -> None:
    with pytest.raises(NotCoveredError, match=r"does not predict input_noise, icmr, .* use backend=\"ngspice\".* None"):
        make_simulator("surrogate", nmcf.asking(["input_noise", "icmr", "gate_area"]))


def test_the_surrogate_computes_closed_forms(nmcf: Circuit) -> None:
    circuit = nmcf.asking(["gate_area", "compensation_capacitance"])
    cases = circuit.cases([*nmcf.known_good.values()])
    plain, asked = SurrogateSimulator(nmcf), SurrogateSimulator(circuit)
    for before, outcome, case in zip(
        plain.simulate(nmcf.cases(cases.sizings)), asked.simulate(cases), cases, strict=True
    ):
        exact = circuit.closed_form(case.sizing)
        assert before.metrics is not None
        assert outcome.metrics == {**before.metrics, **exact}
        assert outcome.uncertainty is not None
        assert {name: outcome.uncertainty[name] for name in exact} == {name: (v, v) for name, v in exact.items()}
    env = SizingEnv(nmcf, targets={"gate_area": 1e-9}, log=False)
    observation, _ = env.reset(seed=1, options={"sizing": "robust"})
    assert observation.shape == (len(nmcf.parameters) + 37,)
    problem = Problem(nmcf, backend="surrogate", targets=exactly(nmcf.targets, {"gate_area": 1e-7}))
    (design,) = problem.evaluate(nmcf.to_point(nmcf.vector(nmcf.known_good["robust"])))
    assert design.feasible
    assert design.cautious == 0.0


def test_specs_that_no_model_knows_are_solved_for(nmcf: Circuit) -> None:
    choice = choose(nmcf.asking(["gate_area", "icmr"]))
    assert (choice.method, choice.model) == ("physics", None)
    assert "was not trained on icmr, gate_area" in choice.reason
    with pytest.raises(ConfigError, match="was not trained on icmr"):
        choose(nmcf.asking(["icmr"]), "gradient")
    (model,) = installed_models()
    with pytest.raises(ConfigError, match="a model knows nothing of icmr"):
        Belief(model.model, nmcf, {"icmr": 1.0})


def test_a_front_asks_for_its_metrics(nmcf: Circuit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(problem, "make_simulator", lambda *_, **__: Asked(nmcf, always_works=True))
    result = size(nmcf, {"power": None}, pareto=("power", "output_swing"), budget=20, log=False)
    assert result.circuit.asked == ("output_swing",)
    assert result.tradeoff is not None
    assert result.tradeoff.front is not None
    assert {point.metrics["output_swing"] for point in result.tradeoff.front.points} == {1.2}
    result.write(tmp_path / "designs.json")


def test_what_is_not_known_is_on_no_front(nmcf: Circuit, tmp_path: Path) -> None:
    asked = Problem(nmcf, backend=Asked(nmcf, always_works=True), targets={"icmr": 1.0, "gate_area": 1e-9})
    designs = asked.evaluate(np.random.default_rng(1).uniform(-1.0, 1.0, (20, asked.dimension)))
    for pair in (("power", "icmr"), ("power", "gate_area")):
        tradeoff = Tradeoff.of(asked.circuit, designs, asked.targets, pair)
        assert tradeoff is not None
        assert tradeoff.front is not None
        assert "NaN" not in tradeoff.model_dump_json()
        assert bool(tradeoff.front.points) == (pair[1] == "gate_area")


# --- what people read -----------------------------------------------------------------------------------------------


def test_a_table_has_no_number_for_what_is_not_known(nmcf: Circuit) -> None:
    circuit = nmcf.asking(["icmr", "gate_area"])
    metrics = dict.fromkeys(METRICS.names, 1.0) | {"icmr": math.nan, "gate_area": 6.2e-10}
    lines = spec_table(circuit.metrics, metrics, {"icmr": 1.0}).splitlines()
    assert lines[-2].split() == ["icmr", "-", ">", "1", "V", "-1.000", "no"]
    assert lines[-1].split()[:3] == ["gate_area", "620", "um^2"]


@pytest.mark.parametrize(("text", "value"), [("1e-9", 1e-9), ("620um^2", 620e-12), ("2e-9m^2", 2e-9)])
def test_the_suffix_of_an_area_is_that_of_its_unit(nmcf: Circuit, text: str, value: float) -> None:
    area = nmcf.circuit_class.all_metrics["gate_area"]
    assert read_target(text, area) == pytest.approx(value, rel=1e-12)
    with pytest.raises(ConfigError, match=r"write 620um\^2 where the suffix is that of the unit"):
        read_target("620u", area)


# --- ngspice --------------------------------------------------------------------------------------------------------


def test_a_stage_on_which_nothing_rests_need_not_converge(nmcf: Circuit) -> None:
    circuit = nmcf.asking(["output_swing", "input_noise"])
    bench = circuit.circuit_class.asking(
        circuit.circuit_class.bench(circuit.subcircuit, circuit.conditions, circuit.policy("functional")),
        circuit.asked_of_simulators,
    )

    class Engine:
        version = "fake"

        def run(self, deck: Any, analyses: Any) -> Any:
            raise NonConvergenceError(analyses[0].name)

    class Netlist:
        elements, models, transistors, nets = (), (), {}, {}

    run = _Run(BenchJob(Netlist(), bench), Engine())  # type: ignore[arg-type]
    run._cold = False
    *_, transient, swing, noise = bench.testbench.stages
    run.stage(noise)
    run.stage(swing)
    assert run.result.raw == {"converged": 0.0, **dict.fromkeys(("input_noise", "input_noise_rms", "output_swing"))}
    assert run.waves == {}
    with pytest.raises(NonConvergenceError):
        run.stage(transient)


@pytest.mark.ngspice
def test_the_command_line_measures_what_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    command = ["simulate", "nmcf", "--known-good", "robust", "--json"]
    code, out, err = run(*command, "--metrics", "all")
    assert code == 0, err
    metrics = json.loads(out)["outcomes"][0]["metrics"]
    assert list(metrics) == list(load_circuit("nmcf").circuit_class.all_metrics.names)
    assert metrics["output_swing"] == pytest.approx(1.33, abs=0.01)
    data = ["dataset", "generate", str(FIVE), "-n", "3", "--strategy", "log", "--seed", "5", "--quiet"]
    code, _, err = run(*data, "--metrics", "all", "--out", str(tmp_path / "data"))
    assert code == 0, err
    rows = list(read_samples(tmp_path / "data"))
    assert all(("gate_area" in row.raw) == (row.failure != "geometry") for row in rows)


@pytest.mark.ngspice
def test_noise_of_an_amplifier_that_is_hard_to_solve_with_the_milliohms_that_it_brings(nmcf: Circuit) -> None:
    with NgspiceSimulator(nmcf) as simulator:
        (outcome,) = simulator.simulate(nmcf.asking(["input_noise"]).cases([HARD]))
        (plain,) = simulator.simulate(nmcf.cases([HARD]))
    assert outcome.metrics is not None
    assert outcome.metrics["input_noise"] > 0.0
    assert plain.metrics == {name: outcome.metrics[name] for name in METRICS.names}, "to the bit"


@pytest.mark.ngspice
def test_sizing_by_specs_on_them(tmp_path: Path) -> None:
    wanted = {"input_noise": 500e-9, "output_swing": 1.0, "gate_area": 3e-9}
    five = load_circuit(FIVE)
    result = size(five, exactly(five.targets, wanted), budget=150, log=tmp_path / "log")
    assert result.met, result.summary()
    assert result.best.outcome.metrics is not None
    assert result.best.margins.keys() == wanted.keys()
    rows = [row for row in read_samples(tmp_path / "log") if row.label]
    assert all(row.metrics.keys() == {*METRICS.names, *wanted, "input_noise_rms"} for row in rows)
    page = tmp_path / "report.html"
    result.write_report(page)
    result.write(tmp_path / "designs.json")
    text = page.read_text()
    assert "input-referred noise at 1 kHz" in text
    assert ">Noise<" in text
    assert ">Gain over output levels<" in text
    assert "Gain over input common modes" not in text, "nobody has asked"
    designs = json.loads((tmp_path / "designs.json").read_text())
    assert designs["designs"][0]["metrics"]["gate_area"] <= 3e-9
