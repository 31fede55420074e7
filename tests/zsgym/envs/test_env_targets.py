"""Random targets: drawn from what working amplifiers reach, the same on every face, shown to the agent and logged."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import METRICS
from zsgym.classes.specs import meets_all
from zsgym.envs.env import SizingEnv
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.targets import SPLITS, TargetPool
from zsgym.envs.vector import SizingVectorEnv
from zsgym.samples import read_samples

MakeEnv = Callable[..., SizingEnv]


@pytest.fixture(params=["nmcf", "nmcnr"])
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return load_circuit(request.param)


def drawn(pool: TargetPool, split: Any, n: int, seed: int = 0) -> list[dict[str, float]]:
    generator = np.random.default_rng(seed)
    return [pool.draw(split, generator) for _ in range(n)]


def test_every_draw_is_met_by_an_amplifier_of_its_split(circuit: Circuit) -> None:
    pool = TargetPool.load(circuit)
    for split in SPLITS:
        amplifiers = [dict(zip(METRICS.names, row, strict=True)) for row in pool.designs[split].tolist()]
        for targets in drawn(pool, split, 30):
            margins = (METRICS.margins(metrics, targets) for metrics in amplifiers)
            assert any(map(meets_all, margins))


def test_draws_are_loosened_by_at_most_a_fifth_or_six_decibels(circuit: Circuit) -> None:
    pool = TargetPool.load(circuit)
    amplifier = pool.designs["train"][:1]
    single = dataclasses.replace(pool, designs={"train": amplifier, "test": amplifier})
    table = np.array([list(targets.values()) for targets in drawn(single, "train", 500)])
    for name, measured, column in zip(METRICS.names, np.abs(amplifier[0]), table.T, strict=True):
        room = 6.0 if METRICS[name].unit == "dB" else 0.2 * measured
        sign = -1.0 if METRICS[name].better == "high" else 1.0
        used = sign * (column - measured) / room
        assert 0.0 <= used.min() < 0.05, name
        assert 0.95 < used.max() <= 1.0, name
    correlation = np.corrcoef(table.T)[~np.eye(11, dtype=bool)]
    assert np.abs(correlation).max() < 0.25, "every metric is loosened by an amount of its own"


def test_the_splits_share_no_amplifier_and_hold_enough(circuit: Circuit) -> None:
    pool = TargetPool.load(circuit)
    train, test = ({row.tobytes() for row in pool.designs[split]} for split in SPLITS)
    assert not train & test
    assert (len(train), len(test)) == (1000, 250)
    phase_margin = METRICS.names.index("phase_margin")
    assert all(rows[:, phase_margin].min() >= 45.0 for rows in pool.designs.values())


def test_the_file_says_where_it_comes_from(circuit: Circuit) -> None:
    facts = json.loads(TargetPool.path(circuit).read_text())["provenance"]
    assert facts["policy"] == "functional"
    assert {"command", "data", "data_hash", "git_revision"} <= set(facts)


def test_each_episode_has_its_own_targets_and_the_seed_gives_them_again(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(random_targets="train")
    seen = [env.reset(seed=seed)[0][-12:-1] for seed in (1, None, None, 1, None)]
    assert len({row.tobytes() for row in seen}) == 3
    np.testing.assert_array_equal(seen[0], seen[3])
    np.testing.assert_array_equal(seen[1], seen[4])
    plain = make_env()
    start = plain.reset(seed=1)[1]["sizing"]
    assert env.reset(seed=1)[1]["sizing"] == start, "the starting sizing does not depend on what the targets are"
    other = make_env(random_targets="test")
    assert not np.array_equal(other.reset(seed=1)[0][-12:-1], seen[0])


def test_the_targets_of_the_episode_are_shown_judged_and_logged(nmcf: Circuit, tmp_path: Path) -> None:
    simulator = FakeSimulator(nmcf, always_works=True)
    env = SizingEnv(nmcf, backend=simulator, random_targets="train", log=tmp_path)
    env.action_space.seed(0)
    expected = []
    for _ in range(3):
        env.reset()
        targets = env.core.state(0).targets
        observation, reward, _, _, info = env.step(env.action_space.sample())
        assert env.core.state(0).targets == targets
        shown = METRICS.normalise([[targets[name] for name in METRICS.names]])[0]
        np.testing.assert_allclose(observation[-12:-1], shown, rtol=1e-6)
        assert info["margins"] == METRICS.margins(info["metrics"], targets)
        assert reward == sum(min(margin, 0.0) for margin in info["margins"].values())
        expected += [targets, targets]
    assert [row.targets for row in read_samples(tmp_path)] == expected


def test_an_episode_ends_when_its_own_targets_are_met(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(simulator=FakeSimulator(nmcf, always_works=True), action_mode="delta", random_targets="train")
    metrics = env.reset(seed=0)[1]["metrics"]
    env.reset(seed=0, options={"targets": metrics})
    *_, terminated, _, _ = env.step(np.zeros(env.action_space.shape))
    assert terminated


def test_given_targets_are_never_random(make_env: MakeEnv, nmcf: Circuit) -> None:
    env = make_env(random_targets="train", targets={"gbw": 3e6, "tc": None})
    for _ in range(5):
        observation, info = env.reset()
        targets = env.core.state(0).targets
        assert targets["gbw"] == 3e6
        assert "tc" not in targets
        assert len(targets) == 10
        assert observation[-12] == 1.0, "no spec asks for nothing: the bad end of the scale"
        assert info["margins"]["tc"] == 0.0
    env.reset(options={"targets": {"power": 1e-4}})
    assert env.core.state(0).targets["power"] == 1e-4
    assert env.core.state(0).targets["vos"] != nmcf.targets["vos"]


def test_all_faces_draw_the_same_targets(nmcf: Circuit) -> None:
    options: dict[str, Any] = {"backend": FakeSimulator(nmcf), "random_targets": "train", "log": False}
    single = [SizingEnv(nmcf, **options).reset(seed=seed)[0] for seed in (7, 8, 9)]
    np.testing.assert_array_equal(SizingVectorEnv(nmcf, 3, **options).reset(seed=7)[0], single)
    vec = SizingVecEnv(nmcf, 3, **options)
    vec.seed(7)
    np.testing.assert_array_equal(vec.reset(), single)


def test_autoreset_draws_new_targets(nmcf: Circuit) -> None:
    vec = SizingVecEnv(nmcf, 2, 1, backend=FakeSimulator(nmcf), random_targets="train", log=False)
    first = vec.reset()[:, -12:-1]
    observations, _, dones, infos = vec.step(np.zeros((2, 24), np.float32))
    assert dones.all()
    assert (observations[:, -12:-1] != first).any(axis=1).all()
    np.testing.assert_array_equal([info["terminal_observation"][-12:-1] for info in infos], first)


def test_the_registered_id_takes_random_targets_on_the_surrogate() -> None:
    env = gym.make("zsgym/NMCNR-v0", random_targets="test", log=False)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space


# --- files that are not there, or not right ---------------------------------------------------------------------------


@pytest.fixture
def elsewhere(nmcf: Circuit, tmp_path: Path) -> Circuit:
    """The same circuit in a folder of its own, with its pool."""
    moved = dataclasses.replace(nmcf, directory=tmp_path)
    (tmp_path / "targets").mkdir()
    shutil.copy(TargetPool.path(nmcf), TargetPool.path(moved))
    return moved


def test_a_circuit_without_a_pool_says_how_to_make_one(nmcf: Circuit, tmp_path: Path) -> None:
    alone = dataclasses.replace(nmcf, directory=tmp_path)
    SizingEnv(alone, backend=FakeSimulator(alone), log=False).reset()
    with pytest.raises(ConfigError, match=r"nmcf has none.*python -m surrogate.target_pool nmcf --data"):
        SizingEnv(alone, backend=FakeSimulator(alone), random_targets="train", log=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"netlist_hash": "0" * 16}, "another version of nmcf"),
        ({"metrics": ["gbw"]}, "another version of nmcf"),
        ({"train": []}, "train: rows of 11 metrics"),
        ({"test": [[1.0, 2.0]]}, "test: rows of 11 metrics"),
        ({"test": [["much"]]}, r"test\.0\.0: Input should be a valid number"),
        ({"valid": []}, "valid: Extra inputs"),
    ],
)
def test_a_wrong_pool_is_refused(elsewhere: Circuit, change: dict[str, Any], message: str) -> None:
    path = TargetPool.path(elsewhere)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message) as error:
        TargetPool.load(elsewhere)
    assert str(path) in str(error.value)
    path.write_text("{")
    with pytest.raises(ConfigError, match="Invalid JSON"):
        TargetPool.load(elsewhere)
