"""Reader of the SPICE subset in which zsgym's circuits are written.

What is read, inside `.subckt NAME ports... [params:] [parameter=default ...]` and `.ends`:

    XM1 d g s b model W=.. L=.. M=..       a transistor, as SKY130's own netlists have it; `M1` in the same form
    R1 p n value    C1 p n value    L1 p n value    I1 p n [dc] value    V1 p n [dc] value
    X1 nets... subcircuit [parameter=..]   an instance of another subcircuit of the same text
    .param name=value ...                  constants of the subcircuit

A value is a number with an engineering suffix, a name, or an expression in `{}` or `''` (`zsgym.netlist.expressions`).
The model is one of the two that are simulated (`MODELS`; after `M1` also a short name such as `nfet`), W and L are in
micrometres, and only one finger (nf=1) without layout parameters is simulated. Names are case-insensitive and come out
in lower case; `+` continues a line; `*`, `;`, ` $` and `//` begin comments.
Anything else is refused with file and line: a line that is skipped silently makes a different circuit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression, Name, parse_number
from zsgym.netlist.subcircuit import Device, DeviceKind, Subcircuit

_TWO_TERMINAL: dict[str, DeviceKind] = {
    "r": "resistor",
    "c": "capacitor",
    "l": "inductor",
    "i": "isource",
    "v": "vsource",
}
MODELS: dict[DeviceKind, str] = {"nmos": "sky130_fd_pr__nfet_01v8", "pmos": "sky130_fd_pr__pfet_01v8"}
"""The transistors that are simulated: device kind -> name in the SKY130 library."""

_LIBRARY_MODELS: dict[str, DeviceKind] = {model: kind for kind, model in MODELS.items()}
# A line that begins with X keeps the library's name: in plain ngspice, its model is the library's subcircuit.
_SHORT_MODELS: dict[str, DeviceKind] = {
    "nfet_01v8": "nmos",
    "nfet": "nmos",
    "nmos": "nmos",
    "pfet_01v8": "pmos",
    "pfet": "pmos",
    "pmos": "pmos",
}
_MOS_PINS = ("d", "g", "s", "b")
_MOS_LAYOUT = ("ad", "as", "pd", "ps", "nrd", "nrs", "sa", "sb", "sd")
# What every transistor is simulated with; any other value would be a different circuit.
_MOS_FIXED = {"nf": 1.0, "mult": 1.0, **dict.fromkeys(_MOS_LAYOUT, 0.0)}
_MOS_VALUES = ("w", "l", "m", *_MOS_FIXED)
_SUPPORTED = ".subckt, .ends, .param and devices that begin with M, X, R, C, L, I or V"

_COMMENT = re.compile(r";.*|//.*|(?:^|(?<=\s))\$.*")
_TOKEN = re.compile(r"\s*(\{[^{}]*\}|'[^']*'|=|[^\s={}']+)")
_WORD = re.compile(r"[^\s={}']+")
_IDENTIFIER = re.compile(r"[a-z_]\w*")


@dataclass(frozen=True, slots=True)
class _Line:
    """A logical line in lower case: continuations joined, comments gone. `where` is the `file:line` it begins at."""

    where: str
    text: str

    @property
    def keyword(self) -> str:
        return self.text.split(maxsplit=1)[0]

    def fail(self, why: str) -> NoReturn:
        raise NetlistError(f"{self.where}: {why}")


@dataclass(slots=True)
class _Definition:
    """A `.subckt` block whose lines are not parsed yet."""

    header: _Line
    name: str
    ports: tuple[str, ...]
    parameters: dict[str, Expression]
    body: list[_Line] = field(default_factory=list)


def parse_netlist(text: str, source: str = "<string>") -> dict[str, Subcircuit]:
    """Read every subcircuit of a netlist, in order.

    :param text: the netlist.
    :param source: name of its file, for messages.
    :returns: lower-case name -> subcircuit. Constants of `.param` are already put into the values that use them.
    :raises NetlistError: a line is not of the subset; the message names file, line and what is supported.
    """
    definitions = _definitions(text, source)
    return {name: _parse_body(definition, definitions) for name, definition in definitions.items()}


def _logical_lines(text: str, source: str) -> list[_Line]:
    lines: list[_Line] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        content = "" if raw.lstrip().startswith("*") else _COMMENT.sub("", raw.strip()).strip().lower()
        if not content:
            continue
        if not content.startswith("+"):
            lines.append(_Line(f"{source}:{number}", content))
        elif lines:
            lines[-1] = _Line(lines[-1].where, f"{lines[-1].text} {content[1:].strip()}")
        else:
            raise NetlistError(f"{source}:{number}: a continuation line needs a line before it")
    return lines


def _definitions(text: str, source: str) -> dict[str, _Definition]:
    """The `.subckt` blocks of a text; nothing else may stand outside them."""
    definitions: dict[str, _Definition] = {}
    current: _Definition | None = None
    for line in _logical_lines(text, source):
        if line.keyword == ".subckt":
            if current is not None:
                line.fail(f".subckt inside .subckt {current.name!r} is not supported: write one after the other")
            current = _parse_header(line)
            if current.name in definitions:
                line.fail(f"subcircuit {current.name!r} is defined twice")
        elif line.keyword == ".ends":
            if current is None or line.text.split()[1:] not in ([], [current.name]):
                line.fail(f"{line.text!r} does not close {f'.subckt {current.name!r}' if current else 'a .subckt'}")
            definitions[current.name] = current
            current = None
        elif current is not None:
            current.body.append(line)
        elif line.keyword == ".param":
            line.fail("a .param outside .subckt is not supported: sizing parameters are declared in the circuit's YAML")
        elif line.keyword != ".end":
            line.fail(f"{line.keyword!r} outside .subckt is not supported; supported: {_SUPPORTED}")
    if current is not None:
        current.header.fail(f".subckt {current.name!r} has no .ends")
    return definitions


def _parse_header(line: _Line) -> _Definition:
    words, values = _split(line)
    words = [word for word in words if word != "params:"]
    if len(words) < 3:
        line.fail(".subckt needs a name and at least one port")
    ports = tuple(words[2:])
    if len(set(ports)) != len(ports):
        line.fail("a port is listed twice")
    for name, value in values.items():
        if value.names & values.keys():
            line.fail(f"the default of {name!r} uses a parameter of the same line, which is not supported")
    return _Definition(line, words[1], ports, values)


def _parse_body(definition: _Definition, definitions: Mapping[str, _Definition]) -> Subcircuit:
    constants: dict[str, Expression] = {}
    devices: dict[str, Device] = {}
    # Constants first: a device may use a .param of a later line.
    for line in definition.body:
        if line.keyword == ".param":
            _parse_param(line, constants, definition)
        elif line.keyword.startswith("."):
            line.fail(f"{line.keyword!r} is not supported; supported: {_SUPPORTED}")
    for line in definition.body:
        if line.keyword != ".param":
            device = _parse_device(line, definitions).substitute(constants)
            if device.name in devices:
                line.fail(f"device {device.name!r} is defined twice")
            devices[device.name] = device
    return Subcircuit(definition.name, definition.ports, tuple(devices.values()), definition.parameters)


def _parse_param(line: _Line, constants: dict[str, Expression], definition: _Definition) -> None:
    """Add the constants of one `.param` line, written in terms of earlier ones only."""
    words, values = _split(line)
    if len(words) > 1 or not values:
        line.fail(".param needs name=value pairs")
    for name, value in values.items():
        if name in constants or name in definition.parameters:
            line.fail(f"parameter {name!r} is defined twice")
        if any(name in constant.names for constant in constants.values()) or name in value.names:
            line.fail(f"parameter {name!r} is used before it is defined")
        constants[name] = value.substitute(constants)


def _parse_device(line: _Line, definitions: Mapping[str, _Definition]) -> Device:
    words, values = _split(line)
    name, model = words[0], words[-1]
    if name[0] in _TWO_TERMINAL:
        return _parse_two_terminal(line, words, values)
    if name[0] == "m" or (name[0] == "x" and model not in definitions and _looks_like_transistor(words, values)):
        return _parse_transistor(line, words, values)
    if name[0] != "x":
        line.fail(f"device {name!r} is not supported; supported: {_SUPPORTED}")
    if model not in definitions:
        line.fail(f"unknown subcircuit {model!r}; defined in this file: {', '.join(definitions)}")
    ports, nets = definitions[model].ports, words[1:-1]
    if len(nets) != len(ports):
        line.fail(f"{name!r} connects {len(nets)} nets, but {model!r} has the {len(ports)} ports {' '.join(ports)}")
    return Device(name, "subcircuit", dict(zip(ports, nets, strict=True)), model, values)


def _looks_like_transistor(words: list[str], values: Mapping[str, Expression]) -> bool:
    """Whether a line that instantiates no subcircuit of its file means a transistor, complete or not."""
    return len(words) == 6 or words[-1] in _LIBRARY_MODELS or (words[0][:2] == "xm" and "w" in values)


def _parse_transistor(line: _Line, words: list[str], values: dict[str, Expression]) -> Device:
    name, *given = words
    if len(given) != 5:
        line.fail(
            f"transistor {name!r} needs the nets d g s b and a model, 5 words; found {len(given)}: {' '.join(given)}"
        )
    *nets, model = given
    models = _LIBRARY_MODELS if name[0] == "x" else _LIBRARY_MODELS | _SHORT_MODELS
    if model not in models:
        line.fail(
            f"{model!r} is no subcircuit of this file and no transistor that is simulated; "
            f"valid models: {', '.join(MODELS.values())}"
        )
    for key in values.keys() - set(_MOS_VALUES):
        line.fail(f"unknown transistor parameter {key!r}; supported: {' '.join(_MOS_VALUES)}")
    for key in {"w", "l"} - values.keys():
        line.fail(f"transistor {name!r} has no {key.upper()}=")
    for key in values.keys() & _MOS_FIXED.keys():
        if values[key] != Expression.constant(_MOS_FIXED[key]):
            line.fail(
                f"transistor {name!r}: {key}={values[key]} is not supported, only {key}={_MOS_FIXED[key]:g}; "
                "every transistor is simulated with one finger and without layout parameters, and M= multiplies it"
            )
    return Device(name, models[model], dict(zip(_MOS_PINS, nets, strict=True)), model, values)


def _parse_two_terminal(line: _Line, words: list[str], values: dict[str, Expression]) -> Device:
    name, letter = words[0], words[0][0]
    kind = _TWO_TERMINAL[letter]
    is_source = letter in "iv"
    rest = words[4:] if is_source and words[3:4] == ["dc"] else words[3:]
    # The value stands alone, or is named by `value`, by the element letter (`c=1p`) or, for a source, by `dc`.
    keys = ("value", "dc" if is_source else letter)
    given = [_parse_value(line, word) for word in rest] + [values[key] for key in keys if key in values]
    if len(words) < 3 or len(given) != 1:
        line.fail(f"{kind} {name!r} needs two nets and one value")
    allowed = {*keys} if kind == "vsource" else {*keys, "m"}
    for key in values.keys() - allowed:
        line.fail(f"unknown parameter {key!r} of {kind} {name!r}; supported: {' '.join(sorted(allowed))}")
    multiplier = {"m": values["m"]} if "m" in values else {}
    return Device(name, kind, {"p": words[1], "n": words[2]}, None, {"value": given[0], **multiplier})


def _split(line: _Line) -> tuple[list[str], dict[str, Expression]]:
    """The words of a line up to the first `name=value` pair, and the pairs."""
    tokens = _tokens(line)
    first = tokens.index("=") - 1 if "=" in tokens else len(tokens)
    words, pairs = tokens[: max(first, 0)], tokens[max(first, 0) :]
    values: dict[str, Expression] = {}
    for start in range(0, len(pairs), 3):
        key, equals, *value = pairs[start : start + 3] + [""] * (3 - len(pairs[start : start + 3]))
        if equals != "=" or not _IDENTIFIER.fullmatch(key):
            line.fail(f"expected a name=value pair at {' '.join(pairs[start : start + 3])!r}")
        if key in values:
            line.fail(f"{key!r} is given twice")
        values[key] = _parse_value(line, value[0])
    return words, values


def _tokens(line: _Line) -> list[str]:
    tokens, position = [], 0
    while position < len(line.text):
        match = _TOKEN.match(line.text, position)
        if match is None:
            line.fail(f"a brace or quote is not closed at {line.text[position:].strip()!r}")
        tokens.append(match[1])
        position = match.end()
        if match[1][0] in "{'" and (suffix := _WORD.match(line.text, position)):
            line.fail(
                f"{match[1] + suffix[0]!r}: no suffix may follow an expression. "
                "W and L are plain numbers in micrometres, every other value is in SI units"
            )
    return tokens


def _parse_value(line: _Line, token: str) -> Expression:
    """A number, a name, or an expression in braces or quotes."""
    try:
        if token[:1] in ("{", "'"):
            return Expression.parse(token[1:-1])
        number = parse_number(token)
        if number is not None:
            return Expression.constant(number)
    except NetlistError as error:
        line.fail(str(error))
    if not _IDENTIFIER.fullmatch(token):
        line.fail(f"{token!r} is no value: write a number, a name, or an expression in braces")
    return Expression(Name(token))
