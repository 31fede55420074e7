"""The netlist of a circuit: read, flat, with the ports of its class, and checked for what no sizing can mend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zsgym.base.encoding import decode
from zsgym.base.errors import ConfigError, NetlistError
from zsgym.base.problems import did_you_mean
from zsgym.circuits.ports import connect
from zsgym.circuits.schema import DEFAULT_VERDICT, KINDS, CircuitFile, SizingParameter
from zsgym.classes.testbench import LoopProbe, Resistor, VoltageSource
from zsgym.netlist import (
    TRANSISTORS,
    Device,
    Expression,
    Netlist,
    Subcircuit,
    find_faults,
    flatten,
    parse_outline,
    read_outline,
)
from zsgym.netlist.expressions import Name, Operation
from zsgym.netlist.outline import Outline
from zsgym.netlist.sizes import constant, in_metres
from zsgym.pdk.geometry import NARROWEST, SIZE_LIMITS, SIZE_TOLERANCE

_ONE = Expression.constant(1.0)
_SMALLEST = 1e-3  # um: a width or length below it is written in metres


@dataclass(frozen=True)
class Topology:
    """A netlist and the flat subcircuit that was made of it: ports by the names of the class, parameters by those of
    the YAML file, an `m` on every transistor and on nothing else."""

    netlist_path: Path
    netlist_text: str
    subcircuit: Subcircuit


def read_topology(path: Path, file: CircuitFile) -> Topology:
    """The circuit that a YAML file and its netlist describe.

    :raises ConfigError: what is wrong with both, one line per problem.
    """
    parameters = file.sizing_parameters()
    lines = [f"{path}: {problem}" for problem in _known_good_problems(file, parameters)]
    netlist_path = Path(os.path.normpath(path.parent / file.netlist))
    try:
        text = _read(path, netlist_path)
        netlist, flat = _flat(path, file.subcircuit, read_outline(text, str(netlist_path)))
    except ConfigError as error:
        raise type(error)("\n".join([*lines, str(error)])) from error
    connection = connect(file.circuit_class, netlist, flat, file.ports)
    subcircuit, problems = _with_declared_names(connection.subcircuit, netlist.parameters, parameters)
    problems = [*connection.problems, *problems, *_group_problems(file, subcircuit, parameters)]
    lines += [f"{path}: {problem}" for problem in problems]
    lines += connection.faults
    if not connection.problems:
        lines += _faults(file, subcircuit)
    lines += _size_faults(subcircuit, parameters)
    if lines:
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    return Topology(netlist_path, text, _with_multipliers(subcircuit))


def netlist_faults(path: Path, content: Mapping[str, Any]) -> list[str]:
    """What is wrong with the netlist by itself, for a YAML file that is wrong, too: nobody wants to hear it later.

    :param content: of the YAML file, unchecked. What depends on it beyond `netlist` and `subcircuit` is not looked at.
    """
    named, subcircuit = content.get("netlist"), content.get("subcircuit")
    if not isinstance(named, str) or not isinstance(subcircuit, str | None):
        return []
    netlist_path = Path(os.path.normpath(path.parent / named))
    try:
        _flat(path, subcircuit, read_outline(_read(path, netlist_path), str(netlist_path)))
    except ConfigError as error:
        return str(error).splitlines()
    return []


def _read(path: Path, netlist_path: Path) -> str:
    try:
        return decode(netlist_path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: netlist: {netlist_path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise NetlistError(f"{netlist_path}: {error}") from error


def _flat(path: Path, named: str | None, outline: Outline) -> tuple[Netlist, Subcircuit]:
    """The circuit's own subcircuit, flat: the one that the file names, or the only one that can be meant.

    :raises NetlistError: faults of the netlist. :raises ConfigError: it is not clear which one is meant.
    """
    names = list(outline.definitions)
    roots = outline.roots or names
    top = (named or roots[0]).lower()
    if top not in names or (named is None and len(roots) > 1):
        outline.problems.raise_all()
        why = f"the netlist has no {top!r}. {did_you_mean(top, names, 'Defined')}"
        if named is None:
            why = "this key is required unless the netlist defines one, or one that uses the others; it defines: "
            why += ", ".join(names)
        raise ConfigError(f"{path}: subcircuit: {why}")
    netlist = parse_outline(outline, top, alone=named is None)
    return netlist, flatten(netlist, top, netlist.global_nets)


def _with_declared_names(
    subcircuit: Subcircuit, constants: Mapping[str, Expression], parameters: tuple[SizingParameter, ...]
) -> tuple[Subcircuit, list[str]]:
    """Values put in for what the YAML does not declare, and every other name in the YAML's spelling.

    :param constants: of the whole netlist file.
    :return: the subcircuit, and the parameters that only the netlist knows, or only the YAML.
    """
    declared = {parameter.name.lower(): parameter.name for parameter in parameters}
    given = {**constants, **subcircuit.parameters}
    fixed = {name: value for name, value in given.items() if name not in declared}
    problems = []
    for _ in range(len(fixed)):  # the longest chain of constants that are defined by one another
        fixed = {name: value.substitute(fixed) for name, value in fixed.items() if name not in value.names}
    if circular := [name for name, value in given.items() if name not in declared and name not in fixed]:
        problems.append(f"netlist: {', '.join(map(repr, circular))} is defined through itself")
    complete = subcircuit.substitute(fixed)
    used = complete.names | subcircuit.parameters.keys()
    problems += [
        f"groups: no group declares {name!r} of the netlist. {did_you_mean(name, declared.values(), 'Declared')}"
        for name in sorted(complete.names - declared.keys())
    ]
    problems += [
        f"groups: {name!r} is declared, but the netlist does not use it. {did_you_mean(name, sorted(used), 'Used')}"
        for lower, name in declared.items()
        if lower not in used
    ]
    if len(declared) < len(parameters):
        problems.append("groups: two parameter names differ in case only, which SPICE cannot tell apart")
    spelling = {lower: Expression(Name(name)) for lower, name in declared.items()}
    return complete.substitute(spelling), problems


def _with_multipliers(subcircuit: Subcircuit) -> Subcircuit:
    """Multipliers where every reader of a circuit looks for them: an `m` of each transistor, none of anything else.

    The `m` of a two-terminal device goes into its value.
    """
    return replace(subcircuit, devices=tuple(map(_with_multiplier, subcircuit.devices)))


def _with_multiplier(device: Device) -> Device:
    if device.kind in TRANSISTORS:
        return device if "m" in device.values else replace(device, values={**device.values, "m": _ONE})
    if "m" not in device.values:
        return device
    value, count = device.values["value"], device.values["m"]
    shrinks = device.kind in ("resistor", "inductor")  # in parallel
    total = Expression(Operation("/", value.root, count.root)) if shrinks else value * count
    return replace(device, values={"value": total})


# --- what is wrong --------------------------------------------------------------------------------------------------


def _group_problems(file: CircuitFile, subcircuit: Subcircuit, parameters: tuple[SizingParameter, ...]) -> list[str]:
    """Groups whose parameters size another kind of device than they say."""
    device_class = {parameter.name: file.groups[parameter.group].device for parameter in parameters}
    return [
        f"groups.{name}.device: {device_class[name]!r} does not fit {device.name!r}, which is a {device.kind}"
        for device in subcircuit.devices
        for name in sorted(device.names & device_class.keys())
        if device.kind not in KINDS[device_class[name]]
    ]


def _known_good_problems(file: CircuitFile, parameters: tuple[SizingParameter, ...]) -> list[str]:
    bounds = {parameter.name: (parameter.low, parameter.high) for parameter in parameters}
    problems = []
    for design, entry in file.known_good.items():
        where = f"known_good.{design}.sizing"
        for name in entry.sizing.keys() - bounds.keys():
            problems.append(f"{where}.{name}: unknown parameter. {did_you_mean(name, bounds)}")
        for name, (low, high) in bounds.items():
            if name not in entry.sizing:
                problems.append(f"{where}.{name}: this key is required")
            elif not low <= entry.sizing[name] <= high:
                problems.append(f"{where}.{name}: {entry.sizing[name]:g} is outside the bounds [{low:g}, {high:g}]")
    return problems


def _faults(file: CircuitFile, subcircuit: Subcircuit) -> list[str]:
    """Electrical faults inside the testbench of the circuit's class."""
    circuit_class = file.circuit_class
    bench = circuit_class.bench(subcircuit, file.conditions, file.verdict[DEFAULT_VERDICT])
    elements = bench.testbench.elements
    sources = [(element.plus, element.minus) for element in elements if isinstance(element, VoltageSource)]
    sources += [(element.feedback, element.output) for element in elements if isinstance(element, LoopProbe)]
    resistors = [(element.plus, element.minus) for element in elements if isinstance(element, Resistor)]
    return find_faults(subcircuit, sources, circuit_class.rail("low"), circuit_class.rail("high"), resistors)


