"""Commands run in tests as a shell would see them, and an untrained surrogate, with fakes where ngspice would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surrogate.simulator import SurrogateSimulator
from tests.fakes import FakeSimulator
from tests.surrogate.synthetic import nmcf, nmcnr, untrained_checkpoint
from zsgym import cli
from zsgym.simulators.ngspice import simulator as ngspice_module

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line; gives exit code, stdout and stderr, and refuses a traceback."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that knows both shipped circuits; its answers are random, decided, and half of them positive."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    untrained_checkpoint([nmcf(), nmcnr()]).save(path)
    return path


@pytest.fixture
def surrogate(checkpoint: Path) -> SurrogateSimulator:
    return SurrogateSimulator(nmcf(), checkpoint=checkpoint)


@pytest.fixture
def fake_ngspice(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the factory make fakes instead of ngspice, and collect them."""
    made: list[Any] = []

    class Fake(FakeSimulator):
        def __init__(self, circuit: Any, *, workers: int = 1, policy: str = "functional") -> None:
            super().__init__(circuit)
            self.options = {"workers": workers, "policy": policy}
            made.append(self)

    monkeypatch.setattr(ngspice_module, "NgspiceSimulator", Fake)
    return made
