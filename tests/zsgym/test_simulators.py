"""The factory, the surrogate backend, and what environments, logs and commands make of it and of the hybrid."""

import copy
import io
import json
import math
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator

from surrogate.checkpoint import Checkpoint, CheckpointError
from surrogate.data import read_rows
from surrogate.predict import ZeroShotWarning
from tests.surrogate.synthetic import RC_LOADED, TINY_PINS, nmcf, nmcnr, sizings, untrained_checkpoint
from zsgym import cli
from zsgym.circuits import load_circuit
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Failure, Outcome, Status
from zsgym.pdk import load_corner
from zsgym.pdk.geometry import inside_models
from zsgym.samples import Sample, read_samples, read_table, relabel_queue, training_rows
from zsgym.samples.dataset import info
from zsgym.simulators import BACKENDS, Simulator, make_simulator
from zsgym.simulators import surrogate as surrogate_module
from zsgym.simulators.hybrid import HybridSimulator
from zsgym.simulators.ngspice import simulator as ngspice_module
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.surrogate import SurrogateSimulator

MANY = sizings(nmcf(), 60)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that knows both shipped circuits; its answers are random, decided, and half of them positive."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    untrained_checkpoint([nmcf(), nmcnr()]).save(path)
    return path


@pytest.fixture
def surrogate(checkpoint: Path) -> SurrogateSimulator:
    return SurrogateSimulator(nmcf(), checkpoint=checkpoint)


