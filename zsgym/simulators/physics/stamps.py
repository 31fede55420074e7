"""A transistor as a circuit sees it: currents and charges of its seven nodes, and how they change with their voltages.

The nodes are the four terminals and three inner ones: the intrinsic body, and the body ends of source and drain
junction (`rbodymod 1`), which five resistors of 50 ohm join to the body terminal. Here the polarity is put back, drain
and source are exchanged where the drain is the lower one, fingers and multiplier are counted, and everything around the
channel is added. Currents and charges count from the circuit into the node.

`currents` and `charges` work on plain numbers and without exits, so that a loop over several transistors becomes vector
instructions (`lanes`); `stamp` and `stamp_currents` fill matrices.
"""

from typing import Any, NamedTuple

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


class Voltages(NamedTuple):
    """Of the nodes, in the order of their numbers."""

    d: float
    g: float
    s: float
    b: float
    inner: float
    sb: float
    db: float


class Currents(NamedTuple):
    """Currents into the nodes and their derivatives, named `node_by_node`; what is not listed is zero.

    The gate carries no current. The junctions and the body network are conductances between two nodes:
    `junction_s` (inner end of the source junction to source), `inner_sb`, `inner_db`, `inner_b`, `b_sb`, `b_db`.
    """

    i_d: float
    i_s: float
    i_b: float
    i_inner: float
    i_sb: float
    i_db: float
    d_by_d: float
    d_by_g: float
    d_by_s: float
    d_by_inner: float
    s_by_d: float
    s_by_g: float
    s_by_s: float
    s_by_inner: float
    inner_by_d: float
    inner_by_g: float
    inner_by_s: float
    inner_by_inner: float
    junction_s: float
    junction_d: float
    inner_sb: float
    inner_db: float
    inner_b: float
    b_sb: float
    b_db: float


class Charges(NamedTuple):
    """Charges of the nodes and their derivatives; the terminal body has none, junctions are capacitances."""

    q_d: float
    q_g: float
    q_s: float
    q_inner: float
    q_sb: float
    q_db: float
    d_by_d: float
    d_by_g: float
    d_by_s: float
    d_by_inner: float
    g_by_d: float
    g_by_g: float
    g_by_s: float
    g_by_inner: float
    s_by_d: float
    s_by_g: float
    s_by_s: float
    s_by_inner: float
    inner_by_d: float
    inner_by_g: float
    inner_by_s: float
    inner_by_inner: float
    junction_s: float
    junction_d: float


Eight = tuple[float, float, float, float, float, float, float, float]


@inlined
def currents(p: Device, v: Voltages, gmin: float) -> Currents:
    """Currents of a device.

    :param gmin: conductance across each junction, in S.
    """
    sign = p.polarity
    low = min(sign * v.d, sign * v.s)
    return _around(p, v, gmin, channel_current(p, sign * v.g - low, abs(v.d - v.s), sign * v.inner - low))


@inlined
def currents_and_charges(p: Device, v: Voltages, gmin: float) -> tuple[Currents, Charges]:
    """Currents and charges of a device."""
    sign = p.polarity
    low = min(sign * v.d, sign * v.s)
    result = channel_all(p, sign * v.g - low, abs(v.d - v.s), sign * v.inner - low)
    return _around(p, v, gmin, result[:2] + result[5:11]), _charges(p, v, result[2:5] + result[11:20])


