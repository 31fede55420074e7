"""The outline of a netlist: which subcircuits a file defines, and what stands outside them.

Bodies are not read here, so that a line of a subcircuit that nobody uses does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from zsgym.base.encoding import cleaned
from zsgym.base.errors import NetlistError
from zsgym.netlist.elements import SUPPORTED, net, split
from zsgym.netlist.expressions import Expression, parse_number
from zsgym.netlist.subcircuit import GROUND
from zsgym.netlist.text import COMMENTED, Line, LineError, Problems, check_characters, logical_lines

_TESTBENCH = frozenset(
    f".{name}"
    for name in (
        *("op", "ac", "dc", "tran", "tf", "noise", "disto", "pz", "sens", "sp", "pss", "four", "fourier"),
        *("meas", "measure", "print", "plot", "probe", "save", "width", "csparam", "backanno", "title"),
        *("temp", "ic", "nodeset"),
    )
)
"""Lines that say how a circuit is simulated, not what it is: the testbench of its class does that instead."""
_OPTIONS = (".opt", ".option", ".options")
_FILES = (".include", ".inc", ".lib")
_FIXED_OPTIONS = {"scale": (1e-6, "1u"), "tnom": (27.0, "27"), "wnflag": (0.0, "0")}
"""Options that change what the devices of a netlist are, and the one value that is simulated."""


@dataclass(slots=True)
class Definition:
    """A `.subckt` block whose lines are not parsed yet."""

    header: Line
    name: str
    ports: tuple[str, ...]
    parameters: dict[str, Expression]
    body: list[Line] = field(default_factory=list)


@dataclass
class Outline:
    """A netlist cut into its subcircuits, whose lines are not read yet.

    definitions: lower-case name -> block, in the order of the file. outside: device lines that belong to none.
    parameters: what `.param` lines outside all blocks define; unreadable: those whose value is not of the subset.
    global_nets: net -> `file:line` of its `.global`. is_plain: whether the text may stand in another netlist as it is,
    since it holds subcircuits and nothing else. problems: what is wrong so far.
    """

    source: str
    definitions: dict[str, Definition] = field(default_factory=dict)
    outside: list[Line] = field(default_factory=list)
    parameters: dict[str, Expression] = field(default_factory=dict)
    unreadable: dict[str, LineError] = field(default_factory=dict)
    global_nets: dict[str, str] = field(default_factory=dict)
    is_plain: bool = True
    problems: Problems = field(default_factory=Problems)

    @property
    def roots(self) -> list[str]:
        """Names of the subcircuits that no other one uses."""
        used = {_model(line) for definition in self.definitions.values() for line in definition.body}
        return [name for name in self.definitions if name not in used]

    def read(self, lines: list[Line]) -> None:
        """Sort the logical lines of the file into blocks."""
        current: Definition | None = None
        for line in lines:
            with self.problems.noted():
                current = self._read_line(line, current)
        if current is not None:
            self.problems.add(current.header, f".subckt {current.name!r} has no .ends")

    def _read_line(self, line: Line, current: Definition | None) -> Definition | None:
        """Take one line. :returns: the block that is open behind it."""
        keyword = line.keyword
        if keyword in (".subckt", ".macro"):
            if current is not None:
                self.problems.add(
                    line, f".subckt inside .subckt {current.name!r} is not supported: write one after the other"
                )
            return self._open(line)
        if keyword in (".ends", ".eom"):
            if current is None or line.text.split()[1:] not in ([], [current.name]):
                self.problems.add(
                    line, f"{line.text!r} does not close {f'.subckt {current.name!r}' if current else 'a .subckt'}"
                )
            return None
        if keyword == ".param" and current is not None:
            current.body.append(line)
        elif keyword.startswith("."):
            self.is_plain = False
            self._take_dot_line(line)
        elif current is not None:
            current.body.append(line)
        else:
            self.is_plain = False
            if line.number > 1:  # the first line of a file is its title, unless it can be something else
                self.outside.append(line)
        return current

    def _open(self, line: Line) -> Definition:
        try:
            definition = read_header(line)
        except LineError as error:
            self.problems.add_error(error)
            name = " ".join(line.text.split()[1:2])
            return Definition(line, name, (), {})  # forgotten, but its body is not taken for something else
        if (earlier := self.definitions.get(definition.name)) is None:
            self.definitions[definition.name] = definition
        else:
            self.problems.add(
                line, f"subcircuit {definition.name!r} is defined twice, first in line {earlier.header.number}"
            )
        return definition

    def _take_dot_line(self, line: Line) -> None:
        """A line that is no device and no limit of a subcircuit."""
        keyword = line.keyword
        if keyword == ".param":
            self._take_parameters(line)
        elif keyword == ".global":
            check_characters(line)
            self.global_nets.update((net(word), line.where) for word in line.text.split()[1:] if net(word) != GROUND)
        elif keyword in _OPTIONS:
            _check_options(line)
        elif keyword in _FILES:
            if not _is_of_the_pdk(line):
                line.fail(f"{line.text!r} is not read: put the subcircuits that the circuit uses into this file")
        elif keyword not in _TESTBENCH:
            hint = ": the models are SKY130's, so that no other is read" if keyword == ".model" else ""
            line.fail(f"{keyword!r} is not supported{hint}; supported: {SUPPORTED}")

    def _take_parameters(self, line: Line) -> None:
        """Constants of the file. One that cannot be read matters only where it is used."""
        try:
            check_characters(line)
            words, values = split(line)
            if len(words) > 1 or not values:
                line.fail(".param needs name=value pairs")
        except LineError as error:
            self.unreadable.update((name, error) for name in re.findall(r"([a-z_]\w*)\s*=", line.text))
        else:
            for name in values.keys() & self.parameters.keys():
                self.problems.add(line, f"parameter {name!r} is defined twice")
            self.parameters.update(values)


def read_outline(text: str, source: str = "<string>") -> Outline:
    """Cut a netlist into its subcircuits.

    :raises NetlistError: there is not one; other problems are noted in the outline.
    """
    outline = Outline(source)
    lines, left_out = logical_lines(cleaned(text), source, outline.problems)
    outline.is_plain = not (left_out or any(line.text.startswith(COMMENTED) for line in lines))
    outline.read(_with_exported_top(lines))
    if not outline.definitions:
        outline.problems.raise_all()
        raise NetlistError(_nothing_in(text, outline, lines))
    return outline


def _nothing_in(text: str, outline: Outline, lines: list[Line]) -> str:
    """Why a netlist defines no subcircuit."""
    if not text.strip():
        return f"{outline.source}: the netlist is empty"
    if exported := [line for line in lines if line.text.startswith(f"{COMMENTED}.subckt")]:
        found = "names no ports" if outline.outside else "is followed by no device"
        return (
            f"{exported[0].where}: the only .subckt line is commented out, as xschem does, and {found}: "
            "netlist the schematic of the circuit itself, with its pins"
        )
    if outline.outside:
        return f"{outline.outside[0].where}: {told_of_outside(outline)}"
    what = "defines no subcircuit" if lines else "holds nothing but comments"
    return f"{outline.source}: the netlist {what}: `.subckt NAME ports...`, devices and `.ends` are needed"


def told_of_outside(outline: Outline) -> str:
    """What is wrong with device lines outside all subcircuits, and what to do about them."""
    first, last = outline.outside[0], outline.outside[-1]
    where = f"line {first.number}" if first is last else f"lines {first.number} to {last.number}"
    hint = "put `.subckt NAME ports...` before and `.ends` behind the circuit"
    if outline.definitions:
        hint += "; or, if it is a testbench, name the circuit by `subcircuit:` in the YAML file, and it is left out"
    return f"device {first.keyword!r} outside .subckt ({where}): {hint}"


def _with_exported_top(lines: list[Line]) -> list[Line]:
    """The lines with the top's `.subckt` in force that xschem has commented out, where no other can be meant.

    xschem writes `**.subckt NAME ports...` and `**.ends` around the devices of a schematic that it netlists as a top
    level. The constants between them hold for the whole file.
    """
    places = [place for place, line in enumerate(lines) if line.keyword == f"{COMMENTED}.subckt"]
    rest = [line for line in lines if not line.text.startswith(COMMENTED)]
    if len(places) != 1:
        return rest
    before, behind = lines[: places[0]], lines[places[0] + 1 :]
    is_open = [line.keyword for line in before if line.keyword in (".subckt", ".ends")][-1:] == [".subckt"]
    ends = (f"{COMMENTED}.ends", ".subckt", ".macro")
    count = next((place for place, line in enumerate(behind) if line.keyword in ends), len(behind))
    block = behind[:count]
    header = lines[places[0]]
    if is_open or len(header.text.split()) < 3 or all(line.text.startswith(".") for line in block):
        return rest
    shared = [line for line in block if line.keyword in (".param", ".global")]
    block = [replace(header, text=header.text.removeprefix(COMMENTED)), *(line for line in block if line not in shared)]
    behind = [line for line in behind[count:] if not line.text.startswith(COMMENTED)]
    return [*before, *shared, *block, Line(header.source, block[-1].number, ".ends"), *behind]


def read_header(line: Line) -> Definition:
    """The name, ports and parameters of a `.subckt` line.

    :raises LineError: it is not complete, or names a port twice.
    """
    check_characters(line)
    words, values = split(line)
    listed = " ".join(word for word in words[2:] if word != "params:")
    if listed.startswith("(") and listed.endswith(")"):
        listed = listed[1:-1]
    if len(words) < 2 or not listed.strip():
        line.fail(".subckt needs a name and at least one port")
    ports = tuple(map(net, listed.split()))
    if len(set(ports)) != len(ports):
        line.fail("a port is listed twice")
    for name, value in values.items():
        if value.names & values.keys():
            line.fail(f"the default of {name!r} uses a parameter of the same line, which is not supported")
    return Definition(line, words[1], ports, values)


def read_param(line: Line, constants: dict[str, Expression], parameters: Collection[str]) -> None:
    """Add the constants of one `.param` line, written in terms of earlier ones only.

    :param parameters: names that are taken already.
    :raises LineError: a constant is defined twice, or used before it is defined.
    """
    words, values = split(line)
    if len(words) > 1 or not values:
        line.fail(".param needs name=value pairs")
    for name, value in values.items():
        if name in constants or name in parameters:
            line.fail(f"parameter {name!r} is defined twice")
        if any(name in constant.names for constant in constants.values()) or name in value.names:
            line.fail(f"parameter {name!r} is used before it is defined")
        constants[name] = value.substitute(constants)


def _is_of_the_pdk(line: Line) -> bool:
    """Whether an `.include` or `.lib` line reads SKY130's own models."""
    path = " ".join(line.text.split()[1:2]).strip("\"'")
    return path.rpartition("/")[2].startswith("sky130") or any(
        part in path for part in ("sky130_fd_pr", "libs.tech", "skywater")
    )


def _model(line: Line) -> str:
    """The name of the subcircuit that a line may instantiate: its last word before the first `name=value` pair."""
    words = line.text.partition("=")[0].split()
    if "=" in line.text:
        words = words[:-1]
    words = [word for word in words if word != "params:"]
    return words[-1] if words and line.text.startswith("x") else ""


def _check_options(line: Line) -> None:
    """Options are the testbench's, as long as they do not change what a device is.

    :raises LineError: one does.
    """
    for name, (value, simulated) in _FIXED_OPTIONS.items():
        found = re.search(rf"\b{name}\s*=\s*(\S+)", line.text)
        number = parse_number(found[1]) if found else value
        if number != value:
            line.fail(f".option {name} changes what the devices are; {name}={simulated} is simulated: leave it out")
