"""Logged episodes come back as their agent saw them, and Minari reads them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fakes import FakeSimulator

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.circuits import Circuit
from zsgym.cli import main
from zsgym.envs.env import SizingEnv
from zsgym.envs.offline import LoggedEpisode, LoggedStep, export_minari, logged_episodes
from zsgym.envs.vector import SizingVectorEnv
from zsgym.samples import Sample, SampleLog, read_samples


@dataclass
class Seen:
    """What an agent saw of one episode."""

    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    infos: list[dict[str, Any]] = field(default_factory=list)


def play(env: gym.Env[Any, Any], episodes: int = 3, steps: int = 6, seed: int = 3, **options: Any) -> list[Seen]:
    """A few random episodes, of at most `steps` steps."""
    env.action_space.seed(seed)
    played = []
    for number in range(episodes):
        observation, info = env.reset(seed=seed if number == 0 else None, options=options or None)
        seen = Seen([observation], infos=[info])
        for _ in range(steps):
            action = env.action_space.sample()
            observation, reward, terminated, truncated, info = env.step(action)
            seen.observations.append(observation)
            seen.actions.append(action)
            seen.rewards.append(float(reward))
            seen.infos.append(info)
            seen.terminated = terminated
            if terminated or truncated:
                break
        played.append(seen)
    return played


def observations(episode: LoggedEpisode) -> np.ndarray:
    return np.stack([step.assessment.observation for step in episode.steps])


def counts(circuit: Circuit) -> np.ndarray:
    """Which entries of an observation are normalised coordinates of integer parameters."""
    return np.array([parameter.quantity == "M" for parameter in circuit.parameters])


def half_a_count(circuit: Circuit) -> float:
    """The largest change of a normalised coordinate by rounding to a count, of a uniform draw within the bounds."""
    vector = circuit.from_point(np.zeros(len(circuit.parameters)))
    widest = 0.0
    for column in np.flatnonzero(counts(circuit)):
        parameter = circuit.parameters[column]
        low, high = np.tile(vector, (2, 1))
        low[column], high[column] = parameter.low, parameter.low + 0.5
        widest = max(widest, float((circuit.to_point(high) - circuit.to_point(low))[column]))
    return widest + 1e-6


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.mark.parametrize("arguments", [{}, {"action_mode": "delta"}, {"targets": {"gbw": 3e6, "tc": None}}])
def test_episodes_are_what_the_agent_saw(
    make_env: Callable[..., SizingEnv], nmcf: Circuit, log: Path, arguments: dict[str, Any]
) -> None:
    env = make_env(log=log, **arguments)
    played = play(env)
    env.close()
    found, report = logged_episodes(log, nmcf)
    assert (report.episodes, report.transitions, report.left_out) == (3, 18, {})
    n = len(nmcf.parameters)
    sized = np.zeros(len(played[0].observations[0]), dtype=bool)
    sized[:n] = counts(nmcf)
    working: list[LoggedStep] = []
    for seen, episode in zip(played, found, strict=True):
        wanted, rebuilt = np.stack(seen.observations), observations(episode)
        np.testing.assert_allclose(rebuilt[:, ~sized], wanted[:, ~sized], atol=2e-6)
        np.testing.assert_allclose(rebuilt[:, sized], wanted[:, sized], atol=half_a_count(nmcf))
        if "action_mode" not in arguments:
            assert np.array_equal(rebuilt[1:], wanted[1:])
        assert [step.reward for step in episode.steps[1:]] == seen.rewards
        assert np.array_equal(np.float32([step.action for step in episode.steps[1:]]), seen.actions)
        working += [step for step in episode.steps[1:] if not step.failure]
    assert working
    assert all(step.assessment.reward == step.reward for step in working)
    assert [episode.seed for episode in found] == [3, None, None]


def test_episodes_of_a_vector_environment_are_told_apart(nmcf: Circuit, log: Path) -> None:
    env = SizingVectorEnv(nmcf, num_envs=3, backend=FakeSimulator(nmcf), log=log, max_episode_steps=4)
    env.action_space.seed(0)
    first, _ = env.reset(seed=[5, 6, 7])
    for _ in range(10):
        env.step(env.action_space.sample())
    env.close()
    found, report = logged_episodes(log, nmcf)
    # Four steps, a reset, four steps, a reset: the third episodes have no transition yet.
    assert (report.episodes, report.transitions, report.left_out) == (6, 24, {"no transition": 3})
    assert [episode.seed for episode in found] == [5, 6, 7, None, None, None]
    columns = slice(len(nmcf.parameters), None)
    for observation, episode in zip(first, found, strict=False):
        assert np.array_equal(observations(episode)[0, columns], observation[columns])


def test_a_row_that_is_missing_spoils_its_own_episode_only(
    make_env: Callable[..., SizingEnv], nmcf: Circuit, log: Path, tmp_path: Path
) -> None:
    env = make_env(log=log)
    play(env)
    env.close()
    rows = list(read_samples(log))
    damaged = write(tmp_path / "damaged", (row for row in rows if (row.episode, row.step) != (1, 2)))
    found, report = logged_episodes(damaged, nmcf)
    assert report.left_out == {"a row is missing": 1}
    assert [len(episode.steps) for episode in found] == [7, 7]


def test_predicted_and_old_rows_are_left_out(
    make_env: Callable[..., SizingEnv], nmcf: Circuit, log: Path, tmp_path: Path
) -> None:
    env = make_env(log=log)
    play(env)
    env.close()
    changes = {0: {"backend": "surrogate"}, 1: {"targets": None}}
    rows = (row.model_copy(update=changes.get(row.episode or 0, {})) for row in read_samples(log))
    changed = write(tmp_path / "changed", rows)
    found, report = logged_episodes(changed, nmcf)
    assert len(found) == 1
    assert report.left_out == {"answered by a surrogate": 1, "logged without targets": 1}
    found, report = logged_episodes(changed, nmcf, include_predicted=True)
    assert len(found) == 2
    assert report.left_out == {"logged without targets": 1}


def write(folder: Path, rows: Iterator[Sample]) -> Path:
    with SampleLog(folder) as log:
        log.append_many(rows)
    return folder


# --- Minari ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered_log(fake_backend: list[FakeSimulator], log: Path, easy_targets: dict[str, float]) -> list[Seen]:
    """Episodes of a registered environment in `log`; most of them end because every target is met."""
    env = gym.make("zsgym/NMCF-v0", backend="ngspice", log=log, targets=easy_targets)
    played = play(env, episodes=5, steps=8)
    env.close()
    return played


def test_minari_loads_what_the_command_line_exports(
    registered_log: list[Seen],
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    root = tmp_path / "sets"
    name = "zsgym/nmcf/random-v0"
    assert main(["dataset", "export", str(log), "--format", "minari", "--out", str(root), "--id", name]) == 0
    transitions = sum(len(seen.actions) for seen in registered_log)
    assert capsys.readouterr().out == f"{root / name}: 5 episodes, {transitions} transitions\n"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    dataset = minari.load_dataset(name)
    assert (dataset.total_episodes, dataset.total_steps) == (5, transitions)
    assert "nmcf" in dataset.storage.metadata["description"]
    sizes = slice(24, None)
    for seen, episode in zip(registered_log, dataset.iterate_episodes(), strict=True):
        assert episode.observations.shape == (len(seen.actions) + 1, *dataset.observation_space.shape)
        assert np.array_equal(episode.observations[1:], seen.observations[1:])
        assert np.array_equal(episode.observations[0, sizes], seen.observations[0][sizes])
        assert dataset.observation_space.contains(episode.observations[0])
        assert np.array_equal(episode.actions, seen.actions)
        assert episode.rewards.tolist() == seen.rewards
        assert episode.terminations.tolist() == [False] * (len(seen.actions) - 1) + [seen.terminated]
        assert episode.truncations.tolist() == [False] * (len(seen.actions) - 1) + [not seen.terminated]
        for key in ("metrics", "margins", "sizing"):
            for column in episode.infos[key]:
                assert episode.infos[key][column].tolist() == [info[key][column] for info in seen.infos]
        for key in ("is_success", "sim_success"):
            assert episode.infos[key].tolist() == [info[key] for info in seen.infos]
        assert [text.decode() for text in episode.infos["failure"]] == [info["failure"] for info in seen.infos]
    assert any(seen.terminated for seen in registered_log)
    metadata = next(iter(dataset.storage.get_episode_metadata([0])))
    assert metadata["seed"] == 3
    assert metadata["options"]["targets"]["gbw"] == 1.0
    env = dataset.recover_environment(log=False)
    assert env.spec.id == "zsgym/NMCF-v0"
    assert env.observation_space == dataset.observation_space
    env.close()


def load(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return pytest.importorskip("minari").load_dataset(name)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"action_mode": "delta", "step_size": 0.3, "failure_reward": -20.0},
        {"targets": {"gbw": 2e6, "tc": None}, "conditions": {"corner": "ss", "supply": 1.62}},
        {"random_targets": "test", "targets": {"power": 1e-3}, "backend_options": {"policy": "measured"}},
    ],
)
def test_the_environment_of_a_data_set_is_the_one_that_made_it(
    fake_backend: list[FakeSimulator],
    nmcf: Circuit,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
) -> None:
    made: list[dict[str, Any]] = []
    original = FakeSimulator.__init__
    monkeypatch.setattr(
        FakeSimulator, "__init__", lambda self, circuit, **options: made.append(options) or original(self, circuit)
    )
    env: Any = gym.make("zsgym/NMCF-v0", backend="ngspice", log=log, max_episode_steps=7, **arguments)
    play(env, episodes=2, steps=20)
    env.close()
    export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0")
    assert len(made) == 1, "the export starts no simulator"
    dataset = load(tmp_path / "sets", "nmcf-v0", monkeypatch)
    again = dataset.recover_environment(log=False)
    assert made[0] == made[1]
    assert again.spec.max_episode_steps == env.spec.max_episode_steps == 7
    for name in ("action_mode", "step_size", "targets", "conditions", "failure_reward", "split"):
        assert getattr(again.unwrapped.core.task, name) == getattr(env.unwrapped.core.task, name)
    episode = dataset[0]
    observation, _ = again.reset(seed=3)
    sizes = slice(24, None)
    assert np.array_equal(observation[sizes], episode.observations[0][sizes])
    for step, action in enumerate(episode.actions):
        observation, reward, terminated, truncated, _ = again.step(action)
        assert np.array_equal(observation[sizes], episode.observations[step + 1][sizes])
        assert (reward, terminated, truncated) == (
            episode.rewards[step],
            episode.terminations[step],
            episode.truncations[step],
        )
    assert truncated
    again.close()


@pytest.mark.parametrize("steps", [4, 60])
def test_the_step_limit_that_was_asked_for_is_logged_and_exported(
    fake_backend: list[FakeSimulator], nmcf: Circuit, log: Path, tmp_path: Path, steps: int
) -> None:
    """Below the registered limit of 50 steps and beyond; with a vector face as with `TimeLimit`."""
    single = gym.make("zsgym/NMCF-v0", backend="ngspice", log=log / "single", max_episode_steps=steps)
    many = gym.make_vec("zsgym/NMCF-v0", 2, backend="ngspice", log=log / "many", max_episode_steps=steps)
    play(single, episodes=2, steps=100)
    many.action_space.seed(0)
    many.reset(seed=3)
    for _ in range(steps):
        many.step(many.action_space.sample())
    for name in ("single", "many"):
        assert [row.step for row in read_samples(log / name) if row.truncated] == [steps, steps]
        export_minari(log / name, nmcf, tmp_path / "sets", f"{name}-v0")
        episodes, _ = logged_episodes(log / name, nmcf)
        assert {json.loads(episode.environment or "{}")["max_episode_steps"] for episode in episodes} == {steps}


def test_the_log_of_an_environment_without_a_limit_marks_no_truncation(nmcf: Circuit, log: Path) -> None:
    env = SizingEnv(nmcf, backend=FakeSimulator(nmcf), log=log)
    play(env, episodes=1, steps=60)
    assert not any(row.truncated for row in read_samples(log))
    (episode,) = logged_episodes(log, nmcf)[0]
    assert json.loads(episode.environment or "")["max_episode_steps"] is None


def test_episodes_of_different_configurations_are_not_mixed(
    fake_backend: list[FakeSimulator],
    nmcf: Circuit,
    log: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("minari")
    for arguments in ({}, {"action_mode": "delta", "targets": {"gbw": 2e6}}):
        env = gym.make("zsgym/NMCF-v0", backend="ngspice", log=log, **arguments)
        play(env, episodes=2 + len(arguments), steps=5)
        env.close()
    with SampleLog(log) as rows:
        rows.append_many([row.model_copy(update={"environment": None}) for row in read_samples(log)][:6])
    with pytest.raises(SampleLogError, match="3 differently configured environments") as refused:
        export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0")
    assert str(refused.value).splitlines()[1:] == [
        "  1: 2 episodes, action_mode absolute, targets.gbw 1000000.0",
        "  2: 4 episodes, action_mode delta, targets.gbw 2000000.0",
        "  3: 1 episode, of unknown configuration (logged by zsgym 0.1)",
    ]
    assert not (tmp_path / "sets").exists()
    with pytest.raises(ConfigError, match=r"no configuration 4 in .*which holds episodes of:\n  1: 2 episodes"):
        export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0", configuration=4)
    command = ["dataset", "export", str(log), "--format", "minari", "--out", str(tmp_path / "sets"), "--id"]
    assert main([*command, "nmcf-v0", "--configuration", "2"]) == 0
    assert ": 4 episodes, 20 transitions" in capsys.readouterr().out
    dataset = load(tmp_path / "sets", "nmcf-v0", monkeypatch)
    assert dataset.env_spec.kwargs["action_mode"] == "delta"
    assert main([*command, "old-v0", "--configuration", "3"]) == 0
    assert load(tmp_path / "sets", "old-v0", monkeypatch).env_spec is None


@pytest.mark.usefixtures("registered_log")
def test_a_data_set_is_never_overwritten(log: Path, nmcf: Circuit, tmp_path: Path) -> None:
    pytest.importorskip("minari")
    export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0")
    with pytest.raises(ConfigError, match=r"nmcf-v0 exists: choose another --id"):
        export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0")


def test_mistakes_are_named(
    make_env: Callable[..., SizingEnv], nmcf: Circuit, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("minari")
    with make_env(log=log) as env:
        env.reset(seed=0)
    with pytest.raises(SampleLogError, match=r"no episode of nmcf to export \(1 left out: no transition\)"):
        export_minari(log, nmcf, tmp_path / "sets", "nmcf-v0")
    with pytest.raises(ConfigError, match="no id of Minari"):
        export_minari(log, nmcf, tmp_path / "sets", "nm cf")
    assert not (tmp_path / "sets").exists()
    arguments = ["dataset", "export", str(log), "--out", str(tmp_path / "a"), "--format"]
    assert main([*arguments, "parquet", "--id", "nmcf-v0"]) == 2
    assert "--id, --include-predicted and --configuration are for --format minari" in capsys.readouterr().err


def test_a_missing_package_is_named(nmcf: Circuit, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    with pytest.raises(ConfigError, match=r"needs minari with h5py: pip install \"zsgym\[export\]\""):
        export_minari(log, nmcf, log, "nmcf-v0")
