"""Numbers with units, as people read them."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsgym.base.quantities import quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.554416e6, "Hz", "2.554 MHz"),
        (5e11, "Hz", "500 GHz"),
        (1e40, "Hz", "1e+28 THz"),
        (170.090892e-6, "W", "170.1 uW"),
        (999.99e-6, "W", "1 mW"),
        (-25e-6, "V", "-25 uV"),
        (-0.0, "V", "0 V"),
        (2.6e-6, "s", "2.6 us"),
        (1e-17, "F", "10 aF"),
        (1e-22, "F", "0.0001 aF"),
        (math.inf, "Hz", "inf Hz"),
        (1.0908e-5, "1/K", "10.91 ppm/K"),
        (0.4e6, "V/s", "0.4 V/us"),
        (115.5752, "dB", "115.6 dB"),
        (0.62, "um", "0.62 um"),
        (96.0, "count", "96"),
        (12000.0, "", "1.2e+04"),
        (None, "s", "-"),
    ],
)
def test_quantities_are_written_as_a_data_sheet_does(value: float | None, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@given(
    value=st.floats(1e-18, 9.99e14) | st.floats(-9.99e14, -1e-18),
    unit=st.sampled_from(["A", "F", "H", "Hz", "S", "V", "W", "ohm", "rad/s", "s"]),
)
def test_a_quantity_reads_back_with_four_digits_before_its_prefix(value: float, unit: str) -> None:
    number, prefixed = quantity(value, unit).split(" ")
    prefix = prefixed.removesuffix(unit)
    powers = {"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}
    assert float(f"{number}e{powers[prefix]}") == pytest.approx(value, rel=5.001e-4)
    assert re.fullmatch(r"-?[1-9]\d{0,2}(\.\d{1,3})?", number), "from 1 to 999, without an exponent"
    assert len(re.sub(r"\D", "", number)) <= 4


@given(value=st.floats(-1e100, 1e100), unit=st.sampled_from(["dB", "deg", "um", "count", "", "1/K", "V/s"]))
def test_other_units_take_no_prefix(value: float, unit: str) -> None:
    factor = {"1/K": 1e6, "V/s": 1e-6}.get(unit, 1.0)
    number, *printed = quantity(value, unit).split(" ")
    assert float(number) == pytest.approx(value * factor, rel=5.001e-4, abs=1e-300)
    assert printed == {"1/K": ["ppm/K"], "V/s": ["V/us"], "count": [], "": []}.get(unit, [unit])
