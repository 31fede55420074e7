"""Six points of the proven evaluator that the equations were first checked with: bias-free quantities to noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zsgym.pdk import load_corner
from zsgym.simulators.physics.card import read_card
from zsgym.simulators.physics.derivatives import channel_all
from zsgym.simulators.physics.noise import channel_noise
from zsgym.simulators.physics.prepare import GEOMETRY, prepare
from zsgym.simulators.physics.stamps import DRAIN, GATE, NODES, stamp
from zsgym.simulators.physics.transistor import channel

pytestmark = pytest.mark.ngspice  # for the models of the PDK

POINTS = (
    ("nmos", 1e-6, 0.15e-6, 27.0, (0.9, 0.9, 0.0)),
    ("nmos", 5e-6, 1e-6, 27.0, (0.5, 0.2, -0.5)),
    ("nmos", 5e-6, 1e-6, 125.0, (1.8, 1.8, 0.2)),
    ("pmos", 1e-6, 0.15e-6, 27.0, (0.9, 0.9, 0.0)),
    ("pmos", 5e-6, 1e-6, -40.0, (1.2, 0.05, -0.5)),
    ("pmos", 5e-6, 1e-6, 27.0, (1.8, 1.8, -0.8)),
)
"""Corner tt: kind, width, length (m), degrees Celsius, and Vgs, Vds, Vbs of the n-channel convention."""

EXPECTED = """
length | 1.26136e-07 9.76136e-07 9.76136e-07 1.77988e-07 1.027988e-06 1.027988e-06
width0 | 9.56282e-07 4.956282e-06 4.956282e-06 9.853922e-07 4.9853922e-06 4.9853922e-06
phi | 0.818838564 0.818838564 0.818838564 0.818838564 0.818838564 0.818838564
k1_ox | 0.90707349 0.57126962 0.57126962 1.4974388 0.51518623 0.51518623
vfb_zero | -0.870100815 -0.746319124 -0.834761039 -1.43520181 -0.158143351 -0.262906109
u0 | 0.0266352295 0.026125106 0.0205767545 0.00254463036 0.0084420854 0.00794563723
v_b | 1.77635684e-15 -0.499591978 0.199648114 0 -0.499591978 -0.799465767
v_th | 0.769406742 0.702110079 0.442868095 0.624344904 1.24049935 1.20074825
slope | 1.48612879 1.3223716 1.47040637 1.44569923 1.22485698 1.20306489
v_gst | 0.136415522 0.000305123952 1.35706672 0.277474625 0.0178641113 0.599226055
a_bulk | 1.1083854 1.18034731 0.953565089 1.13730638 1.0889509 1.0161912
mobility | 0.0323441595 0.0343889009 0.0180944263 0.0067600276 0.0136731164 0.00947472218
v_dsat | 0.128850027 0.0431366876 0.927014916 0.264096511 0.0526143532 0.565768753
v_dseff | 0.127204004 0.0405903923 0.916638214 0.26003328 0.0330740004 0.561238116
i_ds | 3.37732842e-05 9.75192299e-09 0.000583649724 1.19646471e-05 2.09143704e-07 6.46439154e-05
gm | 0.000280829351 2.70540647e-07 0.000729708734 7.85408174e-05 4.40116413e-06 0.000188946561
gds | 1.63655306e-05 3.11017309e-09 1.45216601e-05 9.67263204e-06 1.47862816e-06 9.24147607e-07
gmb | 4.94557727e-05 5.39603154e-08 0.000304340135 1.69556745e-05 9.10909881e-07 3.73220344e-05
i_sub | 4.67525061e-13 1.28365458e-23 1.20791055e-11 5.16218275e-14 5.90199909e-28 5.76206607e-12
drain current | 3.37732855e-05 9.75263299e-09 0.000583649738 1.19646481e-05 2.09144264e-07 6.46439238e-05
body current | -1.37752506e-12 -1.22e-12 -1.25906903e-11 -9.61621827e-13 -1.07e-12 -9.18206607e-12
q_g | 8.81495112e-16 2.03437674e-14 5.69854309e-14 1.63809227e-15 2.12172347e-14 3.96060218e-14
q_d | -7.60218485e-17 -4.87793182e-16 -1.45979405e-14 -1.23049732e-16 -1.24713861e-15 -6.76196318e-15
q_b | -6.91557483e-16 -1.91354881e-14 -2.05040445e-14 -1.33068303e-15 -1.84478009e-14 -2.27047945e-14
cgg | 7.65177616e-16 1.41948721e-14 3.08337532e-14 9.60307809e-16 2.3029197e-14 2.80880825e-14
cgd | 4.34181778e-19 -7.75147624e-17 -1.50124858e-17 6.08357595e-17 -7.00715884e-15 -1.74746305e-18
cgb | -2.04521016e-16 -5.43561989e-15 9.62791567e-16 -3.26791988e-16 -2.67368469e-15 -8.42847695e-16
cdg | -2.34296002e-16 -3.56561458e-15 -1.01892542e-14 -2.95846666e-16 -9.57575196e-15 -9.99587135e-15
cdd | -5.92548691e-20 8.8612789e-17 2.05336865e-17 -3.71239242e-17 6.72870839e-15 3.2914207e-18
cdb | -4.71043676e-17 -7.64777249e-16 -3.21110356e-15 -8.55424774e-17 -2.00963862e-15 -1.89488583e-15
cbg | -1.79913082e-16 -5.38404601e-15 -5.38400202e-15 -2.21450942e-16 -2.88326295e-15 -3.10765264e-15
cbd | 2.60946329e-21 -3.72438979e-17 -1.08394058e-17 3.24429434e-17 -2.54715628e-15 -1.07914841e-18
cbb | 3.22163395e-16 7.32273326e-15 7.05554692e-15 5.40375559e-16 6.88318785e-15 5.5779134e-15
gate charge | 1.10318898e-15 2.13291194e-14 5.92024092e-14 1.70492945e-15 2.20872168e-14 4.02733522e-14
drain charge | 8.55468529e-17 -1.95991707e-16 -1.33604042e-14 4.67935758e-17 -1.10958803e-15 -4.9212104e-15
body charge | -8.53137906e-16 -2.0296634e-14 -2.15203513e-14 -1.50072303e-15 -1.95296075e-14 -2.53190667e-14
gate capacitance | 1.25781764e-15 1.66581052e-14 3.32969862e-14 1.10716955e-15 2.37695067e-14 2.8822449e-14
drain capacitance | 3.86363458e-16 2.08764035e-15 1.79440057e-15 1.87931389e-16 7.98372738e-15 8.25661555e-16
thermal | 6.37478585e-24 6.0505063e-27 7.59603368e-23 1.742059e-24 4.30483901e-26 4.64072972e-24
flicker | 3.03851745e-19 1.15548766e-26 1.15972651e-19 2.29780259e-21 5.6706956e-25 1.97782519e-21
"""
"""Values at the points, in SI units, of the n-channel convention; one finger, without the body network."""


def quantities(
    kind: str, width: float, length: float, celsius: float, bias: tuple[float, float, float]
) -> dict[str, Any]:
    model = load_corner("tt").find(kind, width, length)
    assert model is not None
    geometry = np.zeros(1, dtype=GEOMETRY)
    geometry[0] = (width, length, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, celsius)
    p = prepare([read_card(kind, model.parameters)], geometry)[0]
    found: dict[str, Any] = {name: p[name] for name in p.dtype.names} | channel(p, *bias)._asdict()
    result = channel_all(p, *bias)
    found |= dict(zip(("gm", "gds", "gmb"), result[5:8], strict=True))
    rows = {name: np.array(result[11 + 3 * place : 14 + 3 * place]) for place, name in enumerate("gbs")}
    rows["d"] = -rows["g"] - rows["b"] - rows["s"]
    found |= {f"c{row}{column}": rows[row][place] for row in "gdb" for place, column in enumerate("gdb")}
    found["q_d"] = -found["q_g"] - found["q_b"] - found["q_s"]

    sign = p["polarity"]
    v_gs, v_ds, v_bs = bias
    voltages = sign * np.array([v_ds, v_gs, 0.0, v_bs, v_bs, v_bs, v_bs])
    current, charge = np.zeros(NODES), np.zeros(NODES)
    conductance, capacitance = np.zeros((NODES, NODES)), np.zeros((NODES, NODES))
    stamp(p, voltages, 1e-12, current, charge, conductance, capacitance)
    found |= {"drain current": sign * current[DRAIN], "body current": sign * current[3:].sum()}
    found |= {"gate charge": sign * charge[GATE], "drain charge": sign * charge[DRAIN]}
    found |= {"body charge": sign * charge[3:].sum()}
    found |= {"gate capacitance": capacitance[GATE, GATE], "drain capacitance": capacitance[DRAIN, DRAIN]}
    thermal, flicker = channel_noise(p, voltages, 1e3)
    return found | {"thermal": thermal, "flicker": flicker}


@pytest.mark.parametrize("point", range(len(POINTS)))
def test_every_listed_quantity_is_reproduced(point: int) -> None:
    found = quantities(*POINTS[point])
    for line in EXPECTED.strip().splitlines():
        name, _, values = line.partition(" | ")
        expected = float(values.split()[point])
        # nine digits are listed; the tiny capacitances and the body voltage at 0 V are sums that cancel
        assert found[name] == pytest.approx(
            expected, rel=5.1e-9, abs=1e-14 if name == "v_b" else 1e-27 if name[0] == "c" else 0.0
        ), name
