"""A grid on which wires find their way around symbols and texts, across other wires, and never along them."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Iterable, Sequence

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Spot = tuple[int, int]
"""A grid point."""

_BEND = 3
_CROSSING = 5
_LEVEL, _UPRIGHT = 1, 2
"""Bits of a point: a wire that passes it from left to right, or from top to bottom; both where one ends or turns."""
_STEPS: tuple[tuple[int, int, int], ...] = ((1, 0, _LEVEL), (-1, 0, _LEVEL), (0, 1, _UPRIGHT), (0, -1, _UPRIGHT))


class Grid:
    """Points from (0, top) to (width, bottom), what is on them, and the connected pieces of every net."""

    def __init__(self, width: int, top: int, bottom: int) -> None:
        self._limits = (0, top, width, bottom)
        self._blocked: set[Spot] = set()
        self._pins: dict[Spot, str] = {}
        self._wires: dict[Spot, dict[str, int]] = {}
        self.pieces: dict[str, list[set[Spot]]] = {}
        self.segments: dict[str, list[tuple[Spot, Spot]]] = {}

    def block(self, box: Box) -> None:
        """Keep wires off a rectangle, its edges included."""
        xs = range(math.ceil(box[0]), math.floor(box[2]) + 1)
        ys = range(math.ceil(box[1]), math.floor(box[3]) + 1)
        self._blocked.update(itertools.product(xs, ys))

    def add_pin(self, net: str, spot: Spot) -> None:
        """A place at which a net must be reached; a piece of its own until a wire ends there."""
        self._pins[spot] = net
        self._join(net, {spot})

    def add_wire(self, net: str, points: Sequence[Spot]) -> None:
        """A wire along the corners of a path."""
        spots: set[Spot] = set()
        for start, end in itertools.pairwise(points):
            if start == end:
                continue
            way = _LEVEL if start[1] == end[1] else _UPRIGHT
            for spot in between(start, end):
                masks = self._wires.setdefault(spot, {})
                masks[net] = masks.get(net, 0) | (way if spot not in (start, end) else _LEVEL | _UPRIGHT)
                spots.add(spot)
            self.segments.setdefault(net, []).append((start, end))
        if spots:
            self._join(net, spots)

    def is_free(self, box: Box) -> bool:
        """Whether neither symbol nor text, pin or wire is in a rectangle."""
        xs = range(math.ceil(box[0]), math.floor(box[2]) + 1)
        ys = range(math.ceil(box[1]), math.floor(box[3]) + 1)
        spots = list(itertools.product(xs, ys))
        left, top, right, bottom = self._limits
        inside = all(left <= x <= right and top <= y <= bottom for x, y in spots)
        return inside and not any(s in self._blocked or s in self._pins or self._wires.get(s) for s in spots)

    def clear_way(self, net: str, points: Sequence[Spot]) -> bool:
        """Whether a wire of a net may take a path: it meets nothing but wires that it crosses at right angles."""
        for start, end in itertools.pairwise(points):
            way = _LEVEL if start[1] == end[1] else _UPRIGHT
            for spot in between(start, end):
                if (spot in self._blocked and spot not in self._pins) or self._pins.get(spot, net) != net:
                    return False
                others = [mask for other, mask in self._wires.get(spot, {}).items() if other != net]
                if any(mask & way or spot in (start, end) for mask in others):
                    return False
        return True

    def connect(self, net: str, piece: set[Spot], limit: float, to: set[Spot] | None = None) -> bool:
        """Add the cheapest wire from a piece of a net to another one; false where each costs more than the limit.

        :param to: the only piece that counts.
        """
        others = [other for other in self.pieces[net] if other is not piece]
        avoided = set[Spot]().union(*(other for other in others if to is not None and other is not to))
        path = self._path(net, piece, to or set[Spot]().union(*others), avoided, limit)
        if path is None:
            return False
        self.add_wire(net, _corners(path))
        return True

    def _join(self, net: str, spots: set[Spot]) -> None:
        pieces = self.pieces.setdefault(net, [])
        touched = [piece for piece in pieces if piece & spots]
        self.pieces[net] = [*(piece for piece in pieces if not piece & spots), spots.union(*touched)]

    def _path(
        self, net: str, sources: Collection[Spot], targets: Collection[Spot], avoided: Collection[Spot], limit: float
    ) -> list[Spot] | None:
        goals = {spot for spot in targets if not self._is_shared(net, spot)}
        starts = sorted(spot for spot in sources if not self._is_shared(net, spot))
        if not goals or not starts:
            return None
        left, right = min(x for x, _ in goals), max(x for x, _ in goals)
        top, bottom = min(y for _, y in goals), max(y for _, y in goals)

        def least(x: int, y: int) -> int:
            return max(left - x, 0, x - right) + max(top - y, 0, y - bottom)

        queue = [(least(x, y), 0, (x, y), 0) for x, y in starts]
        heapq.heapify(queue)
        best = {(spot, 0): 0 for spot in starts}
        before: dict[tuple[Spot, int], tuple[Spot, int]] = {}
        while queue:
            bound, cost, spot, way = heapq.heappop(queue)
            if bound > limit:
                return None
            if cost > best[spot, way]:
                continue
            if spot in goals:
                return _back(before, (spot, way))
            for state, price in self._steps(net, spot, way):
                if cost + price < best.get(state, math.inf) and state[0] not in avoided:
                    best[state] = cost + price
                    before[state] = (spot, way)
                    heapq.heappush(queue, (cost + price + least(*state[0]), cost + price, *state))
        return None

    def _steps(self, net: str, spot: Spot, way: int) -> Iterable[tuple[tuple[Spot, int], int]]:
        """Points to go on to, with the way (of `_STEPS`, from 1) that leads there, and the costs."""
        left, top, right, bottom = self._limits
        shared = self._is_shared(net, spot)
        for number, (dx, dy, bit) in enumerate(_STEPS, start=1):
            turns = way not in (0, number)
            if turns and (shared or _STEPS[way - 1][:2] == (-dx, -dy)):
                continue
            x, y = following = (spot[0] + dx, spot[1] + dy)
            if not (left <= x <= right and top <= y <= bottom) or self._pins.get(following, net) != net:
                continue
            if following in self._blocked and following not in self._pins:
                continue
            price = 1 + (_BEND if turns else 0)
            if wires := self._wires.get(following):
                others = [mask for other, mask in wires.items() if other != net]
                if any(mask & bit for mask in others):
                    continue
                price += _CROSSING * len(others)
            yield (following, number), price

    def _is_shared(self, net: str, spot: Spot) -> bool:
        """Whether a wire of another net is at a point, so that a wire can only pass straight through."""
        return any(other != net for other in self._wires.get(spot, ()))


def between(start: Spot, end: Spot) -> Iterable[Spot]:
    """All grid points of a segment, ends included."""
    (x1, y1), (x2, y2) = start, end
    for x in range(min(x1, x2), max(x1, x2) + 1):
        for y in range(min(y1, y2), max(y1, y2) + 1):
            yield x, y


def _back(before: dict[tuple[Spot, int], tuple[Spot, int]], state: tuple[Spot, int]) -> list[Spot]:
    path = [state[0]]
    while state in before:
        state = before[state]
        path.append(state[0])
    return path[::-1]


def _corners(path: Sequence[Spot]) -> list[Spot]:
    """A path without the points that it goes straight through."""
    kept = [path[0]]
    for before, spot, after in zip(path, path[1:], path[2:], strict=False):
        if (spot[0] - before[0], spot[1] - before[1]) != (after[0] - spot[0], after[1] - spot[1]):
            kept.append(spot)
    return [*kept, path[-1]] if len(path) > 1 else kept
