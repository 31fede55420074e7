"""Spec margins, reward and targets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsgym.base.errors import ConfigError
from zsgym.classes import Better
from zsgym.classes.amplifier import METRICS
from zsgym.classes.specs import FAILURE_REWARD, exactly, meets_all, reward

finite = st.floats(-1e12, 1e12, allow_nan=False)
names = st.sampled_from(METRICS.names)


def test_margin_is_the_published_formula() -> None:
    assert METRICS.margins({"dc_gain": 117.0}, {"dc_gain": 130.0})["dc_gain"] == pytest.approx(-13.0 / 247.0)
    assert METRICS.margins({"power": 300e-6}, {"power": 200e-6})["power"] == pytest.approx(-0.2)
    assert METRICS.margins({"power": 100e-6}, {"power": 200e-6})["power"] == pytest.approx(1.0 / 3.0)


def test_offset_counts_by_its_magnitude() -> None:
    assert METRICS.margins({"vos": -1e-3}, {"vos": 40e-6}) == METRICS.margins({"vos": 1e-3}, {"vos": 40e-6})
    assert METRICS.margins({"vos": -1e-3}, {"vos": 40e-6})["vos"] < 0.0
    assert METRICS.margins({"vos": -20e-6}, {"vos": 40e-6})["vos"] > 0.0


@given(name=names, metric=finite, target=finite)
def test_margin_is_bounded_and_its_sign_says_whether_the_spec_is_met(name: str, metric: float, target: float) -> None:
    margin = METRICS.margins({name: metric}, {name: target})[name]
    assert -1.0 <= margin <= 1.0
    kind = METRICS[name]
    value, wanted = kind.magnitude(metric), kind.magnitude(target)
    if value != wanted:
        # Differences below the resolution of floating point may vanish, but may never change sides.
        met = value > wanted if kind.better is Better.HIGH else value < wanted
        assert margin >= 0.0 if met else margin <= 0.0
    else:
        assert margin == 0.0
        assert math.copysign(1.0, margin) == 1.0


@given(name=names, target=st.floats(1e-9, 1e9), steps=st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=2))
def test_a_better_metric_never_has_a_smaller_margin(name: str, target: float, steps: list[float]) -> None:
    low, high = sorted(steps)
    better, worse = (high, low) if METRICS[name].better is Better.HIGH else (low, high)
    assert METRICS.margins({name: better}, {name: target})[name] >= METRICS.margins({name: worse}, {name: target})[name]


def test_zero_metric_and_zero_target_meet() -> None:
    assert METRICS.margins({"vos": 0.0}, {"vos": 0.0}) == {"vos": 0.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_is_an_error_and_not_a_margin(bad: float) -> None:
    with pytest.raises(ConfigError, match="gbw"):
        METRICS.margins({"gbw": bad}, {"gbw": 1e6})


def test_a_missing_metric_is_an_error() -> None:
    with pytest.raises(ConfigError, match="gbw"):
        METRICS.margins({"dc_gain": 100.0}, {"gbw": 1e6})


def test_reward_sums_only_what_is_missed() -> None:
    assert reward({"gbw": -0.25, "power": 0.5, "vos": -0.5}) == -0.75
    assert reward({"gbw": 0.0, "power": 0.5}) == 0.0
    assert meets_all({"gbw": 0.0, "power": 0.5})
    assert not meets_all({"gbw": -1e-12, "power": 0.5})


def test_a_failure_is_worse_than_any_working_amplifier() -> None:
    assert reward(dict.fromkeys(METRICS.names, -1.0)) > FAILURE_REWARD / 2


def test_targets_are_merged_dropped_and_ordered() -> None:
    targets = METRICS.resolve_targets({"power": 2e-4, "dc_gain": 130.0}, {"gbw": 1000000, "power": None})
    assert targets == {"dc_gain": 130.0, "gbw": 1e6}
    assert list(targets) == ["dc_gain", "gbw"]
    assert all(type(value) is float for value in targets.values())


def test_targets_can_be_the_only_ones() -> None:
    defaults = {"power": 2e-4, "dc_gain": 130.0}
    assert METRICS.resolve_targets(defaults, exactly(defaults, {"gbw": 1e6, "dc_gain": -3.0})) == {
        "dc_gain": -3.0,
        "gbw": 1e6,
    }


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"gain": 100.0}, "unknown metric 'gain'.*Did you mean 'dc_gain'"),
        ({"bandwith": 100.0}, "Metrics: tc, power"),
        ({"gbw": math.nan}, "target of gbw must be a finite number in Hz"),
        ({"gbw": "1e6"}, "target of gbw"),
        ({"gbw": True}, "target of gbw"),
        ({"gbw": -1.0}, "target of gbw must be positive, got -1 Hz"),
        ({"vos": 0.0}, "target of vos must be positive, got 0 V"),
        ({"dc_gain": None}, "no spec is left"),
        (["gbw"], "mapping"),
    ],
)
def test_invalid_targets_are_named(overrides: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        METRICS.resolve_targets({"dc_gain": 130.0}, overrides)
