"""The step response is taken where the input pair works: its levels follow the common mode, unless they are stated."""

import pytest

from zsgym.circuits import load_circuit
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.simulators import make_simulator

pytestmark = pytest.mark.ngspice


def test_an_nmos_pair_is_not_starved() -> None:
    """By hand the slew rate of the five-transistor OTA is its tail current over its load, which the half-way reading
    of a step of 0.2 V comes close to, and one of a larger step closer: part of each is linear settling.

    From 0.3 V to 0.5 V, where the published amplifiers step, the tail has no voltage left and the pair next to no
    current: that is what every circuit with nMOS inputs was judged by.
    """
    circuit = load_circuit("ota5t")
    conditions = circuit.conditions
    assert isinstance(conditions, AmplifierConditions)
    below, above = conditions.step_levels
    assert (below, above) == pytest.approx((conditions.common_mode - 0.1, conditions.common_mode + 0.1))
    larger = {"step_low": below - 0.15, "step_high": above + 0.15}
    asked = [conditions, conditions.replace(**larger), conditions.replace(step_low=0.3, step_high=0.5)]
    with make_simulator("ngspice", circuit) as simulator:
        outcomes = simulator.simulate(circuit.cases([circuit.known_good["by_hand"]] * 3, asked))
    points = outcomes[0].operating_points
    assert points is not None
    by_hand = points["xm5"]["id"] / conditions.load
    following, wide, fixed = (outcome.raw["slew_rate"] for outcome in outcomes)
    assert following is not None
    assert wide is not None
    assert fixed is not None
    assert 0.8 * by_hand < following < wide < by_hand
    assert wide > 0.9 * by_hand
    assert fixed < 0.1 * by_hand
    assert outcomes[0].success
    assert not outcomes[2].success
