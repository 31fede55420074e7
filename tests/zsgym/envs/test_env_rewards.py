"""Rewards as a learner sees them."""

from __future__ import annotations

import numpy as np

from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.classes.specs import FAILURE_REWARD
from zsgym.envs.rewards import SymlogReward, symlog
from zsgym.envs.sb3 import SizingVecEnv


def test_symlog_keeps_the_order_the_gap_and_the_slope() -> None:
    rewards = np.array([FAILURE_REWARD, -11.0, -1.0, -0.1, 0.0])
    seen = symlog(rewards)
    assert (np.diff(seen) > 0).all()
    assert seen[1] - seen[0] > 2.0  # a failure is far below the worst working sizing
    assert seen[-1] == 0.0
    assert symlog(-1e-3) == np.float32(-np.log1p(np.float32(1e-3)))


def test_the_wrapper_changes_what_is_learnt_and_nothing_else() -> None:
    env = SymlogReward(SizingVecEnv(nmcf(), 3, backend=FakeSimulator(nmcf()), log=False))
    env.seed(1)
    env.reset()
    for _ in range(5):
        _, rewards, _, infos = env.step(np.ones((3, *env.action_space.shape), np.float32))
        raw = [sum(info["reward_terms"].values()) for info in infos]
        np.testing.assert_allclose(rewards, symlog(raw), rtol=1e-5, atol=1e-6)
    env.close()
