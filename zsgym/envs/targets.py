"""Random targets that can be met: drawn from what working designs of the circuit have measured.

Targets drawn metric by metric are almost always out of reach together. Here each draw starts from one design that
was simulated, and loosens every one of its metrics a little, so that a sizing that meets all targets is known to exist
(at the circuit's default conditions). The designs of a circuit are its *pool*, a JSON file in the folder `targets`
beside the circuit file, made by `python -m surrogate.target_pool`. It has two splits without a common sizing: agents
learn on the targets of `train` and are judged on those of `test`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import MetricSet

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

LOOSENING = 0.2
"""A target is up to this share of the measured value easier than what the design reaches."""
LOOSENING_DB = 6.0
"""The same for metrics in decibels: up to a factor of two."""


class PoolFile(BaseModel):
    """The file of a pool: rows of metrics (SI units, in the order of `metrics`) and where they come from."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    circuit: str
    netlist_hash: str
    metrics: tuple[str, ...]
    provenance: dict[str, Any]
    train: list[list[float]]
    test: list[list[float]]


@dataclass(frozen=True, eq=False)
class TargetPool:
    """Metrics of working designs of one circuit.

    metrics: of the circuit's class, without optional ones. designs: split -> (m, K) metrics in SI units.
    """

    circuit: str
    metrics: MetricSet
    designs: dict[Split, NDArray[np.float64]]

    @staticmethod
    def path(circuit: Circuit) -> Path:
        """Where the pool of a circuit is kept."""
        return circuit.directory / "targets" / f"{circuit.name}.json"

    @classmethod
    def load(cls, circuit: Circuit) -> Self:
        """The pool of a circuit.

        :raises ConfigError: it has none, or one that is damaged or belongs to another netlist.
        """
        path = cls.path(circuit)
        if not path.is_file():
            raise ConfigError(
                f"random targets need a pool of working designs, and {circuit.name} has none ({path}): "
                f"python -m surrogate.target_pool {circuit.name} --data DIR makes one from a data set"
            )
        try:
            file = PoolFile.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
        metrics = circuit.circuit_class.metrics
        if file.netlist_hash != circuit.netlist_hash or file.metrics != metrics.names:
            raise ConfigError(f"{path} was made for another version of {circuit.name}: make it again")
        designs: dict[Split, NDArray[np.float64]] = {}
        for split in SPLITS:
            rows = getattr(file, split)
            if not rows or any(len(row) != len(metrics) for row in rows):
                raise ConfigError(f"{path}: {split}: rows of {len(metrics)} metrics are needed, at least one")
            designs[split] = np.array(rows, dtype=np.float64)
        return cls(circuit.name, metrics, designs)

    def draw(self, split: Split, generator: np.random.Generator) -> dict[str, float]:
        """One target for every metric, SI units: those of a random design, each loosened by a random amount.

        Uniform between nothing and 20 % of the value (6 dB where the unit is dB), always towards the easier side.
        """
        designs, metrics = self.designs[split], self.metrics
        measured = metrics.magnitudes(designs[generator.integers(len(designs))])
        decibels = [metric.unit == "dB" for metric in metrics]
        room = np.where(decibels, LOOSENING_DB, LOOSENING * np.abs(measured))
        targets = measured - metrics.signs * room * generator.uniform(size=len(metrics))
        return dict(zip(metrics.names, targets.tolist(), strict=True))
