"""Command line of the searching agents: arguments from a dataclass, an interruptible run, a table, a JSON file."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import gymnasium as gym
import torch

import zsgym  # noqa: F401  (registers the environments)
from surrogate.checkpoint import Checkpoint, shipped
from zsgym.base.errors import ConfigError
from zsgym.base.files import check_writable
from zsgym.base.problems import did_you_mean
from zsgym.base.quantities import counted
from zsgym.base.scripts import INTERRUPTED, ending_in_one_line
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.specs import exactly
from zsgym.simulators import make_simulator
from zsgym.sizing.belief import Belief
from zsgym.sizing.designs import spec_report, write_designs
from zsgym.sizing.loop import MakeOptimiser
from zsgym.sizing.models import InstalledModel
from zsgym.sizing.named_problems import load_problem
from zsgym.sizing.problem import Problem, ngspice_or_prediction
from zsgym.sizing.solving import Solver, solve_and_verify

A = TypeVar("A")
_PHYSICS = "physics"


def option(default: Any, help: str, kind: type | None = None) -> Any:
    """A dataclass field with a help text. :param kind: of the values; default: that of the default, or int for None."""
    return dataclasses.field(default=default, metadata={"help": help, "kind": kind})


@dataclass(frozen=True)
class Arguments:
    """What every searching agent is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 1000, "surrogate": 6000}
    """Backends that the agent can search, and the budget that each gets unless told otherwise."""

    env: str = option("zsgym/NMCF-v0", "id of a registered environment: which circuit is sized")
    specs: str = option("", "name or file of a problem (see configs/problems); default: the circuit's own specs")
    backend: str = option(
        "ngspice", "what is searched; what a surrogate or the equations promise is verified in ngspice"
    )
    budget: int | None = option(None, "evaluations of that backend; of a surrogate, in the first round of proposals")
    seed: int = option(1, "seed of every random draw")
    verify: int = option(1, "with a surrogate: designs that are simulated per round, before the belief is corrected")
    spice_budget: int = option(100, "with a surrogate, or physics: ngspice simulations in all")
    workers: int = option(1, "parallel ngspice processes")
    checkpoint: str = option("", "surrogate to use; default: the one that comes with the package")
    log: bool = option(True, "keep every simulated sizing in the sample log")
    out: str = option("", "JSON file for the best distinct designs, best first; zsgym report reads it")

    @property
    def evaluations(self) -> int:
        """Evaluations of what is searched."""
        return self.BUDGETS[self.backend] if self.budget is None else self.budget


class EnvAndSpecs(Protocol):
    """Arguments that name an environment and, or not, a problem."""

    @property
    def env(self) -> str:
        """Id of a registered environment."""
        ...

    @property
    def specs(self) -> str:
        """Name or file of a problem; empty for the circuit's own specs."""
        ...


SearchNgspice = Callable[[Problem, Any], None]
SearchSurrogate = Callable[[Problem, Belief, Any], None]
MakeOptimiserFor = Callable[[Any], MakeOptimiser]


def main(
    kind: type[Arguments],
    agent: str,
    doc: str | None,
    search_ngspice: SearchNgspice | None,
    search_surrogate: SearchSurrogate,
    optimiser: MakeOptimiserFor | None = None,
) -> None:
    """Parse, run and report; ends the process with a message for a user's mistake.

    :param search_ngspice: works on a problem of ngspice with the arguments; None for an agent that needs a surrogate.
    :param search_surrogate: works on a belief with the arguments, and has ngspice verify.
    :param optimiser: of the arguments; searches the circuit's solved equations, for an agent that has `physics` among
        its budgets.
    """
    torch.set_num_threads(1)
    with ending_in_one_line():
        _run(parse(kind, doc), agent, search_ngspice, search_surrogate, optimiser)


def parse(kind: type[A], doc: str | None) -> A:
    """Command line arguments as a dataclass whose fields were made by `option`.

    :raises ConfigError: a seed that is none.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        text = field.metadata["help"]
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            text += f" (default: {'yes' if field.default else 'no'})"
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default, help=text)
            continue
        kind_of = field.metadata["kind"] or (int if field.default is None else type(field.default))
        shown = "" if field.default in (None, "") else " (default: %(default)s)"
        parser.add_argument(flag, type=kind_of, default=field.default, help=text + shown)
    arguments = kind(**vars(parser.parse_args()))
    check_seed(getattr(arguments, "seed", 0))
    return arguments


def check_seed(seed: int) -> None:
    """:raises ConfigError: it is no seed for every generator that is used."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"a seed is a number from 0 to {2**32 - 1}, got {seed}")


