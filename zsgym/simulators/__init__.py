"""Backends that turn cases into outcomes, and the one function that makes them.

A backend is found by the entry point group `zsgym.simulators`, so that a model of one's own, or another simulator, can
come from another package: its class takes the circuit, and options by keyword.
"""

import inspect
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.circuits import Case, Cases, Circuit, Sizing
from zsgym.classes import Conditions, Failure
from zsgym.simulators.base import Simulator
from zsgym.simulators.outcome import Outcome, Status

ENTRY_POINTS = "zsgym.simulators"
HYBRID = "hybrid"
_MODEL, _SOLVER, _TRUTH = "surrogate", "physics", "ngspice"
"""What the hybrid is made of."""


def list_backends() -> list[str]:
    """Names of the installed backends."""
    return sorted({*_entry_points(), HYBRID})


def make_simulator(backend: str, circuit: Circuit, *, workers: int = 1, **options: Any) -> Simulator:
    """A simulator of one circuit.

    :param backend: `ngspice` (the truth), `surrogate` (a trained model) or `hybrid` (the model where it is trusted).
    :param workers: parallel ngspice processes. :param options: passed to the backend: see `NgspiceSimulator`,
        `SurrogateSimulator`, `PhysicsSimulator`; the hybrid takes those of the first two, its own `confidence` and
        `targets`, and `physics=True` for the solver as a rung between them.
    :raises ConfigError: unknown backend, or an option that it does not take.
    """
    if backend == HYBRID:
        return _make_hybrid(circuit, workers, options)
    kind = backend_class(backend)
    _refuse_unknown(backend, options, kind)
    simulator: Simulator = _make(kind, circuit, workers, options)
    return simulator


def backend_class(name: str) -> type[Any]:
    """The class of a backend by its name.

    :raises ConfigError: there is none, or the package that it should be in is hidden by another of the same name.
    """
    points = _entry_points()
    if name not in points:
        raise ConfigError(f"unknown backend {name!r}. {did_you_mean(name, list_backends(), 'Choose one of')}")
    try:
        kind = points[name].load()
    except (ImportError, AttributeError) as error:
        package = points[name].module.split(".")[0]
        raise ConfigError(
            f"the backend {name!r} cannot be loaded from {points[name].value}: {error}. If another package named "
            f"{package!r} is installed or lies in the working folder, remove or rename it"
        ) from error
    assert isinstance(kind, type)
    return kind


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _make_hybrid(circuit: Circuit, workers: int, options: Mapping[str, Any]) -> Simulator:
    from zsgym.simulators.hybrid import HybridSimulator

    options = dict(options)
    with_solver = options.pop(_SOLVER, False)
    model, truth = backend_class(_MODEL), backend_class(_TRUTH)
    _refuse_unknown(HYBRID, options, HybridSimulator, model, truth)
    own = _taken_by(HybridSimulator, options)
    if with_solver:
        solver = backend_class(_SOLVER)
        own["solver"] = _make(solver, circuit, workers, _taken_by(solver, options))
    return HybridSimulator(
        _make(model, circuit, workers, _taken_by(model, options)),
        _make(truth, circuit, workers, _taken_by(truth, options)),
        **own,
    )


def _make(kind: type[Any], circuit: Circuit, workers: int, options: Mapping[str, Any]) -> Any:
    parallel = {"workers": workers} if "workers" in _keywords(kind) else {}
    return kind(circuit, **parallel, **options)


def _keywords(kind: type) -> set[str]:
    return {p.name for p in inspect.signature(kind).parameters.values() if p.kind is p.KEYWORD_ONLY}


def _taken_by(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in _keywords(kind)}


def _refuse_unknown(backend: str, options: Mapping[str, Any], *kinds: type) -> None:
    known = set().union(*map(_keywords, kinds)) - {"workers"}
    for name in options:
        if name not in known:
            raise ConfigError(f"backend {backend!r} takes no option {name!r}. {did_you_mean(name, sorted(known))}")


__all__ = [
    "Case",
    "Cases",
    "Conditions",
    "Failure",
    "Outcome",
    "Simulator",
    "Sizing",
    "Status",
    "backend_class",
    "list_backends",
    "make_simulator",
]
