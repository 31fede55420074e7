"""Which sizings are labelled: of searches, and of a sample log."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate.data import on_side, positions
from surrogate.retrain.choose import ChooseSettings, choose, found_in_log
from surrogate.retrain.label import identity
from surrogate.retrain.log import Log
from surrogate.retrain.search import SearchSettings, search
from surrogate.simulator import SurrogateSimulator
from tests.surrogate.retrain.setup import SETTINGS
from tests.surrogate.synthetic import make_row, nmcf, nmcnr, sizings
from zsgym.circuits.geometry import inside_models
from zsgym.samples import Sample, SampleLog, SampleLogWarning

SEARCH = SearchSettings(**SETTINGS["search"])
CHOOSE = ChooseSettings(best=0.4, uncertain=0.4, gate=0.25, distance=0.02, log_rows=500)


def test_the_choice_keeps_its_shares_and_no_sizing_comes_twice(surrogate: SurrogateSimulator) -> None:
    settings = CHOOSE
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    chosen = choose(found, surrogate, 20, settings, np.random.default_rng(2))
    assert Counter(c.kind for c in chosen) == {"best": 8, "uncertain": 8, "random": 4}
    vectors = np.array([nmcf().vector(c.sizing) for c in chosen])
    assert len(np.unique(vectors, axis=0)) == 20
    assert inside_models(nmcf(), vectors[[c.kind != "random" for c in chosen]]).all()
    assert {tuple(c.targets.values()) for c in chosen if c.kind == "best"} <= {
        tuple(c.targets.values()) for c in found.claims
    }


def test_the_uncertain_ones_are_near_the_threshold_or_far_from_the_training_rows(
    surrogate: SurrogateSimulator,
) -> None:
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    settings = CHOOSE.model_copy(update={"best": 0.1, "uncertain": 0.8, "distance": 0.001})
    chosen = [c for c in choose(found, surrogate, 50, settings, np.random.default_rng(2)) if c.kind == "uncertain"]
    threshold = surrogate.checkpoint.calibration[nmcf().netlist_hash].threshold
    visited = np.median(np.abs(found.p_valid[found.p_valid > 0.0] - threshold))
    doubtful, distant = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    assert max(abs(c.p_valid - threshold) for c in doubtful) < visited
    assert all(c.metrics is not None for c in distant)


def test_designs_that_look_alike_leave_their_budget_to_the_uncertain(surrogate: SurrogateSimulator) -> None:
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    same = replace(found, claims=[found.claims[0]] * 8)
    settings = CHOOSE
    kinds = Counter(c.kind for c in choose(same, surrogate, 20, settings, np.random.default_rng(2)))
    assert kinds == {"best": 1, "uncertain": 15, "random": 4}


def test_a_quarter_is_labelled_to_decide_and_not_to_be_learnt(surrogate: SurrogateSimulator) -> None:
    found = search(surrogate, SEARCH, np.random.default_rng(1))
    chosen = choose(found, surrogate, 60, CHOOSE, np.random.default_rng(2))
    others = np.array(
        [nmcf().vector(c.sizing) for c in chosen if c.kind != "best"]
    )  # there are few ends to choose from
    assert on_side(positions(nmcf(), others), "test").sum() == len(others) // 4
    none = choose(found, surrogate, 60, CHOOSE.model_copy(update={"gate": 0.0}), np.random.default_rng(2))
    vectors = np.array([nmcf().vector(c.sizing) for c in none])
    assert on_side(positions(nmcf(), vectors), "test").mean() < 0.1


# --- of a sample log ------------------------------------------------------------------------------------------------


def logged(folder: Path, rows: list[Sample]) -> Log:
    with SampleLog(folder) as log:
        log.append_many(rows)
    return Log.read(folder, nmcf(), "functional")


def predicted(sizing: dict[str, float], **changes: Any) -> Sample:
    """A row as an environment on the surrogate writes it."""
    return make_row(nmcf(), sizing, backend="surrogate", raw={}, provenance={"checkpoint": "0"}, **changes)


def test_of_a_log_what_waits_for_a_label_is_chosen_as_it_was_logged(
    surrogate: SurrogateSimulator, tmp_path: Path
) -> None:
    rows = [predicted(sizing) for sizing in sizings(nmcf(), 300)]
    log = logged(tmp_path, [*rows, *rows[:50], *(make_row(nmcf(), row.sizing) for row in rows[:40])])
    assert len(log.waiting) == 260
    assert len(log.labelled) == 40
    found = found_in_log(log, surrogate, 40, CHOOSE, np.random.default_rng(1))
    chosen = choose(found, surrogate, 40, CHOOSE, np.random.default_rng(2))
    assert Counter(c.kind for c in chosen) == {"best": 16, "uncertain": 16, "random": 8}
    ids = {identity(nmcf(), c) for c in chosen}
    assert len(ids) == 40
    assert ids <= {row.sample_id for row in rows[40:]}
    vectors = np.array([nmcf().vector(c.sizing) for c in chosen])
    assert inside_models(nmcf(), vectors).all()
    assert on_side(positions(nmcf(), vectors), "test").sum() == 10


def test_the_most_promising_rows_of_a_log_are_those_for_their_own_targets(
    surrogate: SurrogateSimulator, tmp_path: Path
) -> None:
    drawn = [s for s in sizings(nmcf(), 300) if inside_models(nmcf(), nmcf().vector(s)[None])[0]]
    speeds = [outcome.metrics["gbw"] for outcome in surrogate.simulate(nmcf().cases(drawn)) if outcome.metrics]
    easy, hard = {"gbw": min(speeds) / 2.0}, {"gbw": max(speeds) * 2.0}
    log = logged(tmp_path, [predicted(s, targets=easy if i % 3 == 0 else hard) for i, s in enumerate(drawn)])
    found = found_in_log(log, surrogate, 10, CHOOSE, np.random.default_rng(1))
    expected = sum(outcome.success for outcome in surrogate.simulate(nmcf().cases(drawn[::3])))
    assert expected > 20
    feasible = [claim.design.feasible for claim in found.claims]
    assert all(feasible[:expected])
    assert not any(feasible[expected:])
    margins = [claim.design.margins["gbw"] for claim in found.claims[:expected]]
    assert margins == sorted(margins, reverse=True)
    assert {tuple(claim.targets) for claim in found.claims} == {("gbw",)}


def test_an_empty_log_gives_nothing_to_choose(surrogate: SurrogateSimulator, tmp_path: Path) -> None:
    log = Log.read(tmp_path, nmcf(), "functional")
    found = found_in_log(log, surrogate, 10, CHOOSE, np.random.default_rng(1))
    assert choose(found, surrogate, 10, CHOOSE, np.random.default_rng(2)) == []


def test_rows_that_cannot_be_learnt_together_are_left_out_of_a_log(tmp_path: Path) -> None:
    drawn = sizings(nmcf(), 12, "log")
    hot = nmcf().conditions.replace(temperature=125.0).as_dict()
    rows = [
        predicted(drawn[0]),
        predicted(drawn[1], netlist_hash="0" * 64),
        predicted(drawn[2], conditions=hot),
        make_row(nmcf(), drawn[3], policy="measured"),
        make_row(nmcf(), drawn[4]),
        make_row(nmcnr(), sizings(nmcnr(), 1, "log")[0]),
    ]
    with pytest.warns(SampleLogWarning) as told:
        log = logged(tmp_path, rows)
    assert [row.sizing for row in log.labelled.values()] == [drawn[4]]
    np.testing.assert_array_equal(log.vectors, [nmcf().vector(drawn[0])])
    assert sorted(str(w.message).partition(": ")[2] for w in told) == [
        "left out 1 rows labelled by the verdict policy 'measured', not 'functional'",
        "left out 1 rows of another version of the netlist",
    ]
