"""`zsgym size`: specs in, a design that meets them in ngspice out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.files import check_writable
from zsgym.base.scripts import INTERRUPTED
from zsgym.cli.circuits import add_circuit
from zsgym.cli.output import print_json
from zsgym.cli.simulate import add_checkpoint, add_workers, positive
from zsgym.cli.targets import add_targets, targets_from

if TYPE_CHECKING:
    from zsgym.sizing import SizingResult

_DESCRIPTION = """Find a sizing of a circuit that meets every spec, verified in ngspice.

The method auto takes the gradient of a model where one was trained on this circuit: its proposals are simulated, which
corrects it where it was wrong. A circuit that no model knows is searched on its own equations, solved in milliseconds
(physics): a handful of simulations verifies what is found. Searches begin at the best of the circuit's known-good
sizings, if it has any. Which way is taken, and why, is printed first.

The designs and the report of the best one are written to runs/size/CIRCUIT/, in the place of those of an earlier run.
Every simulated sizing is kept in the sample log as well.
"""
_EPILOG = """examples:
  zsgym size nmcf
  zsgym size nmcf --specs nmcf-hard --seed 2
  zsgym size nmcf --target gbw=2meg --target power=150u --target tc=none
  zsgym size my_circuits/my_amp.yaml --budget 500 --workers 2 --netlist my_amp.spice

exit codes: 0 a design meets every spec in ngspice, 1 none does, 2 wrong use, 3 ngspice or the SKY130 models are missing
or failed (a result, if there is one, is a prediction), 130 interrupted: the best design so far was printed and written
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "size", help="find a sizing that meets the specs", description=_DESCRIPTION, epilog=_EPILOG
    )
    add_circuit(parser)
    parser.add_argument(
        "--method", default="auto", metavar="M", help="auto (default), gradient, physics, cma-es, random or tpe"
    )
    parser.add_argument("--seed", type=int, default=1, help="of every random draw (default: 1)")
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help="simulations at most (default: 100 with a model, 30 on solved equations, else 800 to 1500)",
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="do not begin a search at a known-good sizing of the circuit"
    )
    add_checkpoint(parser)
    add_workers(parser)
    add_targets(parser)
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

    from zsgym.circuits import load_circuit
    from zsgym.classes.specs import exactly
    from zsgym.sizing import SizingInterrupted, size

    torch.set_num_threads(1)  # the models are small
    circuit = load_circuit(options.circuit, options.circuits_dir)
    targets = targets_from(options, circuit)
    folder = Path("runs") / "size" / circuit.name
    out, report = options.out or folder / "designs.json", options.report or folder / "report.html"
    for path in filter(None, (out, report, options.netlist)):
        check_writable(path)
    try:
        result = size(
            circuit,
            exactly(circuit.targets, targets),
            method=options.method,
            seed=options.seed,
            budget=options.budget,
            from_scratch=options.from_scratch,
            checkpoint=options.checkpoint,
            workers=options.workers,
            log=not options.no_log,
            progress=True,
            notify=lambda text: print(f"zsgym: {text}", file=sys.stderr),
        )
    except SizingInterrupted as interrupt:
        print("zsgym: interrupted; the best design so far:", file=sys.stderr)
        interrupt.result.write(out)
        _print(interrupt.result, {"designs": out}, options.json)
        return INTERRUPTED
    result.write(out)
    result.write_report(report, options.netlist)
    files = {"designs": out, "report": report} | ({"netlist": options.netlist} if options.netlist else {})
    _print(result, files, options.json)
    return 0 if result.met else 1 if result.verified else 3


def _print(result: SizingResult, files: dict[str, Path], as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict() | {"files": {name: str(path) for name, path in files.items()}})
        return
    print(f"{result.circuit.name}: {result.summary()}")
    print(result.table())
    print("sizing: " + ", ".join(f"{name}={value:.4g}" for name, value in result.best.sizing.items()))
    if result.verified and not result.met:
        print("to go on: a larger --budget, another --seed or --method, or a --target that asks for less")
    for name, path in files.items():
        print(f"{name + ':':<9}{path}")
