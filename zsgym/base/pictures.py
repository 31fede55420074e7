"""What pictures drawn with matplotlib have in common: a few colours, and axes without frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, TRACK = "#1f2933", "#7b8794", "#e4e7eb"
"""Of words, of words that matter less, and of what bars run in."""
NEUTRAL, MET, MISSED, BROKEN = "#3e6fb0", "#2f9e6e", "#e08e2b", "#c8393b"


def plain(axes: Axes, title: str) -> None:
    """A title on the left, no ticks and no frame."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", weight="bold", pad=6)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
