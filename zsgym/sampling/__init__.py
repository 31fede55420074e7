"""Where the generators' sizings come from: named strategies, reproducible from circuit, seed and sample index."""

from zsgym.sampling import targeted as _targeted  # noqa: F401  (registers itself)
from zsgym.sampling.strategies import (
    LabelledSizing,
    Strategy,
    list_strategies,
    make_strategy,
    register_strategy,
    rounds,
    sample,
    uniform_numbers,
)

__all__ = [
    "LabelledSizing",
    "Strategy",
    "list_strategies",
    "make_strategy",
    "register_strategy",
    "rounds",
    "sample",
    "uniform_numbers",
]
