"""Noise of a transistor: densities of the current between drain and source, after `fnoimod 1` and `tnoimod 1`.

Thermal noise follows BSIM4's holistic model less its gate-correlated part, as the reference computes it; flicker noise
is the unified model (number and mobility fluctuations). Gate current does not flow with these cards, and junctions have
no shot noise in BSIM4.
"""

from math import log
from typing import Any

from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.derivatives import channel_current
from zsgym.simulators.physics.device import Device
from zsgym.simulators.physics.stamps import DRAIN, GATE, INNER_BODY, SOURCE
from zsgym.simulators.physics.transistor import Channel, channel

BOLTZMANN = 1.38064852e-23
"""In J/K."""
CHARGE = 1.6021766208e-19
"""Of the electron, in C; `PER_CHARGE` belongs to the other value that the reference computes with."""
PER_CHARGE = 1.0 / 1.60219e-19
LEAST_CONDUCTANCE = 1e-9
"""Of the channel, in S: what the thermal noise divides by."""


@compiled
def thermal_density(p: Device, c: Channel, gm: float, gds: float, gmb: float) -> float:
    """Thermal noise of one finger, in A^2/Hz."""
    conductance = max(c.i_ds / c.v_dseff, LEAST_CONDUCTANCE) if c.v_dseff > 0.0 else LEAST_CONDUCTANCE
    heat = (c.v_gst / c.field_length) ** 2
    channel_part = p.rnoia * (1.0 + heat * p.tnoia_length) * (gm + gmb) + gds
    source_part = p.rnoib * (1.0 + heat * p.tnoib_length) * (gm + gmb + gds)
    return 4.0 * BOLTZMANN * p.temperature * (channel_part**2 - source_part**2) / conductance


@compiled
def flicker_density(p: Device, c: Channel, v_ds: float, hertz: float) -> float:
    """Flicker noise of one finger, in A^2/Hz."""
    if c.i_ds <= 0.0:
        return 0.0
    kt = BOLTZMANN * p.temperature
    scale = 1e10 * hertz**p.ef
    traps = p.vt * PER_CHARGE * (p.cox + p.eps_silicon / c.x_dep + p.traps)
    at_source = p.cox * c.v_gst / CHARGE
    at_drain = at_source * (1.0 - c.a_bulk * c.v_dseff / (c.v_gst + 2.0 * p.vt))
    beyond = 0.0
    if p.em > 0.0:
        field = c.field_length / p.length
        beyond = max(0.0, p.litl * log(max(((v_ds - c.v_dseff) / p.litl + p.em) / field, 1e-38)))
    ratio = max((at_source + traps) / (at_drain + traps), 1e-38)
    fluctuation = (
        p.noia * log(ratio)
        + p.noib * (at_source - at_drain)
        + 0.5 * p.noic * (at_source * at_source - at_drain * at_drain)
    )
    area = p.flicker_length * p.flicker_length
    inversion = kt * CHARGE * CHARGE * c.mobility * c.i_ds / (scale * c.a_bulk_flicker * p.cox * area) * fluctuation
    pinched = p.noia + p.noib * at_drain + p.noic * at_drain * at_drain
    inversion += kt * c.i_ds * c.i_ds / (scale * area * p.width0) * beyond * pinched / (at_drain + traps) ** 2
    weak = p.noia * kt * c.i_ds * c.i_ds / (scale * p.width0 * p.length * traps * traps)
    total = inversion + weak
    return inversion * weak / total if total > 0.0 else 0.0


@compiled
def channel_noise(p: Device, v: Any, hertz: float) -> tuple[float, float]:
    """Thermal and flicker noise of a device between its drain and its source, in A^2/Hz.

    :param v: (7,) node voltages (`stamps`).
    """
    low = min(p.polarity * v[DRAIN], p.polarity * v[SOURCE])
    v_gs, v_bs = p.polarity * v[GATE] - low, p.polarity * v[INNER_BODY] - low
    v_ds = abs(v[DRAIN] - v[SOURCE])
    point = channel(p, v_gs, v_ds, v_bs)
    slopes = channel_current(p, v_gs, v_ds, v_bs)
    thermal = thermal_density(p, point, slopes[2], slopes[3], slopes[4])
    return p.fingers * thermal, p.fingers * flicker_density(p, point, v_ds, hertz)
