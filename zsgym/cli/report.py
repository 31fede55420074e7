"""`zsgym report`: one sizing as a page to read, and as a netlist to take along."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.classes.specs import exactly
from zsgym.cli.circuits import add_circuit
from zsgym.cli.output import print_json
from zsgym.cli.simulate import add_checkpoint, add_conditions, conditions_from
from zsgym.cli.sizings import add_sizing, best_design, read_json, sizings_from

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
        "--designs", type=Path, metavar="FILE.json", help="what an agent has written with --out: its best design"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.html", help="the report")
    parser.add_argument("--netlist", type=Path, metavar="FILE.spice", help="also write the netlist with its testbench")
    parser.add_argument(
        "--run", dest="training_run", type=Path, metavar="DIR", help="show the training curves of this TensorBoard run"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="another target, in SI units, or none for no spec; may be repeated: --target power=60e-6 --target tc=none",
    )
    parser.add_argument("--policy", default="functional", metavar="NAME", help="verdict policy (default: functional)")
    add_checkpoint(parser)
    add_conditions(parser)
    parser.add_argument("--json", action="store_true", help="print verdict, metrics, margins and prediction as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from zsgym.circuits import load_circuit
    from zsgym.report import Request, gather, render_page, testbench_deck
    from zsgym.report.training import training_curves
    from zsgym.sizing.history import SearchHistory

    circuit = load_circuit(options.circuit, options.circuits_dir)
    sizing, targets, searched = _sizing(options, circuit)
    history = SearchHistory.read(searched, str(options.designs)) if searched is not None else None
    request = Request(
        circuit,
        sizing,
        conditions_from(options, circuit),
        circuit.metrics.resolve_targets(circuit.targets, targets | _targets(options.target)),
        options.policy,
        options.checkpoint,
    )
    curves = training_curves(options.training_run) if options.training_run else {}
    evidence = gather(request)
    deck = None
    if evidence.truth is not None or options.netlist:
        deck = testbench_deck(evidence)
    if options.netlist and deck is None:
        raise ConfigError(
            f"the class {circuit.circuit_class.name!r} has no testbench for plain ngspice: leave --netlist out"
        )
    if options.netlist and deck is not None:
        write_text(options.netlist, deck)
    write_text(options.out, render_page(evidence, deck, curves, history))
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


def _sizing(options: argparse.Namespace, circuit: Circuit) -> tuple[dict[str, float], dict[str, float | None], object]:
    """The one sizing that the options name, changes to the targets that come with it, and how it was searched."""
    if options.designs is not None:
        return _best_design(options.designs, circuit)
    sizings = sizings_from(options, circuit)
    if len(sizings) > 1:
        raise ConfigError(f"{options.sizing} holds {len(sizings)} sizings, and a report is about one")
    return sizings[0], {}, None


def _best_design(path: Path, circuit: Circuit) -> tuple[dict[str, float], dict[str, float | None], object]:
    """The best design that an agent has written, the targets that it was asked for, and its history."""
    content = read_json(str(path))
    best = best_design(content, str(path), circuit)
    # The file's targets are complete: what it does not name has no spec.
    wanted = content.get("targets")
    targets = exactly(circuit.targets, wanted) if isinstance(wanted, dict) else {}
    return circuit.validate(best["sizing"]), targets, content.get("history")


def _targets(given: Sequence[str]) -> dict[str, float | None]:
    """Targets from `METRIC=VALUE`."""
    targets: dict[str, float | None] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            targets[name.strip()] = None if value.strip().lower() == "none" else float(value)
        except ValueError:
            raise ConfigError(
                f"--target {text!r}: write METRIC=VALUE with a number in SI units, or METRIC=none"
            ) from None
    return targets
