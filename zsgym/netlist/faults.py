"""Electrical faults of a netlist: what no sizing can mend, found before anything is simulated.

A simulator answers such a netlist with a singular matrix, or with numbers that its own remedies (a small conductance
from every net to ground) have made up. Neither says anything about a sizing, so that neither may become a label.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from zsgym.netlist.idle import carries_no_current
from zsgym.netlist.sizes import constant, in_metres
from zsgym.netlist.subcircuit import GROUND, TRANSISTORS, Device, Subcircuit

Pins = Mapping[str, Sequence[tuple[Device, str]]]
"""Net -> the pins on it, each as its device and the pin's name."""

_MOST_NAMED = 4  # devices of a net that a message lists


def find_faults(
    subcircuit: Subcircuit,
    sources: Sequence[tuple[str, str]],
    low: Collection[str],
    high: Collection[str],
    resistors: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """What is wrong with a circuit whatever its sizes are: one line each, with file and line.

    :param subcircuit: a flat one.
    :param sources: pairs of nets that the testbench joins by voltage sources; ground is the net `0`.
    :param low, high: the nets of the lowest and of the highest potential.
    :param resistors: pairs of nets that the testbench joins by resistors.
    """
    pins: dict[str, list[tuple[Device, str]]] = {}
    for device in subcircuit.devices:
        for pin, net in device.nodes.items():
            pins.setdefault(net, []).append((device, pin))
    held = {net for pair in sources for net in pair} | {GROUND}
    return [
        *(
            f"{subcircuit.where}: port {port!r} is connected to no device"
            for port in subcircuit.ports
            if port not in pins
        ),
        *_loops(subcircuit, sources),
        *_loose_ends(pins, {*held, *subcircuit.ports}),
        *_floating(pins, held, subcircuit.devices, resistors),
        *_sizes(subcircuit.devices),
        *_no_transistor(subcircuit, low, high),
    ]


class _Graph:
    """Nets joined by elements."""

    def __init__(self) -> None:
        self._neighbours: dict[str, list[tuple[str, Device | None]]] = {}

    def join(self, one: str, other: str, element: Device | None = None) -> None:
        """Add an element between two nets; None is the testbench's."""
        self._neighbours.setdefault(one, []).append((other, element))
        self._neighbours.setdefault(other, []).append((one, element))

    def path(self, start: str, goal: str) -> list[Device | None] | None:
        """The elements of a shortest way between two nets; None when there is no way."""
        ways: dict[str, list[Device | None]] = {start: []}
        queue = deque([start])
        while queue and goal not in ways:
            here = queue.popleft()
            for there, element in self._neighbours.get(here, ()):
                if there not in ways:
                    ways[there] = [*ways[here], element]
                    queue.append(there)
        return ways.get(goal)

    def reach(self, starts: Iterable[str]) -> set[str]:
        """All nets with a way to one of the given ones, which are among them."""
        reached, queue = set(starts), deque(starts)
        while queue:
            for there, _ in self._neighbours.get(queue.popleft(), ()):
                if there not in reached:
                    reached.add(there)
                    queue.append(there)
        return reached


_WORDS = {"vsource": "voltage source", "resistor": "resistor of 0 ohm", "inductor": "inductor"}
"""What holds the voltage between two nets, in the order in which loops are looked for."""


def _loops(subcircuit: Subcircuit, sources: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Loops of voltage sources and inductors, whose current nothing determines; short circuits across sources; ports
    that the circuit itself must drive, and that are held all the same."""
    graph = _Graph()
    for one, other in sources:
        graph.join(one, other)
    driven = set(subcircuit.ports) - graph.reach([GROUND])
    holding = [d for d in subcircuit.devices if d.kind in _WORDS and not _is_resistance(d)]
    for device in sorted(holding, key=lambda device: list(_WORDS).index(device.kind)):
        start, goal = device.nodes["p"], device.nodes["n"]
        path = graph.path(start, goal)
        if path is not None and not (device.kind == "resistor" and start == goal):
            yield f"{device.where}: {_loop(device, path)}"
        elif device.kind != "resistor":  # one of 0 ohm is 1 milliohm to ngspice: two of them make no loop
            graph.join(start, goal, device)
            if held := sorted(driven & graph.reach([GROUND])):
                driven -= set(held)
                ports = " and ".join(map(repr, held))
                what = f"{_WORDS[device.kind]} {device.name!r}"
                yield f"{device.where}: {what} holds {ports}, which the circuit must drive: leave it out"


def _is_resistance(device: Device) -> bool:
    return device.kind == "resistor" and constant(device.values["value"]) != 0.0


def _loop(device: Device, path: Sequence[Device | None]) -> str:
    what, (start, goal) = f"{_WORDS[device.kind]} {device.name!r}", device.nodes.values()
    if start == goal:
        return f"{what} has both ends on net {start!r}"
    others = list(dict.fromkeys(repr(element.name) for element in path if element is not None))
    if not others:
        return (
            f"{what} joins {_named(start)} and {_named(goal)}, which voltage sources of the testbench join already: "
            "leave it out"
        )
    others += ["the testbench's own sources"] * (None in path)
    return f"{what} closes a loop of voltage sources or inductors with {', '.join(others)}: leave one of them out"


def _named(net: str) -> str:
    return "ground" if net == GROUND else repr(net)


def _loose_ends(pins: Pins, ports: Collection[str]) -> Iterator[str]:
    """Nets with a single connection: most often misspelt, and never needed."""
    for net, connected in pins.items():
        if len(connected) > 1 or net in ports:
            continue
        ((device, pin),) = connected
        near = difflib.get_close_matches(net, [n for n, others in pins.items() if len(others) > 1 or n in ports], n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield (
            f"{device.where}: net {net!r} is connected to nothing but {_pin(device, pin)}: {hint}"
            "A device that is not needed can be left out"
        ).replace(": A device", ": a device")


def _floating(
    pins: Pins, held: Collection[str], devices: Iterable[Device], resistors: Iterable[tuple[str, str]]
) -> Iterator[str]:
    """Nets whose voltage nothing sets: no way for a direct current leads from them to a held net."""
    graph = _Graph()
    for one, other in resistors:
        graph.join(one, other)
    for device in devices:
        if device.kind in TRANSISTORS:
            graph.join(device.nodes["d"], device.nodes["s"])
        elif device.kind in ("resistor", "inductor", "vsource"):
            graph.join(device.nodes["p"], device.nodes["n"])
    settled = graph.reach(held)
    for net, connected in pins.items():
        if net in settled:
            continue
        group = graph.reach([net])
        settled |= group
        if group == {net} and len(connected) == 1:
            continue  # a loose end
        names = ", ".join(map(repr, sorted(group & pins.keys())))
        on_group = [pin for member in sorted(group) for pin in pins.get(member, ())]
        listed = list(dict.fromkeys(_pin(*pin) for pin in on_group))
        where = ", ".join(listed[:_MOST_NAMED]) + (", ..." if len(listed) > _MOST_NAMED else "")
        sources = [repr(device.name) for device, _ in on_group if device.kind == "isource"]
        why = f"the current of {sources[0]} has nowhere to go" if sources else "nothing sets its voltage"
        yield f"{connected[0][0].where}: net {names} has no path for direct current ({where}): {why}"


def _pin(device: Device, pin: str) -> str:
    names = {"d": "drain", "g": "gate", "s": "source", "b": "bulk"}
    return f"the {names[pin]} of {device.name!r}" if device.kind in TRANSISTORS else repr(device.name)


def _sizes(devices: Iterable[Device]) -> Iterator[str]:
    """Fixed sizes of transistors that are none."""
    for device in devices:
        if device.kind not in TRANSISTORS:
            continue
        yield from (f"{device.where}: {problem}" for problem in in_metres(device.values))
        for key, least, what in (("m", 0.0, "number of devices"), ("nf", 0.5, "number of fingers")):
            number = constant(device.values[key]) if key in device.values else None
            if number is not None and number <= least:
                yield f"{device.where}: {key.upper()}={number:g} of {device.name!r} is not a {what}"


def _no_transistor(subcircuit: Subcircuit, low: Collection[str], high: Collection[str]) -> Iterator[str]:
    transistors = [device for device in subcircuit.devices if device.kind in TRANSISTORS]
    if all(carries_no_current(device, low, high) for device in transistors):
        yield f"{subcircuit.where}: no transistor of {subcircuit.name!r} can carry a current"
