"""What begins a new episode in the vector environment, and when: as Gymnasium's own vector environment does it."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from zsgym.base.errors import ConfigError, SimulatorCrashError
from zsgym.circuits import Circuit
from zsgym.envs.vector import SizingVectorEnv
from zsgym.samples import read_samples

NAME = "zsgym/NMCF-v0"


def actions(count: int, num_envs: int = 2) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (count, num_envs, 24)).astype(np.float32)


@pytest.mark.usefixtures("fake_backend")
@pytest.mark.parametrize("given", [AutoresetMode.SAME_STEP, "SameStep", "SAME_STEP"])
def test_same_step_is_that_of_gymnasium(given: Any, easy_targets: dict[str, float]) -> None:
    """Observations, rewards, ends, infos with their masks, and the last ones of the episodes that end."""
    options: dict[str, Any] = {"backend": "ngspice", "targets": easy_targets, "max_episode_steps": 3, "log": False}
    reference: Any = gym.vector.SyncVectorEnv([lambda: gym.make(NAME, **options)] * 2, autoreset_mode="SameStep")
    ours: Any = gym.make_vec(NAME, 2, autoreset_mode=given, **options)
    assert ours.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert data_equivalence(reference.reset(seed=11), ours.reset(seed=11), exact=True)
    ends = [0, 0]
    for action in actions(30):
        expected, got = reference.step(action), ours.step(action)
        assert data_equivalence(expected, got, exact=True)
        ends[0] += int(got[2].sum())
        ends[1] += int(got[3].sum())
    assert min(ends) > 0, "both ways of ending an episode must have been met"


def test_both_modes_log_the_same_episodes(nmcf: Circuit, tmp_path: Path) -> None:
    rows = {}
    for mode in ("NextStep", "SameStep"):
        log = tmp_path / mode
        env = SizingVectorEnv(nmcf, 1, 3, autoreset_mode=mode, backend=FakeSimulator(nmcf), log=log)
        env.reset(seed=4)
        todo = iter(actions(9, 1))
        for call in range(12):
            # In the default mode the call after an end is no step, and its action goes nowhere.
            autoreset = mode == "NextStep" and call % 4 == 3
            env.step(np.full((1, 24), np.nan, np.float32) if autoreset else next(todo, np.zeros((1, 24), np.float32)))
            if mode == "SameStep" and call == 8:
                break
        rows[mode] = [(row.episode, row.step, row.sizing, row.reward, row.truncated) for row in read_samples(log)]
    assert rows["NextStep"] == rows["SameStep"]
    assert [step for _, step, *_ in rows["SameStep"]] == [0, 1, 2, 3] * 3 + [0]


def test_a_failed_second_batch_can_be_repeated(nmcf: Circuit) -> None:
    """The starts of new episodes fail: the next call begins them before it steps."""
    simulator = FakeSimulator(nmcf, raise_at={3})
    env = SizingVectorEnv(nmcf, 2, 1, autoreset_mode="SameStep", backend=simulator, log=False)
    env.reset(seed=4)
    first, second = actions(2)
    with pytest.raises(SimulatorCrashError):
        env.step(first)
    *_, truncated, infos = env.step(second)
    assert truncated.tolist() == [True, True]
    assert infos["_final_obs"].tolist() == [True, True]
    assert [env.core.state(slot).step for slot in range(2)] == [0, 0]
    assert simulator.calls == 6, "reset, step, starts (lost), starts, step, starts"


@pytest.mark.parametrize("given", [AutoresetMode.DISABLED, "Disabled", "sometimes", None])
def test_other_modes_are_refused_with_what_to_do_instead(nmcf: Circuit, given: Any) -> None:
    with pytest.raises(ConfigError, match=r"NEXT_STEP \(the default\) or SAME_STEP, got .*vectorization_mode=\"sync\""):
        SizingVectorEnv(nmcf, 2, autoreset_mode=given, backend=FakeSimulator(nmcf), log=False)


@pytest.mark.usefixtures("fake_backend")
def test_what_the_message_advises_works() -> None:
    env: Any = gym.make_vec(
        NAME,
        2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
        backend="ngspice",
        log=False,
        max_episode_steps=1,
    )
    env.reset(seed=0)
    *_, truncated, _ = env.step(actions(1)[0])
    env.reset(options={"reset_mask": truncated})
    env.step(actions(1)[0])
