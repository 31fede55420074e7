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

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from stable_baselines3 import PPO
from tqdm import tqdm
from zsgym.errors import ConfigError
from zsgym.files import write_text
from zsgym.scripts import ending_in_one_line
from zsgym.simulators.surrogate import SurrogateSimulator
from zsgym.specs import exactly
from zsgym.tables import table

from agents.command import option, parse
from agents.ppo import settings_of, stored_arguments
from agents.ppo_callbacks import MODEL, newest_checkpoint
from agents.ppo_designs import Archive, Verifier
from agents.ppo_play import Act, half_exploring, play
from agents.ppo_settings import guarded
from zsgym.circuits import Circuit
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.targets import TargetPool
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import Simulator, make_simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import Problem


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
    the best design in ngspice.
    """

    targets: dict[str, float]
    promised: bool
    calls: int
    met: bool
    reward: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Agent:
    """A policy with the simulator and the environment arguments that it was trained with; None acts at random."""

    circuit: Circuit
    model: PPO | None
    surrogate: SurrogateSimulator
    env_kwargs: dict[str, Any]

    def propose(
        self, archive: Archive, targets: dict[str, float], wanted: dict[str, float], starts: int, seed: int
    ) -> None:
        """Add the designs that an episode from each start passes through to the archive, judged by the targets.

        Half of the starts follow the mean of the policy, the other half explore.

        :param wanted: the targets that the policy sees.
        """
        env = SizingVecEnv(self.circuit, starts, backend=self.surrogate, targets=wanted, log=False, **self.env_kwargs)
        act = _at_random(seed, env.action_space.shape) if self.model is None else half_exploring(self.model)
        play(archive, env, act, targets, seed)


def _at_random(seed: int, shape: tuple[int, ...] | None) -> Act:
    rng = np.random.default_rng(seed)
    return lambda observations: rng.uniform(-1.0, 1.0, (len(observations), *(shape or ()))).astype(np.float32)


def attempt(agent: Agent, truth: Simulator, targets: dict[str, float], arguments: Arguments, seed: int) -> Trial:
    """Try to meet one set of targets."""
    started = time.perf_counter()
    wanted = guarded(agent.circuit, targets, agent.surrogate, arguments.guard)
    archive = Archive.empty(len(agent.circuit.parameters))
    for i in range(arguments.attempts):
        agent.propose(archive, targets, wanted, arguments.starts, seed + i * arguments.starts)
        if archive.feasible:
            break
    log: bool | Path = Path(arguments.run) / "samples" if arguments.log else False
    with Problem(
        agent.circuit,
        backend=truth,
        targets=exactly(agent.circuit.targets, targets),
        budget=arguments.spice_budget,
        log=log,
        agent="ppo-goals",
        seed=seed,
    ) as problem:
        verifier = Verifier(agent.surrogate, problem, Belief(agent.surrogate.checkpoint, agent.circuit, targets))
        verifier.verify(archive, arguments.spice_budget, 0)
        reward = -math.inf if verifier.best is None else verifier.best.measured.reward
        seconds = time.perf_counter() - started
        return Trial(targets, archive.feasible > 0, problem.simulations, verifier.confirmed, reward, seconds)


def evaluate(agent: Agent, truth: Simulator, arguments: Arguments) -> list[Trial]:
    """Try many sets of unseen targets.

    :raises ConfigError: the circuit has no pool of targets.
    :raises SimulatorError: ngspice failed.
    """
    pool, rng = TargetPool.load(agent.circuit), np.random.default_rng(arguments.seed)
    trials: list[Trial] = []
    with tqdm(range(arguments.goals), unit="goal", disable=None) as bar:
        for i in bar:
            targets = pool.draw("test", rng)
            seed = 1_000_003 * arguments.seed + i * arguments.starts * arguments.attempts
            trials.append(attempt(agent, truth, targets, arguments, seed))
            bar.set_postfix(met=f"{sum(trial.met for trial in trials)}/{len(trials)}", refresh=False)
    return trials


def summary(trials: Sequence[Trial]) -> dict[str, float]:
    """Shares (with the 95 % Wilson interval of the main one), calls of ngspice where the targets were met, seconds."""
    n, met = len(trials), sum(trial.met for trial in trials)
    z, share = 1.96, met / n
    centre, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    calls = [float(trial.calls) for trial in trials if trial.met] or [math.nan]
    return {
        "goals": n,
        "met": share,
        "met_low": (centre - half) / (1 + z**2 / n),
        "met_high": (centre + half) / (1 + z**2 / n),
        "met_at_first_call": sum(trial.met and trial.calls == 1 for trial in trials) / n,
        "promised_by_surrogate": sum(trial.promised for trial in trials) / n,
        "calls_median": float(np.median(calls)),
        "calls_p90": float(np.percentile(calls, 90)),
        "seconds_median": float(np.median([trial.seconds for trial in trials])),
    }


def load_agent(run: Path, control: bool) -> Agent:
    """The agent of a run.

    :raises ConfigError: there is no such run, or it was trained on fixed targets.
    """
    training = stored_arguments(run)
    if training.goals != "random":
        raise ConfigError(f"{run} was trained on fixed targets; evaluate a run of agents/ppo.py --goals random")
    settings = settings_of(training)
    env = SizingVecEnv(training.env, log=False)
    circuit = env.circuit
    env.close()
    surrogate = SurrogateSimulator(circuit, checkpoint=training.checkpoint or None)
    model = None if control else PPO.load(newest_checkpoint(run) / MODEL, device="cpu")
    return Agent(circuit, model, surrogate, {k: v for k, v in settings.env_kwargs.items() if k != "backend"})


def main() -> None:
    """Command line."""
    torch.set_num_threads(1)
    arguments = parse(Arguments, __doc__)
    torch.manual_seed(arguments.seed)
    with ending_in_one_line():
        if not arguments.run:
            raise ConfigError("--run is needed: the folder of a run of agents/ppo.py --goals random")
        run = Path(arguments.run)
        agent = load_agent(run, arguments.control)
        truth = make_simulator("ngspice", agent.circuit)
        try:
            trials = evaluate(agent, truth, arguments)
        finally:
            truth.close()
        provenance = provenance_of_this_process() | dict(truth.provenance) | dict(agent.surrogate.provenance)
    result = summary(trials)
    print(table(("figure", "value"), [[name, f"{value:.4g}"] for name, value in result.items()], right=(1,)))
    out = Path(arguments.out or run / ("goals_control.json" if arguments.control else "goals.json"))
    content = {
        "circuit": agent.circuit.name,
        "summary": result,
        "arguments": dataclasses.asdict(arguments),
        "provenance": provenance,
        "trials": [dataclasses.asdict(trial) for trial in trials],
    }
    write_text(out, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")
    print(f"written: {out}")


def _finite(value: Any) -> Any:
    """The same with null where JSON has no number."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    main()
