"""What holds for every registered environment, whatever its circuit."""

import copy
import json
import os
import pickle
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import zsgym
from tests.chosen import ALWAYS, each_environment
from zsgym.circuits import list_circuits, load_circuit
from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER, METRICS
from zsgym.envs.registration import MAX_EPISODE_STEPS, env_id, register_environments
from zsgym.envs.sb3 import SizingVecEnv

pytestmark = pytest.mark.usefixtures("fake_backend")

IDS = sorted(name for name in gym.registry if name.startswith("zsgym/"))
MODES = ("absolute", "delta")
BACKENDS = ("ngspice", "surrogate", "hybrid")
"""ngspice is a fake here, alone and below the hybrid; the real one has tests of its own."""
each_environment_and_backend = pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(*name.values, backend, marks=name.marks, id=f"{name.values[0]}-{backend}")
        for name in (pytest.param(given) if isinstance(given, str) else given for given in each_environment())
        for backend in (BACKENDS if not name.marks else BACKENDS[:1])  # the surrogate has learnt the others only
    ],
)
ALLOWED_WARNINGS: tuple[str, ...] = ()
"""Regular expressions of the warnings that a checker may give. None is needed."""


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in ALLOWED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


def rollout(env: gym.Env[Any, Any], seed: int, steps: int = 60) -> list[Any]:
    """Everything that an agent sees, over several episodes."""
    env.action_space.seed(seed)
    seen: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        seen.append(env.step(env.action_space.sample()))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


def test_the_surrogate_answers_unless_another_backend_is_asked_for() -> None:
    for name in map(env_id, ALWAYS):
        assert gym.make(name).unwrapped.core.simulator.name == "surrogate"  # type: ignore[attr-defined]
        assert gym.make_vec(name, 2).unwrapped.core.simulator.name == "surrogate"  # type: ignore[attr-defined]
        assert SizingVecEnv(name, 2).core.simulator.name == "surrogate"


def test_every_shipped_circuit_is_registered() -> None:
    assert {"zsgym/NMCF-v0", "zsgym/NMCNR-v0"} <= set(IDS)
    assert sorted(env_id(circuit) for circuit in list_circuits()) == IDS


def test_registering_again_changes_nothing_and_warns_about_nothing() -> None:
    before = dict(gym.registry)
    with warnings_are_errors():
        register_environments()
    assert dict(gym.registry) == before


@each_environment_and_backend
@pytest.mark.parametrize("mode", MODES)
def test_gymnasium_checker(name: str, mode: str, backend: str) -> None:
    with warnings_are_errors():
        env = gym.make(name, backend=backend, action_mode=mode)
        gymnasium_check_env(env.unwrapped)
        env.close()


@each_environment_and_backend
@pytest.mark.parametrize("mode", MODES)
def test_stable_baselines3_checker(name: str, mode: str, backend: str) -> None:
    with warnings_are_errors():
        env = gym.make(name, backend=backend, action_mode=mode, render_mode="rgb_array")
        sb3_check_env(env, warn=True, skip_render_check=False)
        env.close()


@each_environment_and_backend
@pytest.mark.parametrize("mode", MODES)
def test_seeded_rollouts_reproduce_exactly(name: str, mode: str, backend: str) -> None:
    first, second = (rollout(gym.make(name, backend=backend, action_mode=mode), seed=7) for _ in range(2))
    assert data_equivalence(first, second, exact=True)
    other = rollout(gym.make(name, backend=backend, action_mode=mode), seed=8)
    assert not np.array_equal(first[0][0], other[0][0])


@each_environment_and_backend
def test_observations_fill_the_space_and_stay_inside(name: str, backend: str) -> None:
    env = gym.make(name, backend=backend)
    n_parameters = len(env.unwrapped.circuit.parameters)  # type: ignore[attr-defined]
    assert env.action_space.shape == (n_parameters,)
    assert env.observation_space.shape == (n_parameters + 34,)
    failures = set()
    start = next(iter(env.unwrapped.circuit.known_good))  # type: ignore[attr-defined]
    # Random sizings hardly ever work on some circuits, and then only the known-good start does.
    for result in [*rollout(env, seed=3, steps=120), env.reset(options={"sizing": start})]:
        observation, info = result[0], result[-1]
        assert observation.dtype == np.float32
        assert observation in env.observation_space
        assert observation[-1] == float(info["sim_success"])
        failures.add(info["failure"])
    outside = {"geometry"} if name in map(env_id, ALWAYS) else set()  # bounds of the others keep to the models
    assert {"", *outside} <= failures, "the rollout must have met a sizing that works, and what the bounds allow"
    assert len(failures) > 1, "and one that does not work"


