"""The SKY130 transistor at one bias: BSIM4.5 with the options of the SKY130 cards, as plain scalar functions.

The functions follow the chain from terminal voltages to currents and charges: body bias, threshold, gate drive,
mobility and saturation, current, charges, and then what lies around the channel (overlaps, gate-induced leakage,
junctions). All of them take `p`, the device's record of everything that does not depend on bias (`device.Device`), and
voltages of an equivalent n-channel device whose drain is not below its source (`stamps` turns and signs them).

Nothing is differentiated here. `derive` reads this file and writes `derivatives.py`, in which every function returns
its partial derivatives too; run `python -m zsgym.simulators.physics.derive` after a change (a test compares). It
understands assignments, `if` statements, arithmetic, `sqrt`, `exp`, `log`, calls of the functions below, and `hold`,
which stops a derivative.

Names: `v_gst` is the effective gate drive Vgsteff, `v_b` the bounded body voltage Vbseff; what ends in `_cv` belongs to
the charge model, which has a gate drive and a drain voltage of its own.
"""

# ruff: noqa: SIM108 (the generator reads no conditional expressions)

import math
from math import sqrt
from typing import NamedTuple

from zsgym.simulators.physics.compiling import compiled, hold, section
from zsgym.simulators.physics.device import Device
from zsgym.simulators.physics.elementary import exp, log

EXPONENT_LIMIT = 34.0
EXP_LOW = 1.713908431e-15
"""What stands for exp(x) below -34."""
EXP_HIGH = 5.834617425e14
"""What stands for exp(x) above 34."""
LOG_LOW = math.log(1.0 + EXP_LOW)
GIDL_LIMIT = 100.0
GIDL_LOW = 3.720075976e-44
"""What stands for exp(-x) above 100 in the gate-induced leakage."""


class Channel(NamedTuple):
    """Everything that a bias decides in the channel of one finger, in the n-channel convention."""

    i_ds: float
    """Drain-to-source current, in A."""
    i_sub: float
    """Impact ionisation current from drain to body, in A."""
    q_g: float
    """Intrinsic charge of the gate, in C."""
    q_b: float
    """Intrinsic charge of the body, in C."""
    q_s: float
    """Intrinsic charge of the source, in C; the drain's is what is missing to zero."""
    v_th: float
    v_dsat: float
    v_dseff: float
    v_gst: float
    v_b: float
    slope: float
    mobility: float
    a_bulk: float
    a_bulk_flicker: float
    """a_bulk without its body factor: flicker noise takes this one by mistake of the reference."""
    field_length: float
    """Saturation field times length, in V."""
    x_dep: float
    """Depth of the depletion layer, in m."""


# --- Rational continuations: functions that leave their domain smoothly, with value and slope continuous at the seam.


@compiled
def one_plus(z: float) -> float:
    """1 + z, kept positive for z below -1/2."""
    if z >= -0.5:
        return 1.0 + z
    return (1.0 + 3.0 * z) / (3.0 + 8.0 * z)


@compiled
def divisor(z: float) -> float:
    """1 + z, by which something is divided, kept away from zero for z below -0.9."""
    if z >= -0.9:
        return 1.0 + z
    return (0.8 + z) / (17.0 + 20.0 * z)


@compiled
def mobility_loss(z: float) -> float:
    """1 + z, the factor by which fields reduce the mobility, kept positive for z below -0.8."""
    if z >= -0.8:
        return 1.0 + z
    return (0.6 + z) / (7.0 + 10.0 * z)


@compiled
def bulk_charge_limit(z: float) -> float:
    """The bulk charge factor z, kept positive below 0.1."""
    if z >= 0.1:
        return z
    return (0.2 - z) / (3.0 - 20.0 * z)


@compiled
def dibl_limit(z: float) -> float:
    """The coefficient z of drain-induced barrier lowering, kept positive below 1e-4."""
    if z >= 1e-4:
        return z
    return (2e-4 - z) / (3.0 - 2e4 * z)


@compiled
def width_limit(w: float) -> float:
    """The effective width w, kept positive below 20 nm."""
    if w >= 2e-8:
        return w
    return 2e-8 * (4e-8 - w) / (6e-8 - 2.0 * w)


@compiled
def limited_exp(x: float) -> float:
    """exp(x), constant outside -34 to 34."""
    if x > EXPONENT_LIMIT:
        return EXP_HIGH
    if x < -EXPONENT_LIMIT:
        return EXP_LOW
    return exp(x)


