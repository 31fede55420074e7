"""The parts of PPO: the reward that it sees, its settings, the archive, the choice of designs, the scalars."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_NAMES
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.specs import FAILURE_REWARD

from agents.ppo_callbacks import due, record_verification, verification_scalars
from agents.ppo_designs import CAPACITY, Archive, Verifier
from agents.ppo_figures import margin_figure
from agents.ppo_settings import default_file, make_env, read_settings
from agents.rewards import SymlogReward, symlog
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import Problem


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def units(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 1.0, (count, len(nmcf().parameters)))


def test_symlog_keeps_the_order_the_gap_and_the_slope() -> None:
    rewards = np.array([FAILURE_REWARD, -11.0, -1.0, -0.1, 0.0])
    seen = symlog(rewards)
    assert (np.diff(seen) > 0).all()
    assert seen[1] - seen[0] > 2.0  # a failure is far below the worst working sizing
    assert seen[-1] == 0.0
    assert symlog(-1e-3) == pytest.approx(-1e-3, rel=1e-2)


def test_the_wrapper_changes_what_is_learnt_and_nothing_else() -> None:
    simulator = FakeSimulator(nmcf())
    settings = read_settings(default_file("fixed"), "zsgym/NMCF-v0", ["n_envs=3", "normalize=false"])
    env = make_env(settings, nmcf(), backend=simulator, log=False)
    assert isinstance(env, SymlogReward)
    env.seed(1)
    env.reset()
    for _ in range(5):
        _, rewards, _, infos = env.step(np.ones((3, *env.action_space.shape), np.float32))
        raw = [sum(info["reward_terms"].values()) for info in infos]
        np.testing.assert_allclose(rewards, symlog(raw), rtol=1e-5, atol=1e-6)
    env.close()


@pytest.mark.parametrize("goals", ["fixed", "random"])
@pytest.mark.parametrize("env", ["zsgym/NMCF-v0", "zsgym/NMCNR-v0"])
def test_the_shipped_settings_are_complete(env: str, goals: str) -> None:
    settings = read_settings(default_file(goals), env)
    assert settings.rollout == settings.n_envs * settings.n_steps
    assert settings.rollout % settings.batch_size == 0
    assert settings.env_kwargs["backend"] == "surrogate"
    assert "n_envs" not in settings.algorithm()
    assert settings.env_kwargs.get("random_targets") == ("train" if goals == "random" else None)
    schedule = settings.algorithm()["learning_rate"]
    assert f"lin_{schedule(1.0):.1e}".replace("e-0", "e-") == settings.learning_rate
    assert schedule(0.0) == 0.0


def test_settings_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("zsgym/NMCF-v0: {n_timesteps: 10, gama: 0.9}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: zsgym/NMCF-v0.gama: unknown key.*'gamma'"):
        read_settings(path, "zsgym/NMCF-v0")
    path.write_text("zsgym/NMCF-v0: {n_timesteps: 10, vec_env_wrapper: agents.rewards.Symlog}\n")
    with pytest.raises(ConfigError, match="there is no class"):
        make_env(read_settings(path, "zsgym/NMCF-v0"), nmcf(), backend=FakeSimulator(nmcf()), log=False)


def test_the_archive_keeps_the_best() -> None:
    archive = Archive.empty(2)
    rng = np.random.default_rng(0)
    offered = rng.uniform(-1, 1, (3 * CAPACITY, 2))
    margins = rng.uniform(-0.5, 0.2, (3 * CAPACITY, 3))
    for part in np.array_split(np.arange(3 * CAPACITY), 7):
        archive.add(offered[part], margins[part])
    reward = np.minimum(margins, 0.0).sum(axis=1)
    merit = np.where(reward < 0.0, reward, margins.min(axis=1))
    np.testing.assert_array_equal(archive.merit, np.sort(merit)[::-1][:CAPACITY])
    np.testing.assert_array_equal(archive.units[0], offered[merit.argmax()])
    assert archive.feasible == min((merit >= 0).sum(), CAPACITY)
    archive.add(archive.units[:5], margins[:5] * 0.0)  # the same designs again
    assert len(np.unique(archive.units, axis=0)) == len(archive.units)


def filled(count: int = 50) -> Archive:
    archive = Archive.empty(len(nmcf().parameters))
    archive.add(units(count), -np.random.default_rng(1).uniform(0.1, 1, (count, 11)))
    return archive


def test_the_verifier_follows_the_belief_and_learns() -> None:
    circuit = nmcf()
    surrogate = SurrogateSimulator(circuit)
    belief = Belief(surrogate.checkpoint, circuit, circuit.targets)
    archive = filled()
    with torch.inference_mode():
        first = belief.log_feasibility(torch.from_numpy(belief.scale.positions(archive.units))).numpy()
    with Problem(circuit, backend=FakeSimulator(circuit), budget=4) as truth:
        verifier = Verifier(surrogate, truth, belief)
        new = verifier.verify(archive, 3, step=7, every=True)
        np.testing.assert_array_equal(new[0].measured.unit, archive.units[first.argmax()])
        assert [row.step for row in new] == [7, 7, 7]
        assert len({row.measured.unit.tobytes() for row in new}) == 3
        assert new[0].belief == pytest.approx(np.exp(first.max()))
        # A continued run chooses as this one would have done.
        again = Belief(surrogate.checkpoint, circuit, circuit.targets)
        resumed = Verifier(surrogate, truth, again, verifier.verified)
        (mine,), (theirs,) = (v._ranked(archive.units)[0][:1] for v in (verifier, resumed))
        np.testing.assert_array_equal(mine, theirs)
        assert len(verifier.verify(archive, 3, step=8, every=True, least=2.0)) == 1  # nothing is that certain
        with Problem(circuit, backend=FakeSimulator(circuit), budget=2) as other:
            assert len(Verifier(surrogate, other, None).verify(archive, 3, step=8, every=True)) == 2  # the budget
        assert verifier.best is truth.best or verifier.best is not None
        assert truth.remaining == 0


class Optimist(FakeSimulator):
    """Half the power and the same otherwise."""

    def simulate(self, *arguments, **options):  # type: ignore[no-untyped-def]
        outcomes = super().simulate(*arguments, **options)
        return [replace(o, metrics={**o.metrics, "power": o.metrics["power"] / 2}) for o in outcomes if o.metrics]


@pytest.fixture
def verifier() -> Verifier:
    """Two designs are verified, and every spec but power is seen as it is."""
    circuit = nmcf()
    with Problem(circuit, backend=FakeSimulator(circuit, always_works=True)) as truth:
        verifier = Verifier(Optimist(circuit, always_works=True), truth, None)
        verifier.verify(filled(), 2, step=1, every=True)
    return verifier


def test_scalars_compare_the_two_simulators(verifier: Verifier) -> None:
    new = verifier.verified
    scalars = verification_scalars(verifier, new)
    assert scalars["spice/calls"] == 2
    assert scalars["spice/best_reward"] == max(row.measured.reward for row in new)
    assert scalars["gap/power"] < 0.0
    assert scalars["gap/gbw"] == 0.0
    assert scalars["gap/reward"] <= 0.0


def test_the_figure_shows_both_simulators(verifier: Verifier) -> None:
    row = verifier.verified[0]
    (axes,) = margin_figure(row, verifier.truth.targets).axes
    _, bars = axes.containers
    (diamonds,) = (line for line in axes.lines if line.get_marker() == "D")
    assert dict(zip(METRIC_NAMES, (bar.get_width() for bar in bars), strict=True)) == row.measured.margins
    assert {METRIC_NAMES[int(y)]: x for x, y in diamonds.get_xydata()} == row.predicted.margins
    assert row.predicted.margins["power"] > row.measured.margins["power"]


def test_without_matplotlib_there_are_scalars_and_no_figure(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = Logger(folder=None, output_formats=[])
    record_verification(logger, verifier, verifier.verified)
    assert "spice/best_design" in logger.name_to_value
    monkeypatch.delitem(sys.modules, "agents.ppo_figures")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    logger = Logger(folder=None, output_formats=[])
    record_verification(logger, verifier, verifier.verified)
    assert set(logger.name_to_value) == set(verification_scalars(verifier, verifier.verified))


def test_due_is_true_once_per_interval() -> None:
    rollouts = range(96, 2000, 96)
    assert [steps for steps in rollouts if due(steps, 96, 500)] == [576, 1056, 1536]