@each_environment_and_backend
def test_info_has_the_same_keys_and_types_whatever_happens(name: str, backend: str) -> None:
    shapes = {describe(result[-1]) for result in rollout(gym.make(name, backend=backend), seed=3, steps=120)}
    assert len(shapes) == 1
    (keys,) = shapes
    assert {
        ("is_success", "bool"),
        ("sim_success", "bool"),
        ("failure", "str"),
        ("reward_terms.failure", "float"),
        *((f"metrics.{metric}", "float") for metric in METRICS.names),
        *((f"margins.{metric}", "float") for metric in METRICS.names),
    } <= keys


@each_environment_and_backend
def test_info_is_finite_and_adds_up(name: str, backend: str) -> None:
    for result in rollout(gym.make(name, backend=backend), seed=3, steps=120):
        info = result[-1]
        numbers = [value for group in info.values() if isinstance(group, dict) for value in group.values()]
        assert np.isfinite(numbers).all()
        assert info["failure"] in {"", *AMPLIFIER.reasons, Failure.PREDICTED}
        assert info["sim_success"] == (info["failure"] == "")
        if len(result) == 5:
            assert result[1] == sum(info["reward_terms"].values())


def describe(info: dict[str, Any], prefix: str = "") -> frozenset[tuple[str, str]]:
    """Dotted key and type of every entry."""
    found: set[tuple[str, str]] = set()
    for key, value in info.items():
        if isinstance(value, dict):
            found |= describe(value, f"{prefix}{key}.")
        else:
            found.add((prefix + key, type(value).__name__))
    return frozenset(found)


@each_environment_and_backend
def test_specs_can_be_stored_and_give_the_same_environment(name: str, backend: str) -> None:
    pool = "test" if name in map(env_id, ALWAYS) else None
    targets = {"dc_gain": 100.0, "tc": None}
    env = gym.make(name, backend=backend, action_mode="delta", targets=targets, random_targets=pool)
    assert env.spec is not None
    assert env.spec.max_episode_steps == MAX_EPISODE_STEPS
    restored = [
        gym.envs.registration.EnvSpec.from_json(env.spec.to_json()),
        pickle.loads(pickle.dumps(env.spec)),
        copy.deepcopy(env.spec),
    ]
    json.dumps(env.spec.kwargs)
    expected = rollout(env, seed=1, steps=5)
    for spec in restored:
        assert spec.kwargs == env.spec.kwargs
        assert data_equivalence(rollout(gym.make(spec), seed=1, steps=5), expected, exact=True)


@each_environment_and_backend
def test_episodes_are_truncated_after_the_registered_number_of_steps(name: str, backend: str) -> None:
    env = gym.make(name, backend=backend)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(MAX_EPISODE_STEPS)]
    assert ends == [(False, False)] * (MAX_EPISODE_STEPS - 1) + [(False, True)]


def test_closing_twice_is_allowed_and_closes_the_backend_once(fake_backend: list[FakeSimulator]) -> None:
    env = gym.make("zsgym/NMCF-v0", backend="ngspice")
    env.reset(seed=0)
    env.close()
    env.close()
    assert [simulator.closed for simulator in fake_backend] == [1]


def test_ids_exist_after_an_import_and_with_the_module_in_the_id() -> None:
    # The mistake in the mode ends the attempt before a backend is needed, but after the id was found.
    code = """
import gymnasium
try:
    gymnasium.make("zsgym:zsgym/NMCF-v0", action_mode="wrong")
except ValueError as error:
    print(type(error).__name__)
import zsgym
print(gymnasium.spec("zsgym/NMCF-v0").id)
"""
    assert run_python(code).stdout.split() == ["ConfigError", "zsgym/NMCF-v0"]


def test_importing_the_package_is_light() -> None:
    heavy = ("torch", "matplotlib", "stable_baselines3", "pyarrow", "scipy")
    code = f"import sys, zsgym; print([name for name in {heavy!r} if name in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"


def test_a_circuit_directory_adds_environments(tmp_path: Path) -> None:
    shipped = load_circuit("nmcf")
    yaml_text = (shipped.directory / "nmcf.yaml").read_text()
    (tmp_path / "mine.spice").write_text(shipped.netlist_text.replace("nmcf", "mine"))
    netlist_line = next(line for line in yaml_text.splitlines() if line.startswith("netlist:"))
    (tmp_path / "mine.yaml").write_text(yaml_text.replace(netlist_line, "netlist: mine.spice"))
    code = "import gymnasium, zsgym; print(gymnasium.spec('zsgym/MINE-v0').kwargs)"
    assert run_python(code, ZSGYM_CIRCUITS=str(tmp_path)).stdout.strip() == "{'circuit': 'mine'}"


def test_a_missing_circuit_directory_is_a_warning_at_import(tmp_path: Path) -> None:
    assert "nowhere does not exist" in run_python("import zsgym", ZSGYM_CIRCUITS=str(tmp_path / "nowhere")).stderr


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter, which has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, **environment},
    )


def test_version_is_the_one_of_the_package_metadata() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project.get("version", zsgym.__version__) == zsgym.__version__
