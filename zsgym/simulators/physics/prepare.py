"""From cards, sizes and temperatures to prepared devices: everything in BSIM4 that comes before the bias."""

from collections.abc import Sequence
from math import atan, exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.simulators.physics.card import CARD, EPS_VACUUM, PARAMETERS
from zsgym.simulators.physics.compiling import compiled
from zsgym.simulators.physics.device import DEVICE
from zsgym.simulators.physics.transistor import EXP_LOW, decay

CHARGE = 1.60219e-19
"""Of the electron, in C. The reference computes with two values: this one, and that of CODATA."""
CHARGE_CODATA = 1.6021766208e-19
EPS_SILICON = 1.03594e-10
KELVIN_VOLT = 8.617087e-5
"""Boltzmann's constant over the charge, in V/K."""
INVERSION_THICKNESS = 1.9e-9
"""Distance of the inversion charge from the oxide without drive, in m."""
PI = 3.141592654
KELVIN = 273.15
SATURATION_CURRENT = 1e-14
"""What a junction without area and perimeter gets, in A."""

_INSTANCE = ("w", "l", "nf", "m", "ad", "as_", "pd", "ps", "nrd", "nrs", "temperature")
GEOMETRY = np.dtype([(name, np.float64) for name in _INSTANCE])
"""An instance: drawn width and length (m), fingers, multiplier, diffusion areas (m^2), perimeters (m), squares, and
temperature (degrees Celsius)."""

_REASONS = (
    "",
    "the effective width or length is not positive",
    "lpe0 or lpeb is below minus the effective length",
    "dvt1, dvt1w, dsub or drout is negative",
    "the mobility u0 is not positive at this temperature",
    "the saturation velocity vsat is not positive at this temperature",
    "pclm is not positive",
    "delta is negative",
    "w0 or b1 is minus the effective width",
    "ngate is negative or above 1e25 cm^-3",
    "ndep, xj or the surface potential is not positive",
    "lintnoi exceeds half the effective length",
    "clc is negative",
    "fingers or multiplier are out of range",
)


@compiled
def _effective_sizes(c: Any, g: Any) -> tuple[float, float, float, float, float]:
    """Length and width of the channel, of its charges, and width of the junctions' gate edge, in m."""
    length = g.l + c.xl
    width = g.w / g.nf + c.xw
    a, b = length**c.lln, width**c.lwn
    short = c.ll / a + c.lw / b + c.lwl / (a * b)
    short_cv = c.llc / a + c.lwc / b + c.lwlc / (a * b)
    a, b = length**c.wln, width**c.wwn
    narrow = c.wl / a + c.ww / b + c.wwl / (a * b)
    narrow_cv = c.wlc / a + c.wwc / b + c.wwlc / (a * b)
    return (
        length - 2.0 * (c.lint + short),
        width - 2.0 * (c.wint + narrow),
        length - 2.0 * (c.dlc + short_cv),
        width - 2.0 * (c.dwc + narrow_cv),
        width - 2.0 * (c.dwj + narrow_cv),
    )


@compiled
def _band_gap(kelvin: float) -> float:
    return 1.16 - 7.02e-4 * kelvin * kelvin / (kelvin + 1108.0)


@compiled
def _refusal(c: Any, g: Any, length: float, width: float) -> int:
    """Number of the reason why a binned card is refused at a size, or 0."""
    if c.lpe0 < -length or c.lpeb < -length:
        return 2
    if c.dvt1 < 0.0 or c.dvt1w < 0.0 or c.dsub < 0.0 or c.drout < 0.0:
        return 3
    if c.pclm <= 0.0:
        return 6
    if c.delta < 0.0:
        return 7
    if c.w0 == -width or c.b1 == -width:
        return 8
    if c.ngate < 0.0 or c.ngate > 1e25:
        return 9
    if c.ndep <= 0.0 or c.xj <= 0.0:
        return 10
    if c.lintnoi > 0.5 * length:
        return 11
    if c.clc < 0.0:
        return 12
    if g.nf < 1.0 or g.m <= 0.0:
        return 13
    return 0