@compiled
def soft_positive(x: float, scale: float, per_scale: float) -> float:
    """scale ln(1 + exp(x/scale)): zero far below x = 0, x far above; per_scale is 1/scale.

    The logarithm is taken literally, since the reference does so and loses the same digits for small results.
    """
    z = x * per_scale
    if z > EXPONENT_LIMIT:
        return x
    if z < -EXPONENT_LIMIT:
        return scale * LOG_LOW
    return scale * log(1.0 + exp(z))


@compiled
def decay(u: float) -> float:
    """How far a short or narrow channel's barrier is pulled down from its end: about exp(-u)."""
    if u >= EXPONENT_LIMIT:
        return 1.0 / (EXP_HIGH - 2.0)
    e = exp(u)
    return e / ((e - 1.0) * (e - 1.0) + 2.0 * EXP_LOW * e)


@compiled
def bounded_drain(v_sat: float, v_ds: float, rounding: float) -> float:
    """v_ds bounded by v_sat, with a corner of the given rounding (in V).

    Never above v_ds, also in the last digit, and exactly zero with v_ds; the slope at zero stays that of the formula.
    """
    x = v_sat - v_ds - rounding
    r = sqrt(x * x + 4.0 * rounding * v_sat)
    if x >= 0.0:
        v = v_sat - 0.5 * (x + r)
    else:
        v = v_sat * (1.0 - 2.0 * rounding / (r - x))
    if v_ds == 0.0:
        v = v - hold(v)
    elif v > v_ds:
        v = v - hold(v - v_ds)
    return v


# --- Threshold


@compiled
def effective_body(p: Device, v_bs: float) -> float:
    """The body voltage, held between a lower bound and 95 % of the surface potential."""
    x = v_bs - p.v_b_low - 0.001
    r = sqrt(x * x - 0.004 * p.v_b_low)
    if x >= 0.0:
        v = p.v_b_low + 0.5 * (x + r)
    else:
        v = p.v_b_low * (1.0 - 0.002 / (r - x))
    y = p.v_b_high - v - 0.001
    return p.v_b_high - 0.5 * (y + sqrt(y * y + 0.004 * p.v_b_high))


@compiled
def depletion(p: Device, v_b: float) -> tuple[float, float, float, float, float]:
    """What the body voltage decides alone.

    :return: root of the surface potential less the body voltage, its inverse, root of the depletion layer's depth over
        that at zero bias, decay along a short and along a narrow channel.
    """
    root_phi = sqrt(p.phi - v_b)
    depth = sqrt(root_phi * p.per_root_phi0)
    per_depth = 1.0 / depth
    short = decay(p.short_decay * per_depth / one_plus(p.dvt2 * v_b))
    narrow = decay(p.narrow_decay * per_depth / one_plus(p.dvt2w * v_b))
    return root_phi, 1.0 / root_phi, depth, short, narrow


@section
def threshold(
    p: Device, v_ds: float, v_b: float, root_phi: float, per_root: float, short: float, narrow: float
) -> tuple[float, float]:
    """Threshold voltage and subthreshold slope factor."""
    dibl = dibl_limit(p.eta0 + p.etab * v_b) * p.dibl_decay
    v_th = (
        p.vth_constant
        + p.vth_per_root * root_phi
        + p.vth_per_body * v_b
        - p.vth_short * short
        - p.vth_narrow * narrow
        - dibl * v_ds
    )
    coupling = p.slope_depletion * per_root + (p.slope_cdsc + p.slope_cdscb * v_b + p.slope_cdscd * v_ds) * short
    return v_th, one_plus(coupling + p.slope_traps)


@compiled
def behind_poly(p: Device, v_g: float) -> float:
    """The gate voltage that is left behind the depletion of the polysilicon gate."""
    above = v_g - p.poly_onset
    if above <= 0.0 or p.two_per_poly <= 0.0:
        return v_g
    psi = 2.0 * above / (1.0 + sqrt(1.0 + p.two_per_poly * above))
    w = 1.07 - 0.25 * p.two_per_poly * psi * psi
    return v_g - (1.12 - 0.5 * (w + sqrt(w * w + 0.224)))


@compiled
def gate_drives(p: Device, v_gt: float, slope: float) -> tuple[float, float]:
    """Effective drives of current and of charges: v_gt in strong inversion, exponential below threshold."""
    n_vt = slope * p.vt
    per_n_vt = 1.0 / n_vt
    depth = limited_exp((p.v_off - (1.0 - p.m_star) * v_gt) * per_n_vt)
    v_gst = soft_positive(p.m_star * v_gt, n_vt, per_n_vt) / (p.m_star + slope * p.cox_over_cdep * depth)
    return v_gst, soft_positive(v_gt - p.v_off_cv, p.noff * n_vt, p.per_noff * per_n_vt)


