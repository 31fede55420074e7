"""Arithmetic of netlists: what stands between braces, or after an equals sign.

The grammar is the part of ngspice's that every simulator reads alike: `+ - * / **`, parentheses, engineering suffixes
and the functions `sqrt min max abs int floor`. Where ngspice 39 was measured to leave ordinary algebra, the parser
refuses instead of guessing: `a**b**c` associates to the left there, `4*-a**2` is 1 for a = 2, a negative base of `**`
is replaced by its magnitude, and `1mil` is 1e-3 inside braces but 25.4e-6 outside. What the parser accepts means the
same in Python, in ngspice, and when written back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from zsgym.base.errors import NetlistError

SUFFIXES: dict[str, float] = {
    "t": 1e12,
    "g": 1e9,
    "meg": 1e6,
    "k": 1e3,
    "mil": 25.4e-6,
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
    "p": 1e-12,
    "f": 1e-15,
}
"""Engineering suffixes, longest spelling first where one begins like another (`meg` and `mil` before `m`)."""

FUNCTIONS: dict[str, tuple[int, Callable[..., float]]] = {
    "sqrt": (1, math.sqrt),
    "min": (2, min),
    "max": (2, max),
    "abs": (1, abs),
    "int": (1, math.trunc),
    "floor": (1, math.floor),
}
"""Function name -> number of arguments and meaning; `int` cuts towards zero, as ngspice does."""

_SUFFIX_PATTERN = "|".join(SUFFIXES)
# Unit letters after a number carry no meaning in SPICE ("10pF", "5V"). A bare "a" is left out because newer simulators
# read it as atto, and a bare "f" is always femto, as SPICE reads it.
_UNIT_PATTERN = "v|volts?|s|hz|ohms?|h|(?<=[a-z])(?:[afm]|amps?|farads?)"
_NUMBER = re.compile(
    rf"(?P<digits>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<suffix>{_SUFFIX_PATTERN})?(?P<unit>{_UNIT_PATTERN})?"
)
_NAME = re.compile(r"[a-z_]\w*")
_TOKEN = re.compile(r"\s*(?:(?P<number>[\d.](?:e[+-]?\d|[\w.])*)|(?P<name>[a-z_]\w*)|(?P<operator>\*\*|[-+*/(),]))")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant; never negative, because a sign is an operation of its own."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A parameter, by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Negation:
    """The negative of its operand."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands and one of `+ - * / **`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Call:
    """One of FUNCTIONS, applied."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Name | Negation | Operation | Call


@dataclass(frozen=True)
class Expression:
    """Parsed arithmetic over parameter names. Immutable, comparable, hashable; `parse(str(e)) == e`.

    Names are kept as they are given to the constructor; `parse` makes them lower case, because SPICE ignores case.
    """

    root: Node

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read an expression without its braces.

        :raises NetlistError: the text is no expression of the subset; the message quotes it and says why.
        """
        return cls(_Parser(text).parse())

    @classmethod
    def constant(cls, value: float) -> Expression:
        """The expression of one finite number."""
        if not math.isfinite(value):
            raise NetlistError(f"{value} cannot stand in a netlist: only finite numbers can")
        return cls(Negation(Number(-value)) if value < 0 else Number(abs(float(value))))

    @property
    def is_constant(self) -> bool:
        """True for what `constant` makes: a single number, with a sign when it is below zero."""
        node = self.root.operand if isinstance(self.root, Negation) else self.root
        return isinstance(node, Number) and (node is self.root or node.value > 0)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every parameter that the value depends on."""
        return frozenset(_names(self.root))

    def evaluate(self, values: Mapping[str, float] | None = None) -> float:
        """The value as a float, with the parameters taken from a mapping (name -> number).

        A name that is missing in its own spelling is looked up without regard to case.

        :raises NetlistError: a parameter has no value, or the arithmetic is undefined (division by zero, ...).
        """
        try:
            value = float(_evaluate(self.root, values or {}))
        except NetlistError:
            raise
        except (ArithmeticError, ValueError) as error:
            raise NetlistError(f"expression {{{self}}} has no value: {error}") from error
        if not math.isfinite(value):
            raise NetlistError(f"expression {{{self}}} has no finite value")
        return value

    def substitute(self, replacements: Mapping[str, Expression]) -> Expression:
        """The same expression with names replaced, all at once."""
        if not self.names & replacements.keys():
            return self
        return Expression(_substitute(self.root, replacements))

    def __mul__(self, other: Expression) -> Expression:
        """The product of two expressions; a factor of one vanishes."""
        if self.root == Number(1.0):
            return other
        return self if other.root == Number(1.0) else Expression(Operation("*", self.root, other.root))

    def __str__(self) -> str:
        return _format(self.root)


def parse_number(text: str) -> float | None:
    """The value of a SPICE number such as `2.2k`, `10pF` or `1meg`; None when the text is none."""
    match = _NUMBER.fullmatch(text.lower())
    if match is None:
        return None
    # Python's own decimal reader keeps `2.2k` equal to 2200.0, which a multiplication by 1e3 would not always do.
    suffix = match["suffix"]
    if suffix is None:
        return float(match["digits"])
    if suffix == "mil":
        return float(match["digits"]) * SUFFIXES[suffix]
    mantissa, _, exponent = match["digits"].partition("e")
    return float(f"{mantissa}e{int(exponent or 0) + round(math.log10(SUFFIXES[suffix]))}")


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number: whole numbers without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


class _Parser:
    """Recursive descent: sum := term (+|- term)*; term := factor (*|/ factor)*; factor := [-|+] factor | power."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.tokens = self._tokenize(self.text.lower())
        self.position = 0

    def error(self, why: str) -> NetlistError:
        return NetlistError(f"cannot read the expression {self.text!r}: {why}")

    def _tokenize(self, text: str) -> list[str]:
        tokens, position = [], 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(
                    f"unexpected {text[position:].lstrip()[:1]!r}; + - * / ** ( ) and numbers are supported"
                )
            tokens.append(match[0].strip())
            position = match.end()
        return tokens

    @property
    def next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        self.position += 1
        return token

    def expect(self, token: str) -> None:
        if self.next != token:
            raise self.error(f"expected {token!r} instead of {self.next or 'the end'!r}")
        self.take()

    def parse(self) -> Node:
        if not self.tokens:
            raise self.error("it is empty")
        root = self.sum()
        if self.next:
            raise self.error(f"unexpected {self.next!r}")
        return root

    def sum(self) -> Node:
        node = self.term(leading=True)
        while self.next in ("+", "-"):
            node = Operation(self.take(), node, self.term(leading=False))
        return node

    def term(self, leading: bool) -> Node:
        node = self.factor(leading)
        while self.next in ("*", "/"):
            node = Operation(self.take(), node, self.factor(leading=False))
        return node

    def factor(self, leading: bool, signed: bool = False) -> Node:
        if self.next not in ("+", "-"):
            return self.power(ambiguous=signed and not leading)
        sign = self.take()
        operand = self.factor(leading and not signed, signed=True)
        return Negation(operand) if sign == "-" else operand

    def power(self, ambiguous: bool) -> Node:
        base = self.atom()
        if self.next != "**":
            return base
        if ambiguous:
            raise self.error("simulators disagree about a signed power after an operator: write parentheses around it")
        self.take()
        exponent = self.factor(leading=False) if self.next in ("+", "-") else self.atom()
        if self.next == "**":
            raise self.error("simulators disagree about a**b**c: write parentheses")
        return Operation("**", base, exponent)

    def atom(self) -> Node:
        token = self.take()
        if token == "(":
            node = self.sum()
            self.expect(")")
            return node
        if token[:1].isdigit() or token[:1] == ".":
            return self.number(token)
        if _NAME.fullmatch(token):
            return self.call(token) if self.next == "(" else Name(token)
        raise self.error(f"expected a number, a name or '(' instead of {token or 'the end'!r}")

    def number(self, token: str) -> Number:
        value = parse_number(token)
        if value is None or not math.isfinite(value):
            raise self.error(f"{token!r} is no number; suffixes are {' '.join(SUFFIXES)}")
        if "mil" in token:
            raise self.error("ngspice reads mil as a thousandth inside an expression: write 25.4e-6")
        return Number(value)

    def call(self, function: str) -> Call:
        if function not in FUNCTIONS:
            raise self.error(f"unknown function {function!r}; supported: {' '.join(FUNCTIONS)}")
        self.expect("(")
        arguments = [self.sum()]
        while self.next == ",":
            self.take()
            arguments.append(self.sum())
        self.expect(")")
        count = FUNCTIONS[function][0]
        if len(arguments) != count:
            raise self.error(f"{function} takes {count} argument{'s' * (count > 1)}, not {len(arguments)}")
        return Call(function, tuple(arguments))


