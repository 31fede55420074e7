"""Specs of the amplifiers, frozen before any agent is timed: what a stated search reached together, relaxed by 10 %.

For every circuit: rows of targeted sampling; a search by CMA-ES from the best of them, in logarithmic space, for a
design that is good in all metrics at once as measured by the working rows, and that works at the nominal supply and at
10 % less and more; its metrics relaxed by 10 % are the specs, its sizing the known-good one. Two conditions are
checked: at least six metrics of the specs are better than the 75th percentile of the working rows, and none of 1,000
rows meets all specs. All that was simulated is kept, so that the script can be interrupted and continued.

    python benchmarks/freeze_specs.py                            # every amplifier without frozen specs, 1,000 rows each
    python benchmarks/freeze_specs.py --circuits smc --rows 1000 --simulations 200 --seed 1
    python benchmarks/freeze_specs.py --circuits smc --write     # specs and known-good sizing into the circuit's file
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from common import RESULTS, format_table, provenance, run_resumable, write_json
from freeze_search import SUPPLIES, Rows, Search, Yardstick, evaluator_of, scout, starting_at, unknown_circuit

from zsgym.base.files import write_text
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.simulators.outcome import Outcome

KEPT = ("nmcf", "nmcnr", "folded_cascode", "miller_n", "miller_p", "ota5t", "telescopic")
"""Circuits whose specs stand already: the published ones, those of version 0.1, and those of hand calculations."""
RELAXED = 0.1
"""How much of its value a spec gives way, in the metric's unit: a margin of about 0.05 for every metric alike."""
LEAST_BEYOND = 6
"""Metrics of the specs that must be better than the 75th percentile of the working rows."""
LEAST_VALUE = 0.9
"""Measure of a best design (1: on average at the better quarter of the working rows) below which a search goes on."""
CHECKED_ROWS = 1000
"""Rows of which none may meet all specs."""
MORE_ROWS = {"dacfc": 480}
"""First rows of circuits of which the usual number shows too little: 3 of 160 rows of dacfc work, and rows around a
scout's find were too much alike to measure anything by (its search ended at a phase margin of 19 degrees)."""
_FEW = 4
"""Working rows from which a yardstick can be made."""
_SIZE_DIGITS = 3
_SPEC_DIGITS = 2
RESULT = "frozen_specs.json"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--circuits", nargs="+", metavar="NAME", help="default: all but " + " and ".join(KEPT))
    parser.add_argument("--rows", type=int, default=CHECKED_ROWS, help="targeted rows (default: %(default)s)")
    parser.add_argument(
        "--rows-first", type=int, default=160, help="of these, how many the search starts from (default: %(default)s)"
    )
    parser.add_argument("--simulations", type=int, default=200, help="of the search (default: %(default)s)")
    parser.add_argument(
        "--most",
        type=int,
        default=1000,
        help="simulations after which a search ends whose specs are not hard enough yet (default: %(default)s)",
    )
    parser.add_argument(
        "--scout",
        type=int,
        default=1000,
        metavar="N",
        help=f"where fewer than {_FEW} of the first rows work: look for one that does, with at most N simulations, and "
        "draw the rows anew, some of them around it (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of rows and search (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/freeze"), help="folder of everything simulated")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument("--result", default=RESULT, metavar="NAME", help="of the JSON file (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write specs and known-good sizings into the YAML files")
    arguments = parser.parse_args()
    run_resumable(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> None:
    """Search every circuit, then check every circuit, then report."""
    names = arguments.circuits or [name for name in list_circuits() if name not in KEPT]
    path = arguments.out / arguments.result
    entries: dict[str, Any] = json.loads(path.read_text())["circuits"] if path.is_file() else {}
    for last_pass in (False, True):  # all searches come first: specs are known early, checks may take their time
        for name in names:
            entries[name] = freeze(name, arguments, arguments.rows if last_pass else arguments.rows_first)
            write_json(path, {"circuits": entries, "provenance": provenance("cma")})
    print(table({name: entries[name] for name in names}))
    if arguments.write:
        for name in names:
            if entries[name]["specs"] is not None:
                write_specs(load_circuit(name), entries[name])


def freeze(name: str, arguments: argparse.Namespace, rows_wanted: int) -> dict[str, Any]:
    """The frozen specs of one circuit and how they came about."""
    circuit, folder = unknown_circuit(name), arguments.runs / name
    first_rows = max(arguments.rows_first, MORE_ROWS.get(name, 0))
    with evaluator_of(circuit) as evaluator:
        scouted: dict[str, Any] = {"simulations": 0, "sizing": None}
        rows = Rows(circuit, folder / "rows.jsonl")
        rows.extend(evaluator, first_rows, arguments.seed)
        if len(rows.first(first_rows).working) < _FEW:
            scouted = scout(circuit, evaluator, folder / "scout.jsonl", arguments.seed, arguments.scout)
            rows = Rows(starting_at(circuit, scouted["sizing"]), folder / "rows-scouted.jsonl")
            rows.extend(evaluator, first_rows, arguments.seed)
        first = rows.first(first_rows)
        if not first.working:
            return _nothing(rows, scouted["simulations"], arguments.seed)
        search = Search(first, evaluator, folder / "search.jsonl", arguments.seed)
        search.run(arguments.simulations)
        rows.extend(evaluator, rows_wanted, arguments.seed)
        for goal in range(arguments.simulations, max(arguments.most, arguments.simulations) + 1, arguments.simulations):
            search.run(goal)
            sizing = rounded(circuit, search.best[1])
            outcomes = search.at_supplies(sizing)
            specs = _specs(rows, outcomes)
            if len(specs["beyond"]) >= LEAST_BEYOND and search.best[0] >= LEAST_VALUE:
                break
    entry = {
        "rows": len(rows.rows),
        "working_share": rows.share,
        "rows_before_search": len(first.rows),
        "scouting": scouted["simulations"],
        "simulations": search.simulations,
        "seed": arguments.seed,
        "value": search.best[0],
        "sizing": sizing,
        "supplies": [supply for supply, outcome in outcomes.items() if outcome.success],
        "metrics": {f"{supply:g}": outcome.metrics for supply, outcome in outcomes.items()},
        "quartiles": quartiles(rows),
    }
    return entry | specs


def _nothing(rows: Rows, scouting: int, seed: int) -> dict[str, Any]:
    """The entry of a circuit of which no sizing was found that works."""
    count = len(rows.rows)
    entry: dict[str, Any] = {"rows": count, "working_share": 0.0, "rows_before_search": count, "scouting": scouting}
    return entry | {
        "simulations": 0,
        "seed": seed,
        "supplies": [],
        "specs": None,
        "beyond": [],
        "rows_that_meet_all": None,
    }


def _specs(rows: Rows, outcomes: Mapping[float, Outcome]) -> dict[str, Any]:
    circuit = rows.circuit
    nominal = outcomes[circuit.conditions.supply]
    if nominal.metrics is None:  # rounding the sizes has broken it
        return {"specs": None, "beyond": [], "rows_that_meet_all": None}
    specs = {name: relaxed(circuit, name, nominal.metrics[name]) for name in circuit.metrics.names}
    margins = circuit.metrics.margin_table(rows.metrics, np.array(circuit.metrics.row(specs)))
    return {
        "specs": specs,
        "beyond": Yardstick.of(rows).beyond(specs),
        "rows_that_meet_all": int((margins >= 0.0).all(axis=1).sum()),
    }


def relaxed(circuit: Circuit, name: str, value: float) -> float:
    """A metric's value made 10 % easier, and rounded to the easier side."""
    metric = circuit.metrics[name]
    found = metric.magnitude(value)
    direction = -1.0 if metric.higher_is_better else 1.0
    eased = found + direction * RELAXED * abs(found)
    unit = 10.0 ** (math.floor(math.log10(abs(eased))) - _SPEC_DIGITS + 1)
    steps = math.floor(eased / unit) if metric.higher_is_better else math.ceil(eased / unit)
    return float(f"{steps * unit:.{_SPEC_DIGITS}g}")


def rounded(circuit: Circuit, sizing: Mapping[str, float]) -> dict[str, float]:
    """Sizes in three digits, as people write them, inside the bounds."""
    low, high = circuit.bounds
    values = [float(f"{value:.{_SIZE_DIGITS}g}") for value in circuit.vector(sizing)]
    return circuit.sizing(np.clip(values, low, high))


def quartiles(rows: Rows) -> dict[str, list[float]]:
    """The 25th, 50th and 75th percentile of every metric of the working rows, SI; offsets by their magnitude."""
    found = np.quantile(rows.circuit.metrics.magnitudes(rows.metrics), [0.25, 0.5, 0.75], axis=0)
    return dict(zip(rows.circuit.metrics.names, found.T.tolist(), strict=True))


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per circuit: whether the conditions hold."""
    lines = [
        (
            name,
            entry["rows"],
            f"{100 * entry['working_share']:.0f} %",
            entry["simulations"],
            " ".join(f"{supply:g}" for supply in entry["supplies"]),
            len(entry["beyond"]),
            entry["rows_that_meet_all"],
            "yes" if holds(entry) else "no",
        )
        for name, entry in entries.items()
    ]
    header = ("circuit", "rows", "work", "search", "works at (V)", "beyond p75", "meet all", "frozen")
    return format_table("Specs frozen from the best joint result, relaxed by 10 %", header, lines)


def holds(entry: Mapping[str, Any]) -> bool:
    """Whether an entry keeps every condition."""
    return (
        entry["rows"] >= CHECKED_ROWS
        and len(entry["supplies"]) == len(SUPPLIES)
        and len(entry["beyond"]) >= LEAST_BEYOND
        and entry["rows_that_meet_all"] == 0
    )


# --- the circuit's file ---------------------------------------------------------------------------------------------


def write_specs(circuit: Circuit, entry: Mapping[str, Any]) -> Path:
    """Put specs and known-good sizing into a circuit's YAML file, whose other lines stay as they are."""
    path = circuit.directory / f"{circuit.name}.yaml"
    text = path.read_text()
    targets = [f"  {name}: {value:g}  # {circuit.metrics[name].unit}" for name, value in entry["specs"].items()]
    origin = (
        "# Frozen by benchmarks/freeze_specs.py before any agent was timed: the best joint result of its search, made\n"
        "# 10 % easier.\n"
    )
    text = re.sub(
        r"(?:^#[^\n]*\n)*^targets:\n.*?(?=\n(?:#[^\n]*\n)*verdict:)",
        origin + "\n".join(["targets:", *targets, ""]),
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"\n(?:#[^\n]*\n)*known_good:\n.*\Z", "\n", text, flags=re.DOTALL)
    write_text(path, text.rstrip("\n") + "\n\n" + _known_good(entry))
    return path


def _known_good(entry: Mapping[str, Any]) -> str:
    supplies = ", ".join(f"{supply:g}" for supply in entry["supplies"])
    return "\n".join(
        [
            "# Sizings that were simulated and work, with the supplies (V) at which that was verified.",
            "known_good:",
            "  robust:",
            "    description: works at each of these supplies, and at the nominal one a tenth better than every spec",
            f"    supplies: [{supplies}]",
            "    sizing: {",
            *_wrapped([f"{name}: {value:g}," for name, value in entry["sizing"].items()], "      ", 118),
            "    }",
            "",
        ]
    )


def _wrapped(words: Sequence[str], indent: str, width: int) -> list[str]:
    lines = [indent + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(indent + word)
        else:
            lines[-1] += f" {word}"
    return lines


if __name__ == "__main__":
    main()
