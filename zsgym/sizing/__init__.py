"""From specs to a design that meets them in ngspice.

Names are imported when they are first asked for: some of them need torch, which takes seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zsgym.sizing.belief import Belief as Belief
    from zsgym.sizing.comparison import Comparison as Comparison
    from zsgym.sizing.comparison import ComparisonInterrupted as ComparisonInterrupted
    from zsgym.sizing.comparison import compare as compare
    from zsgym.sizing.designs import distinct as distinct
    from zsgym.sizing.designs import verify as verify
    from zsgym.sizing.from_specs import size as size
    from zsgym.sizing.methods import choose as choose
    from zsgym.sizing.named_problems import list_problems as list_problems
    from zsgym.sizing.named_problems import load_problem as load_problem
    from zsgym.sizing.problem import BudgetSpent as BudgetSpent
    from zsgym.sizing.problem import Design as Design
    from zsgym.sizing.problem import Problem as Problem
    from zsgym.sizing.result import SizingInterrupted as SizingInterrupted
    from zsgym.sizing.result import SizingResult as SizingResult
    from zsgym.sizing.scale import LogScale as LogScale
    from zsgym.sizing.tradeoff import Tradeoff as Tradeoff

_PLACES = {
    "Belief": "belief",
    "BudgetSpent": "problem",
    "Comparison": "comparison",
    "ComparisonInterrupted": "comparison",
    "Design": "problem",
    "LogScale": "scale",
    "Problem": "problem",
    "SizingInterrupted": "result",
    "SizingResult": "result",
    "Tradeoff": "tradeoff",
    "choose": "methods",
    "compare": "comparison",
    "distinct": "designs",
    "list_problems": "named_problems",
    "load_problem": "named_problems",
    "size": "from_specs",
    "verify": "designs",
}
"""Public name -> the module that defines it."""

__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