def _names(node: Node) -> set[str]:
    match node:
        case Number():
            return set()
        case Name(name):
            return {name}
        case Negation(operand):
            return _names(operand)
        case Operation(_, left, right):
            return _names(left) | _names(right)
        case Call(_, arguments):
            return set().union(*map(_names, arguments))


def _evaluate(node: Node, values: Mapping[str, float]) -> float:
    match node:
        case Number(value):
            return value
        case Name(name):
            return _look_up(name, values)
        case Negation(operand):
            return -_evaluate(operand, values)
        case Operation(operator, left, right):
            return _operate(operator, _evaluate(left, values), _evaluate(right, values))
        case Call(function, arguments):
            return FUNCTIONS[function][1](*(_evaluate(argument, values) for argument in arguments))


def _operate(operator: str, left: float, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if operator == "/":
        return left / right
    if left < 0:
        raise ValueError(f"the base of ** is negative ({left:g}), and ngspice would use its magnitude")
    return float(left**right)


def _look_up(name: str, values: Mapping[str, float]) -> float:
    if name in values:
        return values[name]
    for candidate, value in values.items():
        if candidate.lower() == name.lower():
            return value
    raise NetlistError(f"parameter {name!r} has no value; given: {', '.join(values) or 'none'}")


def _substitute(node: Node, replacements: Mapping[str, Expression]) -> Node:
    match node:
        case Number():
            return node
        case Name(name):
            return replacements[name].root if name in replacements else node
        case Negation(operand):
            return Negation(_substitute(operand, replacements))
        case Operation(operator, left, right):
            return Operation(operator, _substitute(left, replacements), _substitute(right, replacements))
        case Call(function, arguments):
            return Call(function, tuple(_substitute(argument, replacements) for argument in arguments))


_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 3}


def _format(node: Node, minimum: int = 0) -> str:
    """Text with parentheses where precedence needs them, and around every signed or power operand."""
    match node:
        case Number(value):
            return format_number(value)
        case Name(name):
            return name
        case Call(function, arguments):
            return f"{function}({','.join(map(_format, arguments))})"
        case Negation(operand):
            text = f"-{_format(operand, 4)}"
            return f"({text})" if minimum else text
        case Operation(operator, left, right):
            own = _PRECEDENCE[operator]
            if operator == "**":
                text = f"{_format(left, 4)}**{_format(right, 4)}"
                return f"({text})" if minimum else text
            text = f"{_format(left, own)}{operator}{_format(right, own + 1)}"
            return f"({text})" if own < minimum else text
