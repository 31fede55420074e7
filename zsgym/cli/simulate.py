"""`zsgym simulate`: sizings in, outcomes out. Its JSON is a contract that others script against."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.classes.specs import spec_table
from zsgym.cli.circuits import add_circuit
from zsgym.cli.output import print_json
from zsgym.cli.sizings import add_sizing, sizings_from
from zsgym.cli.targets import add_metrics, add_targets, asked_for, targets_from

if TYPE_CHECKING:
    from zsgym.circuits import Circuit, Sizing
    from zsgym.classes import Conditions
    from zsgym.simulators.outcome import Outcome

_DESCRIPTION = """Simulate one sizing, or a list of them, and say whether each works and how well.

A sizing is a JSON object from parameter name to value, in fixed units without prefixes: widths and lengths in um,
multipliers as counts, capacitances in F (3.4e-12, not 3.4), resistances in ohm, currents in A. `zsgym circuits CIRCUIT`
lists the names and bounds. A value outside its bounds is simulated, with a warning. With --json, stdout holds

  {"outcomes": [{"status": ..., "failure": ..., "metrics": ..., "elapsed_s": ...}, ...]}

in the order of the sizings: status is success, circuit_failure, infrastructure_error or, from the physics backend,
undecided; failure is the reason or null; metrics maps canonical names to SI values (null for an optional metric that
could not be determined), or is null. A surrogate adds p_valid, what has no label adds error. A circuit_failure adds
raw: everything that was measured before the verdict was known, name to SI value, null where it is undefined; empty
where nothing was simulated (a geometry that no model covers, the prediction of a surrogate).
"""
_EPILOG = """examples:
  zsgym simulate nmcf --sizing sizing.json
  zsgym simulate nmcf --sizing published.json --published --json
  zsgym simulate nmcf --sizing sizing.json --backend surrogate --checkpoint my.safetensors
  zsgym simulate nmcf --sizing sizing.json --backend physics
  zsgym simulate nmcf --known-good robust --corner ss --supply 1.62 --temperature 125
  zsgym simulate nmcf --known-good robust --metrics input_noise,output_swing
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
        "--backend", default="ngspice", metavar="B", help="who answers: ngspice (default), physics, surrogate or hybrid"
    )
    parser.add_argument("--policy", metavar="NAME", help="verdict policy of the circuit (default: functional)")
    add_checkpoint(parser)
    add_workers(parser)
    add_metrics(parser)
    add_targets(parser)
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
    """Options for the conditions of every installed class; what is not given comes from the circuit."""
    group = parser.add_argument_group("conditions (default: those of the circuit)")
    for name, (kind, text) in _condition_options().items():
        flag, place = f"--{name.replace('_', '-')}", "NAME" if kind is str else "X"
        group.add_argument(flag, dest=f"condition_{name}", type=kind, metavar=place, help=text)


def _condition_options() -> dict[str, tuple[type, str]]:
    """Condition -> type of its value, and help."""
    from zsgym.classes import find_class, list_classes

    found: dict[str, tuple[type, str]] = {}
    for circuit_class in map(find_class, list_classes()):
        for name, field in circuit_class.conditions.model_fields.items():
            default = field.default
            found[name] = (str if isinstance(default, str) else float, circuit_class.conditions.help(name))
    return found


def conditions_from(options: argparse.Namespace, circuit: Circuit, found_under: Conditions | None = None) -> Conditions:
    """The circuit's conditions with those that the options change.

    :param found_under: conditions of a file of designs, which count instead of the circuit's own.
    :raises ConfigError: a value is not valid, or the circuit has no such condition; the message names the valid ones.
    """
    return (found_under or circuit.conditions).replace(**given_conditions(options))


def given_conditions(options: argparse.Namespace) -> dict[str, Any]:
    """The conditions that the options name, and nothing else."""
    prefix = "condition_"
    given = {name.removeprefix(prefix): value for name, value in vars(options).items() if name.startswith(prefix)}
    return {name: value for name, value in given.items() if value is not None}


def _run(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.simulators import HYBRID, make_simulator

    if options.checkpoint is not None and options.backend in ("ngspice", "physics"):
        raise ConfigError(
            f"--checkpoint goes with --backend surrogate or --backend hybrid: {options.backend} asks no surrogate"
        )
    circuit = load_circuit(options.circuit, options.circuits_dir)
    given = sizings_from(options, circuit)
    targets = targets_from(options, circuit, given.targets)
    circuit = asked_for(options, circuit.judged_by(targets))
    conditions = conditions_from(options, circuit, given.conditions)
    wanted = {"policy": options.policy, "checkpoint": options.checkpoint}
    wanted |= {"targets": targets} if options.backend == HYBRID else {}
    backend_options = {name: value for name, value in wanted.items() if value is not None}
    simulator = make_simulator(options.backend, circuit, workers=options.workers, **backend_options)
    try:
        outcomes = simulator.simulate(circuit.cases(given.sizings, conditions), errors="return")
    finally:
        simulator.close()
    if options.json:
        print_json({"outcomes": [_as_json(outcome) for outcome in outcomes]})
    else:
        _print(given.sizings, outcomes, circuit, targets, options.policy)
    return 0 if all(outcome.label is not None for outcome in outcomes) else 3


def _as_json(outcome: Outcome) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": outcome.status.value,
        "failure": outcome.failure,
        "metrics": _nulled(outcome.metrics) if outcome.metrics else None,
        "elapsed_s": outcome.elapsed_s,
    }
    if outcome.p_valid is not None:
        fields["p_valid"] = outcome.p_valid
    if outcome.failure is not None:
        fields["raw"] = _nulled(outcome.raw)
    if outcome.error is not None:
        fields["error"] = str(outcome.error)
    return fields


def _nulled(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON has no number for what is undefined."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def _print(
    sizings: Sequence[Sizing],
    outcomes: Sequence[Outcome],
    circuit: Circuit,
    targets: Mapping[str, float],
    policy: str | None,
) -> None:
    for position, (sizing, outcome) in enumerate(zip(sizings, outcomes, strict=True), start=1):
        if position > 1:
            print()
        print(f"sizing {position} of {len(outcomes)}: {_headline(outcome)}")
        if outcome.metrics:
            print(spec_table(circuit.metrics, outcome.metrics, targets))
        elif outcome.failure is not None:
            for line in _reasons(sizing, outcome, circuit, policy):
                print(f"  {line}")


def _reasons(sizing: Sizing, outcome: Outcome, circuit: Circuit, policy: str | None) -> list[str]:
    """What a failing sizing has missed; nothing where nothing was measured."""
    from zsgym.circuits import DEFAULT_VERDICT
    from zsgym.circuits.geometry import outside_models
    from zsgym.classes import Failure
    from zsgym.classes.verdict import misses

    if outcome.failure == Failure.GEOMETRY:
        return outside_models(circuit, sizing)
    checks = circuit.circuit_class.checks(circuit.policy(policy or DEFAULT_VERDICT))
    return misses(checks, outcome.raw) if outcome.raw else []


def _headline(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"not answered ({outcome.error})"
    verdict = "works" if outcome.success else f"does not work: {outcome.failure}"
    probability = ", a prediction" if outcome.predicted else ""
    if outcome.p_valid is not None:
        probability = f", probability of working {outcome.p_valid:.3f}"
    return f"{verdict} ({outcome.backend}, {outcome.elapsed_s:.3f} s{probability})"
