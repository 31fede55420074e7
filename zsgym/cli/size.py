"""`zsgym size`: specs in, a design that meets them in ngspice out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.base.files import check_writable
from zsgym.base.scripts import INTERRUPTED
from zsgym.cli.circuits import add_circuit_directory
from zsgym.cli.output import print_json
from zsgym.cli.simulate import (
    add_checkpoint,
    add_conditions,
    add_workers,
    conditions_from,
    given_conditions,
    positive,
)
from zsgym.cli.targets import add_targets, class_targets_from, targets_from

if TYPE_CHECKING:
    from zsgym.sizing import Comparison, SizingResult

_DESCRIPTION = """Find a sizing of a circuit that meets every spec, verified in ngspice.

The method auto takes the gradient of a model where one was trained on this circuit: its proposals are simulated, which
corrects it where it was wrong; after 100 of them CMA-ES goes on in ngspice. A circuit that no model knows is searched
on its own equations, solved in milliseconds (physics): a handful of simulations verifies what is found. Searches begin
at the best of the circuit's known-good sizings, if it has any. Which way is taken, and why, is printed first.

Where no design meets every spec, the specs that bind are printed, and how far each alone would have to give; the report
has a picture of the front of two of them. --pareto draws a front on purpose: the two metrics may be anything, all
other specs are kept, and the whole budget is spent.

The name of a class instead of a circuit, as in zsgym size amplifier, answers which circuit to take: all that can be
expected to reach the targets are searched under the same conditions, those of the class unless options change them, and
ranked. The budget is shared: the better half of the circuits goes on in each round.

The designs and the report of the best one are written to runs/size/CIRCUIT/, in the place of those of an earlier run.
Every simulated sizing is kept in the sample log as well.
"""
_EPILOG = """examples:
  zsgym size nmcf
  zsgym size nmcf --specs nmcf-hard --seed 2
  zsgym size nmcf --target gbw=2meg --target power=150u --target tc=none
  zsgym size nmcf --corner ss --temperature 125 --load 20e-12
  zsgym size nmcf --pareto power gbw --budget 3000 --workers 2
  zsgym size amplifier --target gbw=5meg --target power=100u --workers 2
  zsgym size my_circuits/my_amp.yaml --budget 500 --workers 2 --netlist my_amp.spice

exit codes: 0 a design meets every spec in ngspice, 1 none does (with --pareto: every other spec), 2 wrong use,
3 ngspice or the SKY130 models are missing or failed (a result, if there is one, is a prediction), 130 interrupted: what
was found by then was printed and written
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "size", help="find a sizing that meets the specs", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "circuit",
        metavar="CIRCUIT",
        help="a circuit's name, the path of its YAML file, or the name of a class of circuits",
    )
    add_circuit_directory(parser)
    parser.add_argument(
        "--method", default="auto", metavar="M", help="auto (default), gradient, physics, cma-es, random or tpe"
    )
    parser.add_argument("--seed", type=int, default=1, help="of every random draw (default: 1)")
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="simulations at most (default: 1500; on solved equations 30, gradient 100, tpe 800)",
    )
    parser.add_argument(
        "--pareto",
        nargs=2,
        metavar=("METRIC", "METRIC"),
        help="draw the front of two metrics at the other specs, with the whole budget",
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="do not begin a search at a known-good sizing of the circuit"
    )
    add_checkpoint(parser)
    add_workers(parser)
    add_targets(parser)
    add_conditions(parser)
    files = parser.add_argument_group("files")
    files.add_argument(
        "--out", type=Path, metavar="FILE.json", help="designs (default: runs/size/CIRCUIT/designs.json)"
    )
    files.add_argument(
        "--report", type=Path, metavar="FILE.html", help="report (default: runs/size/CIRCUIT/report.html)"
    )
    files.add_argument("--netlist", type=Path, metavar="FILE.spice", help="also write the netlist with its testbench")
    files.add_argument("--no-log", action="store_true", help="keep no samples of what was simulated")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    import torch

    from zsgym.circuits import list_circuits, load_circuit
    from zsgym.classes import list_classes
    from zsgym.classes.specs import exactly
    from zsgym.sizing import SizingInterrupted, size

    torch.set_num_threads(1)  # the models are small
    if options.circuit in list_classes() and options.circuit not in list_circuits(options.circuits_dir):
        return _compare(options)
    circuit = load_circuit(options.circuit, options.circuits_dir)
    targets = targets_from(options, circuit)
    out, report = _places(options, circuit.name)
    try:
        result = size(
            circuit,
            exactly(circuit.targets, targets),
            conditions=conditions_from(options, circuit),
            pareto=options.pareto,
            method=options.method,
            seed=options.seed,
            budget=options.budget,
            from_scratch=options.from_scratch,
            checkpoint=options.checkpoint,
            workers=options.workers,
            log=not options.no_log,
            progress=True,
            notify=_say,
        )
    except SizingInterrupted as interrupt:
        print("zsgym: interrupted; the best design so far:", file=sys.stderr)
        interrupt.result.write(out)
        _print(interrupt.result, {"designs": out}, options.json)
        return INTERRUPTED
    _print(result, _write(result, out, report, options), options.json)
    return 0 if result.met or result.has_front else 1 if result.verified else 3


