"""Writes `derivatives.py`: the functions of `transistor.py` together with their exact partial derivatives.

Run as `python -m zsgym.simulators.physics.derive` after a change of the equations. The result is plain source text,
kept under version control, so that nothing is generated on a user's machine and a debugger can step through it.

A function is taken as a graph: its variables are vertices, and an edge from `a` to `b` carries the partial derivative
of the statement that computes `b` by `a`, found by going backwards through the statement's expression. What is wanted,
the derivatives of the results by the arguments, remains when all other vertices have been eliminated: each time, every
product of an edge into the vertex and an edge out of it is added to the edge that bypasses it. Going through the graph
from the arguments would be the usual forward mode, from the results the reverse mode; always taking the vertex that
costs the fewest products needs fewer of them than either. After an `if`, a variable's edges come from outside the `if`,
with a value for each side. A function that is called becomes one operation with partial derivatives of its own; a
`@section` is copied into its caller instead.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from zsgym.simulators.physics.derive_expressions import DerivationError
from zsgym.simulators.physics.derive_statements import Function

SOURCE = Path(__file__).with_name("transistor.py")
TARGET = Path(__file__).with_name("derivatives.py")
MODULE = "zsgym.simulators.physics"

ROOTS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("channel_current", "channel", ("v_gs", "v_ds", "v_bs"), ("i_ds", "i_sub")),
    ("channel_all", "channel", ("v_gs", "v_ds", "v_bs"), ("i_ds", "i_sub", "q_g", "q_b", "q_s")),
    ("leakage", "gate_induced_leakage", ("v_g", "v_ds", "v_db"), ()),
    ("overlap", "overlap_charge", ("v",), ()),
    ("junction", "junction_current", ("v",), ()),
    ("reverse_junction", "reverse_charge", ("v",), ()),
)
"""Name of the generated function, function of `transistor`, arguments to differentiate by, outputs (empty: all)."""

_PASSIVE_ARGUMENT = "p"


class Generator:
    """Everything that one run generates: functions by name, and the names to import from `transistor`."""

    def __init__(self, source: str) -> None:
        module = ast.parse(source)
        self.definitions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
        self.functions: dict[str, str] = {}
        self.imports: set[str] = set()
        self._constants = {
            target.id
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def is_section(self, name: str) -> bool:
        """Whether a function of the source is copied into its callers."""
        return any(isinstance(d, ast.Name) and d.id == "section" for d in self.definitions[name].decorator_list)

    def parameters(self, name: str) -> list[str]:
        """Argument names of a function of the source."""
        return [argument.arg for argument in self.definitions[name].args.args]

    def is_global(self, name: str) -> bool:
        """Whether a name is a constant or function of the source; it is then imported from there."""
        if name in self._constants or name in self.definitions:
            self.imports.add(name)
            return True
        return False

    def derivative(self, function: str, by: Sequence[str]) -> str:
        """Name of the generated function with all outputs of `function`; written on first use."""
        everything = [name for name in self.parameters(function) if name != _PASSIVE_ARGUMENT]
        name = f"d_{function}" if list(by) == everything else f"d_{function}_by_{'_'.join(by)}"
        if name not in self.functions:
            self.functions[name] = ""  # holds the place against endless recursion
            self.functions[name] = self.write(name, function, by, ())
        return name

    def write(self, name: str, function: str, by: Sequence[str], outputs: Sequence[str]) -> str:
        """Source text of a generated function."""
        body = Function(self, function, by, outputs)
        definition = self.definitions[function]
        typed = ", ".join(f"{argument.arg}: {ast.unparse(_annotation(argument))}" for argument in definition.args.args)
        lines = body.write()
        result = ", ".join(["float"] * body.width)
        shown = ", ".join(outputs) or function
        header = [
            "@inlined",
            f"def {name}({typed}) -> tuple[{result}]:",
            f'    """Value of {shown}, then derivatives by {", ".join(by)}."""',
        ]
        return "\n".join([*header, *_without_dead_code(lines)])


def _annotation(argument: ast.arg) -> ast.expr:
    if argument.annotation is None:
        raise DerivationError(f"the argument {argument.arg} has no type")
    return argument.annotation


def _without_dead_code(lines: Sequence[str]) -> list[str]:
    """The lines of a function's body without assignments that nothing reads."""
    body = ast.parse("def f():\n" + "\n".join(lines)).body[0]
    assert isinstance(body, ast.FunctionDef)
    kept, _ = _live(body.body, set())
    return ["    " + line for statement in kept for line in ast.unparse(statement).splitlines()]


def _live(statements: Sequence[ast.stmt], live: set[str]) -> tuple[list[ast.stmt], set[str]]:
    kept: list[ast.stmt] = []
    live = set(live)
    for statement in reversed(statements):
        if isinstance(statement, ast.If):
            body, live_in_body = _live(statement.body, set() if _returns(statement.body) else live)
            orelse, live_in_else = _live(statement.orelse, set() if _returns(statement.orelse) else live)
            if body or orelse:
                kept.append(ast.If(statement.test, body or [ast.Pass()], orelse))
                live = live_in_body | live_in_else | _names(statement.test)
        elif isinstance(statement, ast.Assign):
            targets = _names(statement.targets[0])
            if targets & live:
                kept.append(statement)
                live = (live - targets) | _names(statement.value)
        elif not isinstance(statement, ast.Pass):
            kept.append(statement)
            live |= _names(statement)
    return kept[::-1], live


def _returns(statements: Sequence[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[-1], ast.Return)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


_HEADER = '''"""The equations of `transistor.py` with their partial derivatives. Written by `derive.py`: do not edit."""

# ruff: noqa
# fmt: off

from math import sqrt

from zsgym.simulators.physics.compiling import inlined
from zsgym.simulators.physics.device import Device
from zsgym.simulators.physics.elementary import exp, log
'''


def generate(source: str) -> str:
    """Text of `derivatives.py` for the text of `transistor.py`.

    :raises DerivationError: the source uses something that the generator does not understand.
    """
    generator = Generator(source)
    for name, function, by, outputs in ROOTS:
        generator.functions[name] = ""
        generator.functions[name] = generator.write(name, function, by, outputs)
    order = _called_first(generator.functions)
    imported = f"from {MODULE}.transistor import {', '.join(sorted(generator.imports))}\n"
    return "\n\n".join([_HEADER + imported, *(generator.functions[name] + "\n" for name in order)])


def _called_first(functions: dict[str, str]) -> list[str]:
    """Names in an order in which every function stands after those that it calls."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for other in sorted(_names(ast.parse(functions[name])) & functions.keys() - {name}):
            if other not in order:
                add(other)
        order[name] = None

    for name in sorted(functions):
        if name not in order:
            add(name)
    return list(order)


def main() -> None:
    """Write `derivatives.py` anew."""
    TARGET.write_text(generate(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
