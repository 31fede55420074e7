"""Command line of the searching agents: arguments from a dataclass, an interruptible run, a table, a JSON file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

import gymnasium as gym
import torch

import zsgym  # noqa: F401  (registers the environments)
from surrogate.checkpoint import Checkpoint, shipped
from zsgym.circuits import Circuit, did_you_mean, load_circuit
from zsgym.errors import ConfigError, PdkError, SimulatorMissingError
from zsgym.files import check_writable, write_text
from zsgym.quantities import counted
from zsgym.report.search import SearchHistory, Simulation
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.scripts import INTERRUPTED, ending_in_one_line
from zsgym.sizing.belief import Belief
from zsgym.sizing.designs import distinct
from zsgym.sizing.loop import MakeOptimiser, Propose, propose_and_verify, proposer, search
from zsgym.sizing.named_problems import load_problem
from zsgym.sizing.problem import Design, Problem
from zsgym.specs import exactly
from zsgym.tables import spec_table

A = TypeVar("A")


def option(default: Any, help: str) -> Any:
    """A dataclass field with a help text."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Arguments:
    """What every searching agent is asked for."""

    BUDGETS: ClassVar[dict[str, int]] = {"ngspice": 1000, "surrogate": 6000}
    """Backends that the agent can search, and the budget that each gets unless told otherwise."""

    env: str = option("zsgym/NMCF-v0", "id of a registered environment: which circuit is sized")
    specs: str = option("", "name or file of a problem (see configs/problems); default: the circuit's own specs")
    backend: str = option("ngspice", "simulator that is searched; what a surrogate finds is verified in ngspice")
    budget: int | None = option(None, "evaluations of that backend; of a surrogate, in the first round of proposals")
    seed: int = option(1, "seed of every random draw")
    verify: int = option(1, "with a surrogate: designs that are simulated per round, before the belief is corrected")
    spice_budget: int = option(100, "with a surrogate: ngspice simulations in all")
    workers: int = option(1, "parallel ngspice processes")
    checkpoint: str = option("", "surrogate to use; default: the one that comes with the package")
    log: bool = option(True, "keep every simulated sizing in the sample log")
    out: str = option("", "JSON file for the best distinct designs, best first; zsgym report reads it")


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


MakeFrom = Callable[[Any], MakeOptimiser]
ProposeFrom = Callable[[Any], Propose]


def main(
    kind: type[Arguments],
    agent: str,
    doc: str | None,
    *,
    make: MakeFrom | None = None,
    propose: ProposeFrom | None = None,
) -> None:
    """Parse, run and report; ends the process with a message for a user's mistake.

    :param make: optimiser from the arguments. :param propose: what proposes designs from a surrogate instead.
    """
    torch.set_num_threads(1)
    with ending_in_one_line():
        _run(parse(kind, doc), agent, make, propose)


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
        kind_of = int if field.default is None else type(field.default)
        shown = "" if field.default in (None, "") else " (default: %(default)s)"
        parser.add_argument(flag, type=kind_of, default=field.default, help=text + shown)
    arguments = kind(**vars(parser.parse_args()))
    check_seed(getattr(arguments, "seed", 0))
    return arguments


