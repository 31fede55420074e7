"""A transistor as a circuit sees it: currents and charges of its seven nodes, and how they change with their voltages.

The nodes are the four terminals and three inner ones: the intrinsic body, and the body ends of source and drain
junction (`rbodymod 1`), which five resistors of 50 ohm join to the body terminal. Here the polarity is put back, drain
and source are exchanged where the drain is the lower one, fingers and multiplier are counted, and everything around the
channel is added. Currents and charges count from the circuit into the node.

The arrays that the functions fill must be zero where a node has no influence on another, as from `numpy.zeros`: only
entries that can differ from zero are written, which saves a third of the time.
"""

from typing import Any

from zsgym.simulators.physics.compiling import compiled, inlined
from zsgym.simulators.physics.derivatives import (
    channel_all,
    channel_current,
    junction,
    leakage,
    overlap,
    reverse_junction,
)
from zsgym.simulators.physics.device import Device

DRAIN, GATE, SOURCE, BODY, INNER_BODY, SOURCE_BODY, DRAIN_BODY = range(7)
NODES = 7


@compiled
def stamp_currents(p: Device, v: Any, gmin: float, current: Any, conductance: Any) -> None:
    """Currents into the nodes and their derivatives: all that a steady state needs.

    :param v: (7,) node voltages. :param gmin: conductance across each junction, in S.
    :param current: (7,), filled. :param conductance: (7, 7), filled: current of the row by voltage of the column.
    """
    sign = p.polarity
    low = min(sign * v[DRAIN], sign * v[SOURCE])
    channel = channel_current(p, sign * v[GATE] - low, abs(v[DRAIN] - v[SOURCE]), sign * v[INNER_BODY] - low)
    if sign * (v[DRAIN] - v[SOURCE]) >= 0.0:
        _fill_currents(p, v, gmin, channel, DRAIN, SOURCE, DRAIN_BODY, SOURCE_BODY, current, conductance)
    else:
        _fill_currents(p, v, gmin, channel, SOURCE, DRAIN, SOURCE_BODY, DRAIN_BODY, current, conductance)


@compiled
def stamp(p: Device, v: Any, gmin: float, current: Any, charge: Any, conductance: Any, capacitance: Any) -> None:
    """Currents and charges of the nodes and their derivatives.

    :param v: (7,) node voltages. :param gmin: conductance across each junction, in S.
    :param current: (7,), :param charge: (7,), :param conductance: (7, 7), :param capacitance: (7, 7): filled.
    """
    sign = p.polarity
    low = min(sign * v[DRAIN], sign * v[SOURCE])
    result = channel_all(p, sign * v[GATE] - low, abs(v[DRAIN] - v[SOURCE]), sign * v[INNER_BODY] - low)
    channel = result[:2] + result[5:11]
    charges = result[2:5] + result[11:20]
    if sign * (v[DRAIN] - v[SOURCE]) >= 0.0:
        _fill_currents(p, v, gmin, channel, DRAIN, SOURCE, DRAIN_BODY, SOURCE_BODY, current, conductance)
        _fill_charges(p, v, charges, DRAIN, SOURCE, DRAIN_BODY, SOURCE_BODY, charge, capacitance)
    else:
        _fill_currents(p, v, gmin, channel, SOURCE, DRAIN, SOURCE_BODY, DRAIN_BODY, current, conductance)
        _fill_charges(p, v, charges, SOURCE, DRAIN, SOURCE_BODY, DRAIN_BODY, charge, capacitance)


