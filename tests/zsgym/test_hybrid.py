"""The hybrid's policy on fabricated predictions: which ones it believes, and how a batch is put together."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from fakes import FakeSimulator, ask

from surrogate.predict import Predictions
from tests.surrogate.synthetic import nmcf, sizings
from zsgym.base.errors import ConfigError, SimulatorCrashError
from zsgym.circuits import Cases
from zsgym.classes.amplifier import METRICS
from zsgym.envs.env import SizingEnv
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.envs.vector import SizingVectorEnv
from zsgym.simulators import Simulator
from zsgym.simulators.base import TargetAware
from zsgym.simulators.hybrid import HybridSimulator
from zsgym.simulators.outcome import Outcome, Status

K = {name: k for k, name in enumerate(METRICS.names)}
MANY = sizings(nmcf(), 30)

TARGETS = {"dc_gain": 100.0, "power": 1e-3, "vos": 1e-4}
GOOD = {"dc_gain": (110.0, 120.0), "power": (1e-4, 2e-4), "vos": (-5e-5, 5e-5)}
"""Intervals that decide every spec: all are met."""


def predicted(
    *,
    geometry: bool = True,
    p_valid: float = 0.99,
    valid: bool = True,
    in_distribution: bool = True,
    intervals: dict[str, tuple[float, float]] | None = None,
) -> Predictions:
    """One fabricated prediction; by default one that the hybrid trusts."""
    low, high = np.full((1, 11), -np.inf), np.full((1, 11), np.inf)
    for name, (a, b) in {**GOOD, **(intervals or {})}.items():
        low[0, K[name]], high[0, K[name]] = a, b
    metrics = np.full((1, 11), 1.0)
    if not valid:
        low, high, metrics = (np.full((1, 11), np.nan) for _ in range(3))
    flags = (np.array([flag]) for flag in (geometry, valid, in_distribution))
    inside, works, familiar = flags
    return Predictions(inside, np.array([p_valid]), works, metrics, low, high, familiar)


class Oracle:
    """A surrogate whose predictions are given."""

    name = "surrogate"
    circuit = nmcf()
    provenance = {"checkpoint": "abc"}  # noqa: RUF012

    def __init__(self, predictions: Sequence[Predictions]) -> None:
        self.predictions = predictions
        self.closed = 0

    def predict(self, cases: Cases) -> Predictions:
        fields = ("geometry", "p_valid", "valid", "metrics", "low", "high", "in_distribution")
        chosen = self.predictions[: len(cases)]
        return Predictions(*(np.concatenate([getattr(p, field) for p in chosen]) for field in fields))

    def outcomes(self, predictions: Predictions) -> list[Outcome]:
        status = {True: Status.SUCCESS, False: Status.CIRCUIT_FAILURE}
        metrics = dict.fromkeys(METRICS.names, 1.0)
        return [
            Outcome(status[bool(v)], metrics=metrics, backend="surrogate", elapsed_s=float(i))
            for i, v in enumerate(predictions.valid)
        ]

    def simulate(self, cases: Cases, *, errors: Literal["raise", "return"] = "raise") -> list[Outcome]:
        return self.outcomes(self.predict(cases))

    def close(self) -> None:
        self.closed += 1


def make_hybrid(*predictions: Predictions, truth: FakeSimulator | None = None, **options: Any) -> HybridSimulator:
    return HybridSimulator(
        Oracle(predictions), truth or FakeSimulator(nmcf()), **{"confidence": 0.95, "targets": TARGETS, **options}
    )


TRUSTED = {
    "decided to work, all specs met": predicted(),
    "decided to work, a spec missed for certain": predicted(intervals={"dc_gain": (80.0, 99.0)}),
    "power missed for certain": predicted(intervals={"power": (2e-3, 3e-3)}),
    "offset missed for certain, positive": predicted(intervals={"vos": (2e-4, 3e-4)}),
    "offset missed for certain, negative": predicted(intervals={"vos": (-3e-4, -2e-4)}),
    "just confident enough": predicted(p_valid=0.95),
    "decided to fail": predicted(p_valid=0.04, valid=False),
    "just confident enough to fail": predicted(p_valid=0.05, valid=False),
    "outside the models": predicted(geometry=False, p_valid=0.0, valid=False),
    "outside the models and the distribution": predicted(
        geometry=False, p_valid=0.0, valid=False, in_distribution=False
    ),
    "a metric without a spec is wide open": predicted(intervals={"gbw": (0.0, np.inf)}),
}
SIMULATED = {
    "validity undecided": predicted(p_valid=0.94),
    "failure undecided": predicted(p_valid=0.06, valid=False),
    "confident, but below a high threshold": predicted(p_valid=0.96, valid=False),
    "unlikely, but above a low threshold": predicted(p_valid=0.03),
    "out of distribution": predicted(in_distribution=False),
    "fails, but out of distribution": predicted(p_valid=0.01, valid=False, in_distribution=False),
    "gain undecided": predicted(intervals={"dc_gain": (99.0, 101.0)}),
    "power undecided": predicted(intervals={"power": (0.9e-3, 1.1e-3)}),
    "offset undecided, positive": predicted(intervals={"vos": (0.5e-4, 2e-4)}),
    "offset undecided, negative": predicted(intervals={"vos": (-2e-4, -0.5e-4)}),
    "offset undecided on both sides of zero": predicted(intervals={"vos": (-2e-4, 0.5e-4)}),
    "offset undecided, zero between two misses": predicted(intervals={"vos": (-2e-4, 3e-4)}),
    "an interval without end": predicted(intervals={"dc_gain": (-np.inf, np.inf)}),
}


@pytest.mark.parametrize("case", TRUSTED)
def test_the_hybrid_trusts(case: str) -> None:
    hybrid = make_hybrid(TRUSTED[case])
    (outcome,) = ask(hybrid, MANY[:1])
    assert outcome.backend == "surrogate"
    assert hybrid.answered == {"surrogate": 1, "ngspice": 0}


@pytest.mark.parametrize("case", SIMULATED)
def test_the_hybrid_simulates(case: str) -> None:
    truth = FakeSimulator(nmcf())
    hybrid = make_hybrid(SIMULATED[case], truth=truth)
    (outcome,) = ask(hybrid, MANY[:1])
    assert outcome.backend == "fake"
    assert truth.simulated == MANY[:1]
    assert hybrid.answered == {"surrogate": 0, "ngspice": 1}


def mixture() -> list[Predictions]:
    cases = [*TRUSTED.values(), *SIMULATED.values()]
    return [cases[i] for i in np.random.default_rng(0).permutation(len(cases))]


def test_a_batch_is_split_and_put_together_again() -> None:
    truth, cases = FakeSimulator(nmcf()), mixture()
    hybrid = make_hybrid(*cases, truth=truth)
    outcomes = ask(hybrid, MANY[: len(cases)])
    trusted = [any(case is known for known in TRUSTED.values()) for case in cases]
    assert [outcome.backend == "surrogate" for outcome in outcomes] == trusted
    asked = [sizing for sizing, trust in zip(MANY, trusted, strict=False) if not trust]
    assert truth.simulated == asked
    assert truth.batch_sizes == [len(asked)]  # in one batch
    answers = iter(ask(FakeSimulator(nmcf()), asked))
    for row, (outcome, trust) in enumerate(zip(outcomes, trusted, strict=True)):
        assert outcome.elapsed_s == row if trust else outcome == next(answers)
    assert hybrid.answered == {"surrogate": len(TRUSTED), "ngspice": len(SIMULATED)}
    ask(hybrid, MANY[: len(cases)])
    assert hybrid.answered == {"surrogate": 2 * len(TRUSTED), "ngspice": 2 * len(SIMULATED)}
    assert ask(hybrid, []) == []


def test_ngspice_is_not_bothered_when_nothing_is_asked() -> None:
    truth = FakeSimulator(nmcf())
    ask(make_hybrid(predicted(), truth=truth), MANY[:1])
    assert truth.calls == 0


def test_confidence_and_targets_are_the_callers() -> None:
    undecided = predicted(p_valid=0.9, intervals={"dc_gain": (99.0, 101.0)})
    assert make_hybrid(undecided, confidence=0.85, targets={"dc_gain": 90.0}).trusted(undecided)[0]
    assert not make_hybrid(undecided, confidence=0.95, targets={"dc_gain": 90.0}).trusted(undecided)[0]
    assert not make_hybrid(undecided, confidence=0.85).trusted(undecided)[0]
    assert make_hybrid(undecided, targets=None).targets == nmcf().targets
    for confidence in (0.5, 1.0, math.nan):
        with pytest.raises(ConfigError, match="confidence must lie between"):
            make_hybrid(confidence=confidence)
    with pytest.raises(ConfigError, match="unknown metric 'gian'"):
        make_hybrid(targets={"gian": 3.0})


def test_each_sizing_is_decided_by_the_targets_that_come_with_it() -> None:
    """The same prediction (gain 99 to 101 dB) decides one spec and leaves another open."""
    case = predicted(intervals={"dc_gain": (99.0, 101.0)})
    hybrid = make_hybrid(case, case, case, truth=FakeSimulator(nmcf()))
    targets = [{"dc_gain": 90.0}, {"dc_gain": 100.0}, {"gbw": 1e-300, "dc_gain": 120.0}]
    assert [o.backend for o in hybrid.simulate_for(targets[:2], nmcf().cases(MANY[:2]))] == ["surrogate", "fake"]
    assert not hybrid.trusted(case, targets[2:])[0], "the bandwidth has no bounded interval"
    assert hybrid.trusted(case, [{"dc_gain": 120.0}])[0]
    assert hybrid.simulate_for([], nmcf().cases([])) == []
    assert isinstance(hybrid, TargetAware)
    assert not isinstance(Oracle([case]), TargetAware)


@pytest.mark.parametrize("face", [SizingEnv, SizingVectorEnv, SizingVecEnv])
def test_the_targets_of_an_episode_reach_the_hybrid(face: Any) -> None:
    case = predicted(intervals=dict.fromkeys(METRICS.names, (-1e30, 1e30)) | {"dc_gain": (99.0, 101.0)})
    hybrid = make_hybrid(case)
    only_gain = dict.fromkeys(METRICS.names)
    env = face(nmcf(), backend=hybrid, targets=only_gain | {"dc_gain": 90.0}, log=False)
    action = np.zeros(24 if face is SizingEnv else (1, 24), np.float32)
    env.reset()
    env.step(action)
    assert hybrid.answered == {"surrogate": 2, "ngspice": 0}
    change = {"targets": {"dc_gain": 100.0}}
    if face is SizingVecEnv:
        env.set_options(change)
        env.reset()
    else:
        env.reset(options=change)
    env.step(action)
    assert hybrid.answered["ngspice"] == 2, "both the start and the step are judged by the new spec"


def test_backends_of_different_verdict_policies_do_not_mix() -> None:
    truth = FakeSimulator(nmcf())
    truth.policy = nmcf().verdict_policies["measured"]  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="policy 'functional', but ngspice judges by 'measured'"):
        make_hybrid(predicted(), truth=truth)
    oracle = Oracle([predicted()])
    oracle.policy = "measured"  # type: ignore[attr-defined]
    assert HybridSimulator(oracle, truth).policy == "measured"


def test_other_conditions_all_go_to_ngspice() -> None:
    truth = FakeSimulator(nmcf())
    hybrid = make_hybrid(predicted(), predicted(), truth=truth)
    slow = nmcf().conditions.replace(corner="ss")
    assert [outcome.backend for outcome in ask(hybrid, MANY[:2], slow)] == ["fake", "fake"]
    assert truth.conditions == [slow]
    assert [o.backend for o in ask(hybrid, MANY[:2], nmcf().conditions)] == ["surrogate", "surrogate"]
    assert hybrid.answered == {"surrogate": 2, "ngspice": 2}


def test_infrastructure_errors_are_passed_on() -> None:
    cases = (predicted(), predicted(p_valid=0.5), predicted())
    hybrid = make_hybrid(*cases, truth=FakeSimulator(nmcf(), raise_at={1, 2}))
    with pytest.raises(SimulatorCrashError):
        ask(hybrid, MANY[:3])
    assert hybrid.answered == {"surrogate": 0, "ngspice": 0}
    outcomes = ask(hybrid, MANY[:3], errors="return")
    assert [outcome.label for outcome in outcomes] == [1, None, 1]
    assert isinstance(outcomes[1].error, SimulatorCrashError)


def test_closing_closes_both_and_provenance_names_both() -> None:
    truth = FakeSimulator(nmcf())
    hybrid = make_hybrid(predicted(), truth=truth)
    assert hybrid.provenance == {"fake": "1", "checkpoint": "abc"}
    hybrid.close()
    hybrid.close()
    assert truth.closed == 2
    assert isinstance(hybrid, Simulator)
    assert isinstance(make_hybrid(predicted()), Simulator)
