"""Samples as training data: read, checked, split and normalised.

Only rows that ngspice answered under the circuit's default conditions are labels. Rows outside the model bins are not
learnt, because `inside_models` decides them exactly. A row's side (train, validation, calibration, test) follows from a
hash of its sizing, so that it is the same in every data set, on every machine, and the same sizing can never stand on
two sides. Sizings are the same if they agree to ten digits: arithmetic on different paths leaves them an ulp apart.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from surrogate.graph import N_FEATURES, group_features
from surrogate.transforms import Transform, fit_transform
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes.amplifier import METRICS
from zsgym.samples import read_table

FloatArray = NDArray[np.float64]
Side = Literal["train", "validation", "calibration", "test"]

SIDES: dict[Side, float] = {"train": 0.75, "validation": 0.05, "calibration": 0.10, "test": 0.10}

AUXILIARY = ("max_pole_real", "output_error", "static_error")
"""Raw measurements that grade *how far* an amplifier is from failing; regressed beside the metrics (see `Losses`)."""

MEASURED_FAILURES = ("unstable", "unsettled")
"""Failures of amplifiers that have an operating point and a gain: their DC and AC measurements are as true as any."""
TRANSIENT = ("phase_margin", "slew_rate", "settling_time")
"""Metrics that mean something only where the closed loop comes to rest."""


@dataclass(frozen=True, slots=True)
class Rows:
    """In-bin rows of one circuit. n rows, p parameters, K metrics, A auxiliary targets; SI units, NaN where undefined.

    `measured` holds the metrics of working rows and, for failures that are alive, what was measured of them;
    `raw` the auxiliary measurements.
    """

    circuit: Circuit
    vectors: FloatArray  # (n, p)
    valid: NDArray[np.bool_]  # (n,)
    measured: FloatArray  # (n, K)
    raw: FloatArray  # (n, A)
    position: FloatArray  # (n,) hash of the sizing in [0, 1), equal only for the same sizing

    @staticmethod
    def joined(parts: Iterable["Rows"]) -> "Rows":
        """The rows of several parts of one circuit, in their order; they may repeat."""
        several = list(parts)
        return Rows(
            several[0].circuit, *(np.concatenate(columns) for columns in zip(*(p.arrays for p in several), strict=True))
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All columns, in their order."""
        return tuple(getattr(self, name) for name in self.__slots__[1:])

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Rows":
        """The rows where a mask is true, or those with some positions, in this order, which may repeat."""
        return Rows(self.circuit, *(column[rows] for column in self.arrays))

    def counts(self) -> dict[Side, int]:
        """How many rows stand on each side."""
        return {name: len(self.side(name).position) for name in SIDES}

    def distinct(self) -> "Rows":
        """Each sizing once: the first row of each, in their order."""
        return self.take(np.sort(np.unique(self.position, return_index=True)[1]))

    def without(self, known: "Rows") -> "Rows":
        """The rows whose sizing is not among the known ones."""
        return self.take(~np.isin(self.position, known.position))

    def drawn(self, limit: int | None) -> "Rows":
        """At most `limit` rows, drawn by the hash of their sizing: of every data set, and nested for growing limits."""
        return self if limit is None else self.take(self.position.argsort().argsort() < limit)

    def side(self, name: Side) -> "Rows":
        """The rows on one side of the split."""
        return self.take(on_side(self.position, name))


def on_side(position: FloatArray, name: Side) -> NDArray[np.bool_]:
    """(n,) which of some `positions` stand on a side of the split."""
    edges = np.cumsum([0.0, *SIDES.values()])
    index = list(SIDES).index(name)
    return np.asarray((position >= edges[index]) & (position < edges[index + 1]))


def digest_of(rows: Iterable[Rows]) -> str:
    """Hash of all that rows say, the circuits' names included: the same as in a checkpoint trained on exactly these."""
    digest = hashlib.sha256()
    for r in rows:
        digest.update(r.circuit.name.encode())
        for column in r.arrays:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


def read_rows(paths: Iterable[Path | str]) -> dict[str, Rows]:
    """The rows of `read_labels`."""
    return read_labels(paths)[0]


def read_labels(
    paths: Iterable[Path | str], circuits: Mapping[str, Circuit] | None = None
) -> tuple[dict[str, Rows], str]:
    """Every labelled in-bin row of some data sets at default conditions, by circuit, without duplicates.

    Also the name of the verdict policy that gave the labels.

    :param circuits: by name, those that `load_circuit` does not find by their names.
    :raises ConfigError: there is none, rows belong to another version of a netlist, or verdict policies are mixed.
    """
    table = pa.concat_tables([read_table(path) for path in paths], promote_options="permissive")
    policies = set(table["policy"].to_pylist())
    if len(policies) > 1:
        raise ConfigError(f"the labels were given by different verdict policies: {', '.join(sorted(policies))}")
    rows = {}
    for name in sorted(set(table["circuit"].to_pylist())):
        circuit = (circuits or {}).get(name) or load_circuit(name)
        found = rows_of(circuit, table.filter(pc.equal(table["circuit"], name)))
        if found.valid.size:
            rows[name] = found
    if not rows:
        raise ConfigError("the data sets hold no rows that ngspice answered at default conditions inside the models")
    return rows, policies.pop()


