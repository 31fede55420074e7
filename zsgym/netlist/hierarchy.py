"""The removal of hierarchy: instances of subcircuits become the devices inside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression, Name
from zsgym.netlist.passives import CAPACITORS
from zsgym.netlist.subcircuit import GROUND, ONE, Device, Subcircuit, instance_values


def flatten(subcircuits: Mapping[str, Subcircuit], top: str, global_nets: Collection[str] = ()) -> Subcircuit:
    """One subcircuit without instances: hierarchy becomes names, in ngspice's manner.

    In the instance `xbuffer`, capacitor `c1` becomes `c.xbuffer.c1`, transistor `xm1` becomes `xbuffer.xm1` and net
    `n1` becomes `xbuffer.n1`; ground and the global nets are one net everywhere. The multiplier `m` of an instance
    multiplies that of its devices. A name that a subcircuit does not define means what it means where the subcircuit is
    instantiated.

    :raises NetlistError: instances do not fit their subcircuits, or a subcircuit contains itself: one line per problem,
        each with the path through the hierarchy.
    """
    if top.lower() not in subcircuits:
        raise NetlistError(f"no subcircuit {top!r}; defined: {', '.join(subcircuits) or 'none'}")
    subcircuit = subcircuits[top.lower()]
    problems: list[str] = []
    place = _Place(subcircuits, frozenset(global_nets) | {GROUND}, problems)
    devices = tuple(_Instance(subcircuit, place, scope=subcircuit.constants).devices())
    counts = Counter(device.name for device in devices)
    problems += [
        _at(d, f"device {d.name!r} exists twice once the hierarchy is gone") for d in devices if counts[d.name] > 1
    ]
    if problems:
        raise NetlistError("\n".join(dict.fromkeys(problems)))
    return replace(subcircuit, devices=devices)


def _at(device: Device, text: str) -> str:
    return f"{device.where}: {text}" if device.where else text


@dataclass(frozen=True, slots=True)
class _Place:
    """What is the same in the whole hierarchy."""

    library: Mapping[str, Subcircuit]
    global_nets: frozenset[str]
    problems: list[str]


@dataclass(frozen=True)
class _Instance:
    """A subcircuit at one place of the hierarchy: `path` of instance names, nets and names in terms of the top."""

    subcircuit: Subcircuit
    place: _Place
    path: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()
    nets: Mapping[str, str] = field(default_factory=dict)
    scope: Mapping[str, Expression] = field(default_factory=dict)
    multiplier: Expression = ONE

    def devices(self) -> Iterator[Device]:
        """Every elementary device of this instance and below."""
        for device in self.subcircuit.devices:
            local = replace(device, nodes={pin: self.net(net) for pin, net in device.nodes.items()})
            try:
                if local.kind == "subcircuit":
                    yield from self.instantiate(local).devices()
                else:
                    yield self.lift(local.substitute(self.scope))
            except NetlistError as error:
                self.place.problems.append(_at(device, str(error)))

    def net(self, name: str) -> str:
        """The net of the top to which a local net belongs."""
        if name in self.place.global_nets:
            return name
        return self.nets.get(name) or ".".join((*self.path, name))

    def instantiate(self, device: Device) -> _Instance:
        """The instance that a device of kind `subcircuit` stands for.

        :raises NetlistError: it cannot be made.
        """
        path = (*self.path, device.name)
        ancestors = (*self.ancestors, self.subcircuit.name)
        name = device.model or ""
        child = self.place.library.get(name) or CAPACITORS.get(name)
        if child is None:
            known = ", ".join(self.place.library)
            raise NetlistError(f"{'.'.join(path)}: no subcircuit {device.model!r}; defined: {known}")
        if child.name in ancestors:
            raise NetlistError(f"{'.'.join(path)}: subcircuit {child.name!r} contains itself")
        given = dict(device.values)
        if unknown := sorted(given.keys() - child.parameters.keys() - {"m"}):
            hint = f" ({unknown[0]} is a .param inside it)" if unknown[0] in child.constants else ""
            known = ", ".join(child.parameters) or "none"
            raise NetlistError(
                f"{'.'.join(path)}: {child.name!r} has no parameter {unknown[0]!r}{hint}; it has: {known}. "
                "The parameters of a subcircuit stand on its .subckt line"
            )
        for port, net in device.nodes.items():
            if port in self.place.global_nets and net != port:
                raise NetlistError(
                    f"{'.'.join(path)}: port {port!r} of {child.name!r} is connected to {net!r}, but {port!r} is a "
                    "global net, which ngspice takes instead: give the port another name"
                )
        values = {key: value.substitute(self.scope) for key, value in self.own_values(device, child, given).items()}
        multiplier = values.pop("m", ONE) * self.multiplier
        defaults = {key: value.substitute(self.scope) for key, value in child.parameters.items()}
        inner = {**self.scope, **defaults, **values}
        constants = {key: value.substitute(inner) for key, value in child.constants.items()}
        return _Instance(child, self.place, path, ancestors, device.nodes, {**inner, **constants}, multiplier)

    def own_values(
        self, device: Device, child: Subcircuit, given: Mapping[str, Expression]
    ) -> Mapping[str, Expression]:
        """What an instance gives, in terms of names that are known here.

        :raises NetlistError: simulators disagree about a name that is known here as well as inside the instance.
        """
        here = self.subcircuit.parameters.keys() | self.scope.keys()
        for key, value in given.items():
            for name in sorted(value.names & child.parameters.keys() & here - {key}):
                inside = given.get(name, child.parameters[name])
                if inside.substitute(self.scope) != Expression(Name(name)).substitute(self.scope):
                    raise NetlistError(
                        f"{device.name!r}: {key}={value}: {name!r} is a parameter of {child.name!r} as well as of "
                        f"{self.subcircuit.name!r}, and simulators disagree about which is meant: rename one of them"
                    )
        return instance_values(given, {**child.parameters, "m": ONE})

    def lift(self, device: Device) -> Device:
        """A local device under its full name, with the instance's multiplier.

        :raises NetlistError: a voltage source would be multiplied.
        """
        if not self.path:
            return device
        # The element letter must stay in front, so that the flat netlist can be read again.
        letter = () if device.name.startswith("x") else (device.name[0],)
        name = ".".join((*letter, *self.path, device.name))
        if self.multiplier == ONE:
            return replace(device, name=name)
        if device.kind == "vsource":
            raise NetlistError(f"{name}: a voltage source cannot be multiplied by the m of its instance")
        return replace(device, name=name, values={**device.values, "m": device.values.get("m", ONE) * self.multiplier})
