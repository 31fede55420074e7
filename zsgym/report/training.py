"""Training curves from a TensorBoard run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zsgym.base.errors import ConfigError
from zsgym.report.figures import Curve

MOST_CURVES = 6
_TELLING = ("success", "feasible", "reward", "rew_mean", "validity", "gap", "auroc", "loss")
"""What is shown first when a run has more curves than fit: parts of tags, the most telling first."""


def training_curves(run: Path) -> dict[str, Curve]:
    """The most telling scalar curves of a run: tag -> (n,) steps and (n,) values.

    :param run: a folder with TensorBoard event files, its own or in folders below.
    :raises ConfigError: there is no such folder, or no curve in it.
    """
    files = sorted(run.rglob("events.out.tfevents.*")) if run.is_dir() else []
    if not files:
        raise ConfigError(f"{run} holds no TensorBoard run: give the folder in which the events.out.tfevents files are")
    curves: dict[str, Curve] = {}
    for folder in dict.fromkeys(file.parent for file in files):
        for tag, curve in _scalars(folder).items():
            name = tag if folder == run else f"{folder.relative_to(run)}: {tag}"
            if curve[0].size > 1:
                curves[name] = curve
    if not curves:
        raise ConfigError(f"the TensorBoard run in {run} has no curve of two or more points yet")
    return {name: curves[name] for name in _most_telling(list(curves))}


def _scalars(folder: Path) -> dict[str, Curve]:
    # Quiet, and imported here because it takes a second.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 2000}).Reload()
    return {tag: _curve(events.Scalars(tag)) for tag in events.Tags()["scalars"]}


def _curve(events: Sequence[object]) -> Curve:
    steps = np.array([event.step for event in events], dtype=np.float64)  # type: ignore[attr-defined]
    values = np.array([event.value for event in events], dtype=np.float64)  # type: ignore[attr-defined]
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _most_telling(tags: Sequence[str]) -> list[str]:
    """At most `MOST_CURVES` tags: one per telling word first, then the rest in order."""
    first = [next((tag for tag in tags if word in tag), None) for word in _TELLING]
    ordered = dict.fromkeys([*(tag for tag in first if tag is not None), *tags])
    return list(ordered)[:MOST_CURVES]
