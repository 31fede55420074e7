"""How fast the surrogate answers, against the project's own ngspice backend, on one core and in the same minutes."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from surrogate.checkpoint import Checkpoint
from surrogate.predict import Predictor
from zsgym.circuits import Cases, Circuit
from zsgym.simulators.base import Simulator


def measure_speed(
    circuit: Circuit,
    surrogate: Simulator,
    truth: Simulator,
    checkpoint: Checkpoint,
    vectors: NDArray[np.float64],
    *,
    rounds: int = 8,
    simulated: int = 12,
    batch: int = 2048,
    singles: int = 300,
) -> dict[str, Any]:
    """Batched throughput of both backends and latency of one sizing.

    Both answer the same kind of sizings (in-bin test rows) in turns, round by round, so that whatever else the machine
    does hits both alike; medians over the rounds. The process is bound to one core meanwhile, and so are the ngspice
    workers that it starts.

    :param vectors: (n, p) in-bin sizings. :param truth: ngspice with one worker.
    :param simulated: sizings per round for ngspice. :param batch: sizings per call of the surrogate, at most; fewer
        for a model that would need more than a second for them.
    """
    sizings = circuit.cases(vectors)
    predictor = Predictor(checkpoint, circuit)
    rates: dict[str, list[float]] = {"ngspice": [], "surrogate": [], "predictor": []}
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, {core})
    try:
        truth.simulate(sizings[:2])  # starts the worker and loads the models
        many = _repeated(sizings, range(_affordable(surrogate, sizings, batch)))
        table = many.vectors
        for k in tqdm(range(rounds), desc=f"speed, {circuit.name}", unit="round", leave=False):
            asked = _repeated(sizings, range(k * simulated, (k + 1) * simulated))
            rates["ngspice"].append(_rate(len(asked), lambda asked=asked: truth.simulate(asked)))  # type: ignore[misc]
            rates["surrogate"].append(_rate(len(many), lambda: surrogate.simulate(many)))
            rates["predictor"].append(_rate(len(many), lambda: predictor.predict(table)))
        latency = _latencies(surrogate, sizings, singles)
    finally:
        os.sched_setaffinity(0, cores)
    ngspice, batched, arrays = (float(np.median(rates[name])) for name in ("ngspice", "surrogate", "predictor"))
    return {
        "core": core,
        "batch": len(many),
        "ngspice_per_s": ngspice,
        "surrogate_per_s": batched,
        "predictor_per_s": arrays,
        "ratio": batched / ngspice,
        "latency_ms": float(np.median(latency)),
        "latency_ms_q95": float(np.quantile(latency, 0.95)),
        "ngspice_ms": 1e3 / ngspice,
        "rounds": rates,
    }


def _repeated(cases: Cases, positions: Iterable[int]) -> Cases:
    """Cases at these positions, over and over."""
    return cases[[position % len(cases) for position in positions]]


def _affordable(surrogate: Simulator, sizings: Cases, batch: int) -> int:
    """A batch size that takes about a second, not above `batch`."""
    trial = _repeated(sizings, range(32))
    surrogate.simulate(trial)
    return min(max(int(_rate(len(trial), lambda: surrogate.simulate(trial))), len(trial)), batch)


def _rate(count: int, work: Callable[[], object]) -> float:
    """Answers per second of wall time."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def _latencies(surrogate: Simulator, sizings: Cases, singles: int) -> list[float]:
    """Milliseconds of single calls."""
    return [1e3 / _rate(1, lambda k=k: surrogate.simulate(_repeated(sizings, [k]))) for k in range(singles)]  # type: ignore[misc]