def _size_faults(subcircuit: Subcircuit, parameters: tuple[SizingParameter, ...]) -> list[str]:
    """Transistors that no sizing within the bounds brings into the models."""
    lines = []
    edges = [{p.name: getattr(p, edge) for p in parameters} for edge in ("low", "high")]
    for device in subcircuit.devices:
        if device.kind not in SIZE_LIMITS or in_metres(device.values):
            continue
        for key, (low, high) in zip("wl", SIZE_LIMITS[device.kind], strict=True):
            value = device.values[key]
            number = constant(value)
            if number is not None and not low - SIZE_TOLERANCE <= number <= high + SIZE_TOLERANCE:
                lines.append(
                    f"{device.where}: {key.upper()}={number:g} of {device.name!r} is outside the models, which cover "
                    f"{low:g} to {high:g} um"
                )
            elif number is None and value.names <= edges[0].keys() and _is_tiny(value, edges):
                lines.append(
                    f"{device.where}: {key.upper()}={{{value}}} of {device.name!r} is below 1 nm for every sizing: "
                    "sizes of transistors are in micrometres"
                )
        width, fingers = (constant(device.values[key]) if key in device.values else None for key in ("w", "nf"))
        narrowest = NARROWEST[device.kind]
        if width is not None and fingers is not None and fingers > 1 and width / fingers < narrowest - SIZE_TOLERANCE:
            lines.append(
                f"{device.where}: {fingers:g} fingers of {device.name!r} are {width / fingers:g} um wide each, since W "
                f"is the width of all of them; no model covers less than {narrowest:g} um"
            )
    return lines


def _is_tiny(value: Expression, edges: list[dict[str, float]]) -> bool:
    try:
        return all(0.0 < value.evaluate(edge) < _SMALLEST for edge in edges)
    except NetlistError:
        return False