@inlined
def _around(p: Device, v: Voltages, gmin: float, channel: Eight) -> Currents:
    """The channel's current in its place, with leakage, junctions and body network."""
    i_ds, i_sub, ds_g, ds_h, ds_b, sub_g, sub_h, sub_b = channel  # by gate, higher end and body
    sign, f, m = p.polarity, p.fingers, p.multiplier
    forward = sign * (v.d - v.s) >= 0.0
    ds_l, sub_l = -(ds_g + ds_h + ds_b), -(sub_g + sub_h + sub_b)
    ds_d, ds_s = (ds_h, ds_l) if forward else (ds_l, ds_h)
    sub_d, sub_s = (sub_h, sub_l) if forward else (sub_l, sub_h)
    into_d, into_s = (1.0, -1.0) if forward else (-1.0, 1.0)  # of the channel's current
    hot_d, hot_s = (1.0, 0.0) if forward else (0.0, 1.0)  # of the substrate current

    d_leak, d_leak_g, d_leak_end, d_leak_b = leakage(p, sign * (v.g - v.s), sign * (v.d - v.s), sign * (v.d - v.inner))
    s_leak, s_leak_g, s_leak_end, s_leak_b = leakage(p, sign * (v.g - v.d), sign * (v.s - v.d), sign * (v.s - v.inner))
    d_leak_other, s_leak_other = -(d_leak_g + d_leak_end), -(s_leak_g + s_leak_end)
    d_leak_end, s_leak_end = d_leak_end + d_leak_b, s_leak_end + s_leak_b

    bias_s, bias_d = sign * (v.sb - v.s), sign * (v.db - v.d)
    i_js, g_js = junction(bias_s, p.i_sat_s, p.n_vt_s, p.v_forward_s)
    i_jd, g_jd = junction(bias_d, p.i_sat_d, p.n_vt_d, p.v_forward_d)
    i_js, i_jd = sign * m * (i_js + gmin * bias_s), sign * m * (i_jd + gmin * bias_d)

    inner_sb, inner_db, inner_b = m * p.g_bi_sb, m * p.g_bi_db, m * p.g_bi_b
    b_sb, b_db = m * p.g_b_sb, m * p.g_b_db
    to_sb, to_db, to_b = inner_sb * (v.inner - v.sb), inner_db * (v.inner - v.db), inner_b * (v.inner - v.b)
    from_sb, from_db = b_sb * (v.b - v.sb), b_db * (v.b - v.db)
    return Currents(
        sign * f * (into_d * i_ds + hot_d * i_sub + d_leak) - i_jd,
        sign * f * (into_s * i_ds + hot_s * i_sub + s_leak) - i_js,
        from_sb + from_db - to_b,
        to_sb + to_db + to_b - sign * f * (i_sub + d_leak + s_leak),
        i_js - to_sb - from_sb,
        i_jd - to_db - from_db,
        f * (into_d * ds_d + hot_d * sub_d + d_leak_end) + m * (g_jd + gmin),
        f * (into_d * ds_g + hot_d * sub_g + d_leak_g),
        f * (into_d * ds_s + hot_d * sub_s + d_leak_other),
        f * (into_d * ds_b + hot_d * sub_b - d_leak_b),
        f * (into_s * ds_d + hot_s * sub_d + s_leak_other),
        f * (into_s * ds_g + hot_s * sub_g + s_leak_g),
        f * (into_s * ds_s + hot_s * sub_s + s_leak_end) + m * (g_js + gmin),
        f * (into_s * ds_b + hot_s * sub_b - s_leak_b),
        -f * (sub_d + d_leak_end + s_leak_other),
        -f * (sub_g + d_leak_g + s_leak_g),
        -f * (sub_s + d_leak_other + s_leak_end),
        inner_sb + inner_db + inner_b - f * (sub_b - d_leak_b - s_leak_b),
        m * (g_js + gmin),
        m * (g_jd + gmin),
        inner_sb,
        inner_db,
        inner_b,
        b_sb,
        b_db,
    )


