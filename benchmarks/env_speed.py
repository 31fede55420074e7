"""How many environment steps per second does an agent get, on the surrogate and on ngspice, with and without the log?

    python benchmarks/env_speed.py            # about five minutes on two quiet cores
    python benchmarks/env_speed.py --quick    # a look in one

Measured in turns, round by round, so that whatever else the machine does hits all alike; medians over the rounds:
(a) `SizingVecEnv.step` alone, with random actions, from one batch size to the next;
(b) PPO of Stable-Baselines3 end to end (policy, environments, updates) with the hyperparameters of
    `agents/ppo.py --goals random`, with random targets in every episode;
both with and without the sample log, one row per step, and how many bytes a row of the log takes. "CPU" counts
processor seconds of this process and its workers: what one undisturbed core would do.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import COLOURS, RESULTS, format_table, new_figure, provenance, save_figure, write_json
from processes import family_cpu_s, timed
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from agents.command import chosen_problem
from agents.ppo import Arguments, algorithm, complete, environment
from zsgym.base.scripts import ending_in_one_line
from zsgym.samples import read_samples

GOAL = 1500.0
"""Steps per second of PPO on the surrogate, with the log, on two cores: what the project asks of itself."""

_ROLLOUT = 512


@dataclass
class Case:
    """One thing that is measured: environment steps per call of `work`, and what each round took."""

    backend: str
    what: str
    n_envs: int
    log: bool
    steps: int
    work: Callable[[], object]
    env: VecEnv
    place: Path | None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round; the environments and what they cache are warm."""
        before = family_cpu_s()
        self.wall.append(self.steps / timed(self.work)[1])
        # Processor time is counted in ticks; a call that is shorter than one tells nothing.
        self.cpu.append(self.steps / max(family_cpu_s() - before, 0.01))

    def bytes_per_row(self) -> float | None:
        """What the log takes for a row, everything counted; None without a log."""
        if self.place is None:
            return None
        rows = sum(1 for _ in read_samples(self.place))
        return sum(file.stat().st_size for file in self.place.rglob("*") if file.is_file()) / rows

    def result(self) -> dict[str, Any]:
        """Medians and what they rest on."""
        return {
            "backend": self.backend,
            "what": self.what,
            "n_envs": self.n_envs,
            "log": self.log,
            "steps_per_s": float(np.median(self.wall)),
            "steps_per_cpu_s": float(np.median(self.cpu)),
            "steps_per_round": self.steps,
            "rounds": self.wall,
            "log_bytes_per_row": self.bytes_per_row(),
        }


