"""Elementary functions to their last digit, and eight devices at a time against one at a time."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from tests.zsgym.physics.cards import device
from zsgym.simulators.physics import lanes
from zsgym.simulators.physics.elementary import exp, log
from zsgym.simulators.physics.stamps import Charges, Currents, Voltages, currents, currents_and_charges, reduced


def units(found: Any, exact: Any) -> float:
    """Error in units of the last place."""
    return float(abs(mpmath.mpf(float(found)) - exact)) / float(np.spacing(abs(float(exact))))


def test_exponentials_and_logarithms_are_right_to_about_one_unit() -> None:
    rng = np.random.default_rng(0)
    with mpmath.workdps(40):
        for x in [0.0, 1.0, -708.0, 709.0, *rng.uniform(-40.0, 40.0, 2000), *rng.uniform(-1e-3, 1e-3, 500)]:
            assert units(exp(x), mpmath.exp(mpmath.mpf(x))) < 1.2
        for x in [2.0, 1e-300, 1e300, *np.exp(rng.uniform(-40.0, 40.0, 2000)), *(1.0 + rng.uniform(-0.3, 0.4, 500))]:
            assert units(log(x), mpmath.log(mpmath.mpf(float(x)))) < 1.3
    assert (exp(-1e4), exp(1e4), log(1.0)) == (exp(-708.0), exp(709.0), 0.0)


@pytest.mark.parametrize("kernel", ["newton", "signal"])
def test_eight_devices_at_a_time_are_the_same_devices(kernel: str) -> None:
    rng = np.random.default_rng(1)
    records = np.concatenate([device(kind, w, 5e-7) for kind in ("nmos", "pmos") for w in (1e-6, 2e-6, 5e-6, 9e-6)])
    voltages = rng.uniform(-1.5, 1.5, (8, 7))
    rows = lanes.NEWTON_ROWS if kernel == "newton" else lanes.SIGNAL_ROWS
    blocks = lanes.blocks_for(8, rows)
    table = blocks.reshape(rows, 8)
    table[: lanes.FIELDS] = records.view(np.float64).reshape(8, -1).T
    table[lanes.VOLTAGE_ROW : lanes.RESULT_ROW] = voltages.T
    (lanes.newton_block if kernel == "newton" else lanes.signal_block)(blocks, 0, 1e-12)
    for lane in range(8):
        v = Voltages(*voltages[lane])
        if kernel == "newton":
            expected = list(reduced(currents(records[lane], v, 1e-12)))
        else:
            pair = currents_and_charges(records[lane], v, 1e-12)
            expected = [*pair[0], *pair[1]]
            assert len(expected) == len(Currents._fields) + len(Charges._fields)
        np.testing.assert_allclose(table[lanes.RESULT_ROW :, lane], expected, rtol=1e-12)
