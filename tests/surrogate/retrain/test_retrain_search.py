"""The searches of the loop's own agent: targets, progress, belief, seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surrogate.retrain.search import Crowd, SearchSettings, draw_targets, search
from surrogate.simulator import SurrogateSimulator
from tests.surrogate.retrain.setup import SETTINGS
from tests.surrogate.synthetic import nmcf
from zsgym.classes import Better
from zsgym.sizing import Belief

SEARCH = SearchSettings(**SETTINGS["search"])


def test_targets_are_moved_to_either_side_within_their_decades() -> None:
    settings = SEARCH.model_copy(update={"looser": 0.5, "tighter": 0.2})
    draws = [draw_targets(nmcf(), settings, np.random.default_rng(seed)) for seed in range(300)]
    for name, published in nmcf().targets.items():
        metric = nmcf().metrics[name]
        values = np.array([draw[name] for draw in draws])
        decades = {"dB": (values - published) / 20.0, "deg": (values - published) / 25.0}.get(
            metric.unit, np.log10(values / published)
        )
        harder = decades if metric.better is Better.HIGH else -decades
        assert -0.5 <= harder.min() < -0.4
        assert 0.15 < harder.max() <= 0.2


def test_searches_improve_on_where_they_start_and_keep_the_best_they_saw(surrogate: SurrogateSimulator) -> None:
    more = SEARCH.model_copy(update={"generations": 12})
    none = SEARCH.model_copy(update={"generations": 1})
    long, short = (search(surrogate, settings, np.random.default_rng(3)) for settings in (more, none))
    values = []
    for found in (long, short):
        by_targets = {tuple(claim.targets.items()): claim for claim in found.claims}
        points = np.array([by_targets[key].design.point for key in sorted(by_targets)])
        crowd = Crowd(surrogate.checkpoint, nmcf(), [by_targets[key].targets for key in sorted(by_targets)])
        values.append(crowd.predict(crowd.scale.positions(points)[:, None])[0].ravel())
    after, before = values
    assert (after >= before - 1e-6).all()
    assert after.mean() > before.mean() + 0.1
    assert len(long.vectors) == len(long.p_valid) == SEARCH.searches * (SEARCH.starts + 12 * SEARCH.population)


def test_searches_together_believe_what_each_believes_alone(surrogate: SurrogateSimulator) -> None:
    targets = [dict(nmcf().targets), {"gbw": 3e6, "vos": 2e-4, "power": 1e-3}]
    positions = np.random.default_rng(0).random((2, 5, len(nmcf().parameters)))
    together, p_valid = Crowd(surrogate.checkpoint, nmcf(), targets).predict(positions)
    for i, wanted in enumerate(targets):
        alone = Belief(surrogate.checkpoint, nmcf(), wanted)
        expected = alone.log_feasibility(alone.rounded(torch.from_numpy(positions[i])))
        assert together[i] == pytest.approx(expected.detach().numpy(), rel=1e-4)
        points = alone.scale.points(positions[i])
        predicted = surrogate.predict(nmcf().cases(nmcf().from_point(points)))
        assert p_valid[i] == pytest.approx(predicted.p_valid, abs=1e-4)


def test_a_seed_repeats_the_searches(surrogate: SurrogateSimulator) -> None:
    first, again = (search(surrogate, SEARCH, np.random.default_rng(7)) for _ in range(2))
    other = search(surrogate, SEARCH, np.random.default_rng(8))
    assert np.array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)
