"""Devices and subcircuits as plain data, and their canonical text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression

DeviceKind = Literal["nmos", "pmos", "resistor", "capacitor", "inductor", "isource", "vsource", "subcircuit"]

GROUND = "0"
"""The net that is the same in every subcircuit and in every testbench. `gnd` is read as another name of it."""
TRANSISTORS: tuple[DeviceKind, ...] = ("nmos", "pmos")
ONE = Expression.constant(1.0)


@dataclass(frozen=True)
class Device:
    """One element. Treat the mappings as read-only.

    name: as written, lower case; its first letter is the SPICE element letter (`xm1`, `m1`, `c1`).
    nodes: pin -> net; pins are d, g, s, b of a transistor, p and n of a two-terminal device (a current source drives
    from p through itself to n), and the port names of a subcircuit instance.
    model: model name of a transistor, name of the instantiated subcircuit, else None.
    values: `w`, `l` (micrometres with the SKY130 models), `m`, ... of a transistor; `value` of a two-terminal device in
    SI units, with an optional `m`; the parameters of an instance.
    where: the `file:line` that it was read from, if any, for messages.
    """

    name: str
    kind: DeviceKind
    nodes: Mapping[str, str]
    model: str | None = None
    values: Mapping[str, Expression] = field(default_factory=dict)
    where: str = field(default="", compare=False)

    @property
    def names(self) -> frozenset[str]:
        """Every parameter name that the values depend on."""
        return frozenset[str]().union(*(value.names for value in self.values.values()))

    def substitute(self, replacements: Mapping[str, Expression]) -> Device:
        """The same device with parameter names replaced in every value."""
        return replace(self, values={key: value.substitute(replacements) for key, value in self.values.items()})


@dataclass(frozen=True)
class Subcircuit:
    """A named circuit with ports; `parameters` holds the defaults of the `.subckt` line.

    constants: what `.param` lines inside it define; values that use them hold them already.
    where: the `file:line` that it was read from, if any, for messages.
    """

    name: str
    ports: tuple[str, ...]
    devices: tuple[Device, ...]
    parameters: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, Expression] = field(default_factory=dict, compare=False)
    where: str = field(default="", compare=False)

    @cached_property
    def nets(self) -> tuple[str, ...]:
        """Ports first, then the internal nets in order of appearance. Ground is not among them."""
        inner = (net for device in self.devices for net in device.nodes.values())
        return tuple(net for net in dict.fromkeys((*self.ports, *inner)) if net != GROUND)

    @cached_property
    def names(self) -> frozenset[str]:
        """Parameter names that devices and defaults use and that have no default: what must be given."""
        in_defaults = frozenset[str]().union(*(value.names for value in self.parameters.values()))
        return in_defaults.union(*(device.names for device in self.devices)) - self.parameters.keys()

    def substitute(self, replacements: Mapping[str, Expression]) -> Subcircuit:
        """The same subcircuit with parameter names replaced; a replaced parameter loses its default."""
        kept = {name: value for name, value in self.parameters.items() if name not in replacements}
        return replace(
            self,
            devices=tuple(device.substitute(replacements) for device in self.devices),
            parameters={name: value.substitute(replacements) for name, value in kept.items()},
        )


def write_subcircuit(subcircuit: Subcircuit) -> str:
    """Canonical text of a subcircuit, valid for ngspice; `parse_netlist` reads it back unchanged."""
    lines = [" ".join([".subckt", subcircuit.name, *subcircuit.ports, *_write_pairs(subcircuit.parameters)])]
    for device in subcircuit.devices:
        values = dict(device.values)
        last = device.model if device.model is not None else _write_value(values.pop("value"))
        lines.append(" ".join([device.name, *device.nodes.values(), last, *_write_pairs(values)]))
    return "\n".join([*lines, f".ends {subcircuit.name}"]) + "\n"


def _write_pairs(values: Mapping[str, Expression]) -> list[str]:
    return [f"{key}={_write_value(value)}" for key, value in values.items()]


def _write_value(value: Expression) -> str:
    return str(value) if value.is_constant else f"{{{value}}}"


def instance_values(given: Mapping[str, Expression], defaults: Mapping[str, Expression]) -> dict[str, Expression]:
    """What an instance gives, in terms of the names around it.

    In ngspice a value that is given to an instance sees the instance's own parameters first: in `w=5 ad='2*w'` the area
    is 10 whatever `w` means outside. Only in its own value (`w='w'`) a name means the one outside.

    :param given: the values of the instance's line. :param defaults: all parameters that it has.
    :raises NetlistError: two values are defined through each other.
    """
    own = {**defaults, **given}

    def resolve(key: str, pending: tuple[str, ...]) -> Expression:
        inner = own[key].names & own.keys() - {key}
        if circular := inner & set(pending):
            raise NetlistError(f"{key!r} and {min(circular)!r} are defined through each other")
        return own[key].substitute({name: resolve(name, (*pending, key)) for name in inner})

    return {key: resolve(key, ()) for key in given}
