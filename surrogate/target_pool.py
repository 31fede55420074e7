"""Make the pool from which environments draw random targets: metrics of working amplifiers of a data set.

    python -m surrogate.target_pool nmcf --data data/nmcf-uniform data/nmcf-targeted

An environment with `random_targets="train"` (or "test") then asks, in every episode, for what one of these amplifiers
reaches, loosened a little (`zsgym.envs.targets`). The test targets come from rows of the test split of the
surrogate, so that neither the agent nor the surrogate has seen their amplifiers.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from surrogate.data import Rows, digest_of, read_labels
from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.base.scripts import ending_in_one_line
from zsgym.circuits import load_circuit
from zsgym.classes.amplifier import METRICS
from zsgym.envs.targets import SPLITS, PoolFile, TargetPool
from zsgym.samples.manifest import provenance_of_this_process


def useful(rows: Rows, min_phase_margin: float) -> Rows:
    """The amplifiers that anybody would ask for: those that work, with some margin of stability (degrees)."""
    return rows.take(rows.valid & (rows.measured[:, METRICS.names.index("phase_margin")] >= min_phase_margin))


def pool_of(rows: Rows, train: int, test: int) -> dict[str, list[list[float]]]:
    """Split -> metrics of up to so many rows, chosen by the hash of their sizing, to six significant digits."""
    chosen: dict[str, list[list[float]]] = {}
    for split, limit in zip(SPLITS, (train, test), strict=True):
        side = rows.side(split)
        first = np.argsort(side.position)[:limit]
        chosen[split] = [[float(f"{value:.6g}") for value in row] for row in side.measured[first]]
    return chosen


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuit", help="name of a circuit, or its file")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="data sets with its labelled samples")
    parser.add_argument("--train", type=int, default=1000, help="amplifiers to learn on (default: %(default)s)")
    parser.add_argument("--test", type=int, default=250, help="amplifiers for evaluation (default: %(default)s)")
    parser.add_argument(
        "--min-phase-margin", type=float, default=45.0, help="degrees; others are left out (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="file (default: targets/NAME.json beside the circuit file)")
    arguments = parser.parse_args()
    with ending_in_one_line():
        circuit = load_circuit(arguments.circuit)
        labels, policy = read_labels(arguments.data)
        if circuit.name not in labels:
            raise ConfigError(f"the data sets hold no rows of {circuit.name}, only of {', '.join(labels)}")
        rows = useful(labels[circuit.name], arguments.min_phase_margin)
        chosen = pool_of(rows, arguments.train, arguments.test)
        if not all(chosen.values()):
            raise ConfigError(f"too few working amplifiers of {circuit.name}: a split of the pool would be empty")
    facts = {
        **provenance_of_this_process(),
        "data": [os.path.relpath(path) for path in arguments.data],
        "data_hash": digest_of([rows]),
        "policy": policy,
        "candidates": len(rows.vectors),
    }
    pool = PoolFile(
        circuit=circuit.name, netlist_hash=circuit.netlist_hash, metrics=METRICS.names, provenance=facts, **chosen
    )
    path = arguments.out or TargetPool.path(circuit)
    head = json.dumps(pool.model_dump(exclude={"train", "test"}), indent=1)[:-2]
    splits = (f' "{split}": [\n  ' + ",\n  ".join(map(json.dumps, chosen[split])) + "\n ]" for split in SPLITS)
    write_text(path, head + ",\n" + ",\n".join(splits) + "\n}\n")
    print(f"{path}: {len(pool.train)} amplifiers to learn on, {len(pool.test)} for evaluation")


if __name__ == "__main__":
    main()
