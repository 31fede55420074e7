"""The verdict: every reason can be reached, in order; nothing that is missing or undefined ever passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER, METRICS, AmplifierPolicy

FUNCTIONAL = AmplifierPolicy()
MEASURED = AmplifierPolicy(judge="measured")

WORKING = {
    "converged": 1.0,
    "output": 0.7201,
    "output_error": 1e-4,
    "min_device_current": 1e-6,
    "dc_gain": 113.0,
    "dc_phase": -2.0,
    "gbw": 1e6,
    "phase_margin": 60.0,
    "phase_margin_wrapped": 60.0,
    "unity_crossings": 1.0,
    "max_pole_real": -1e5,
    "cmrr": 70.0,
    "psrr_p": 70.0,
    "psrr_n": 80.0,
    "tc": 3e-6,
    "power": 5e-4,
    "vos": -4e-4,
    "slew_rate": 4e5,
    "settling_time": 2e-6,
    "static_error": 1e-3,
    "ringing": 1e-6,
    "transient_complete": 1.0,
    "transient_points": 300.0,
}
UNJUDGED = {"output", "phase_margin_wrapped", "unity_crossings", "transient_points"}
"""Measurements that are kept, but that no verdict depends on."""

BREAKING = [
    ({"converged": 0.0}, Failure.NO_CONVERGENCE),
    ({"output_error": 0.051}, Failure.OPERATING_POINT),
    ({"min_device_current": 0.9e-12}, Failure.OPERATING_POINT),
    ({"gbw": None}, Failure.NO_GAIN),
    ({"dc_phase": 179.0}, Failure.NO_GAIN),
    ({"dc_phase": -150.0}, Failure.NO_GAIN),
    ({"max_pole_real": 1.0}, Failure.UNSTABLE),
    ({"transient_complete": 0.0}, Failure.UNSTABLE),
    ({"ringing": 0.02}, Failure.UNSTABLE),
    ({"settling_time": None}, Failure.UNSETTLED),
    ({"static_error": 0.02}, Failure.UNSETTLED),
    ({"slew_rate": None}, Failure.UNPHYSICAL),
    ({"power": -1e-6}, Failure.UNPHYSICAL),
    ({"cmrr": math.inf}, Failure.UNPHYSICAL),
    ({"tc": math.nan}, Failure.UNPHYSICAL),
]


def test_working_amplifier():
    assert AMPLIFIER.judge(WORKING, FUNCTIONAL) is None
    assert AMPLIFIER.judge(WORKING, MEASURED) is None
    assert AMPLIFIER.metrics_of(WORKING) == {name: WORKING[name] for name in METRICS.names}


@pytest.mark.parametrize(("change", "reason"), BREAKING)
def test_every_reason_is_reached(change, reason):
    assert AMPLIFIER.judge({**WORKING, **change}, FUNCTIONAL) == reason


def test_every_reason_that_measurements_can_give_is_tested():
    """Geometry is judged before there is anything to measure."""
    assert {reason for _, reason in BREAKING} == set(AMPLIFIER.reasons) - {Failure.GEOMETRY}


@pytest.mark.parametrize("first", range(len(BREAKING)))
def test_the_first_reason_in_the_documented_order_wins(first):
    raw = dict(WORKING)
    for change, _ in BREAKING[first:]:
        raw = {**raw, **{key: raw[key] if raw[key] != WORKING[key] else value for key, value in change.items()}}
    assert AMPLIFIER.judge(raw, FUNCTIONAL) == BREAKING[first][1]
    order = list(AMPLIFIER.reasons)
    reasons = [order.index(reason) for _, reason in BREAKING]
    assert reasons == sorted(reasons)


@pytest.mark.parametrize("name", sorted(WORKING.keys() - UNJUDGED))
@pytest.mark.parametrize("nothing", [None, math.nan, "absent"])
def test_what_was_not_measured_never_passes(name, nothing):
    raw = {key: value for key, value in WORKING.items() if key != name}
    if nothing != "absent":
        raw[name] = nothing
    assert AMPLIFIER.judge(raw, FUNCTIONAL) is not None


def test_empty_measurements_pass_nothing():
    assert AMPLIFIER.judge({}, FUNCTIONAL) == Failure.NO_CONVERGENCE
    assert AMPLIFIER.judge({}, MEASURED) == Failure.NO_CONVERGENCE


@pytest.mark.parametrize("name", METRICS.names)
def test_measured_policy_wants_every_number(name):
    assert AMPLIFIER.judge({**WORKING, name: None}, MEASURED) is not None


@pytest.mark.parametrize(
    "change",
    [{"ringing": 3.0}, {"max_pole_real": 1e7}, {"output_error": 0.6}, {"static_error": 0.5}, {"phase_margin": -170.0}],
)
def test_measured_policy_does_not_ask_whether_it_works(change):
    """What the published label calls a success."""
    raw = {**WORKING, **change}
    assert AMPLIFIER.judge(raw, MEASURED) is None
    assert change.keys() == {"phase_margin"} or AMPLIFIER.judge(raw, FUNCTIONAL) is not None


_raw = st.fixed_dictionaries(
    {},
    optional={
        "converged": st.sampled_from([0.0, 1.0]),
        "output_error": st.one_of(st.none(), st.floats(0.0, 1.0)),
        "min_device_current": st.one_of(st.none(), st.floats(0.0, 1e-9)),
        "gbw": st.one_of(st.none(), st.floats(-1.0, 1e7)),
        "dc_phase": st.floats(-180.0, 180.0),
        "max_pole_real": st.one_of(st.none(), st.floats()),
        "transient_complete": st.sampled_from([0.0, 1.0]),
        "ringing": st.one_of(st.none(), st.floats(0.0, 1.0)),
        "static_error": st.one_of(st.none(), st.floats(0.0, 1.0)),
        "settling_time": st.one_of(st.none(), st.floats(0.0, 1e-4)),
    },
)
_policy = st.builds(
    AmplifierPolicy,
    max_output_error_v=st.floats(1e-3, 0.5),
    min_branch_current_a=st.floats(0.0, 1e-9),
    max_pole_real=st.floats(-1e6, 1e6),
    max_ringing=st.floats(1e-4, 0.5),
    max_static_error=st.floats(1e-4, 0.5),
)


@given(changes=_raw, tight=_policy, factor=st.floats(1.0, 10.0))
def test_looser_thresholds_never_turn_success_into_failure(changes, tight, factor):
    raw = {**WORKING, **changes}
    loose = AmplifierPolicy(
        max_output_error_v=tight.max_output_error_v * factor,
        min_branch_current_a=tight.min_branch_current_a / factor,
        max_pole_real=tight.max_pole_real + 1e5 * (factor - 1.0),
        max_ringing=tight.max_ringing * factor,
        max_static_error=tight.max_static_error * factor,
    )
    if AMPLIFIER.judge(raw, tight) is None:
        assert AMPLIFIER.judge(raw, loose) is None


@given(changes=_raw)
def test_a_success_has_eleven_finite_metrics(changes):
    raw = {**WORKING, **changes}
    if AMPLIFIER.judge(raw, FUNCTIONAL) is None:
        metrics = AMPLIFIER.metrics_of(raw)
        assert list(metrics) == list(METRICS.names)
        assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize(
    "wrong",
    [{"judge": "lenient"}, {"max_ringing": 0.0}, {"settling_band": 1.0}, {"min_branch_current_a": -1.0}, {"typo": 1.0}],
)
def test_policy_rejects_nonsense(wrong):
    with pytest.raises(ValidationError):
        AmplifierPolicy(**wrong)
