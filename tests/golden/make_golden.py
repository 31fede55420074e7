"""Makes `rows.json` and `observations.json` anew, when what they hold has changed for a reason.

    python -m tests.golden.make_golden rows            ngspice: raw measurements of some sizings of some circuits
    python -m tests.golden.make_golden observations    no simulator: what environments make of those rows

Look at the difference before it is committed: every number that moves needs a sentence in the commit's message.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import zsgym  # noqa: F401  (registers the environments)
from tests.chosen import ALWAYS
from zsgym.circuits import Cases, Circuit, load_circuit
from zsgym.datasets import sample
from zsgym.envs.registration import env_id
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import make_simulator
from zsgym.simulators.base import Errors
from zsgym.simulators.outcome import Outcome, Status

FOLDER = Path(__file__).parent
ROWS, OBSERVATIONS, EXPLOITS = (FOLDER / f"{name}.json" for name in ("rows", "observations", "exploits"))

CONDITIONS: tuple[dict[str, Any], ...] = (
    {},
    {"corner": "ss", "supply": 1.62, "temperature": 125.0, "load": 20e-12},
    {"corner": "fs", "supply": 1.98, "temperature": -40.0, "load": 0.0},
)
"""Changes to the circuit's own."""
STEPS = 8


# --- rows -----------------------------------------------------------------------------------------------------------


def sizings(circuit: Circuit) -> dict[str, dict[str, float]]:
    """Name -> sizing: those that are known to work, some of any kind, and two that oscillate."""
    found = dict(circuit.known_good)
    drawn = [("uniform", 0), ("uniform", 2), ("targeted", 3), ("targeted", 4)]
    found |= {f"{strategy} {index}": sample(circuit, strategy, 11, index) for strategy, index in drawn}
    exploits = [entry for entry in json.loads(EXPLOITS.read_text()) if entry["circuit"] == circuit.name]
    return found | {f"exploit, {e['seen_by']}": e["sizing"] for e in exploits}


def cases(circuit: Circuit) -> tuple[list[tuple[str, dict[str, Any]]], Cases]:
    """What is asked of a circuit, and under which name and changes."""
    named = [(name, sizing, changes) for name, sizing in sizings(circuit).items() for changes in CONDITIONS]
    conditions = [circuit.conditions.replace(**changes) for _, _, changes in named]
    return [(name, changes) for name, _, changes in named], circuit.cases([s for _, s, _ in named], conditions)


def measured_rows(circuit: Circuit, workers: int = 1) -> list[dict[str, Any]]:
    """What ngspice says now."""
    names, asked = cases(circuit)
    simulator = make_simulator("ngspice", circuit, workers=workers)
    try:
        outcomes = simulator.simulate(asked)
    finally:
        simulator.close()
    return [
        {"circuit": circuit.name, "sizing": name, "conditions": changes, "failure": o.failure, "raw": dict(o.raw)}
        for (name, changes), o in zip(names, outcomes, strict=True)
    ]


def make_rows() -> dict[str, Any]:
    rows = [row for name in ALWAYS for row in measured_rows(load_circuit(name))]
    simulator = make_simulator("ngspice", load_circuit("nmcf"))
    made_by = provenance_of_this_process() | {"simulator": dict(simulator.provenance)}
    simulator.close()
    return {"made_by": made_by, "rows": rows}


# --- observations ---------------------------------------------------------------------------------------------------


class Replay:
    """Answers one case after another with stored raw measurements, whatever the sizing: ngspice without ngspice."""

    name = "ngspice"

    def __init__(self, circuit: Circuit, answers: Sequence[Mapping[str, float | None]]) -> None:
        self.circuit, self.answers = circuit, answers
        self.policy = circuit.policy("functional")
        self.asked = 0

    @property
    def provenance(self) -> Mapping[str, str]:
        return {"replay": "1"}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        return [self._answer() for _ in cases]

    def _answer(self) -> Outcome:
        raw = self.answers[self.asked % len(self.answers)]
        self.asked += 1
        judged = self.circuit.circuit_class
        failure = judged.judge(raw, self.policy)
        if failure is not None:
            return Outcome(Status.CIRCUIT_FAILURE, failure, raw=raw, backend=self.name)
        return Outcome(Status.SUCCESS, metrics=judged.metrics_of(raw), raw=raw, backend=self.name)

    def close(self) -> None:
        pass


ROLLOUTS: tuple[dict[str, Any], ...] = (
    {},
    {"action_mode": "delta", "step_size": 0.3, "targets": {"gbw": 2.5e6, "tc": None}, "failure_reward": -50.0},
)
"""Arguments of the environments that are rolled out."""


def environment_ids() -> list[str]:
    """Those of the circuits that are always tested."""
    return [env_id(name) for name in ALWAYS]


def rollout(
    name: str, arguments: Mapping[str, Any], answers: Sequence[Mapping[str, float | None]]
) -> list[dict[str, Any]]:
    """A reset and some steps: the complete record of each."""
    circuit = load_circuit(gym.spec(name).kwargs["circuit"])
    env = gym.make(name, backend=Replay(circuit, answers), log=False, disable_env_checker=True, **arguments)
    return list(_played(env))


def _played(env: gym.Env[Any, Any]) -> Iterator[dict[str, Any]]:
    observation, info = env.reset(seed=5)
    yield _record(observation, 0.0, False, False, info)
    n = env.action_space.shape[0]  # type: ignore[index]
    for step in range(1, STEPS):
        action = np.sin(np.arange(n) * 1.7 + step).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        yield _record(observation, float(reward), terminated, truncated, info)
        if terminated or truncated:
            env.reset(seed=step)
    env.close()


def _record(observation: Any, reward: float, terminated: bool, truncated: bool, info: dict[str, Any]) -> dict[str, Any]:
    return {
        "observation": [float(value) for value in observation],  # exact: every float32 is a float
        "reward": reward,
        "terminated": terminated,
        "truncated": truncated,
        "info": info,
    }


def answers_of(circuit: str) -> list[dict[str, float | None]]:
    """The stored rows of a circuit in an order in which works and does not alternate."""
    rows = [row for row in json.loads(ROWS.read_text())["rows"] if row["circuit"] == circuit and row["raw"]]
    working, failing = ([row["raw"] for row in rows if (row["failure"] is None) is works] for works in (True, False))
    mixed = [raw for pair in zip(working, failing, strict=False) for raw in pair]
    return (mixed + working + failing)[: STEPS + 2]


def make_observations() -> dict[str, Any]:
    environments = {}
    for name in environment_ids():
        answers = answers_of(gym.spec(name).kwargs["circuit"])
        played = [{"arguments": arguments, "steps": rollout(name, arguments, answers)} for arguments in ROLLOUTS]
        environments[name] = {"answers": answers, "rollouts": played}
    return {"made_by": provenance_of_this_process(), "environments": environments}


MAKERS = {"rows": (make_rows, ROWS), "observations": (make_observations, OBSERVATIONS)}

if __name__ == "__main__":
    make, path = MAKERS[sys.argv[1]]
    path.write_text(json.dumps(make(), indent=1) + "\n")
    print(path)