# --- Mobility, resistance, bulk charge, saturation


@section
def resistance(p: Device, v_gst: float, root_phi: float) -> tuple[float, float]:
    """Effective drives of current and of charges: v_gt in strong inversion, exponential below threshold."""
    excess = root_phi - p.root_phi0
    width = width_limit(p.width0 - 2.0 * p.dwg * v_gst - 2.0 * p.dwb * excess)
    g = 1.0 / (1.0 + p.prwg * v_gst) + p.prwb * excess
    return width, p.r_min + p.r_half * (g + sqrt(g * g + 0.01))


@section
def bulk_charge(p: Device, v_gst: float, v_b: float, per_root: float, depth: float) -> tuple[float, float, float]:
    """Bulk charge factor at zero gate drive, at this drive, and the latter without its body factor."""
    share = p.length / (p.length + p.junction_reach * depth)
    body = p.bulk_per_root * per_root + p.bulk_constant
    along = p.a0 * share
    a_zero = 1.0 + body * (along + p.bulk_narrow)
    a_drive = bulk_charge_limit(a_zero - body * along * p.ags * share * share * v_gst)
    factor = 1.0 / divisor(p.keta * v_b)
    return bulk_charge_limit(a_zero) * factor, a_drive * factor, a_drive


@section
def mobility_divisor(p: Device, v_gst: float, v_th: float, v_b: float) -> float:
    """What the gate's field divides the carriers' mobility by."""
    field = (v_gst + 2.0 * v_th) * p.per_toxe
    return mobility_loss(field * (p.ua + p.uc * v_b + p.ub * field))


@section
def saturation(
    p: Device, v_gst: float, a_bulk: float, field_length: float, drive: float, per_drive: float, resistive: float
) -> tuple[float, float]:
    """Saturation voltage, and the inverse of the Early voltage at it.

    drive: v_gst + 2 vt. resistive: width * vsat * oxide capacitance * series resistance, a pure number.
    """
    if p.sat_linear > 0.0:
        v_dsat = field_length * drive / (a_bulk * field_length + drive)
    else:
        product = a_bulk * resistive
        qa = 2.0 * a_bulk * (product - 1.0 + p.per_lambda)
        qb = drive * (2.0 * p.per_lambda - 1.0) + a_bulk * field_length + 3.0 * product * drive
        qc = drive * (field_length + 2.0 * resistive * drive)
        v_dsat = (qb - sqrt(qb * qb - 2.0 * qa * qc)) / qa
    above = field_length + v_dsat + 2.0 * resistive * v_gst * (1.0 - 0.5 * a_bulk * v_dsat * per_drive)
    return v_dsat, (2.0 * p.per_lambda - 1.0 + resistive * a_bulk) / above


# --- Current


@compiled
def gate_capacitance(p: Device, v: float) -> float:
    """Capacitance to the inversion charge per area over that of the silicon alone and the oxide alone (see `prepare`).

    The charge lies 1.9 nm/(1 + thinning) from the oxide; v is an effective gate drive.
    """
    w = 1.0 + exp(0.7 * log((v + p.v_depth) * p.per_depth))
    return w / (w + p.inversion_share)


@section
def current(
    p: Device,
    v_gst: float,
    v_b: float,
    a_bulk: float,
    loss: float,
    width: float,
    r_ds: float,
    drive: float,
    per_drive: float,
    v_dsat: float,
    per_early: float,
    v_ds: float,
    v_dseff: float,
) -> tuple[float, float]:
    """Channel current and impact ionisation current."""
    beyond = v_ds - v_dseff
    g_ch = p.beta_per_width * gate_capacitance(p, v_gst) * width * v_gst * (1.0 - 0.5 * a_bulk * v_dseff * per_drive)
    g_in = g_ch / (loss + v_dseff * p.per_field_length + g_ch * r_ds)

    # Channel length modulation, drain-induced barrier lowering, then substrate-current-induced body effect.
    if p.clm_scale > 0.0 and beyond > 1e-10:
        c_clm = (1.0 + r_ds * g_in) * (p.length + v_dsat * p.length * p.per_field_length / loss) * p.clm_scale
        clm = 1.0 + log(1.0 + c_clm * beyond * per_early) / c_clm
    else:
        clm = 1.0 + log(1.0 + EXP_HIGH * per_early) / EXP_HIGH
    if p.dibl_output > EXP_LOW:
        per_dibl = p.dibl_output * (drive + a_bulk * v_dsat) * per_drive * per_drive * divisor(p.pdiblcb * v_b)
        dibl = 1.0 + beyond * per_dibl
    else:
        dibl = 1.0 + beyond / EXP_HIGH
    i_out = g_in * dibl * clm * v_dseff
    scbe, impact = beyond_saturation(p, beyond)
    return i_out * (1.0 + scbe), impact * i_out


