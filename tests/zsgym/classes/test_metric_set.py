"""Which way is better, where it decides: the worst of several conditions, and the unwelcome end of an interval."""

import math

import numpy as np
import pytest

from zsgym.classes.amplifier import METRICS


def test_the_worst_of_several_conditions_is_worst_in_the_sense_of_each_metric() -> None:
    rows = np.array([[1.0] * len(METRICS), [3.0] * len(METRICS), [-2.0] * len(METRICS)])
    worst = dict(zip(METRICS.names, METRICS.worst_of(rows).tolist(), strict=True))
    for metric in METRICS:
        assert worst[metric.name] == (-2.0 if metric.higher_is_better else 3.0), metric.name
    # Of an offset the magnitude counts: -5 mV is worse than 3 mV.
    rows[2] = -5.0
    assert METRICS.worst_of(rows)[METRICS.names.index("vos")] == -5.0


def test_what_was_not_measured_under_one_condition_is_not_known_to_be_better() -> None:
    rows = np.array([[1.0] * len(METRICS), [math.nan] * len(METRICS)])
    assert np.isnan(METRICS.worst_of(rows)).all()


@pytest.mark.parametrize(
    ("name", "low", "high", "worse"),
    [("gbw", 1e6, 2e6, 1e6), ("power", 1e-4, 2e-4, 2e-4), ("vos", -3e-3, 1e-3, 3e-3), ("vos", -1e-3, 2e-3, 2e-3)],
)
def test_the_worse_end_of_an_interval(name: str, low: float, high: float, worse: float) -> None:
    assert METRICS[name].worse_end(low, high) == worse