@inlined
def _fill_currents(
    p: Device, v: Any, gmin: float, channel: Any, high: int, low: int, high_body: int, low_body: int,
    current: Any, conductance: Any,
) -> None:  # fmt: skip
    """`high` is the end of the channel that acts as its drain, `high_body` the body end of its junction."""
    i_ds, i_sub, ds_g, ds_d, ds_b, sub_g, sub_d, sub_b = channel
    sign, f, m = p.polarity, p.fingers, p.multiplier
    i_high, g_high = _junction_current(p, sign * (v[high_body] - v[high]), gmin, high == SOURCE)
    i_low, g_low = _junction_current(p, sign * (v[low_body] - v[low]), gmin, low == SOURCE)
    between_high = m * (p.g_bi_db if high == DRAIN else p.g_bi_sb)
    between_low = m * (p.g_bi_sb if high == DRAIN else p.g_bi_db)
    outer_high = m * (p.g_b_db if high == DRAIN else p.g_b_sb)
    outer_low = m * (p.g_b_sb if high == DRAIN else p.g_b_db)
    direct = m * p.g_bi_b
    inner, body = v[INNER_BODY], v[BODY]
    to_high, to_low, to_body = (
        between_high * (inner - v[high_body]),
        between_low * (inner - v[low_body]),
        direct * (inner - body),
    )
    from_high, from_low = outer_high * (body - v[high_body]), outer_low * (body - v[low_body])
    current[high] = sign * (f * (i_ds + i_sub) - m * i_high)
    current[low] = -sign * (f * i_ds + m * i_low)
    current[INNER_BODY] = to_high + to_low + to_body - sign * f * i_sub
    current[BODY] = from_high + from_low - to_body
    current[high_body] = sign * m * i_high - to_high - from_high
    current[low_body] = sign * m * i_low - to_low - from_low

    ds_s, sub_s = ds_g + ds_d + ds_b, sub_g + sub_d + sub_b
    conductance[high, GATE] = f * (ds_g + sub_g)
    conductance[high, high] = f * (ds_d + sub_d) + m * g_high
    conductance[high, low] = -f * (ds_s + sub_s)
    conductance[high, INNER_BODY] = f * (ds_b + sub_b)
    conductance[high, high_body] = -m * g_high
    conductance[low, GATE] = -f * ds_g
    conductance[low, high] = -f * ds_d
    conductance[low, low] = f * ds_s + m * g_low
    conductance[low, INNER_BODY] = -f * ds_b
    conductance[low, low_body] = -m * g_low
    conductance[INNER_BODY, GATE] = -f * sub_g
    conductance[INNER_BODY, high] = -f * sub_d
    conductance[INNER_BODY, low] = f * sub_s
    conductance[INNER_BODY, INNER_BODY] = between_high + between_low + direct - f * sub_b
    conductance[INNER_BODY, BODY] = -direct
    conductance[INNER_BODY, high_body] = -between_high
    conductance[INNER_BODY, low_body] = -between_low
    conductance[BODY, BODY] = outer_high + outer_low + direct
    conductance[BODY, INNER_BODY] = -direct
    conductance[BODY, high_body] = -outer_high
    conductance[BODY, low_body] = -outer_low
    conductance[high_body, high_body] = m * g_high + between_high + outer_high
    conductance[high_body, high] = -m * g_high
    conductance[high_body, INNER_BODY] = -between_high
    conductance[high_body, BODY] = -outer_high
    conductance[low_body, low_body] = m * g_low + between_low + outer_low
    conductance[low_body, low] = -m * g_low
    conductance[low_body, INNER_BODY] = -between_low
    conductance[low_body, BODY] = -outer_low
    if p.gidl_width > 0.0:
        _leak(p, v, high, low, current, conductance)
        _leak(p, v, low, high, current, conductance)


@inlined
def _junction_current(p: Device, bias: float, gmin: float, source: bool) -> tuple[float, float]:
    """Current and conductance of one junction with gmin across it."""
    if source:
        i, g = junction(bias, p.i_sat_s, p.n_vt_s, p.v_forward_s)
    else:
        i, g = junction(bias, p.i_sat_d, p.n_vt_d, p.v_forward_d)
    return i + gmin * bias, g + gmin


@inlined
def _leak(p: Device, v: Any, end: int, other: int, current: Any, conductance: Any) -> None:
    """Add the gate-induced leakage from one end of the channel to the body."""
    sign, f = p.polarity, p.fingers
    i, by_g, by_d, by_b = leakage(
        p, sign * (v[GATE] - v[other]), sign * (v[end] - v[other]), sign * (v[end] - v[INNER_BODY])
    )
    if i != 0.0:
        current[end] += sign * f * i
        current[INNER_BODY] -= sign * f * i
        for row, factor in ((end, f), (INNER_BODY, -f)):
            conductance[row, GATE] += factor * by_g
            conductance[row, end] += factor * (by_d + by_b)
            conductance[row, other] -= factor * (by_g + by_d)
            conductance[row, INNER_BODY] -= factor * by_b


@inlined
def _fill_charges(
    p: Device, v: Any, channel: Any, high: int, low: int, high_body: int, low_body: int, charge: Any, capacitance: Any
) -> None:
    """Intrinsic charges, overlaps, the gate's capacitance to the body beside the channel, and junctions."""
    q_g, q_b, q_s, gg, gd, gb, bg, bd, bb, sg, sd, sb = channel
    sign, f, m = p.polarity, p.fingers, p.multiplier
    q_over_high, over_high = _overlap(p, sign * (v[GATE] - v[high]), high == SOURCE)
    q_over_low, over_low = _overlap(p, sign * (v[GATE] - v[low]), low == SOURCE)
    q_high, c_high = _junction_charge(p, sign * (v[high_body] - v[high]), high == SOURCE)
    q_low, c_low = _junction_charge(p, sign * (v[low_body] - v[low]), low == SOURCE)
    beside = p.overlap_b
    q_beside = beside * sign * (v[GATE] - v[INNER_BODY])
    charge[GATE] = sign * f * (q_g + q_over_high + q_over_low + q_beside)
    charge[INNER_BODY] = sign * f * (q_b - q_beside)
    charge[low] = sign * (f * (q_s - q_over_low) - m * q_low)
    charge[high] = -sign * (f * (q_g + q_b + q_s + q_over_high) + m * q_high)
    charge[high_body] = sign * m * q_high
    charge[low_body] = sign * m * q_low

    gs, bs, ss = gg + gd + gb, bg + bd + bb, sg + sd + sb
    capacitance[GATE, GATE] = f * (gg + over_high + over_low + beside)
    capacitance[GATE, high] = f * (gd - over_high)
    capacitance[GATE, low] = -f * (gs + over_low)
    capacitance[GATE, INNER_BODY] = f * (gb - beside)
    capacitance[INNER_BODY, GATE] = f * (bg - beside)
    capacitance[INNER_BODY, high] = f * bd
    capacitance[INNER_BODY, low] = -f * bs
    capacitance[INNER_BODY, INNER_BODY] = f * (bb + beside)
    capacitance[low, GATE] = f * (sg - over_low)
    capacitance[low, high] = f * sd
    capacitance[low, low] = f * (over_low - ss) + m * c_low
    capacitance[low, INNER_BODY] = f * sb
    capacitance[low, low_body] = -m * c_low
    capacitance[high, GATE] = -f * (gg + bg + sg + over_high)
    capacitance[high, high] = f * (over_high - gd - bd - sd) + m * c_high
    capacitance[high, low] = f * (gs + bs + ss)
    capacitance[high, INNER_BODY] = -f * (gb + bb + sb)
    capacitance[high, high_body] = -m * c_high
    capacitance[high_body, high_body] = m * c_high
    capacitance[high_body, high] = -m * c_high
    capacitance[low_body, low_body] = m * c_low
    capacitance[low_body, low] = -m * c_low


