"""From specs to a design that meets them in ngspice: `zsgym.size`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Targets
from zsgym.classes.specs import exactly
from zsgym.evaluate import LogPlace
from zsgym.simulators import make_simulator
from zsgym.sizing.designs import search_history
from zsgym.sizing.methods import METHODS, PHYSICS, Choice, choose
from zsgym.sizing.named_problems import specs_of
from zsgym.sizing.problem import BudgetSpent, Design, Problem, ngspice_or_prediction
from zsgym.sizing.result import SizingInterrupted, SizingResult
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score

if TYPE_CHECKING:
    from zsgym.sizing.belief import Belief
    from zsgym.sizing.solving import Solver

Notify = Callable[[str], None]
_MOST_SEEDS = 2**32


def size(
    circuit: Circuit | str | os.PathLike[str],
    targets: Mapping[str, float | None] | None = None,
    *,
    specs: str | None = None,
    method: str = "auto",
    seed: int = 1,
    budget: int | None = None,
    from_scratch: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    log: LogPlace = True,
    progress: bool = False,
    notify: Notify | None = None,
) -> SizingResult:
    """Find a sizing that meets every spec in ngspice.

        result = zsgym.size("nmcf", {"gbw": 2e6, "tc": None})
        print(result.summary(), result.table(), sep="\\n")

    :param circuit: its name, its YAML file, or the circuit itself.
    :param targets: changes to the circuit's targets, metric -> SI value; None as a value drops a spec.
    :param specs: a named set of specs or its file, to which the targets are changes then.
    :param method: `gradient`, `physics`, `cma-es`, `random`, `tpe`, or `auto`: see `zsgym.sizing.methods.choose`.
    :param seed: of every random draw: the same seed gives the same designs.
    :param budget: simulations in ngspice at most; None leaves it to the method.
    :param from_scratch: do not simulate the circuit's known-good sizings first, and do not begin at the best of them.
    :param checkpoint: a model of one's own, instead of the one that comes with the package.
    :param workers: parallel ngspice processes. :param executor: spreads simulations over its workers instead.
    :param log: where every simulated sizing is kept as a sample: True for the default directory, or a directory.
    :param progress: show a bar. :param notify: is told which way is taken, and why.
    :return: the best design and how it was found; look at `met` before it is used.
    :raises ConfigError: an unknown circuit, metric or method, a method that needs a model where there is none, ...
    :raises SimulatorMissingError: ngspice is missing, and no model could make a prediction instead.
    :raises SimulatorError: ngspice failed. What it had answered is in the sample log.
    :raises SizingInterrupted: Ctrl-C; it carries the result so far.
    """
    if not 0 <= seed < _MOST_SEEDS:
        raise ConfigError(f"a seed is a number from 0 to {_MOST_SEEDS - 1}, got {seed}")
    known = circuit if isinstance(circuit, Circuit) else load_circuit(circuit)
    base = specs_of(specs, known) if specs else known.targets
    wanted = known.metrics.resolve_targets(known.targets, exactly(known.targets, base) | dict(targets or {}))
    choice = choose(known, method, Path(checkpoint) if checkpoint else None)
    say = notify or _nobody
    say(f"{known.name}: {choice.in_words}")
    arguments = {
        "seed": seed,
        "budget": METHODS[choice.method].budget if budget is None else budget,
        "from_scratch": from_scratch,
        "checkpoint": str(checkpoint) if checkpoint else None,
    }
    common: dict[str, Any] = {"targets": exactly(known.targets, wanted), "log": log, "seed": seed, "progress": progress}
    common["agent"] = choice.method.replace("-", "_")
    ngspice: dict[str, Any] = {"workers": workers, "executor": executor, "budget": arguments["budget"]}
    truth, belief = _problem(known, wanted, choice, checkpoint, say, ngspice, common)
    solver = _solver(truth) if choice.method == PHYSICS else None
    interrupted = False
    with truth:
        try:
            if solver is not None:
                _solve(truth, solver, seed, from_scratch, say, progress)
            elif belief is None:
                _search(truth, choice.method, seed, from_scratch, say)
            else:
                _climb(truth, belief, seed)
        except KeyboardInterrupt:
            interrupted = True
            if solver is not None and solver.best is not None and not truth.designs:
                solver.verify(solver.best[1])  # a tenth of a second, without which there would be nothing to show
    if truth.best is None:  # interrupted before the first answer
        raise KeyboardInterrupt
    result = _result(truth, truth.best, choice, solver or belief, arguments)
    if interrupted:
        raise SizingInterrupted(result)
    return result


def _problem(
    circuit: Circuit,
    targets: Targets,
    choice: Choice,
    checkpoint: str | os.PathLike[str] | None,
    say: Notify,
    ngspice: Mapping[str, Any],
    common: Mapping[str, Any],
) -> tuple[Problem, Belief | None]:
    """What is asked, and the belief that proposes; None where no model does."""
    if choice.method == PHYSICS:
        return ngspice_or_prediction(circuit, PHYSICS, None, say, ngspice, common), None
    if choice.model is None:
        return Problem(circuit, **ngspice, **common), None
    from zsgym.sizing.belief import Belief

    belief = Belief(choice.model.model, circuit, targets)
    return ngspice_or_prediction(circuit, choice.model.name, checkpoint, say, ngspice, common), belief


def _result(
    truth: Problem, best: Design, choice: Choice, belief: Belief | Solver | None, arguments: Mapping[str, Any]
) -> SizingResult:
    return SizingResult(
        circuit=truth.circuit,
        targets=truth.targets,
        method=choice.method,
        reason=choice.reason,
        designs=truth.designs,
        best=best,
        verified=not best.outcome.predicted,
        history=search_history(truth.designs, belief),
        seconds=truth.history[-1].seconds,
        arguments=arguments,
        provenance=truth.provenance,
    )


def _solver(truth: Problem) -> Solver:
    from zsgym.sizing.solving import Solver

    return Solver(make_simulator(PHYSICS, truth.circuit), truth)


def _solve(truth: Problem, solver: Solver, seed: int, from_scratch: bool, say: Notify, progress: bool) -> None:
    """Search the solved equations, and verify."""
    from zsgym.sizing.solving import solve_and_verify

    start = None if from_scratch else _solved_start(truth, solver, say)
    with tqdm(unit="solved", desc="searching", disable=None if progress else True) as bar:
        solve_and_verify(truth, solver, seed=seed, start=start, progress=lambda count: bar.update(count - bar.n))


def _solved_start(truth: Problem, solver: Solver, say: Notify) -> NDArray[np.float64] | None:
    """Position of the best of the circuit's known-good sizings by its equations; None where none of them works."""
    circuit = truth.circuit
    names, sizings = list(circuit.known_good), list(circuit.known_good.values())
    if not names:
        return None
    positions = solver.scale.positions(circuit.to_unit(circuit.cases(sizings).vectors))
    values = solver.values(positions)
    best = int(values.argmax())
    if values[best] < -len(circuit.metrics):
        say(f"of the known-good sizings none works ({', '.join(names)}): the search begins without one")
        return None
    if solver.met:
        solver.verify(positions[best])
    if truth.solved:
        say(f"the known-good sizing {names[best]!r} meets every spec already")
    else:
        say(f"the search begins at the known-good sizing {names[best]!r}")
    return np.asarray(positions[best])


