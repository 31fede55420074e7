"""zsgym's optional metrics against plain decks that share no line with its testbench (`plain_optional`).

In brackets the largest differences over the three circuits. By default a sample is compared, with `--truth all` every
design with both decks.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import plain_optional
import pytest

from zsgym.base.errors import SimulatorError
from zsgym.circuits import Circuit, load_circuit
from zsgym.simulators.ngspice.job import Measurement
from zsgym.simulators.ngspice.simulator import NgspiceSimulator

pytestmark = pytest.mark.ngspice

FIVE = Path(__file__).parents[2] / "sizing" / "five"
SIZING = {
    "W_tail": 10.0,
    "L_tail": 2.0,
    "M_tail": 4.0,
    "bias_current": 1e-5,
    "W_pair": 20.0,
    "L_pair": 2.0,
    "M_pair": 8.0,
    "W_mirror": 10.0,
    "L_mirror": 2.0,
    "M_mirror": 4.0,
}
NOISE = ("nmcnr",)
"""Its noise has a peak of 21 dB: the hardest to integrate."""
GAINS = ("nmcf",)
"""A gain of 145 dB; that of `five` is 43 dB."""

SPOT, TOTAL = 1e-4, 0.01  # relative (7e-6; 0.5 %)
OUTPUT_LEVEL = 0.008  # V (5 mV: the deck looks at levels 5 mV apart, and takes the last one that is usable)
COMMON_MODE = 0.02  # V (9 mV: zsgym looks at common modes 75 mV apart, and draws straight lines between them)


def design(name: str) -> tuple[Circuit, dict[str, float]]:
    if name == "five":
        return load_circuit(FIVE), SIZING
    circuit = load_circuit(name)
    return circuit, circuit.known_good["robust"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A sample of the designs, or all of them."""
    sample = NOISE if metafunc.function is test_noise else GAINS
    names = ("nmcf", "nmcnr", "five") if metafunc.config.getoption("--truth") == "all" else sample
    metafunc.parametrize("name", names)


@pytest.fixture(scope="module")
def measured() -> Iterator[object]:
    """Measures every optional metric of a design."""
    with ExitStack() as stack:

        @cache
        def measure(name: str) -> Measurement:
            circuit, sizing = design(name)
            simulator = stack.enter_context(NgspiceSimulator(circuit))
            asked = circuit.asking(circuit.circuit_class.optional_metrics.names)
            (answer,) = simulator.measure(asked.cases([sizing]))
            assert answer is not None
            assert not isinstance(answer, SimulatorError), answer
            assert simulator.outcome(answer).success
            return answer

        yield measure


def test_noise(measured, name: str) -> None:  # type: ignore[no-untyped-def]
    spot, total = plain_optional.noise(*design(name))
    raw = measured(name).raw
    assert raw["input_noise"] == pytest.approx(spot, rel=SPOT)
    assert raw["input_noise_rms"] == pytest.approx(total, rel=TOTAL)


def test_ranges_area_and_capacitance(measured, name: str) -> None:  # type: ignore[no-untyped-def]
    circuit, sizing = design(name)
    plain, raw = plain_optional.gains(circuit, sizing), measured(name).raw
    nominal = circuit.conditions.common_mode
    low, high = plain_optional.usable(plain.levels, plain.over_levels, nominal)
    assert (raw["output_low"], raw["output_high"]) == pytest.approx((low, high), abs=OUTPUT_LEVEL)
    assert raw["output_swing"] == raw["output_high"] - raw["output_low"]
    low, high = plain_optional.usable(plain.common_modes, plain.over_common_modes, nominal)
    assert (raw["common_mode_low"], raw["common_mode_high"]) == pytest.approx((low, high), abs=COMMON_MODE)
    assert raw["icmr"] == raw["common_mode_high"] - raw["common_mode_low"]
    assert raw["gate_area"] == pytest.approx(plain.area, rel=1e-6)
    assert raw["compensation_capacitance"] == pytest.approx(plain.capacitance, rel=1e-6, abs=1e-18)