@inlined
def _charges(p: Device, v: Voltages, channel: Any) -> Charges:
    """The channel's charges in their place, with overlaps and junctions."""
    q_g, q_b, q_low, g_g, g_h, g_b, b_g, b_h, b_b, low_g, low_h, low_b = channel
    sign, f, m = p.polarity, p.fingers, p.multiplier
    forward = sign * (v.d - v.s) >= 0.0
    q_high = -(q_g + q_b + q_low)
    high_g, high_h, high_b = -(g_g + b_g + low_g), -(g_h + b_h + low_h), -(g_b + b_b + low_b)
    g_l, b_l = -(g_g + g_h + g_b), -(b_g + b_h + b_b)
    high_l, low_l = -(high_g + high_h + high_b), -(low_g + low_h + low_b)
    g_d, g_s = (g_h, g_l) if forward else (g_l, g_h)
    b_d, b_s = (b_h, b_l) if forward else (b_l, b_h)
    q_d, q_s = (q_high, q_low) if forward else (q_low, q_high)
    d_g, s_g = (high_g, low_g) if forward else (low_g, high_g)
    d_b, s_b = (high_b, low_b) if forward else (low_b, high_b)
    d_d, s_s = (high_h, low_l) if forward else (low_l, high_h)
    d_s, s_d = (high_l, low_h) if forward else (low_h, high_l)

    q_over_s, over_s = overlap(sign * (v.g - v.s), p.overlap_s, p.overlap_bias_s, p.kappa_s)
    q_over_d, over_d = overlap(sign * (v.g - v.d), p.overlap_d, p.overlap_bias_d, p.kappa_d)
    q_beside = p.overlap_b * sign * (v.g - v.inner)
    q_js, c_js = _junction_charge(
        sign * (v.sb - v.s), p.c_zero_s, p.c_slope_s, p.c_bottom_s, p.pb_bottom_s, p.m_bottom_s, p.c_side_s,
        p.pb_side_s, p.m_side_s, p.c_gate_s, p.pb_gate_s, p.m_gate_s,
    )  # fmt: skip
    q_jd, c_jd = _junction_charge(
        sign * (v.db - v.d), p.c_zero_d, p.c_slope_d, p.c_bottom_d, p.pb_bottom_d, p.m_bottom_d, p.c_side_d,
        p.pb_side_d, p.m_side_d, p.c_gate_d, p.pb_gate_d, p.m_gate_d,
    )  # fmt: skip
    q_js, q_jd, c_js, c_jd = sign * m * q_js, sign * m * q_jd, m * c_js, m * c_jd
    return Charges(
        sign * f * (q_d - q_over_d) - q_jd,
        sign * f * (q_g + q_over_s + q_over_d + q_beside),
        sign * f * (q_s - q_over_s) - q_js,
        sign * f * (q_b - q_beside),
        q_js,
        q_jd,
        f * (d_d + over_d) + c_jd,
        f * (d_g - over_d),
        f * d_s,
        f * d_b,
        f * (g_d - over_d),
        f * (g_g + over_s + over_d + p.overlap_b),
        f * (g_s - over_s),
        f * (g_b - p.overlap_b),
        f * s_d,
        f * (s_g - over_s),
        f * (s_s + over_s) + c_js,
        f * s_b,
        f * b_d,
        f * (b_g - p.overlap_b),
        f * b_s,
        f * (b_b + p.overlap_b),
        c_js,
        c_jd,
    )


@inlined
def _junction_charge(
    bias: float, zero: float, slope: float, bottom: float, pb_bottom: float, m_bottom: float, side: float,
    pb_side: float, m_side: float, gate: float, pb_gate: float, m_gate: float,
) -> tuple[float, float]:  # fmt: skip
    """Charge and capacitance of one junction; a negative part counts in forward bias only, as in the reference."""
    if bias >= 0.0:
        return bias * (zero + 0.5 * slope * bias), zero + slope * bias
    q_gate, c_gate = reverse_junction(bias, gate, pb_gate, m_gate)
    q_bottom, c_bottom = reverse_junction(bias, bottom, pb_bottom, m_bottom)
    q_side, c_side = reverse_junction(bias, max(side, 0.0), pb_side, m_side)
    return q_gate + q_bottom + q_side, c_gate + c_bottom + c_side


@inlined
def _voltages(v: Any) -> Voltages:
    return Voltages(v[0], v[1], v[2], v[3], v[4], v[5], v[6])


@compiled
def stamp_currents(p: Device, v: Any, gmin: float, current: Any, conductance: Any) -> None:
    """Currents into the nodes and their derivatives: all that a steady state needs.

    :param v: (7,) node voltages. :param gmin: conductance across each junction, in S.
    :param current: (7,), filled. :param conductance: (7, 7), filled: current of the row by voltage of the column.
    """
    fill_currents(currents(p, _voltages(v), gmin), current, conductance)


@compiled
def stamp(p: Device, v: Any, gmin: float, current: Any, charge: Any, conductance: Any, capacitance: Any) -> None:
    """Currents and charges of the nodes and their derivatives.

    :param v: (7,) node voltages. :param gmin: conductance across each junction, in S.
    :param current: (7,), :param charge: (7,), :param conductance: (7, 7), :param capacitance: (7, 7): filled.
    """
    flowing, stored = currents_and_charges(p, _voltages(v), gmin)
    fill_currents(flowing, current, conductance)
    fill_charges(stored, charge, capacitance)


