"""A schematic as SVG: device symbols, wires with their junctions, names and sizes. The page's style decides colours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from html import escape

from zsgym.base.plot import Anchor
from zsgym.base.typography import printed
from zsgym.circuits import Circuit, Sizing
from zsgym.netlist import TRANSISTORS
from zsgym.report.markup import stylesheets
from zsgym.report.schematic.model import Label, Placed, Point, Schematic, Segment, touches

_UNIT = 10
"""Drawing units per grid step."""
_TOP, _BOTTOM = 4.0, 2.5
"""Grid steps above the upper rail (for titles) and below the lower one."""
_SCALE = 1.2
"""Of a file, pixels per drawing unit, where there is room."""
_ARROW = 0.45


def draw_schematic(schematic: Schematic, circuit: Circuit, sizing: Sizing | None = None) -> str:
    """The drawing with every device's name, and its size where a sizing is given.

    :param sizing: complete, in declared units.
    """
    low, width = schematic.top, schematic.width
    extent = _extent(schematic)
    segments = [segment for pieces in schematic.segments.values() for segment in pieces]
    parts = [
        *(_wire(segment) for segment in segments),
        *(_dot(point) for point in _junctions(schematic)),
        *(_rail(net, y, width) for net, y in schematic.rails.items()),
        *(part for item in schematic.placed for part in _device(item, sizing, _note(item, schematic))),
        *(_net_name(net, label, circuit) for net, labels in schematic.labels.items() for label in labels),
        *(_text(x, low - 2.4, title, "stage") for title, x in schematic.titles.items()),
    ]
    box = f"0 {(low - _above(schematic)) * _UNIT:g} {extent[0]:g} {extent[1]:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="schematic" viewBox="{box}" '
        f'style="--natural: {extent[0]:g}px" role="img" '
        f'aria-label="Schematic of {escape(circuit.name.upper())}">{"".join(parts)}</svg>'
    )


def schematic_file(schematic: Schematic, circuit: Circuit, sizing: Sizing | None = None) -> str:
    """The text of an SVG file, with its own style for light and dark surroundings; it says what made it."""
    drawing = draw_schematic(schematic, circuit, sizing)
    width, height = (_SCALE * length for length in _extent(schematic))
    origin = f"zsgym circuits {circuit.name} --schematic FILE.svg, of the netlist {circuit.netlist_hash}"
    font = "svg { font-family: system-ui, sans-serif; background: var(--paper); }\ntext { fill: var(--ink); }\n"
    style = f"<style>\n{stylesheets('palette.css')}{font}{stylesheets('schematic.css')}</style>"
    head, tail = drawing.split(">", 1)
    return f'{head} width="{width:g}" height="{height:g}"><metadata>{escape(origin)}</metadata>{style}{tail}\n'


def _extent(schematic: Schematic) -> tuple[float, float]:
    """Width and height in drawing units."""
    return schematic.width * _UNIT, (schematic.bottom - schematic.top + _above(schematic) + _BOTTOM) * _UNIT


def _above(schematic: Schematic) -> float:
    return _TOP if schematic.titles else _BOTTOM


def _junctions(schematic: Schematic) -> Iterable[Point]:
    """Points at which three or more pieces of one net meet."""
    for net, pieces in schematic.segments.items():
        pins = [point for item in schematic.placed for pin, point in item.pins.items() if item.device.nodes[pin] == net]
        for point in dict.fromkeys(end for piece in pieces for end in piece):
            # A wire that goes on through the point counts twice, one that ends there, or a pin, once.
            arms = sum(2 - (point in piece) for piece in pieces if touches(point, piece)) + pins.count(point)
            if arms > 2 and point[1] not in schematic.rails.values():
                yield point


def _wire(segment: Segment, style: str = "wire") -> str:
    (x1, y1), (x2, y2) = segment
    return _path(f"M{_xy(x1, y1)}L{_xy(x2, y2)}", style)


def _dot(point: Point) -> str:
    return f'<circle class="junction" cx="{point[0] * _UNIT:g}" cy="{point[1] * _UNIT:g}" r="2.6"/>'


def _rail(net: str, y: float, width: float) -> str:
    return _wire(((2.0, y), (width - 3.0, y)), "rail") + _text(width - 2.6, y + 0.35, net, "net", "start")


def _net_name(net: str, label: Label, circuit: Circuit) -> str:
    """Above or beside the point; a port gets a ring."""
    x, y = label.point
    port = net in circuit.subcircuit.ports and net not in _rail_names(circuit)
    style = "portname" if port else "net"
    ring = f'<circle class="port" cx="{x * _UNIT:g}" cy="{y * _UNIT:g}" r="3"/>' if port else ""
    if label.anchor == "middle":
        return ring + _text(x, y - (0.8 if port else 0.45), net, style)
    away = 0.6 if port else 0.25
    return ring + _text(x + (away if label.anchor == "start" else -away), y + 0.35, net, style, label.anchor)


def _rail_names(circuit: Circuit) -> tuple[str, ...]:
    return (*circuit.circuit_class.rail("high"), *circuit.circuit_class.rail("low"))


def _note(item: Placed, schematic: Schematic) -> str:
    return schematic.notes.get(item.device.name, "")


def _device(item: Placed, sizing: Sizing | None, note: str = "") -> Iterable[str]:
    kind, x, y = item.device.kind, item.x, item.y
    yield _path(_SYMBOLS[kind](item), "device")
    lines = [item.name, *(_size(item, sizing) if sizing else ()), *((note,) if note else ())]
    if item.flat:
        yield _text(x, y - 1.5, lines[0], "name")
        yield from (_text(x, y + 2.1, line, "size") for line in lines[1:])
        return
    on_the_left = item.mirrored and kind in TRANSISTORS
    anchor: Anchor = "end" if on_the_left else "start"
    side = -0.5 if on_the_left else 0.5 if kind in TRANSISTORS else 1.6
    for row, line in enumerate(lines):
        yield _text(x + side, y - 0.45 + 1.15 * row, line, "size" if row else "name", anchor)


def _size(item: Placed, sizing: Sizing) -> list[str]:
    """W/L in micrometres and the multiplier of a transistor; the value of anything else."""
    values = {name: expression.evaluate(dict(sizing)) for name, expression in item.device.values.items()}
    if item.device.kind in TRANSISTORS:
        return [
            f"{round(values['w'], 2):g}/{round(values['l'], 2):g}",
            f"\N{MULTIPLICATION SIGN}{_count(item, sizing):g}",
        ]
    units = {"capacitor": "F", "resistor": "ohm", "isource": "A", "inductor": "H", "vsource": "V"}
    return [printed(values["value"], units[item.device.kind])]


def _count(item: Placed, sizing: Sizing) -> float:
    """Units of all transistors that a symbol stands for."""
    return sum(device.values["m"].evaluate(dict(sizing)) if "m" in device.values else 1.0 for device in item.devices)


def _transistor(item: Placed) -> str:
    """Gate, channel, and an arrow on the source lead in the direction of the current."""
    x, y, s = item.x, item.y, 1 if item.mirrored else -1
    gate, channel = x + 1.15 * s, x + 0.75 * s
    source = y + 1 if (item.device.kind == "nmos") != item.upside_down else y - 1
    # From the channel to the lead in an nMOS, to the channel in a pMOS.
    tip, away = (x, -1) if item.device.kind == "nmos" else (channel, 1)
    back = tip + away * _ARROW * -s
    return (
        f"M{_xy(x + 2 * s, y)}L{_xy(gate, y)}M{_xy(gate, y - 0.9)}L{_xy(gate, y + 0.9)}"
        f"M{_xy(channel, y - 1.3)}L{_xy(channel, y + 1.3)}"
        f"M{_xy(channel, y - 1)}L{_xy(x, y - 1)}L{_xy(x, y - 2)}M{_xy(channel, y + 1)}L{_xy(x, y + 1)}L{_xy(x, y + 2)}"
        f"M{_xy(back, source - 0.3)}L{_xy(tip, source)}L{_xy(back, source + 0.3)}"
    )


def _capacitor(item: Placed) -> str:
    gap, plate = 0.25, 0.9
    return _across(
        item, [((-1, 0), (-gap, 0)), ((-gap, -plate), (-gap, plate)), ((gap, -plate), (gap, plate)), ((gap, 0), (1, 0))]
    )


def _resistor(item: Placed) -> str:
    zigzag = [
        (-1.0, 0.0),
        (-0.75, 0.0),
        (-0.6, -0.5),
        (-0.3, 0.5),
        (0.0, -0.5),
        (0.3, 0.5),
        (0.6, -0.5),
        (0.75, 0.0),
        (1.0, 0.0),
    ]
    return _across(item, itertools.pairwise(zigzag))


def _across(item: Placed, pieces: Iterable[tuple[Point, Point]]) -> str:
    """Lines given along and across a two-terminal device."""
    x, y = item.x, item.y
    if item.flat:
        return "".join(f"M{_xy(x + a, y + b)}L{_xy(x + c, y + d)}" for (a, b), (c, d) in pieces)
    return "".join(f"M{_xy(x + b, y + a)}L{_xy(x + d, y + c)}" for (a, b), (c, d) in pieces)


def _inductor(item: Placed) -> str:
    """Four half circles."""
    x, y, d = item.x, item.y, 0.5
    start = _xy(x - 1, y) if item.flat else _xy(x, y - 1)
    step = f"{d * _UNIT:g},0" if item.flat else f"0,{d * _UNIT:g}"
    return f"M{start}" + f"a{d * _UNIT / 2:g},{d * _UNIT / 2:g} 0 0 1 {step}" * 4


def _current_source(item: Placed) -> str:
    """A circle with an arrow from the first terminal to the second."""
    x, y, s = item.x, item.y, -1 if item.mirrored else 1
    return _circle(item) + (
        f"M{_xy(x, y - 0.7)}L{_xy(x, y + 0.7)}"
        f"M{_xy(x - 0.35, y + 0.25 * s)}L{_xy(x, y + 0.7 * s)}L{_xy(x + 0.35, y + 0.25 * s)}"
    )


def _voltage_source(item: Placed) -> str:
    """A circle with a plus at the first terminal."""
    x, y = item.x, item.y + (0.5 if item.mirrored else -0.5)
    return _circle(item) + f"M{_xy(x - 0.3, y)}L{_xy(x + 0.3, y)}M{_xy(x, y - 0.3)}L{_xy(x, y + 0.3)}"


def _circle(item: Placed) -> str:
    x, y, r = item.x, item.y, 1.1
    half = f"a{r * _UNIT:g},{r * _UNIT:g} 0 1 0"
    return (
        f"M{_xy(x, y - 2)}L{_xy(x, y - r)}M{_xy(x, y + r)}L{_xy(x, y + 2)}"
        f"M{_xy(x - r, y)}{half} {2 * r * _UNIT:g},0{half} {-2 * r * _UNIT:g},0"
    )


_SYMBOLS = {
    "nmos": _transistor,
    "pmos": _transistor,
    "capacitor": _capacitor,
    "resistor": _resistor,
    "inductor": _inductor,
    "isource": _current_source,
    "vsource": _voltage_source,
}


def _path(data: str, style: str) -> str:
    return f'<path class="{style}" d="{data}"/>'


def _xy(x: float, y: float) -> str:
    return f"{x * _UNIT:.4g},{y * _UNIT:.4g}"


def _text(x: float, y: float, text: str, style: str, anchor: Anchor = "middle") -> str:
    place = f'x="{x * _UNIT:.4g}" y="{y * _UNIT:.4g}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(text)}</text>'
