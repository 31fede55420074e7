"""A retraining loop that runs in seconds: a simulator that follows a simple rule, tiny models, small settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from agents.retrain import Arguments
from agents.retrain_learn import StartSettings, fine_tune
from agents.retrain_rows import Base, LearnSettings, mixed_corpus
from tests.surrogate.synthetic import make_row, make_rows, nmcf, untrained_checkpoint, write_rows
from zsgym.circuits import Circuit
from zsgym.errors import SimulatorCrashError
from zsgym.outcome import Conditions, Outcome, Sizing, Status

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
    "choose": {"best": 0.4, "uncertain": 0.3, "distance": 0.02},
    "learn": {"replay": 300, "share": 0.3, "repeat": 4, "steps": 12, "learning_rate": 6e-3},
    "start": {"steps": 2, "learning_rate": 5e-3},
    "gate": {"tolerance": 0.3, "rows": 1},
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

    def simulate(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        self.calls += 1
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        if self.calls in self.crash_at:
            error = SimulatorCrashError("killed")
            return [Outcome(Status.INFRASTRUCTURE_ERROR, backend=self.name, error=error) for _ in sizings]
        self.answered += [tuple(sizing.values()) for sizing in sizings]
        return [self._answer(sizing) for sizing in sizings]

    def close(self) -> None:
        pass

    def _answer(self, sizing: Sizing) -> Outcome:
        row = make_row(self.circuit, sizing)
        status = Status.SUCCESS if row.label else Status.CIRCUIT_FAILURE
        metrics = {k: v for k, v in row.metrics.items() if v is not None} if row.label else None
        return Outcome(status, row.failure, metrics=metrics, raw=row.raw, backend=self.name)


def make_data(folder: Path) -> Path:
    """A base data set, a checkpoint that knows nothing, and one that was trained on a part of the data."""
    write_rows(folder / "data", make_rows(nmcf(), 500, "log"))
    blank = untrained_checkpoint([nmcf()])
    blank.save(folder / "blank.safetensors")
    base = Base.read([folder / "data"], 200)
    corpus = mixed_corpus(base, None, None, LearnSettings(**SETTINGS["learn"]), np.random.default_rng(0))
    weak = fine_tune(corpus, blank, folder / "weak", StartSettings(**SETTINGS["start"]), 0, scratch=True)
    weak.save(folder / "init.safetensors")
    return folder


def arguments(
    folder: Path, run: Path, *, sections: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any
) -> Arguments:
    """Arguments of a small run on the data of `make_data`."""
    config = run.with_suffix(".yaml")
    settings = {name: section | dict((sections or {}).get(name, {})) for name, section in SETTINGS.items()}
    config.write_text(yaml.safe_dump(settings))
    fields = {
        "rounds": 2,
        "per_round": 40,
        "run": run,
        "data": [folder / "data"],
        "init": folder / "init.safetensors",
        "config": config,
    }
    return Arguments(**(fields | changes))
