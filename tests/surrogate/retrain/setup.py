"""A retraining loop that runs in seconds: a simulator that follows a simple rule, tiny models, small settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from surrogate.config import read_config
from surrogate.retrain.loop import Arguments
from surrogate.train import train
from tests.surrogate.synthetic import TINY, make_row, make_rows, nmcf, untrained_checkpoint, write_config, write_rows
from zsgym.base.errors import SimulatorCrashError
from zsgym.circuits import Cases, Circuit
from zsgym.simulators import Outcome, Sizing, Status
from zsgym.simulators.base import Errors

SETTINGS: dict[str, dict[str, Any]] = {
    "search": {
        "searches": 16,
        "generations": 6,
        "population": 6,
        "step": 0.2,
        "starts": 6,
        "published": 0.25,
        "looser": 2.0,
        "tighter": 0.1,
    },
    "choose": {"best": 0.4, "uncertain": 0.3, "gate": 0.3, "distance": 0.02, "log_rows": 500},
    "learn": {"replay": 300, "share": 0.3, "repeat": 4, "steps": 12, "passes": 30, "learning_rate": 6e-3},
    "calibrate": {"working": 5, "failing": 5},
    "gate": {"rows": 5, "level": 0.2, "tolerance": 0.3},
}


class RuleSimulator:
    """Answers as ngspice would if amplifiers followed the synthetic rule.

    :param interrupt_at: call (from 1) in which Ctrl-C arrives. :param crash_at: calls in which nothing is answered.
    """

    name = "ngspice"

    def __init__(self, circuit: Circuit, interrupt_at: int | None = None, crash_at: Collection[int] = ()) -> None:
        self.circuit, self.interrupt_at, self.crash_at = circuit, interrupt_at, set(crash_at)
        self.calls = 0
        self.answered: list[tuple[float, ...]] = []

    @property
    def provenance(self) -> Mapping[str, str]:
        return {"ngspice": "rule"}

    def simulate(self, cases: Cases, *, errors: Errors = "raise") -> list[Outcome]:
        self.calls += 1
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        if self.calls in self.crash_at:
            error = SimulatorCrashError("killed")
            return [Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=error) for _ in cases]
        self.answered += [tuple(sizing.values()) for sizing in cases.sizings]
        return [self._answer(sizing) for sizing in cases.sizings]

    def close(self) -> None:
        pass

    def _answer(self, sizing: Sizing) -> Outcome:
        row = make_row(self.circuit, sizing)
        status = Status.SUCCESS if row.label else Status.CIRCUIT_FAILURE
        metrics = {k: v for k, v in row.metrics.items() if v is not None} if row.label else None
        return Outcome(status, row.failure, metrics=metrics, raw=row.raw, backend=self.name)


def make_data(folder: Path) -> Path:
    """A base data set, a checkpoint that knows nothing, and one that was trained a little on a part of the data."""
    write_rows(folder / "data", make_rows(nmcf(), 500, "log"))
    untrained_checkpoint([nmcf()]).save(folder / "blank.safetensors")
    training = {"epochs": 1, "batch_size": 128}
    config = write_config(folder / "weak.yaml", [folder / "data"], model=TINY.model_dump(), training=training)
    train(read_config(config, {"data.limit": 200}), folder / "weak").save(folder / "init.safetensors")
    return folder


def arguments(
    folder: Path, run: Path, *, sections: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any
) -> Arguments:
    """Arguments of a small run on the data of `make_data`, in which the loop searches by itself."""
    config = run.with_suffix(".yaml")
    settings = {name: section | dict((sections or {}).get(name, {})) for name, section in SETTINGS.items()}
    config.write_text(yaml.safe_dump(settings))
    fields = {
        "circuit": nmcf(),
        "run": run,
        "rounds": 2,
        "per_round": 40,
        "base": [folder / "data"],
        "checkpoint": folder / "init.safetensors",
        "config": config,
    }
    return Arguments(**(fields | changes))
