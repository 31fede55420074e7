"""What commands in tests get: fake simulators, files, sizings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeSimulator
from zsgym import simulators
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.datasets import sample


@pytest.fixture
def circuit() -> Circuit:
    return load_circuit("nmcf")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> list[FakeSimulator]:
    """Every simulator that a command makes is a fake one, kept here with the options it was made with."""
    made: list[FakeSimulator] = []

    def make(backend: str, circuit: Circuit, **options: Any) -> FakeSimulator:
        if backend != "ngspice":
            raise ConfigError(f"unknown backend {backend!r}; choose one of: ngspice")
        simulator = FakeSimulator(circuit)
        simulator.options = options  # type: ignore[attr-defined]
        made.append(simulator)
        return simulator

    monkeypatch.setattr(simulators, "make_simulator", make)
    return made


def write(path: Path, content: Any) -> Path:
    """A file with a text, or with anything else as JSON."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def sizings(circuit: Circuit, count: int) -> list[dict[str, float]]:
    """A few uniform sizings; the fake simulator finds some that work and some that do not."""
    return [sample(circuit, "uniform", 1, index) for index in range(count)]
