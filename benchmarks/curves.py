"""Scalars of a run, from its TensorBoard events."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zsgym.base.errors import ConfigError

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values."""


def read_curves(folder: Path, names: Iterable[str]) -> dict[str, Curve]:
    """Those of the named curves that a run has. Of a step that a resumed run repeats, the last value counts.

    :raises ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for name in set(names) & set(events.Tags()["scalars"]):
        scalars = {event.step: event.value for event in events.Scalars(name)}
        curves[name] = (np.array(list(scalars), dtype=float), np.array(list(scalars.values())))
    return curves
