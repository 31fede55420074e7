"""The sizing task of one circuit, as pure functions: from an action to a sizing, and what a new episode starts from.

Nothing here simulates, remembers or logs; that is the core's business.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.circuits import Circuit, Sizing
from zsgym.classes import Conditions
from zsgym.classes.specs import FAILURE_REWARD
from zsgym.envs.targets import SPLITS, Split, TargetPool

FloatArray = NDArray[np.float64]
ActionMode = Literal["absolute", "delta"]
ACTION_MODES: tuple[ActionMode, ...] = get_args(ActionMode)
RESET_OPTIONS = ("targets", "sizing")


class TaskArguments(TypedDict, total=False):
    """Arguments that define the task; `SizingEnv` documents them."""

    action_mode: ActionMode
    step_size: float
    targets: Mapping[str, float | None] | None
    random_targets: Split | None
    conditions: Mapping[str, Any] | None
    failure_reward: float


@dataclass(frozen=True)
class SizingTask:
    """What is to be sized, how an action acts, and what counts as good.

    step_size: in delta mode, the largest change of a normalised coordinate per step. targets: SI units, the circuit's
    and the overrides. pool, split: where random targets come from; None when they are fixed. fixed: metrics whose
    target is never random. circuit: asked for the optional metrics that have a target.
    """

    circuit: Circuit
    action_mode: ActionMode
    step_size: float
    targets: Mapping[str, float]
    conditions: Conditions
    failure_reward: float
    pool: TargetPool | None
    split: Split | None
    fixed: frozenset[str]

    @classmethod
    def create(cls, circuit: Circuit, arguments: TaskArguments) -> Self:
        """Validate the arguments of an environment.

        :raises ConfigError: naming the argument and what it may be.
        """
        action_mode = arguments.get("action_mode", "absolute")
        if action_mode not in ACTION_MODES:
            raise ConfigError(f"unknown action_mode {action_mode!r}. {did_you_mean(action_mode, ACTION_MODES)}")
        step_size = arguments.get("step_size", 0.1)
        if not _is_number(step_size) or not 0.0 < step_size <= 2.0:
            raise ConfigError(f"step_size must be in (0, 2], in units of the normalised sizing, got {step_size!r}")
        overrides = arguments.get("targets")
        targets = circuit.resolve_targets(overrides)
        circuit = circuit.judged_by(targets)
        split = arguments.get("random_targets")
        if split is not None and split not in SPLITS:
            raise ConfigError(f"unknown random_targets {split!r}. {did_you_mean(split, SPLITS)} (or None)")
        failure_reward = arguments.get("failure_reward", FAILURE_REWARD)
        if not _is_number(failure_reward) or not failure_reward < -len(targets):
            raise ConfigError(
                f"failure_reward must be a finite number below {-len(targets)}, the reward of a working circuit that "
                f"misses all {len(targets)} specs completely, got {failure_reward!r}"
            )
        conditions = circuit.conditions.replace(**(arguments.get("conditions") or {}))
        return cls(
            circuit,
            action_mode,
            float(step_size),
            targets,
            conditions,
            float(failure_reward),
            None if split is None else TargetPool.load(circuit),
            split,
            frozenset(overrides or ()),
        )

    def arguments(self) -> dict[str, Any]:
        """The arguments that make this task again, as plain values; conditions and fixed targets in full.

        With random targets only those that are not drawn are given.
        """
        named = self.circuit.targets.keys() | self.targets.keys() if self.split is None else self.fixed
        return {
            "action_mode": self.action_mode,
            "step_size": self.step_size,
            "targets": {name: self.targets.get(name) for name in sorted(named)} or None,
            "random_targets": self.split,
            "conditions": self.conditions.as_dict(),
            "failure_reward": self.failure_reward,
        }

    def check_actions(self, actions: Sequence[ArrayLike] | NDArray[Any], ignored: Container[int] = ()) -> FloatArray:
        """Actions of a batch as float64 of shape (B, parameters), clipped to [-1, 1]; zeros where they are ignored.

        :param ignored: rows whose action has no effect and is not looked at.
        :raises ConfigError: a shape is wrong or a value is not finite.
        """
        n = len(self.circuit.parameter_names)
        checked = np.zeros((len(actions), n))
        rows = [row for row in range(len(actions)) if row not in ignored]
        if (
            isinstance(actions, np.ndarray)
            and actions.ndim == 2
            and actions.shape[1] == n
            and actions.dtype.kind in "fiu"
        ):
            checked[rows] = actions[rows]
        else:
            for row in rows:
                checked[row] = self._one_action(actions[row])
        if not np.isfinite(checked).all():
            row = checked[np.argmax(~np.isfinite(checked).all(axis=1))].tolist()
            bad = [
                name for name, value in zip(self.circuit.parameter_names, row, strict=True) if not math.isfinite(value)
            ]
            raise ConfigError(f"the action is not finite for {', '.join(bad)}: has the policy diverged?")
        return np.clip(checked, -1.0, 1.0)

    def _one_action(self, action: ArrayLike) -> FloatArray:
        names = self.circuit.parameter_names
        try:
            values = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the action must be an array of {len(names)} numbers, got {action!r}") from error
        if values.shape != (len(names),):
            raise ConfigError(
                f"the action has shape {values.shape}, expected ({len(names)},): one number in [-1, 1] for each of "
                f"{', '.join(names)}"
            )
        return values

    def moved(self, points: FloatArray, actions: FloatArray) -> FloatArray:
        """The normalised sizings (B, parameters) after checked actions.

        In delta mode the coordinates of integer parameters move continuously and only the sizing is rounded: a step
        smaller than one count would otherwise never get anywhere.
        """
        wanted = actions if self.action_mode == "absolute" else points + self.step_size * actions
        return np.clip(wanted, -1.0, 1.0)

    def sizings(self, points: FloatArray) -> list[Sizing]:
        """The sizings in declared units at normalised points (B, parameters)."""
        names = self.circuit.parameter_names
        return [dict(zip(names, values, strict=True)) for values in self.circuit.from_point(points).tolist()]

    def start(
        self, generator: np.random.Generator, options: Mapping[str, Any]
    ) -> tuple[FloatArray, Sizing, Mapping[str, float]]:
        """Normalised sizing, sizing and targets of a new episode; the generator draws them in this order.

        :param options: of `reset`: `targets` (merged into the task's, drawn ones included) and `sizing` (declared
            units, or the name of a known-good sizing). Without `sizing` the start is uniform in the normalised box.
        :raises ConfigError: an option is unknown or invalid.
        """
        for name in options:
            if name not in RESET_OPTIONS:
                raise ConfigError(f"unknown reset option {name!r}. {did_you_mean(name, RESET_OPTIONS)}")
        if options.get("sizing") is not None:
            point, sizing = self._given(options["sizing"])
        else:
            point = generator.uniform(-1.0, 1.0, len(self.circuit.parameter_names))
            (sizing,) = self.sizings(point[None])
        changes = options.get("targets")
        for name in changes if isinstance(changes, Mapping) else ():
            if name in self.circuit.circuit_class.optional_metrics.names and name not in self.circuit.asked:
                raise ConfigError(
                    f"{name} is not measured here, nor is it in the observation: it is optional, and the environment "
                    f"must be made with a target of it, targets={{{name!r}: ...}}"
                )
        return point, sizing, self.circuit.metrics.resolve_targets(self._targets(generator), changes)

    def _targets(self, generator: np.random.Generator) -> Mapping[str, float]:
        """The targets of a new episode, unless its reset options say otherwise."""
        if self.pool is None or self.split is None:
            return self.targets
        drawn = self.pool.draw(self.split, generator)
        # The pool knows nothing of optional metrics.
        return {name: fixed if name in self.fixed else drawn.get(name, fixed) for name, fixed in self.targets.items()}

    def _given(self, given: Mapping[str, float] | str) -> tuple[FloatArray, Sizing]:
        """A start chosen by the caller, which is simulated exactly as given."""
        if isinstance(given, str):
            if given not in self.circuit.known_good:
                known = did_you_mean(given, self.circuit.known_good, "Known")
                raise ConfigError(f"{self.circuit.name} has no known-good sizing {given!r}. {known}")
            given = self.circuit.known_good[given]
        sizing = self.circuit.validate(given)
        point = np.asarray(self.circuit.to_point(self.circuit.vector(sizing)), dtype=np.float64)
        outside = [
            f"{parameter.name} = {sizing[parameter.name]:g} (bounds {parameter.low:g} to {parameter.high:g})"
            for parameter, position in zip(self.circuit.parameters, point, strict=True)
            if not abs(position) <= 1.0 + 1e-9  # "not <=" also catches the NaN of a logarithm below zero
        ]
        if outside:
            raise ConfigError(f"the starting sizing is out of bounds: {', '.join(outside)}")
        return np.clip(point, -1.0, 1.0), sizing


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
