"""Rendering of one state: as a table of text ("ansi") or as a picture ("rgb_array")."""

from __future__ import annotations

import math

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.envs.state import State
from zsgym.errors import ConfigError
from zsgym.metrics import METRIC_BY_NAME, METRIC_NAMES

RENDER_MODES = ("ansi", "rgb_array")

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_CUSTOMARY = {"1/K": ("ppm/K", 1e6), "V/s": ("V/us", 1e-6), "dB": ("dB", 1.0), "deg": ("deg", 1.0)}
"""SI unit -> (what data sheets print, factor); all other units get a prefix."""


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
        return table(circuit, state)
    try:
        from zsgym.envs.picture import draw
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" draws with matplotlib, which is not installed: pip install "zsgym[bench]"'
        ) from error
    return draw(circuit, state)


def status_line(state: State) -> str:
    """One line: does it work, and how many specs does it meet?"""
    if not state.outcome.success:
        return f"does not work: {state.failure.replace('_', ' ')}"
    met = sum(margin >= 0.0 for margin in state.margins.values())
    return "meets every spec" if state.is_success else f"works, meets {met} of {len(state.margins)} specs"


def headline(circuit: Circuit, state: State) -> str:
    """One line: which circuit, which step, which reward."""
    reward = "start" if state.step == 0 else f"reward {state.reward:.3f}"
    return f"{circuit.name.upper()}, episode {state.episode}, step {state.step}, {reward}"


def table(circuit: Circuit, state: State) -> str:
    """Metric, value, target, margin and verdict of every metric, with customary units and prefixes."""
    rows = [("metric", "value", "target", "margin", "met")]
    for name in METRIC_NAMES:
        target, margin = state.targets.get(name), state.margins.get(name)
        rows.append(
            (
                name,
                "-" if state.metrics is None else quantity(state.metrics[name], METRIC_BY_NAME[name].unit),
                "-" if target is None else target_text(name, target),
                "-" if margin is None or state.metrics is None else f"{margin:+.3f}",
                "-" if margin is None else "yes" if margin >= 0.0 else "no",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([headline(circuit, state), status_line(state), "", lines[0], rule, *lines[1:]]) + "\n"


def target_text(name: str, target: float) -> str:
    """A target with the direction in which it counts, e.g. `> 1 MHz`."""
    metric = METRIC_BY_NAME[name]
    return f"{'>' if metric.better == 'high' else '<'} {quantity(metric.magnitude(target), metric.unit)}"


def quantity(value: float, unit: str) -> str:
    """A number in SI units, with four significant digits, in the customary unit or with an engineering prefix."""
    if unit in _CUSTOMARY:
        customary, factor = _CUSTOMARY[unit]
        return f"{value * factor:.4g} {customary}"
    if value == 0.0:
        return f"0 {unit}".rstrip()
    # Round first, so that 999.99 u becomes 1 m and not 1e+03 u.
    value = float(f"{value:.4g}")
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3), min(_PREFIXES)), max(_PREFIXES))
    return f"{value / 10.0**exponent:.4g} {_PREFIXES[exponent]}{unit}".rstrip()
