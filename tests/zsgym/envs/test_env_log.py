"""What environments write to the sample log."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator

from zsgym.base.errors import SampleLogError, SimulatorCrashError
from zsgym.base.paths import log_dir
from zsgym.circuits import Circuit
from zsgym.envs.env import SizingEnv
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.vector import SizingVectorEnv
from zsgym.samples import Sample, read_errors, read_samples, training_rows

pytestmark = pytest.mark.usefixtures("fake_backend")


def random_actions(steps: int, num_envs: int = 1) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (steps, num_envs, 24)).astype(np.float32)


def test_every_simulated_sizing_is_one_row(fake_backend: list[FakeSimulator]) -> None:
    """On by default, in the default place, starts included."""
    env = gym.make("zsgym/NMCF-v0", backend="ngspice", max_episode_steps=4, conditions={"supply": 1.62})
    expected: list[Any] = []
    for episode, seed in enumerate((7, None)):
        _, info = env.reset(seed=seed)
        expected.append((episode, 0, None, None, info))
        for step, (action,) in enumerate(random_actions(4), start=1):
            _, reward, *_, info = env.step(action)
            expected.append((episode, step, action.tolist(), reward, info))
    env.close()
    rows = list(read_samples(log_dir()))
    assert [(row.episode, row.step, row.action, row.reward) for row in rows] == [fields[:4] for fields in expected]
    for row, (*_, info) in zip(rows, expected, strict=True):
        assert row.sizing == info["sizing"]
        assert row.label == int(info["sim_success"])
        assert (row.failure or "") == info["failure"]
        if row.label == 1:
            assert row.metrics == info["metrics"]
        assert (row.circuit, row.env_id, row.backend, row.seed) == ("nmcf", "zsgym/NMCF-v0", "fake", 7)
        assert row.conditions["supply"] == 1.62
        assert row.provenance == {"fake": "1"}
        assert row.policy == "functional"
        assert row.raw
    assert [row.sizing for row in rows] == fake_backend[0].simulated
    assert {row.label for row in rows} == {0, 1}


def test_the_registered_step_limit_is_logged_as_truncation() -> None:
    env = gym.make("zsgym/NMCF-v0", backend="ngspice")
    env.reset(seed=0)
    for (action,) in random_actions(50):
        env.step(action)
    rows = list(read_samples(log_dir()))
    assert [row.truncated for row in rows] == [False] * 50 + [True]
    assert not any(row.terminated for row in rows)


def test_termination_is_logged(easy_targets: dict[str, float]) -> None:
    env = gym.make("zsgym/NMCF-v0", backend="ngspice", targets=easy_targets)
    env.reset(seed=0)
    for (action,) in random_actions(50):
        if env.step(action)[2]:
            break
    rows = list(read_samples(log_dir()))
    assert [row.terminated for row in rows] == [False] * (len(rows) - 1) + [True]
    assert (rows[-1].reward, rows[-1].label) == (0.0, 1)


def test_autoreset_calls_of_the_vector_face_are_no_transitions(nmcf: Circuit, tmp_path: Path) -> None:
    simulator = FakeSimulator(nmcf)
    env = SizingVectorEnv(nmcf, 2, 3, backend=simulator, log=tmp_path)
    env.reset(seed=4)
    actions = random_actions(9, 2)
    for action in actions:
        env.step(action)
    rows = list(read_samples(tmp_path))
    # 9 calls: 3 steps, an autoreset, 3 steps, an autoreset, 1 step; the actions of calls 3 and 7 went nowhere.
    assert [row.step for row in rows[::2]] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert [row.episode for row in rows] == [0, 1] * 4 + [2, 3] * 4 + [4, 5] * 2
    logged = [row.action for row in rows if row.action is not None]
    assert logged == [actions[call][slot].tolist() for call in (0, 1, 2, 4, 5, 6, 8) for slot in (0, 1)]
    assert [row.truncated for row in rows] == [row.step == 3 for row in rows]
    assert [row.reward is None for row in rows] == [row.step == 0 for row in rows]
    assert {row.seed for row in rows[::2]} == {4}
    assert {row.seed for row in rows[1::2]} == {5}
    assert [row.sizing for row in rows] == simulator.simulated


def test_the_sb3_face_logs_the_same_transitions(nmcf: Circuit, tmp_path: Path) -> None:
    single = SizingEnv(nmcf, backend=FakeSimulator(nmcf), log=tmp_path / "single")
    vec: Any = SizingVecEnv(nmcf, 1, 3, backend=FakeSimulator(nmcf), log=tmp_path / "sb3")
    single.reset(seed=4)
    vec.seed(4)
    vec.reset()
    for number, action in enumerate(random_actions(7), start=1):
        single.step(action[0])
        vec.step(action)
        if number % 3 == 0:
            single.reset()
    transitions = [
        [
            (row.episode, row.step, row.sample_id, row.action, row.reward, row.seed, row.label)
            for row in read_samples(tmp_path / name)
        ]
        for name in ("single", "sb3")
    ]
    assert transitions[0] == transitions[1]
    assert len(transitions[0]) == 3 + 7


def test_infrastructure_errors_are_recorded_outside_the_samples(nmcf: Circuit, tmp_path: Path) -> None:
    simulator = FakeSimulator(nmcf, raise_at={2})
    env = SizingEnv(nmcf, backend=simulator, log=tmp_path)
    env.reset(seed=3)
    with pytest.raises(SimulatorCrashError):
        env.step(env.action_space.sample())
    env.step(env.action_space.sample())
    assert [row.step for row in read_samples(tmp_path)] == [0, 1]
    (error,) = read_errors(tmp_path)
    assert (error.error, error.seed, error.circuit) == ("SimulatorCrashError", 3, "nmcf")


def test_what_a_surrogate_answers_is_no_training_row(nmcf: Circuit, tmp_path: Path) -> None:
    simulator = FakeSimulator(nmcf)
    simulator.name = "surrogate"
    env = SizingEnv(nmcf, backend=simulator, log=tmp_path)
    env.reset(seed=3)
    env.step(env.action_space.sample())
    assert len(list(read_samples(tmp_path))) == 2
    assert list(training_rows(tmp_path)) == []


def test_the_verdict_policy_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nmcf: Circuit) -> None:
    from zsgym import simulators

    monkeypatch.setattr(simulators, "make_simulator", lambda *_, **__: FakeSimulator(nmcf))
    env = SizingEnv(nmcf, backend="ngspice", backend_options={"policy": "measured"}, log=str(tmp_path))
    env.reset(seed=0)
    assert [row.policy for row in read_samples(tmp_path)] == ["measured"]


def test_no_log_writes_nothing(nmcf: Circuit) -> None:
    SizingEnv(nmcf, backend=FakeSimulator(nmcf), log=False).reset(seed=0)
    assert not log_dir().exists()


def test_a_step_that_cannot_be_logged_has_not_happened(
    nmcf: Circuit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = SizingEnv(nmcf, backend=FakeSimulator(nmcf), log=tmp_path, action_mode="delta")
    env.reset(seed=0)
    before = env.core.state(0)
    with monkeypatch.context() as patch:
        patch.setattr(Sample, "from_outcome", lambda *_, **__: (_ for _ in ()).throw(SampleLogError("disk full")))
        with pytest.raises(SampleLogError, match="disk full"):
            env.step(env.action_space.sample())
    assert env.core.state(0) is before
    env.step(env.action_space.sample())
    assert [row.step for row in read_samples(tmp_path)] == [0, 1]
