"""A device as the equations see it: all that depends on card, size and temperature but not on bias, computed once.

`prepare` turns cards (`card.read_card`), sizes and temperatures into an array of `DEVICE` records, one per transistor.
Units are SI, voltages those of the equivalent n-channel device.
"""

from typing import NamedTuple

import numpy as np


class Device(NamedTuple):
    """What an equation reads as `p`: a record of `DEVICE`, or this tuple of the same fields in the same order."""

    polarity: float
    """+1 for nmos, -1 for pmos."""
    fingers: float
    """Multiplier times fingers: scales the channel and its edges."""
    multiplier: float
    """Scales junctions, body network and diffusion resistances."""
    temperature: float
    """In kelvin."""
    vt: float
    """Thermal voltage."""

    # Threshold
    v_b_low: float
    v_b_high: float
    phi: float
    """Surface potential."""
    root_phi0: float
    per_root_phi0: float
    x_dep0: float
    """Depth of the depletion layer at zero bias, in m."""
    short_decay: float
    narrow_decay: float
    dvt2: float
    dvt2w: float
    vth_constant: float
    vth_per_root: float
    vth_per_body: float
    vth_short: float
    vth_narrow: float
    eta0: float
    etab: float
    dibl_decay: float
    slope_depletion: float
    slope_cdsc: float
    slope_cdscb: float
    slope_cdscd: float
    slope_traps: float
    poly_onset: float
    two_per_poly: float
    """In 1/V; 0 when the gate does not deplete."""
    m_star: float
    v_off: float
    cox_over_cdep: float

    # Mobility, resistance, saturation
    length: float
    width0: float
    dwg: float
    dwb: float
    prwg: float
    prwb: float
    r_min: float
    r_half: float
    bulk_per_root: float
    bulk_constant: float
    bulk_narrow: float
    a0: float
    ags: float
    keta: float
    junction_reach: float
    per_toxe: float
    u0: float
    ua: float
    ub: float
    uc: float
    field_length: float
    """Saturation field times length, in V, at the mobility u0."""
    per_field_length: float
    beta_per_width: float
    """u0 times the oxide's capacitance over the length."""
    vsat_cox: float
    per_lambda: float
    sat_linear: float
    """1 when neither resistance nor a2 shapes the saturation voltage, else 0."""
    delta: float

    # Current
    v_depth: float
    per_depth: float
    eps_silicon: float
    c_oxide: float
    inversion_share: float
    """Distance of the inversion charge without drive, as oxide of the same capacitance, over the oxide's thickness."""
    clm_scale: float
    """0 without channel length modulation."""
    dibl_output: float
    pdiblcb: float
    scbe_onset: float
    per_scbe: float
    impact: float
    """Coefficient of the substrate current in 1/V; 0 when it is off."""
    beta0: float
    gidl_width: float
    bgidl: float
    cgidl: float
    egidl: float
    per_three_toxe: float

    # Charges
    noff: float
    per_noff: float
    v_off_cv: float
    vfb_zero: float
    vfb_rounding: float
    accumulation: float
    debye: float
    debye_link: float
    area_oxide: float
    area_series: float
    k1_ox: float
    surface_offset: float
    surface_scale: float
    bulk_cv: float
    reference_ac: float
    """1 to repeat the reference's derivative by the body (see `transistor.drain_cv`), 0 for the exact one."""
    overlap_s: float
    overlap_d: float
    overlap_bias_s: float
    overlap_bias_d: float
    kappa_s: float
    kappa_d: float
    overlap_b: float

    # Junctions of source and drain
    i_sat_s: float
    n_vt_s: float
    v_forward_s: float
    c_zero_s: float
    c_slope_s: float
    c_bottom_s: float
    pb_bottom_s: float
    m_bottom_s: float
    c_side_s: float
    pb_side_s: float
    m_side_s: float
    c_gate_s: float
    pb_gate_s: float
    m_gate_s: float
    i_sat_d: float
    n_vt_d: float
    v_forward_d: float
    c_zero_d: float
    c_slope_d: float
    c_bottom_d: float
    pb_bottom_d: float
    m_bottom_d: float
    c_side_d: float
    pb_side_d: float
    m_side_d: float
    c_gate_d: float
    pb_gate_d: float
    m_gate_d: float

    # Body network (conductances of one instance) and series resistances of the diffusions (0: none)
    g_bi_sb: float
    g_bi_db: float
    g_bi_b: float
    g_b_sb: float
    g_b_db: float
    r_drain: float
    r_source: float

    # Noise
    tnoia_length: float
    tnoib_length: float
    rnoia: float
    rnoib: float
    noia: float
    noib: float
    noic: float
    em: float
    ef: float
    flicker_length: float
    litl: float
    vsat: float
    cox: float
    traps: float
    """Interface trap capacitance cit, in F/m^2."""


DEVICE = np.dtype([(name, np.float64) for name in Device._fields])
"""Record type of a prepared device; every field is a float64, so that an array of them is also a float64 matrix."""
