"""Netlists: the SPICE subset in which zsgym's circuits are written, read into plain data and written back."""

from zsgym.netlist.expressions import Expression
from zsgym.netlist.reader import parse_netlist
from zsgym.netlist.subcircuit import Device, DeviceKind, Subcircuit, flatten, write_subcircuit

__all__ = ["Device", "DeviceKind", "Expression", "Subcircuit", "flatten", "parse_netlist", "write_subcircuit"]
