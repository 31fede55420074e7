"""The physics backend against ngspice, on random sizings of every shipped amplifier and at other conditions.

    python benchmarks/physics_vs_spice.py                                # every circuit, 300 sizings each: hours
    python benchmarks/physics_vs_spice.py --circuits nmcf --sizings 50   # minutes

Sizings are drawn log-uniformly inside the transistor models. Errors are those of sizings that work in ngspice, with the
metrics that rest on linear equations beside those of the step response; stability is compared wherever both have judged
the small signals. Times are those of the processor, of both simulators in one run on the same sizings. What ngspice
answered is kept in the cache folder: an interrupted run goes on where it stopped. Circuits that are not named keep what
the JSON says of them.

Writes physics_vs_spice.json and physics_vs_spice.png.
"""

import argparse
import hashlib
import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, format_table, new_figure, provenance, run_resumable, save_figure, write_json
from numpy.typing import NDArray
from tqdm import tqdm

from zsgym.base.paths import cache_dir
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes import Conditions
from zsgym.datasets.strategies import sample
from zsgym.pdk import models_hash
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome, Status
from zsgym.simulators.physics.backend.simulator import PhysicsSimulator

GOALS = {
    "power": ("relative", 1e-3), "vos": ("offset", 1.0), "dc_gain": ("absolute", 0.01), "gbw": ("relative", 1e-3),
    "phase_margin": ("absolute", 0.01), "cmrr": ("absolute", 0.1), "psrr_p": ("absolute", 0.01),
    "psrr_n": ("absolute", 0.01), "tc": ("relative", 0.01), "slew_rate": ("relative", 0.05),
    "settling_time": ("relative", 0.05),
}  # fmt: skip
"""Metric -> how its error is counted, and what the error of 99 % of the working sizings should be within; the offset's
is in units of 1 uV + 1e-3 of it."""
ELSEWHERE: tuple[dict[str, Any], ...] = (
    {"corner": "ff"}, {"corner": "ss"}, {"corner": "sf"}, {"corner": "fs"}, {"supply": 1.62}, {"supply": 1.98},
    {"temperature": -40.0}, {"temperature": 125.0},
)  # fmt: skip
_BATCH = 64
_OF_SMALL_SIGNALS = ("operating_point", "small_signal")


def draw(circuit: Circuit, count: int, seed: int) -> NDArray[np.float64]:
    """(count, n) log-uniform sizings inside the models."""
    found: list[NDArray[np.float64]] = []
    index = 0
    while len(found) < count:
        part = np.array([circuit.vector(sample(circuit, "log", seed, i)) for i in range(index, index + 64)])
        found += list(part[inside_models(circuit, part)])
        index += 64
    return np.array(found[:count])


def ngspice_answers(
    circuit: Circuit, vectors: NDArray[np.float64], conditions: Conditions, folder: Path
) -> list[dict[str, Any]]:
    """Status, failure and measurements of every sizing in ngspice, as far as they are not kept already."""
    key = hashlib.sha256(vectors.tobytes() + repr((circuit.netlist_hash, conditions, models_hash())).encode())
    place = folder / f"{circuit.name}-{key.hexdigest()[:16]}.json"
    if place.is_file():
        kept: list[dict[str, Any]] = json.loads(place.read_text())
        return kept
    answers: list[dict[str, Any]] = []
    with NgspiceSimulator(circuit) as simulator:
        bar = tqdm(range(0, len(vectors), 16), desc=f"{circuit.name} in ngspice", leave=False)
        for start in bar:
            outcomes = simulator.simulate(circuit.cases(vectors[start : start + 16], conditions), errors="return")
            answers += [_kept(outcome) for outcome in outcomes]
    folder.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(answers))
    return answers


def _kept(outcome: Outcome) -> dict[str, Any]:
    return {"status": outcome.status.value, "failure": outcome.failure, "raw": dict(outcome.raw)}


