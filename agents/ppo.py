"""PPO (Stable-Baselines3) that sizes an amplifier on the surrogate, with every claim checked in ngspice.

    python agents/ppo.py --env zsgym/NMCF-v0 --seed 1
    python agents/ppo.py --env zsgym/NMCF-v0 --goals random    # for any targets, see agents/evaluate_goals.py
    python agents/ppo.py --resume runs/NMCF-v0__ppo__1__20260101-120000    # continue an interrupted run
    tensorboard --logdir runs

A run folder holds `arguments.json`, TensorBoard events, `checkpoints/`, `samples/` (every simulated sizing) and, at the
end, `designs.json`: the most promising distinct designs as ngspice sees them. docs/agents.md says why it is done so.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from agents.command import chosen_problem, option, parse
from surrogate.sizing import guarded
from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.base.scripts import INTERRUPTED, ending_in_one_line
from zsgym.circuits import Circuit
from zsgym.classes.specs import exactly
from zsgym.envs.rewards import SymlogReward
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.simulators import make_simulator
from zsgym.sizing import Belief, Problem
from zsgym.training import (
    Archive,
    Checkpoints,
    Curves,
    Progress,
    Rehearsal,
    Verification,
    Verifier,
    begin_run,
    open_run,
    require_ngspice,
    stoppable,
    write_results,
)

GOALS: dict[str, dict[str, Any]] = {
    # One policy for every set of targets needs a larger network and longer training than one for a single set.
    "fixed": {"steps": 200_000, "n_steps": 8, "batch_size": 256, "gamma": 0.9, "learning_rate": 2e-3, "width": 128},
    "random": {"steps": 400_000, "n_steps": 16, "batch_size": 512, "gamma": 0.95, "learning_rate": 15e-4, "width": 256},
}
"""What is learnt, and the hyperparameters that differ with it where the command line does not give them."""

EPISODES: dict[str, Any] = {"action_mode": "delta", "step_size": 0.3, "max_episode_steps": 20}
"""Each step moves the sizing, by at most 0.3 of a range of 2, so that what the observation tells of it is of use."""


@dataclass(frozen=True)
class Arguments:
    """What a training run is asked for. What is None here comes from `GOALS`, see `complete`."""

    env: str = option("zsgym/NMCF-v0", "id of a registered environment")
    specs: str = option("", "name or file of a problem (see configs/problems); default: the circuit's own specs")
    goals: str = option("fixed", "fixed targets, or random ones in every episode that the agent sees (random)")
    guard: float = option(0.5, "train on targets tightened by this share of the surrogate's prediction interval")
    seed: int = option(1, "seed of every random draw")

    steps: int = option(None, "environment steps; default: 200,000, with random goals 400,000")
    n_envs: int = option(64, "environments that are simulated as one batch")
    n_steps: int = option(None, "steps of each between two updates; default: 8, with random goals 16")
    batch_size: int = option(None, "samples in a gradient step; default: 256, with random goals 512")
    n_epochs: int = option(5, "passes over the samples of an update")
    gamma: float = option(None, "discount; default: 0.9, with random goals 0.95", float)
    gae_lambda: float = option(0.95, "bias against variance of the advantages")
    learning_rate: float = option(None, "falls to zero; default: 2e-3, with random goals 1.5e-3", float)
    clip_range: float = option(0.2, "by how much an update may change the probability of an action")
    ent_coef: float = option(0.0, "weight of the policy's entropy in the loss")
    width: int = option(None, "of the two hidden layers; default: 128, with random goals 256")
    symlog: bool = option(True, "compress rewards, so that a failure (-100) does not hide the last step to a spec")

    backend: str = option("surrogate", "simulator to train on")
    checkpoint: str = option("", "surrogate to train on; default: the one that comes with the package")
    evaluate_every: int = option(8192, "steps between two verifications in ngspice")
    verify: int = option(5, "designs that are simulated at each verification, and at the end")
    spice_budget: int | None = option(None, "ngspice simulations in all; default: no limit; 0 needs no ngspice")
    stop: bool = option(False, "stop as soon as ngspice confirms a design")
    checkpoint_every: int = option(8192, "steps between two checkpoints")
    workers: int = option(1, "parallel ngspice processes")
    log: bool = option(True, "keep every simulated sizing in RUN/samples")
    quiet: bool = option(False, "no progress bar and no report")
    run: str = option("", "run folder; default: runs/ENV__ppo__SEED__TIME")
    resume: str = option("", "run folder to continue; only --steps may be given with it")


def complete(arguments: Arguments) -> Arguments:
    """The same with the hyperparameters of its goals where it names none."""
    if arguments.goals not in GOALS:
        raise ConfigError(f"unknown goals {arguments.goals!r}. {did_you_mean(arguments.goals, GOALS)}")
    missing = {name: value for name, value in GOALS[arguments.goals].items() if getattr(arguments, name) is None}
    arguments = replace(arguments, **missing)
    for name in ("steps", "n_envs", "n_steps", "batch_size", "n_epochs", "learning_rate", "width"):
        if not getattr(arguments, name) > 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be positive, got {getattr(arguments, name)}")
    return arguments


def environment(arguments: Arguments, circuit: Circuit, **of_the_run: Any) -> VecEnv:
    """What PPO learns in. :param of_the_run: backend, targets and log of `SizingVecEnv`."""
    env: VecEnv = VecMonitor(SizingVecEnv(circuit, arguments.n_envs, **EPISODES, **of_the_run))
    if arguments.symlog:
        env = SymlogReward(env)
    return VecNormalize(env, norm_obs=False, norm_reward=True, clip_reward=10.0, gamma=arguments.gamma)


def algorithm(arguments: Arguments, env: VecEnv) -> PPO:
    """PPO with the run's hyperparameters."""
    return PPO(
        "MlpPolicy",
        env,
        learning_rate=LinearSchedule(arguments.learning_rate, 0.0, 1.0),
        n_steps=arguments.n_steps,
        batch_size=arguments.batch_size,
        n_epochs=arguments.n_epochs,
        gamma=arguments.gamma,
        gae_lambda=arguments.gae_lambda,
        clip_range=arguments.clip_range,
        ent_coef=arguments.ent_coef,
        policy_kwargs={"net_arch": [arguments.width, arguments.width], "log_std_init": -1.0},
        seed=arguments.seed,
        device="cpu",
    )