def check_seed(seed: int) -> None:
    """:raises ConfigError: it is no seed for every generator that is used."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"a seed is a number from 0 to {2**32 - 1}, got {seed}")


def _run(arguments: Arguments, agent: str, make: MakeFrom | None, propose: ProposeFrom | None) -> None:
    if arguments.backend not in arguments.BUDGETS:
        known = did_you_mean(arguments.backend, list(arguments.BUDGETS), "Choose one of")
        raise ConfigError(f"{agent} cannot search the backend {arguments.backend!r}. {known}")
    circuit, targets, title = chosen_problem(arguments)
    budget = arguments.BUDGETS[arguments.backend] if arguments.budget is None else arguments.budget
    if budget < 1 or arguments.verify < 1:
        raise ConfigError(f"budget and verify must be at least 1, got {budget} and {arguments.verify}")
    if arguments.out:
        check_writable(Path(arguments.out))
    direct = arguments.backend == "ngspice"
    print(f"{title}: {agent}, seed {arguments.seed}")
    wanted = exactly(circuit.targets, targets)
    common: dict[str, Any] = {"targets": wanted, "log": arguments.log, "agent": agent, "seed": arguments.seed}
    belief: Belief | None = None
    with Problem(
        circuit, workers=arguments.workers, budget=budget if direct else arguments.spice_budget, **common
    ) as truth:
        try:
            if direct and make is not None:
                search(truth, make(arguments), arguments.seed)
            else:
                belief = Belief(_checkpoint(arguments), circuit, targets)
                if propose is not None:
                    proposals = propose(arguments)
                else:
                    proposals = proposer(cast(MakeFrom, make)(arguments), budget, arguments.seed)
                propose_and_verify(truth, belief, proposals, k=arguments.verify, seed=arguments.seed)
        except KeyboardInterrupt:
            print("\ninterrupted; the best design so far:", file=sys.stderr)
            _report(arguments, agent, truth, belief)
            raise SystemExit(INTERRUPTED) from None
        except (SimulatorMissingError, PdkError) as error:
            if belief is None:
                raise
            print(f"\nnot verified, a prediction only: {error}", file=sys.stderr)
            options = {"checkpoint": arguments.checkpoint or None}
            with Problem(circuit, backend="surrogate", backend_options=options, **common) as predicted:
                predicted.evaluate(belief.scale.units(proposals(belief, [], 1)))
                _report(arguments, agent, predicted, belief)
            return
        _report(arguments, agent, truth, belief)


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


def _checkpoint(arguments: Arguments) -> Checkpoint:
    return Checkpoint.load(Path(arguments.checkpoint) if arguments.checkpoint else shipped())


def _report(arguments: Arguments, agent: str, truth: Problem, belief: Belief | None) -> None:
    best = truth.best
    if best is None:
        raise SystemExit("nothing was simulated")
    name, seconds = truth.simulator.name, truth.history[-1].seconds
    print(
        f"\n{counted(truth.simulations, 'sizing')} answered by {name}, {seconds:.0f} s, best reward {best.reward:.4f}"
    )
    print(spec_report(best, truth.targets))
    print("sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in best.sizing.items()))
    if arguments.out:
        write_designs(Path(arguments.out), agent, truth, belief, dataclasses.asdict(arguments))
        print(f"written: {arguments.out}")


def spec_report(design: Design, targets: dict[str, float]) -> str:
    """The table of specs; the reason where the design does not work."""
    if design.outcome.metrics is None:
        return f"it does not work: {(design.outcome.failure or 'unknown').replace('_', ' ')}"
    return spec_table(design.outcome.metrics, targets)


_MOST_DESIGNS = 100
"""Designs that are written at most."""


def write_designs(path: Path, agent: str, truth: Problem, belief: Belief | None, arguments: dict[str, Any]) -> None:
    """The best distinct designs, best first, how they were found and where all this comes from, as JSON, in one step.

    :param belief: that proposed the designs; None where ngspice itself was searched.
    """
    content = {
        "agent": agent,
        "circuit": truth.circuit.name,
        "targets": truth.targets,
        "simulations": truth.simulations,
        "designs": [design.as_dict() for design in distinct(truth.designs, _MOST_DESIGNS)],
        "history": search_history(truth, belief).model_dump(),
        "arguments": arguments,
        "provenance": provenance_of_this_process() | dict(truth.simulator.provenance),
    }
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def search_history(truth: Problem, belief: Belief | None) -> SearchHistory:
    """How a search went: the best that the surrogate believed in, and what each simulation said.

    :param belief: see `write_designs`.
    """
    asked = [(index + 1, None) for index in range(truth.simulations)] if belief is None else belief.choices
    verified = [design for design in truth.designs if design.outcome.p_valid is None]
    return SearchHistory(
        searched="ngspice" if belief is None else "surrogate",
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
