"""From specs to a design that meets them in ngspice: `zsgym.size`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.classes import Conditions, list_classes
from zsgym.classes.specs import exactly
from zsgym.evaluate import LogPlace
from zsgym.sizing.methods import AUTO, PHYSICS, choose, choose_for_front
from zsgym.sizing.named_problems import specs_of
from zsgym.sizing.problem import Problem, ngspice_or_prediction
from zsgym.sizing.result import SizingInterrupted, SizingResult
from zsgym.sizing.run import Run
from zsgym.sizing.tradeoff import checked_pair

Notify = Callable[[str], None]
_MOST_SEEDS = 2**32


def size(
    circuit: Circuit | str | os.PathLike[str],
    targets: Mapping[str, float | None] | None = None,
    *,
    specs: str | None = None,
    conditions: Conditions | Mapping[str, Any] | None = None,
    pareto: Sequence[str] | None = None,
    method: str = AUTO,
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
    :param conditions: changes to the circuit's conditions, such as `{"corner": "ss", "load": 20e-12}`, or all of them.
    :param pareto: two metrics whose front is drawn, at the other specs: see `zsgym.sizing.pareto`. The whole budget is
        spent.
    :param method: `gradient`, `physics`, `cma-es`, `random`, `tpe`, or `auto`: see `zsgym.sizing.methods.choose`.
    :param seed: of every random draw: the same seed gives the same designs.
    :param budget: simulations in ngspice at most; None leaves it to the method.
    :param from_scratch: do not simulate the circuit's known-good sizings first, and do not begin at the best of them.
    :param checkpoint: a model of one's own, instead of the one that comes with the package.
    :param workers: parallel ngspice processes. :param executor: spreads simulations over its workers instead.
    :param log: where every simulated sizing is kept as a sample: True for the default directory, or a directory.
    :param progress: show a bar on a terminal, a line now and then elsewhere. :param notify: is told which way is taken,
        and why.
    :return: the best design and how it was found; look at `met` before it is used.
    :raises ConfigError: an unknown circuit, metric or method, a method that needs a model where there is none, ...
    :raises SimulatorMissingError: ngspice is missing, and no model could make a prediction instead.
    :raises SimulatorError: ngspice failed. What it had answered is in the sample log.
    :raises SizingInterrupted: Ctrl-C; it carries the result so far.
    """
    checked_seed(seed)
    if isinstance(circuit, str) and circuit in list_classes() and circuit not in list_circuits():
        raise ConfigError(f"{circuit} is a class of circuits: zsgym.sizing.compare tries all of them")
    known = circuit if isinstance(circuit, Circuit) else load_circuit(circuit)
    base = specs_of(specs, known) if specs else known.targets
    wanted = known.resolve_targets(exactly(known.targets, base) | dict(targets or {}))
    known = known.judged_by(wanted)
    under = conditions_of(known, conditions)
    pair = None if pareto is None else checked_pair(known.circuit_class.all_metrics, pareto)
    known = known if pair is None else known.asking((*known.asked, *pair))
    file = Path(checkpoint) if checkpoint else None
    choice = choose(known, method, file, under) if pair is None else choose_for_front(method, file)
    say = notify or _nobody
    say(f"{known.name}: {choice.in_words}")
    arguments = {
        "seed": seed,
        "budget": choice.budget if budget is None else budget,
        "from_scratch": from_scratch,
        "checkpoint": str(checkpoint) if checkpoint else None,
        "pareto": pair,
    }
    common: dict[str, Any] = {"targets": exactly(known.targets, wanted), "log": log, "seed": seed, "progress": progress}
    common |= {"agent": choice.method.replace("-", "_"), "conditions": under}
    ngspice: dict[str, Any] = {"workers": workers, "executor": executor, "budget": arguments["budget"]}
    belief = None
    if choice.method == PHYSICS:
        truth = ngspice_or_prediction(known, PHYSICS, None, say, ngspice, common)
    elif choice.model is None:
        truth = Problem(known, **ngspice, **common)
    else:
        from zsgym.sizing.belief import Belief

        belief = Belief(choice.model.model, known, wanted)
        truth = ngspice_or_prediction(known, choice.model.name, checkpoint, say, ngspice, common)
    run = Run(truth, belief, choice, seed, from_scratch, say, progress)
    interrupted = False
    with truth:
        try:
            run.work(pair)
        except KeyboardInterrupt:
            interrupted = True
            run.leave()
    if truth.best is None:  # interrupted before the first answer
        raise KeyboardInterrupt
    result = run.result(arguments, pair)
    if interrupted:
        raise SizingInterrupted(result)
    return result


def checked_seed(seed: int) -> int:
    """:raises ConfigError: it is not a seed."""
    if not 0 <= seed < _MOST_SEEDS:
        raise ConfigError(f"a seed is a number from 0 to {_MOST_SEEDS - 1}, got {seed}")
    return seed


def conditions_of(circuit: Circuit, conditions: Conditions | Mapping[str, Any] | None) -> Conditions:
    """Complete conditions of a circuit.

    :param conditions: all of them, or changes to the circuit's own; None changes nothing.
    :raises ConfigError: an unknown condition, a value outside its limits, or conditions of another class.
    """
    if isinstance(conditions, Conditions):
        return conditions
    return circuit.conditions.replace(**dict(conditions or {}))


def _nobody(text: str) -> None:
    """Nobody wants to know."""
