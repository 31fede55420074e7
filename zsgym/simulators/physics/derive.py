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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


class DerivationError(Exception):
    """The source uses something that the generator does not understand; the message names the function and the line."""


@dataclass(frozen=True)
class Signed:
    """A factor: the code of a number without sign ("1.0" for one), and whether it is to be negated."""

    code: str = "1.0"
    negative: bool = False

    def __str__(self) -> str:
        return f"-{self.code}" if self.negative else self.code


@dataclass(eq=False)
class Node:
    """A value within one statement, and how it changes with what it was computed from (node, signed factor)."""

    code: str
    inputs: list[tuple[Node, Signed]] = field(default_factory=list)
    variable: str = ""
    """Name in the generated code, if it is a variable that depends on the arguments."""

    @property
    def active(self) -> bool:
        """Whether it depends on an argument to differentiate by."""
        return bool(self.inputs or self.variable)


ONE = Signed()
MINUS_ONE = Signed(negative=True)
Scope = dict[str, str]
"""Name in the source -> name in the generated code."""
Edges = dict[str, Signed]
"""Variable -> partial derivative by it."""


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
        body = _Body(self, function, by, outputs)
        definition = self.definitions[function]
        typed = ", ".join(f"{argument.arg}: {ast.unparse(_annotation(argument))}" for argument in definition.args.args)
        lines = body.write()
        result = ", ".join(["float"] * body.width)
        shown = ", ".join(outputs) or function
        header = [
            "@compiled" if name == "channel_current" or name == "channel_all" else "@inlined",
            f"def {name}({typed}) -> tuple[{result}]:",
            f'    """Value of {shown}, then derivatives by {", ".join(by)}."""',
        ]
        return "\n".join([*header, *_without_dead_code(lines)])