def _search(problem: Problem, method: str, seed: int, from_scratch: bool, say: Notify) -> None:
    """Search ngspice itself."""
    from zsgym.sizing.loop import search

    make = METHODS[method].optimiser
    assert make is not None
    search(problem, make(), seed, start=None if from_scratch else _known_good_start(problem, say))


def _climb(truth: Problem, belief: Belief, seed: int) -> None:
    """Propose by the gradient of a belief, and verify."""
    from zsgym.sizing.loop import propose_and_verify
    from zsgym.sizing.optimisers.gradient import Ascent

    propose_and_verify(truth, belief, Ascent(seed), seed=seed)


def _known_good_start(problem: Problem, say: Notify) -> NDArray[np.float64] | None:
    """Position of the best of the circuit's known-good sizings, which are simulated; None where none of them works."""
    circuit = problem.circuit
    names, sizings = list(circuit.known_good), list(circuit.known_good.values())
    if not names:
        return None
    try:
        designs = problem.evaluate(circuit.to_unit(circuit.cases(sizings).vectors))
    except BudgetSpent as spent:
        designs = spent.designs
    best = max(range(len(designs)), key=lambda row: score(designs[row]))
    if not designs[best].outcome.success:
        say(f"of the known-good sizings none works ({', '.join(names)}): the search begins without one")
        return None
    if problem.solved:
        say(f"the known-good sizing {names[best]!r} meets every spec already")
    else:
        say(f"the search begins at the known-good sizing {names[best]!r}")
    return LogScale.of(circuit).positions(designs[best].unit)


def _nobody(text: str) -> None:
    """Nobody wants to know."""