def rows_of(circuit: Circuit, table: pa.Table) -> Rows:
    """The labelled in-bin rows at default conditions in a table of one circuit (see `read_table`), each sizing once.

    :raises ConfigError: a row belongs to another version of the netlist.
    """
    foreign = set(table["netlist_hash"].to_pylist()) - {circuit.netlist_hash}
    if foreign:
        raise ConfigError(f"{circuit.name}: rows of other netlists ({', '.join(sorted(foreign))}); generate them again")
    table = table.filter(_at_default_conditions(circuit, table))
    vectors = np.stack([_numbers(table, f"sizing.{name}") for name in circuit.parameter_names], axis=1)
    failure = np.array(table["failure"].to_pylist(), dtype=object)
    valid = table["label"].to_numpy() == 1
    metrics = np.stack([_numbers(table, f"metrics.{name}") for name in METRICS.names], axis=1)
    alive = np.isin(failure, MEASURED_FAILURES)
    for column, name in enumerate(METRICS.names):
        if name not in TRANSIENT:
            metrics[:, column] = np.where(alive, _numbers(table, f"raw.{name}"), metrics[:, column])
    raw = np.stack([_numbers(table, f"raw.{name}") for name in AUXILIARY], axis=1)
    rows = Rows(circuit, vectors, valid, metrics, raw, positions(circuit, vectors))
    return rows.take(inside_models(circuit, vectors)).distinct()


def _at_default_conditions(circuit: Circuit, table: pa.Table) -> pa.Array:
    """Rows at the conditions that a surrogate knows; an environment's log may hold others, too."""
    equal = [pc.equal(table[f"conditions.{name}"], value) for name, value in circuit.conditions.as_dict().items()]
    return functools.reduce(pc.and_, equal)


def _numbers(table: pa.Table, column: str) -> FloatArray:
    """A column as float64, NaN for nulls and for a column that no row has."""
    if column not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[column].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def positions(circuit: Circuit, vectors: FloatArray) -> FloatArray:
    """(n,) hash of circuit and sizing, uniform in [0, 1), which decides the side. A sizing counts to ten digits."""
    text = circuit.name + " %.9e" * vectors.shape[1]
    digests = (hashlib.sha256((text % tuple(row)).encode()).digest() for row in vectors.tolist())
    return np.array([int.from_bytes(digest[:6], "big") / 2.0**48 for digest in digests])


@dataclass(frozen=True, slots=True)
class Normaliser:
    """The scales of all targets, fitted on training rows."""

    metrics: tuple[Transform, ...]
    auxiliary: tuple[Transform, ...]

    @staticmethod
    def fit(rows: Sequence[Rows]) -> "Normaliser":
        """Metric scales from valid rows only; auxiliary scales from every row that has the measurement."""
        valid = np.concatenate([r.measured[r.valid] for r in rows])
        raw = np.concatenate([r.raw for r in rows])
        return Normaliser(tuple(map(_fit_column, valid.T)), tuple(map(_fit_column, raw.T)))


def _fit_column(values: FloatArray) -> Transform:
    return fit_transform(values[np.isfinite(values)])


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of n rows of any circuits: topology index, features, validity, normalised targets and their masks."""

    index: torch.Tensor  # (n,)
    features: torch.Tensor  # (n, P, F)
    valid: torch.Tensor  # (n,) 0 or 1
    metrics: torch.Tensor  # (n, K), zero where undefined
    metrics_known: torch.Tensor  # (n, K)
    auxiliary: torch.Tensor  # (n, A)
    auxiliary_known: torch.Tensor  # (n, A)

    def __len__(self) -> int:
        return self.index.shape[0]

    def __getitem__(self, rows: torch.Tensor) -> "Batch":
        return Batch(*(getattr(self, name)[rows] for name in self.__slots__))


def to_batch(rows: Sequence[Rows], normaliser: Normaliser) -> Batch:
    """All rows as tensors; the topology index is the position in the sequence."""
    groups = max(len(r.circuit.groups) for r in rows)
    parts = [_circuit_batch(index, r, normaliser, groups) for index, r in enumerate(rows)]
    return Batch(*(torch.cat([getattr(part, name) for part in parts]) for name in Batch.__slots__))


def _circuit_batch(index: int, rows: Rows, normaliser: Normaliser, groups: int) -> Batch:
    n = len(rows.vectors)
    features = torch.zeros(n, groups, N_FEATURES)
    own = group_features(rows.circuit, torch.from_numpy(rows.vectors))
    features[:, : own.shape[1]] = own
    metrics, metrics_known = _targets(rows.measured, normaliser.metrics)
    auxiliary, auxiliary_known = _targets(rows.raw, normaliser.auxiliary)
    valid = torch.from_numpy(rows.valid.astype(np.float32))
    return Batch(torch.full((n,), index), features, valid, metrics, metrics_known, auxiliary, auxiliary_known)


def _targets(values: FloatArray, transforms: Sequence[Transform]) -> tuple[torch.Tensor, torch.Tensor]:
    normalised = np.stack([t.normalise(values[:, i]) for i, t in enumerate(transforms)], axis=1)
    known = np.isfinite(normalised)
    return torch.from_numpy(np.where(known, normalised, 0.0)).float(), torch.from_numpy(known).float()
