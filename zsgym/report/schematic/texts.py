"""How much room symbols and their texts need, whatever the sizing: lengths in grid steps."""

from __future__ import annotations

from collections.abc import Iterable

from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic.grid import Box
from zsgym.report.schematic.model import Placed, half_height

_PLAIN, _BOLD = 0.06, 0.072
"""Width of a character of a wide sans-serif font, for each unit of font size (tenths of a grid step)."""
NAME, SIZE, NET, PORT = _BOLD * 11.5, _PLAIN * 10.5, _PLAIN * 10.0, _BOLD * 11.5
"""Width of a character of each kind of text; font sizes are those of `schematic.css`."""
_LONGEST_SIZE = 10
"""Characters of a size, such as `99.99/0.55`."""
STUB = 1
"""Length of the wire between a pin and the name of its net."""


def label_width(net: str, *, port: bool) -> float:
    """Of the name of a net, with the ring of a port and what separates it from its wire."""
    return len(net) * PORT + 1.0 if port else len(net) * NET + 0.5


def body_box(item: Placed) -> Box:
    """What wires keep off, except for the pins themselves."""
    reach = half_height(item.device)
    return (item.x - 1, item.y - (1 if item.flat else reach), item.x + 1, item.y + (1 if item.flat else reach))


def text_boxes(item: Placed, note: str, *, sizes: bool) -> list[Box]:
    """Of name, size (any, where there are sizes) and note, as `svg.py` writes them."""
    width = max(len(item.name) * NAME, _LONGEST_SIZE * SIZE * sizes, len(note) * SIZE)
    x, y = item.x, item.y
    if item.flat:
        half = width / 2.0
        return [(x - half, y - 2.4, x + half, y - 1.2), (x - half, y + 1.0, x + half, y + 2.4)]
    lines = (2 if item.device.kind in TRANSISTORS else 1) * sizes + bool(note)
    bottom = y - 0.25 + 1.15 * lines
    left = x + 1.6
    if item.device.kind in TRANSISTORS:
        left = x - 0.5 - width if item.mirrored else x + 0.5
    return [(left, y - 1.4, left + width, bottom)]


def symbol_boxes(item: Placed, note: str, *, sizes: bool) -> Iterable[Box]:
    """Everything that belongs to an element, gate included."""
    yield body_box(item)
    if item.device.kind in TRANSISTORS:
        x = item.x + (2 if item.mirrored else -2)
        yield (min(x, item.x), item.y - 1, max(x, item.x), item.y + 1)
    yield from text_boxes(item, note, sizes=sizes)


def label_box(spot: tuple[float, float], net: str, side: int, *, port: bool) -> Box:
    """Of a name beside a point, to the right (side 1) or to the left (-1)."""
    x, y = spot
    width = label_width(net, port=port)
    return (min(x, x + side * width), y - 0.7, max(x, x + side * width), y + 0.7)
