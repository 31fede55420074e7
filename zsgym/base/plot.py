"""Line plots as SVG text: the few marks that a report needs, without a plotting package.

The drawing carries class names and no colours, so that the page's style sheet decides them: one drawing serves
light and dark screens and paper. Lengths are in the drawing's own units, which are CSS pixels at its natural size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zsgym.base.typography import printed

Values = NDArray[np.float64]
Anchor = Literal["start", "middle", "end"]

WIDTH = 480
"""Of every drawing. Two fit beside each other on a screen, one fits on a phone with readable text."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 98, 34, 12, 40
"""Around the axes: room for a title and ticks such as -148.5 µW on the left, for half of 100 MHz on the right."""


@dataclass(frozen=True)
class Axis:
    """One axis: its limits, its title, and where the ticks are.

    scale: `log` (decades) or `linear`. ticks: positions; None chooses them. unit: printed with each tick, with a prefix
    where the unit takes one; empty prints bare numbers.
    """

    low: float
    high: float
    title: str = ""
    scale: Literal["linear", "log"] = "linear"
    ticks: Sequence[float] | None = None
    unit: str = ""

    def fraction(self, value: float) -> float:
        """Position of a value between the limits, 0 to 1 inside."""
        if self.scale == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def tick_positions(self) -> list[float]:
        """Where the ticks are: as given, every decade, or round numbers."""
        if self.ticks is not None:
            return [tick for tick in self.ticks if self.low <= tick <= self.high]
        if self.scale == "log":
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first) / 6))
            return [10.0**exponent for exponent in range(first, last + 1, step)]
        return round_ticks(self.low, self.high)


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Around five multiples of 1, 2 or 5 times a power of ten between two limits."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: decades where there are enough, else 1, 2 and 5 of each, else round numbers."""
    decades = math.log10(high / low)
    if decades > 3.0:
        return Axis(low, high, scale="log").tick_positions()
    if decades < 0.7:
        return round_ticks(low, high, about=4)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for step in (1.0, 2.0, 5.0) if low <= (tick := step * 10.0**power) <= high]


def padded(*values: Values | Sequence[float], share: float = 0.08) -> tuple[float, float]:
    """Limits around finite values, with some air; never of zero width."""
    flat = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in values])
    flat = flat[np.isfinite(flat)]
    low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 1.0)
    air = (high - low) * share or abs(high) * share or 1.0
    return low - air, high + air


@dataclass
class Panel:
    """One pair of axes. Marks are drawn in the order in which they are added; what leaves the axes is cut off."""

    x: Axis
    y: Axis
    height: int = 190
    width: int = WIDTH
    show_x: bool = True
    _marks: list[str] = field(default_factory=list)
    _labels: list[str] = field(default_factory=list)

    @property
    def _box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plotting area."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - (_BOTTOM if self.show_x else 8)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point in the drawing's units."""
        left, top, right, bottom = self._box
        return left + self.x.fraction(x) * (right - left), bottom - self.y.fraction(y) * (bottom - top)

    def line(self, x: Values, y: Values, style: str = "main") -> None:
        """A curve through finite points."""
        points = [self.at(float(a), float(b)) for a, b in zip(x, y, strict=True) if np.isfinite(a) and np.isfinite(b)]
        text = " ".join(f"{px:.1f},{_clamped(py):.1f}" for px, py in points)
        self._marks.append(f'<polyline class="line {style}" points="{text}"/>')

    def band(self, low: float, high: float, style: str = "band") -> None:
        """The strip between two heights."""
        left, _, right, _ = self._box
        top, bottom = self.at(self.x.low, high)[1], self.at(self.x.low, low)[1]
        self._marks.append(
            f'<rect class="{style}" x="{left}" y="{top:.1f}" width="{right - left}" height="{bottom - top:.1f}"/>'
        )

    def level(self, y: float, style: str = "rule") -> None:
        """A horizontal rule."""
        self.segment((self.x.low, y), (self.x.high, y), style)

    def upright(self, x: float, style: str = "rule") -> None:
        """A vertical rule."""
        self.segment((x, self.y.low), (x, self.y.high), style)

    def segment(self, start: tuple[float, float], end: tuple[float, float], style: str = "rule") -> None:
        """A straight line between two points."""
        (x1, y1), (x2, y2) = self.at(*start), self.at(*end)
        self._marks.append(f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def dot(self, x: float, y: float, style: str = "main", radius: float = 4) -> None:
        """A point of interest."""
        px, py = (_clamped(coordinate) for coordinate in self.at(x, y))
        self._marks.append(f'<circle class="dot {style}" cx="{px:.1f}" cy="{py:.1f}" r="{radius:g}"/>')

    def label(
        self,
        x: float,
        y: float,
        text: str,
        anchor: Anchor = "start",
        dx: float = 7,
        dy: float = -7,
        style: str = "label",
    ) -> None:
        """A short text beside a point; it may reach over the edge of the axes."""
        px, py = self.at(x, y)
        self._labels.append(_text(style, px + dx, py + dy, text, anchor))

    def render(self, offset: float = 0.0) -> str:
        """The panel as an SVG group, moved down by an offset."""
        left, top, right, bottom = self._box
        area = f'x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"'
        # A nested SVG element cuts off what leaves it.
        inner = f'<svg {area} viewBox="{left} {top} {right - left} {bottom - top}">{"".join(self._marks)}</svg>'
        parts = [*self._grid(), inner, f'<rect class="frame" {area}/>', *self._labels]
        return f'<g transform="translate(0 {offset:g})">{"".join(parts)}</g>'

    def _grid(self) -> list[str]:
        left, top, right, bottom = self._box
        parts = []
        for tick in self.x.tick_positions():
            x = self.at(tick, self.y.low)[0]
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
            if self.show_x:
                parts.append(_text("tick", x, bottom + 15, _tick(tick, self.x)))
        for tick in self.y.tick_positions():
            y = self.at(self.x.low, tick)[1]
            parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            parts.append(_text("tick", left - 6, y + 4, _tick(tick, self.y), "end"))
        if self.show_x:
            parts.append(_text("title", (left + right) / 2, bottom + 32, self.x.title))
        middle = (top + bottom) / 2
        turned = f'<g transform="translate(12 {middle:.1f}) rotate(-90)">{_text("title", 0, 0, self.y.title)}</g>'
        return [*parts, turned]


def drawing(panels: Sequence[Panel], description: str) -> str:
    """Panels below each other as one SVG element. :param description: for those who cannot see it."""
    offsets = np.cumsum([0, *(panel.height for panel in panels)])
    body = "".join(panel.render(float(offset)) for panel, offset in zip(panels, offsets, strict=False))
    return (
        f'<svg class="plot" viewBox="0 0 {max(p.width for p in panels)} {offsets[-1]}" role="img" '
        f'aria-label="{escape(description)}">{body}</svg>'
    )


def _text(style: str, x: float, y: float, text: str, anchor: Anchor = "middle") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tick(value: float, axis: Axis) -> str:
    if axis.scale == "linear" and abs(value) < 1e-9 * (axis.high - axis.low):
        value = 0.0
    if not axis.unit and 1e4 <= abs(value) < 1e7:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    return printed(value, axis.unit)


def _clamped(coordinate: float) -> float:
    """Far outside is as good as outside, and keeps the numbers short."""
    return min(max(coordinate, -9999.0), 9999.0)
