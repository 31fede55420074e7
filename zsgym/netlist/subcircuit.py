"""Devices and subcircuits as plain data, their canonical text, and the removal of hierarchy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression

DeviceKind = Literal["nmos", "pmos", "resistor", "capacitor", "inductor", "isource", "vsource", "subcircuit"]

_GROUND = "0"
_ONE = Expression.constant(1.0)


@dataclass(frozen=True)
class Device:
    """One element. Treat the mappings as read-only.

    name: as written, lower case; its first letter is the SPICE element letter (`xm1`, `m1`, `c1`).
    nodes: pin -> net; pins are d, g, s, b of a transistor, p and n of a two-terminal device (a current source drives
    from p through itself to n), and the port names of a subcircuit instance.
    model: model name of a transistor, name of the instantiated subcircuit, else None.
    values: `w`, `l` (micrometres with the SKY130 models), `m`, ... of a transistor; `value` of a two-terminal device in
    SI units, with an optional `m`; the parameters of an instance.
    """

    name: str
    kind: DeviceKind
    nodes: Mapping[str, str]
    model: str | None = None
    values: Mapping[str, Expression] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """Every parameter name that the values depend on."""
        return frozenset[str]().union(*(value.names for value in self.values.values()))

    def substitute(self, replacements: Mapping[str, Expression]) -> Device:
        """The same device with parameter names replaced in every value."""
        return replace(self, values={key: value.substitute(replacements) for key, value in self.values.items()})


@dataclass(frozen=True)
class Subcircuit:
    """A named circuit with ports; `parameters` holds the defaults of the `.subckt` line."""

    name: str
    ports: tuple[str, ...]
    devices: tuple[Device, ...]
    parameters: Mapping[str, Expression] = field(default_factory=dict)

    @cached_property
    def nets(self) -> tuple[str, ...]:
        """Ports first, then the internal nets in order of appearance."""
        return tuple(dict.fromkeys((*self.ports, *(net for device in self.devices for net in device.nodes.values()))))

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


def flatten(subcircuits: Mapping[str, Subcircuit], top: str) -> Subcircuit:
    """One subcircuit without instances: hierarchy becomes names, in ngspice's manner.

    In the instance `xbuffer`, capacitor `c1` becomes `c.xbuffer.c1`, transistor `xm1` becomes `xbuffer.xm1` and net
    `n1` becomes `xbuffer.n1`; the ground net `0` is one net everywhere. The multiplier `m` of an instance multiplies
    that of its devices.

    :raises NetlistError: an instance does not fit its subcircuit, or a subcircuit contains itself; the message prints
        the path through the hierarchy.
    """
    if top.lower() not in subcircuits:
        raise NetlistError(f"no subcircuit {top!r}; defined: {', '.join(subcircuits) or 'none'}")
    subcircuit = subcircuits[top.lower()]
    return replace(subcircuit, devices=tuple(_Instance(subcircuit, subcircuits).devices()))


@dataclass(frozen=True)
class _Instance:
    """A subcircuit at one place of the hierarchy: `path` of instance names, nets and parameters in terms of the top."""

    subcircuit: Subcircuit
    library: Mapping[str, Subcircuit]
    path: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()
    nets: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Expression] = field(default_factory=dict)
    multiplier: Expression = _ONE

    def devices(self) -> Iterator[Device]:
        """Every elementary device of this instance and below."""
        for device in self.subcircuit.devices:
            nodes = {pin: self.net(net) for pin, net in device.nodes.items()}
            local = replace(device.substitute(self.parameters), nodes=nodes)
            if local.kind == "subcircuit":
                yield from self.instantiate(local).devices()
            else:
                yield self.lift(local) if self.path else local

    def net(self, name: str) -> str:
        """The net of the top to which a local net belongs."""
        return self.nets.get(name) or (name if name == _GROUND else ".".join((*self.path, name)))

    def instantiate(self, device: Device) -> _Instance:
        """The instance that a device of kind `subcircuit` stands for."""
        path = (*self.path, device.name)
        ancestors = (*self.ancestors, self.subcircuit.name)
        child = self.library.get(device.model or "")
        if child is None:
            raise NetlistError(f"{'.'.join(path)}: no subcircuit {device.model!r}; defined: {', '.join(self.library)}")
        if child.name in ancestors:
            raise NetlistError(f"{'.'.join(path)}: subcircuit {child.name!r} contains itself")
        given = dict(device.values)
        multiplier = given.pop("m", _ONE) * self.multiplier
        unknown = sorted(given.keys() - child.parameters.keys())
        if unknown:
            known = ", ".join(child.parameters) or "none"
            raise NetlistError(f"{'.'.join(path)}: {child.name!r} has no parameter {unknown[0]!r}; it has: {known}")
        parameters = {**child.parameters, **given}
        return _Instance(child, self.library, path, ancestors, device.nodes, parameters, multiplier)

    def lift(self, device: Device) -> Device:
        """A local device under its full name, with the instance's multiplier."""
        # The element letter must stay in front, so that the flat netlist can be read again.
        letter = () if device.name.startswith("x") else (device.name[0],)
        name = ".".join((*letter, *self.path, device.name))
        if self.multiplier == _ONE:
            return replace(device, name=name)
        if device.kind == "vsource":
            raise NetlistError(f"{name}: a voltage source cannot be multiplied by the m of its instance")
        return replace(device, name=name, values={**device.values, "m": device.values.get("m", _ONE) * self.multiplier})
