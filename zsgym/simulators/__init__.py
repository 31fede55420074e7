"""Backends that turn a sizing into an outcome, and the one function that makes them."""

from typing import Any

from zsgym.circuits import Circuit
from zsgym.errors import ConfigError
from zsgym.simulators.base import Conditions, Failure, Outcome, Simulator, Sizing, Status

BACKENDS = ("ngspice",)


def make_simulator(backend: str, circuit: Circuit, *, workers: int = 1, **options: Any) -> Simulator:
    """A simulator of one circuit.

    :param backend: one of BACKENDS. :param workers: parallel simulations. :param options: passed to the backend.
    :raises ConfigError: unknown backend, or an option that it does not take.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}; choose one of: {', '.join(BACKENDS)}")
    from zsgym.simulators.ngspice.simulator import NgspiceSimulator

    try:
        return NgspiceSimulator(circuit, workers=workers, **options)
    except TypeError as error:
        raise ConfigError(f"backend {backend!r}: {error}") from error


__all__ = ["BACKENDS", "Conditions", "Failure", "Outcome", "Simulator", "Sizing", "Status", "make_simulator"]
