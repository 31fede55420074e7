"""Held-out rows of each data set, and the rows that baselines may learn from.

The in-bin rows come from `surrogate.data`, split as for training. Sizings outside the model bins, which no model
learns, are read here: a tenth of them, by a hash, stands beside the tenth of the others that is the test side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm import tqdm

from surrogate.data import SIDES, Normaliser, Rows, Side, digest_of, read_rows
from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.samples import read_table
from zsgym.samples.parquet import write_part


@dataclass(frozen=True, slots=True)
class TestSet:
    """The test side of one circuit in one data set.

    rows: in-bin. outside: (g,) labels of the rows outside the model bins (true would mean that they work after all).
    """

    name: str
    rows: Rows
    outside: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of several data sets: pooled by circuit for training and calibration, apart for testing.

    digest: hash of the pooled rows, as in a checkpoint that was trained on exactly these.
    """

    pooled: list[Rows]
    tests: list[TestSet]
    scales: Normaliser
    digest: str

    def side(self, name: Side, limit: int | None = None) -> list[Rows]:
        """One side of the pooled rows, by circuit; at most `limit` rows each, drawn by their hash."""
        return [rows.side(name).drawn(limit) for rows in self.pooled]


def load_data(paths: Sequence[Path]) -> Data:
    """Read the data sets. A circuit that stands in several gets a further, pooled test set."""
    parts: dict[str, list[Rows]] = {}
    tests: dict[str, list[TestSet]] = {}
    for path in tqdm(paths, desc="reading data sets", unit="set", leave=False):
        table = read_table(path)
        # Parsing a log takes longer than all that follows: read it once, as a table, for both kinds of rows.
        with TemporaryDirectory() as folder:
            part = Path(folder) / "rows.parquet"
            write_part(table, part)
            by_circuit = read_rows([part])
        for name, rows in by_circuit.items():
            label = path.name if len(by_circuit) == 1 else f"{path.name}, {name}"
            parts.setdefault(name, []).append(rows)
            tests.setdefault(name, []).append(TestSet(label, rows.side("test"), _outside(load_circuit(name), table)))
    pooled = [Rows.joined(parts[name]).distinct() for name in sorted(parts)]
    for rows in pooled:
        own = tests[rows.circuit.name]
        if len(own) > 1:
            outside = np.concatenate([test.outside for test in own])
            own.append(TestSet(f"{rows.circuit.name}, pooled", rows.side("test"), outside))
    scales = Normaliser.fit([rows.side("train") for rows in pooled])
    return Data(pooled, [test for name in sorted(tests) for test in tests[name]], scales, digest_of(pooled))


def _outside(circuit: Circuit, table: pa.Table) -> NDArray[np.bool_]:
    """Labels of the out-of-bin rows on the test side."""
    own = table.filter(pc.equal(table["circuit"], circuit.name))
    vectors = np.stack([own[f"sizing.{name}"].to_numpy().astype(float) for name in circuit.parameter_names], axis=1)
    identities, first = np.unique(np.array(own["sample_id"].to_pylist(), dtype=str), return_index=True)
    held_out = np.array([int(identity[:12], 16) / 16**12 >= 1.0 - SIDES["test"] for identity in identities], dtype=bool)
    works = own["label"].to_numpy() == 1
    chosen = first[held_out & ~inside_models(circuit, vectors[first])]
    return np.asarray(works[chosen])
