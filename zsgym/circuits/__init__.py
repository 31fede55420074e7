"""Circuits as data: a netlist and a YAML file become a `Circuit`. Adding one takes no code."""

from zsgym.circuits.case import Case, Cases, Sizing
from zsgym.circuits.circuit import Circuit
from zsgym.circuits.library import DIRECTORIES_VARIABLE, list_circuits, load_circuit
from zsgym.circuits.schema import DEFAULT_VERDICT, Alias, KnownGood, SizingParameter

__all__ = [
    "DEFAULT_VERDICT",
    "DIRECTORIES_VARIABLE",
    "Alias",
    "Case",
    "Cases",
    "Circuit",
    "KnownGood",
    "Sizing",
    "SizingParameter",
    "list_circuits",
    "load_circuit",
]
