"""Which net of a netlist is which port of the class, and which net is ground.

A testbench connects ports by their names in the class. Netlists call them anything: the circuit's YAML file names them
(`ports: {vdd: VCC, ...}`) where the names differ.

Ground is one net in the whole netlist, at any depth, as SPICE has it. The low rail of a class (vss of an amplifier) is
a port of its own: the testbench holds it at 0 V, and moves it to measure what it lets through. Where a netlist connects
nothing to that port and writes ground instead, ground *is* that rail, since a circuit on a chip has no other way to it.
Where a netlist uses both, they stay two nets, again as SPICE has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from zsgym.base.problems import did_you_mean
from zsgym.classes.circuit_class import CircuitClass
from zsgym.netlist import GROUND, Netlist, Subcircuit


@dataclass(frozen=True)
class Connection:
    """A flat subcircuit with the ports of its class, or, with problems, as it was.

    problems: of the circuit file, without its name. faults: of the netlist, with file and line.
    """

    subcircuit: Subcircuit
    problems: list[str]
    faults: list[str]


def connect(
    circuit_class: CircuitClass, netlist: Netlist, subcircuit: Subcircuit, named: Mapping[str, str]
) -> Connection:
    """Give a flat subcircuit the ports of its class, by the names of the class.

    :param named: port of the class -> net of the netlist, from the YAML file.
    """
    used = {net for device in subcircuit.devices for net in device.nodes.values()}
    global_nets = [net for net in netlist.global_nets if net in used and net not in subcircuit.ports]
    candidates = [*subcircuit.ports, *global_nets, *([GROUND] if GROUND in used - {*subcircuit.ports} else [])]
    nets, problems = _named(circuit_class, candidates, named)
    for port in circuit_class.ports:
        if port.name in named:
            continue
        own_names = (port.name, GROUND) if port.rail == "low" else (port.name,)
        free = [net for net in own_names if net in candidates and net not in nets.values()]
        nets.update({port.name: free[0]} if free else {})
    missing = [name for name in circuit_class.port_names if name not in nets and name not in named]
    extra = [port for port in subcircuit.ports if port not in nets.values() and port != GROUND]
    if missing:
        problems.append(_told_of_missing(circuit_class, subcircuit, candidates, missing))
    elif extra and not problems:
        problems.append(_told_of_extra(circuit_class, subcircuit, extra))
    if problems:
        return Connection(subcircuit, problems, [])
    faults = _told_of_lost_rails(circuit_class, subcircuit, nets)
    faults += [
        f"{netlist.global_nets[net]}: net {net!r} is .GLOBAL, but not a port of class {circuit_class.name!r}, and "
        "nothing outside drives it: name the port that it is under `ports:` in the YAML file, or take it from the "
        ".GLOBAL line if the circuit drives it itself"
        for net in global_nets
        if net not in nets.values()
    ]
    return Connection(_renamed(circuit_class, subcircuit, nets, used), [], faults)


def _named(
    circuit_class: CircuitClass, candidates: list[str], named: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Port -> net as far as the YAML file names them, and what is wrong with it."""
    nets: dict[str, str] = {}
    problems = []
    for port, given in named.items():
        net = GROUND if given.lower() == "gnd" else given.lower()
        if port not in circuit_class.port_names:
            problems.append(f"ports.{port}: unknown port. {did_you_mean(port, circuit_class.port_names)}")
        elif net not in candidates:
            problems.append(f"ports.{port}: the netlist has no port {given!r}. {did_you_mean(net, candidates)}")
        elif net in nets.values():
            problems.append(f"ports.{port}: {given!r} is another port already")
        else:
            nets[port] = net
    return nets, problems


def _told_of_missing(
    circuit_class: CircuitClass, subcircuit: Subcircuit, candidates: list[str], missing: list[str]
) -> str:
    got, need = " ".join(subcircuit.ports), " ".join(circuit_class.port_names)
    wanted = [port for port in circuit_class.ports if port.name in missing]
    guesses = {port.name: next((name for name in port.aliases if name in candidates), "...") for port in wanted}
    pairs = ", ".join(f"{port}: {net}" for port, net in guesses.items())
    return (
        f"netlist: the ports of {subcircuit.name!r} are {got}; class {circuit_class.name!r} needs {need}. "
        f"Where they have other names, write them into this file: `ports: {{{pairs}}}`"
    )


def _told_of_extra(circuit_class: CircuitClass, subcircuit: Subcircuit, extra: list[str]) -> str:
    listed, need = ", ".join(map(repr, extra)), " ".join(circuit_class.port_names)
    ports, them = ("ports", "them") if len(extra) > 1 else ("port", "it")
    return (
        f"netlist: {subcircuit.name!r} has the {ports} {listed} besides {need} of class {circuit_class.name!r}: take "
        f"{them} from the .subckt line, and write what drives {them} inside the subcircuit, such as "
        f"`I1 {extra[0]} 0 10u` or `V1 {extra[0]} 0 0.9`"
    )


def _told_of_lost_rails(circuit_class: CircuitClass, subcircuit: Subcircuit, nets: Mapping[str, str]) -> list[str]:
    """Nets inside an instance that are called like a rail and are not that rail, as a designer must have meant."""
    rails = {name for port in circuit_class.ports if port.rail for name in (port.name, nets[port.name])}
    lost: dict[str, str] = {}
    for device in subcircuit.devices:
        for net in device.nodes.values():
            path, _, name = net.rpartition(".")
            if path and name in rails:
                lost.setdefault(
                    net,
                    f"{device.where}: net {name!r} of the instance {path!r} is a net of its own: make it a port of the "
                    f"subcircuit, or write `.GLOBAL {name}`",
                )
    return list(lost.values())


def _renamed(
    circuit_class: CircuitClass, subcircuit: Subcircuit, nets: Mapping[str, str], used: set[str]
) -> Subcircuit:
    """The subcircuit with the ports' names of the class; inner nets that have such a name get another one."""
    names = {net: port for port, net in nets.items()}
    for port in circuit_class.ports:
        if port.rail == "low" and nets[port.name] not in used:
            names[GROUND] = port.name
    for net in used & {*circuit_class.port_names} - names.keys():
        free = (f"{net}_inner{'_' * count}" for count in range(len(used) + 1))
        names[net] = next(name for name in free if name not in used)
    devices = tuple(
        replace(device, nodes={pin: names.get(net, net) for pin, net in device.nodes.items()})
        for device in subcircuit.devices
    )
    given = [names[port] for port in subcircuit.ports if port in nets.values()]
    ports = tuple(dict.fromkeys((*given, *circuit_class.port_names)))
    return replace(subcircuit, ports=ports, devices=devices)