@compiled
def beyond_saturation(p: Device, beyond: float) -> tuple[float, float]:
    """What the drain voltage beyond saturation adds: to the current, and as substrate current, relative to it."""
    hot = beyond > p.scbe_onset / EXPONENT_LIMIT
    ionising = beyond > p.beta0 / EXPONENT_LIMIT
    if not (hot or ionising):
        return beyond * p.per_scbe / EXP_HIGH, p.impact * beyond * EXP_LOW
    inverse = 1.0 / beyond
    if hot:
        scbe = beyond * p.per_scbe * exp(-p.scbe_onset * inverse)
    else:
        scbe = beyond * p.per_scbe / EXP_HIGH
    if ionising:
        impact = p.impact * beyond * exp(-p.beta0 * inverse)
    else:
        impact = p.impact * beyond * EXP_LOW
    return scbe, impact


# --- Charges


@section
def depletion_charge(p: Device, v_ge: float, v_b: float, v_cv: float) -> tuple[float, float]:
    """Charge of the gate against accumulation, and against the depletion layer."""
    v = p.vfb_zero - v_ge + v_b - 0.02
    vfb = p.vfb_zero - 0.5 * (v + sqrt(v * v + p.vfb_rounding))
    t = p.debye - p.debye * limited_exp(p.accumulation * (v_ge - v_b - p.vfb_zero)) - p.debye_link
    thickness = p.debye - 0.5 * (t + sqrt(t * t + 4.0 * p.debye_link * p.debye))
    c = p.area_series / (p.eps_silicon + p.c_oxide * thickness)
    q_acc = c * (vfb - p.vfb_zero)
    h = v_ge - vfb - v_b - v_cv
    if p.k1_ox == 0.0:
        q_sub = 0.0
    elif h < 0.0:
        q_sub = c * h
    else:
        q_sub = c * p.k1_ox * (sqrt(0.25 * p.k1_ox * p.k1_ox + h) - 0.5 * p.k1_ox)
    return q_acc, q_sub


@compiled
def surface_drive(p: Device, v_cv: float) -> float:
    """Gate drive of the charges less the rise of the surface potential that it causes."""
    y = v_cv - p.vt * log(1.0 + v_cv * (v_cv + p.surface_offset) * p.surface_scale) - 0.001
    return 0.5 * (y + sqrt(y * y + 0.004 * v_cv))


@compiled
def drain_cv(p: Device, v_x: float, a_cv: float, v_ds: float) -> float:
    """The charges' effective drain voltage.

    In the saturated branch the reference leaves a factor out of the derivative with respect to the body, along the
    path through a_cv; the charge itself is right. `p.reference_ac` = 1 repeats that in the derivative alone.
    """
    v_sat = v_x / a_cv
    v = bounded_drain(v_sat, v_ds, 0.02)
    if v_sat - v_ds - 0.02 < 0.0 and v_ds != 0.0:
        left_out = hold(p.reference_ac * (v_sat - v) * a_cv) / a_cv
        v = v + (left_out - hold(left_out))
    return v


@compiled
def inversion_charge(p: Device, v_cv: float, a_cv: float, v_ds: float) -> tuple[float, float, float]:
    """Inversion charge seen by the gate, its bulk part, and the source's share of 40 % at saturation."""
    v_x = surface_drive(p, v_cv)
    c = p.area_oxide * gate_capacitance(p, v_cv)
    v_d = drain_cv(p, v_x, a_cv, v_ds)
    a = a_cv * v_d
    mean = v_x - 0.5 * a + 1e-20
    per_mean = 1.0 / mean
    ratio = 1.0 / 12.0 * a * per_mean
    q_inv = c * (v_x - 0.5 * a + a * ratio)
    q_bulk = c * (1.0 - a_cv) * (0.5 * v_d - v_d * ratio)
    cubic = v_x * v_x * v_x - a * (v_x * (4.0 / 3.0 * v_x - 2.0 / 3.0 * a) + 2.0 / 15.0 * a * a)
    return q_inv, q_bulk, -0.5 * c * per_mean * per_mean * cubic


