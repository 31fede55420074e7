"""Reader of the SPICE subset in which circuits are written.

What is read, inside `.subckt NAME ports... [params:] [parameter=default ...]` and `.ends`:

    XM1 d g s b model W=.. L=.. M=..       a transistor, as SKY130's own netlists have it; `M1` in the same form
    R1 p n value    C1 p n value    L1 p n value    I1 p n [dc] value    V1 p n [dc] value
    XC1 p n sky130_fd_pr__cap_mim_m3_1 W=.. L=..    a MIM capacitor
    X1 nets... subcircuit [parameter=..]   an instance of another subcircuit of the same text
    .param name=value ...                  constants of the subcircuit; outside of all, of the file

A value is a number with an engineering suffix, a name, or an expression in `{}` or `''` (`zsgym.netlist.expressions`).
The model is one of the two that are simulated (`MODELS`; after `M1` also a short name such as `nfet`), W and L are in
micrometres; a transistor may have fingers and layout parameters. Names are case-insensitive and come out in lower case;
`+` continues a line; `*`, `;`, ` $` and `//` begin comments. `0` and `gnd` are ground, and a net of a `.global` line is
the same net everywhere. The first line of a file may be a title. What follows `.end` is left out, and so is what
belongs to a testbench: analyses, their options and results, `.control` blocks, SKY130's own model files.
Anything else is refused with file and line: a line that is skipped silently makes a different circuit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zsgym.netlist.elements import MODELS, parse_device
from zsgym.netlist.expressions import Expression
from zsgym.netlist.outline import Definition, Outline, read_outline, read_param, told_of_outside
from zsgym.netlist.subcircuit import Device, Subcircuit
from zsgym.netlist.text import Problems, check_characters

__all__ = ["MODELS", "Netlist", "parse_netlist", "parse_outline"]


@dataclass(frozen=True, eq=False)
class Netlist(Mapping[str, Subcircuit]):
    """What was read from a file: a mapping from lower-case name to subcircuit, in the order of the file.

    parameters: what `.param` lines outside subcircuits define, each in terms of the others.
    global_nets: net -> `file:line` of its `.global`.
    """

    subcircuits: Mapping[str, Subcircuit]
    parameters: Mapping[str, Expression] = field(default_factory=dict)
    global_nets: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Subcircuit:
        return self.subcircuits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.subcircuits)

    def __len__(self) -> int:
        return len(self.subcircuits)


def parse_netlist(text: str, source: str = "<string>") -> Netlist:
    """Read every subcircuit of a netlist, in order.

    :param text: the netlist.
    :param source: name of its file, for messages.
    :returns: lower-case name -> subcircuit. Constants of `.param` are already put into the values that use them.
    :raises NetlistError: lines are not of the subset: one line per problem, with file, line and what is supported.
    """
    return parse_outline(read_outline(text, source))


def parse_outline(outline: Outline, top: str | None = None, *, alone: bool = True) -> Netlist:
    """Read the subcircuits of a netlist, or only one and those that it uses, directly or not.

    :param top: name of the one, in lower case.
    :param alone: devices outside all subcircuits are an error, and not a testbench of the user's, which is left out.
    :raises NetlistError: one line per problem, each with file, line and what is supported.
    """
    problems = Problems()
    if alone and outline.outside:
        problems.add(outline.outside[0], told_of_outside(outline))
    ports = {name: definition.ports for name, definition in outline.definitions.items()}
    wanted = [top] if top is not None else list(outline.definitions)
    found: dict[str, Subcircuit] = {}
    for name in wanted:
        found[name] = _subcircuit(outline.definitions[name], ports, problems)
        models = (device.model for device in found[name].devices if device.kind == "subcircuit")
        wanted += [model for model in dict.fromkeys(models) if model in ports and model not in wanted]
        for unreadable in sorted(found[name].names & outline.unreadable.keys()):
            problems.add_error(outline.unreadable[unreadable])
    problems.raise_all(outline.problems)
    in_order = {name: found[name] for name in outline.definitions if name in found}
    return Netlist(in_order, outline.parameters, outline.global_nets)


def _subcircuit(definition: Definition, ports: Mapping[str, tuple[str, ...]], problems: Problems) -> Subcircuit:
    """A block with its lines read; what is wrong with them is noted."""
    constants: dict[str, Expression] = {}
    devices: dict[str, Device] = {}
    elements = []
    # Constants first: a device may use a .param of a later line.
    for line in definition.body:
        with problems.noted():
            check_characters(line)
            if line.keyword == ".param":
                read_param(line, constants, definition.parameters)
            else:
                elements.append(line)
    for line in elements:
        with problems.noted():
            device = parse_device(line, ports).substitute(constants)
            if device.name in devices:
                line.fail(f"device {device.name!r} is defined twice, first in {devices[device.name].where}")
            devices[device.name] = device
    return Subcircuit(
        definition.name,
        definition.ports,
        tuple(devices.values()),
        definition.parameters,
        constants,
        definition.header.where,
    )
