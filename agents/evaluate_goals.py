"""Does a goal-conditioned agent meet targets that it has never seen, as ngspice sees them?

    python agents/ppo.py --env zsgym/NMCF-v0 --goals random --run runs/goals
    python agents/evaluate_goals.py --run runs/goals --goals 100 --spice-budget 10

Targets come from the test split of the circuit's pool: what some working amplifier reaches, loosened a little (see
`zsgym.envs.targets`). For each set the policy sizes the amplifier on the surrogate from a few random starts; the
designs that it passed are then simulated in the order in which they are believed to be feasible, until one meets every
target in ngspice or the calls are spent. `--control` lets random actions take the place of the policy: what is left is
the choice of designs alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from stable_baselines3 import PPO
from tqdm import tqdm

from agents import ppo
from agents.command import chosen_problem, option, parse
from surrogate.retrain.label import wilson
from surrogate.simulator import SurrogateSimulator
from surrogate.sizing import guarded
from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.base.scripts import ending_in_one_line
from zsgym.base.tables import table
from zsgym.classes.specs import exactly
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.targets import TargetPool
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import Simulator, make_simulator
from zsgym.sizing import Belief, Problem
from zsgym.training import Archive, Verifier, half_exploring, newest_checkpoint, play, stored_arguments
from zsgym.training.checkpoints import MODEL
from zsgym.training.rehearsal import Act


@dataclass(frozen=True)
class Arguments:
    """What an evaluation is asked for."""

    run: str = option("", "folder of a run of agents/ppo.py with --goals random")
    goals: int = option(100, "sets of unseen targets")
    spice_budget: int = option(10, "ngspice simulations for each set")
    starts: int = option(16, "random starting sizings from which the policy works at once, half of them exploring")
    attempts: int = option(10, "how often it starts again while the surrogate has not seen the targets met")
    guard: float = option(0.5, "show the policy targets tightened by this share of the prediction interval")
    seed: int = option(1, "seed of targets, starts and actions")
    control: bool = option(False, "random actions instead of the policy")
    log: bool = option(True, "keep every sizing simulated in ngspice in RUN/samples")
    out: str = option("", "JSON file of the results; default: RUN/goals.json, or RUN/goals_control.json")


@dataclass(frozen=True)
class Trial:
    """One set of targets (SI units).

    promised: the surrogate has seen a design that meets it. calls: of ngspice. met: by a design in ngspice. reward: of
    the best design in ngspice, None where none was simulated.
    """

    targets: dict[str, float]
    promised: bool
    calls: int
    met: bool
    reward: float | None
    seconds: float


def load_policy(run: Path) -> tuple[PPO, SurrogateSimulator]:
    """The policy of a run, and the surrogate that it was trained on.

    :raises ConfigError: there is no such run, or it was trained on fixed targets.
    """
    training = stored_arguments(run, ppo.Arguments)
    if training.goals != "random":
        raise ConfigError(f"{run} was trained on fixed targets; evaluate a run of agents/ppo.py --goals random")
    circuit, _, _ = chosen_problem(training)
    model = PPO.load(newest_checkpoint(run) / MODEL, device="cpu")
    return model, SurrogateSimulator(circuit, checkpoint=training.checkpoint or None)


def attempt(
    model: PPO,
    surrogate: SurrogateSimulator,
    truth: Simulator,
    targets: dict[str, float],
    arguments: Arguments,
    seed: int,
) -> Trial:
    """Try to meet one set of targets."""
    started, circuit = time.perf_counter(), surrogate.circuit
    archive = Archive(circuit, targets)
    shown = guarded(surrogate.checkpoint, circuit, targets, arguments.guard)
    for i in range(arguments.attempts):
        env = SizingVecEnv(circuit, arguments.starts, backend=surrogate, targets=shown, log=False, **ppo.EPISODES)
        again = seed + i * arguments.starts
        play(archive, env, at_random(again, env) if arguments.control else half_exploring(model), again)
        if archive.feasible:
            break
    log = Path(arguments.run) / "samples" if arguments.log else False
    only = exactly(circuit.targets, targets)
    budget = arguments.spice_budget
    with Problem(circuit, backend=truth, targets=only, budget=budget, log=log, agent="ppo-goals", seed=seed) as problem:
        verifier = Verifier(surrogate, problem, Belief(surrogate.checkpoint, circuit, targets))
        verifier.verify(archive, budget, 0)
        reward = None if verifier.best is None else verifier.best.measured.reward
        seconds = time.perf_counter() - started
        return Trial(targets, archive.feasible > 0, problem.simulations, verifier.confirmed, reward, seconds)


def at_random(seed: int, env: SizingVecEnv) -> Act:
    """Actions that know nothing."""
    rng = np.random.default_rng(seed)
    shape = env.action_space.shape or ()
    return lambda observations: rng.uniform(-1.0, 1.0, (len(observations), *shape)).astype(np.float32)


def evaluate(model: PPO, surrogate: SurrogateSimulator, truth: Simulator, arguments: Arguments) -> list[Trial]:
    """Try many sets of unseen targets.

    :raises ConfigError: the circuit has no pool of targets. :raises SimulatorError: ngspice failed.
    """
    pool, rng = TargetPool.load(surrogate.circuit), np.random.default_rng(arguments.seed)
    trials: list[Trial] = []
    with tqdm(range(arguments.goals), unit="goal", disable=None) as bar:
        for i in bar:
            targets = pool.draw("test", rng)
            seed = 1_000_003 * arguments.seed + i * arguments.starts * arguments.attempts
            trials.append(attempt(model, surrogate, truth, targets, arguments, seed))
            bar.set_postfix(met=f"{sum(trial.met for trial in trials)}/{len(trials)}", refresh=False)
    return trials


def summary(trials: Sequence[Trial]) -> dict[str, float | None]:
    """Shares (with the 95 % Wilson interval of the main one), calls of ngspice where the targets were met, seconds."""
    n, met = len(trials), sum(trial.met for trial in trials)
    low, high = wilson(met, n)
    calls = [trial.calls for trial in trials if trial.met]
    return {
        "goals": n,
        "met": met / n,
        "met_low": low,
        "met_high": high,
        "met_at_first_call": sum(trial.met and trial.calls == 1 for trial in trials) / n,
        "promised_by_surrogate": sum(trial.promised for trial in trials) / n,
        "calls_median": float(np.median(calls)) if calls else None,
        "calls_p90": float(np.percentile(calls, 90)) if calls else None,
        "seconds_median": float(np.median([trial.seconds for trial in trials])),
    }


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    arguments = parse(Arguments, __doc__)
    torch.manual_seed(arguments.seed)
    with ending_in_one_line():
        if not arguments.run:
            raise ConfigError("--run is needed: the folder of a run of agents/ppo.py --goals random")
        run = Path(arguments.run)
        model, surrogate = load_policy(run)
        with closing(make_simulator("ngspice", surrogate.circuit)) as truth:
            trials = evaluate(model, surrogate, truth, arguments)
            provenance = provenance_of_this_process() | dict(truth.provenance) | dict(surrogate.provenance)
    result = summary(trials)
    shown = [[name, "-" if value is None else f"{value:.4g}"] for name, value in result.items()]
    print(table(("figure", "value"), shown, right=(1,)))
    content: dict[str, Any] = {
        "circuit": surrogate.circuit.name,
        "summary": result,
        "arguments": asdict(arguments),
        "provenance": provenance,
        "trials": [asdict(trial) for trial in trials],
    }
    out = Path(arguments.out or run / ("goals_control.json" if arguments.control else "goals.json"))
    write_text(out, json.dumps(content, indent=1, allow_nan=False) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