class _Body:
    """The statements of one generated function; every variable there is assigned once on each path."""

    def __init__(self, generator: Generator, function: str, by: Sequence[str], outputs: Sequence[str]) -> None:
        self.generator = generator
        self.function = function
        self.by = list(by)
        self.outputs = outputs
        self.lines: list[str] = []
        self.depth = 1
        self.width = 0
        self.counter = 0
        self.nodes: list[Node] = []
        self.names: set[str] = set(generator.parameters(function))
        self.edges: dict[str, Edges] = {name: {} for name in by}

    def write(self) -> list[str]:
        scope: Scope = {name: name for name in self.generator.parameters(self.function)}
        self.block(self.generator.definitions[self.function].body, scope, prefix="")
        return self.lines

    # --- Statements

    def block(self, statements: Iterable[ast.stmt], scope: Scope, prefix: str) -> bool:
        """Write statements; true when they end in a return."""
        for statement in statements:
            match statement:
                case ast.Expr(value=ast.Constant()):
                    continue
                case ast.Assign(targets=[target], value=value):
                    self.assign(target, value, scope, prefix)
                case ast.If():
                    if self.branch(statement, scope, prefix):
                        return True
                case ast.Return(value=value) if value is not None:
                    self.give_back(value, scope)
                    return True
                case _:
                    raise self.error(statement, "this statement")
        return False

    def assign(self, target: ast.expr, value: ast.expr, scope: Scope, prefix: str) -> None:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            called = value.func.id
            if called in self.generator.definitions and self.generator.is_section(called):
                self.copy_section(target, called, value.args, scope, prefix)
                return
            if isinstance(target, ast.Tuple):
                self.call_several(target, called, value.args, scope, prefix)
                return
        if not isinstance(target, ast.Name):
            raise self.error(target, "this target")
        scope[target.id] = self.evaluate(value, scope, prefix + target.id)

    def call_several(
        self, target: ast.Tuple, called: str, arguments: Sequence[ast.expr], scope: Scope, prefix: str
    ) -> None:
        """A function with several results: each gets its partial derivatives from the function's own."""
        parameters = self.generator.parameters(called)
        given = [self.argument(arg, scope, f"{called}_{name}") for name, arg in zip(parameters, arguments, strict=True)]
        active = [name for name, code in zip(parameters, given, strict=True) if code in self.edges]
        derivative = self.generator.derivative(called, active)
        sources = [one.id for one in target.elts if isinstance(one, ast.Name)]
        results = [self.new_name(prefix + name) for name in sources]
        factors = [f"{result}_{name}" for result in results for name in active]
        self.emit(f"{', '.join([*results, *factors])} = {derivative}({', '.join(given)})")
        inputs = [code for code in given if code in self.edges]
        for source, result in zip(sources, results, strict=True):
            scope[source] = result
            edges = [(code, Signed(f"{result}_{name}")) for code, name in zip(inputs, active, strict=True)]
            self.edges[result] = self.united(edges)

    def copy_section(
        self, target: ast.expr, called: str, arguments: Sequence[ast.expr], scope: Scope, prefix: str
    ) -> None:
        inner_prefix = f"{called}_"
        parameters = self.generator.parameters(called)
        inner: Scope = {
            name: self.argument(argument, scope, inner_prefix + name)
            for name, argument in zip(parameters, arguments, strict=True)
        }
        *body, last = self.generator.definitions[called].body
        if self.block(body, inner, inner_prefix) or not isinstance(last, ast.Return) or last.value is None:
            raise self.error(last, f"section {called} without a single return at its end")
        results = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        for one, result in zip(targets, results, strict=True):
            assert isinstance(one, ast.Name)
            scope[one.id] = self.argument(result, inner, prefix + one.id)

    def branch(self, statement: ast.If, scope: Scope, prefix: str) -> bool:
        condition = self.plain(statement.test, scope)
        outside = self.lines
        before = set(self.edges)
        sides: list[tuple[Scope, list[str]]] = []
        going_on: list[tuple[Scope, list[str]]] = []
        self.depth += 1
        for statements in (statement.body, statement.orelse):
            self.lines = []
            side = dict(scope)
            ends = self.block(statements, side, prefix)
            sides.append((side, self.lines))
            if not ends:
                going_on.append(sides[-1])
        if len(going_on) == 2:
            self.unite(going_on, scope, prefix, before)
        elif going_on:
            scope.update(going_on[0][0])
        self.depth -= 1
        self.lines = outside
        self.emit(f"if {condition}:")
        self.lines += sides[0][1] or ["    " * (self.depth + 1) + "pass"]
        if sides[1][1]:
            self.emit("else:")
            self.lines += sides[1][1]
        return not going_on

    def unite(self, sides: Sequence[tuple[Scope, list[str]]], scope: Scope, prefix: str, before: set[str]) -> None:
        """After an `if`: variables that differ between the sides get a value and edges from either."""
        for name in sorted(sides[0][0].keys() & sides[1][0].keys()):
            codes = [side[name] for side, _ in sides]
            if codes[0] == codes[1]:
                scope[name] = codes[0]
                continue
            merged = self.new_name(prefix + name)
            edges: list[Edges] = []
            for code, (_, self.lines) in zip(codes, sides, strict=True):
                edges.append(self.jacobian([code], before)[0] if code in self.edges else {})
            for (_, self.lines), code, mine in zip(sides, codes, edges, strict=True):
                self.emit(f"{merged} = {code}")
                for by in edges[0] | edges[1]:
                    self.emit(f"{merged}__{by} = {mine.get(by, Signed('0.0'))}")
            scope[name] = merged
            if edges[0] or edges[1]:
                self.edges[merged] = {by: Signed(f"{merged}__{by}") for by in edges[0] | edges[1]}

    def give_back(self, value: ast.expr, scope: Scope) -> None:
        match value:
            case ast.Call(func=ast.Name(id=name), args=args) if name[0].isupper():
                results = args
            case ast.Tuple(elts=elements):
                results = elements
            case _:
                results = [value]
        if self.outputs:
            named = {result.id: result for result in results if isinstance(result, ast.Name)}
            results = [named[name] for name in self.outputs]
        codes = [self.argument(result, scope, f"result{place}") for place, result in enumerate(results)]
        rows = iter(self.jacobian([code for code in codes if code in self.edges], set(self.by)))
        partials = [next(rows) if code in self.edges else {} for code in codes]
        derivatives = [str(row[by]) if by in row else "0.0" for row in partials for by in self.by]
        self.width = len(codes) + len(derivatives)
        self.emit(f"return {', '.join(codes + derivatives)}")

    # --- Derivatives

    def jacobian(self, results: Sequence[str], inputs: set[str]) -> list[Edges]:
        """Write the partial derivatives of variables by the variables `inputs`."""
        into: dict[str, Edges] = {}
        out: dict[str, set[str]] = {}
        waiting = list(dict.fromkeys(results))
        while waiting:
            one = waiting.pop()
            if one in into or one in inputs:
                continue
            into[one] = dict(self.edges[one])
            for other in into[one]:
                out.setdefault(other, set()).add(one)
                waiting.append(other)
        for place, result in enumerate(results):  # a result may also be on the way to another
            into[f"result {place}"] = {result: ONE}
            out.setdefault(result, set()).add(f"result {place}")
        order = {name: place for place, name in enumerate(self.edges)}
        left = {name for name in into if name in order and name not in inputs}
        while left:
            vertex = min(left, key=lambda name: (len(into[name]) * len(out[name]), -order[name]))
            left.remove(vertex)
            for child in sorted(out.pop(vertex), key=lambda name: (order.get(name, len(order)), name)):
                outer = into[child].pop(vertex)
                for parent, inner in into[vertex].items():
                    share = self.times(outer, inner)
                    before = into[child].get(parent)
                    into[child][parent] = share if before is None else self.plus(before, share)
                    out[parent].add(child)
            for parent in into.pop(vertex):
                out[parent].discard(vertex)
        return [into[f"result {place}"] for place in range(len(results))]

    def united(self, edges: Iterable[tuple[str, Signed]]) -> Edges:
        """Edges by their variable, those from the same one added."""
        found: Edges = {}
        for code, factor in edges:
            found[code] = self.plus(found[code], factor) if code in found else factor
        return found

    def argument(self, value: ast.expr, scope: Scope, name: str) -> str:
        """Name of the variable that holds a value: its own if it is one, else a new one."""
        if isinstance(value, ast.Name) and value.id in scope:
            return scope[value.id]
        return self.evaluate(value, scope, name)

    # --- Expressions

    def evaluate(self, value: ast.expr, scope: Scope, name: str) -> str:
        """Write a value into a new variable, and keep its edges."""
        self.nodes = []
        root = self.lower(value, scope)
        code = self.new_name(name)
        edges = self.backwards(root)
        self.emit(f"{code} = {root.code}")
        if edges:
            self.edges[code] = edges
        return code

    def backwards(self, root: Node) -> Edges:
        """Derivative of the statement's value by each variable on its right-hand side."""
        if root.variable:
            return {root.variable: ONE}
        found: dict[int, Signed] = {id(root): ONE}
        edges: list[tuple[str, Signed]] = []
        for node in reversed(self.nodes):
            if id(node) not in found:
                continue
            for child, factor in node.inputs:
                share = self.times(found[id(node)], factor)
                if child.variable:
                    edges.append((child.variable, share))
                else:
                    found[id(child)] = share if id(child) not in found else self.plus(found[id(child)], share)
        return self.united(edges)

    def lower(self, value: ast.expr, scope: Scope) -> Node:
        """Write the operations of an expression; the node of its result."""
        if not self.depends(value, scope):
            code = self.plain(value, scope)
            return Node(code if isinstance(value, ast.Name | ast.Constant | ast.Attribute) else self.temporary(code))
        match value:
            case ast.Name(id=name):
                return Node(scope[name], variable=scope[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.lower(operand, scope)
                return self.node(f"-{inner.code}", [(inner, MINUS_ONE)])
            case ast.BinOp(left=left, op=op, right=right):
                return self.operation(_SYMBOLS[type(op)], self.lower(left, scope), self.lower(right, scope))
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.call(name, args, scope)
            case _:
                raise self.error(value, "this expression")

    def operation(self, symbol: str, left: Node, right: Node) -> Node:
        code = f"{left.code} {symbol} {right.code}"
        match symbol:
            case "+":
                return self.node(code, [(left, ONE), (right, ONE)])
            case "-":
                return self.node(code, [(left, ONE), (right, MINUS_ONE)])
            case "*":
                return self.node(code, [(left, Signed(right.code)), (right, Signed(left.code))])
            case "/":
                # One division serves the value and the derivatives; it costs the value half a unit in the last place.
                inverse = self.temporary(f"1.0 / {right.code}")
                value = inverse if left.code == "1.0" else f"{left.code} * {inverse}"
                result = self.node(value, [(left, Signed(inverse))])
                if not right.active:
                    return result
                result.inputs.append((right, Signed(self.temporary(f"{result.code} * {inverse}"), negative=True)))
                return result
            case _:
                if right.active:
                    raise DerivationError(f"{self.function}: a power with an exponent that depends on the bias")
                result = self.node(code, [])
                result.inputs.append((left, Signed(self.temporary(f"{right.code} * {result.code} / {left.code}"))))
                return result

    def call(self, name: str, args: Sequence[ast.expr], scope: Scope) -> Node:
        if name in self.generator.definitions:
            return self.call_function(name, args, scope)
        (argument,) = (self.lower(arg, scope) for arg in args)
        result = self.node(f"{name}({argument.code})", [])
        match name:
            case "sqrt":
                inverse = self.temporary(f"1.0 / {result.code}")
                factor = self.temporary(f"0.5 * {inverse}")
            case "exp":
                factor = result.code
            case "log":
                factor = self.temporary(f"1.0 / {argument.code}")
            case _:
                raise DerivationError(f"{self.function}: the derivative of {name} is not known")
        result.inputs.append((argument, Signed(factor)))
        return result

    def call_function(self, name: str, args: Sequence[ast.expr], scope: Scope) -> Node:
        parameters = self.generator.parameters(name)
        nodes = [self.lower(arg, scope) for arg in args]
        active = [parameter for parameter, node in zip(parameters, nodes, strict=True) if node.active]
        derivative = self.generator.derivative(name, active)
        result = self.fresh()
        factors = [f"{result}_{parameter}" for parameter in active]
        self.emit(f"{', '.join([result, *factors])} = {derivative}({', '.join(node.code for node in nodes)})")
        inputs = [node for node in nodes if node.active]
        made = Node(result, [(node, Signed(factor)) for node, factor in zip(inputs, factors, strict=True)])
        self.nodes.append(made)
        return made

    def depends(self, value: ast.expr, scope: Scope) -> bool:
        """Whether an expression depends on the arguments to differentiate by; what is held does not."""
        if isinstance(value, ast.Compare | ast.BoolOp):
            return False
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "hold":
            return False
        if isinstance(value, ast.Name):
            return scope.get(value.id) in self.edges
        return any(self.depends(child, scope) for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr))

    def plain(self, value: ast.expr, scope: Scope) -> str:
        """Code of an expression without derivatives."""
        return ast.unparse(_Renamed(self.generator, scope).visit(ast.parse(ast.unparse(value), mode="eval").body))

    # --- Writing

    def node(self, code: str, inputs: list[tuple[Node, Signed]]) -> Node:
        made = Node(self.temporary(code), [(node, factor) for node, factor in inputs if node.active])
        self.nodes.append(made)
        return made

    def times(self, one: Signed, other: Signed) -> Signed:
        negative = one.negative != other.negative
        if one.code == "1.0" or other.code == "1.0":
            return Signed(other.code if one.code == "1.0" else one.code, negative)
        return Signed(self.temporary(f"{one.code} * {other.code}"), negative)

    def plus(self, one: Signed, other: Signed) -> Signed:
        return Signed(self.temporary(_sum([one, other])))

    def new_name(self, wanted: str) -> str:
        """A name that the function does not use yet."""
        name, count = wanted, 1
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name

    def fresh(self) -> str:
        self.counter += 1
        return f"t{self.counter}"

    def temporary(self, code: str) -> str:
        if code.isidentifier():
            return code
        name = self.fresh()
        self.emit(f"{name} = {code}")
        return name

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def error(self, node: ast.AST, what: str) -> DerivationError:
        return DerivationError(f"{self.function}: {what} is not understood: {ast.unparse(node)}")


class _Renamed(ast.NodeTransformer):
    """Local names become those of the generated code; `hold` is left out."""

    def __init__(self, generator: Generator, scope: Scope) -> None:
        self.generator = generator
        self.scope = scope

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.scope:
            return ast.Name(self.scope[node.id], ast.Load())
        self.generator.is_global(node.id)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id == "hold":
            inner = self.visit(node.args[0])
            assert isinstance(inner, ast.expr)
            return inner
        self.generic_visit(node)
        return node


def _annotation(argument: ast.arg) -> ast.expr:
    if argument.annotation is None:
        raise DerivationError(f"the argument {argument.arg} has no type")
    return argument.annotation


def _sum(terms: Sequence[Signed]) -> str:
    text = str(terms[0])
    for term in terms[1:]:
        text += f" {'-' if term.negative else '+'} {term.code}"
    return text


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

from math import exp, log, sqrt

from zsgym.simulators.physics.compiling import compiled, inlined
from zsgym.simulators.physics.device import Device
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
