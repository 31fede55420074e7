"""Data set generation: sizings from a strategy, labels from a simulator, rows in a crash-safe log.

Sample i of a data set is a function of circuit, strategy, seed and i (and, for a strategy that learns, of the labels of
earlier rounds). So it does not matter how many workers there are, where a run was interrupted, or how often: the same
rows come out, in another order of lines at most. A sizing that could not be simulated for want of infrastructure is
recorded under `errors/`, and its index stays open until a later run fills it.

    DIR/manifest.json   what was asked for, every run with its versions and wall time, and the counts
    DIR/segments/       rows while a run is under way
    DIR/parquet/        all rows, sorted by index, once a run has come to its end
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.circuits import DEFAULT_VERDICT, Circuit
from zsgym.classes import Conditions
from zsgym.datasets.strategies import LabelledSizing, list_strategies, make_strategy, rounds
from zsgym.evaluate import Evaluator
from zsgym.samples.manifest import MANIFEST, provenance_of_this_process, read_manifest, write_manifest
from zsgym.samples.reader import SampleLogWarning, read_samples
from zsgym.samples.schema import Sample, now
from zsgym.simulators.base import Simulator

ATTEMPTS = 2
"""How often a batch asks for a sizing that the infrastructure failed to answer. The simulator retries by itself too."""


@dataclass(frozen=True)
class Plan:
    """What a data set consists of. Runs with an equal plan, apart from `count`, continue one data set.

    circuit: rows hold the optional metrics that it is asked for, too. count: number of samples. seed: of the strategy.
    conditions: None means the circuit's own. policy: verdict policy that gives the labels.
    """

    circuit: Circuit
    count: int
    seed: int = 0
    strategy: str = "uniform"
    conditions: Conditions | None = None
    policy: str = DEFAULT_VERDICT

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be carried out, with a ConfigError."""
        if self.count < 1 or self.seed < 0:
            raise ConfigError(f"count must be at least 1 and seed at least 0, got {self.count} and {self.seed}")
        if self.strategy not in list_strategies():
            raise ConfigError(f"unknown strategy {self.strategy!r}; choose one of: {', '.join(list_strategies())}")
        self.circuit.policy(self.policy)

    def configuration(self) -> dict[str, Any]:
        """Everything that decides what sample i is and how it is labelled, as plain JSON values."""
        ranges = {
            p.name: {"bounds": [p.low, p.high], "uniform": list(p.uniform_bounds), "log": list(p.log_bounds)}
            for p in self.circuit.parameters
        }
        # The targeted strategy starts from the known-good sizings; the others do not look at them.
        known_good = self.circuit.known_good if self.strategy == "targeted" else {}
        configuration = {
            "circuit": self.circuit.name,
            "netlist_hash": self.circuit.netlist_hash,
            "known_good": known_good,
            "strategy": self.strategy,
            "seed": self.seed,
            "conditions": (self.conditions or self.circuit.conditions).as_dict(),
            "policy": self.policy,
            "verdict": self.circuit.verdict_policies[self.policy].model_dump(),
            "parameters": ranges,
        }
        if self.circuit.asked:  # what nobody asks for does not make an older data set another one
            configuration["optional_metrics"] = list(self.circuit.asked)
        return configuration


