"""The retraining loop: find where the surrogate is wrong to an agent's advantage, ask ngspice, learn, and check.

    python agents/retrain.py --env zsgym/NMCF-v0 --rounds 5 --per-round 200 --run runs/retrain-nmcf

Each round (1) searches on the current surrogate, for many targets at once, (2) chooses the best designs, the least
certain sizings and a few random ones, (3) labels them with ngspice, (4) fine-tunes and recalibrates the surrogate on
them among rows of the base data sets, and (5) keeps the new checkpoint only if it is better on rows that nothing was
trained on; otherwise it goes back to the one before. At the end the last checkpoint is searched once more: what share
of the designs that it calls feasible does ngspice confirm?

Ctrl-C, a killed process, a full disk or a simulator that fails lose no labelled sample: the same command continues.

    RUN/state.json            every finished round            RUN/labels/            sample log: all labelled sizings
    RUN/surrogate.safetensors the current checkpoint          RUN/MODEL_CARD.md      what it is and how good it is
    RUN/round-NN/             designs, training state and candidate of a round
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gymnasium as gym
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

import zsgym  # noqa: F401  (registers the environments)
from agents.retrain_card import model_card
from agents.retrain_choose import ChooseSettings, Chosen, choose
from agents.retrain_label import findings, label
from agents.retrain_learn import GateSettings, StartSettings, fine_tune, judge_promotion, untouched_scores
from agents.retrain_rows import Base, LearnSettings, mixed_corpus
from agents.retrain_search import SearchSettings, search
from surrogate.checkpoint import Checkpoint, shipped
from surrogate.data import Rows, read_rows
from zsgym.circuits import Circuit, load_circuit, read_model
from zsgym.errors import ConfigError
from zsgym.files import copy_file, write_text
from zsgym.samples.generate import only_run_in
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.scripts import ending_in_one_line
from zsgym.simulators import Simulator, make_simulator
from zsgym.simulators.surrogate import SurrogateSimulator

ROUNDS = "rounds"
"""Name of the test rows of the rounds, among those of the circuits."""


class Settings(BaseModel):
    """See `configs/agents/retrain.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: SearchSettings
    choose: ChooseSettings
    learn: LearnSettings
    start: StartSettings
    gate: GateSettings


@dataclass
class Arguments:
    """What the loop is asked for."""

    env: str = "zsgym/NMCF-v0"
    """id of a registered environment: its circuit and targets"""
    rounds: int = 5
    """number of rounds"""
    per_round: int = 200
    """sizings that ngspice labels in a round"""
    run: Path = Path("runs/retrain")
    """folder of the run; the same command continues what it holds"""
    data: list[Path] = field(
        default_factory=lambda: [Path("data") / name for name in ("nmcf-uniform", "nmcf-targeted", "nmcnr-targeted")]
    )
    """base data sets: replayed in every round, and their test rows guard against forgetting"""
    init: Path | None = None
    """checkpoint to start from; None means the shipped one"""
    base_rows: int | None = None
    """start from a weak checkpoint instead: trained from scratch on this many rows per circuit, and nothing else"""
    config: Path = Path(__file__).resolve().parents[1] / "configs" / "agents" / "retrain.yaml"
    """settings of search, choice, training and gate"""
    workers: int = 1
    """parallel ngspice processes"""
    seed: int = 1
    """seed of every random draw"""


class Loop:
    """A run of the loop and its state on disk.

    :param simulator: answers for the truth; the caller closes it.
    :raises ConfigError: the folder holds another run, or an argument is invalid.
    """

    def __init__(self, arguments: Arguments, simulator: Simulator | None = None) -> None:
        if arguments.rounds < 1 or arguments.per_round < 4 or arguments.seed < 0:
            raise ConfigError("rounds must be at least 1, per-round at least 4 and the seed not negative")
        self.arguments = arguments
        self.settings = read_model(arguments.config, Settings)
        self.circuit = _circuit_of(arguments.env)
        self.folder = arguments.run
        self.base = Base.read(arguments.data, arguments.base_rows)
        if self.circuit.name not in self.base.rows:
            raise ConfigError(f"the data sets hold no rows of {self.circuit.name}, only {', '.join(self.base.rows)}")
        self.init = Checkpoint.load(arguments.init or shipped())
        if self.init.policy != self.base.policy:
            raise ConfigError(
                f"the checkpoint was trained on labels of the verdict policy {self.init.policy!r}, the data sets hold "
                f"those of {self.base.policy!r}: give an --init of the same policy"
            )
        self.simulator = simulator or make_simulator(
            "ngspice", self.circuit, workers=arguments.workers, policy=self.base.policy
        )
        self.state = self._opened_state()

    def run(self) -> dict[str, Any]:
        """Everything that is not done yet; the final state."""
        if "start" not in self.state:
            self._start()
        for number in range(len(self.state["rounds"]) + 1, self.arguments.rounds + 1):
            self._round(number)
        if self.state.get("audit", {}).get("after") != self.arguments.rounds:
            self._audit()
        return self.state

    @property
    def current(self) -> Checkpoint:
        """The checkpoint that the last finished round left in force."""
        return Checkpoint.load(self._path(self.state["current"]))

    def _start(self) -> None:
        """The checkpoint of round zero and its scores."""
        checkpoint, place = self.init, self.folder / "start.safetensors"
        if self.arguments.base_rows is not None and not place.is_file():
            _say(f"training a starting checkpoint on {self.arguments.base_rows} rows per circuit")
            replay_all = self.settings.learn.model_copy(update={"replay": 10**9})
            corpus = mixed_corpus(self.base, None, None, replay_all, np.random.default_rng(self.arguments.seed))
            seed = self.arguments.seed
            weak = fine_tune(corpus, self.init, self.folder / "start", self.settings.start, seed, scratch=True)
            weak.save(place)
        elif not place.is_file():
            checkpoint.save(place)
        self.state |= {"start": Checkpoint.load(place).sha256[:16], "current": place.name, "rounds": []}
        self.state["start_scores"] = self._scores(self.current, None)
        self._save()

    def _round(self, number: int) -> None:
        folder = self.folder / f"round-{number:02d}"
        before = self.current
        found = self._labelled(
            folder, f"retrain/round-{number}", self.arguments.per_round, self.settings.choose, number
        )
        candidate_path = folder / "candidate.safetensors"
        rows = self._new_rows()
        if not candidate_path.is_file():
            rng = np.random.default_rng([self.arguments.seed, number, 2])
            corpus = mixed_corpus(self.base, rows, before.normaliser, self.settings.learn, rng)
            facts = {"retraining_round": number, "labelled": len(rows.vectors) if rows else 0}
            seed = self.arguments.seed + number
            fine_tune(corpus, before, folder / "tune", self.settings.learn, seed, rounds=rows, facts=facts).save(
                candidate_path
            )
        candidate = Checkpoint.load(candidate_path)
        old, new = self._scores(before, rows), self._scores(candidate, rows)
        refused = judge_promotion(old, new, ROUNDS, self.settings.gate)
        self.state.pop("audit", None)  # of an earlier, shorter run
        self.state["rounds"].append(
            {
                "round": number,
                "checkpoint": before.sha256[:16],
                "candidate": candidate.sha256[:16],
                **found,
                "simulations": self.state.get("simulations", 0) + found["labelled"],
                "untouched": {"before": old, "after": new},
                "promoted": not refused,
                "refused": refused,
            }
        )
        self.state["simulations"] = self.state["rounds"][-1]["simulations"]
        if not refused:
            self.state["current"] = f"{folder.name}/{candidate_path.name}"
        self._save()
        verdict = "promoted" if not refused else f"rolled back: {'; '.join(refused)}"
        _say(f"round {number}: {_summary(found)}; {verdict}")

    def _audit(self) -> None:
        """Search the final checkpoint once more, and simulate the designs that the searches end with."""
        after = self.arguments.rounds
        count = round(self.settings.choose.best * self.arguments.per_round)
        only_best = self.settings.choose.model_copy(update={"best": 1.0, "uncertain": 0.0})
        found = self._labelled(
            self.folder / f"audit-{after:02d}", f"retrain/audit-{after}", count, only_best, after + 1
        )
        self.state["simulations"] += found["labelled"]
        self.state["audit"] = {
            "after": after,
            "checkpoint": self.current.sha256[:16],
            **found,
            "untouched": self._scores(self.current, self._new_rows()),
        }
        self._save()
        _say(f"after round {after}: {_summary(found)}")

    def _labelled(
        self, folder: Path, strategy: str, count: int, settings: ChooseSettings, stream: int
    ) -> dict[str, Any]:
        """Search on the current checkpoint, choose, label: what is there already is not done again."""
        place = folder / "designs.json"
        checkpoint = self.current
        if not place.is_file():
            surrogate = SurrogateSimulator(self.circuit, checkpoint=self._path(self.state["current"]))
            rng = np.random.default_rng([self.arguments.seed, stream, 1])
            chosen = choose(search(surrogate, self.settings.search, rng), surrogate, count, settings, rng)
            write_text(place, json.dumps([c.as_dict() for c in chosen], indent=1) + "\n")
        chosen = [Chosen(**fields) for fields in json.loads(place.read_text(encoding="utf-8"))]
        labels = label(
            self.circuit,
            chosen,
            self.folder / "labels",
            self.simulator,
            strategy=strategy,
            seed=self.arguments.seed,
            policy=self.base.policy,
            workers=self.arguments.workers,
        )
        return findings(self.circuit, chosen, labels, checkpoint.normaliser)

    def _new_rows(self) -> Rows | None:
        """All that the run has labelled inside the models, without what the base data sets hold already."""
        rows = read_rows([self.folder / "labels"]).get(self.circuit.name)
        return None if rows is None else rows.without(self.base.rows[self.circuit.name])

    def _scores(self, checkpoint: Checkpoint, rows: Rows | None) -> dict[str, Any]:
        sets = self.base.rows | ({} if rows is None else {ROUNDS: rows})
        held_out = {name: r.side("test") for name, r in sets.items()}
        return {name: untouched_scores(checkpoint, r) for name, r in held_out.items() if len(r.vectors)}

    def _opened_state(self) -> dict[str, Any]:
        identity = {
            "env": self.arguments.env,
            "per_round": self.arguments.per_round,
            "base_rows": self.arguments.base_rows,
            "seed": self.arguments.seed,
            "settings": json.loads(self.settings.model_dump_json()),
            "data": {"paths": [str(path) for path in self.arguments.data], "hash": self.base.digest},
            "init": self.init.sha256[:16],
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


def _circuit_of(env: str) -> Circuit:
    try:
        return load_circuit(gym.spec(env).kwargs["circuit"])
    except (gym.error.Error, KeyError) as error:
        known = ", ".join(sorted(name for name in gym.registry if name.startswith("zsgym/")))
        raise ConfigError(f"unknown environment {env!r}; choose one of: {known}") from error


def _say(line: str) -> None:
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


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Arguments()
    parser.add_argument("--env", default=defaults.env, help="environment id (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help="rounds (default: %(default)s)")
    parser.add_argument("--per-round", type=int, default=defaults.per_round, help="labels per round (%(default)s)")
    parser.add_argument("--run", type=Path, default=defaults.run, help="folder of the run (default: %(default)s)")
    data = " ".join(map(str, defaults.data))
    parser.add_argument(
        "--data", type=Path, nargs="+", default=defaults.data, metavar="DIR", help=f"base data sets (default: {data})"
    )
    parser.add_argument("--init", type=Path, metavar="FILE", help="checkpoint to start from (default: the shipped one)")
    parser.add_argument(
        "--base-rows", type=int, metavar="N", help="start from a weak checkpoint, trained on N rows per circuit"
    )
    parser.add_argument("--config", type=Path, default=defaults.config, help="settings (default: the shipped ones)")
    parser.add_argument("--workers", type=int, default=defaults.workers, help="ngspice processes (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="random seed (default: %(default)s)")
    return Arguments(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    arguments = parse(argv)
    torch.set_num_threads(1)
    again = "no labelled sample is lost; start the same command again to continue"
    with ending_in_one_line(f"interrupted: {again}"), only_run_in(arguments.run):
        loop = Loop(arguments)
        with ending_in_one_line(f"interrupted: {again}", failed=again):
            try:
                state = loop.run()
            finally:
                loop.simulator.close()
    kept = [str(r["round"]) for r in state["rounds"] if r["promoted"]]
    what = f"of round {kept[-1]}" if kept else "unchanged, no candidate was better"
    print(f"checkpoint: {arguments.run / 'surrogate.safetensors'} ({what})")
    print(f"model card: {arguments.run / 'MODEL_CARD.md'}")


if __name__ == "__main__":
    main()
