"""One device line of a netlist, read into a `Device`. See `zsgym.netlist.reader` for what may stand there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from zsgym.base.errors import NetlistError
from zsgym.netlist.expressions import Expression, Name, parse_number
from zsgym.netlist.passives import CAPACITORS, PREFIX, resistance
from zsgym.netlist.sizes import constant, in_metres
from zsgym.netlist.subcircuit import GROUND, ONE, Device, DeviceKind, instance_values
from zsgym.netlist.text import Line

MODELS: dict[DeviceKind, str] = {"nmos": f"{PREFIX}nfet_01v8", "pmos": f"{PREFIX}pfet_01v8"}
"""The transistors that are simulated: device kind -> name in the SKY130 library."""
SUPPORTED = ".subckt, .ends, .param, .global and devices that begin with M, X, R, C, L, I or V"

_TWO_TERMINAL: dict[str, DeviceKind] = {
    "r": "resistor",
    "c": "capacitor",
    "l": "inductor",
    "i": "isource",
    "v": "vsource",
}
_NOT_READ = {
    "b": "a behavioural source",
    "d": "a diode",
    "e": "a controlled source",
    "f": "a controlled source",
    "g": "a controlled source",
    "h": "a controlled source",
    "j": "a junction transistor",
    "k": "a coupling of inductors",
    "q": "a bipolar transistor",
    "s": "a switch",
    "t": "a transmission line",
    "w": "a switch",
    "a": "a code model",
}
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
_MOS_DEFAULTS = {
    **dict.fromkeys(("w", "l", "m", "nf", "mult"), ONE),
    **dict.fromkeys(_MOS_LAYOUT, Expression.constant(0.0)),
}
"""What a transistor of the library is made with, where its line says nothing else."""
_WAVEFORMS = ("pulse", "sin", "exp", "pwl", "sffm", "am", "trnoise", "trrandom", "external")

_TOKEN = re.compile(r"""\s*(\{[^{}]*\}|'[^']*'|"[^"]*"|=|[^\s={}'"]+)""")
_WORD = re.compile(r"""[^\s={}'"]+""")
IDENTIFIER = re.compile(r"[a-z_]\w*")


def parse_device(line: Line, definitions: Mapping[str, tuple[str, ...]]) -> Device:
    """The device of a line.

    :param definitions: name -> ports of every subcircuit of the netlist.
    :raises LineError: the line is not of the subset.
    """
    words, values = split(line)
    if not words:
        line.fail(f"{line.keyword!r} is not a device; supported: {SUPPORTED}")
    name, model = words[0], words[-1]
    if name[0] in _TWO_TERMINAL:
        return _two_terminal(line, words, values)
    if name[0] == "m" or (name[0] == "x" and model not in definitions and _looks_like_transistor(words, values)):
        return _transistor(line, words, values)
    if name[0] != "x":
        if name[0] not in _NOT_READ:
            line.fail(f"{name!r} does not begin with the letter of a device; supported: {SUPPORTED}")
        line.fail(
            f"{name!r} is {_NOT_READ[name[0]]}, which is not simulated: leave it out, or build it from what is; "
            f"supported: {SUPPORTED}"
        )
    return _instance(line, words, values, definitions)


def net(word: str) -> str:
    """A net by its name; ngspice takes `gnd` for ground wherever it stands."""
    return GROUND if word == "gnd" else word


def _instance(
    line: Line, words: list[str], values: dict[str, Expression], definitions: Mapping[str, tuple[str, ...]]
) -> Device:
    words = [word for word in words if word != "params:"]
    name, model, nets = words[0], words[-1], words[1:-1]
    if "/" in nets:
        line.fail(f"{name!r}: a slash before the name of a subcircuit is not read: leave it out")
    ports = definitions.get(model) or (CAPACITORS[model].ports if model in CAPACITORS else None)
    if ports is None:
        line.fail(*_unknown_model(name, model, nets, values, definitions))
    if len(nets) != len(ports):
        line.fail(f"{name!r} connects {len(nets)} nets, but {model!r} has the {len(ports)} ports {' '.join(ports)}")
    if model in CAPACITORS and (problems := in_metres(values)):
        line.fail(*problems)
    return Device(name, "subcircuit", dict(zip(ports, map(net, nets), strict=True)), model, values, line.where)