def _compare(options: argparse.Namespace) -> int:
    """Which circuit of a class?"""
    from zsgym.classes import find_class
    from zsgym.sizing import ComparisonInterrupted, compare

    for given, name in ((options.pareto, "--pareto"), (options.checkpoint, "--checkpoint")):
        if given:
            raise ConfigError(f"{name} is about one circuit, and {options.circuit} is a class of them")
    if options.method not in ("auto", "cma-es"):
        raise ConfigError("circuits of a class are compared by searches with cma-es: leave --method out")
    out, report = _places(options, options.circuit)
    try:
        result = compare(
            options.circuit,
            class_targets_from(options, find_class(options.circuit).all_metrics),
            conditions=given_conditions(options),
            directories=options.circuits_dir,
            seed=options.seed,
            budget=options.budget,
            from_scratch=options.from_scratch,
            workers=options.workers,
            log=not options.no_log,
            progress=True,
            notify=_say,
        )
    except ComparisonInterrupted as interrupt:
        print("zsgym: interrupted; the ranking so far:", file=sys.stderr)
        interrupt.result.write(out)
        _print_comparison(interrupt.result, {"designs": out}, options.json)
        return INTERRUPTED
    _print_comparison(result, _write(result, out, report, options), options.json)
    return 0 if result.met else 1


def _places(options: argparse.Namespace, name: str) -> tuple[Path, Path]:
    """Where designs and report are written, which is possible."""
    folder = Path("runs") / "size" / name
    out, report = options.out or folder / "designs.json", options.report or folder / "report.html"
    for path in filter(None, (out, report, options.netlist)):
        check_writable(path)
    return out, report


def _write(result: SizingResult | Comparison, out: Path, report: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Write all files; what each holds -> its path."""
    result.write(out)
    result.write_report(report, options.netlist)
    return {"designs": out, "report": report} | ({"netlist": options.netlist} if options.netlist else {})


def _say(text: str) -> None:
    print(f"zsgym: {text}", file=sys.stderr, flush=True)


def _print_comparison(result: Comparison, files: dict[str, Path], as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict() | {"files": {name: str(path) for name, path in files.items()}})
        return
    print(f"{result.circuit_class.name}: {result.summary()}")
    print(result.table())
    for name, reason in result.left_out.items():
        print(f"left out: {name}: {reason}")
    print(f"\n{result.best.circuit.name}:")
    _print_design(result.best)
    _print_files(files)


def _print(result: SizingResult, files: dict[str, Path], as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict() | {"files": {name: str(path) for name, path in files.items()}})
        return
    print(f"{result.circuit.name}: {result.summary()}")
    _print_design(result)
    if result.verified and not result.met and not result.has_front:
        print("to go on: a larger --budget, another --seed or --method, or a --target that asks for less")
    _print_files(files)


def _print_design(result: SizingResult) -> None:
    """The best design: its specs, what stands in the way, and its sizes."""
    from zsgym.report.devices import multipliers_of_the_netlist

    print(result.table())
    for line in result.tradeoff_text():
        print(line)
    print("sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in result.best.sizing.items()))
    if fixed := multipliers_of_the_netlist(result.circuit, result.best.sizing):
        print(f"multipliers of the netlist: {fixed}")


def _print_files(files: dict[str, Path]) -> None:
    for name, path in files.items():
        print(f"{name + ':':<9}{path}")