def train(arguments: Arguments, folder: Path, truth: Problem, checkpoint: Path | None = None) -> Verifier:
    """Train, verify and save a run, or continue it from a checkpoint.

    :param truth: ngspice, which verifies under the targets that count. :return: the verified designs.
    :raises KeyboardInterrupt: the run was interrupted; it is saved. :raises ConfigError: an argument is invalid.
    :raises SimulatorError: a simulator failed; samples and checkpoints are kept, and the run can be resumed.
    """
    arguments, circuit = complete(arguments), truth.circuit
    options = {"checkpoint": arguments.checkpoint} if arguments.checkpoint else {}
    with closing(make_simulator(arguments.backend, circuit, workers=arguments.workers, **options)) as simulator:
        # 1. On a surrogate, a little more is asked for than what counts, so that its errors do not decide.
        surrogate = getattr(simulator, "checkpoint", None)
        targets = guarded(surrogate, circuit, truth.targets, arguments.guard) if surrogate else truth.targets
        goals: dict[str, Any] = {"targets": exactly(circuit.targets, targets)}
        if arguments.goals == "random":
            goals = {"random_targets": "train"}
        env = environment(arguments, circuit, backend=simulator, log=arguments.log and folder / "samples", **goals)

        # 2. The best designs that the policy passes are kept. Of these, ngspice is asked for those that are most
        #    probably feasible, by the surrogate's intervals and by what ngspice said before.
        archive = Archive(circuit, truth.targets)
        belief = Belief(surrogate, circuit, truth.targets) if surrogate else None
        verifier = Verifier(simulator, truth, belief, arguments.spice_budget)
        rehearsal = Rehearsal(simulator, arguments.n_envs, EPISODES, arguments.seed) if surrogate else None
        verification = Verification(
            verifier, archive, rehearsal, arguments.evaluate_every, arguments.verify, arguments.stop
        )
        saving = Checkpoints(folder, arguments.seed, arguments.checkpoint_every, archive, verifier)
        progress = Progress(arguments.steps, verifier, arguments.quiet)

        # 3. PPO learns; Ctrl-C and a confirmed design end it in good order.
        model = algorithm(arguments, env) if checkpoint is None else saving.resume(checkpoint, env)
        begin_run(folder, arguments, model)
        callbacks = [Curves(archive), verification, saving, progress]
        with stoppable(model, saving), closing(env), closing(progress):
            model.learn(arguments.steps - model.num_timesteps, callbacks, reset_num_timesteps=False)

        # 4. What counts is what ngspice says.
        verification.last()
        saving.save()
        write_results(
            folder / "designs.json", "ppo", verifier, archive, arguments.verify, model.num_timesteps, asdict(arguments)
        )
    if not arguments.quiet:
        print(f"trained for {model.num_timesteps:,} steps: {saving.ended}")
    return verifier


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    with ending_in_one_line():
        run(parse(Arguments, __doc__))


def run(given: Arguments) -> None:
    """Open the folder of a new run, or of the one to continue, and train."""
    arguments, folder, checkpoint = open_run(given if given.resume else complete(given), "ppo")
    circuit, targets, title = chosen_problem(arguments)
    if arguments.stop and arguments.spice_budget == 0:
        raise ConfigError("--stop waits for a design that ngspice confirms: it needs a --spice-budget above 0")
    log = arguments.log and folder / "samples"
    wanted = exactly(circuit.targets, targets)
    logged: dict[str, Any] = {"log": log, "agent": "ppo", "seed": arguments.seed}
    with Problem(circuit, targets=wanted, workers=arguments.workers, **logged) as truth:
        require_ngspice(truth, arguments.spice_budget)
        print(f"{title}: ppo, seed {arguments.seed}, in {folder}")
        try:
            verifier = train(arguments, folder, truth, checkpoint)
        except KeyboardInterrupt:
            print(f"interrupted; continue with: python agents/ppo.py --resume {folder}", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
    print(verifier.report(arguments.verify))
    print(f"\nwritten: {folder / 'designs.json'}")


if __name__ == "__main__":
    main()