def _run(
    arguments: Arguments,
    agent: str,
    search_ngspice: SearchNgspice | None,
    search_surrogate: SearchSurrogate,
    optimiser: MakeOptimiserFor | None,
) -> None:
    if arguments.backend not in arguments.BUDGETS:
        known = did_you_mean(arguments.backend, list(arguments.BUDGETS), "Choose one of")
        raise ConfigError(f"{agent} cannot search the backend {arguments.backend!r}. {known}")
    circuit, targets, title = chosen_problem(arguments)
    if arguments.evaluations < 1 or arguments.verify < 1:
        raise ConfigError(f"budget and verify must be at least 1, got {arguments.evaluations} and {arguments.verify}")
    if arguments.out:
        check_writable(Path(arguments.out))
    print(f"{title}: {agent}, seed {arguments.seed}")
    belief, solver = None, None
    if arguments.backend not in ("ngspice", _PHYSICS):
        checkpoint = Checkpoint.load(Path(arguments.checkpoint) if arguments.checkpoint else shipped())
        if guess := InstalledModel("surrogate", checkpoint).why_not(circuit):
            print(f"warning: {guess}: what it promises is a guess; agents/cma_es.py needs none", file=sys.stderr)
        belief = Belief(checkpoint, circuit, targets)
    interrupted = False
    with _truth(arguments, agent, circuit, targets, belief) as truth:
        try:
            if arguments.backend == _PHYSICS and optimiser is not None:
                solver = Solver(make_simulator(_PHYSICS, circuit), truth)
                solve_and_verify(
                    truth, solver, seed=arguments.seed, make=optimiser(arguments), calls=arguments.evaluations
                )
            elif belief is not None:
                search_surrogate(truth, belief, arguments)
            elif search_ngspice is not None:
                search_ngspice(truth, arguments)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        print("\ninterrupted; the best design so far:", file=sys.stderr)
    _report(arguments, agent, truth, solver or belief)
    if interrupted:
        raise SystemExit(INTERRUPTED)


def _truth(
    arguments: Arguments, agent: str, circuit: Circuit, targets: dict[str, float], belief: Belief | None
) -> Problem:
    """ngspice; where it is missing and something else is searched, that one's own answer to its best proposal."""
    common: dict[str, Any] = {"log": arguments.log, "agent": agent, "seed": arguments.seed, "progress": True}
    common["targets"] = exactly(circuit.targets, targets)
    if arguments.backend == "ngspice":
        return Problem(circuit, workers=arguments.workers, budget=arguments.evaluations, **common)
    ngspice = {"workers": arguments.workers, "budget": arguments.spice_budget}
    checkpoint = None if belief is None else arguments.checkpoint
    return ngspice_or_prediction(
        circuit, arguments.backend, checkpoint, lambda text: print(text, file=sys.stderr), ngspice, common
    )


def chosen_problem(arguments: EnvAndSpecs) -> tuple[Circuit, dict[str, float], str]:
    """Circuit, complete targets (SI) and title that the arguments ask for.

    :raises ConfigError: an unknown environment or problem, or specs of another circuit.
    """
    spec = gym.registry.get(arguments.env)
    if spec is None or "circuit" not in spec.kwargs:
        known = [name for name in gym.registry if name.startswith("zsgym/")]
        raise ConfigError(f"unknown environment {arguments.env!r}. {did_you_mean(arguments.env, known, 'Registered')}")
    circuit = load_circuit(spec.kwargs["circuit"])
    if not arguments.specs:
        return circuit, dict(circuit.targets), circuit.title
    named, targets, title = load_problem(arguments.specs)
    if named.name != circuit.name:
        raise ConfigError(f"the specs {arguments.specs!r} are of {named.name}, the environment is of {circuit.name}")
    return named, targets, title


def _report(arguments: Arguments, agent: str, truth: Problem, belief: Belief | Solver | None) -> None:
    best = truth.best
    if best is None:
        raise SystemExit("nothing was simulated")
    name, seconds = best.outcome.backend, truth.history[-1].seconds
    print(
        f"\n{counted(truth.simulations, 'sizing')} answered by {name}, {seconds:.0f} s, best reward {best.reward:.4f}"
    )
    print(spec_report(truth.circuit, best, truth.targets))
    print("sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in best.sizing.items()))
    if arguments.out:
        write_designs(Path(arguments.out), agent, truth, belief, dataclasses.asdict(arguments))
        print(f"written: {arguments.out}")