def compare(solved: Sequence[Outcome], truth: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Agreement and errors of one set of sizings."""
    working = [
        (ours.raw, theirs["raw"])
        for ours, theirs in zip(solved, truth, strict=True)
        if theirs["status"] == "success" and ours.status is not Status.UNDECIDED
    ]
    both = [(o.raw.get("max_pole_real"), t["raw"].get("max_pole_real")) for o, t in zip(solved, truth, strict=True)]
    stable = [(a > 0.0) == (b > 0.0) for a, b in both if a is not None and b is not None]
    labels = [
        (o.label, int(t["status"] == "success")) for o, t in zip(solved, truth, strict=True) if o.label is not None
    ]
    reasons = Counter(
        f"{t['failure'] or 'works'} in ngspice, {o.failure or o.status.value} here"
        for o, t in zip(solved, truth, strict=True)
        if o.label is not None and o.label != int(t["status"] == "success")
    )
    return {
        "sizings": len(truth),
        "converged": float(np.mean([o.status is not Status.UNDECIDED for o in solved])),
        "working": sum(t["status"] == "success" for t in truth),
        "stability_compared": len(stable),
        "stability_agrees": float(np.mean(stable)) if stable else None,
        "label_agrees": float(np.mean([a == b for a, b in labels])) if labels else None,
        "disagreements": dict(reasons),
        "errors": {name: errors_of(name, working) for name in GOALS} if working else {},
    }


def errors_of(name: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    """Quantiles of one metric's error, and the share within its goal."""
    kind, goal = GOALS[name]
    errors = []
    for ours, theirs in pairs:
        a, b = ours.get(name), theirs[name]
        if a is None:  # found to fail here: a disagreement, which is counted as such
            continue
        scale = {"relative": abs(b), "absolute": 1.0, "offset": 1e-6 + 1e-3 * abs(b)}[kind]
        errors.append(abs(a - b) / max(scale, 1e-300))
    if not errors:
        return {}
    median, tenth, hundredth = np.quantile(errors, [0.5, 0.9, 0.99])
    return {
        "median": float(median), "p90": float(tenth), "p99": float(hundredth), "worst": float(np.max(errors)),
        "within_goal": float(np.mean(np.array(errors) <= goal)),
        "worst_at": int(np.argmax(errors)),
    }  # fmt: skip


def speed(circuit: Circuit, vectors: NDArray[np.float64]) -> dict[str, float]:
    """Processor's time per sizing in s, of sizings that work. A batch holds them as often as fills it."""
    physics = PhysicsSimulator(circuit)
    many = np.resize(vectors, (_BATCH, vectors.shape[1]))
    physics.simulate(circuit.cases(vectors[:1]), errors="return")
    single, ours, small = [], [], []
    for vector in np.resize(vectors, (12, vectors.shape[1])):
        alone = partial(physics.simulate, circuit.cases(vector[None]), errors="return")
        single.append(_processor_s(alone))
    for _ in range(3):
        batch = physics.batch(many, circuit.conditions)
        ours.append(_processor_s(batch.run) / len(many))
        small.append(ours[-1] * sum(batch.seconds[name] for name in _OF_SMALL_SIGNALS) / sum(batch.seconds.values()))
    theirs, share = _ngspice_s(circuit, vectors)
    return {
        "sizings": len(vectors),
        "ngspice_s": theirs,
        "ngspice_small_signal_s": share * theirs,
        "one_s": float(np.median(single)),
        "batch_s": float(np.min(ours)),
        "batch_small_signal_s": float(np.min(small)),
        "times_complete": theirs / float(np.min(ours)),
        "times_small_signal": share * theirs / float(np.min(small)),
    }


def _processor_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _ngspice_s(circuit: Circuit, vectors: NDArray[np.float64]) -> tuple[float, float]:
    """Processor's time of a worker per sizing without its start, and the share of operating point and small signals."""

    def spent(rows: NDArray[np.float64]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with NgspiceSimulator(circuit) as simulator:
            for answer in simulator.measure(circuit.cases(rows)):
                stages = getattr(answer, "stages", {})
                shares.append(sum(stages.get(name, 0.0) for name in _OF_SMALL_SIGNALS) / sum(stages.values()))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    shares: list[float] = []
    start = spent(vectors[:1])
    all_of_them = spent(np.concatenate([vectors[:1], vectors]))
    return (all_of_them - start) / len(vectors), float(np.median(shares))


def run(arguments: argparse.Namespace) -> None:
    """Everything, circuit by circuit."""
    folder = cache_dir() / "benchmarks" / "physics_vs_spice"
    path = arguments.out / "physics_vs_spice.json"
    circuits: dict[str, Any] = json.loads(path.read_text())["circuits"] if path.is_file() else {}
    for name in arguments.circuits or list_circuits():
        circuit = load_circuit(name)
        vectors = draw(circuit, arguments.sizings, arguments.seed)
        physics = PhysicsSimulator(circuit)
        truth = ngspice_answers(circuit, vectors, circuit.conditions, folder)
        solved = physics.simulate(circuit.cases(vectors), errors="return")
        found = compare(solved, truth)
        working = [row for row, answer in enumerate(truth) if answer["status"] == "success"]
        if arguments.timed and working:
            found["speed"] = speed(circuit, vectors[working[: arguments.timed]])
        few = vectors[: arguments.elsewhere]
        found["elsewhere"] = {
            str(next(iter(changes.values()))): compare(
                physics.simulate(circuit.cases(few, circuit.conditions.replace(**changes)), errors="return"),
                ngspice_answers(circuit, few, circuit.conditions.replace(**changes), folder),
            )
            for changes in (ELSEWHERE if len(few) else ())
        }
        circuits[circuit.name] = found
        print(row_of(circuit.name, found), flush=True)
        result = {
            "circuits": dict(sorted(circuits.items())),
            "goals": {name: list(goal) for name, goal in GOALS.items()},
            "provenance": provenance("zsgym", "numba", "numpy", seed=arguments.seed),
        }
        write_json(path, result)
    figure(circuits, arguments.out / "physics_vs_spice.png")
    print(tables(circuits))


def row_of(name: str, found: Mapping[str, Any]) -> str:
    """One line while the benchmark runs."""
    return (
        f"{name}: {found['sizings']} sizings, {found['working']} work, converged {found['converged']:.4f}, "
        f"stability {found['stability_agrees']}, label {found['label_agrees']}, {found['disagreements']}"
    )


def tables(circuits: Mapping[str, Any]) -> str:
    """What is printed at the end."""
    agreement = [
        (name, c["sizings"], c["working"], c["converged"], c["stability_agrees"], c["label_agrees"],
         *(c.get("speed", {}).get(key) for key in ("times_small_signal", "times_complete", "batch_s")))
        for name, c in circuits.items()
    ]  # fmt: skip
    errors = [(name, *(c["errors"].get(metric, {}).get("p99") for metric in GOALS)) for name, c in circuits.items()]
    header = ("circuit", "sizings", "work", "converged", "stability", "label", "x op+AC+poles", "x complete", "s")
    return "\n".join(
        [
            format_table("Agreement with ngspice", header, agreement),
            format_table("99th percentile of errors", ("circuit", *GOALS), errors),
        ]
    )


def figure(circuits: Mapping[str, Any], path: Path) -> None:
    """Median and 99th percentile of every metric's error, a dot for each circuit."""
    drawn, grid = new_figure(1, 1, 8.0, 3.6)
    axes = grid[0, 0]
    for column, (metric, (_, goal)) in enumerate(GOALS.items()):
        for quantile, colour in (("median", "#0072b2"), ("p99", "#d55e00")):
            values = [c["errors"][metric][quantile] for c in circuits.values() if c["errors"].get(metric)]
            axes.plot(
                [column] * len(values), np.maximum(values, 1e-14), "o", color=colour, alpha=0.6, markersize=4,
                label=quantile if column == 0 else None,
            )  # fmt: skip
        axes.plot([column - 0.3, column + 0.3], [goal, goal], color="#7f7f7f")
    axes.set_yscale("log")
    axes.set_xticks(range(len(GOALS)), list(GOALS), rotation=30, ha="right")
    axes.set_ylabel("error (relative, dB, degrees)")
    axes.legend()
    save_figure(drawn, path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--circuits", nargs="*", metavar="NAME", help="default: every shipped one")
    parser.add_argument("--sizings", type=int, default=300, help="of each circuit (default: 300)")
    parser.add_argument("--elsewhere", type=int, default=40, help="sizings at each other condition (default: 40)")
    parser.add_argument("--timed", type=int, default=24, help="working sizings that are timed (default: 24)")
    parser.add_argument("--seed", type=int, default=12, help="of the sizings (default: 12)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the results")
    arguments = parser.parse_args()
    run_resumable(lambda: run(arguments))


if __name__ == "__main__":
    main()
