"""Training configurations: one YAML file says everything that makes a surrogate, and is validated when it is read."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surrogate.model import ModelConfig
from zsgym.base.errors import ConfigError
from zsgym.base.problems import describe, did_you_mean, read_model

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Strict):
    """Which rows are learnt. hold_out: circuits that training never sees (they are evaluated zero-shot)."""

    paths: tuple[str, ...] = Field(min_length=1)
    hold_out: tuple[str, ...] = ()
    limit: int | None = Field(None, gt=0, description="training rows per circuit, for learning curves")


class TrainingConfig(_Strict):
    """Optimisation and loss: L = L_perf + lambda_valid L_valid + lambda_auxiliary L_aux (see `surrogate.losses`).

    regress_failures: L_perf also covers what ngspice measured of amplifiers that are alive but fail (unstable or
    unsettled); false keeps it to valid rows, as in the paper. patience: epochs without a better validation loss.
    """

    epochs: int = Field(40, gt=0)
    batch_size: int = Field(128, gt=0)
    learning_rate: Positive = 2e-3
    weight_decay: float = Field(1e-2, ge=0)
    warmup_steps: int = Field(200, ge=0)
    clip: Positive = 1.0
    lambda_valid: float = Field(1.0, ge=0)
    lambda_auxiliary: float = Field(0.3, ge=0)
    regress_failures: bool = True
    patience: int = Field(10, gt=0)
    seed: int = Field(0, ge=0)


class CalibrationConfig(_Strict):
    """failure_recall: share of failures that the validity threshold catches. coverage: of the conformal intervals."""

    failure_recall: Fraction = 0.95
    coverage: Fraction = 0.9


class SurrogateConfig(_Strict):
    """A whole training configuration."""

    name: str
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    calibration: CalibrationConfig = CalibrationConfig()


def read_config(path: Path, overrides: Mapping[str, Any] | None = None) -> SurrogateConfig:
    """A configuration file, with some dotted keys replaced (`{"training.epochs": 5}`).

    :raises ConfigError: an unknown key or a value outside its range; the message names file and key.
    """
    content = read_model(path, SurrogateConfig).model_dump()
    for key, value in (overrides or {}).items():
        section, _, last = key.rpartition(".")
        place = content.get(section) if section else content
        if not isinstance(place, dict) or last not in place or isinstance(place[last], dict):
            raise ConfigError(f"there is no key {key!r} to override. {did_you_mean(key, _keys(content))}")
        place[last] = value
    try:
        return SurrogateConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(describe(error, SurrogateConfig))}") from error


def _keys(content: Mapping[str, Any]) -> Iterator[str]:
    """Dotted names of every value."""
    for section, value in content.items():
        yield from (f"{section}.{key}" for key in value) if isinstance(value, dict) else (section,)
