"""Cells of the sizing benchmark: one agent, one problem, one seed; finished cells are kept in files."""

import json
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sizing_agents import AGENTS

from surrogate.checkpoint import Checkpoint, shipped
from zsgym.base.files import write_text
from zsgym.classes.specs import exactly
from zsgym.samples.manifest import git_revision
from zsgym.sizing.named_problems import load_problem
from zsgym.sizing.problem import Problem, Progress


@dataclass(frozen=True)
class Cell:
    """What is run: an agent on a problem with a seed, at most `budget` ngspice simulations.

    checkpoint: file of the surrogate, and its hash; both empty for an agent that uses none.
    """

    agent: str
    problem: str
    seed: int
    budget: int
    checkpoint: str = ""
    checkpoint_hash: str = ""

    @property
    def key(self) -> str:
        """File name of the result. The path of the checkpoint does not enter, its content does."""
        parts = [self.agent, self.problem, f"seed{self.seed}", f"budget{self.budget}", self.checkpoint_hash]
        return "_".join(filter(None, parts)) + ".json"


def cells(pairs: list[tuple[str, str]], seeds: list[int], budget: int, checkpoint: str) -> list[Cell]:
    """Every agent and problem with every seed, in whose order an interrupted run has compared all agents.

    :param pairs: agent and problem.
    """
    path = Path(checkpoint) if checkpoint else shipped()
    known = (str(path), Checkpoint.load(path).sha256[:12]) if any(AGENTS[a].surrogate for a, _ in pairs) else ("", "")
    return [
        Cell(agent, problem, seed, budget, *(known if AGENTS[agent].surrogate else ("", "")))
        for seed in seeds
        for agent, problem in pairs
    ]


def run_cell(cell: Cell) -> dict[str, Any]:
    """Run one cell in this process.

    :return: the cell, its history (of `zsgym.sizing.problem.Progress`), targets, and the best design in ngspice.
    """
    torch.set_num_threads(1)
    circuit, targets, title = load_problem(cell.problem)
    wanted = exactly(circuit.targets, targets)
    with Problem(circuit, targets=wanted, budget=cell.budget, agent=cell.agent, seed=cell.seed) as truth:
        try:
            AGENTS[cell.agent].make(cell.checkpoint)(truth, cell.seed)
        finally:
            provenance = dict(truth.simulator.provenance)
        return {
            **asdict(cell),
            "title": title,
            "circuit": circuit.name,
            "targets": truth.targets,
            "history": [list(step) for step in truth.history],
            "best": None if truth.best is None else truth.best.as_dict(),
            "provenance": provenance | {"git_revision": git_revision()},
        }


def run_cells(wanted: list[Cell], folder: Path, processes: int) -> list[dict[str, Any]]:
    """Results of all cells, in order; those that the folder has are read, all others run and are written to it.

    :param processes: cells that run at the same time. Ctrl-C keeps what is finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {cell: result for cell in wanted if (result := _kept(folder / cell.key, cell)) is not None}
    missing = [cell for cell in wanted if cell not in results]
    with tqdm(total=len(wanted), initial=len(results), desc="sizing", unit="cell") as bar:
        for cell, result in _in_processes(missing, processes):
            write_text(folder / cell.key, json.dumps(result, allow_nan=False) + "\n")
            results[cell] = result
            last = history_of(result)[-1]
            bar.set_postfix_str(f"{cell.agent}, {cell.problem}, seed {cell.seed}: {last.simulations} simulations")
            bar.update()
    return [results[cell] for cell in wanted]


def _kept(path: Path, cell: Cell) -> dict[str, Any] | None:
    """A finished cell, unless its problem has changed since."""
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return result if result["targets"] == load_problem(cell.problem)[1] else None


def history_of(result: dict[str, Any]) -> list[Progress]:
    """The history of a result."""
    return [Progress(*step) for step in result["history"]]


def published(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the checkpoint's place on this machine (its hash says which it is), and with a short history:
    calls, seconds and reward wherever the best reward rose, and at the end."""
    history = history_of(result)
    rises = [history[0], *(now for before, now in pairwise(history) if now.reward > before.reward)]
    steps = [[step.simulations, step.seconds, step.reward] for step in dict.fromkeys([*rises, history[-1]])]
    return {name: value for name, value in result.items() if name != "checkpoint"} | {"history": steps}


def _in_processes(missing: list[Cell], processes: int) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Results as they come. Each process serves one cell at a time, without sharing anything."""
    if processes == 1:
        yield from ((cell, run_cell(cell)) for cell in missing)
        return
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(processes, initializer=_ignore_interrupts)
    try:
        yield from pool.imap_unordered(_keyed, missing)
    finally:
        pool.terminate()
        pool.join()


def _keyed(cell: Cell) -> tuple[Cell, dict[str, Any]]:
    return cell, run_cell(cell)


def _ignore_interrupts() -> None:
    """Ctrl-C is the parent's: it ends the pool, and finished cells are on disk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
