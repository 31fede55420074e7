"""The batched core behind every face: it has sizings simulated in one batch, judges them and logs them.

A core runs `num_envs` sub-environments of one circuit on one simulator. `SizingEnv` (Gymnasium, one), `SizingVectorEnv`
(Gymnasium, many) and `SizingVecEnv` (Stable-Baselines3) are thin translations of its states, which is why they agree
to the bit. Faces own the random number generators and decide when a sub-environment is reset; the core owns the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from zsgym import simulators
from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.circuits import DEFAULT_VERDICT, Cases, Circuit, Sizing, load_circuit
from zsgym.envs.state import Assessment, State, assess
from zsgym.envs.task import SizingTask, TaskArguments
from zsgym.evaluate import Evaluator, LogPlace, check_log_place, error_of
from zsgym.simulators.base import Simulator, policy_name
from zsgym.simulators.outcome import Outcome

DEFAULT_BACKEND = "surrogate"
"""What answers when an environment is made without `backend`."""


class CoreArguments(TaskArguments, total=False):
    """Every argument that the three faces share; `SizingEnv` documents them."""

    backend: str | Simulator
    backend_options: Mapping[str, Any] | None
    workers: int
    log: LogPlace


@dataclass(frozen=True, slots=True)
class _Move:
    """A sizing that is about to be simulated; `previous` and `action` are None at the start of an episode."""

    slot: int
    seed: int | None
    point: NDArray[np.float64]
    sizing: Sizing
    targets: Mapping[str, float]
    previous: State | None = None
    action: NDArray[np.float64] | None = None


class SizingCore:
    """`num_envs` sub-environments over one simulator."""

    def __init__(
        self,
        circuit: str | os.PathLike[str] | Circuit,
        num_envs: int = 1,
        step_limit: int | None = None,
        **arguments: Unpack[CoreArguments],
    ) -> None:
        """Load the circuit, validate the arguments and start the simulator.

        :param step_limit: number of steps at which an episode counts as truncated; None for no limit.
        :raises ConfigError: an argument is invalid; the message names the valid choices.
        :raises SimulatorError: the backend cannot be started.
        """
        for name in arguments:
            if name not in CoreArguments.__optional_keys__:
                raise ConfigError(
                    f"unknown argument {name!r}. {did_you_mean(name, sorted(CoreArguments.__optional_keys__))}"
                )
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ConfigError(f"the number of environments must be a positive integer, got {num_envs!r}")
        if step_limit is not None and step_limit < 1:
            raise ConfigError(f"max_episode_steps must be at least 1 (or None), got {step_limit!r}")
        self.circuit = load_circuit(circuit) if isinstance(circuit, str | os.PathLike) else circuit
        self.num_envs = num_envs
        self.step_limit = step_limit
        self.env_id: str | None = None
        backend = arguments.pop("backend", DEFAULT_BACKEND)
        options = dict(arguments.pop("backend_options", None) or {})
        if "targets" in options:
            raise ConfigError("targets are not an option of a backend here: give them as targets=")
        workers = arguments.pop("workers", 1)
        log = arguments.pop("log", True)
        self.task = SizingTask.create(self.circuit, arguments)
        self.circuit = self.task.circuit
        policy = (
            options.get("policy", DEFAULT_VERDICT) if isinstance(backend, str) else policy_name(backend, self.circuit)
        )
        self._arguments = {
            **self.task.arguments(),
            "backend": backend if isinstance(backend, str) else None,
            "backend_options": options or None,
        }
        self._environments: dict[int | None, str] = {}
        self._states: list[State | None] = [None] * num_envs
        self._episodes = 0
        self._closed = False
        # Last, so that an invalid argument leaves no process behind.
        check_log_place(log)
        self.simulator = self._simulator(backend, workers, options)
        self._evaluator = Evaluator(self.simulator, log=log, policy=policy, owns_simulator=isinstance(backend, str))

    def state(self, slot: int) -> State:
        """The current state of one sub-environment.

        :raises ResetNeeded: it has none yet.
        """
        state = self._states[slot]
        if state is None:
            raise ResetNeeded("the environment has no state before the first reset(): call reset() first")
        return state

    def reset(
        self,
        generators: Mapping[int, np.random.Generator],
        seeds: Mapping[int, int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> list[State]:
        """Begin new episodes in some sub-environments; the starting sizings are simulated in one batch.

        :param generators: sub-environment -> what draws its starting sizing.
        :param seeds: sub-environment -> what its generator has just been seeded with; only written to the log.
        :param options: `targets` and `sizing`, for these episodes only (see `SizingTask.start`).
        :raises ConfigError: an option is unknown or invalid.
        :raises SimulatorError: the infrastructure failed; states and generators are as before.
        """
        with _restored_on_error(generators):
            return self._run([self._start(slot, generators[slot], seeds or {}, options or {}) for slot in generators])

    def step(
        self, actions: Sequence[ArrayLike] | NDArray[Any], restart: Mapping[int, np.random.Generator] | None = None
    ) -> list[State]:
        """Move every sub-environment by one action, in one batch.

        :param actions: one per sub-environment, each of shape (parameters,), finite; clipped to [-1, 1].
        :param restart: sub-environments that begin a new episode instead (their action is ignored) -> generator.
        :raises ConfigError: an action of a wrong shape, or not finite.
        :raises ResetNeeded: a sub-environment was never reset, or its episode has terminated.
        :raises SimulatorError: the infrastructure failed; states and generators are as before.
        """
        if len(actions) != self.num_envs:
            raise ConfigError(f"expected one action for each of {self.num_envs} environments, got {len(actions)}")
        restart = restart or {}
        states = {slot: self._open_state(slot) for slot in range(self.num_envs) if slot not in restart}
        checked = self.task.check_actions(actions, ignored=restart)
        with _restored_on_error(restart):
            moves = self._step(states, checked[list(states)])
            moves |= {slot: self._start(slot, generator, {}, {}) for slot, generator in restart.items()}
            return self._run([moves[slot] for slot in range(self.num_envs)])

    def close(self) -> None:
        """Close the log, and the simulator unless it was passed in as an object. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._evaluator.close()

    def _simulator(self, backend: str | Simulator, workers: int, options: dict[str, Any]) -> Simulator:
        if isinstance(backend, str):
            return simulators.make_simulator(backend, self.circuit, workers=workers, **options)
        if not isinstance(backend, Simulator):
            raise ConfigError(f"backend must be the name of a backend or a Simulator, got {type(backend).__name__}")
        if options:
            raise ConfigError("backend_options belong to a backend given by its name; this Simulator exists already")
        return backend

    def _start(
        self,
        slot: int,
        generator: np.random.Generator,
        seeds: Mapping[int, int | None],
        options: Mapping[str, Any],
    ) -> _Move:
        point, sizing, targets = self.task.start(generator, options)
        before = self._states[slot]
        seed = seeds.get(slot)
        if seed is None and before is not None:
            seed = before.seed
        return _Move(slot, seed, point, sizing, targets)

    def _open_state(self, slot: int) -> State:
        state = self.state(slot)
        if state.terminated:
            raise ResetNeeded("the episode has terminated (every spec is met): call reset() before the next step()")
        return state

    def _step(self, states: Mapping[int, State], actions: NDArray[np.float64]) -> dict[int, _Move]:
        if not states:
            return {}
        points = self.task.moved(np.stack([state.point for state in states.values()]), actions)
        return {
            slot: _Move(slot, state.seed, point, sizing, state.targets, state, action)
            for (slot, state), point, sizing, action in zip(
                states.items(), points, self.task.sizings(points), actions, strict=True
            )
        }

    def _run(self, moves: Sequence[_Move]) -> list[State]:
        """Simulate, assess, log; only then do the new states take effect."""
        cases = self.circuit.cases([move.sizing for move in moves], self.task.conditions)
        outcomes = self._simulate(cases, moves)
        assessments = assess(
            self.circuit.metrics,
            np.stack([move.point for move in moves]),
            outcomes,
            [move.targets for move in moves],
            self.task.failure_reward,
        )
        episodes = self._episodes
        states = []
        for move, outcome, assessment in zip(moves, outcomes, assessments, strict=True):
            states.append(self._state(move, outcome, assessment, episodes))
            episodes += move.previous is None
        shared = {"env_id": self.env_id, "environment": self._environment()}
        # All or none: a step of a batch that cannot be logged has not happened in any of its environments.
        self._evaluator.record(cases, outcomes, [{**shared, **state.as_row()} for state in states])
        self._episodes = episodes
        for move, state in zip(moves, states, strict=True):
            self._states[move.slot] = state
        return states

    def _environment(self) -> str:
        """The arguments that make this environment anew, as JSON for the log; a face may change the step limit."""
        if self.step_limit not in self._environments:
            arguments = {**self._arguments, "max_episode_steps": self.step_limit}
            self._environments[self.step_limit] = json.dumps(arguments, sort_keys=True, default=str)
        return self._environments[self.step_limit]

    def _simulate(self, cases: Cases, moves: Sequence[_Move]) -> list[Outcome]:
        outcomes = self._evaluator.ask(cases, [move.targets for move in moves], errors="return")
        lost = [outcome for outcome in outcomes if outcome.label is None]
        if lost:
            error = error_of(lost[0], self.simulator)
            contexts = [{"env_id": self.env_id, "seed": move.seed} for move in moves]
            self._evaluator.record_errors(cases, outcomes, error, contexts)
            raise error
        return outcomes

    def _state(self, move: _Move, outcome: Outcome, assessment: Assessment, next_episode: int) -> State:
        previous = move.previous
        return State(
            episode=next_episode if previous is None else previous.episode,
            step=0 if previous is None else previous.step + 1,
            seed=move.seed,
            point=move.point,
            sizing=move.sizing,
            conditions=self.task.conditions,
            metric_set=self.circuit.metrics,
            targets=move.targets,
            outcome=outcome,
            assessment=assessment,
            failure_reward=self.task.failure_reward,
            step_limit=self.step_limit,
            action=move.action,
            earlier_rewards=() if previous is None else previous.rewards,
        )


@contextmanager
def _restored_on_error(generators: Mapping[int, np.random.Generator]) -> Iterator[None]:
    """Put generators back to where they were when the block fails, so that a retry repeats the same episode."""
    kept = {slot: generator.bit_generator.state for slot, generator in generators.items()}
    try:
        yield
    except BaseException:
        for slot, generator in generators.items():
            generator.bit_generator.state = kept[slot]
        raise