@dataclass
class Counts:
    """What a data set holds: rows, those that work, failures by reason, and indices that are still open."""

    rows: int = 0
    working: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    open: list[int] = field(default_factory=list)

    def add(self, label: int, failure: str | None) -> None:
        """Count one row."""
        self.rows += 1
        self.working += label
        if failure is not None:
            self.failures[failure] += 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest and JSON."""
        return {
            "rows": self.rows,
            "working": self.working,
            "failures": dict(self.failures.most_common()),
            "open": self.open,
        }


def generate(
    plan: Plan,
    directory: str | os.PathLike[str],
    simulator: Simulator,
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> Counts:
    """Generate a data set, or continue one, and gather it in one Parquet file sorted by index.

    An interrupt (Ctrl-C) or a crash loses at most the batch that is being simulated; the next run goes on from there.

    :param simulator: of the plan's circuit, under the plan's verdict policy.
    :param batch_size: sizings per call of the simulator: several per worker.
    :param progress: show a progress bar on stderr, with rate, remaining time and the share that works.
    :returns: the counts of the whole data set; `open` is empty unless the infrastructure failed.
    :raises SampleLogError: the directory belongs to another plan, is in use by another run, or cannot be written.
    :raises SimulatorError: not one sizing of a batch could be simulated.
    """
    from zsgym.samples.parquet import compact

    lock = only_run_in(Path(directory), "another run is generating into")
    with lock, _recorded_run(plan, Path(directory), simulator) as counts:
        done = _read_done(plan, directory, counts)
        context = {"strategy": plan.strategy, "seed": plan.seed}
        evaluator = Evaluator(simulator, log=directory, policy=plan.policy, owns_simulator=False, context=context)
        with evaluator, _bar(plan, counts, progress) as bar:
            run = _Run(plan, evaluator, counts, bar)
            labelled: list[LabelledSizing] = []
            for indices in rounds(plan.strategy, plan.count):
                missing = [index for index in indices if index not in done]
                if missing:
                    strategy = make_strategy(plan.strategy, plan.circuit, labelled)
                    for start in range(0, len(missing), batch_size):
                        batch = missing[start : start + batch_size]
                        done.update(run.simulate(batch, strategy.propose(plan.seed, batch)))
                labelled += [done[index] for index in indices if index in done]
        compact(directory, sort_by=("index",))
    return counts


@dataclass
class _Run:
    plan: Plan
    evaluator: Evaluator
    counts: Counts
    bar: Any

    def simulate(self, indices: Sequence[int], sizings: Sequence[dict[str, float]]) -> dict[int, LabelledSizing]:
        """Simulate and log one batch; gives what was labelled, by index."""
        cases = self.plan.circuit.cases(sizings, self.plan.conditions)
        outcomes = self.evaluator.evaluate(cases, [{"index": index} for index in indices], attempts=ATTEMPTS)
        labelled = {}
        for index, sizing, outcome in zip(indices, sizings, outcomes, strict=True):
            if outcome.label is None:
                self.counts.open.append(index)
                continue
            self.counts.add(outcome.label, outcome.failure)
            labelled[index] = LabelledSizing(sizing, outcome.label)
        self.bar.set_postfix_str(f"works {self.counts.working / max(self.counts.rows, 1):.1%}", refresh=False)
        self.bar.update(len(labelled))
        return labelled


def _read_done(plan: Plan, directory: str | os.PathLike[str], counts: Counts) -> dict[int, LabelledSizing]:
    """The samples that earlier runs have labelled, by index."""
    done: dict[int, LabelledSizing] = {}
    for sample in _rows_so_far(directory):
        if sample.index is not None and sample.index not in done:
            counts.add(sample.label, sample.failure)
            done[sample.index] = LabelledSizing(sample.sizing, sample.label)
    return done


def _rows_so_far(directory: str | os.PathLike[str]) -> Iterable[Sample]:
    has_rows = any((Path(directory) / folder).is_dir() for folder in ("segments", "parquet"))
    return read_samples(directory) if has_rows else ()


@contextmanager
def only_run_in(directory: Path, busy: str = "another process is at work in") -> Iterator[None]:
    """Two runs in one directory would simulate the same sizings twice.

    :param busy: what the error says of the other run, before the directory's name.
    :raises SampleLogError: another process is at work, or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("wb")
    except OSError as error:
        raise SampleLogError(f"cannot write to {directory}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SampleLogError(f"{busy} {directory}: wait for it, or choose another") from error
        yield


@contextmanager
def _recorded_run(plan: Plan, directory: Path, simulator: Simulator) -> Iterator[Counts]:
    """Check that the directory belongs to the plan, and write this run into its manifest, however it ends."""
    manifest = _manifest_for(plan, directory)
    counts = Counts()
    provenance = dict(simulator.provenance)
    if manifest["runs"] and manifest["runs"][-1]["provenance"] != provenance:
        warnings.warn(
            f"earlier rows of {directory} were made by {manifest['runs'][-1]['provenance']}, now {provenance}: "
            "the data set will hold both",
            SampleLogWarning,
            stacklevel=2,
        )
    run = {
        "started": now(),
        "ended": None,
        "status": "killed",
        "provenance": provenance,
        **provenance_of_this_process(),
    }
    manifest["runs"].append(run)
    manifest["count"] = max(plan.count, manifest["count"])
    write_manifest(directory, manifest)
    started = time.monotonic()

    def close_run(status: str) -> None:
        run.update(status=status, ended=now(), wall_s=round(time.monotonic() - started, 3))
        manifest["counts"] = counts.as_dict()
        write_manifest(directory, manifest)

    try:
        yield counts
    except BaseException as error:
        with suppress(SampleLogError):  # on a full disk the manifest cannot be written either
            close_run("interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error}")
        raise
    close_run("complete" if not counts.open else "incomplete")


def _manifest_for(plan: Plan, directory: Path) -> dict[str, Any]:
    manifest = read_manifest(directory)
    if manifest is None:
        if any(entry.name != ".lock" for entry in directory.iterdir()):
            raise SampleLogError(
                f"{directory} is not empty and has no {MANIFEST}: it was not made by this command. "
                "Choose another directory."
            )
        return {"made_by": "generate", "configuration": plan.configuration(), "count": 0, "runs": [], "counts": {}}
    if manifest.get("made_by") != "generate":
        raise SampleLogError(
            f"{directory} was made by {manifest.get('made_by')}, not generated. Choose another directory."
        )
    wanted, found = plan.configuration(), manifest["configuration"]
    found = found | {"conditions": plan.circuit.circuit_class.conditions.of_row(found["conditions"])}
    names = dict.fromkeys([*wanted, *(name for name in ("optional_metrics",) if name in found)])
    different = [name for name in names if wanted.get(name) != found.get(name)]
    if different:
        details = "; ".join(
            f"{name}: {_short(found.get(name))} there, {_short(wanted.get(name))} now" for name in different
        )
        raise SampleLogError(
            f"{directory} holds another data set ({details}). "
            "Repeat its command to continue it, or choose another directory."
        )
    return manifest


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _bar(plan: Plan, counts: Counts, progress: bool) -> Any:
    return tqdm(
        total=max(plan.count, counts.rows),
        initial=counts.rows,
        desc=f"{plan.circuit.name} ({plan.strategy})",
        unit="sample",
        disable=not progress,
        smoothing=0.05,
        # A log file wants a line now and then, not one per batch.
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        dynamic_ncols=True,
    )
