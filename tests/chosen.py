"""Which circuits a test runs on: a few, or with `pytest --all-circuits` every one that is shipped.

What holds for a circuit holds for the next: its class, its reader and its environment are the same code. So CI
runs what costs time on few of them, and `--all-circuits` on all.
"""

from typing import Any

import pytest

from zsgym.circuits import list_circuits, load_circuit
from zsgym.envs.registration import env_id

ALWAYS = ("nmcf", "nmcnr")
"""Of the class `amplifier`: the two that the surrogate knows."""


def each_circuit() -> list[Any]:
    """Names of the shipped circuits, as parameters of a test; all but a few are marked to be left out."""
    return [
        name if name in ALWAYS else pytest.param(name, marks=pytest.mark.another_circuit) for name in list_circuits()
    ]


def each_environment() -> list[Any]:
    """The same for the ids of their environments."""
    return [
        env_id(name) if name in ALWAYS else pytest.param(env_id(name), marks=pytest.mark.another_circuit)
        for name in list_circuits()
    ]


def one_of_each_class() -> list[Any]:
    """The same, but of every class one circuit only is always tested."""
    always = [next(name for name in ALWAYS if load_circuit(name).circuit_class is found) for found in _classes()]
    return [
        name if name in always else pytest.param(name, marks=pytest.mark.another_circuit) for name in list_circuits()
    ]


def _classes() -> list[Any]:
    return list(dict.fromkeys(load_circuit(name).circuit_class for name in ALWAYS))
