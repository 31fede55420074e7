"""The retraining loop on disk: rounds that can be interrupted anywhere, and what each has found.

Each round (1) takes what an agent has found on the surrogate: in a sample log, or in searches of its own; (2) chooses
the most promising designs, the least certain sizings and a few random ones, (3) labels them in ngspice, (4) fine-tunes
and recalibrates the surrogate on them among rows of base data sets, and (5) keeps the new checkpoint only if it is
better, beyond chance, on rows that nothing was trained on. `agents/retrain.py` shows the same in a page.

    RUN/state.json            every finished round            RUN/labels/            labels, where no log was given
    RUN/surrogate.safetensors the checkpoint in force         RUN/MODEL_CARD.md      what it is and how good it is
    RUN/round-NN/             chosen sizings, training state and candidate of a round
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.data import Rows
from surrogate.retrain.card import model_card
from surrogate.retrain.choose import ChooseSettings, Chosen, choose, found_in_log
from surrogate.retrain.gate import GateSettings, compare, scores_by_set, summaries
from surrogate.retrain.label import findings, label
from surrogate.retrain.learn import fine_tune
from surrogate.retrain.log import Log
from surrogate.retrain.recalibrate import CalibrateSettings
from surrogate.retrain.rows import Base, LearnSettings, mixed_corpus
from surrogate.retrain.search import SearchSettings, search
from surrogate.simulator import SurrogateSimulator
from zsgym.base.errors import ConfigError
from zsgym.base.files import copy_file, write_text
from zsgym.base.paths import data_root
from zsgym.base.problems import read_model
from zsgym.circuits import Circuit
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import Simulator, make_simulator


class Settings(BaseModel):
    """See `configs/surrogate/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: SearchSettings
    choose: ChooseSettings
    learn: LearnSettings
    calibrate: CalibrateSettings
    gate: GateSettings

    @classmethod
    def shipped(cls) -> Path:
        """The file that comes with the package."""
        return data_root() / "configs" / "surrogate" / "retrain.yaml"


@dataclass(frozen=True)
class Arguments:
    """What the loop is asked for.

    circuit: whose surrogate is retrained. run: folder; the same arguments continue what it holds. log: sample log that
    agents have written, which also receives the labels; None lets an agent search on the surrogate instead. rounds.
    per_round: sizings that ngspice labels in a round. base: data sets that are replayed in every round, and whose
    test rows guard against forgetting. checkpoint: where to start from; None means the shipped one. config: settings.
    workers: parallel ngspice processes. seed: of every random draw.
    """

    circuit: Circuit
    run: Path
    log: Path | None = None
    rounds: int = 1
    per_round: int = 200
    base: Sequence[Path] = ()
    checkpoint: Path | None = None
    config: Path | None = None
    workers: int = 1
    seed: int = 1


class Loop:
    """A run of the loop and its state on disk.

    :param simulator: answers for the truth; the caller closes it.
    :raises ConfigError: the folder holds another run, or an argument is invalid.
    :raises SampleLogError: the log cannot be read.
    """

    def __init__(self, arguments: Arguments, simulator: Simulator | None = None) -> None:
        if arguments.rounds < 1 or arguments.per_round < 4 or arguments.seed < 0:
            raise ConfigError("rounds must be at least 1, per-round at least 4 and the seed not negative")
        self.arguments, self.circuit, self.folder = arguments, arguments.circuit, arguments.run
        self.settings = read_model(arguments.config or Settings.shipped(), Settings)
        self.init = Checkpoint.load(arguments.checkpoint or shipped())
        self.base = Base.read(arguments.base, [self.circuit])
        if self.base.policy not in (None, self.init.policy):
            raise ConfigError(
                f"the checkpoint was trained on labels of the verdict policy {self.init.policy!r}, the data sets hold "
                f"those of {self.base.policy!r}: give a --checkpoint of the same policy"
            )
        self.log = Log.read(arguments.log or self.folder / "labels", self.circuit, self.init.policy)
        if arguments.log is not None and not len(self.log.vectors) and not self.log.labelled:
            raise ConfigError(
                f"{arguments.log} holds no sizing of {self.circuit.name} at its default conditions: let an agent train "
                f'in an environment with backend="surrogate" and log={str(arguments.log)!r} first, or let the loop '
                "search by itself (--search)"
            )
        self.simulator = simulator or make_simulator(
            "ngspice", self.circuit, workers=arguments.workers, policy=self.init.policy
        )
        self.state = self._opened_state()

    def run(self) -> dict[str, Any]:
        """Everything that is not done yet; the final state."""
        if "start" not in self.state:
            self._start()
        for number in range(len(self.state["rounds"]) + 1, self.arguments.rounds + 1):
            self._round(number)
        if self.arguments.log is None and self.state.get("audit", {}).get("after") != self.arguments.rounds:
            self._audit()
        return self.state

    @property
    def current(self) -> Checkpoint:
        """The checkpoint that the last finished round left in force."""
        return Checkpoint.load(self._path(self.state["current"]))

    def _start(self) -> None:
        """The checkpoint of round zero and its scores."""
        place = self.folder / "start.safetensors"
        self.init.save(place)
        self.state |= {"start": Checkpoint.load(place).sha256[:16], "current": place.name, "rounds": []}
        self.state["start_scores"] = summaries(scores_by_set(self.current, self.base.rows, None))
        self._save()

    def _round(self, number: int) -> None:
        folder = self.folder / f"round-{number:02d}"
        before = self.current
        found = self._labelled(
            folder, f"retrain/round-{number}", self.arguments.per_round, self.settings.choose, number
        )
        new = self._new_rows()
        place = folder / "candidate.safetensors"
        if not place.is_file() and new is not None and new.side("train").valid.any():
            rng = np.random.default_rng([self.arguments.seed, number, 2])
            corpus = mixed_corpus(self.base, new, before.normaliser, self.init.policy, self.settings.learn, rng)
            facts = {"retraining_round": number, "labelled": len(new.vectors)}
            seed = self.arguments.seed + number
            learn, calibrate = self.settings.learn, self.settings.calibrate
            fine_tune(corpus, new, before, folder / "tune", learn, calibrate, seed, facts).save(place)
        self.state.pop("audit", None)  # of an earlier, shorter run
        simulations = self.state.get("simulations", 0) + found["labelled"]
        self.state["simulations"] = simulations
        gate = self._gate(before, place, new)
        self.state["rounds"].append(
            {"round": number, "checkpoint": before.sha256[:16], **found, "simulations": simulations, **gate}
        )
        if gate["promoted"]:
            self.state["current"] = f"{folder.name}/{place.name}"
        self._save()
        outcome = (
            f"promoted (p = {gate['p']:.2g})" if gate["promoted"] else f"kept as it is: {'; '.join(gate['refused'])}"
        )
        say(f"round {number}: {_summary(found)}; the checkpoint is {outcome}")
        for note in gate["calibration_kept"]:
            say(f"calibration of {note}")

    def _gate(self, before: Checkpoint, place: Path, new: Rows | None) -> dict[str, Any]:
        """Whether the candidate of a round is promoted, and the scores that say so."""
        if new is None or not place.is_file():
            reason = "nothing was trained, as no new training row works: label more (--per-round, --rounds)"
            untouched = {"before": summaries(scores_by_set(before, self.base.rows, new)), "after": {}}
            nothing = {"candidate": None, "promoted": False, "refused": [reason], "p": None, "calibration_kept": []}
            return {"untouched": untouched, **nothing}
        candidate = Checkpoint.load(place)
        verdict = compare(before, candidate, self.base.rows, new, self.settings.gate)
        return {
            "candidate": candidate.sha256[:16],
            "untouched": {"before": verdict.before, "after": verdict.after},
            "promoted": not verdict.refused,
            "refused": verdict.refused,
            "p": verdict.p,
            "calibration_kept": candidate.provenance["calibration_kept"],
        }

    def _audit(self) -> None:
        """Search the final checkpoint once more, and simulate the designs that the searches end with."""
        after = self.arguments.rounds
        count = round(self.settings.choose.best * self.arguments.per_round)
        only_best = self.settings.choose.model_copy(update={"best": 1.0, "uncertain": 0.0})
        found = self._labelled(
            self.folder / f"audit-{after:02d}", f"retrain/audit-{after}", count, only_best, after + 1
        )
        self.state["simulations"] += found["labelled"]
        untouched = summaries(scores_by_set(self.current, self.base.rows, self._new_rows()))
        self.state["audit"] = {"after": after, "checkpoint": self.current.sha256[:16], **found, "untouched": untouched}
        self._save()
        say(f"after round {after}: {_summary(found)}")

    def _labelled(
        self, folder: Path, strategy: str, count: int, settings: ChooseSettings, stream: int
    ) -> dict[str, Any]:
        """Let the agent find, choose, label: what is there already is not done again."""
        place = folder / "designs.json"
        checkpoint = self.current
        if not place.is_file():
            surrogate = SurrogateSimulator(
                self.circuit, checkpoint=self._path(self.state["current"]), policy=self.init.policy
            )
            rng = np.random.default_rng([self.arguments.seed, stream, 1])
            if self.arguments.log is None:
                found = search(surrogate, self.settings.search, rng)
            else:
                found = found_in_log(self.log, surrogate, count, settings, rng)
            chosen = choose(found, surrogate, count, settings, rng)
            write_text(place, json.dumps([c.as_dict() for c in chosen], indent=1) + "\n")
        chosen = [Chosen(**fields) for fields in json.loads(place.read_text(encoding="utf-8"))]
        labels = label(
            self.log,
            chosen,
            self.simulator,
            strategy=strategy,
            seed=self.arguments.seed,
            workers=self.arguments.workers,
        )
        return findings(self.circuit, chosen, labels, checkpoint.normaliser)

    def _new_rows(self) -> Rows | None:
        """All that the log has labelled inside the models, without what the base data sets hold already."""
        return self.log.rows(self.base.rows.get(self.circuit.name))

    def _opened_state(self) -> dict[str, Any]:
        log = self.arguments.log
        identity = {
            "circuit": self.circuit.name,
            "netlist": self.circuit.netlist_hash,
            "log": None if log is None else str(log),
            "per_round": self.arguments.per_round,
            "seed": self.arguments.seed,
            "settings": json.loads(self.settings.model_dump_json()),
            "data": {"paths": [str(path) for path in self.arguments.base], "hash": self.base.digest},
            "init": self.init.sha256[:16],
            "init_file": None if self.arguments.checkpoint is None else str(self.arguments.checkpoint),
        }
        place = self.folder / "state.json"
        if place.is_file():
            state: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            other = [key for key, value in identity.items() if state["identity"].get(key) != value]
            if other:
                raise ConfigError(
                    f"{self.folder} holds a run with another {', '.join(other)}: repeat its command to continue it, "
                    "or choose another --run"
                )
        else:
            state = {"identity": identity, "rows": self.base.counts(), "processes": []}
        state["processes"].append(provenance_of_this_process())
        return state

    def _save(self) -> None:
        """State, current checkpoint under its stable name, model card."""
        write_text(self.folder / "state.json", json.dumps(self.state, indent=1) + "\n")
        copy_file(self._path(self.state["current"]), self.folder / "surrogate.safetensors")
        write_text(self.folder / "MODEL_CARD.md", model_card(self.state, self.current))

    def _path(self, relative: str) -> Path:
        return self.folder / relative


def say(line: str) -> None:
    """One line of progress, at once, also into a file."""
    print(line, flush=True)


def _summary(found: dict[str, Any]) -> str:
    claims = found["claims"]
    if not claims["designs"]:
        return f"{found['labelled']} sizings labelled; the surrogate called no design feasible"
    return (
        f"{found['labelled']} sizings labelled; of {claims['designs']} designs called feasible ngspice confirms "
        f"{claims['confirmed']} ({claims['share']:.0%})"
    )