# --- The whole channel


@compiled
def channel(p: Device, v_gs: float, v_ds: float, v_bs: float) -> Channel:
    """Currents and intrinsic charges of one finger, v_ds >= 0."""
    v_b = effective_body(p, v_bs)
    root_phi, per_root, depth, short, narrow = depletion(p, v_b)
    v_th, slope = threshold(p, v_ds, v_b, root_phi, per_root, short, narrow)
    v_ge = behind_poly(p, v_gs)
    v_gst, v_cv = gate_drives(p, v_ge - v_th, slope)

    # Two chains of dependent steps, current and charges; written in turns, the processor works on both at a time.
    width, r_ds = resistance(p, v_gst, root_phi)
    a_bulk_zero, a_bulk, a_bulk_flicker = bulk_charge(p, v_gst, v_b, per_root, depth)
    loss = mobility_divisor(p, v_gst, v_th, v_b)
    drive = v_gst + 2.0 * p.vt
    per_drive = 1.0 / drive
    field_length = p.field_length * loss
    q_acc, q_sub = depletion_charge(p, v_ge, v_b, v_cv)
    v_dsat, per_early = saturation(p, v_gst, a_bulk, field_length, drive, per_drive, width * p.vsat_cox * r_ds)
    v_dseff = bounded_drain(v_dsat, v_ds, p.delta)
    q_inv, q_bulk, q_s = inversion_charge(p, v_cv, a_bulk_zero * p.bulk_cv, v_ds)
    i_ds, i_sub = current(p, v_gst, v_b, a_bulk, loss, width, r_ds, drive, per_drive, v_dsat, per_early, v_ds, v_dseff)

    q_g = q_inv - q_bulk + q_acc + q_sub
    q_b = q_bulk - q_acc - q_sub
    mobility = p.u0 / loss
    x_dep = p.x_dep0 * depth * depth
    return Channel(
        i_ds, i_sub, q_g, q_b, q_s, v_th, v_dsat, v_dseff, v_gst, v_b, slope, mobility,
        a_bulk, a_bulk_flicker, field_length, x_dep,
    )  # fmt: skip


# --- Around the channel


@compiled
def gate_induced_leakage(p: Device, v_g: float, v_ds: float, v_db: float) -> float:
    """Current from one end (drain, say) to the body under the gate's edge.

    :param v_g: gate to that end's opposite (gate to source for the drain). :param v_ds: end to opposite end.
    :param v_db: end to body.
    """
    field = (v_ds - behind_poly(p, v_g) - p.egidl) * p.per_three_toxe
    if p.gidl_width <= 0.0 or p.bgidl <= 0.0 or p.cgidl <= 0.0 or field <= 0.0 or v_db < 0.0:
        return 0.0
    if p.bgidl < GIDL_LIMIT * field:
        factor = exp(-p.bgidl / field)
    else:
        factor = GIDL_LOW
    cube = v_db * v_db * v_db
    return p.gidl_width * field * factor * cube / (p.cgidl + cube)


@compiled
def overlap_charge(v: float, per_volt: float, bias_dependent: float, kappa: float) -> float:
    """Charge of a gate edge of which a part of the capacitance depends on the bias, in C."""
    if bias_dependent == 0.0:
        return per_volt * v
    shifted = v + 0.02
    low = 0.5 * (shifted - sqrt(shifted * shifted + 0.08))
    return per_volt * v + bias_dependent * (v - low - 0.5 * kappa * (sqrt(1.0 - 4.0 * low / kappa) - 1.0))


@compiled
def junction_current(v: float, i_sat: float, n_vt: float, v_forward: float) -> float:
    """Current of a junction, positive from body to diffusion; a straight line above v_forward."""
    if v < -EXPONENT_LIMIT * n_vt:
        return i_sat * (EXP_LOW - 1.0)
    if v <= v_forward:
        return i_sat * (exp(v / n_vt) - 1.0)
    i_forward = i_sat * exp(v_forward / n_vt)
    return i_forward - i_sat + i_forward / n_vt * (v - v_forward)


@compiled
def reverse_charge(v: float, c: float, potential: float, grading: float) -> float:
    """Charge of one part of a junction in reverse bias, in C; c is its capacitance at zero bias."""
    return potential * c / (1.0 - grading) * (1.0 - exp((1.0 - grading) * log(1.0 - v / potential)))
