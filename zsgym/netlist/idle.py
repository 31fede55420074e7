"""Transistors that carry no current by construction: dummies, and capacitors made of a gate."""

from __future__ import annotations

from collections.abc import Collection

from zsgym.netlist.subcircuit import TRANSISTORS, Device


def carries_no_current(device: Device, low: Collection[str] = (), high: Collection[str] = ()) -> bool:
    """Whether a transistor is drawn so that it carries no current from drain to source, whatever its size.

    A verdict that looks for dead branches leaves these out:

    - drain and source on one net, or on two nets of the same rail: dummies beside a matched pair, MOS capacitors;
    - the gate of an nMOS on the lowest rail, or that of a pMOS on the highest: the channel never conducts, whichever of
      its ends is the source;
    - gate and source on one net: the gate-source voltage is zero. (Where drain and source are exchanged in the netlist,
      that is a diode, and carries a current; its branch is then judged by the other transistors in it.)

    False for devices that are not transistors.

    :param low, high: the nets of the lowest and of the highest potential.
    """
    if device.kind not in TRANSISTORS:
        return False
    drain, source, gate = (device.nodes[pin] for pin in "dsg")
    same_rail = any(drain in rail and source in rail for rail in (low, high))
    off = gate in (low if device.kind == "nmos" else high)
    return drain == source or same_rail or off or gate == source
