"""Labels for the chosen sizings, and what they say about the surrogate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surrogate.retrain.choose import Chosen
from surrogate.retrain.label import findings, label, wilson
from surrogate.retrain.log import Log
from tests.surrogate.retrain.setup import RuleSimulator
from tests.surrogate.synthetic import make_row, nmcf, sizings, untrained_checkpoint
from zsgym.samples import read_samples


def labelled(folder: Path, chosen: list[Chosen], simulator: RuleSimulator) -> list[Any]:
    return label(Log.read(folder, nmcf(), "functional"), chosen, simulator, strategy="test", seed=1)


def _chosen(sizing: dict[str, float], **changes: Any) -> Chosen:
    row = make_row(nmcf(), sizing)
    metrics = {k: v for k, v in row.metrics.items() if v is not None} if row.label else None
    fields = {"targets": {"gbw": 1e3}, "feasible": True, "certain": False, "reward": 0.0, "metrics": metrics}
    return Chosen(**({"kind": "best", "sizing": sizing, "p_valid": 0.9, "in_distribution": True} | fields | changes))


def test_only_what_meets_its_own_targets_in_the_simulator_counts_as_confirmed(tmp_path: Path) -> None:
    rows = [(s, make_row(nmcf(), s)) for s in sizings(nmcf(), 80, "log")]
    working = [s for s, row in rows if row.label][:3]
    failing = next(s for s, row in rows if not row.label)
    speed = make_row(nmcf(), working[1]).metrics["gbw"]
    assert speed is not None
    chosen = [
        _chosen(working[0], certain=True),
        _chosen(working[1], targets={"gbw": 2.0 * speed}),  # works, and misses what its search asked for
        _chosen(failing, metrics=dict.fromkeys(nmcf().metrics.names, 1.0)),
        _chosen(working[2], feasible=False),  # no claim
    ]
    labels = labelled(tmp_path, chosen, RuleSimulator(nmcf()))
    normaliser = untrained_checkpoint([nmcf()]).normaliser
    found = findings(nmcf(), chosen, labels, normaliser)
    claims = found["claims"]
    assert (claims["designs"], claims["work"], claims["confirmed"]) == (3, 2, 1)
    assert claims["missed"] == {"gbw": 1}
    assert (found["certain"]["designs"], found["certain"]["confirmed"]) == (1, 1)
    best = found["kinds"]["best"]
    assert (best["labelled"], best["work"], best["called_working_and_work"]) == (4, 3, 3)
    assert best["metric_gap"]["gbw"] == pytest.approx(0.0)
    assert best["reward_gap"] == pytest.approx(0.0)


def test_the_gap_is_measured_in_standard_deviations(tmp_path: Path) -> None:
    sizing = next(s for s in sizings(nmcf(), 80, "log") if make_row(nmcf(), s).label)
    truth = make_row(nmcf(), sizing).metrics["gbw"]
    normaliser = untrained_checkpoint([nmcf()]).normaliser
    spread = normaliser.metrics[nmcf().metrics.names.index("gbw")].spread  # on a decimal logarithm
    exact = _chosen(sizing)
    assert truth is not None
    assert exact.metrics is not None
    wrong = _chosen(sizing, metrics=exact.metrics | {"gbw": truth * 10.0 ** (0.5 * spread)})
    labels = labelled(tmp_path, [wrong], RuleSimulator(nmcf()))
    gaps = findings(nmcf(), [wrong], labels, normaliser)["kinds"]["best"]["metric_gap"]
    assert gaps.pop("gbw") == pytest.approx(0.5)
    assert max(gaps.values()) == pytest.approx(0.0)


def test_a_lost_sizing_is_recorded_and_the_others_are_kept(tmp_path: Path) -> None:
    chosen = [_chosen(s) for s in sizings(nmcf(), 10, "log")]
    half_dead = RuleSimulator(nmcf(), crash_at=(2, 3))  # the second batch, and its repetition
    with pytest.raises(Exception, match="killed"):
        labelled(tmp_path, chosen, half_dead)
    assert len(list(read_samples(tmp_path))) == 8
    again = RuleSimulator(nmcf())
    labels = labelled(tmp_path, chosen, again)
    assert len(again.answered) == 2
    assert None not in labels


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"), [(9, 10, 0.5958, 0.9821), (0, 10, 0.0, 0.2775), (50, 100, 0.4038, 0.5962)]
)
def test_the_interval_of_a_share(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-4)
