"""What pages say of the amplifier family."""

import math
import re
from typing import Any

from amplifier_family import amplifiers, median
from common import RESULTS
from published_markdown import percent, read, table

from zsgym.base.quantities import quantity
from zsgym.circuits import load_circuit
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.classes.specs import target_text
from zsgym.envs.registration import env_id

NOT_YET = "The benchmark has not been run yet."
_SHOWN = (
    "dc_gain",
    "gbw",
    "phase_margin",
    "power",
    "slew_rate",
    "settling_time",
    "cmrr",
    "psrr_p",
    "psrr_n",
    "vos",
    "tc",
)


def family() -> str:
    """Every shipped amplifier: what it is, its environment, its load."""
    rows = []
    for name in amplifiers():
        circuit = load_circuit(name)
        assert isinstance(circuit.conditions, AmplifierConditions)
        load = quantity(circuit.conditions.load, "F")
        transistors = sum(device.kind in ("nmos", "pmos") for device in circuit.devices)
        sizes = f"{transistors} / {len(circuit.parameters)}"
        rows.append([f"`{name}`", circuit.title, _after(circuit.source), f"`{env_id(name)}`", sizes, load])
    return table(["name", "what it is", "after", "environment", "transistors / parameters", "load"], rows)


def _after(source: str) -> str:
    """Authors and year of the paper that a circuit's source names; a dash where it names none."""
    found = re.search(r"(?:technique of|analysed in) (.+?), (?:\"|IEEE ).*\b(\d{4})$", source, re.DOTALL)
    return "-" if found is None else f"{found[1]}, {found[2]}"


def specs() -> str:
    """The default specs of every shipped amplifier."""
    header = ["name", *(f"`{metric}`" for metric in _SHOWN)]
    rows = []
    for name in amplifiers():
        circuit = load_circuit(name)
        targets = circuit.targets
        shown = [target_text(circuit.metrics, m, targets[m]) if m in targets else "-" for m in _SHOWN]
        rows.append([f"`{name}`", *(text.replace(">", "\\>").replace("<", "\\<") for text in shown)])
    return table(header, rows)


def frozen() -> str:
    """How the specs came about: rows, search, and whether the conditions hold; nothing before they are frozen."""
    circuits = _frozen_circuits()
    if not circuits:
        return NOT_YET
    rows = [
        [
            f"`{name}`",
            f"{entry['rows']:,}",
            percent(entry["working_share"]),
            f"{entry['rows_before_search']:,} rows, {entry['simulations']:,} simulations" + _scouted(entry),
            f"{len(entry['beyond'])} of 11",
            str(entry["rows_that_meet_all"]),
        ]
        for name, entry in sorted(circuits.items())
    ]
    header = [
        "circuit",
        "targeted rows",
        "work",
        "search",
        "specs beyond the 75th percentile",
        "rows that meet all specs",
    ]
    return table(header, rows)


def _frozen_circuits() -> dict[str, Any]:
    """Circuit -> how its specs came about, of every run."""
    return {
        name: entry
        for path in sorted(RESULTS.glob("frozen_*specs.json"))
        for name, entry in read(path.stem)["circuits"].items()
    }


def _scouted(entry: dict[str, Any]) -> str:
    return f", after a scout of {entry['scouting']:,}" if entry.get("scouting") else ""


def searches() -> str:
    """What CMA-ES on ngspice needs, circuit by circuit; nothing before the benchmark was run."""
    if not (RESULTS / "amplifier_family.json").is_file():
        return NOT_YET
    result = read("amplifier_family")
    rows = []
    for entry in result["circuits"]:
        met = sum(call is not None for call in entry["calls"])
        rows.append(
            [
                f"`{entry['circuit']}`",
                percent(entry["working_share"]),
                f"{met} of {len(entry['calls'])}",
                _number(median(entry["calls"])),
                " / ".join(_number(call) for call in entry["calls"]),
                _number(median(entry["seconds"])),
            ]
        )
    header = [
        "circuit",
        "targeted rows that work",
        "seeds that meet all specs",
        "median calls",
        "of each seed",
        "median seconds",
    ]
    return table(header, rows)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isinf(value) else f"{value:,.0f}"
