"""A sample log as the retraining loop sees it: sizings that wait for a label, rows that have one, room for new ones."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from surrogate.data import Rows, rows_of
from zsgym.circuits import Circuit
from zsgym.classes import Targets
from zsgym.samples import Sample, SampleLogWarning, read_samples
from zsgym.samples.log import PARTS, SEGMENTS

FloatArray = NDArray[np.float64]


@dataclass
class Log:
    """The rows of one circuit's present netlist at its default conditions.

    policy: verdict policy of the labels. vectors: (N, n) sizings, in declared units, that a surrogate has answered.
    targets: of the episode of each, without those on optional metrics, which no model predicts; None where it had none.
    ids: `sample_id` of each. labelled: `sample_id` ->
    simulated row, which may be one of those.
    """

    directory: Path
    circuit: Circuit
    policy: str
    vectors: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    targets: list[Targets | None] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    labelled: dict[str, Sample] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path, circuit: Circuit, policy: str) -> Self:
        """Read a log once; nothing else in it is looked at later, though others may go on writing.

        A log that nobody has written to yet is empty. Rows of another netlist and labels of another verdict policy are
        left out, with a warning.

        :raises SampleLogError: it cannot be read.
        """
        log = cls(directory, circuit, policy)
        left_out: Counter[str] = Counter()
        waiting: dict[str, tuple[tuple[float, ...], Targets | None]] = {}
        for sample in read_samples(directory) if holds_rows(directory) else ():
            if sample.circuit != circuit.name or sample.conditions != circuit.conditions.as_dict():
                continue
            if sample.netlist_hash != circuit.netlist_hash:
                left_out["of another version of the netlist"] += 1
            elif sample.predicted:
                vector = tuple(sample.sizing[name] for name in circuit.parameter_names)
                waiting.setdefault(sample.sample_id, (vector, _of_the_model(sample.targets, circuit)))
            elif sample.policy != policy:
                left_out[f"labelled by the verdict policy {sample.policy!r}, not {policy!r}"] += 1
            else:
                log.labelled[sample.sample_id] = sample
        for reason, count in left_out.items():
            warnings.warn(f"{directory}: left out {count} rows {reason}", SampleLogWarning, stacklevel=2)
        log.ids = [identity for identity in waiting if identity not in log.labelled]
        queue = [waiting[identity] for identity in log.ids]
        log.vectors = np.array([vector for vector, _ in queue]).reshape(len(queue), len(circuit.parameters))
        log.targets = [targets for _, targets in queue]
        return log

    @property
    def waiting(self) -> NDArray[np.intp]:
        """Rows of `vectors` that no simulation has answered."""
        return np.flatnonzero([identity not in self.labelled for identity in self.ids])

    def rows(self, known: Rows | None = None) -> Rows | None:
        """What can be learnt of the labelled rows: those inside the transistor models; None where there is none.

        :param known: rows of which no sizing is given again.
        """
        from zsgym.samples.parquet import samples_to_table

        if not self.labelled:
            return None
        rows = rows_of(self.circuit, samples_to_table(list(self.labelled.values())))
        rows = rows if known is None else rows.without(known)
        return rows if len(rows.vectors) else None


def holds_rows(directory: Path) -> bool:
    """Whether anything was ever written to a log."""
    return any((directory / folder).is_dir() for folder in (SEGMENTS, PARTS))


def waiting_circuits(directory: Path) -> Counter[str]:
    """Circuit name -> rows of a log that a surrogate has answered.

    :raises SampleLogError: there is no log.
    """
    return Counter(sample.circuit for sample in read_samples(directory) if sample.predicted)


def _of_the_model(targets: Targets | None, circuit: Circuit) -> Targets | None:
    """Those targets that a model can be judged by."""
    if targets is None:
        return None
    return {name: target for name, target in targets.items() if name in circuit.circuit_class.metrics.names}
