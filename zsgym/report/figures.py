"""Pictures of a report that belong to no class of circuits: training curves."""

from __future__ import annotations

from zsgym.base.plot import Axis, Panel, Values, drawing, padded

Curve = tuple[Values, Values]


def curve_plot(title: str, curve: Curve) -> str:
    """One training curve: (n,) steps, (n,) values."""
    steps, values = curve
    x = Axis(float(steps.min()), max(float(steps.max()), float(steps.min()) + 1.0), "step")
    panel = Panel(x, Axis(*padded(values)), height=150)
    panel.line(steps, values)
    return drawing([panel], f"{title} over training steps")
