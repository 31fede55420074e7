"""Every threshold of an amplifier's verdict, from both sides: at its limit a circuit works, just beyond it does not."""

import math

import pytest

from tests.zsgym.classes.test_verdict import WORKING
from zsgym.classes import Failure
from zsgym.classes.amplifier import AMPLIFIER, METRICS, AmplifierPolicy
from zsgym.classes.verdict import first_missed, misses

POLICY = AmplifierPolicy(
    max_output_error_v=0.04,
    min_branch_current_a=2e-12,
    max_pole_real=1e3,
    max_ringing=0.02,
    max_static_error=0.03,
)
"""Thresholds that all differ, so that none can stand for another."""

BOUNDARIES = [
    ("output_error", 0.04, math.inf, Failure.OPERATING_POINT),
    ("min_device_current", 2e-12, 0.0, Failure.OPERATING_POINT),
    ("dc_phase", 90.0, math.inf, Failure.NO_GAIN),
    ("dc_phase", -90.0, -math.inf, Failure.NO_GAIN),
    ("max_pole_real", 1e3, math.inf, Failure.UNSTABLE),
    ("ringing", 0.02, math.inf, Failure.UNSTABLE),
    ("static_error", 0.03, math.inf, Failure.UNSETTLED),
]
"""Measurement, its limit, the side on which it is missed, and what a miss means."""


@pytest.mark.parametrize(("name", "limit", "bad", "reason"), BOUNDARIES)
def test_a_limit_is_inclusive_and_where_it_says(name: str, limit: float, bad: float, reason: str) -> None:
    assert AMPLIFIER.judge({**WORKING, name: limit}, POLICY) is None
    assert AMPLIFIER.judge({**WORKING, name: math.nextafter(limit, bad)}, POLICY) == reason


@pytest.mark.parametrize("name", ["power", "gbw", "slew_rate", "settling_time"])
def test_what_must_be_positive_is_above_zero(name: str) -> None:
    assert AMPLIFIER.judge({**WORKING, name: 5e-324}, POLICY) is None
    for value in (0.0, -1e-9):
        assert AMPLIFIER.judge({**WORKING, name: value}, POLICY) == Failure.UNPHYSICAL


@pytest.mark.parametrize("name", METRICS.names)
def test_what_is_unphysical_is_said_in_words(name: str) -> None:
    raw = {**WORKING, name: math.inf}
    assert AMPLIFIER.judge(raw, POLICY) == Failure.UNPHYSICAL
    told = misses(AMPLIFIER.checks(POLICY), raw)
    assert len(told) == 1
    assert METRICS[name].title in told[0]


def test_every_check_decides_when_it_alone_is_missed() -> None:
    """The verdict is the first missed check of the list, and no other."""
    checks = AMPLIFIER.checks(POLICY)
    for number, check in enumerate(checks):
        raw = {name: value for name, value in WORKING.items() if name != check.limit.key}
        missed = first_missed(checks, raw)
        assert missed is not None
        assert missed is next(other for other in checks if other.limit.missed(raw))
        assert missed.failure == AMPLIFIER.judge(raw, POLICY)
        assert checks.index(missed) <= number


def test_a_worse_miss_is_graded_lower() -> None:
    worse = [
        ("output_error", 0.1, 0.5),
        ("max_pole_real", 1e5, 1e8),
        ("static_error", 0.1, 0.5),
    ]
    for name, little, much in worse:
        severities = [AMPLIFIER.severity({**WORKING, name: value}, POLICY) for value in (little, much)]
        assert 0.0 < severities[0] < severities[1], name


def test_an_earlier_reason_is_worse_however_small_its_miss() -> None:
    first = {"output_error": 0.041}, {"gbw": None}, {"max_pole_real": 2e3}, {"static_error": 0.9}
    severities = [AMPLIFIER.severity({**WORKING, **change}, POLICY) for change in first]
    assert severities == sorted(severities, reverse=True)


MEASURED = AmplifierPolicy(judge="measured")


def test_the_published_verdict_asks_for_no_step_that_was_not_run() -> None:
    """Small signals had shown the amplifier to be unstable, so that no step response was asked for."""
    step = ("slew_rate", "settling_time", "transient_points", "transient_complete", "ringing", "static_error")
    raw = {name: value for name, value in WORKING.items() if name not in step}
    assert AMPLIFIER.judge(raw, MEASURED) is None
    assert AMPLIFIER.judge({**raw, "transient_points": 300.0}, MEASURED) == Failure.UNPHYSICAL
