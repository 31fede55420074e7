"""New labels for old rows: judged by another verdict policy, or simulated where a surrogate had only predicted."""

from __future__ import annotations

import functools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Failure, VerdictPolicy, find_class
from zsgym.datasets.generate import ATTEMPTS, Counts
from zsgym.evaluate import Evaluator
from zsgym.samples.dataset import check_new
from zsgym.samples.log import PARTS
from zsgym.samples.manifest import provenance_of_this_process, read_manifest, write_manifest
from zsgym.samples.reader import LogPath, SampleLogWarning, read_samples, relabel_queue
from zsgym.samples.schema import Sample
from zsgym.simulators.base import Simulator

_CHUNK_ROWS = 4096


def judge_anew(source: LogPath, policy: str, out: str | os.PathLike[str]) -> Counter[str]:
    """Judge every simulated row by another verdict policy of its circuit, from its raw measurements alone.

    Nothing is simulated. Rows that a surrogate answered are not copied. Rewards of transitions stay as they were given.

    :param policy: a name among the circuit's verdict policies: `functional`, `measured`, or one of its own.
    :returns: how many labels went which way: "kept", "now works", "now fails".
    :raises ConfigError: a circuit does not have that policy. :raises SampleLogError: `out` exists, or cannot be read.
    """
    import pyarrow as pa

    from zsgym.samples.parquet import samples_to_table, write_part

    check_new(out)
    changes: Counter[str] = Counter({"kept": 0, "now works": 0, "now fails": 0})
    tables = []
    chunk: list[Sample] = []
    for sample in _judged(source, policy, changes):
        chunk.append(sample)
        if len(chunk) == _CHUNK_ROWS:
            tables.append(samples_to_table(chunk))
            chunk = []
    table = pa.concat_tables([*tables, samples_to_table(chunk)], promote_options="default")
    write_part(table, Path(out) / PARTS / "relabelled.parquet")
    manifest = {"made_by": "relabel", "policy": policy, "source": str(source), "source_manifest": read_manifest(source)}
    write_manifest(out, {**manifest, "rows": table.num_rows, "changes": dict(changes), **provenance_of_this_process()})
    return changes


def _judged(source: LogPath, policy: str, changes: Counter[str]) -> Iterator[Sample]:
    find_policy = functools.lru_cache(maxsize=None)(_policy)
    for sample in read_samples(source):
        if sample.predicted:
            continue
        failure = judged_failure(sample, find_policy(sample.circuit, policy))
        label = int(failure is None)
        changes["kept" if label == sample.label else "now works" if label else "now fails"] += 1
        metrics = {name: sample.raw.get(name) for name in _measured(sample)} if label else None
        fields = {"label": label, "failure": failure, "metrics": metrics, "policy": policy}
        yield Sample.parse(sample.as_dict() | fields)


def _measured(sample: Sample) -> list[str]:
    """The metrics of a row: those that are always measured, and the optional ones that it holds."""
    circuit_class = find_class(sample.circuit_class)
    asked = (name for name in circuit_class.optional_metrics.names if name in sample.raw)
    return [*circuit_class.metrics.names, *asked]


def judged_failure(sample: Sample, policy: VerdictPolicy) -> str | None:
    """Why a row does not work under a verdict policy, or None when it works: from its raw measurements alone."""
    if sample.failure == Failure.GEOMETRY:
        return Failure.GEOMETRY  # such a sizing is never simulated, so that there is nothing else to judge
    return find_class(sample.circuit_class).judge(sample.raw, policy)


def _policy(circuit: str, name: str) -> VerdictPolicy:
    return load_circuit(circuit).policy(name)


def answer_queue(
    directory: str | os.PathLike[str],
    make_simulator: Callable[[Circuit, str], Simulator],
    *,
    limit: int | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Counts:
    """Simulate the rows of a log that only a surrogate has answered, and append the answers to the same log.

    It may be interrupted and repeated: what was answered is no longer in the queue.

    :param make_simulator: gives the simulator of a circuit under the named verdict policy; it is closed here.
    :param limit: simulate at most this many, the oldest first.
    :returns: what was simulated; `open` holds the positions in the queue that the infrastructure failed to answer.
    :raises SampleLogError: there is no log, or it cannot be written.
    :raises SimulatorError: not one sizing of a batch could be simulated.
    """
    counts = Counts()
    queue = relabel_queue(directory)[:limit]
    groups: dict[tuple[str, str, tuple[str, ...], tuple[tuple[str, Any], ...]], list[int]] = {}
    for position, row in enumerate(queue):
        key = (row.circuit, row.policy, _asked(row), tuple(row.conditions.items()))
        groups.setdefault(key, []).append(position)
    with tqdm(total=len(queue), desc="relabel", unit="sample", disable=not progress) as bar:
        for (name, policy, asked, conditions), positions in groups.items():
            circuit = load_circuit(name).asking(asked)
            current = [position for position in positions if queue[position].netlist_hash == circuit.netlist_hash]
            if len(current) < len(positions):
                warnings.warn(
                    f"{len(positions) - len(current)} rows belong to another version of the netlist of {name!r} and "
                    "cannot be simulated with this one",
                    SampleLogWarning,
                    stacklevel=2,
                )
                bar.update(len(positions) - len(current))
            if not current:
                continue
            under = circuit.circuit_class.conditions.read(dict(conditions))
            cases = circuit.cases([queue[position].sizing for position in current], under)
            context = {"strategy": "relabel"}
            with Evaluator(make_simulator(circuit, policy), log=directory, policy=policy, context=context) as evaluator:
                for start in range(0, len(current), batch_size):
                    outcomes = evaluator.evaluate(cases[start : start + batch_size], attempts=ATTEMPTS)
                    for position, outcome in zip(current[start : start + batch_size], outcomes, strict=True):
                        if outcome.label is None:
                            counts.open.append(position)
                        else:
                            counts.add(outcome.label, outcome.failure)
                    bar.update(len(outcomes))
    return counts


def _asked(row: Sample) -> tuple[str, ...]:
    """The optional metrics that a row holds, or that its episode had targets of."""
    optional = find_class(row.circuit_class).optional_metrics.names
    return tuple(name for name in optional if name in row.metrics or name in (row.targets or {}))