def stepping(backend: str, settings: Arguments, env: VecEnv, place: Path | None, steps: int) -> Case:
    """`VecEnv.step` with random actions."""
    generator = np.random.default_rng(0)
    shape = (settings.n_envs, *env.action_space.shape)  # type: ignore[misc]
    calls = max(steps // settings.n_envs, 1)

    def work() -> None:
        for _ in range(calls):
            env.step(generator.uniform(-1.0, 1.0, shape).astype(np.float32))

    env.reset()
    return Case(backend, "step", settings.n_envs, place is not None, calls * settings.n_envs, work, env, place)


def training(backend: str, settings: Arguments, env: VecEnv, place: Path | None, steps: int) -> Case:
    """PPO, in whole rollouts."""
    model = algorithm(settings, env)
    rollout = settings.n_envs * settings.n_steps
    whole = max(steps // rollout, 1) * rollout

    def work() -> None:
        model.learn(whole, reset_num_timesteps=False)

    model.learn(rollout)  # the first update imports and allocates
    return Case(backend, "PPO", settings.n_envs, place is not None, whole, work, env, place)


def cases(arguments: argparse.Namespace, folder: Path) -> list[Case]:
    """Everything that is measured, its environments open."""
    published = complete(Arguments(env=arguments.env, goals="random", seed=0))
    circuit, _, _ = chosen_problem(published)
    plan = [("surrogate", n, arguments.steps) for n in arguments.n_envs]
    plan.append(("ngspice", arguments.ngspice_envs, arguments.ngspice_steps))
    found = []
    for backend, n_envs, steps in plan:
        rollout = min(_ROLLOUT, max(steps, n_envs))
        changes = {"n_envs": n_envs, "n_steps": max(rollout // n_envs, 1)}
        changes["batch_size"] = min(published.batch_size, n_envs * changes["n_steps"])
        settings = replace(published, **changes)
        for make in (stepping, training):
            for log in (False, True):
                options = {"workers": arguments.workers} if backend == "ngspice" else {}
                place = folder / f"{backend}-{n_envs}-{make.__name__}" if log else None
                choice = {
                    "backend": backend,
                    "random_targets": "train",
                    "log": str(place) if place else False,
                    **options,
                }
                found.append(make(backend, settings, environment(settings, circuit, **choice), place, steps))
    return found


def table(results: list[dict[str, Any]]) -> str:
    """The results, one row per backend and batch size."""
    rows = []
    for backend, n_envs in dict.fromkeys((r["backend"], r["n_envs"]) for r in results):
        own = {(r["what"], r["log"]): r for r in results if (r["backend"], r["n_envs"]) == (backend, n_envs)}
        wall = [own[what, log]["steps_per_s"] for what in ("step", "PPO") for log in (False, True)]
        cpu = [own[what, True]["steps_per_cpu_s"] for what in ("step", "PPO")]
        size = own["PPO", True]["log_bytes_per_row"]
        rows.append([backend, n_envs, *(f"{value:,.0f}" for value in (*wall, *cpu, size))])
    header = (
        *("backend", "envs", "step", "step, log", "PPO", "PPO, log", "step, log / CPU s", "PPO, log / CPU s"),
        "log bytes / row",
    )
    return format_table("environment steps per second", header, rows)


def figure(results: list[dict[str, Any]], path: Path) -> None:
    """Steps per second of PPO and of the environment alone, against the number of environments."""
    drawing, axes = new_figure(1, 1, 6.0, 3.6)
    axis = axes[0, 0]
    lines = [(what, log) for what in ("step", "PPO") for log in (False, True)]
    for colour, (what, log) in zip(COLOURS, lines, strict=False):
        own = [r for r in results if (r["backend"], r["what"], r["log"]) == ("surrogate", what, log)]
        name = f"{'PPO' if what == 'PPO' else 'environment alone'}, log {'on' if log else 'off'}"
        line = "-" if log else "--"
        axis.plot([r["n_envs"] for r in own], [r["steps_per_s"] for r in own], f"o{line}", color=colour, label=name)
    truth = next(r for r in results if r["backend"] == "ngspice" and r["what"] == "PPO" and r["log"])
    axis.axhline(truth["steps_per_s"], color=COLOURS[-2], linestyle=":", label="PPO on ngspice, log on")
    axis.set(xscale="log", yscale="log", xlabel="environments in one batch", ylabel="environment steps per second")
    sizes = sorted({r["n_envs"] for r in results if r["backend"] == "surrogate"})
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.legend(fontsize=8)
    save_figure(drawing, path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="zsgym/NMCF-v0", help="environment id (default: %(default)s)")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[8, 32, 64], help="batch sizes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4096, help="steps per round on the surrogate (%(default)s)")
    parser.add_argument("--ngspice-envs", type=int, default=8, help="batch size on ngspice (default: %(default)s)")
    parser.add_argument("--ngspice-steps", type=int, default=64, help="steps per round on ngspice (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="ngspice processes (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds of few steps")
    parser.add_argument("--out", type=Path, default=RESULTS / "env_speed.json", help="JSON file (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.steps, arguments.ngspice_steps = 2, 1024, 16
    torch.set_num_threads(1)
    with ending_in_one_line(), tempfile.TemporaryDirectory() as folder:
        measured = cases(arguments, Path(folder))
        for _ in tqdm(range(arguments.rounds), unit="round", desc="environment speed"):
            for case in measured:
                case.measure()
        for case in measured:
            case.env.close()
        results = [case.result() for case in measured]
    facts = provenance("torch", "stable-baselines3", "gymnasium", env=arguments.env, workers=arguments.workers)
    write_json(arguments.out, {"provenance": facts, "goal_steps_per_s": GOAL, "results": results})
    figure(results, arguments.out.with_suffix(".png"))
    print(table(results))
    best = max(r["steps_per_s"] for r in results if (r["backend"], r["what"], r["log"]) == ("surrogate", "PPO", True))
    truth = next(r["steps_per_s"] for r in results if (r["backend"], r["what"], r["log"]) == ("ngspice", "PPO", True))
    print(
        f"PPO with the log: {best:,.0f} steps/s on the surrogate, {best / truth:,.0f} times ngspice (goal: {GOAL:,.0f})"
    )


if __name__ == "__main__":
    main()
