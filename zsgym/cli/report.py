"""`zsgym report`: one sizing as a page to read, and as a netlist to take along."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.cli.circuits import add_circuit
from zsgym.cli.output import print_json
from zsgym.cli.simulate import add_checkpoint, add_conditions, conditions_from
from zsgym.cli.sizings import Given, add_sizing, best_of_designs, read_json, sizings_from
from zsgym.cli.targets import add_metrics, add_targets, asked_for, targets_from

if TYPE_CHECKING:
    from zsgym.circuits import Circuit
    from zsgym.report import Evidence

_DESCRIPTION = """Simulate one sizing and write what there is to know about it: spec margins beside the surrogate's
prediction and interval, sizes, waveforms, operating points and provenance, in one HTML file that needs nothing else.

Without ngspice the report holds the surrogate's prediction alone, and says so.

--netlist writes the sized netlist with its testbench: `ngspice -b FILE` runs it with the full SKY130 library and prints
every metric.
"""
_EPILOG = """examples:
  zsgym report nmcf --known-good robust --out nmcf.html
  zsgym report nmcf --sizing sizing.json --out nmcf.html --netlist nmcf.spice
  zsgym report nmcf --designs designs.json --out best.html        the best design that an agent has found
  zsgym report nmcf --designs designs.json --out best.html --run runs/ppo --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "report",
        help="write the report and the netlist of one sizing",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_circuit(parser)
    what = add_sizing(parser)
    what.add_argument(
        "--designs",
        type=Path,
        metavar="FILE.json",
        help="designs that zsgym size or an agent has found: the best",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.html", help="the report")
    parser.add_argument("--netlist", type=Path, metavar="FILE.spice", help="also write the netlist with its testbench")
    parser.add_argument(
        "--run", dest="training_run", type=Path, metavar="DIR", help="show the training curves of this TensorBoard run"
    )
    parser.add_argument("--policy", default="functional", metavar="NAME", help="verdict policy (default: functional)")
    add_checkpoint(parser)
    add_metrics(parser)
    add_targets(parser)
    add_conditions(parser)
    parser.add_argument("--json", action="store_true", help="print verdict, metrics, margins and prediction as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.report import Request, write_report
    from zsgym.report.training import training_curves
    from zsgym.sizing.history import SearchHistory
    from zsgym.sizing.tradeoff import Tradeoff

    circuit = load_circuit(options.circuit, options.circuits_dir)
    given = _given(options, circuit)
    targets = targets_from(options, circuit, given.targets)
    circuit = asked_for(options, circuit.judged_by(targets))
    source = str(options.designs or options.sizing)
    history = SearchHistory.read(given.history, source) if given.history is not None else None
    tradeoff = Tradeoff.read(given.tradeoff, source) if given.tradeoff is not None else None
    request = Request(
        circuit,
        given.sizings[0],
        conditions_from(options, circuit, given.conditions),
        targets,
        options.policy,
        options.checkpoint,
    )
    curves = training_curves(options.training_run) if options.training_run else {}
    shown: dict[str, Any] = {"curves": curves, "history": history, "tradeoff": tradeoff}
    evidence = write_report(request, options.out, options.netlist, **shown)
    if options.json:
        files = {"report": str(options.out), "netlist": str(options.netlist) if options.netlist else None}
        print_json(files | evidence.as_dict())
    else:
        _print(evidence, options)
    return 0


def _print(evidence: Evidence, options: argparse.Namespace) -> None:
    from zsgym.report import verdict

    print(f"{evidence.request.circuit.name}: {verdict(evidence)[1]}")
    for note in evidence.notes:
        print(f"zsgym: note: {note}", file=sys.stderr)
    print(f"report:   {options.out}")
    if options.netlist:
        print(f"netlist:  {options.netlist}")


def _given(options: argparse.Namespace, circuit: Circuit) -> Given:
    """The one sizing that the options name."""
    if options.designs is not None:
        return best_of_designs(read_json(str(options.designs)), str(options.designs), circuit)
    given = sizings_from(options, circuit)
    if len(given.sizings) > 1:
        raise ConfigError(f"{options.sizing} holds {len(given.sizings)} sizings, and a report is about one")
    return given
