"""On which side a transistor has its gate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from zsgym.netlist import TRANSISTORS
from zsgym.report.schematic.branches import Block, Column
from zsgym.report.schematic.order import Order
from zsgym.report.schematic.structure import Element


@dataclass(frozen=True)
class Sides:
    """mirrored: transistors with the gate on the right. facing: pairs of transistors whose gates are joined by a
    straight wire between them, the left one first."""

    mirrored: frozenset[Element]
    facing: tuple[tuple[Element, Element], ...]


def choose_sides(order: Order) -> Sides:
    """Pairs have their gates outside, mirrors between them, and everything else towards what drives it."""
    right: dict[Element, bool] = {}
    facing: list[tuple[Element, Element]] = []
    for block in order.blocks:
        if block.tail is not None:
            left, other = block.columns
            for a, b in _same_row(left, other):
                if a.kind in TRANSISTORS and a.gate != b.gate and a.like(b):
                    right[a], right[b] = False, True
            _face(left, other, right, facing, every=True)
    for first, second in _neighbours(order.bias):
        _face(first, second, right, facing, every=False)
    for first, second in _neighbours(order.signal):
        _face(first, second, right, facing, every=_is_mirror(first, second, order))
    columns = [column for block in order.blocks for column in block.every]
    for place, column in enumerate(columns):
        for element in column.elements:
            if element.kind in TRANSISTORS and element not in right:
                right[element] = element.gate not in order.labelled and _is_driven_from_right(element, place, columns)
    return Sides(frozenset(e for e, on_right in right.items() if on_right), tuple(facing))


def _neighbours(blocks: Sequence[Block]) -> list[tuple[Column, Column]]:
    """Columns that stand beside each other and are not of a pair."""
    couples = itertools.pairwise(blocks)
    return [(a.columns[0], b.columns[0]) for a, b in couples if a.tail is None and b.tail is None]


def _same_row(left: Column, right: Column) -> list[tuple[Element, Element]]:
    there = dict(zip(right.rows, right.elements, strict=True))
    return [(e, there[row]) for e, row in zip(left.elements, left.rows, strict=True) if row in there]


def _is_mirror(left: Column, right: Column, order: Order) -> bool:
    """Whether two columns are halves of one stage: one of them drives a gate net that both share and that is a wire."""
    shared = {a.gate for a, b in _same_row(left, right) if a.gate is not None and a.gate == b.gate}
    return bool((shared - order.labelled) & (left.channel_nets | right.channel_nets))


def _face(
    left: Column, right: Column, sides: dict[Element, bool], facing: list[tuple[Element, Element]], *, every: bool
) -> None:
    """Turn transistors of one row and one gate net towards each other; unless every, diodes alone."""
    for a, b in _same_row(left, right):
        if a.gate is None or a.gate != b.gate or a in sides or b in sides:
            continue
        if every or any(e.gate in (e.top, e.bottom) for e in (a, b)):
            sides[a], sides[b] = True, False
            facing.append((a, b))


def _is_driven_from_right(element: Element, place: int, columns: Sequence[Column]) -> bool:
    """Whether what drives the gate, or else what shares it, is on the right alone."""
    drivers = [i for i, c in enumerate(columns) if i != place and element.gate in c.channel_nets]
    users = [i for i, c in enumerate(columns) if i != place and element.gate in c.nets]
    places = drivers or users
    return bool(places) and min(places) > place
