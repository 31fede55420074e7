"""Source text under construction, and the graph of partial derivatives from which it makes total ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Signed:
    """A factor: the code of a number without sign ("1.0" for one), and whether it is to be negated."""

    code: str = "1.0"
    negative: bool = False

    def __str__(self) -> str:
        return f"-{self.code}" if self.negative else self.code


ONE = Signed()
MINUS_ONE = Signed(negative=True)
Edges = dict[str, Signed]
"""Variable -> partial derivative by it."""


class Graph:
    """Lines of one function, and its variables with their edges; every variable is assigned once on each path."""

    def __init__(self, names: Iterable[str], by: Sequence[str]) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.names = set(names)
        self.edges: dict[str, Edges] = {name: {} for name in by}
        self._counter = 0

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

    def times(self, one: Signed, other: Signed) -> Signed:
        """Product of two factors."""
        negative = one.negative != other.negative
        if one.code == "1.0" or other.code == "1.0":
            return Signed(other.code if one.code == "1.0" else one.code, negative)
        return Signed(self.temporary(f"{one.code} * {other.code}"), negative)

    def plus(self, one: Signed, other: Signed) -> Signed:
        """Sum of two factors."""
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
        """A new temporary name."""
        self._counter += 1
        return f"t{self._counter}"

    def temporary(self, code: str) -> str:
        """Name of a variable that holds a value; the value itself if it is a name already."""
        if code.isidentifier():
            return code
        name = self.fresh()
        self.emit(f"{name} = {code}")
        return name

    def emit(self, line: str) -> None:
        """Add a line."""
        self.lines.append("    " * self.depth + line)


def _sum(terms: Sequence[Signed]) -> str:
    text = str(terms[0])
    for term in terms[1:]:
        text += f" {'-' if term.negative else '+'} {term.code}"
    return text