@compiled
def _fill(c: Any, g: Any, sizes: tuple[float, float, float, float, float], p: Any) -> int:
    """Write one device; the number of a refusal's reason, or 0."""
    length, width, length_cv, width_cv, width_j = sizes
    kelvin = g.temperature + KELVIN
    nominal = c.tnom + KELVIN
    vt0 = KELVIN_VOLT * nominal
    p.polarity = c.polarity
    p.fingers = g.m * g.nf
    p.multiplier = g.m
    p.temperature = kelvin
    p.vt = KELVIN_VOLT * kelvin

    # Built-in quantities stand at the nominal temperature.
    intrinsic = 1.45e10 * (nominal / 300.15) ** 1.5 * exp(21.5565981 - _band_gap(nominal) / (2.0 * vt0))
    phi = 0.4 + vt0 * log(c.ndep / intrinsic) + c.phin
    if phi <= 0.0:
        return 10
    root_phi = sqrt(phi)
    barrier = vt0 * log(c.nsd * c.ndep / (intrinsic * intrinsic)) - phi
    doping = CHARGE * 1e6 * c.ndep
    x_dep0 = sqrt(2.0 * EPS_SILICON * phi / doping)
    c_dep0 = sqrt(0.5 * EPS_SILICON * doping / phi)
    cox = c.epsrox * EPS_VACUUM / c.toxe
    toxp = c.toxe - c.dtox
    decay_root = sqrt(EPS_SILICON / (c.epsrox * EPS_VACUUM) * c.toxe)
    _fill_threshold(c, p, length, width, phi, barrier, x_dep0, decay_root)
    p.cox_over_cdep = cox / c_dep0
    p.x_dep0 = x_dep0
    p.slope_depletion = c.nfactor * EPS_SILICON / cox * root_phi / x_dep0
    p.slope_cdsc = c.cdsc / cox
    p.slope_cdscb = c.cdscb / cox
    p.slope_cdscd = c.cdscd / cox
    p.slope_traps = c.cit / cox
    p.poly_onset = c.polarity * c.vth0 - c.k1 * root_phi
    depletes = 1e18 < c.ngate < 1e25
    p.two_per_poly = 2.0 * cox * cox / (1e6 * CHARGE_CODATA * EPS_SILICON * c.ngate) if depletes else 0.0
    p.v_depth = max(4.0 * c.k1 * root_phi, 0.0)
    p.per_depth = 1.0 / (2e8 * toxp)
    p.eps_silicon = EPS_SILICON
    p.c_oxide = c.epsrox * EPS_VACUUM / toxp
    p.inversion_share = p.c_oxide * INVERSION_THICKNESS / EPS_SILICON
    refusal = _fill_mobility(c, p, length, width, width_j, kelvin / nominal)
    if refusal:
        return refusal
    p.beta_per_width = p.u0 * p.c_oxide / length
    p.vsat_cox = p.vsat * cox
    p.junction_reach = 2.0 * sqrt(c.xj * x_dep0)
    _fill_output(c, p, length, width_j, decay(c.drout * length / (decay_root * sqrt(x_dep0))))
    debye = sqrt(EPS_SILICON * vt0 / doping) / 3.0
    _fill_charges(c, p, length_cv, width_cv, root_phi, toxp, debye)
    _fill_surroundings(c, g, p, kelvin, nominal, width_j)

    p.tnoia_length, p.tnoib_length = c.tnoia * length, c.tnoib * length
    p.rnoia, p.rnoib = c.rnoia, c.rnoib
    p.noia, p.noib, p.noic, p.em, p.ef = c.noia, c.noib, c.noic, c.em, c.ef
    p.flicker_length = length - 2.0 * c.lintnoi
    p.cox = cox
    p.traps = c.cit
    return 0


