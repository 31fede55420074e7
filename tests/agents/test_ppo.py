"""PPO runs, resumes to the bit, survives interrupts and failures, and reports what ngspice says."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from zsgym.errors import ConfigError, SampleLogError, SimulatorCrashError, SimulatorMissingError
from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES, Better
from zsgym.simulators.surrogate import SurrogateSimulator

from agents import ppo, ppo_callbacks
from agents.ppo import Arguments, solver, train
from agents.ppo_callbacks import MODEL, checkpoints, load_designs, newest_checkpoint
from agents.ppo_designs import Verifier
from agents.ppo_settings import guarded
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.samples import read_samples
from zsgym.simulators.ngspice import simulator
from zsgym.sizing.problem import Problem

ROLLOUT = 32
TINY = (
    "n_envs=4 n_steps=8 batch_size=16 n_epochs=2 "
    'policy_kwargs={"net_arch":[8],"log_std_init":-2} env_kwargs={"max_episode_steps":5}'
)
ARGUMENTS = Arguments(
    seed=3, steps=3 * ROLLOUT, set=TINY, evaluate_every=ROLLOUT, checkpoint_every=ROLLOUT, verify=2, quiet=True
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
        return train(arguments, folder, problem, "test", newest_checkpoint(folder) if resume else None)


def policy(folder: Path) -> dict[str, np.ndarray]:
    model = PPO.load(newest_checkpoint(folder) / MODEL, device="cpu")
    return {name: value.numpy() for name, value in model.policy.state_dict().items()}


def assert_same_run(one: Path, other: Path) -> None:
    assert newest_checkpoint(one).name == newest_checkpoint(other).name
    for (name, a), b in zip(policy(one).items(), policy(other).values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    first, second = load_designs(newest_checkpoint(one)), load_designs(newest_checkpoint(other))
    np.testing.assert_array_equal(first[0].units, second[0].units)
    assert [row.as_dict() for row in first[1]] == [row.as_dict() for row in second[1]]


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
@pytest.mark.parametrize("sde", [False, True])
def test_a_crashed_run_resumes_to_the_bit(tmp_path: Path, sde: bool) -> None:
    settings = f'{TINY} use_sde={sde} normalize={{"norm_obs":true}}'
    run(tmp_path / "whole", set=settings)
    with pytest.raises(SimulatorCrashError):
        run(tmp_path / "broken", Crashing(tmp_path / "broken"), set=settings)
    assert newest_checkpoint(tmp_path / "broken").name < newest_checkpoint(tmp_path / "whole").name
    run(tmp_path / "broken", resume=True, set=settings)
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


@pytest.mark.parametrize(("confirmed_after", "expected"), [(1, [7]), (2, [7, 1007]), (9, [7, 1007, 2007])])
def test_the_solver_begins_anew_until_a_design_is_confirmed(
    confirmed_after: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    class Ended:
        confirmed = property(lambda self: len(seeds) == confirmed_after)

    monkeypatch.setattr(ppo, "train", lambda arguments, *_: seeds.append(arguments.seed) or Ended())
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=5) as problem:
        solver()(problem, 7)
    assert seeds == expected


@pytest.mark.usefixtures("fake")
def test_the_solver_respects_the_budget(tmp_path: Path) -> None:
    with Problem(nmcf(), backend=FakeSimulator(nmcf()), budget=3) as problem:
        solver(steps=3 * ROLLOUT, set=TINY, evaluate_every=ROLLOUT, verify=2)(problem, 1)
        assert problem.simulations == 3
        assert problem.best is not None


def test_guarded_targets_are_harder_by_a_share_of_the_interval() -> None:
    circuit = nmcf()
    surrogate = SurrogateSimulator(circuit)
    targets = dict(circuit.targets)
    for name, target in guarded(circuit, targets, surrogate, 0.0).items():
        assert target == pytest.approx(targets[name], rel=1e-6)
    half, whole = (guarded(circuit, targets, surrogate, share) for share in (0.5, 1.0))
    for name, target in targets.items():
        sign = 1.0 if METRIC_BY_NAME[name].better is Better.HIGH else -1.0
        assert sign * target < sign * half[name] <= sign * whole[name]
    assert whole.keys() <= set(METRIC_NAMES)


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
        ({"set": "learning_rte=1"}, "learning_rate"),
        ({"set": "n_steps"}, "KEY=VALUE"),
        ({"set": TINY + " learning_rate=fast"}, "with n_envs=4 .*: it is a positive number, or lin_NUMBER, got 'fast'"),
        ({"set": TINY + " learning_rate=lin_-1"}, "lin_NUMBER, got 'lin_-1'"),
        ({"set": TINY + " learning_rate=1e30"}, "training diverged; choose a smaller learning_rate"),
        ({"guard": 2.0}, "between 0 and 1"),
        ({"env": "zsgym/NMCX-v0"}, "zsgym/NMCF-v0"),
        ({"config": "absent.yaml"}, "absent.yaml"),
    ],
)
def test_mistakes_name_the_valid_choices(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **changes)


@pytest.mark.usefixtures("fake")
def test_a_finished_run_is_not_resumed_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text(json.dumps(dataclasses.asdict(ARGUMENTS)))
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"finished after 96 steps: see designs\.json; a larger --steps continues"):
        ppo._run(Arguments(resume=str(tmp_path)))


@pytest.mark.parametrize("steps", [0, -5])
def test_a_training_has_steps(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {steps}"):
        ppo._run(dataclasses.replace(ARGUMENTS, steps=steps))


def test_resume_takes_the_arguments_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text(json.dumps(dataclasses.asdict(ARGUMENTS)))
    assert ppo._resumed(Arguments(resume="x"), tmp_path) == ARGUMENTS
    assert ppo._resumed(Arguments(resume="x", steps=7), tmp_path).steps == 7
    with pytest.raises(ConfigError, match="only --steps"):
        ppo._resumed(Arguments(resume="x", seed=2), tmp_path)
    with pytest.raises(ConfigError, match="holds no run"):
        ppo._resumed(Arguments(resume="x"), tmp_path / "absent")
    with pytest.raises(ConfigError, match="no checkpoint"):
        newest_checkpoint(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = ppo_callbacks.checkpoint_path(tmp_path, 1)
    path.mkdir(parents=True)
    (path / ppo_callbacks.DESIGNS).write_bytes(b"\x80")
    with pytest.raises(ConfigError, match="is damaged"):
        load_designs(path)


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
    options = ["ppo.py", "--run", str(folder), "--steps", str(ROLLOUT), "--set", TINY, "--quiet"]
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
