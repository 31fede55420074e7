"""PPO (Stable-Baselines3) that sizes an amplifier on the surrogate, with every claim checked in ngspice.

    python agents/ppo.py --env zsgym/NMCF-v0 --seed 1
    python agents/ppo.py --env zsgym/NMCF-v0 --goals random    # for any targets, see agents/evaluate_goals.py
    python agents/ppo.py --resume runs/NMCF-v0__ppo__1__20260101-120000    # continue an interrupted run
    tensorboard --logdir runs

A run folder holds `arguments.json`, TensorBoard events, `checkpoints/`, `samples/` (every simulated sizing) and, at the
end, `designs.json`: the most promising distinct designs as ngspice sees them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from tqdm import tqdm
from zsgym.errors import ConfigError, PdkError, SimulatorMissingError
from zsgym.files import write_text
from zsgym.scripts import INTERRUPTED, ending_in_one_line, reason
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.specs import FAILURE_REWARD, exactly

from agents.command import chosen_problem, option, parse
from agents.ppo_callbacks import (
    MODEL,
    Checkpoints,
    Curves,
    StopTraining,
    Verification,
    checkpoint_path,
    checkpoints,
    graceful_interrupt,
    load_designs,
    record_verification,
    restored_normalisation,
)
from agents.ppo_designs import Archive, Verified, Verifier, report
from agents.ppo_play import Rehearsal
from agents.ppo_settings import Settings, default_file, guarded, make_env, read_settings
from surrogate.checkpoint import Checkpoint
from zsgym.circuits import did_you_mean
from zsgym.envs.registration import env_id
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import Simulator, make_simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.loop import Solve
from zsgym.sizing.problem import Problem

GOALS = ("fixed", "random")
_TRAININGS = 3


@dataclass(frozen=True)
class Arguments:
    """What a training run is asked for."""

    env: str = option("zsgym/NMCF-v0", "id of a registered environment")
    specs: str = option("", "name or file of a problem (see configs/problems); default: the circuit's own specs")
    goals: str = option("fixed", "fixed targets, or random ones in every episode that the agent sees (random)")
    guard: float = option(0.5, "train on targets tightened by this share of the surrogate's prediction interval")
    seed: int = option(1, "seed of every random draw")
    steps: int | None = option(None, "environment steps; default: n_timesteps of the hyperparameters")
    config: str = option(
        "", "hyperparameters in rl-zoo's schema; default: ppo.yaml or ppo-goals.yaml of configs/agents"
    )
    set: str = option("", "changed hyperparameters, separated by spaces, e.g. 'learning_rate=1e-3 n_envs=32'")
    backend: str = option("", "simulator to train on; default: that of the hyperparameters")
    checkpoint: str = option("", "surrogate to train on; default: the one that comes with the package")
    evaluate_every: int = option(8192, "steps between two verifications in ngspice")
    verify: int = option(5, "designs that are simulated at each verification, and at the end")
    spice_budget: int | None = option(
        None, "ngspice simulations in all; default: no limit; with 0, nothing is verified and ngspice need not be there"
    )
    stop: bool = option(False, "stop as soon as ngspice confirms a design")
    checkpoint_every: int = option(8192, "steps between two checkpoints")
    workers: int = option(1, "parallel ngspice processes")
    log: bool = option(True, "keep every simulated sizing in RUN/samples")
    quiet: bool = option(False, "no progress bar and no report")
    run: str = option("", "run folder; default: runs/ENV__ppo__SEED__TIME")
    resume: str = option("", "run folder to continue; only --steps may be given with it")


def train(
    arguments: Arguments, folder: Path, truth: Problem, title: str = "", checkpoint: Path | None = None
) -> Verifier:
    """Train, verify and save a run, or continue one.

    :param truth: ngspice, which verifies under the targets that count. :param checkpoint: to continue from.
    :return: the verified designs.
    :raises KeyboardInterrupt: the run was interrupted; it is saved.
    :raises ConfigError: an argument is invalid.
    :raises SimulatorError: a simulator failed; samples and checkpoints are kept, and the run can be resumed.
    """
    settings = settings_of(arguments)
    total = arguments.steps or settings.n_timesteps
    simulator = make_simulator(_backend(arguments, settings), truth.circuit, **_options(arguments))
    env = make_env(
        settings,
        truth.circuit,
        backend=simulator,
        log=folder / "samples" if arguments.log else False,
        **_training_targets(arguments, truth, simulator),
    )
    try:
        archive, verified = Archive.empty(truth.dimension), list[Verified]()
        if checkpoint is None:
            model = PPO(env=env, seed=arguments.seed, device="cpu", policy=settings.policy, **settings.algorithm())
        else:
            archive, verified = load_designs(checkpoint)
            env = restored_normalisation(checkpoint, env)
            model = PPO.load(checkpoint / MODEL, env=env, device="cpu")
        belief = None
        if isinstance(simulator, SurrogateSimulator):
            belief = Belief(simulator.checkpoint, truth.circuit, truth.targets)
        verifier = Verifier(simulator, truth, belief, verified, arguments.spice_budget)
        rehearsal = None
        if isinstance(simulator, SurrogateSimulator):
            rehearsal = Rehearsal(simulator, truth.targets, settings.n_envs, settings.env_kwargs, arguments.seed)
        _learn(model, total, arguments, settings.rollout, folder, archive, verifier, rehearsal, checkpoint is not None)
        _write_designs(folder, arguments, title, verifier, archive, model.num_timesteps, simulator)
        return verifier
    finally:
        env.close()
        simulator.close()


def _learn(
    model: PPO,
    total: int,
    arguments: Arguments,
    rollout: int,
    folder: Path,
    archive: Archive,
    verifier: Verifier,
    rehearsal: Rehearsal | None,
    resumed: bool,
) -> None:
    """The training loop; ends with a verification and a checkpoint, unless it was interrupted."""
    saving = Checkpoints(folder, arguments.seed, rollout, arguments.checkpoint_every, archive, verifier, resumed)
    callbacks: list[BaseCallback] = [
        Curves(verifier.truth.circuit, verifier.truth.targets, FAILURE_REWARD, archive),
        Verification(verifier, archive, rehearsal, rollout, arguments.evaluate_every, arguments.verify, arguments.stop),
        saving,
        Progress(total, model.num_timesteps, verifier, arguments.quiet),
    ]
    model.set_logger(configure(str(folder), ["tensorboard"]))
    model.logger.record("arguments", _markdown(arguments), exclude=("stdout", "log", "json", "csv"))
    # The episodes begin where `Checkpoints` says, not in `learn`.
    model._last_obs = np.zeros((model.n_envs, *(model.observation_space.shape or ())), np.float32)
    ended = "all that were asked for"
    try:
        with graceful_interrupt(saving):
            model.learn(total - model.num_timesteps, CallbackList(callbacks), reset_num_timesteps=False)
    except StopTraining as stop:
        ended = str(stop)
    except ValueError as error:
        if all(parameter.abs().max() < 1e6 for parameter in model.policy.parameters()):  # neither huge nor NaN
            raise
        raise ConfigError("training diverged; choose a smaller learning_rate (--set learning_rate=...)") from error
    finally:
        callbacks[-1].on_training_end()
    if saving.interrupted:
        saving.save()
        raise KeyboardInterrupt
    if not (arguments.stop and verifier.confirmed):
        k = (verifier.remaining if arguments.stop else None) or arguments.verify
        if rehearsal is not None:
            rehearsal(model, archive)
        new = verifier.verify(archive, k, model.num_timesteps, every=not arguments.stop)
        record_verification(model.logger, verifier, new)
        model.logger.dump(model.num_timesteps)
    saving.save()
    if not arguments.quiet:
        print(f"trained for {model.num_timesteps:,} steps: {ended}")


class Progress(BaseCallback):
    """A progress bar with the success rate on the surrogate and the best reward that ngspice confirmed."""

    def __init__(self, total: int, done: int, verifier: Verifier, quiet: bool) -> None:
        super().__init__()
        self._verifier = verifier
        self._bar = tqdm(total=total, initial=done, unit="step", desc="ppo", disable=quiet or None)

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        return True

    def _on_rollout_end(self) -> None:
        seen = self.logger.name_to_value
        shown = {"works": f"{seen['sizing/validity_rate']:.0%}", "success": f"{seen.get('sizing/success_rate', 0):.0%}"}
        if self._verifier.best is not None:
            shown["spice"] = f"{self._verifier.best.measured.reward:.3f}"
        self._bar.set_postfix(shown, refresh=False)

    def _on_training_end(self) -> None:
        self._bar.close()


def solver(**changes: Any) -> Solve:
    """PPO as benchmarks see an agent: trains on the surrogate, and lets the problem verify until a design is confirmed.

    A training that ends without one is followed by another with other random draws, as long as there is budget, up to
    `_TRAININGS` in all.

    :param changes: of `Arguments`, such as `steps` or `checkpoint`.
    """

    def solve(truth: Problem, seed: int) -> None:
        for again in range(_TRAININGS):
            arguments = Arguments(
                env=env_id(truth.circuit.name),
                seed=seed + 1000 * again,
                stop=True,
                log=False,
                quiet=True,
                **changes,
            )
            with tempfile.TemporaryDirectory() as folder:
                verifier = train(arguments, Path(folder), truth)
            if verifier.confirmed or truth.remaining == 0:
                break

    return solve


def _training_targets(arguments: Arguments, truth: Problem, simulator: Simulator) -> dict[str, Any]:
    """The arguments of the training environment that say what is wanted."""
    if not 0.0 <= arguments.guard <= 1.0:
        raise ConfigError(f"guard is a share of the prediction interval, between 0 and 1, got {arguments.guard}")
    if arguments.goals == "random":
        return {"random_targets": "train"}
    targets: dict[str, float] = truth.targets
    if isinstance(simulator, SurrogateSimulator):
        targets = guarded(truth.circuit, targets, simulator, arguments.guard)
    return {"targets": exactly(truth.circuit.targets, targets)}


def settings_of(arguments: Arguments) -> Settings:
    """The hyperparameters that a run uses.

    :raises ConfigError: see `read_settings`.
    """
    if arguments.goals not in GOALS:
        raise ConfigError(f"unknown goals {arguments.goals!r}. {did_you_mean(arguments.goals, GOALS)}")
    path = Path(arguments.config) if arguments.config else default_file(arguments.goals)
    return read_settings(path, arguments.env, arguments.set.split())


def _backend(arguments: Arguments, settings: Settings) -> str:
    return arguments.backend or str(settings.env_kwargs.get("backend", "surrogate"))


def _options(arguments: Arguments) -> dict[str, Any]:
    return {"workers": arguments.workers} | ({"checkpoint": arguments.checkpoint} if arguments.checkpoint else {})


def _markdown(arguments: Arguments) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in dataclasses.asdict(arguments).items())
    return f"| argument | value |\n| --- | --- |\n{rows}"


def _write_designs(
    folder: Path,
    arguments: Arguments,
    title: str,
    verifier: Verifier,
    archive: Archive,
    steps: int,
    simulator: Simulator,
) -> None:
    """The designs of the run and where they come from, as JSON."""
    truth = verifier.truth
    verified_by = truth.simulator.provenance if verifier.verified else {}
    content = {
        "agent": "ppo",
        "title": title,
        "circuit": truth.circuit.name,
        "targets": truth.targets,
        "steps": steps,
        "simulations": len(verifier.verified),
        "designs": [design.as_dict() for design in verifier.results(archive, arguments.verify)],
        "arguments": dataclasses.asdict(arguments),
        "provenance": provenance_of_this_process() | dict(simulator.provenance) | dict(verified_by),
    }
    write_text(folder / "designs.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    with ending_in_one_line():
        _run(parse(Arguments, __doc__))


def _run(arguments: Arguments) -> None:
    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {arguments.steps}")
    if arguments.resume:
        folder, checkpoint = Path(arguments.resume), None
        arguments = _resumed(arguments, folder)
        kept = checkpoints(folder)
        checkpoint = kept[-1] if kept else None
        total = arguments.steps or settings_of(arguments).n_timesteps
        if checkpoint and checkpoint >= checkpoint_path(folder, total) and (folder / "designs.json").is_file():
            raise ConfigError(
                f"{folder} is finished after {total:,} steps: see designs.json; a larger --steps continues"
            )
    else:
        name = f"{arguments.env.rpartition('/')[2]}__ppo__{arguments.seed}__{time.strftime('%Y%m%d-%H%M%S')}"
        folder, checkpoint = Path(arguments.run or f"runs/{name}"), None
        if checkpoints(folder):
            raise ConfigError(f"{folder} holds a run already: --resume {folder} continues it, another --run begins one")
    circuit, targets, title = chosen_problem(arguments)
    settings_of(arguments)  # a mistake must not leave a folder behind
    if arguments.checkpoint:
        Checkpoint.load(Path(arguments.checkpoint))
    truth = Problem(
        circuit,
        targets=exactly(circuit.targets, targets),
        workers=arguments.workers,
        log=folder / "samples" if arguments.log else False,
        agent="ppo",
        seed=arguments.seed,
    )
    with truth:
        _require_ngspice(arguments, truth)
        write_text(folder / "arguments.json", json.dumps(dataclasses.asdict(arguments), indent=1) + "\n")
        print(f"{title}: ppo, seed {arguments.seed}, in {folder}")
        try:
            verifier = train(arguments, folder, truth, title, checkpoint)
        except KeyboardInterrupt:
            print(f"interrupted; continue with: python agents/ppo.py --resume {folder}", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        print(report(verifier, arguments.verify))
        print(f"\nwritten: {folder / 'designs.json'}")


def _require_ngspice(arguments: Arguments, truth: Problem) -> None:
    """Find out before the training what would otherwise end it."""
    if arguments.spice_budget == 0:
        if arguments.stop:
            raise ConfigError("--stop waits for a design that ngspice confirms: it needs a --spice-budget above 0")
        return
    try:
        _ = truth.simulator.provenance
    except (SimulatorMissingError, PdkError) as error:
        raise type(error)(
            f"designs are verified in ngspice, and that cannot run: {error}. "
            "With --spice-budget 0 the agent is trained without, and its designs are predictions"
        ) from error


def _resumed(arguments: Arguments, folder: Path) -> Arguments:
    """The arguments of the run in a folder, with more steps if they were given."""
    original = stored_arguments(folder)
    if dataclasses.replace(arguments, resume="", steps=None) != Arguments():
        raise ConfigError("only --steps may be given with --resume; everything else is as the run began")
    return original if arguments.steps is None else dataclasses.replace(original, steps=arguments.steps)


def stored_arguments(folder: Path) -> Arguments:
    """The arguments of the run in a folder.

    :raises ConfigError: there is none.
    """
    try:
        return Arguments(**json.loads((folder / "arguments.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{folder} holds no run of agents/ppo.py: {reason(error)}") from error


if __name__ == "__main__":
    main()