@compiled
def _fill_threshold(
    c: Any, p: Any, length: float, width: float, phi: float, barrier: float, x_dep0: float, decay_root: float
) -> None:
    root_phi = sqrt(phi)
    low = -30.0
    if c.k2 < 0.0:
        low = min(max(0.9 * (phi - (0.5 * c.k1 / c.k2) ** 2), -30.0), -3.0)
    p.v_b_low = min(low, c.vbm)
    p.v_b_high = 0.95 * phi
    p.phi = phi
    p.root_phi0 = root_phi
    p.per_root_phi0 = 1.0 / root_phi
    decay_length = decay_root * sqrt(x_dep0)
    p.short_decay = c.dvt1 * length / decay_length
    p.narrow_decay = c.dvt1w * width * length / decay_length
    p.dvt2, p.dvt2w = c.dvt2, c.dvt2w

    k1, k2 = c.k1 * c.toxe / c.toxm, c.k2 * c.toxe / c.toxm
    pocket_body = sqrt(1.0 + c.lpeb / length)
    tau = p.temperature / (c.tnom + KELVIN) - 1.0
    narrow_width = c.toxe * phi / (width + c.w0)
    drive = c.kt1 + c.kt1l / length
    pocket = k1 * (sqrt(1.0 + c.lpe0 / length) - 1.0) * root_phi
    p.vth_constant = c.polarity * c.vth0 - c.k1 * root_phi * pocket_body + pocket + c.k3 * narrow_width + drive * tau
    p.vth_per_root = k1 * pocket_body
    p.vth_per_body = c.k3b * narrow_width - k2 + c.kt2 * tau
    p.vth_short, p.vth_narrow = c.dvt0 * barrier, c.dvt0w * barrier
    p.eta0, p.etab = c.eta0, c.etab
    p.dibl_decay = decay(c.dsub * length / decay_length)
    p.bulk_per_root = 0.5 * k1 * pocket_body
    p.bulk_constant = k2 - c.k3b * narrow_width
    p.m_star = 0.5 + atan(c.minv) / PI
    p.v_off = c.voff + c.voffl / length
    p.k1_ox = k1
    ends = c.dvt0 * decay(p.short_decay) + c.dvt0w * decay(p.narrow_decay)
    p.vfb_zero = (
        c.polarity * c.vth0 - phi - c.k1 * root_phi + pocket + drive * tau + c.k3 * narrow_width - barrier * ends
    )
    p.vfb_rounding = 0.08 * abs(p.vfb_zero)


@compiled
def _fill_mobility(c: Any, p: Any, length: float, width: float, width_j: float, ratio: float) -> int:
    tau = ratio - 1.0
    p.length, p.width0 = length, width
    p.dwg, p.dwb = c.dwg, c.dwb
    p.prwg, p.prwb = max(c.prwg, 0.0), c.prwb
    squares = (1e6 * width_j) ** c.wr
    p.r_min = max(c.rdswmin + c.prt * tau, 0.0) / squares
    p.r_half = 0.5 * max(c.rdsw + c.prt * tau, 0.0) / squares if c.rdsw >= 0.0 else 0.0
    p.bulk_narrow = c.b0 / (width + c.b1)
    p.a0, p.ags, p.keta = c.a0, c.ags, c.keta
    p.per_toxe = 1.0 / c.toxe
    u0 = c.u0 / 1e4 if c.u0 > 1.0 else c.u0  # given in cm^2/Vs
    p.u0 = u0 * ratio**c.ute
    p.ua, p.ub, p.uc = c.ua + c.ua1 * tau, c.ub + c.ub1 * tau, c.uc + c.uc1 * tau
    p.vsat = c.vsat - c.at * tau
    if p.u0 <= 0.0:
        return 4
    if p.vsat <= 0.0:
        return 5
    p.field_length = 2.0 * p.vsat * length / p.u0
    p.per_field_length = 1.0 / p.field_length
    a2 = min(max(c.a2, 0.01), 1.0)
    p.per_lambda = 1.0 / a2
    p.sat_linear = 1.0 if a2 == 1.0 and p.r_min == 0.0 and p.r_half == 0.0 else 0.0
    p.delta = c.delta
    return 0


@compiled
def _fill_output(c: Any, p: Any, length: float, width_j: float, output_decay: float) -> None:
    p.litl = sqrt(3.0 * c.xj * c.toxe)
    p.clm_scale = 1.0 / (c.pclm * p.litl) if c.pclm > EXP_LOW else 0.0
    p.dibl_output = c.pdiblc1 * output_decay + c.pdiblc2
    p.pdiblcb = c.pdiblcb
    p.scbe_onset = c.pscbe1 * p.litl
    p.per_scbe = c.pscbe2 / length
    if c.pscbe2 <= 0.0:
        p.scbe_onset, p.per_scbe = 1e30, 1.0
    strength = c.alpha0 + c.alpha1 * length
    p.impact = strength / length if strength > 0.0 and c.beta0 > 0.0 else 0.0
    p.beta0 = c.beta0 if p.impact > 0.0 else 1e30
    p.gidl_width = c.agidl * width_j
    p.bgidl, p.cgidl, p.egidl = c.bgidl, c.cgidl, c.egidl
    p.per_three_toxe = 1.0 / (3.0 * c.toxe)