@inlined
def fill_currents(c: Currents, current: Any, conductance: Any) -> None:
    """Write currents into a vector of the nodes, and their derivatives into a matrix."""
    current[DRAIN], current[GATE], current[SOURCE], current[BODY] = c.i_d, 0.0, c.i_s, c.i_b
    current[INNER_BODY], current[SOURCE_BODY], current[DRAIN_BODY] = c.i_inner, c.i_sb, c.i_db
    for i in range(NODES):
        for j in range(NODES):
            conductance[i, j] = 0.0
    conductance[DRAIN, DRAIN], conductance[DRAIN, GATE] = c.d_by_d, c.d_by_g
    conductance[DRAIN, SOURCE], conductance[DRAIN, INNER_BODY] = c.d_by_s, c.d_by_inner
    conductance[DRAIN, DRAIN_BODY] = -c.junction_d
    conductance[SOURCE, DRAIN], conductance[SOURCE, GATE] = c.s_by_d, c.s_by_g
    conductance[SOURCE, SOURCE], conductance[SOURCE, INNER_BODY] = c.s_by_s, c.s_by_inner
    conductance[SOURCE, SOURCE_BODY] = -c.junction_s
    conductance[BODY, BODY], conductance[BODY, INNER_BODY] = c.inner_b + c.b_sb + c.b_db, -c.inner_b
    conductance[BODY, SOURCE_BODY], conductance[BODY, DRAIN_BODY] = -c.b_sb, -c.b_db
    conductance[INNER_BODY, DRAIN], conductance[INNER_BODY, GATE] = c.inner_by_d, c.inner_by_g
    conductance[INNER_BODY, SOURCE], conductance[INNER_BODY, BODY] = c.inner_by_s, -c.inner_b
    conductance[INNER_BODY, INNER_BODY] = c.inner_by_inner
    conductance[INNER_BODY, SOURCE_BODY], conductance[INNER_BODY, DRAIN_BODY] = -c.inner_sb, -c.inner_db
    conductance[SOURCE_BODY, SOURCE], conductance[SOURCE_BODY, BODY] = -c.junction_s, -c.b_sb
    conductance[SOURCE_BODY, INNER_BODY] = -c.inner_sb
    conductance[SOURCE_BODY, SOURCE_BODY] = c.junction_s + c.b_sb + c.inner_sb
    conductance[DRAIN_BODY, DRAIN], conductance[DRAIN_BODY, BODY] = -c.junction_d, -c.b_db
    conductance[DRAIN_BODY, INNER_BODY] = -c.inner_db
    conductance[DRAIN_BODY, DRAIN_BODY] = c.junction_d + c.b_db + c.inner_db


@inlined
def fill_charges(c: Charges, charge: Any, capacitance: Any) -> None:
    """Write charges into a vector of the nodes, and their derivatives into a matrix."""
    charge[DRAIN], charge[GATE], charge[SOURCE], charge[BODY] = c.q_d, c.q_g, c.q_s, 0.0
    charge[INNER_BODY], charge[SOURCE_BODY], charge[DRAIN_BODY] = c.q_inner, c.q_sb, c.q_db
    for i in range(NODES):
        for j in range(NODES):
            capacitance[i, j] = 0.0
    capacitance[DRAIN, DRAIN], capacitance[DRAIN, GATE] = c.d_by_d, c.d_by_g
    capacitance[DRAIN, SOURCE], capacitance[DRAIN, INNER_BODY] = c.d_by_s, c.d_by_inner
    capacitance[GATE, DRAIN], capacitance[GATE, GATE] = c.g_by_d, c.g_by_g
    capacitance[GATE, SOURCE], capacitance[GATE, INNER_BODY] = c.g_by_s, c.g_by_inner
    capacitance[SOURCE, DRAIN], capacitance[SOURCE, GATE] = c.s_by_d, c.s_by_g
    capacitance[SOURCE, SOURCE], capacitance[SOURCE, INNER_BODY] = c.s_by_s, c.s_by_inner
    capacitance[INNER_BODY, DRAIN], capacitance[INNER_BODY, GATE] = c.inner_by_d, c.inner_by_g
    capacitance[INNER_BODY, SOURCE], capacitance[INNER_BODY, INNER_BODY] = c.inner_by_s, c.inner_by_inner
    capacitance[SOURCE, SOURCE_BODY] = capacitance[SOURCE_BODY, SOURCE] = -c.junction_s
    capacitance[DRAIN, DRAIN_BODY] = capacitance[DRAIN_BODY, DRAIN] = -c.junction_d
    capacitance[SOURCE_BODY, SOURCE_BODY], capacitance[DRAIN_BODY, DRAIN_BODY] = c.junction_s, c.junction_d


