"""The registered environments on the real backend."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import zsgym  # noqa: F401 (registers the ids)
from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER
from zsgym.samples import read_samples

pytestmark = pytest.mark.ngspice


@pytest.mark.parametrize("name", ["zsgym/NMCF-v0", "zsgym/NMCNR-v0"])
@pytest.mark.parametrize("mode", ["absolute", "delta"])
def test_real_simulations_step_and_are_logged(name: str, mode: str, tmp_path: Path) -> None:
    env = gym.make(name, backend="ngspice", action_mode=mode, log=str(tmp_path))
    env.action_space.seed(0)
    infos = [env.reset(seed=0)[1]]
    for _ in range(4):
        observation, reward, _, truncated, info = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert reward == -100.0 or -11.0 <= float(reward) <= 0.0
        assert not truncated
        assert info["failure"] in {"", *AMPLIFIER.reasons, Failure.PREDICTED}
        infos.append(info)
    env.close()
    rows = list(read_samples(tmp_path))
    assert [row.label for row in rows] == [int(info["sim_success"]) for info in infos]
    assert {row.backend for row in rows} == {"ngspice"}
    assert "ngspice" in rows[0].provenance


@pytest.mark.parametrize("name", ["zsgym/NMCF-v0", "zsgym/NMCNR-v0"])
def test_a_known_good_start_works(name: str) -> None:
    env = gym.make(name, backend="ngspice", log=False)
    known = env.unwrapped.circuit.known_good  # type: ignore[attr-defined]
    assert known, "every shipped circuit carries a known-good sizing"
    for design in known:
        _, info = env.reset(seed=0, options={"sizing": design})
        assert info["sim_success"], info["failure"]
    env.close()


def test_two_workers_answer_like_one() -> None:
    results, failures = [], set()
    for workers in (1, 2):
        env = gym.make_vec("zsgym/NMCF-v0", num_envs=3, backend="ngspice", workers=workers, log=False)
        seen = [env.reset(seed=0)[0]]
        generator = np.random.default_rng(1)
        for _ in range(2):
            # The upper part of the bounds lies inside the model bins: these sizings are really simulated.
            observation, *_, info = env.step(generator.uniform(-0.4, 0.8, (3, 24)).astype(np.float32))
            seen.append(observation)
            failures |= set(info["failure"])
        results.append(np.stack(seen))
        env.close()
    np.testing.assert_array_equal(results[0], results[1])
    assert "geometry" not in failures