@compiled
def _fill_charges(
    c: Any, p: Any, length_cv: float, width_cv: float, root_phi: float, toxp: float, debye: float
) -> None:
    p.noff, p.per_noff = c.noff, 1.0 / c.noff
    p.v_off_cv = c.voffcv
    p.accumulation = c.acde * (c.ndep / 2e16) ** -0.25 / (1e8 * toxp)
    p.debye = debye
    p.debye_link = 1e-3 * toxp
    p.area_oxide = width_cv * length_cv * p.c_oxide
    p.area_series = p.area_oxide * EPS_SILICON
    if p.k1_ox > 0.0:
        p.surface_offset = 2.0 * p.k1_ox * root_phi
        p.surface_scale = 1.0 / (c.moin * p.vt * p.k1_ox * p.k1_ox)
    else:
        p.surface_offset = root_phi
        p.surface_scale = 1.0 / (0.25 * c.moin * p.vt)
    p.bulk_cv = 1.0 + (c.clc / length_cv) ** c.cle
    p.overlap_s = max((c.cgso + c.cf) * width_cv, 0.0)
    p.overlap_d = max((c.cgdo + c.cf) * width_cv, 0.0)
    p.overlap_bias_s, p.overlap_bias_d = c.cgsl * width_cv, c.cgdl * width_cv
    p.kappa_s, p.kappa_d = max(c.ckappas, 0.02), max(c.ckappad, 0.02)
    p.overlap_b = max(c.cgbo * length_cv, 0.0)


@compiled
def _body_conductance(resistance: float, least: float) -> float:
    return 1e3 if resistance < 1e-3 else 1.0 / resistance + least


@compiled
def _fill_surroundings(c: Any, g: Any, p: Any, kelvin: float, nominal: float, width_j: float) -> None:
    edge = g.nf * width_j
    heat = _band_gap(nominal) / (KELVIN_VOLT * nominal) - _band_gap(kelvin) / p.vt
    warm = log(kelvin / nominal)
    area, side = g.as_, g.ps - edge
    density = exp((heat + c.xtis * warm) / c.njs)
    p.i_sat_s = _saturation_current(area, side, edge, c.jss * density, c.jsws * density, c.jswgs * density)
    p.n_vt_s = c.njs * p.vt
    p.v_forward_s = _forward_limit(p.n_vt_s, p.i_sat_s, c.ijthsfwd)
    density = exp((heat + c.xtid * warm) / c.njd)
    p.i_sat_d = _saturation_current(g.ad, g.pd - edge, edge, c.jsd * density, c.jswd * density, c.jswgd * density)
    p.n_vt_d = c.njd * p.vt
    p.v_forward_d = _forward_limit(p.n_vt_d, p.i_sat_d, c.ijthdfwd)

    rise = kelvin - nominal
    bottom, edges, gate = 1.0 + c.tcj * rise, 1.0 + c.tcjsw * rise, 1.0 + c.tcjswg * rise
    p.c_bottom_s, p.c_bottom_d = max(c.cjs * bottom, 0.0) * area, max(c.cjd * bottom, 0.0) * g.ad
    p.c_side_s, p.c_side_d = max(c.cjsws * edges, 0.0) * side, max(c.cjswd * edges, 0.0) * (g.pd - edge)
    p.c_gate_s, p.c_gate_d = max(c.cjswgs * gate, 0.0) * edge, max(c.cjswgd * gate, 0.0) * edge
    p.pb_bottom_s, p.pb_bottom_d = _potential(c.pbs, c.tpb * rise), _potential(c.pbd, c.tpb * rise)
    p.pb_side_s, p.pb_side_d = _potential(c.pbsws, c.tpbsw * rise), _potential(c.pbswd, c.tpbsw * rise)
    p.pb_gate_s, p.pb_gate_d = _potential(c.pbswgs, c.tpbswg * rise), _potential(c.pbswgd, c.tpbswg * rise)
    p.m_bottom_s, p.m_side_s, p.m_gate_s = c.mjs, c.mjsws, c.mjswgs
    p.m_bottom_d, p.m_side_d, p.m_gate_d = c.mjd, c.mjswd, c.mjswgd
    p.c_zero_s = p.c_bottom_s + p.c_side_s + p.c_gate_s
    p.c_zero_d = p.c_bottom_d + p.c_side_d + p.c_gate_d
    p.c_slope_s = c.mjs * p.c_bottom_s / p.pb_bottom_s + c.mjsws * p.c_side_s / p.pb_side_s
    p.c_slope_s += c.mjswgs * p.c_gate_s / p.pb_gate_s
    p.c_slope_d = c.mjd * p.c_bottom_d / p.pb_bottom_d + c.mjswd * p.c_side_d / p.pb_side_d
    p.c_slope_d += c.mjswgd * p.c_gate_d / p.pb_gate_d

    p.g_bi_sb = _body_conductance(c.rbps, c.gbmin)
    p.g_bi_db = _body_conductance(c.rbpd, c.gbmin)
    p.g_bi_b = _body_conductance(c.rbpb, c.gbmin)
    p.g_b_sb = _body_conductance(c.rbsb, c.gbmin)
    p.g_b_db = _body_conductance(c.rbdb, c.gbmin)
    p.r_drain, p.r_source = c.rsh * g.nrd, c.rsh * g.nrs


