"""The sizing task of one circuit, as pure functions: from an action to a sizing, and what a new episode starts from.

Nothing here simulates, remembers or logs; that is the core's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.circuits import Circuit, did_you_mean
from zsgym.errors import ConfigError
from zsgym.outcome import Conditions, Sizing
from zsgym.pdk import CORNERS
from zsgym.specs import FAILURE_REWARD, resolve_targets

ActionMode = Literal["absolute", "delta"]
ACTION_MODES: tuple[ActionMode, ...] = get_args(ActionMode)
RESET_OPTIONS = ("targets", "sizing")


class TaskArguments(TypedDict, total=False):
    """Arguments that define the task; `SizingEnv` documents them."""

    action_mode: ActionMode
    step_size: float
    targets: Mapping[str, float | None] | None
    conditions: Mapping[str, Any] | None
    failure_reward: float


@dataclass(frozen=True)
class SizingTask:
    """What is to be sized, how an action acts, and what counts as good.

    step_size: in delta mode, the largest change of a normalised coordinate per step. targets: SI units.
    """

    circuit: Circuit
    action_mode: ActionMode
    step_size: float
    targets: Mapping[str, float]
    conditions: Conditions
    failure_reward: float

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
        targets = resolve_targets(circuit.targets, arguments.get("targets"))
        failure_reward = arguments.get("failure_reward", FAILURE_REWARD)
        if not _is_number(failure_reward) or not failure_reward < -len(targets):
            raise ConfigError(
                f"failure_reward must be a finite number below {-len(targets)}, the reward of a working amplifier that "
                f"misses all {len(targets)} specs completely, got {failure_reward!r}"
            )
        conditions = _resolve_conditions(circuit.conditions, arguments.get("conditions"))
        return cls(circuit, action_mode, float(step_size), targets, conditions, float(failure_reward))

    def check_action(self, action: ArrayLike) -> NDArray[np.float64]:
        """One action as float64, clipped to [-1, 1].

        :raises ConfigError: the shape is wrong or a value is not finite.
        """
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
        bad = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if bad:
            raise ConfigError(f"the action is not finite for {', '.join(bad)}: has the policy diverged?")
        return np.clip(values, -1.0, 1.0)

    def moved(self, unit: NDArray[np.float64], action: NDArray[np.float64]) -> NDArray[np.float64]:
        """The normalised sizing after a checked action.

        In delta mode the coordinates of integer parameters move continuously and only the sizing is rounded: a step
        smaller than one count would otherwise never get anywhere.
        """
        target = action if self.action_mode == "absolute" else unit + self.step_size * action
        return np.clip(target, -1.0, 1.0)

    def sizing(self, unit: NDArray[np.float64]) -> Sizing:
        """The sizing in declared units at one normalised point, shape (parameters,).

        One point at a time on purpose: numpy's exp and log may round differently with the length of an array, and a
        batch must give exactly what the single environment gives.
        """
        return self.circuit.sizing(self.circuit.from_unit(unit))

    def start(
        self, generator: np.random.Generator, options: Mapping[str, Any]
    ) -> tuple[NDArray[np.float64], Sizing, Mapping[str, float]]:
        """Normalised sizing, sizing and targets of a new episode.

        :param options: of `reset`: `targets` (merged into the task's) and `sizing` (declared units, or the name of a
            known-good sizing). Without `sizing` the start is uniform in the normalised box.
        :raises ConfigError: an option is unknown or invalid.
        """
        for name in options:
            if name not in RESET_OPTIONS:
                raise ConfigError(f"unknown reset option {name!r}. {did_you_mean(name, RESET_OPTIONS)}")
        targets = resolve_targets(self.targets, options.get("targets"))
        if options.get("sizing") is not None:
            return *self._given(options["sizing"]), targets
        unit = generator.uniform(-1.0, 1.0, len(self.circuit.parameter_names))
        return unit, self.sizing(unit), targets

    def _given(self, given: Mapping[str, float] | str) -> tuple[NDArray[np.float64], Sizing]:
        """A start chosen by the caller, which is simulated exactly as given."""
        if isinstance(given, str):
            if given not in self.circuit.known_good:
                known = did_you_mean(given, self.circuit.known_good, "Known")
                raise ConfigError(f"{self.circuit.name} has no known-good sizing {given!r}. {known}")
            given = self.circuit.known_good[given]
        sizing = self.circuit.validate(given)
        unit = np.asarray(self.circuit.to_unit(self.circuit.vector(sizing)), dtype=np.float64)
        outside = [
            f"{parameter.name} = {sizing[parameter.name]:g} (bounds {parameter.low:g} to {parameter.high:g})"
            for parameter, position in zip(self.circuit.parameters, unit, strict=True)
            if not abs(position) <= 1.0 + 1e-9  # "not <=" also catches the NaN of a logarithm below zero
        ]
        if outside:
            raise ConfigError(f"the starting sizing is out of bounds: {', '.join(outside)}")
        return np.clip(unit, -1.0, 1.0), sizing


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _resolve_conditions(defaults: Conditions, overrides: Mapping[str, Any] | None) -> Conditions:
    names = [field.name for field in fields(Conditions)]
    for name, value in (overrides or {}).items():
        if name not in names:
            raise ConfigError(f"unknown condition {name!r}. {did_you_mean(name, names)}")
        if name == "corner":
            if value not in CORNERS:
                raise ConfigError(f"unknown corner {value!r}. {did_you_mean(value, CORNERS)}")
        elif not _is_number(value):
            raise ConfigError(f"the condition {name} must be a finite number, got {value!r}")
    return defaults.replace(**(overrides or {}))
