"""`zsgym circuits`: which circuits there are, and what can be sized in one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.base.quantities import quantity
from zsgym.base.tables import table
from zsgym.cli.output import print_json

if TYPE_CHECKING:
    from zsgym.circuits import Circuit


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "circuits",
        help="list the circuits, or show one",
        description="List the known circuits, or show the parameters, bounds, targets and known-good sizings of one.",
        epilog="examples:\n  zsgym circuits\n  zsgym circuits nmcf\n"
        "  zsgym circuits nmcf --json | jq '.known_good.robust' > sizing.json\n"
        "  zsgym circuits nmcf --schematic nmcf.svg\n  zsgym circuits --schematic schematics",
    )
    parser.add_argument("circuit", nargs="?", metavar="NAME", help="a circuit's name, or the path of its YAML file")
    add_circuit_directory(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print JSON, in the units that the circuit declares and SI")
    what.add_argument(
        "--schematic",
        type=Path,
        metavar="FILE.svg",
        help="draw the circuit NAME with its device names; without NAME all circuits, into a folder of this name",
    )
    parser.set_defaults(run=_run)


def add_circuit(parser: argparse.ArgumentParser) -> None:
    """The circuit that a command is about."""
    parser.add_argument("circuit", metavar="CIRCUIT", help="a circuit's name, or the path of its YAML file")
    add_circuit_directory(parser)


def add_circuit_directory(parser: argparse.ArgumentParser) -> None:
    """The option that adds directories of one's own circuits."""
    parser.add_argument(
        "--circuits-dir",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="also look for circuits (NAME.yaml) here; may be repeated. ZSGYM_CIRCUITS does the same",
    )


def _run(options: argparse.Namespace) -> int:
    from zsgym.circuits import list_circuits, load_circuit

    if options.circuit is not None:
        circuit = load_circuit(options.circuit, options.circuits_dir)
        if options.schematic is not None:
            _draw(circuit, options.schematic)
        elif options.json:
            print_json(_details(circuit))
        else:
            _print_details(circuit)
        return 0
    if options.schematic is not None and options.schematic.suffix.lower() == ".svg":
        raise ConfigError("--schematic of a file draws one circuit: zsgym circuits NAME --schematic FILE.svg")
    names = list_circuits(options.circuits_dir)
    found = [load_circuit(name, options.circuits_dir) for name in names]
    if options.schematic is not None:
        for circuit in found:
            _draw(circuit, options.schematic / f"{circuit.name}.svg")
    elif options.json:
        print_json({"circuits": [_summary(circuit) for circuit in found]})
    else:
        rows = [
            [c.name, str(len(c.devices)), str(len(c.parameters)), ", ".join(c.known_good) or "-", c.title]
            for c in found
        ]
        print(table(["name", "devices", "parameters", "known good", "title"], rows, right=(1, 2)))
    return 0


def _draw(circuit: Circuit, path: Path) -> None:
    from zsgym.report.schematic import load_schematic, schematic_file

    write_text(path, schematic_file(load_schematic(circuit, sizes=False), circuit))
    print(path)


def _summary(circuit: Circuit) -> dict[str, Any]:
    return {
        "name": circuit.name,
        "title": circuit.title,
        "devices": len(circuit.devices),
        "parameters": len(circuit.parameters),
        "netlist_hash": circuit.netlist_hash,
        "known_good": list(circuit.known_good),
    }


def _details(circuit: Circuit) -> dict[str, Any]:
    parameters = [
        {
            "name": p.name,
            "group": p.group,
            "quantity": p.quantity,
            "unit": p.unit,
            "low": p.low,
            "high": p.high,
            "scale": p.scale,
            "integer": p.integer,
            "published": {"name": p.alias.name, "factor": p.alias.factor} if p.alias else None,
        }
        for p in circuit.parameters
    ]
    return _summary(circuit) | {
        "source": circuit.source,
        "netlist": str(circuit.netlist_path),
        "ports": list(circuit.subcircuit.ports),
        "parameters": parameters,
        "conditions": circuit.conditions.as_dict(),
        "targets": dict(circuit.targets),
        "verdict_policies": {name: policy.model_dump() for name, policy in circuit.verdict_policies.items()},
        "known_good": circuit.known_good,
    }


def _print_details(circuit: Circuit) -> None:
    conditions = circuit.conditions
    print(f"{circuit.name}: {circuit.title}")
    print(f"source:      {circuit.source}")
    print(f"netlist:     {circuit.netlist_path}")
    print(f"conditions:  {conditions.in_words()}")
    print(f"known good:  {', '.join(circuit.known_good) or 'none'}\n")
    rows = []
    for p in circuit.parameters:
        scale = "count, " + p.scale if p.integer else p.scale
        low, high = (quantity(value, p.unit) for value in (p.low, p.high))
        rows.append([p.name, low, high, scale, p.alias.name if p.alias else "-"])
    print(table(["parameter", "low", "high", "scale", "published"], rows, right=(1, 2)))
    print()
    targets = []
    for name, target in circuit.targets.items():
        metric = circuit.metrics[name]
        relation = "at least" if metric.higher_is_better else "at most"
        targets.append([name, relation, quantity(target, metric.unit), metric.title])
    print(table(["metric", "", "target", "meaning"], targets, right=(2,)))
