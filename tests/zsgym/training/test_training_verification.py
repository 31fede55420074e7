"""Which designs ngspice is asked for, what its answers say of the surrogate, and the file of a training."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from surrogate.simulator import SurrogateSimulator
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf
from zsgym.base.errors import SimulatorMissingError
from zsgym.simulators.ngspice import simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.problem import Problem
from zsgym.training.archive import Archive
from zsgym.training.callbacks import record
from zsgym.training.figures import margin_figure
from zsgym.training.verification import Verifier, require_ngspice, write_results


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 1.0, (count, len(nmcf().parameters)))


def filled(count: int = 50) -> Archive:
    archive = Archive(nmcf(), nmcf().targets)
    archive.add(points(count), -np.random.default_rng(1).uniform(0.1, 1, (count, 11)))
    return archive


def test_the_verifier_follows_the_belief_and_learns() -> None:
    circuit = nmcf()
    surrogate = SurrogateSimulator(circuit)
    belief = Belief(surrogate.checkpoint, circuit, circuit.targets)
    archive = filled()
    with torch.inference_mode():
        first = belief.log_feasibility(torch.from_numpy(belief.scale.positions(archive.points))).numpy()
    with Problem(circuit, backend=FakeSimulator(circuit), budget=4) as truth:
        verifier = Verifier(surrogate, truth, belief)
        new = verifier.verify(archive, 3, step=7, every=True)
        np.testing.assert_array_equal(new[0].measured.point, archive.points[first.argmax()])
        assert [row.step for row in new] == [7, 7, 7]
        assert len({row.measured.point.tobytes() for row in new}) == 3
        assert new[0].belief == pytest.approx(np.exp(first.max()))
        # A continued run chooses as this one would have done.
        again = Belief(surrogate.checkpoint, circuit, circuit.targets)
        resumed = Verifier(surrogate, truth, again)
        resumed.verified = verifier.verified
        (mine,), (theirs,) = (v._ranked(archive.points)[0][:1] for v in (verifier, resumed))
        np.testing.assert_array_equal(mine, theirs)
        assert len(verifier.verify(archive, 3, step=8, every=True, least=2.0)) == 1  # nothing is that certain
        with Problem(circuit, backend=FakeSimulator(circuit), budget=2) as other:
            assert len(Verifier(surrogate, other, None).verify(archive, 3, step=8, every=True)) == 2  # the budget
        assert verifier.best is truth.best or verifier.best is not None
        assert truth.remaining == 0


class Optimist(FakeSimulator):
    """Half the power and the same otherwise."""

    def simulate(self, *arguments, **options):  # type: ignore[no-untyped-def]
        outcomes = super().simulate(*arguments, **options)
        return [replace(o, metrics={**o.metrics, "power": o.metrics["power"] / 2}) for o in outcomes if o.metrics]


@pytest.fixture
def verifier() -> Verifier:
    """Two designs are verified, and every spec but power is seen as it is."""
    circuit = nmcf()
    with Problem(circuit, backend=FakeSimulator(circuit, always_works=True)) as truth:
        verifier = Verifier(Optimist(circuit, always_works=True), truth, None)
        verifier.verify(filled(), 2, step=1, every=True)
    return verifier


def test_scalars_compare_the_two_simulators(verifier: Verifier) -> None:
    new = verifier.verified
    scalars = verifier.scalars(new)
    assert scalars["spice/calls"] == 2
    assert scalars["spice/best_reward"] == max(row.measured.reward for row in new)
    assert scalars["gap/power"] < 0.0
    assert scalars["gap/gbw"] == 0.0
    assert scalars["gap/reward"] <= 0.0


def test_the_figure_shows_both_simulators(verifier: Verifier) -> None:
    row = verifier.verified[0]
    (axes,) = margin_figure(row, nmcf(), verifier.truth.targets).axes
    _, bars = axes.containers
    (diamonds,) = (line for line in axes.lines if line.get_marker() == "D")
    assert dict(zip(nmcf().metrics.names, (bar.get_width() for bar in bars), strict=True)) == row.measured.margins
    assert {nmcf().metrics.names[int(y)]: x for x, y in diamonds.get_xydata()} == row.predicted.margins
    assert row.predicted.margins["power"] > row.measured.margins["power"]


def test_without_matplotlib_there_are_scalars_and_no_figure(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = Logger(folder=None, output_formats=[])
    record(logger, verifier, verifier.verified)
    assert "spice/best_design" in logger.name_to_value
    monkeypatch.delitem(sys.modules, "zsgym.training.figures")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    logger = Logger(folder=None, output_formats=[])
    record(logger, verifier, verifier.verified)
    assert set(logger.name_to_value) == set(verifier.scalars(verifier.verified))


def test_the_file_holds_every_verified_design_best_first(verifier: Verifier, tmp_path: Path) -> None:
    write_results(tmp_path / "designs.json", "ppo", verifier, filled(), 3, 640, {"seed": 7})
    written = json.loads((tmp_path / "designs.json").read_text())
    assert (written["steps"], written["simulations"], written["arguments"]) == (640, 2, {"seed": 7})
    rewards = [design["reward"] for design in written["designs"]]
    assert rewards == sorted(rewards, reverse=True)
    assert len(rewards) == 2
    assert written["provenance"]["fake"] == "1"


def test_without_verified_designs_the_file_holds_distinct_predictions(tmp_path: Path) -> None:
    fake = FakeSimulator(nmcf(), always_works=True)
    with Problem(nmcf(), backend=fake) as truth:
        write_results(tmp_path / "designs.json", "ppo", Verifier(fake, truth, None), filled(), 3, 640, {})
    written = json.loads((tmp_path / "designs.json").read_text())
    assert written["simulations"] == 0
    assert len(written["designs"]) == 3
    assert not any("predicted" in design for design in written["designs"])


class NoWorkers:
    """The ngspice backend of a machine without ngspice."""

    def __init__(self, *_: object) -> None:
        pass

    def version(self) -> str:
        raise SimulatorMissingError("libngspice was not found")

    map = version

    def close(self) -> None:
        pass


def test_what_will_be_verified_needs_ngspice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "WorkerPool", NoWorkers)
    with Problem(nmcf()) as truth:
        require_ngspice(truth, 0)
        for budget in (None, 3):
            with pytest.raises(SimulatorMissingError, match=r"libngspice was not found\. With --spice-budget 0"):
                require_ngspice(truth, budget)
