"""The belief is differentiable, and learns from what was simulated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surrogate.checkpoint import Checkpoint
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from tests.zsgym.sizing.smooth import ShiftedTruth, positions
from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import Problem

TARGETS = {"dc_gain": 118.0, "power": 4e-4, "vos": 2e-3}


def test_the_gradient_is_that_of_the_value(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), TARGETS)
    at = positions(1).requires_grad_(True)
    belief.log_feasibility(at).sum().backward()
    assert at.grad is not None
    step = 1e-2  # the model computes in float32
    for i in (0, 5, 12, int(at.grad.abs().argmax())):
        forth, back = at.detach().clone(), at.detach().clone()
        forth[0, i] += step
        back[0, i] -= step
        with torch.no_grad():
            slope = (belief.log_feasibility(forth) - belief.log_feasibility(back)) / (2 * step)
        assert float(slope) == pytest.approx(float(at.grad[0, i]), rel=0.05, abs=0.02 * float(at.grad.abs().max()))
    assert all(parameter.requires_grad for parameter in checkpoint.model.parameters()), "the checkpoint is untouched"


def test_tighter_targets_are_believed_less(checkpoint: Checkpoint) -> None:
    at = positions(20)
    loose, tight = (
        Belief(checkpoint, nmcf(), TARGETS | {"vos": vos}).log_feasibility(at).detach() for vos in (2e-3, 2e-4)
    )
    assert (tight < loose).all()
    assert (loose <= 0.0).all()


def test_counts_are_rounded_and_nothing_else(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), TARGETS)
    at = positions(10)
    values = belief.scale.values(belief.rounded(at).numpy())
    counts = belief.is_count.numpy()
    assert values[:, counts] == pytest.approx(np.rint(values[:, counts]))
    assert np.array_equal(belief.rounded(at).numpy()[:, ~counts], at.numpy()[:, ~counts])


def test_simulations_correct_the_belief_where_they_were_made(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": 113.0})
    truth = Problem(
        nmcf(), backend=ShiftedTruth(nmcf(), checkpoint, "dc_gain", -3.0), targets=belief_targets("dc_gain")
    )
    simulated = truth.evaluate(belief.scale.points(positions(12).numpy()))
    seen = torch.from_numpy(belief.scale.positions(np.array([design.point for design in simulated])))
    before = belief.log_feasibility(seen).detach()
    belief.learn(simulated)
    after = belief.log_feasibility(seen).detach()
    assert (after < before - 2.0).all(), "three standard deviations less gain are noticed"
    beside = belief.log_feasibility((seen + 0.01).clamp(0.0, 1.0)).detach()
    assert beside == pytest.approx(after, rel=0.5), "and hold in the neighbourhood"


def belief_targets(*names: str) -> dict[str, float | None]:
    return {name: (113.0 if name in names else None) for name in nmcf().targets}


def test_a_failure_makes_its_neighbourhood_doubtful(checkpoint: Checkpoint) -> None:
    belief = Belief(checkpoint, nmcf(), {"dc_gain": -1e3})  # validity alone decides
    with Problem(nmcf(), backend=FakeSimulator(nmcf())) as problem:
        designs = problem.evaluate(belief.scale.points(positions(40).numpy()))
    seen = torch.from_numpy(belief.scale.positions(np.array([design.point for design in designs])))
    works = torch.tensor([design.outcome.success for design in designs])
    assert 5 < int(works.sum()) < 35
    belief.learn(designs)
    after = belief.log_feasibility(seen).detach()
    assert after[works].min() > after[~works].max()
