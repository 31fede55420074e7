"""Classes of circuits: ports, metrics, conditions, testbench, verdict and pictures behind one object each."""

from zsgym.classes.circuit_class import CircuitClass, find_class, list_classes
from zsgym.classes.conditions import Conditions
from zsgym.classes.metrics import Better, Metric, MetricSet, Scale, Targets
from zsgym.classes.verdict import Check, Failure, VerdictPolicy

__all__ = [
    "Better",
    "Check",
    "CircuitClass",
    "Conditions",
    "Failure",
    "Metric",
    "MetricSet",
    "Scale",
    "Targets",
    "VerdictPolicy",
    "find_class",
    "list_classes",
]