@compiled
def _saturation_current(area: float, side: float, edge: float, bottom: float, walls: float, gate: float) -> float:
    if area <= 0.0 and side <= 0.0:
        return SATURATION_CURRENT
    return max(area * bottom + side * walls + edge * gate, 0.0)


@compiled
def _forward_limit(n_vt: float, i_sat: float, i_limit: float) -> float:
    """Voltage above which a junction's current goes on as a straight line."""
    return n_vt * log(1.0 + i_limit / i_sat) if i_sat > 0.0 else n_vt


@compiled
def _potential(nominal: float, drop: float) -> float:
    return max(max(nominal, 0.1) - drop, 0.01)


@compiled
def _prepare(
    cards: Any, rows: Any, which: Any, geometry: Any, row: Any, binned: Any, devices: Any, status: Any
) -> None:
    """`binned` is a card of one row and `row` its numbers; the two share memory, as do `cards` and `rows`."""
    for i in range(devices.shape[0]):
        k = which[i]
        sizes = _effective_sizes(cards[k, 0], geometry[i])
        if min(min(sizes[0], sizes[1]), min(sizes[2], min(sizes[3], sizes[4]))) <= 0.0:
            status[i] = 1
            continue
        a, b = 1.0 / sizes[0], 1.0 / sizes[1]
        for j in range(row.shape[0]):
            row[j] = rows[k, 0, j] + rows[k, 1, j] * a + rows[k, 2, j] * b + rows[k, 3, j] * (a * b)
        status[i] = _refusal(binned[0], geometry[i], sizes[0], sizes[1])
        if status[i] == 0:
            status[i] = _fill(binned[0], geometry[i], sizes, devices[i])


def prepare(cards: Sequence[NDArray[Any]], geometry: NDArray[Any], *, reference_ac: bool = True) -> NDArray[Any]:
    """Devices ready to be evaluated.

    :param cards: one card (`read_card`) a device; the same object may stand for many.
    :param geometry: (n,) array of `GEOMETRY`.
    :param reference_ac: repeat ngspice's derivative of the charges by the body voltage (`transistor.drain_cv`).
    :return: (n,) array of `DEVICE`.
    :raises ConfigError: a device that BSIM4 refuses; the message says why.
    """
    place: dict[int, int] = {}
    which = np.array([place.setdefault(id(card), len(place)) for card in cards], dtype=np.int64)
    unique = {id(card): card for card in cards}
    devices, status = prepare_many(np.stack([unique[key] for key in place]), which, geometry, reference_ac=reference_ac)
    refused = np.flatnonzero(status)
    if refused.size:
        first = int(refused[0])
        size = geometry[first]
        raise ConfigError(
            f"a transistor of W = {size['w'] * 1e6:g} um, L = {size['l'] * 1e6:g} um at {size['temperature']:g} C "
            f"has no model: {_REASONS[status[first]]}"
        )
    return devices


def prepare_many(
    cards: NDArray[Any], which: NDArray[np.int64], geometry: NDArray[Any], *, reference_ac: bool = True
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """`prepare` without an exception: devices, and (n,) zero where the device is one that BSIM4 accepts.

    :param cards: (k, 4) of `CARD`. :param which: (n,) number of each device's card.
    """
    devices = np.zeros(len(geometry), dtype=DEVICE)
    devices["reference_ac"] = float(reference_ac)
    status = np.zeros(len(geometry), dtype=np.int64)
    row = np.zeros(len(PARAMETERS), dtype=np.float64)
    rows = cards.view(np.float64).reshape(*cards.shape, len(PARAMETERS))
    _prepare(cards, rows, which, geometry, row, row.view(CARD), devices, status)
    return devices, status
