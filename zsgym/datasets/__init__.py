"""Data sets: sizings from named strategies, labels from a simulator, and new labels for old rows.

Strategies are reproducible from circuit, seed and sample index.
"""

from zsgym.datasets import targeted as _targeted  # noqa: F401  (registers itself)
from zsgym.datasets.strategies import (
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
