"""Backends that turn a sizing into an outcome, and the one function that makes them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from zsgym.circuits import Circuit, did_you_mean
from zsgym.errors import ConfigError
from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status
from zsgym.simulators.base import Simulator


def make_simulator(backend: str, circuit: Circuit, *, workers: int = 1, **options: Any) -> Simulator:
    """A simulator of one circuit.

    :param backend: `ngspice` (the truth), `surrogate` (a trained model) or `hybrid` (the model where it is trusted).
    :param workers: parallel ngspice processes. :param options: passed to the backend: see `NgspiceSimulator`,
        `SurrogateSimulator`; the hybrid takes those of both, and its own `confidence` and `targets`.
    :raises ConfigError: unknown backend, or an option that it does not take.
    """
    if backend not in _MAKERS:
        raise ConfigError(f"unknown backend {backend!r}. {did_you_mean(backend, _MAKERS, 'Choose one of')}")
    return _MAKERS[backend](circuit, workers, options)


def _make_ngspice(circuit: Circuit, workers: int, options: Mapping[str, Any]) -> Simulator:
    from zsgym.simulators.ngspice.simulator import NgspiceSimulator

    _refuse_unknown("ngspice", options, NgspiceSimulator)
    return NgspiceSimulator(circuit, workers=workers, **options)


def _make_surrogate(circuit: Circuit, workers: int, options: Mapping[str, Any]) -> Simulator:
    from zsgym.simulators.surrogate import SurrogateSimulator

    _refuse_unknown("surrogate", options, SurrogateSimulator)
    return SurrogateSimulator(circuit, **options)


def _make_hybrid(circuit: Circuit, workers: int, options: Mapping[str, Any]) -> Simulator:
    from zsgym.simulators.hybrid import HybridSimulator
    from zsgym.simulators.ngspice.simulator import NgspiceSimulator
    from zsgym.simulators.surrogate import SurrogateSimulator

    _refuse_unknown("hybrid", options, HybridSimulator, SurrogateSimulator, NgspiceSimulator)
    model = SurrogateSimulator(circuit, **_taken_by(SurrogateSimulator, options))
    truth = NgspiceSimulator(circuit, workers=workers, **_taken_by(NgspiceSimulator, options))
    return HybridSimulator(model, truth, **_taken_by(HybridSimulator, options))


_MAKERS: dict[str, Callable[[Circuit, int, Mapping[str, Any]], Simulator]] = {
    "ngspice": _make_ngspice,
    "surrogate": _make_surrogate,
    "hybrid": _make_hybrid,
}
BACKENDS = tuple(_MAKERS)
"""Names of the backends."""


def _option_names(kind: type) -> set[str]:
    parameters = inspect.signature(kind).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"workers"}


def _taken_by(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in _option_names(kind)}


def _refuse_unknown(backend: str, options: Mapping[str, Any], *kinds: type) -> None:
    known = set().union(*map(_option_names, kinds))
    for name in options:
        if name not in known:
            raise ConfigError(f"backend {backend!r} takes no option {name!r}. {did_you_mean(name, sorted(known))}")


__all__ = ["BACKENDS", "Conditions", "Failure", "Outcome", "Simulator", "Sizing", "Status", "make_simulator"]