@inlined
def _overlap(p: Device, bias: float, source: bool) -> tuple[float, float]:
    """Charge and capacitance of the gate's edge over one end of the channel."""
    if source:
        return overlap(bias, p.overlap_s, p.overlap_bias_s, p.kappa_s)
    return overlap(bias, p.overlap_d, p.overlap_bias_d, p.kappa_d)


@inlined
def _junction_charge(p: Device, bias: float, source: bool) -> tuple[float, float]:
    """Charge and capacitance of one junction; a negative part counts in forward bias only, as in the reference."""
    if bias >= 0.0:
        zero, slope = (p.c_zero_s, p.c_slope_s) if source else (p.c_zero_d, p.c_slope_d)
        return bias * (zero + 0.5 * slope * bias), zero + slope * bias
    if source:
        bottom = _reverse(bias, p.c_bottom_s, p.pb_bottom_s, p.m_bottom_s)
        side = _reverse(bias, p.c_side_s, p.pb_side_s, p.m_side_s)
        gate = _reverse(bias, p.c_gate_s, p.pb_gate_s, p.m_gate_s)
    else:
        bottom = _reverse(bias, p.c_bottom_d, p.pb_bottom_d, p.m_bottom_d)
        side = _reverse(bias, p.c_side_d, p.pb_side_d, p.m_side_d)
        gate = _reverse(bias, p.c_gate_d, p.pb_gate_d, p.m_gate_d)
    return bottom[0] + side[0] + gate[0], bottom[1] + side[1] + gate[1]


@inlined
def _reverse(bias: float, c: float, potential: float, grading: float) -> tuple[float, float]:
    if c <= 0.0:
        return 0.0, 0.0
    return reverse_junction(bias, c, potential, grading)


@inlined
def solve_inner(conductance: Any, bulk: float, source: float, drain: float) -> tuple[float, float, float]:
    """Voltages of the inner nodes under three currents; the two junction nodes meet only at the intrinsic body."""
    per_source = 1.0 / conductance[SOURCE_BODY, SOURCE_BODY]
    per_drain = 1.0 / conductance[DRAIN_BODY, DRAIN_BODY]
    from_source = conductance[INNER_BODY, SOURCE_BODY] * per_source
    from_drain = conductance[INNER_BODY, DRAIN_BODY] * per_drain
    pivot = (
        conductance[INNER_BODY, INNER_BODY]
        - from_source * conductance[SOURCE_BODY, INNER_BODY]
        - from_drain * conductance[DRAIN_BODY, INNER_BODY]
    )
    v = (bulk - from_source * source - from_drain * drain) / pivot
    return (
        v,
        per_source * (source - conductance[SOURCE_BODY, INNER_BODY] * v),
        per_drain * (drain - conductance[DRAIN_BODY, INNER_BODY] * v),
    )


@compiled
def settle(p: Device, v: Any, gmin: float, current: Any, conductance: Any) -> bool:
    """Find the voltages of the inner nodes for fixed terminals, with Newton's method from where they stand.

    :param v: (7,), of which the last three are improved. :param current: (7,), :param conductance: (7, 7): those of
        `stamp_currents` at the solution.
    :return: whether the inner nodes' currents vanish to rounding.
    """
    for _ in range(100):
        stamp_currents(p, v, gmin, current, conductance)
        step = solve_inner(conductance, current[INNER_BODY], current[SOURCE_BODY], current[DRAIN_BODY])
        largest = 0.0
        for k in range(3):
            v[4 + k] -= min(max(step[k], -0.1), 0.1)
            largest = max(largest, abs(step[k]))
        if largest < 1e-15:
            return True
    return False
