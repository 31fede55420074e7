"""Labels from ngspice for the chosen sizings, and what they say about the surrogate that proposed them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from tqdm import tqdm

from surrogate.data import Normaliser
from surrogate.retrain.choose import Chosen
from surrogate.retrain.log import Log
from zsgym.circuits import Circuit
from zsgym.classes.specs import meets_all, reward
from zsgym.evaluate import Evaluator, error_of
from zsgym.samples import Sample, sample_id
from zsgym.simulators import Simulator

_BATCH = 8
"""Sizings per worker and call: what a killed process has to simulate again at most."""
_ATTEMPTS = 2
"""How often a sizing is asked for that the infrastructure fails to answer."""


def identity(circuit: Circuit, chosen: Chosen) -> str:
    """The `sample_id` of a chosen sizing."""
    return sample_id(circuit.name, circuit.netlist_hash, chosen.sizing, circuit.conditions)


def label(
    log: Log, chosen: Sequence[Chosen], simulator: Simulator, *, strategy: str, seed: int, workers: int = 1
) -> list[Sample | None]:
    """Simulate what the log does not hold yet, append it batch by batch, and give the label of every chosen sizing.

    :param strategy: recorded with each row, followed by the kind. :param workers: of the simulator.
    :returns: in order; None where the infrastructure did not answer, which is recorded outside the samples.
    :raises SimulatorError: nothing of a batch was answered. :raises SampleLogError: a row cannot be written.
    """
    circuit = log.circuit
    pending = {identity(circuit, c): (i, c) for i, c in enumerate(chosen)}
    rows = [value for key, value in pending.items() if key not in log.labelled]
    asking = Evaluator(simulator, log=log.directory, policy=log.policy, owns_simulator=False, context={"seed": seed})
    with asking, tqdm(total=len(rows), desc="label", unit="sim", leave=False) as bar:
        for start in range(0, len(rows), _BATCH * workers):
            batch = rows[start : start + _BATCH * workers]
            cases = circuit.cases([c.sizing for _, c in batch])
            outcomes = asking.ask(cases, attempts=_ATTEMPTS, errors="return")
            if all(outcome.label is None for outcome in outcomes):
                raise error_of(outcomes[0], simulator)
            contexts = [{"strategy": f"{strategy}/{c.kind}", "index": index} for index, c in batch]
            stored = asking.record(cases, outcomes, contexts)
            log.labelled |= {row.sample_id: row for row in stored if row is not None}
            bar.update(len(batch))
    return [log.labelled.get(identity(circuit, c)) for c in chosen]


def findings(
    circuit: Circuit, chosen: Sequence[Chosen], labels: Sequence[Sample | None], normaliser: Normaliser
) -> dict[str, Any]:
    """What the labels say about the surrogate that chose.

    kinds: of each kind how many were labelled and work, and the gap between surrogate and ngspice on those that both
    call working: `reward` (median absolute difference) and `metrics` (mean absolute difference in standard deviations).
    claims: designs that the surrogate called feasible, how many of them work and how many meet their targets in
    ngspice (`confirmed`). certain: the same for those that are feasible at the worse end of every interval; published:
    for those of searches with the circuit's own targets.
    """
    known = [(c, row) for c, row in zip(chosen, labels, strict=True) if row is not None]
    kinds = dict.fromkeys(c.kind for c, _ in known)
    best = [(c, row) for c, row in known if c.kind == "best"]
    return {
        "labelled": len(known),
        "unanswered": len(chosen) - len(known),
        "kinds": {kind: _gap(circuit, [(c, row) for c, row in known if c.kind == kind], normaliser) for kind in kinds},
        "claims": _claims(circuit, [(c, row) for c, row in best if c.feasible]),
        "certain": _claims(circuit, [(c, row) for c, row in best if c.certain]),
        "published": _claims(circuit, [(c, row) for c, row in best if c.feasible and c.targets == circuit.targets]),
    }


def _claims(circuit: Circuit, rows: Sequence[tuple[Chosen, Sample]]) -> dict[str, Any]:
    margins = [circuit.metrics.margins(_metrics(row), c.targets) if row.label else None for c, row in rows]
    confirmed = sum(m is not None and meets_all(m) for m in margins)
    missed: dict[str, int] = {}
    for m in margins:
        for name, margin in (m or {}).items():
            if margin < 0.0:
                missed[name] = missed.get(name, 0) + 1
    return {
        "designs": len(rows),
        "work": sum(m is not None for m in margins),
        "confirmed": confirmed,
        "share": confirmed / len(rows) if rows else None,
        "interval": wilson(confirmed, len(rows)) if rows else None,
        "missed": dict(sorted(missed.items(), key=lambda item: -item[1])),
    }


def _gap(circuit: Circuit, rows: Sequence[tuple[Chosen, Sample]], normaliser: Normaliser) -> dict[str, Any]:
    both = [(c, row) for c, row in rows if c.metrics is not None and row.label]
    differences: dict[str, float] = {}
    for k, name in enumerate(circuit.metrics.names):
        guess = np.array([(c.metrics or {})[name] for c, _ in both])
        truth = np.array([_metrics(row)[name] for _, row in both])
        if len(both):
            scale = normaliser.metrics[k]
            differences[name] = float(np.nanmean(np.abs(scale.normalise(guess) - scale.normalise(truth))))
    rewards = [abs(c.reward - reward(circuit.metrics.margins(_metrics(row), c.targets))) for c, row in both]
    return {
        "labelled": len(rows),
        "work": sum(row.label for _, row in rows),
        "called_working": sum(c.metrics is not None for c, _ in rows),
        "called_working_and_work": len(both),
        "reward_gap": float(np.median(rewards)) if rewards else None,
        "metric_gap": differences,
    }


def _metrics(row: Sample) -> Mapping[str, float]:
    return {name: value for name, value in row.metrics.items() if value is not None}


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a proportion (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share = successes / trials
    centre = (share + z * z / (2.0 * trials)) / (1.0 + z * z / trials)
    half = z / (1.0 + z * z / trials) * math.sqrt(share * (1.0 - share) / trials + z * z / (4.0 * trials**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)
