"""What a belief may learn: the metrics of what works, and of failures only what they measured soundly."""

import pytest

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.sizing import DifferentiableSurrogate
from zsgym.circuits import load_circuit
from zsgym.simulators.outcome import Outcome, Status

RAW = {"gbw": 1e6, "dc_gain": 100.0, "phase_margin": -20.0, "slew_rate": 1e5, "settling_time": 1e-4}


@pytest.fixture(scope="module")
def model() -> DifferentiableSurrogate:
    return DifferentiableSurrogate(Checkpoint.load(shipped()), load_circuit("nmcf"))


@pytest.mark.parametrize("reason", ["unstable", "unsettled"])
def test_small_signals_of_these_failures_are_learnt_and_their_transients_are_not(
    model: DifferentiableSurrogate, reason: str
) -> None:
    learnt = model.measured(Outcome(Status.CIRCUIT_FAILURE, reason, raw=RAW))
    assert dict(learnt) == {"gbw": 1e6, "dc_gain": 100.0}


@pytest.mark.parametrize("reason", ["operating_point", "no_gain", "no_convergence", "geometry", "unphysical"])
def test_nothing_is_learnt_from_the_others(model: DifferentiableSurrogate, reason: str) -> None:
    assert not model.measured(Outcome(Status.CIRCUIT_FAILURE, reason, raw=RAW))


def test_a_working_circuit_teaches_all_its_metrics(model: DifferentiableSurrogate) -> None:
    assert model.measured(Outcome(Status.SUCCESS, metrics=RAW, raw={"other": 1.0})) == RAW
