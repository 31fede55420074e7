"""Environments on a fake simulator: what the registered ids make with ngspice and the hybrid, without ngspice."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeSimulator

from surrogate.simulator import SurrogateSimulator
from zsgym import simulators
from zsgym.circuits import Circuit, load_circuit
from zsgym.envs.env import SizingEnv
from zsgym.simulators.hybrid import HybridSimulator


@pytest.fixture
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> list[FakeSimulator]:
    """Let `backend="ngspice"` make fakes, also below a hybrid, and collect them."""
    made: list[FakeSimulator] = []
    real = simulators.make_simulator

    def make(backend: str, circuit: Circuit, *, workers: int = 1, **options: Any) -> Any:
        if backend == "surrogate":
            return real(backend, circuit, workers=workers, **options)
        made.append(FakeSimulator(circuit, **options))
        return HybridSimulator(SurrogateSimulator(circuit), made[-1]) if backend == "hybrid" else made[-1]

    monkeypatch.setattr(simulators, "make_simulator", make)
    return made


@pytest.fixture
def nmcf() -> Circuit:
    return load_circuit("nmcf")


@pytest.fixture
def make_env(nmcf: Circuit) -> Callable[..., SizingEnv]:
    """A single environment on a fake of its own, without a log unless one is asked for."""

    def make(**arguments: Any) -> SizingEnv:
        simulator = arguments.pop("simulator", None) or FakeSimulator(nmcf)
        return SizingEnv(nmcf, backend=simulator, **{"log": False, **arguments})

    return make


EASY_TARGETS = {
    "tc": 1.0,
    "power": 1.0,
    "vos": 1.0,
    "cmrr": 1.0,
    "dc_gain": 1.0,
    "gbw": 1.0,
    "phase_margin": 1.0,
    "psrr_p": 1.0,
    "psrr_n": 1.0,
    "slew_rate": 1.0,
    "settling_time": 1.0,
}
"""Targets that every working amplifier of the fake meets: an episode ends with the first sizing that works."""


@pytest.fixture
def easy_targets() -> dict[str, float]:
    return dict(EASY_TARGETS)
