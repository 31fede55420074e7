"""Netlists: the SPICE subset in which circuits are written, read into plain data and written back."""

from zsgym.netlist.expressions import Expression
from zsgym.netlist.faults import find_faults
from zsgym.netlist.hierarchy import flatten
from zsgym.netlist.idle import carries_no_current
from zsgym.netlist.outline import read_outline
from zsgym.netlist.reader import Netlist, parse_netlist, parse_outline
from zsgym.netlist.subcircuit import GROUND, TRANSISTORS, Device, DeviceKind, Subcircuit, write_subcircuit

__all__ = [
    "GROUND",
    "TRANSISTORS",
    "Device",
    "DeviceKind",
    "Expression",
    "Netlist",
    "Subcircuit",
    "carries_no_current",
    "find_faults",
    "flatten",
    "parse_netlist",
    "parse_outline",
    "read_outline",
    "write_subcircuit",
]