class Reduced(NamedTuple):
    """A device without its inner nodes, for one step of Newton's method.

    Currents of drain, source and body (the gate has none) and their derivatives by drain, gate, source, body, when the
    inner nodes follow the terminals; then by how much each inner node falls with a step of each terminal, and on its
    own account (`_own`).
    """

    i_d: float
    i_s: float
    i_b: float
    d_by_d: float
    d_by_g: float
    d_by_s: float
    d_by_b: float
    s_by_d: float
    s_by_g: float
    s_by_s: float
    s_by_b: float
    b_by_d: float
    b_by_g: float
    b_by_s: float
    b_by_b: float
    inner_by_d: float
    inner_by_g: float
    inner_by_s: float
    inner_by_b: float
    inner_own: float
    sb_by_d: float
    sb_by_g: float
    sb_by_s: float
    sb_by_b: float
    sb_own: float
    db_by_d: float
    db_by_g: float
    db_by_s: float
    db_by_b: float
    db_own: float


@inlined
def reduced(c: Currents) -> Reduced:
    """Eliminate the inner nodes; the two junction nodes meet only at the intrinsic body."""
    per_sb = 1.0 / (c.junction_s + c.b_sb + c.inner_sb)
    per_db = 1.0 / (c.junction_d + c.b_db + c.inner_db)
    share_sb, share_db = c.inner_sb * per_sb, c.inner_db * per_db
    per_inner = 1.0 / (c.inner_by_inner - share_sb * c.inner_sb - share_db * c.inner_db)
    inner_d = (c.inner_by_d - share_db * c.junction_d) * per_inner
    inner_g = c.inner_by_g * per_inner
    inner_s = (c.inner_by_s - share_sb * c.junction_s) * per_inner
    inner_b = -(c.inner_b + share_sb * c.b_sb + share_db * c.b_db) * per_inner
    inner_own = (c.i_inner + share_sb * c.i_sb + share_db * c.i_db) * per_inner
    sb_d, sb_g = share_sb * inner_d, share_sb * inner_g
    sb_s, sb_b = share_sb * inner_s - per_sb * c.junction_s, share_sb * inner_b - per_sb * c.b_sb
    sb_own = share_sb * inner_own + per_sb * c.i_sb
    db_d, db_g = share_db * inner_d - per_db * c.junction_d, share_db * inner_g
    db_s, db_b = share_db * inner_s, share_db * inner_b - per_db * c.b_db
    db_own = share_db * inner_own + per_db * c.i_db
    return Reduced(
        c.i_d - c.d_by_inner * inner_own + c.junction_d * db_own,
        c.i_s - c.s_by_inner * inner_own + c.junction_s * sb_own,
        c.i_b + c.inner_b * inner_own + c.b_sb * sb_own + c.b_db * db_own,
        c.d_by_d - c.d_by_inner * inner_d + c.junction_d * db_d,
        c.d_by_g - c.d_by_inner * inner_g + c.junction_d * db_g,
        c.d_by_s - c.d_by_inner * inner_s + c.junction_d * db_s,
        c.junction_d * db_b - c.d_by_inner * inner_b,
        c.s_by_d - c.s_by_inner * inner_d + c.junction_s * sb_d,
        c.s_by_g - c.s_by_inner * inner_g + c.junction_s * sb_g,
        c.s_by_s - c.s_by_inner * inner_s + c.junction_s * sb_s,
        c.junction_s * sb_b - c.s_by_inner * inner_b,
        c.inner_b * inner_d + c.b_sb * sb_d + c.b_db * db_d,
        c.inner_b * inner_g + c.b_sb * sb_g + c.b_db * db_g,
        c.inner_b * inner_s + c.b_sb * sb_s + c.b_db * db_s,
        c.inner_b + c.b_sb + c.b_db + c.inner_b * inner_b + c.b_sb * sb_b + c.b_db * db_b,
        inner_d, inner_g, inner_s, inner_b, inner_own,
        sb_d, sb_g, sb_s, sb_b, sb_own,
        db_d, db_g, db_s, db_b, db_own,
    )  # fmt: skip


@compiled
def settle(p: Device, v: Any, gmin: float) -> bool:
    """Find the voltages of the inner nodes for fixed terminals, with Newton's method from where they stand.

    :param v: (7,), of which the last three are improved.
    :return: whether the inner nodes' currents vanish to rounding.
    """
    for _ in range(100):
        step = reduced(currents(p, _voltages(v), gmin))
        largest = max(max(abs(step.inner_own), abs(step.sb_own)), abs(step.db_own))
        v[INNER_BODY] -= min(max(step.inner_own, -0.1), 0.1)
        v[SOURCE_BODY] -= min(max(step.sb_own, -0.1), 0.1)
        v[DRAIN_BODY] -= min(max(step.db_own, -0.1), 0.1)
        if largest < 1e-15:
            return True
    return False
