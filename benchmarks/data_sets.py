"""What is in data sets: how many sizings work, and the first reason why the others do not.

    python benchmarks/data_sets.py data/nmcf-uniform data/nmcf-targeted data/nmcnr-uniform data/nmcnr-targeted

Prints a table; the JSON also says how each set was drawn, the hash of its rows inside the transistor models (what a
checkpoint that is trained on it alone would name), and how long one evaluation took.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, format_table, provenance, write_json

from surrogate.data import digest_of, read_rows
from zsgym.base.errors import ConfigError
from zsgym.base.scripts import ending_in_one_line
from zsgym.classes.amplifier import AMPLIFIER
from zsgym.samples import read_table
from zsgym.samples.dataset import info


def read_set(path: Path) -> dict[str, Any]:
    """Counts and provenance of a data set of one circuit.

    :raises ConfigError: it holds several circuits, or was not made by `zsgym dataset generate`.
    :raises SampleLogError: there is none.
    """
    summary = info(path)
    if len(summary["circuits"]) != 1 or (summary["manifest"] or {}).get("made_by") != "generate":
        raise ConfigError(f"{path}: not a data set that `zsgym dataset generate` has made of one circuit")
    ((circuit, counts),) = summary["circuits"].items()
    drawn = summary["manifest"]["configuration"]
    seconds = read_table(path)["elapsed_s"].to_numpy()
    return {
        "path": str(path),
        "circuit": circuit,
        "strategy": drawn["strategy"],
        "seed": drawn["seed"],
        "rows": counts["rows"],
        "working": counts["working"],
        "failures": counts["failures"],
        "infrastructure_errors": summary["infrastructure_errors"],
        "seconds_per_evaluation": {"median": float(np.median(seconds)), "mean": float(seconds.mean())},
        "data_hash": digest_of(read_rows([path]).values()),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+", help="folders of zsgym dataset generate")
    parser.add_argument("--out", type=Path, default=RESULTS / "data_sets.json")
    arguments = parser.parse_args(argv)
    with ending_in_one_line():
        sets = [read_set(path) for path in arguments.sets]
    reasons = [reason for reason in AMPLIFIER.reasons if any(reason in s["failures"] for s in sets)]
    rows = [[reason, *(s["failures"].get(reason, 0) for s in sets)] for reason in reasons]
    totals = [[name, *(s[name] for s in sets)] for name in ("working", "rows", "infrastructure_errors")]
    header = ["", *(f"{s['circuit']}, {s['strategy']}" for s in sets)]
    print(format_table("Rows by the first reason of failure", header, rows + totals))
    write_json(arguments.out, {"sets": sets, "provenance": provenance("pyarrow")})
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
