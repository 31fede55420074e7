"""Expressions of the equations, written out operation by operation with their partial derivatives."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zsgym.simulators.physics.derive_graph import MINUS_ONE, ONE, Edges, Graph, Signed

Scope = dict[str, str]
"""Name in the source -> name in the generated code."""

_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


class DerivationError(Exception):
    """The source uses something that the generator does not understand; the message names the function and the line."""


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


class Source(Protocol):
    """What a function's writer asks of the generator."""

    definitions: dict[str, ast.FunctionDef]

    def is_section(self, name: str) -> bool:
        """Whether a function is copied into its callers."""

    def parameters(self, name: str) -> list[str]:
        """Argument names of a function."""

    def is_global(self, name: str) -> bool:
        """Whether a name is a constant or function of the source."""

    def derivative(self, function: str, by: Sequence[str]) -> str:
        """Name of the generated function with all outputs of `function`."""


class Expressions(Graph):
    """Writes the value of an expression into a new variable and keeps its edges."""

    def __init__(self, source: Source, function: str, by: Sequence[str]) -> None:
        super().__init__(source.parameters(function), by)
        self.source = source
        self.function = function
        self.nodes: list[Node] = []

    def argument(self, value: ast.expr, scope: Scope, name: str) -> str:
        """Name of the variable that holds a value: its own if it is one, else a new one."""
        if isinstance(value, ast.Name) and value.id in scope:
            return scope[value.id]
        return self.evaluate(value, scope, name)

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
        """Write an arithmetic operation."""
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
        """Write a call of a mathematical function, or of one of the source."""
        if name in self.source.definitions:
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
        """Write a call of a function of the source, by its generated derivative."""
        parameters = self.source.parameters(name)
        nodes = [self.lower(arg, scope) for arg in args]
        active = [parameter for parameter, node in zip(parameters, nodes, strict=True) if node.active]
        derivative = self.source.derivative(name, active)
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
        return ast.unparse(_Renamed(self.source, scope).visit(ast.parse(ast.unparse(value), mode="eval").body))

    def node(self, code: str, inputs: list[tuple[Node, Signed]]) -> Node:
        """Write an operation into a temporary; its node."""
        made = Node(self.temporary(code), [(node, factor) for node, factor in inputs if node.active])
        self.nodes.append(made)
        return made

    def error(self, node: ast.AST, what: str) -> DerivationError:
        """What to raise about a part of the source."""
        return DerivationError(f"{self.function}: {what} is not understood: {ast.unparse(node)}")


class _Renamed(ast.NodeTransformer):
    """Local names become those of the generated code; `hold` is left out."""

    def __init__(self, source: Source, scope: Scope) -> None:
        self.source = source
        self.scope = scope

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.scope:
            return ast.Name(self.scope[node.id], ast.Load())
        self.source.is_global(node.id)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Name) and node.func.id == "hold":
            inner = self.visit(node.args[0])
            assert isinstance(inner, ast.expr)
            return inner
        self.generic_visit(node)
        return node
