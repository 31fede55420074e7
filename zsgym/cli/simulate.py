"""`zsgym simulate`: sizings in, outcomes out. Its JSON is a contract that others script against."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.cli.circuits import add_circuit
from zsgym.cli.output import print_json
from zsgym.cli.sizings import add_sizing, sizings_from
from zsgym.errors import ConfigError
from zsgym.tables import spec_table

if TYPE_CHECKING:
    from zsgym.circuits import Circuit
    from zsgym.outcome import Conditions, Outcome, Sizing

_DESCRIPTION = """Simulate one sizing, or a list of them, and say whether each works and how well.

A sizing is a JSON object from parameter name to value, in fixed units without prefixes: widths and lengths in um,
multipliers as counts, capacitances in F (3.4e-12, not 3.4), resistances in ohm, currents in A. `zsgym circuits CIRCUIT`
lists the names and bounds. A value outside its bounds is simulated, with a warning. With --json, stdout holds

  {"outcomes": [{"status": ..., "failure": ..., "metrics": ..., "elapsed_s": ...}, ...]}

in the order of the sizings: status is success, circuit_failure or infrastructure_error; failure is the reason or null;
metrics maps canonical names to SI values, or is null. A surrogate adds p_valid, an infrastructure error adds error.
"""
_EPILOG = """examples:
  zsgym simulate nmcf --sizing sizing.json
  zsgym simulate nmcf --sizing published.json --published --json
  zsgym simulate nmcf --sizing sizing.json --backend surrogate --checkpoint my.safetensors
  zsgym simulate nmcf --known-good robust --corner ss --supply 1.62 --temperature 125
  generate-sizings | zsgym simulate nmcf --sizing - --workers 2 --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "simulate",
        help="simulate one or more sizings of a circuit",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_circuit(parser)
    add_sizing(parser)
    parser.add_argument(
        "--backend", default="ngspice", metavar="B", help="who answers: ngspice (default), surrogate or hybrid"
    )
    parser.add_argument("--policy", metavar="NAME", help="verdict policy of the circuit (default: functional)")
    add_checkpoint(parser)
    add_workers(parser)
    add_conditions(parser)
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.set_defaults(run=_run)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The option for a surrogate of one's own."""
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="the surrogate to ask (default: the one that zsgym comes with)"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The option for the number of parallel simulations."""
    parser.add_argument("--workers", type=positive, default=1, metavar="K", help="simulations at a time (default: 1)")


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Options for the operating conditions; what is not given comes from the circuit."""
    group = parser.add_argument_group("conditions (default: those of the circuit)")
    group.add_argument("--corner", metavar="NAME", help="process corner: tt, ff, ss, sf or fs")
    group.add_argument("--supply", type=float, metavar="V", help="supply voltage in volts, 0.5 to 5")
    group.add_argument("--temperature", type=float, metavar="C", help="temperature in degrees Celsius, -55 to 175")
    group.add_argument("--load", type=float, metavar="F", help="load capacitance in farads, for example 10e-12")
    group.add_argument("--common-mode-ratio", type=float, metavar="R", help="input common mode divided by the supply")


_LIMITS = {"supply": (0.5, 5.0, "V"), "temperature": (-55.0, 175.0, "degrees Celsius")}
"""Condition -> lowest and highest value that a command takes, and the unit. Far beyond them ngspice finds no answer."""


def conditions_from(options: argparse.Namespace, circuit: Circuit) -> Conditions:
    """The circuit's conditions with those that the options change.

    :raises ConfigError: a value is not valid; the message names the valid ones.
    """
    from pydantic import ValidationError

    from zsgym.circuits.problems import describe
    from zsgym.circuits.schema import ConditionsFile

    names = ("corner", "supply", "temperature", "load", "common_mode_ratio")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        ConditionsFile.model_validate(circuit.conditions.as_dict() | given)
    except ValidationError as error:
        raise ConfigError("; ".join(describe(error, ConditionsFile))) from error
    for name, (low, high, unit) in _LIMITS.items():
        if name in given and not low <= given[name] <= high:
            raise ConfigError(f"--{name} must lie between {low:g} and {high:g} {unit}, got {given[name]:g}")
    if given.get("load") == 0.0:
        raise ConfigError("--load must be a positive number of farads, for example 10e-12, got 0")
    return circuit.conditions.replace(**given)


def _run(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.simulators import make_simulator

    if options.checkpoint is not None and options.backend == "ngspice":
        raise ConfigError("--checkpoint goes with --backend surrogate or --backend hybrid: ngspice asks no surrogate")
    circuit = load_circuit(options.circuit, options.circuits_dir)
    sizings = sizings_from(options, circuit)
    conditions = conditions_from(options, circuit)
    given = {"policy": options.policy, "checkpoint": options.checkpoint}
    backend_options = {name: value for name, value in given.items() if value is not None}
    simulator = make_simulator(options.backend, circuit, workers=options.workers, **backend_options)
    try:
        outcomes = simulator.simulate(sizings, conditions, errors="return")
    finally:
        simulator.close()
    if options.json:
        print_json({"outcomes": [_as_json(outcome) for outcome in outcomes]})
    else:
        _print(sizings, outcomes, circuit, options.policy)
    return 0 if all(outcome.label is not None for outcome in outcomes) else 3


def _as_json(outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": outcome.status.value,
        "failure": outcome.failure.value if outcome.failure else None,
        "metrics": dict(outcome.metrics) if outcome.metrics else None,
        "elapsed_s": outcome.elapsed_s,
    }
    if outcome.p_valid is not None:
        fields["p_valid"] = outcome.p_valid
    if outcome.error is not None:
        fields["error"] = str(outcome.error)
    return fields


def _print(sizings: Sequence[Sizing], outcomes: Sequence[Outcome], circuit: Circuit, policy: str | None) -> None:
    for position, (sizing, outcome) in enumerate(zip(sizings, outcomes, strict=True), start=1):
        if position > 1:
            print()
        print(f"sizing {position} of {len(outcomes)}: {_headline(outcome)}")
        if outcome.metrics:
            print(spec_table(outcome.metrics, circuit.targets))
        elif outcome.failure is not None:
            for line in _reasons(sizing, outcome, circuit, policy):
                print(f"  {line}")


def _reasons(sizing: Sizing, outcome: Outcome, circuit: Circuit, policy: str | None) -> list[str]:
    """What a failing sizing has missed; nothing where nothing was measured."""
    from zsgym.circuits import DEFAULT_VERDICT
    from zsgym.outcome import Failure
    from zsgym.pdk.geometry import outside_models
    from zsgym.report.checks import missed_checks

    if outcome.failure is Failure.GEOMETRY:
        return outside_models(circuit, sizing)
    return missed_checks(outcome.raw, circuit.verdict_policies[policy or DEFAULT_VERDICT]) if outcome.raw else []


def _headline(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"not answered ({outcome.error})"
    verdict = "works" if outcome.success else f"does not work: {outcome.failure}"
    probability = "" if outcome.p_valid is None else f", probability of working {outcome.p_valid:.3f}"
    return f"{verdict} ({outcome.backend}, {outcome.elapsed_s:.3f} s{probability})"
