"""Rendering of one state: as a table of text ("ansi") or as a picture ("rgb_array")."""

from __future__ import annotations

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import Failure
from zsgym.classes.specs import spec_table
from zsgym.envs.state import State
from zsgym.simulators.outcome import Outcome

RENDER_MODES = ("ansi", "rgb_array")
RENDER_FPS = 4
"""States per second of a video: a few, as each is a picture to be read."""


def check_render_mode(render_mode: str | None) -> str | None:
    """The same mode, or a ConfigError that names the valid ones."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ConfigError(f"unknown render_mode {render_mode!r}; the modes are: {', '.join(RENDER_MODES)} (or None)")
    return render_mode


def render(render_mode: str | None, circuit: Circuit, state: State) -> str | NDArray[np.uint8] | None:
    """The frame of one state: text, an image of shape (height, width, 3), or None without a mode.

    :raises DependencyNotInstalled: an image was asked for without matplotlib.
    """
    if render_mode is None:
        return None
    if render_mode == "ansi":
        specs = spec_table(circuit.metrics, state.metrics, state.targets)
        return f"{headline(circuit, state)}\n{status_line(state)}\n\n{specs}\n"
    try:
        from zsgym.envs.picture import draw
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" draws with matplotlib, which is not installed: pip install "zsgym[video]", '
            "or matplotlib alone where no video is recorded"
        ) from error
    return draw(circuit, state)


def status_line(state: State) -> str:
    """One line: does it work, and how many specs does it meet? What ngspice has not answered is called predicted."""
    if not state.outcome.success:
        return failure_line(state.outcome)
    count, met = len(state.margins), sum(margin >= 0.0 for margin in state.margins.values())
    if is_predicted(state.outcome):
        works = f"predicted to work, misses {count - met} of {count} specs"
        return "predicted to meet every spec" if state.is_success else works
    return "meets every spec" if state.is_success else f"works, meets {met} of {count} specs"


def failure_line(outcome: Outcome) -> str:
    """One line about a sizing that does not work: why, or that this is a prediction."""
    if is_predicted(outcome):
        return "predicted not to work"
    return f"does not work: {(outcome.failure or 'unknown').replace('_', ' ')}"


def is_predicted(outcome: Outcome) -> bool:
    """Whether the verdict is a prediction. Its verdict about the geometry is none: that is computed exactly."""
    return outcome.predicted and outcome.failure != Failure.GEOMETRY


def headline(circuit: Circuit, state: State) -> str:
    """One line: which circuit, which step, which reward."""
    reward = "start" if state.step == 0 else f"reward {state.reward:.3f}"
    return f"{circuit.name.upper()}, episode {state.episode}, step {state.step}, {reward}"
