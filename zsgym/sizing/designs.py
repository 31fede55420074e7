"""Designs: which ones to keep, what ngspice says of them, and the file that tells how they were found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zsgym.base.files import write_text
from zsgym.circuits import Circuit
from zsgym.classes import Conditions, Targets
from zsgym.classes.specs import spec_table
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.sizing.history import SearchHistory, Simulation
from zsgym.sizing.problem import BudgetSpent, Design, Problem
from zsgym.sizing.score import score
from zsgym.sizing.tradeoff import Tradeoff

if TYPE_CHECKING:
    from zsgym.sizing.belief import Belief
    from zsgym.sizing.solving import Solver

_MOST_DESIGNS = 100
"""Designs that are written at most."""


def distinct(designs: Iterable[Design], k: int, distance: float = 0.1) -> list[Design]:
    """The k best designs by `score`, no two of which are nearer than `distance` along every parameter.

    :param distance: in points; 0.1 is a twentieth of a parameter's range.
    """
    chosen: list[Design] = []
    for design in sorted(designs, key=score, reverse=True):
        if len(chosen) >= k:
            break
        if all(np.abs(design.point - other.point).max() >= distance for other in chosen):
            chosen.append(design)
    return chosen


def verify(
    designs: Iterable[Design], truth: Problem, k: int, *, every: bool = False, distance: float = 0.1
) -> list[Design]:
    """Up to k distinct designs as another backend sees them, best first; ends at the first feasible one.

    :param truth: usually of ngspice; its budget counts, and running out of it ends the verification.
    :param every: verify all k, in one batch. :param distance: see `distinct`.
    """
    candidates = distinct(designs, k, distance)
    verified: list[Design] = []
    try:
        if every and candidates:
            return truth.evaluate(np.array([design.point for design in candidates]))
        for design in candidates:
            verified += truth.evaluate(design.point)
            if verified[-1].feasible:
                break
    except BudgetSpent as spent:
        verified += spent.designs
    return verified


def spec_report(circuit: Circuit, design: Design, targets: Targets) -> str:
    """The table of specs; the reason where the design does not work."""
    if design.outcome.metrics is None:
        return f"it does not work: {(design.outcome.failure or 'unknown').replace('_', ' ')}"
    return spec_table(circuit.metrics, design.outcome.metrics, targets)


def write_designs(
    path: Path, agent: str, truth: Problem, belief: Belief | Solver | None, arguments: Mapping[str, Any]
) -> None:
    """The best distinct designs, best first, how they were found and where all this comes from, as JSON, in one step.

    :param agent: what found them. :param belief: that proposed the designs; None where ngspice itself was searched.
    :param arguments: what the agent was asked for, JSON-able.
    :raises ConfigError: the file cannot be written.
    """
    history = search_history(truth.designs, belief)
    found = agent, truth.circuit, truth.targets, truth.designs, history, arguments, truth.provenance, truth.conditions
    write_text(path, designs_file(*found))


def designs_file(
    agent: str,
    circuit: Circuit,
    targets: Targets,
    designs: Sequence[Design],
    history: SearchHistory,
    arguments: Mapping[str, Any],
    provenance: Mapping[str, str],
    conditions: Conditions | None = None,
    tradeoff: Tradeoff | None = None,
    best: Design | None = None,
) -> str:
    """The text of a file of designs, see `write_designs`.

    :param designs: in the order of their simulation. :param provenance: of the answers.
    :param conditions: under which they were simulated; None means the circuit's own.
    :param tradeoff: of the specs, where there is one. :param best: comes first, whatever its score.
    """
    first = [] if best is None else [best]
    listed = [*first, *(design for design in distinct(designs, _MOST_DESIGNS) if design is not best)][:_MOST_DESIGNS]
    content = {
        "agent": agent,
        "circuit": circuit.name,
        "targets": dict(targets),
        "conditions": (circuit.conditions if conditions is None else conditions).as_dict(),
        "simulations": len(designs),
        "designs": [design.as_dict() for design in listed],
        "history": history.model_dump(),
        "tradeoff": None if tradeoff is None else tradeoff.model_dump(),
        "arguments": dict(arguments),
        "provenance": provenance_of_this_process() | dict(provenance),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def search_history(designs: Sequence[Design], belief: Belief | Solver | None) -> SearchHistory:
    """How a search went: the best that the belief promised, and what each simulation said.

    :param designs: in the order of their simulation. :param belief: that proposed the designs, or the solver; None
        where ngspice itself was searched.
    """
    asked: Sequence[tuple[int, float | None]]
    asked = [(count, None) for count, _ in enumerate(designs, start=1)] if belief is None else belief.choices
    verified = [design for design in designs if not design.outcome.predicted]
    return SearchHistory(
        searched="ngspice" if belief is None else belief.searched,
        evaluations=None if belief is None else belief.evaluations,
        believed=[] if belief is None else [(count, math.exp(value)) for count, value in belief.climb],
        simulations=[
            Simulation(
                evaluations=count,
                belief=believed,
                works=design.outcome.success,
                reward=design.reward,
                feasible=design.feasible,
            )
            for (count, believed), design in zip(asked, verified, strict=False)  # an interrupt may come between the two
        ],
    )
