"""PPO runs, resumes to the bit, survives interrupts and failures, and reports what ngspice says."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import ppo
from agents.ppo import Arguments, train
from surrogate.checkpoint import Checkpoint, shipped
from surrogate.sizing import guarded
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.base.errors import ConfigError, SampleLogError, SimulatorCrashError, SimulatorMissingError
from zsgym.base.paths import data_root
from zsgym.samples import read_samples
from zsgym.simulators.ngspice import simulator
from zsgym.sizing.problem import Problem
from zsgym.training.checkpoints import DESIGNS, MODEL, checkpoint_path, checkpoints, newest_checkpoint
from zsgym.training.runs import open_run
from zsgym.training.verification import Verifier

ROLLOUT = 32
TINY: dict[str, Any] = {"n_envs": 4, "n_steps": 8, "batch_size": 16, "n_epochs": 2, "width": 8}
ARGUMENTS = Arguments(
    seed=3, steps=3 * ROLLOUT, evaluate_every=ROLLOUT, checkpoint_every=ROLLOUT, verify=2, quiet=True, **TINY
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(ppo.EPISODES, "max_episode_steps", 5)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[FakeSimulator]:
    """The simulators that training runs make: fakes, in the order in which they were made."""
    made: list[FakeSimulator] = []

    def make(backend: str, circuit: Any, **options: Any) -> FakeSimulator:
        made.append(FakeSimulator(circuit))
        return made[-1]

    monkeypatch.setattr(ppo, "make_simulator", make)
    return made


def run(folder: Path, truth: FakeSimulator | None = None, resume: bool = False, **changes: Any) -> Verifier:
    arguments = dataclasses.replace(ARGUMENTS, **changes)
    folder.mkdir(exist_ok=True)
    with Problem(nmcf(), backend=truth or FakeSimulator(nmcf())) as problem:
        return train(arguments, folder, problem, newest_checkpoint(folder) if resume else None)


def policy(folder: Path) -> dict[str, np.ndarray]:
    model = PPO.load(newest_checkpoint(folder) / MODEL, device="cpu")
    return {name: value.numpy() for name, value in model.policy.state_dict().items()}


def assert_same_run(one: Path, other: Path) -> None:
    assert newest_checkpoint(one).name == newest_checkpoint(other).name
    for (name, a), b in zip(policy(one).items(), policy(other).values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    first, second = (pickle.loads((newest_checkpoint(folder) / DESIGNS).read_bytes()) for folder in (one, other))
    np.testing.assert_array_equal(first[0], second[0])
    assert [row.as_dict() for row in first[2]] == [row.as_dict() for row in second[2]]


@pytest.mark.usefixtures("fake")
def test_a_run_leaves_curves_checkpoints_samples_and_designs(tmp_path: Path) -> None:
    truth = FakeSimulator(nmcf())
    run(tmp_path, truth)
    assert [path.name for path in checkpoints(tmp_path)] == ["step_000000000064", "step_000000000096"]
    written = json.loads((tmp_path / "designs.json").read_text())
    assert written["steps"] == 96
    assert written["provenance"]["fake"] == "1"
    assert written["simulations"] == len(written["designs"]) == len(truth.simulated)
    rewards = [design["reward"] for design in written["designs"]]
    assert rewards == sorted(rewards, reverse=True)
    # The truth is the simulator trained on: it must see every design as the surrogate saw it.
    assert all(design["reward"] == design["predicted"]["reward"] for design in written["designs"])
    curves = EventAccumulator(str(tmp_path))
    curves.Reload()
    names = set(curves.Tags()["scalars"])
    assert {"sizing/success_rate", "spice/calls", "spice/best_reward", "gap/reward", "gap/gbw"} <= names
    assert {f"margins/{name}" for name in nmcf().targets} <= names
    assert curves.Scalars("spice/calls")[-1].value == len(truth.simulated)
    assert {event.value for event in curves.Scalars("gap/reward")} == {0.0}
    # The best design is drawn whenever designs are verified.
    drawings = curves.Images("spice/best_design")
    assert [event.step for event in drawings] == [event.step for event in curves.Scalars("spice/calls")]
    assert {(event.width, event.height) for event in drawings} == {(660, 400)}
    # Curves say what the sample log says.
    steps = [sample for sample in read_samples(tmp_path / "samples") if sample.reward is not None]
    assert len(steps) == 96
    for rollout, event in enumerate(curves.Scalars("sizing/validity_rate")):
        rows = steps[ROLLOUT * rollout : ROLLOUT * (rollout + 1)]
        assert event.value == pytest.approx(np.mean([row.label for row in rows]))
    mean = np.mean([row.reward for row in steps[:ROLLOUT]])
    assert curves.Scalars("sizing/reward")[0].value == pytest.approx(mean, rel=1e-5)


class Crashing(FakeSimulator):
    """Dies as soon as the run has a checkpoint."""

    def __init__(self, folder: Path) -> None:
        super().__init__(nmcf())
        self.folder = folder

    def simulate(self, *arguments: Any, **options: Any) -> Any:
        if checkpoints(self.folder):
            self.raise_at = {self.calls + 1}
        return super().simulate(*arguments, **options)


@pytest.mark.usefixtures("fake")
def test_a_crashed_run_resumes_to_the_bit(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    with pytest.raises(SimulatorCrashError):
        run(tmp_path / "broken", Crashing(tmp_path / "broken"))
    assert newest_checkpoint(tmp_path / "broken").name < newest_checkpoint(tmp_path / "whole").name
    run(tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_failing_surrogate_loses_no_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeSimulator] = []

    class Failing(FakeSimulator):
        def _answer(self, sizing: Any) -> Any:
            if len(self.simulated) > 60:
                raise SimulatorCrashError("the simulator was killed")
            return super()._answer(sizing)

    def make(backend: str, circuit: Any, **options: Any) -> FakeSimulator:
        made.append(Failing(circuit))
        return made[-1]

    monkeypatch.setattr(ppo, "make_simulator", make)
    with pytest.raises(SimulatorCrashError):
        run(tmp_path, evaluate_every=10_000)
    answered = made[0].simulated[: sum(made[0].batch_sizes[:-1])]
    assert len(answered) >= 4 + ROLLOUT
    logged = [dict(sample.sizing) for sample in read_samples(tmp_path / "samples")]
    assert logged == answered


class Interrupting(FakeSimulator):
    """Presses Ctrl-C at one of its calls."""

    def __init__(self, at: int) -> None:
        super().__init__(nmcf())
        self.at = at

    def simulate(self, *arguments: Any, **options: Any) -> Any:
        if self.calls + 1 == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().simulate(*arguments, **options)


@pytest.mark.usefixtures("fake")
def test_an_interrupted_run_saves_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Interrupting(at=2))
    assert "saving" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is handler
    assert newest_checkpoint(tmp_path / "stopped").name == f"step_{2 * ROLLOUT:012d}"
    run(tmp_path / "stopped", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.usefixtures("fake")
def test_the_budget_counts_what_was_simulated_before_a_resume(tmp_path: Path) -> None:
    before = run(tmp_path, steps=ROLLOUT, spice_budget=4)
    after = run(tmp_path, resume=True, spice_budget=4)
    assert 0 < len(before.verified) < len(after.verified) == 4
    assert after.remaining == 0


@pytest.mark.usefixtures("fake")
def test_an_interrupt_between_checkpoints_is_saved_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Interrupting(at=1), checkpoint_every=10_000)
    assert newest_checkpoint(tmp_path).name == f"step_{ROLLOUT:012d}"
    run(tmp_path, resume=True, checkpoint_every=10_000)
    assert newest_checkpoint(tmp_path).name == f"step_{3 * ROLLOUT:012d}"


@pytest.mark.usefixtures("fake")
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = PPO.save, []

    def full(self: PPO, path: Path, *rest: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        save(self, path, *rest)

    monkeypatch.setattr(PPO, "save", full)
    with pytest.raises(SampleLogError, match="No space left"):
        run(tmp_path)
    (kept,) = checkpoints(tmp_path)
    assert kept.name == f"step_{ROLLOUT:012d}"
    run(tmp_path, resume=True)
    assert newest_checkpoint(tmp_path).name == f"step_{3 * ROLLOUT:012d}"


@pytest.mark.usefixtures("fake")
def test_seeds_decide_everything(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, seed=seed, log=False)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    one, other = policy(tmp_path / "a"), policy(tmp_path / "c")
    assert any((one[name] != other[name]).any() for name in one)


def test_guarded_targets_are_harder_by_a_share_of_the_interval() -> None:
    circuit, checkpoint = nmcf(), Checkpoint.load(shipped())
    targets = dict(circuit.targets)
    for name, target in guarded(checkpoint, circuit, targets, 0.0).items():
        assert target == pytest.approx(targets[name], rel=1e-6)
    half, whole = (guarded(checkpoint, circuit, targets, share) for share in (0.5, 1.0))
    assert whole.keys() == targets.keys()
    for name, target in targets.items():
        sign = 1.0 if circuit.metrics[name].higher_is_better else -1.0
        assert sign * target < sign * half[name] <= sign * whole[name]
    with pytest.raises(ConfigError, match="between 0 and 1"):
        guarded(checkpoint, circuit, targets, 2.0)


def test_the_real_surrogate_is_trained_on_and_believed(tmp_path: Path) -> None:
    verifier = run(tmp_path, steps=ROLLOUT)
    assert verifier.belief is not None
    assert all(0.0 <= row.belief <= 1.0 for row in verifier.verified)
    assert all(row.predicted.outcome.backend == "surrogate" for row in verifier.verified)
    assert all(row.measured.outcome.backend == "fake" for row in verifier.verified)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goals": "rnadom"}, "random"),
        ({"learning_rate": 1e30}, "training diverged; choose a smaller --learning-rate"),
        ({"learning_rate": -1.0}, "--learning-rate must be positive, got -1.0"),
        ({"n_envs": 0}, "--n-envs must be positive, got 0"),
        ({"steps": -5}, "--steps must be positive, got -5"),
    ],
)
def test_mistakes_name_the_valid_choices(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **changes)


@pytest.mark.usefixtures("fake")
def test_a_finished_run_is_not_resumed_for_nothing(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"finished after 96 steps: see designs\.json; a larger --steps continues"):
        ppo.run(Arguments(resume=str(tmp_path)))


@pytest.mark.usefixtures("fake")
def test_resume_takes_the_arguments_of_the_run(tmp_path: Path) -> None:
    run(tmp_path / "run")
    (tmp_path / "run" / "designs.json").unlink()
    place = str(tmp_path / "run")
    last = newest_checkpoint(tmp_path / "run")
    assert open_run(Arguments(resume=place), "ppo") == (ppo.complete(ARGUMENTS), tmp_path / "run", last)
    assert open_run(Arguments(resume=place, steps=700), "ppo")[0].steps == 700
    with pytest.raises(ConfigError, match="only --steps"):
        open_run(Arguments(resume=place, seed=2), "ppo")
    with pytest.raises(ConfigError, match="holds no run"):
        open_run(Arguments(resume=str(tmp_path / "absent")), "ppo")
    with pytest.raises(ConfigError, match=r"holds a run already: --resume .* continues it"):
        open_run(Arguments(run=place), "ppo")
    with pytest.raises(ConfigError, match="no checkpoint"):
        newest_checkpoint(tmp_path)


@pytest.mark.usefixtures("fake")
def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 1)
    path.mkdir(parents=True)
    (path / DESIGNS).write_bytes(b"\x80")
    with pytest.raises(ConfigError, match="is damaged"):
        run(tmp_path, resume=True)


def test_an_unknown_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="zsgym/NMCF-v0"):
        ppo.run(dataclasses.replace(ARGUMENTS, env="zsgym/NMCX-v0", run=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_the_file_for_rl_zoo3_holds_the_same_hyperparameters() -> None:
    """rl-baselines3-zoo calls one of them by another name, and builds the same environment from the file."""
    file = yaml.safe_load((data_root() / "configs" / "agents" / "ppo.yaml").read_text())
    mine = ppo.complete(Arguments())
    for env in ("zsgym/NMCF-v0", "zsgym/NMCNR-v0"):
        theirs = dict(file[env])
        assert theirs.pop("env_kwargs") == {"backend": mine.backend, **ppo.EPISODES, "max_episode_steps": 20}
        assert theirs.pop("n_timesteps") == mine.steps
        assert theirs.pop("learning_rate") == f"lin_{mine.learning_rate:.1e}".replace("e-0", "e-")
        assert theirs.pop("policy_kwargs") == {"net_arch": [mine.width, mine.width], "log_std_init": -1.0}
        assert theirs.pop("vec_env_wrapper") == "zsgym.envs.rewards.SymlogReward"
        assert theirs.pop("normalize") == {"norm_obs": False, "norm_reward": True, "clip_reward": 10.0}
        assert theirs.pop("policy") == "MlpPolicy"
        assert theirs == {name: getattr(mine, name) for name in theirs}
        assert {"n_envs", "n_steps", "batch_size", "gamma", "gae_lambda", "clip_range", "ent_coef"} <= set(theirs)


class NoWorkers:
    """The ngspice backend of a machine without ngspice."""

    def __init__(self, *_: object) -> None:
        pass

    def version(self) -> str:
        raise SimulatorMissingError("libngspice was not found")

    map = version

    def close(self) -> None:
        pass


def test_without_ngspice_nothing_starts_unless_it_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulator, "WorkerPool", NoWorkers)
    folder = tmp_path / "run"
    tiny = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    options = ["ppo.py", "--run", str(folder), "--steps", str(ROLLOUT), "--quiet", *tiny]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(SystemExit, match=r"libngspice was not found\. With --spice-budget 0"):
        ppo.main()
    assert not folder.exists()
    monkeypatch.setattr(sys, "argv", [*options, "--spice-budget", "0", "--stop"])
    with pytest.raises(SystemExit, match="--stop waits"):
        ppo.main()
    monkeypatch.setattr(sys, "argv", [*options, "--spice-budget", "0"])
    ppo.main()
    assert "no design was verified" in capsys.readouterr().out
    written = json.loads((folder / "designs.json").read_text())
    assert written["simulations"] == 0
    assert 0 < len(written["designs"]) <= 5
    assert {design["backend"] for design in written["designs"]} == {"surrogate"}
    assert "ngspice" not in written["provenance"]
