"""The folder of a training run: what it was asked for, whether it can go on, and from where."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure

from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.base.scripts import reason
from zsgym.training.checkpoints import checkpoint_path, checkpoints

A = TypeVar("A", bound=Any)
"""A dataclass of arguments; `open_run` looks at its env, seed, steps, run and resume."""

_ARGUMENTS = "arguments.json"


def open_run(arguments: A, agent: str) -> tuple[A, Path, Path | None]:
    """Arguments, folder and checkpoint of the run to work on: a new one, or the one that `--resume` names.

    Nothing is written yet. The checkpoint is None where training begins at the beginning.

    :param arguments: all but run or resume are as by default when a run is resumed; steps may be given anew.
    :raises ConfigError: there is no such run, it is finished, or a new one would begin in the folder of another.
    """
    if not arguments.resume:
        name = f"{arguments.env.rpartition('/')[2]}__{agent}__{arguments.seed}__{time.strftime('%Y%m%d-%H%M%S')}"
        folder = Path(arguments.run or f"runs/{name}")
        if checkpoints(folder):
            raise ConfigError(f"{folder} holds a run already: --resume {folder} continues it, another --run begins one")
        return arguments, folder, None
    folder = Path(arguments.resume)
    original = stored_arguments(folder, type(arguments))
    if replace(arguments, resume="", steps=None) != type(arguments)():
        raise ConfigError("only --steps may be given with --resume; everything else is as the run began")
    kept = checkpoints(folder)
    resumed = replace(original, steps=arguments.steps or original.steps)
    if kept and kept[-1] >= checkpoint_path(folder, resumed.steps) and (folder / "designs.json").is_file():
        raise ConfigError(
            f"{folder} is finished after {resumed.steps:,} steps: see designs.json; a larger --steps continues"
        )
    return resumed, folder, kept[-1] if kept else None


def begin_run(folder: Path, arguments: Any, model: PPO) -> None:
    """Write what a run is asked for into its folder and into its curves, which TensorBoard shows.

    :raises ConfigError: the folder cannot be written.
    """
    write_text(folder / _ARGUMENTS, json.dumps(asdict(arguments), indent=1) + "\n")
    rows = "\n".join(f"| {name} | {value} |" for name, value in asdict(arguments).items())
    model.set_logger(configure(str(folder), ["tensorboard"]))
    table = f"| argument | value |\n| --- | --- |\n{rows}"
    model.logger.record("arguments", table, exclude=("stdout", "log", "json", "csv"))


def stored_arguments(folder: Path, kind: type[A]) -> A:
    """The arguments of the run in a folder.

    :raises ConfigError: there is none.
    """
    try:
        stored: A = kind(**json.loads((folder / _ARGUMENTS).read_text(encoding="utf-8")))
        return stored
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{folder} holds no run that can be read: {reason(error)}") from error
