"""Hyperparameters of PPO from `configs/agents/` (the schema of rl-baselines3-zoo), and the environment."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from zsgym.circuits.problems import describe
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES, Better
from zsgym.paths import data_root
from zsgym.scripts import reason
from zsgym.simulators.surrogate import SurrogateSimulator

from zsgym.circuits import Circuit, did_you_mean
from zsgym.envs.sb3 import SizingVecEnv


def _learning_rate(value: float | str) -> float | str:
    """A number, or a linear schedule by the name that rl-baselines3-zoo gives it."""
    falling = isinstance(value, str) and value.startswith("lin_")
    try:
        rate = float(str(value).removeprefix("lin_"))  # YAML reads 1e-3 as text
    except ValueError:
        rate = math.nan
    if not 0.0 < rate < math.inf:
        raise ValueError(f"it is a positive number, or lin_NUMBER, got {value!r}")
    return value if falling else rate


class Settings(BaseModel):
    """One entry of the file: what builds the environments, and the arguments of `stable_baselines3.PPO`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env_kwargs: dict[str, Any] = {}
    """arguments of the environment, `max_episode_steps` among them"""
    vec_env_wrapper: str | None = None
    """dotted name of an SB3 vector wrapper, applied before normalisation"""
    normalize: bool | dict[str, Any] = False
    """`VecNormalize`, with these arguments"""
    n_envs: int = Field(1, gt=0)
    n_timesteps: int = Field(gt=0)

    policy: str = "MlpPolicy"
    policy_kwargs: dict[str, Any] = {}
    n_steps: int = Field(2048, gt=0)
    batch_size: int = Field(64, gt=1)
    n_epochs: int = Field(10, gt=0)
    gamma: float = Field(0.99, ge=0, le=1)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    learning_rate: Annotated[float | str, AfterValidator(_learning_rate)] = 3e-4
    """a number, or `lin_NUMBER`, which falls to zero at the end of the run"""
    clip_range: float = Field(0.2, gt=0)
    ent_coef: float = Field(0.0, ge=0)
    vf_coef: float = Field(0.5, ge=0)
    max_grad_norm: float = Field(0.5, gt=0)
    use_sde: bool = False
    sde_sample_freq: int = -1
    target_kl: float | None = None

    @property
    def rollout(self) -> int:
        """Environment steps between two updates."""
        return self.n_envs * self.n_steps

    def algorithm(self) -> dict[str, Any]:
        """The arguments of `PPO`."""
        environment = ("env_kwargs", "vec_env_wrapper", "normalize", "n_envs", "n_timesteps", "policy")
        arguments = {name: getattr(self, name) for name in type(self).model_fields if name not in environment}
        if isinstance(self.learning_rate, str):
            arguments["learning_rate"] = LinearSchedule(float(self.learning_rate.removeprefix("lin_")), 0.0, 1.0)
        return arguments


def default_file(goals: str) -> Path:
    """The hyperparameters that come with the project, for `fixed` or for `random` targets."""
    return data_root() / "configs" / "agents" / ("ppo-goals.yaml" if goals == "random" else "ppo.yaml")


def read_settings(path: Path, env: str, overrides: Sequence[str] = ()) -> Settings:
    """The hyperparameters of one environment.

    :param env: environment id, a key of the file. :param overrides: `KEY=VALUE`, values as in YAML.
    :raises ConfigError: the file, the id or a value is invalid; the message names the valid choices.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(reason(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get(env), dict):
        raise ConfigError(f"{path} has no settings for {env!r}. {did_you_mean(env, content or [], 'It has')}")
    values = dict(content[env])
    for pair in overrides:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ConfigError(f"an override is KEY=VALUE, got {pair!r}")
        values[key] = yaml.safe_load(value)
    where = f"{path} with {' '.join(overrides)}" if overrides else f"{path}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}: {env}.{line}" for line in describe(error, Settings))) from error


def make_env(settings: Settings, circuit: Any, **arguments: Any) -> VecEnv:
    """The vector environment that PPO learns in.

    :param circuit: environment id, or a circuit. :param arguments: of `SizingVecEnv`, before those of the settings.
    """
    merged: Mapping[str, Any] = {**settings.env_kwargs, **arguments}
    env: VecEnv = VecMonitor(SizingVecEnv(circuit, settings.n_envs, **merged))
    if settings.vec_env_wrapper is not None:
        env = _named_class(settings.vec_env_wrapper)(env)
    if settings.normalize:
        options = settings.normalize if isinstance(settings.normalize, dict) else {}
        env = VecNormalize(env, **{"gamma": settings.gamma, **options})
    return env


def guarded(
    circuit: Circuit, targets: Mapping[str, float], surrogate: SurrogateSimulator, share: float
) -> dict[str, float]:
    """Targets tightened by a share of the surrogate's prediction interval.

    An episode ends as soon as every spec is met; without a guard, training ends every episode right at the border,
    where an error of the surrogate decides.

    :param targets: metric -> SI value. :param share: 0 leaves them as they are, 1 moves them by half an interval.
    """
    known = circuit.netlist_hash in surrogate.checkpoint.topologies
    calibration = surrogate.checkpoint.calibration[circuit.netlist_hash if known else "pooled"]
    tightened = {}
    for name, target in targets.items():
        k = METRIC_NAMES.index(name)
        transform, half_width = surrogate.checkpoint.normaliser.metrics[k], min(calibration.interval[k], 1.0)
        sign = 1.0 if METRIC_BY_NAME[name].better is Better.HIGH else -1.0
        normalised = transform.normalise(np.array(abs(target))) + sign * share * half_width
        tightened[name] = max(float(transform.restore(normalised)), 0.1 * abs(target))
    return tightened


def _named_class(name: str) -> Any:
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"vec_env_wrapper: there is no class {name!r} ({error})") from error
