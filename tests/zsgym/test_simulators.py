"""The factory, the surrogate backend alone and in a hybrid, and both beside ngspice."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeSimulator, ask

from surrogate import simulator as surrogate_module
from surrogate.checkpoint import Checkpoint, CheckpointError
from surrogate.predict import ZeroShotWarning
from surrogate.simulator import SurrogateSimulator
from tests.surrogate.synthetic import RC_LOADED, TINY_PINS, nmcf, sizings, untrained_checkpoint
from zsgym.base.errors import ConfigError
from zsgym.circuits import load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes import Failure
from zsgym.classes.amplifier import METRICS
from zsgym.pdk import load_corner
from zsgym.simulators import Simulator, list_backends, make_simulator
from zsgym.simulators.hybrid import HybridSimulator
from zsgym.simulators.ngspice.deck import size_netlist
from zsgym.simulators.outcome import Outcome, Status

MANY = sizings(nmcf(), 60)


# --- factory --------------------------------------------------------------------------------------------------------


def test_backends_are_made_by_name(checkpoint: Path, fake_ngspice: list[Any]) -> None:
    options: dict[str, dict[str, Any]] = {
        "ngspice": {"policy": "measured"},
        "physics": {"policy": "measured"},
        "surrogate": {"checkpoint": str(checkpoint)},
        "hybrid": {"checkpoint": str(checkpoint), "policy": "functional", "confidence": 0.9, "targets": {"gbw": 1e6}},
    }
    assert set(options) == set(list_backends())
    for name, chosen in options.items():
        with closing(make_simulator(name, nmcf(), workers=2, **chosen)) as simulator:
            assert isinstance(simulator, Simulator)
            assert simulator.name == ("fake" if name == "ngspice" else name)
    assert [fake.options for fake in fake_ngspice] == [
        {"workers": 2, "policy": "measured"},
        {"workers": 2, "policy": "functional"},
    ]
    assert isinstance(simulator, HybridSimulator)
    assert (simulator.confidence, simulator.targets) == (0.9, {"gbw": 1e6})


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        (
            "ngspcie",
            {},
            r"unknown backend 'ngspcie'\. Did you mean 'ngspice'\? Choose one of: hybrid, ngspice, physics, surrogate",
        ),
        ("ngspice", {"checkpoint": "x"}, "backend 'ngspice' takes no option 'checkpoint'"),
        ("surrogate", {"polciy": 1}, "backend 'surrogate' takes no option 'polciy'. Did you mean 'policy'"),
        ("surrogate", {"policy": "measured"}, "trained on labels of the verdict policy 'functional', not 'measured'"),
        ("surrogate", {"policy": "fuctional"}, "nmcf has no verdict policy 'fuctional'. Did you mean 'functional'"),
        ("hybrid", {"policy": "measured"}, "trained on labels of the verdict policy 'functional', not 'measured'"),
        ("hybrid", {"confidense": 1}, "backend 'hybrid' takes no option 'confidense'. Did you mean 'confidence'?"),
        ("hybrid", {"surrogate": 1}, "backend 'hybrid' takes no option 'surrogate'"),
    ],
)
def test_mistakes_name_the_valid_choices(
    fake_ngspice: list[Any], backend: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_simulator(backend, nmcf(), **options)
    assert fake_ngspice == []


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*gone"):
        make_simulator("surrogate", nmcf(), checkpoint=tmp_path / "gone.safetensors")


def test_the_shipped_checkpoint_is_the_default(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate_module, "shipped", lambda: checkpoint)
    assert (
        make_simulator("surrogate", nmcf()).provenance
        == make_simulator("surrogate", nmcf(), checkpoint=str(checkpoint)).provenance
    )


# --- surrogate ------------------------------------------------------------------------------------------------------


def same(a: Outcome, b: Outcome) -> bool:
    """Equal but for time and the rounding of another batch size."""

    def near(x: Any, y: Any) -> bool:
        if isinstance(x, float):
            return math.isclose(x, y, rel_tol=1e-3)
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(near(x[name], y[name]) for name in x)
        if isinstance(x, tuple):
            return len(x) == len(y) and all(map(near, x, y))
        return bool(x == y)

    names = ("status", "failure", "metrics", "raw", "p_valid", "uncertainty", "in_distribution", "backend", "error")
    return all(near(getattr(a, name), getattr(b, name)) for name in names)


def test_outcomes_say_what_was_predicted(surrogate: SurrogateSimulator) -> None:
    outcomes, predictions = ask(surrogate, MANY), surrogate.predict(nmcf().cases(MANY))
    for row, outcome in enumerate(outcomes):
        assert outcome.backend == "surrogate"
        assert outcome.p_valid == predictions.p_valid[row]
        assert outcome.in_distribution is bool(predictions.in_distribution[row])
        assert outcome.error is None
        assert 0.0 < outcome.elapsed_s < 1.0
        assert dict(outcome.raw) == {}
        if predictions.valid[row]:
            assert (outcome.status, outcome.label, outcome.failure) == (Status.SUCCESS, 1, None)
            assert outcome.metrics == dict(zip(METRICS.names, predictions.metrics[row].tolist(), strict=True))
            assert all(type(value) is float for value in outcome.metrics.values())
            assert outcome.uncertainty is not None
            for name, (low, high) in outcome.uncertainty.items():
                assert low < outcome.metrics[name] < high
        else:
            assert (outcome.status, outcome.label) == (Status.CIRCUIT_FAILURE, 0)
            assert outcome.metrics is None
            assert outcome.uncertainty is None
    reasons = [outcome.failure for outcome in outcomes]
    outside = ~inside_models(nmcf(), np.array([nmcf().vector(sizing) for sizing in MANY]))
    assert [reason == Failure.GEOMETRY for reason in reasons] == outside.tolist()
    assert {Failure.GEOMETRY, Failure.PREDICTED, None} == set(reasons)


def test_it_keeps_order_and_needs_no_batch(surrogate: SurrogateSimulator) -> None:
    together = ask(surrogate, MANY)
    assert all(map(same, ask(surrogate, MANY[::-1]), together[::-1]))
    assert all(same(ask(surrogate, [sizing])[0], outcome) for sizing, outcome in zip(MANY[:9], together, strict=False))
    assert ask(surrogate, []) == []
    assert ask(surrogate, tuple(MANY[:2]), nmcf().conditions, errors="return")[1].p_valid == pytest.approx(
        together[1].p_valid
    )


@pytest.mark.parametrize("change", [{"W_nonsense": 1.0}, {"W_gm3": math.nan}, {"W_gm3": -1.0}, {"W_gm3": "1"}])
def test_nonsense_refuses_the_whole_batch(surrogate: SurrogateSimulator, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        ask(surrogate, [MANY[0], {**MANY[1], **change}])
    incomplete = {name: value for name, value in MANY[0].items() if name != "cap1"}
    with pytest.raises(ConfigError, match="missing cap1"):
        ask(surrogate, [incomplete])


@pytest.mark.parametrize(
    ("changes", "known", "wanted"),
    [
        ({"corner": "ss"}, "corner tt", "corner ss"),
        ({"temperature": 85.0, "supply": 1.62}, "supply 1.8 V, temperature 27 C", "supply 1.62 V, temperature 85 C"),
        ({"load": 2e-11}, "load 10 pF", "load 20 pF"),
        ({"common_mode_ratio": 0.5}, "common mode ratio 0.4", "common mode ratio 0.5"),
    ],
)
def test_other_conditions_are_refused(
    surrogate: SurrogateSimulator, changes: dict[str, Any], known: str, wanted: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        ask(surrogate, MANY[:1], nmcf().conditions.replace(**changes))
    assert str(refused.value) == (
        f'the surrogate knows nmcf at {known} only, not at {wanted}: use backend="ngspice" for other conditions '
        "(on the command line --backend ngspice)"
    )


def test_provenance_names_the_file(surrogate: SurrogateSimulator, checkpoint: Path) -> None:
    assert surrogate.provenance == {"checkpoint": Checkpoint.load(checkpoint).sha256[:16]}


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copy", "pickle"])
def test_copies_give_the_same_answers(
    surrogate: SurrogateSimulator, duplicate: Callable[[SurrogateSimulator], SurrogateSimulator]
) -> None:
    ask(surrogate, MANY[:1])
    other = duplicate(surrogate)
    assert all(map(same, ask(other, MANY), ask(surrogate, MANY)))
    surrogate.close()
    surrogate.close()
    assert all(map(same, ask(other, MANY[:2]), ask(surrogate, MANY[:2])))


def test_the_big_model_serves_as_well(tmp_path: Path) -> None:
    untrained_checkpoint([nmcf()], TINY_PINS).save(tmp_path / "pins.safetensors")
    outcomes = ask(SurrogateSimulator(nmcf(), checkpoint=tmp_path / "pins.safetensors"), MANY)
    assert {outcome.status for outcome in outcomes} == {Status.SUCCESS, Status.CIRCUIT_FAILURE}


def test_a_topology_that_was_never_seen_is_answered_with_a_warning(checkpoint: Path) -> None:
    unseen = load_circuit(RC_LOADED)
    with pytest.warns(ZeroShotWarning, match="not on rc_loaded"):
        simulator = make_simulator("surrogate", unseen, checkpoint=checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = ask(simulator, [unseen.known_good["hand_sized"]])
    assert outcomes[0].in_distribution is False
    assert outcomes[0].label in (0, 1)


# --- hybrid (its policy: see test_hybrid.py) -------------------------------------------------------------------------


def test_a_real_surrogate_in_a_hybrid(surrogate: SurrogateSimulator) -> None:
    hybrid = HybridSimulator(surrogate, FakeSimulator(nmcf()), targets={"gbw": 1e-9})
    outcomes = ask(hybrid, MANY)
    assert {"surrogate", "fake"} == {outcome.backend for outcome in outcomes}
    assert hybrid.answered["surrogate"] == sum(outcome.backend == "surrogate" for outcome in outcomes)
    direct = ask(surrogate, MANY)
    assert all(same(a, b) for a, b in zip(outcomes, direct, strict=True) if a.backend == "surrogate")
    with pytest.raises(ConfigError, match="missing"):
        ask(hybrid, [{}])


# --- against ngspice ------------------------------------------------------------------------------------------------


@pytest.mark.ngspice
def test_surrogate_and_ngspice_agree_about_geometry(surrogate: SurrogateSimulator) -> None:
    edge = dict(nmcf().known_good["robust"])
    near = [
        {**edge, name: value}
        for name, values in {
            "W_gm3": (0.3585, 0.3595, 0.36, 0.4),
            "W_gm2": (0.4185, 0.4195, 0.42),
            "L_gm3": (0.1485, 0.1495, 0.15),
        }.items()
        for value in values
    ]
    asked = [*near, *(sizing for sizing in MANY if ask(surrogate, [sizing])[0].failure == Failure.GEOMETRY)]
    models = load_corner(nmcf().conditions.corner)
    expected = [size_netlist(nmcf(), sizing, models) is None for sizing in asked]
    assert [outcome.failure == Failure.GEOMETRY for outcome in ask(surrogate, asked)] == expected
    assert set(expected[: len(near)]) == {True, False}


@pytest.mark.ngspice
def test_a_hybrid_asks_ngspice(surrogate: SurrogateSimulator) -> None:
    good = nmcf().known_good["robust"]
    outside = {**good, "L_gm3": 0.1}
    with closing(make_simulator("ngspice", nmcf())) as truth:
        hybrid = HybridSimulator(surrogate, truth, confidence=0.999)
        doubtful, exact = ask(hybrid, [good, outside])
    assert (exact.backend, exact.failure) == ("surrogate", Failure.GEOMETRY)
    assert (doubtful.backend, doubtful.status) == ("ngspice", Status.SUCCESS)
    assert doubtful.p_valid is None
    assert doubtful.raw["dc_gain"] == doubtful.metrics["dc_gain"]  # type: ignore[index]
    assert hybrid.answered == {"surrogate": 1, "ngspice": 1}
    assert replace(doubtful, elapsed_s=0.0).label == 1