@pytest.fixture
def fake_ngspice(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the factory make fakes instead of ngspice, and collect them."""
    made: list[Any] = []

    class Fake(FakeSimulator):
        def __init__(self, circuit: Any, *, workers: int = 1, policy: str = "functional") -> None:
            super().__init__(circuit)
            self.options = {"workers": workers, "policy": policy}
            made.append(self)

    monkeypatch.setattr(ngspice_module, "NgspiceSimulator", Fake)
    return made


# --- factory --------------------------------------------------------------------------------------------------------


def test_backends_are_made_by_name(checkpoint: Path, fake_ngspice: list[Any]) -> None:
    options: dict[str, dict[str, Any]] = {
        "ngspice": {"policy": "measured"},
        "surrogate": {"checkpoint": str(checkpoint)},
        "hybrid": {"checkpoint": str(checkpoint), "policy": "functional", "confidence": 0.9, "targets": {"gbw": 1e6}},
    }
    assert set(options) == set(BACKENDS)
    for name, chosen in options.items():
        with closing(make_simulator(name, nmcf(), workers=2, **chosen)) as simulator:
            assert isinstance(simulator, Simulator)
            assert simulator.name == ("fake" if name == "ngspice" else name)
    assert [fake.options for fake in fake_ngspice] == [
        {"workers": 2, "policy": "measured"},
        {"workers": 2, "policy": "functional"},
    ]
    assert isinstance(simulator, HybridSimulator)
    assert (simulator.confidence, simulator.targets) == (0.9, {"gbw": 1e6})


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        (
            "ngspcie",
            {},
            r"unknown backend 'ngspcie'\. Did you mean 'ngspice'\? Choose one of: ngspice, surrogate, hybrid",
        ),
        ("ngspice", {"checkpoint": "x"}, "backend 'ngspice' takes no option 'checkpoint'"),
        ("surrogate", {"polciy": 1}, "backend 'surrogate' takes no option 'polciy'. Did you mean 'policy'"),
        ("surrogate", {"policy": "measured"}, "trained on labels of the verdict policy 'functional', not 'measured'"),
        ("surrogate", {"policy": "fuctional"}, "unknown verdict policy 'fuctional' of nmcf. Did you mean 'functional'"),
        ("hybrid", {"policy": "measured"}, "trained on labels of the verdict policy 'functional', not 'measured'"),
        ("hybrid", {"confidense": 1}, "backend 'hybrid' takes no option 'confidense'. Did you mean 'confidence'?"),
        ("hybrid", {"surrogate": 1}, "backend 'hybrid' takes no option 'surrogate'"),
    ],
)
def test_mistakes_name_the_valid_choices(
    fake_ngspice: list[Any], backend: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_simulator(backend, nmcf(), **options)
    assert fake_ngspice == []


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*gone"):
        make_simulator("surrogate", nmcf(), checkpoint=tmp_path / "gone.safetensors")


def test_the_shipped_checkpoint_is_the_default(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate_module, "shipped", lambda: checkpoint)
    assert (
        make_simulator("surrogate", nmcf()).provenance
        == make_simulator("surrogate", nmcf(), checkpoint=str(checkpoint)).provenance
    )


# --- surrogate ------------------------------------------------------------------------------------------------------


def same(a: Outcome, b: Outcome) -> bool:
    """Equal but for time and the rounding of another batch size."""

    def near(x: Any, y: Any) -> bool:
        if isinstance(x, float):
            return math.isclose(x, y, rel_tol=1e-3)
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(near(x[name], y[name]) for name in x)
        if isinstance(x, tuple):
            return len(x) == len(y) and all(map(near, x, y))
        return bool(x == y)

    names = ("status", "failure", "metrics", "raw", "p_valid", "uncertainty", "in_distribution", "backend", "error")
    return all(near(getattr(a, name), getattr(b, name)) for name in names)


def test_outcomes_say_what_was_predicted(surrogate: SurrogateSimulator) -> None:
    outcomes, predictions = surrogate.simulate(MANY), surrogate.predict(MANY)
    for row, outcome in enumerate(outcomes):
        assert outcome.backend == "surrogate"
        assert outcome.p_valid == predictions.p_valid[row]
        assert outcome.in_distribution is bool(predictions.in_distribution[row])
        assert outcome.error is None
        assert 0.0 < outcome.elapsed_s < 1.0
        assert dict(outcome.raw) == {}
        if predictions.valid[row]:
            assert (outcome.status, outcome.label, outcome.failure) == (Status.SUCCESS, 1, None)
            assert outcome.metrics == dict(zip(METRIC_NAMES, predictions.metrics[row].tolist(), strict=True))
            assert all(type(value) is float for value in outcome.metrics.values())
            assert outcome.uncertainty is not None
            for name, (low, high) in outcome.uncertainty.items():
                assert low < outcome.metrics[name] < high
        else:
            assert (outcome.status, outcome.label) == (Status.CIRCUIT_FAILURE, 0)
            assert outcome.metrics is None
            assert outcome.uncertainty is None
    reasons = [outcome.failure for outcome in outcomes]
    outside = ~inside_models(nmcf(), np.array([nmcf().vector(sizing) for sizing in MANY]))
    assert [reason == Failure.GEOMETRY for reason in reasons] == outside.tolist()
    assert {Failure.GEOMETRY, Failure.PREDICTED, None} == set(reasons)


def test_it_keeps_order_and_needs_no_batch(surrogate: SurrogateSimulator) -> None:
    together = surrogate.simulate(MANY)
    assert all(map(same, surrogate.simulate(MANY[::-1]), together[::-1]))
    assert all(
        same(surrogate.simulate([sizing])[0], outcome) for sizing, outcome in zip(MANY[:9], together, strict=False)
    )
    assert surrogate.simulate([]) == []
    assert surrogate.simulate(tuple(MANY[:2]), nmcf().conditions, errors="return")[1].p_valid == pytest.approx(
        together[1].p_valid
    )


@pytest.mark.parametrize("change", [{"W_nonsense": 1.0}, {"W_gm3": math.nan}, {"W_gm3": -1.0}, {"W_gm3": "1"}])
def test_nonsense_refuses_the_whole_batch(surrogate: SurrogateSimulator, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        surrogate.simulate([MANY[0], {**MANY[1], **change}])
    incomplete = {name: value for name, value in MANY[0].items() if name != "cap1"}
    with pytest.raises(ConfigError, match="missing cap1"):
        surrogate.simulate([incomplete])


@pytest.mark.parametrize(
    "changes", [{"corner": "ss"}, {"supply": 1.62}, {"temperature": 85.0}, {"load": 2e-11}, {"common_mode_ratio": 0.5}]
)
def test_other_conditions_are_refused(surrogate: SurrogateSimulator, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'knows nmcf at .* only; use backend="ngspice"'):
        surrogate.simulate(MANY[:1], nmcf().conditions.replace(**changes))


def test_provenance_names_the_file(surrogate: SurrogateSimulator, checkpoint: Path) -> None:
    assert surrogate.provenance == {"checkpoint": Checkpoint.load(checkpoint).sha256[:16]}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copy", "pickle"])
def test_copies_give_the_same_answers(
    surrogate: SurrogateSimulator, duplicate: Callable[[SurrogateSimulator], SurrogateSimulator]
) -> None:
    surrogate.simulate(MANY[:1])
    other = duplicate(surrogate)
    assert all(map(same, other.simulate(MANY), surrogate.simulate(MANY)))
    surrogate.close()
    surrogate.close()
    assert all(map(same, other.simulate(MANY[:2]), surrogate.simulate(MANY[:2])))


def test_the_big_model_serves_as_well(tmp_path: Path) -> None:
    untrained_checkpoint([nmcf()], TINY_PINS).save(tmp_path / "pins.safetensors")
    outcomes = SurrogateSimulator(nmcf(), checkpoint=tmp_path / "pins.safetensors").simulate(MANY)
    assert {outcome.status for outcome in outcomes} == {Status.SUCCESS, Status.CIRCUIT_FAILURE}


def test_a_topology_that_was_never_seen_is_answered_with_a_warning(checkpoint: Path) -> None:
    unseen = load_circuit(RC_LOADED)
    with pytest.warns(ZeroShotWarning, match="not on rc_loaded"):
        simulator = make_simulator("surrogate", unseen, checkpoint=checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = simulator.simulate([unseen.known_good["hand_sized"]])
    assert outcomes[0].in_distribution is False
    assert outcomes[0].label in (0, 1)


# --- hybrid (its policy: see test_hybrid.py) -------------------------------------------------------------------------


def test_a_real_surrogate_in_a_hybrid(surrogate: SurrogateSimulator) -> None:
    hybrid = HybridSimulator(surrogate, FakeSimulator(nmcf()), targets={"gbw": 1e-9})
    outcomes = hybrid.simulate(MANY)
    assert {"surrogate", "fake"} == {outcome.backend for outcome in outcomes}
    assert hybrid.answered["surrogate"] == sum(outcome.backend == "surrogate" for outcome in outcomes)
    direct = surrogate.simulate(MANY)
    assert all(same(a, b) for a, b in zip(outcomes, direct, strict=True) if a.backend == "surrogate")
    with pytest.raises(ConfigError, match="missing"):
        hybrid.simulate([{}])


# --- environments ---------------------------------------------------------------------------------------------------


@pytest.fixture
def make_env(checkpoint: Path, tmp_path: Path) -> Iterator[Callable[..., gym.Env[Any, Any]]]:
    opened: list[gym.Env[Any, Any]] = []

    def make(backend: str, targets: Any = None, **options: Any) -> gym.Env[Any, Any]:
        options = {"checkpoint": str(checkpoint), **options}
        log = str(tmp_path / "log")
        opened.append(gym.make("zsgym/NMCF-v0", backend=backend, targets=targets, backend_options=options, log=log))
        return opened[-1]

    yield make
    for env in opened:
        env.close()


def roll(env: gym.Env[Any, Any], steps: int) -> list[dict[str, Any]]:
    """The infos of one reset and some steps."""
    env.action_space.seed(3)
    infos = [env.reset(seed=3)[1]]
    for _ in range(steps):
        observation, reward, *_, info = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert reward == (-100.0 if not info["sim_success"] else pytest.approx(sum(info["reward_terms"].values())))
        infos.append(info)
    return infos


def test_an_environment_on_the_surrogate(make_env: Callable[..., gym.Env[Any, Any]], tmp_path: Path) -> None:
    infos = roll(make_env("surrogate"), 30)
    assert {info["failure"] for info in infos} == {"", "geometry", "predicted"}
    rows = list(read_samples(tmp_path / "log"))
    assert [row.failure or "" for row in rows] == [info["failure"] for info in infos]
    for row, info_ in zip(rows, infos, strict=True):
        assert (row.backend, row.predicted) == ("surrogate", True)
        assert row.p_valid is not None
        assert list(row.provenance) == ["checkpoint"]
        assert row.env_id == "zsgym/NMCF-v0"
        if row.label == 1:
            assert row.metrics == info_["metrics"]
    # None of these is a label, wherever one may look for labels.
    assert list(training_rows(tmp_path / "log")) == []
    assert read_table(tmp_path / "log").num_rows == 0
    assert len(relabel_queue(tmp_path / "log")) == 31
    with pytest.raises(ConfigError, match="no rows that ngspice answered"):
        read_rows([tmp_path / "log"])


def test_an_environment_on_the_hybrid(
    make_env: Callable[..., gym.Env[Any, Any]], tmp_path: Path, fake_ngspice: list[Any]
) -> None:
    roll(make_env("hybrid", targets=dict.fromkeys(METRIC_NAMES) | {"gbw": 1e12}, confidence=0.6), 30)
    rows = list(read_samples(tmp_path / "log"))
    (truth,) = fake_ngspice
    simulated = [row for row in rows if row.backend == "fake"]
    assert 0 < len(simulated) < 31
    assert [row.sizing for row in simulated] == truth.simulated
    assert [row.sample_id for row in training_rows(tmp_path / "log")] == [row.sample_id for row in simulated]
    assert all(row.p_valid is None and not row.predicted for row in simulated)
    assert all(row.failure != Failure.PREDICTED for row in simulated)
    assert len(relabel_queue(tmp_path / "log")) == 31 - len(simulated)
    known = {nmcf().vector(row.sizing).tobytes() for row in simulated}
    assert {vector.tobytes() for vector in read_rows([tmp_path / "log"])["nmcf"].vectors} <= known


def test_vector_faces_take_the_surrogate(checkpoint: Path) -> None:
    options = {"backend": "surrogate", "backend_options": {"checkpoint": str(checkpoint)}, "log": False}
    envs = gym.make_vec("zsgym/NMCF-v0", num_envs=4, vectorization_mode="vector_entry_point", **options)
    observations, infos = envs.reset(seed=1)
    assert observations.shape[0] == 4
    _, rewards, *_ = envs.step(envs.action_space.sample())
    assert np.isfinite(rewards).all()
    assert infos["sim_success"].dtype == bool
    envs.close()


def test_other_conditions_are_refused_by_an_environment_on_the_surrogate(checkpoint: Path) -> None:
    env = gym.make(
        "zsgym/NMCF-v0",
        backend="surrogate",
        backend_options={"checkpoint": str(checkpoint)},
        conditions={"corner": "ss"},
        log=False,
    )
    with pytest.raises(ConfigError, match='use backend="ngspice"'):
        env.reset(seed=0)
    env.close()


# --- the failure `predicted` in rows and commands -------------------------------------------------------------------


def test_a_predicted_failure_is_a_row_but_no_label(surrogate: SurrogateSimulator) -> None:
    outcomes = surrogate.simulate(MANY)
    index = [outcome.failure for outcome in outcomes].index(Failure.PREDICTED)
    row = Sample.from_outcome(nmcf(), MANY[index], outcomes[index], provenance=surrogate.provenance)
    assert (row.failure, row.label, row.predicted) == (Failure.PREDICTED, 0, True)
    again = Sample.parse(json.loads(json.dumps(row.as_dict())))
    assert again == row
    assert set(row.metrics.values()) == {None}


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_zsgym_simulate_with_the_surrogate(
    run: Run, surrogate: SurrogateSimulator, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surrogate_module, "shipped", lambda: checkpoint)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(MANY)))
    code, out, err = run("simulate", "nmcf", "--backend", "surrogate", "--sizing", "-", "--json")
    assert (code, err) == (0, "")
    outcomes = json.loads(out)["outcomes"]
    for found, expected in zip(outcomes, surrogate.simulate(MANY), strict=True):
        assert (found["status"], found["failure"]) == (expected.status, expected.failure)
        assert found["p_valid"] == pytest.approx(expected.p_valid)
        assert found["metrics"] == (None if expected.metrics is None else pytest.approx(dict(expected.metrics)))
        assert found["elapsed_s"] > 0.0
    assert {found["failure"] for found in outcomes} == {None, "geometry", "predicted"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(MANY)))
    code, out, _ = run("simulate", "nmcf", "--backend", "surrogate", "--sizing", "-")
    assert code == 0
    assert "does not work: predicted (surrogate, " in out
    assert "probability of working" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corner", "ss"], 'use backend="ngspice" for other conditions'),
        (["--policy", "measured"], "the verdict policy 'functional', not 'measured'"),
    ],
)
def test_zsgym_simulate_says_what_the_surrogate_cannot(
    run: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.setattr(surrogate_module, "shipped", lambda: checkpoint)
    code, out, err = run("simulate", "nmcf", "--backend", "surrogate", "--known-good", "robust", *options)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_dataset_info_keeps_predictions_apart(
    make_env: Callable[..., gym.Env[Any, Any]], tmp_path: Path, fake_ngspice: list[Any], run: Run
) -> None:
    roll(make_env("hybrid", targets=dict.fromkeys(METRIC_NAMES) | {"gbw": 1e12}, confidence=0.6), 30)
    (truth,) = fake_ngspice
    summary = info(tmp_path / "log")
    simulated = len(truth.simulated)
    assert (summary["rows"], summary["labelled"], summary["predicted"]) == (31, simulated, 31 - simulated)
    assert summary["backends"] == {"surrogate": 31 - simulated, "fake": simulated}
    assert summary["circuits"]["nmcf"]["rows"] == simulated
    assert "predicted" not in summary["circuits"]["nmcf"]["failures"]
    code, out, _ = run("dataset", "info", tmp_path / "log")
    assert code == 0
    assert f"{31 - simulated} answered by a surrogate ({31 - simulated} wait for simulation)" in out


# --- against ngspice ------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_surrogate_and_ngspice_agree_about_geometry(surrogate: SurrogateSimulator) -> None:
    edge = dict(nmcf().known_good["robust"])
    near = [
        {**edge, name: value}
        for name, values in {
            "W_gm3": (0.3585, 0.3595, 0.36, 0.4),
            "W_gm2": (0.4185, 0.4195, 0.42),
            "L_gm3": (0.1485, 0.1495, 0.15),
        }.items()
        for value in values
    ]
    asked = [*near, *(sizing for sizing in MANY if surrogate.simulate([sizing])[0].failure is Failure.GEOMETRY)]
    models = load_corner(nmcf().conditions.corner)
    expected = [size_netlist(nmcf(), sizing, models) is None for sizing in asked]
    assert [outcome.failure is Failure.GEOMETRY for outcome in surrogate.simulate(asked)] == expected
    assert set(expected[: len(near)]) == {True, False}


@pytest.mark.ngspice
def test_a_hybrid_asks_ngspice(surrogate: SurrogateSimulator) -> None:
    good = nmcf().known_good["robust"]
    outside = {**good, "L_gm3": 0.1}
    with closing(make_simulator("ngspice", nmcf())) as truth:
        hybrid = HybridSimulator(surrogate, truth, confidence=0.999)
        doubtful, exact = hybrid.simulate([good, outside])
    assert (exact.backend, exact.failure) == ("surrogate", Failure.GEOMETRY)
    assert (doubtful.backend, doubtful.status) == ("ngspice", Status.SUCCESS)
    assert doubtful.p_valid is None
    assert doubtful.raw["dc_gain"] == doubtful.metrics["dc_gain"]  # type: ignore[index]
    assert hybrid.answered == {"surrogate": 1, "ngspice": 1}
    assert replace(doubtful, elapsed_s=0.0).label == 1
