"""Random search with local refinement: the plainest agent that sizes an amplifier, and the floor for all others.

The first part of the budget draws sizings at random; the rest perturbs the best one found so far, with a step width
that grows after a success and shrinks after a failure (the one-fifth rule of I. Rechenberg, 1973). Every candidate is
one step of the environment, so that all of them are logged as labelled samples.

    python agents/random_search.py --env zsgym/NMCF-v0 --budget 400 --seed 1
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

import zsgym  # noqa: F401  (registers the environments)
from zsgym.circuits import Circuit
from zsgym.errors import ZsgymError
from zsgym.sampling import make_strategy


@dataclass
class Arguments:
    """What the search is asked for."""

    env: str = "zsgym/NMCF-v0"
    """id of a registered environment"""
    backend: str = "ngspice"
    """simulator that answers"""
    budget: int = 400
    """number of simulated sizings"""
    explore: float = 0.4
    """share of the budget spent on independent random sizings"""
    seed: int = 1
    """seed of every random draw"""


@dataclass
class Design:
    """A sizing as an action, what it was worth, and the environment's table of its margins."""

    action: np.ndarray
    reward: float
    info: dict[str, Any]
    table: str = ""


def search(arguments: Arguments) -> tuple[Circuit, Design, int]:
    """Run the search.

    :return: the circuit, the best design, and how many of the simulated sizings worked.
    """
    env = gym.make(arguments.env, backend=arguments.backend, max_episode_steps=arguments.budget, render_mode="ansi")
    circuit: Circuit = env.unwrapped.circuit  # type: ignore[attr-defined]
    rng = np.random.default_rng(arguments.seed)
    strategy = make_strategy("log", circuit)
    n_explore = max(1, round(arguments.explore * arguments.budget))
    first = strategy.propose(arguments.seed, range(n_explore))
    best, worked, width = Design(np.zeros(env.action_space.shape), -np.inf, {}), 0, 0.1
    try:
        env.reset(seed=arguments.seed)
        progress = tqdm(range(arguments.budget), unit="sim", desc="sizing")
        for i in progress:
            if i < n_explore:
                action = circuit.to_unit(circuit.vector(first[i]))
            else:
                action = np.clip(best.action + width * rng.standard_normal(best.action.shape), -1.0, 1.0)
            _, reward, met, _, info = env.step(action.astype(np.float32))
            worked += bool(info["sim_success"])
            better = float(reward) > best.reward
            if better:
                best = Design(action, float(reward), info, str(env.render()))
                progress.set_postfix(reward=f"{best.reward:.3f}", refresh=False)
            if i >= n_explore:
                width = np.clip(width * (1.5 if better else 1.5**-0.25), 0.01, 0.3)
            if met:
                break
    except KeyboardInterrupt:
        print("interrupted; the best design so far:")
    finally:
        env.close()
    return circuit, best, worked


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Arguments()
    parser.add_argument("--env", default=defaults.env, help="environment id (default: %(default)s)")
    parser.add_argument("--backend", default=defaults.backend, help="simulator (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=defaults.budget, help="simulated sizings (default: %(default)s)")
    parser.add_argument("--explore", type=float, default=defaults.explore, help="share drawn at random (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="random seed (default: %(default)s)")
    arguments = Arguments(**vars(parser.parse_args()))
    started = time.perf_counter()
    try:
        circuit, best, worked = search(arguments)
    except ZsgymError as error:
        raise SystemExit(f"error: {error}") from None
    seconds = time.perf_counter() - started
    print(f"\n{circuit.title}: {worked} of up to {arguments.budget} sizings worked, {seconds:.0f} s")
    if not best.info or not best.info["sim_success"]:
        raise SystemExit("no working amplifier was found; raise --budget or change --seed")
    print(best.table)
    print("sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in best.info["sizing"].items()))


if __name__ == "__main__":
    main()