def _unknown_model(
    name: str, model: str, nets: list[str], values: Mapping[str, Expression], definitions: Iterable[str]
) -> list[str]:
    """What is wrong with an instance of something that the netlist does not define, and what to write instead."""
    if not model.startswith(PREFIX):
        known = list(definitions)
        near = difflib.get_close_matches(model, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return [f"unknown subcircuit {model!r}; {hint}defined in this file: {', '.join(known) or 'none'}"]
    kind = model.removeprefix(PREFIX)
    if kind.startswith("res_"):
        return [_plain_resistor(name, model, nets, values)]
    if kind.startswith("cap_"):
        return [
            f"{model!r} is not read yet: write the capacitor that it is, such as `{_plain('c', name, nets)} 100f`; "
            f"read as they stand: {', '.join(CAPACITORS)}"
        ]
    return [f"{model!r} is not a device that is simulated; valid models: {', '.join(MODELS.values())}"]


def _plain_resistor(name: str, model: str, nets: list[str], values: Mapping[str, Expression]) -> str:
    """The advice to write a plain resistor, with its value where the drawn size is a number."""
    width, length, count = (constant(values[key]) if key in values else 1.0 for key in "wlm")
    ohm = resistance(model, width, length) if count is not None and count > 0 else None
    size = "1k" if ohm is None or count is None else _short(ohm / count)
    accuracy = "with its own value" if ohm is None else "as large as the library's at 27 C and small voltages"
    return (
        f"{model!r} is not read yet, because it depends on voltage, temperature and what is below it: write a plain "
        f"resistor such as `{_plain('r', name, nets)} {size}`, {accuracy}"
    )


def _short(ohm: float) -> str:
    """A resistance as people write it."""
    return f"{ohm:.4g}" if ohm < 1e3 else f"{ohm / 1e3:.4g}k"


def _plain(letter: str, name: str, nets: list[str]) -> str:
    """The beginning of a plain element's line in place of an instance's: `xr3` becomes `R3`."""
    number = name.removeprefix("x").removeprefix(letter) or "1"
    return f"{letter.upper()}{number} {' '.join(nets[:2])}"


def _looks_like_transistor(words: list[str], values: Mapping[str, Expression]) -> bool:
    """Whether a line that instantiates no subcircuit of its file means a transistor, complete or not."""
    name, model = words[0], words[-1]
    if model.startswith((f"{PREFIX}res_", f"{PREFIX}cap_", f"{PREFIX}pnp", f"{PREFIX}npn", f"{PREFIX}diode")):
        return False
    return len(words) == 6 or model in _LIBRARY_MODELS or (name[:2] == "xm" and "w" in values)


def _transistor(line: Line, words: list[str], values: dict[str, Expression]) -> Device:
    name, *given = words
    if len(given) != 5:
        line.fail(
            f"transistor {name!r} needs the nets d g s b and a model, 5 words; found {len(given)}: {' '.join(given)}"
        )
    *nets, model = given
    models = _LIBRARY_MODELS if name[0] == "x" else _LIBRARY_MODELS | _SHORT_MODELS
    problems = []
    if model not in models:
        problems.append(
            f"{model!r} is not a subcircuit of this file and not a transistor that is simulated; "
            f"valid models: {', '.join(MODELS.values())}"
        )
    if unknown := sorted(values.keys() - _MOS_DEFAULTS.keys()):
        problems.append(
            f"unknown transistor parameter {', '.join(map(repr, unknown))}; supported: {' '.join(_MOS_DEFAULTS)}"
        )
    problems += [f"transistor {name!r} has no {key.upper()}=" for key in ("w", "l") if key not in values]
    if problems:
        line.fail(*problems)
    try:
        values = instance_values(values, _MOS_DEFAULTS)
    except NetlistError as error:
        line.fail(f"transistor {name!r}: {error}")
    nodes = dict(zip(_MOS_PINS, map(net, nets), strict=True))
    return Device(name, models[model], nodes, model, values, line.where)


def _two_terminal(line: Line, words: list[str], values: dict[str, Expression]) -> Device:
    name, letter = words[0], words[0][0]
    kind = _TWO_TERMINAL[letter]
    is_source = letter in "iv"
    what = {"i": "current source", "v": "voltage source"}.get(letter, str(kind))
    _check_plain(line, kind, words, values)
    rest = _dc_part(line, words) if is_source else words[3:]
    # The value stands alone, or is named by `value`, by the element letter (`c=1p`) or, for a source, by `dc`.
    keys = ("value", "dc" if is_source else letter)
    given = [parse_value(line, word) for word in rest] + [values[key] for key in keys if key in values]
    if len(words) < 3 or len(given) != 1:
        line.fail(f"{what} {name!r} needs two nets and one value")
    allowed = {*keys} if kind == "vsource" else {*keys, "m"}
    if unknown := sorted(values.keys() - allowed):
        listed = ", ".join(map(repr, unknown))
        line.fail(f"unknown parameter {listed} of {what} {name!r}; supported: {' '.join(sorted(allowed))}")
    multiplier = {"m": values["m"]} if "m" in values else {}
    nodes = {"p": net(words[1]), "n": net(words[2])}
    return Device(name, kind, nodes, None, {"value": given[0], **multiplier}, line.where)


def _check_plain(line: Line, kind: DeviceKind, words: list[str], values: dict[str, Expression]) -> None:
    """Take out of `values` what changes nothing here; refuse what makes more than a plain element of the line."""
    name, model = words[0], words[3] if len(words) > 3 else ""
    if model.startswith(PREFIX):
        line.fail(*_unknown_model(name, model, words[1:3], values, ()))
    values.pop("ic", None)  # where a transient starts is the testbench's
    coefficients = ("tc", "tc1", "tc2")
    for key in (*coefficients, "ac"):
        if values.get(key) == Expression.constant(0.0):
            del values[key]
    if any(key in values for key in coefficients):
        line.fail(f"{kind} {name!r}: temperature coefficients are not simulated: leave them out")


def _dc_part(line: Line, words: list[str]) -> list[str]:
    """The words of a source's DC value; its stimulus is the testbench's."""
    rest = words[3:]
    for place, word in enumerate(rest):
        if word.partition("(")[0] in _WAVEFORMS and "(" in "".join(rest[place:]):
            line.fail(f"source {words[0]!r} has a waveform, but the testbench stimulates: write its DC value only")
    if "ac" in rest:
        place = rest.index("ac")
        stimulus = [parse_value(line, word) for word in rest[place + 1 : place + 3] if word != "dc"]
        if not stimulus or any(value.names or value.evaluate() != 0 for value in stimulus[:1]):
            line.fail(f"source {words[0]!r} has an AC stimulus, but the testbench stimulates: write its DC value only")
        rest = rest[:place] + rest[place + 1 + len(stimulus) :]
    return rest[1:] if rest[:1] == ["dc"] else rest


def split(line: Line) -> tuple[list[str], dict[str, Expression]]:
    """The words of a line up to the first `name=value` pair, and the pairs.

    :raises LineError: what follows the first pair is not a pair, or a name is given twice.
    """
    tokens = _tokens(line)
    first = tokens.index("=") - 1 if "=" in tokens else len(tokens)
    words, pairs = tokens[: max(first, 0)], tokens[max(first, 0) :]
    values: dict[str, Expression] = {}
    for start in range(0, len(pairs), 3):
        key, equals, *value = pairs[start : start + 3] + [""] * (3 - len(pairs[start : start + 3]))
        if equals != "=" or not IDENTIFIER.fullmatch(key):
            line.fail(f"expected a name=value pair at {' '.join(pairs[start : start + 3])!r}")
        if key in values:
            line.fail(f"{key!r} is given twice")
        values[key] = parse_value(line, value[0], named=True)
    return words, values


def _tokens(line: Line) -> list[str]:
    tokens, position = [], 0
    while position < len(line.text):
        match = _TOKEN.match(line.text, position)
        if match is None:
            line.fail(f"a brace or quote is not closed at {line.text[position:].strip()!r}")
        tokens.append(match[1])
        position = match.end()
        if match[1][0] in "{'\"" and (suffix := _WORD.match(line.text, position)):
            line.fail(
                f"{match[1] + suffix[0]!r}: no suffix may follow an expression. "
                "W and L are plain numbers in micrometres, every other value is in SI units"
            )
    return tokens


def parse_value(line: Line, token: str, *, named: bool = False) -> Expression:
    """A number, a name, or an expression in braces or quotes; behind a `name=` an expression may stand without them.

    :raises LineError: it is none of these.
    """
    if token.startswith('"'):
        line.fail(f"{token}: ngspice reads expressions in double quotes wrongly: write braces or single quotes")
    try:
        if token[:1] in ("{", "'"):
            return Expression.parse(token[1:-1])
        number = parse_number(token)
        if number is not None:
            return Expression.constant(number)
        if IDENTIFIER.fullmatch(token):
            return Expression(Name(token))
        if named and re.search(r"[-+*/(]", token):
            return Expression.parse(token)
    except NetlistError as error:
        line.fail(str(error))
    raise line.error(f"{token!r} is not a value: write a number, a name, or an expression in braces")
