"""What ngspice lists of a transistor at its operating point."""

from typing import Any

from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.derivatives import channel_current
from zsgym.simulators.physics.transistor import channel

QUANTITIES = ("id", "gm", "gds", "gmbs", "vth", "vdsat", "vds", "vgs", "vbs")
"""Columns of `list_devices`, by ngspice's names: those of the equivalent n-channel device, SI units."""


@compiled
def list_devices(devices: Any, transistors: Any, x: Any, inner: Any, listed: Any) -> None:
    """Fill the list of one case, with drain and source exchanged where the drain is the lower one.

    :param devices: (n,) of `DEVICE`. :param transistors: (n, 4) places of the terminals. :param x: (unknowns + 1,).
    :param inner: (n, 3) inner nodes. :param listed: (n, quantities).
    """
    for k in range(transistors.shape[0]):
        p = devices[k]
        d, g, s = x[transistors[k, 0]], x[transistors[k, 1]], x[transistors[k, 2]]
        low = min(p.polarity * d, p.polarity * s)
        v_gs, v_ds, v_bs = p.polarity * g - low, abs(d - s), p.polarity * inner[k, 0] - low
        slopes = channel_current(p, v_gs, v_ds, v_bs)
        point = channel(p, v_gs, v_ds, v_bs)
        listed[k, 0] = p.fingers * slopes[0]
        for column in range(3):
            listed[k, 1 + column] = p.fingers * slopes[2 + column]
        listed[k, 4], listed[k, 5] = point.v_th, point.v_dsat
        listed[k, 6] = p.polarity * (d - s)
        listed[k, 7] = p.polarity * (g - s)
        listed[k, 8] = p.polarity * (x[transistors[k, 3]] - s)
