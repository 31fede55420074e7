"""Expressions of netlists mean the same in Python and when written back; what is ambiguous is refused."""

import ast
import math

import pytest
from hypothesis import example, given

from tests.zsgym.expression_strategies import VALUES, expressions
from zsgym.base.errors import NetlistError
from zsgym.netlist import Expression
from zsgym.netlist.expressions import Call, Negation, Node, Operation, parse_number


@given(expressions)
def test_expression_text_reads_back_as_the_same_tree(expression: Expression) -> None:
    assert Expression.parse(str(expression)) == expression


@example(Expression.parse("(963409000000 ** 2) ** 2"))
@given(expressions)
def test_expression_equals_python(expression: Expression) -> None:
    whole = {"int": lambda x: float(math.trunc(x)), "floor": lambda x: float(math.floor(x))}
    functions = {"sqrt": math.sqrt, "min": min, "max": max, "abs": abs, **whole}
    code = compile(_with_floats(str(expression)), "expression", "eval")
    try:
        expected = eval(code, {"__builtins__": {}}, {**functions, **VALUES})
        expected = float(expected) if not isinstance(expected, complex) else math.nan
    except (ArithmeticError, ValueError):
        expected = math.nan
    if math.isfinite(expected) and not _has_negative_base(expression.root):
        assert expression.evaluate(VALUES) == expected
    else:
        with pytest.raises(NetlistError):
            expression.evaluate(VALUES)


def _with_floats(text: str) -> ast.Expression:
    """Python's reading of an expression, every number a float: powers of its integers would be exact."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = float(node.value)  # type: ignore[arg-type]
    return tree


def _has_negative_base(node: Node) -> bool:
    match node:
        case Operation(operator, left, right):
            inside = _has_negative_base(left) or _has_negative_base(right)
            return inside or (operator == "**" and Expression(left).evaluate(VALUES) < 0)
        case Negation(operand):
            return _has_negative_base(operand)
        case Call(_, arguments):
            return any(map(_has_negative_base, arguments))
    return False


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10p", 10e-12),
        ("10pF", 10e-12),
        ("2.2k", 2200.0),
        ("1kOhm", 1000.0),
        ("1meg", 1e6),
        ("1MEGhz", 1e6),
        ("3m", 3e-3),
        ("1f", 1e-15),
        ("5V", 5.0),
        ("10uA", 10e-6),
        ("1mil", 25.4e-6),
        (".5n", 0.5e-9),
        ("1.e3", 1000.0),
        ("1e-6", 1e-6),
        ("2e3k", 2e6),
        ("-5u", -5e-6),
        ("7t", 7e12),
        ("7g", 7e9),
        ("10um", 10e-6),
        ("10kohms", 10e3),
        ("10uAmps", 10e-6),
        ("1mm", 1e-3),
    ],
)
def test_engineering_suffixes(text: str, value: float) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "k", "5a", "1mx", "1e", "1.2.3", "ten", "0x10", "1 k"])
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("1+", "the end"),
        ("(1", "'\\)'"),
        ("a b", "unexpected 'b'"),
        ("a % b", "unexpected '%'"),
        ("sin(a)", "unknown function 'sin'; supported: sqrt"),
        ("min(a)", "takes 2 arguments, not 1"),
        ("sqrt(a,b)", "takes 1 argument, not 2"),
        ("a**b**c", "write parentheses"),
        ("4*-a**2", "write parentheses"),
        ("1mil", "25.4e-6"),
        ("1e999", "no number"),
        ("3x", "'3x' is no number; suffixes are t g meg"),
    ],
)
def test_refused_expressions_say_why(text: str, why: str) -> None:
    with pytest.raises(NetlistError, match=why):
        Expression.parse(text)


@pytest.mark.parametrize("text", ["1/a", "sqrt(-1-a)", "(a-1)**0.5", "1e308*10", "b"])
def test_undefined_values_are_errors(text: str) -> None:
    with pytest.raises(NetlistError):
        Expression.parse(text).evaluate({"a": 0.0})


def test_names_are_found_in_any_case() -> None:
    expression = Expression.parse("M_gm3*4")
    assert expression.names == {"m_gm3"}
    assert expression.evaluate({"M_gm3": 3}) == 12.0
    with pytest.raises(NetlistError, match="'m_gm3' has no value; given: M_gm2"):
        expression.evaluate({"M_gm2": 3})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_constants_are_finite(value: float) -> None:
    with pytest.raises(NetlistError, match="finite"):
        Expression.constant(value)
