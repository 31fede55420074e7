"""Statements of the equations: assignments, sections and calls, branches, and the results with their derivatives."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from zsgym.simulators.physics.derive_expressions import Expressions, Scope, Source
from zsgym.simulators.physics.derive_graph import Edges, Signed


class Function(Expressions):
    """Writes one function with the derivatives of its results by some of its arguments.

    by: the arguments. outputs: the wanted results by name; all if there are none.
    """

    def __init__(self, source: Source, function: str, by: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__(source, function, by)
        self.by = list(by)
        self.outputs = outputs
        self.width = 0

    def write(self) -> list[str]:
        """Lines of the function's body."""
        scope: Scope = {name: name for name in self.source.parameters(self.function)}
        self.block(self.source.definitions[self.function].body, scope, prefix="")
        return self.lines

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
        """Write an assignment."""
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            called = value.func.id
            if called in self.source.definitions and self.source.is_section(called):
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
        parameters = self.source.parameters(called)
        given = [self.argument(arg, scope, f"{called}_{name}") for name, arg in zip(parameters, arguments, strict=True)]
        active = [name for name, code in zip(parameters, given, strict=True) if code in self.edges]
        derivative = self.source.derivative(called, active)
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
        """Write the body of a section in the place of its call."""
        inner_prefix = f"{called}_"
        parameters = self.source.parameters(called)
        inner: Scope = {
            name: self.argument(argument, scope, inner_prefix + name)
            for name, argument in zip(parameters, arguments, strict=True)
        }
        *body, last = self.source.definitions[called].body
        if self.block(body, inner, inner_prefix) or not isinstance(last, ast.Return) or last.value is None:
            raise self.error(last, f"section {called} without a single return at its end")
        results = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        for one, result in zip(targets, results, strict=True):
            assert isinstance(one, ast.Name)
            scope[one.id] = self.argument(result, inner, prefix + one.id)

    def branch(self, statement: ast.If, scope: Scope, prefix: str) -> bool:
        """Write an `if`; true when both sides end in a return."""
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
        """Write a return: the results, then their derivatives."""
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
