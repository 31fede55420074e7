"""What environments, sample logs and commands make of the surrogate and of the hybrid."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import ask

from surrogate import simulator as surrogate_module
from surrogate.data import read_rows
from surrogate.simulator import SurrogateSimulator
from tests.surrogate.synthetic import nmcf, sizings
from tests.zsgym.conftest import Run
from zsgym.base.errors import ConfigError
from zsgym.classes import Failure
from zsgym.classes.amplifier import METRICS
from zsgym.samples import Sample, read_samples, read_table, relabel_queue, training_rows
from zsgym.samples.dataset import info

MANY = sizings(nmcf(), 60)

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
    roll(make_env("hybrid", targets=dict.fromkeys(METRICS.names) | {"gbw": 1e12}, confidence=0.6), 30)
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
    outcomes = ask(surrogate, MANY)
    index = [outcome.failure for outcome in outcomes].index(Failure.PREDICTED)
    row = Sample.from_outcome(nmcf(), nmcf().cases(MANY)[index], outcomes[index], provenance=surrogate.provenance)
    assert (row.failure, row.label, row.predicted) == (Failure.PREDICTED, 0, True)
    again = Sample.parse(json.loads(json.dumps(row.as_dict())))
    assert again == row
    assert set(row.metrics.values()) == {None}


def test_zsgym_simulate_with_the_surrogate(
    run: Run, surrogate: SurrogateSimulator, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surrogate_module, "shipped", lambda: checkpoint)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(MANY)))
    code, out, err = run("simulate", "nmcf", "--backend", "surrogate", "--sizing", "-", "--json")
    assert (code, err) == (0, "")
    outcomes = json.loads(out)["outcomes"]
    for found, expected in zip(outcomes, ask(surrogate, MANY), strict=True):
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
    roll(make_env("hybrid", targets=dict.fromkeys(METRICS.names) | {"gbw": 1e12}, confidence=0.6), 30)
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
