"""How fast is one evaluation, and is it true? Against the published flow, in the same run.

    python benchmarks/spice_speed.py            # everything; about 20 minutes on two quiet cores
    python benchmarks/spice_speed.py --quick    # a look in three minutes

Prints and saves, for NMCF,
(a) seconds per evaluation of working sizings: the published flow as shipped, the same with one thread, and zsgym;
(b) the largest difference of every metric from the published flow, at its own tolerances and converged;
(c) sustained throughput and memory of two workers on uniform sizings, failures included;
(d) what one evaluation spends where;
(e) how often the verdict from closed-loop poles and the step response disagree (NMCNR as well).
Parts can be run one at a time (`--parts`); results of the others are kept.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, provenance, write_json
from processes import family_cpu_s, family_resident_mib, timed
from published_flow import AS_SHIPPED, CONVERGED, ONE_THREAD, STEP, Effort, evaluate
from spice_tables import DRAWN, draw, report
from tqdm import tqdm

from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import AmplifierPolicy
from zsgym.classes.amplifier.measurements import Step, step_response
from zsgym.datasets import sample
from zsgym.simulators.ngspice.job import Measurement
from zsgym.simulators.ngspice.simulator import NgspiceSimulator

PARTS = ("throughput", "stages", "published", "stability")
STAGES = ("operating_point", "small_signal", "stability", "temperature", "transient", "overhead")
TRANSIENT = ("slew_rate", "settling_time")
OURS, SHIPPED, SINGLE = "zsgym", "published, as shipped", "published, one thread"
_REPEATS = 10
_TIE = 0.02  # of the settling band

Sizing = dict[str, float]


def working_sizings(circuit: Circuit, simulator: NgspiceSimulator, count: int, seed: int) -> list[Sizing]:
    """The first `count` uniform sizings that work."""
    found: list[Sizing] = []
    for index in range(100 * count):
        sizing = sample(circuit, "uniform", seed, index)
        if simulator.simulate(circuit.cases([sizing]))[0].success:
            found.append(sizing)
        if len(found) == count:
            return found
    raise SystemExit(f"of {100 * count} uniform sizings only {len(found)} work; {count} are needed")


def measure_speed_and_accuracy(
    circuit: Circuit, simulator: NgspiceSimulator, sizings: list[Sizing], n_shipped: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every sizing by every flow in turn, so that all see the same machine; their numbers side by side.

    The flow as shipped differs from the one with one thread in time only; it runs on the first `n_shipped` sizings.
    """
    efforts: dict[str, list[Effort]] = {SHIPPED: [], SINGLE: [], OURS: []}
    differences: dict[str, dict[str, list[float]]] = {}
    ties = []
    for number, sizing in enumerate(tqdm(sizings, desc="published flow", unit="sizing")):
        raw = simulator.simulate(circuit.cases([sizing]))[0].raw
        if number < n_shipped:
            efforts[SHIPPED].append(evaluate(circuit, sizing, circuit.conditions, AS_SHIPPED).effort)
        shipped = evaluate(circuit, sizing, circuit.conditions, ONE_THREAD)
        efforts[SINGLE].append(shipped.effort)
        efforts[OURS].append(_our_effort(simulator, sizing))
        converged = evaluate(circuit, sizing, circuit.conditions, CONVERGED)
        steps = [step_response(converged.time, converged.output, Step(**STEP), b) for b in _bands(simulator)]
        for label, reference in (("shipped", shipped.metrics), ("converged", converged.metrics | steps[1])):
            for name in reference:
                if name in ("static_error", "ringing"):
                    continue
                expected = _known(reference, name)
                difference = abs(_known(raw, name) - expected) / (1.0 if name == "vos" else abs(expected))
                differences.setdefault(name, {}).setdefault(label, []).append(difference)
        settled = [_known(step, "settling_time") for step in steps]
        ties.append(max(settled) / min(settled) > 1.05)
    accuracy = {
        name: {label: {"median": np.median(values), "max": max(values)} for label, values in labels.items()}
        for name, labels in differences.items()
    }
    at_rest = [d for d, tie in zip(differences["settling_time"]["converged"], ties, strict=True) if not tie]
    accuracy["settling_time"]["converged, no tie"] = {"median": np.median(at_rest), "max": max(at_rest)}
    return _speed(efforts, n_shipped), {"sizings": len(sizings), "settling_ties": sum(ties), "metrics": accuracy}


def _known(values: Mapping[str, float | None], name: str) -> float:
    """A measurement that every amplifier has which is counted here."""
    value = values[name]
    assert value is not None, name
    return value


def _bands(simulator: NgspiceSimulator) -> list[float]:
    """The settling band, and slightly narrower and wider ones. Where settling jumps between them, a ripple just touches
    the band: a tie, which no simulator can call."""
    band = _policy(simulator).settling_band
    return [band * (1.0 - _TIE), band, band * (1.0 + _TIE)]


def _policy(simulator: NgspiceSimulator) -> AmplifierPolicy:
    assert isinstance(simulator.policy, AmplifierPolicy)
    return simulator.policy


def _our_effort(simulator: NgspiceSimulator, sizing: Sizing) -> Effort:
    """Of one evaluation: median wall time, mean processor time of this process and its workers."""
    before = family_cpu_s()
    cases = simulator.circuit.cases([sizing])
    walls = [timed(lambda: simulator.simulate(cases))[1] for _ in range(_REPEATS)]
    return Effort(float(np.median(walls)), (family_cpu_s() - before) / _REPEATS)


def _speed(efforts: dict[str, list[Effort]], n_shipped: int) -> dict[str, Any]:
    result: dict[str, Any] = {"sizings": {SHIPPED: n_shipped, SINGLE: len(efforts[SINGLE]), OURS: len(efforts[OURS])}}
    for quantity in ("wall", "cpu"):
        seconds = {name: np.array([getattr(e, quantity) for e in found]) for name, found in efforts.items()}
        result[f"{quantity}_s"] = {name: np.median(values) for name, values in seconds.items()}
        ratios = {name: seconds[name] / seconds[OURS][: len(seconds[name])] for name in (SHIPPED, SINGLE)}
        result[f"{quantity}_ratio"] = {n: {"median": np.median(r), "min": r.min()} for n, r in ratios.items()}
    return result


def measure_throughput(circuit: Circuit, workers: int, count: int, seed: int) -> dict[str, Any]:
    """Evaluations per second on uniform sizings, failures included, and resident memory on the way."""
    batch = 100
    with NgspiceSimulator(circuit, workers=workers) as simulator:
        simulator.simulate(circuit.cases([sample(circuit, "uniform", seed, 10**6 + i) for i in range(batch)]))
        memory, reasons, seconds = [family_resident_mib()], Counter[str](), 0.0
        before = family_cpu_s()
        for start in tqdm(range(0, count, batch), desc="throughput", unit=f"x{batch}"):
            sizings = [sample(circuit, "uniform", seed, i) for i in range(start, start + batch)]
            outcomes, elapsed = timed(partial(simulator.simulate, circuit.cases(sizings)))
            seconds += elapsed
            reasons.update(str(outcome.failure or "works") for outcome in outcomes)
            memory.append(family_resident_mib())
        cpu = family_cpu_s() - before
    total = reasons.total()
    return {
        "workers": workers,
        "evaluations": total,
        "per_second": total / seconds,
        "simulated_per_second": (total - reasons["geometry"]) / seconds,
        "cpu_ms_per_evaluation": 1e3 * cpu / total,
        "minutes_for_12500": 12_500 * seconds / total / 60.0,
        "shares": {reason: number / total for reason, number in reasons.most_common()},
        "memory_mib": {"start": memory[0], "middle": memory[len(memory) // 2], "end": memory[-1], "max": max(memory)},
        "memory_mib_every_100": memory,
    }


def measure_stages(circuit: Circuit, simulator: NgspiceSimulator, count: int, seed: int) -> dict[str, Any]:
    """Mean milliseconds per stage, of working sizings and of failures; `overhead` is the rest: fork, pipes, verdict."""
    spent: dict[str, list[dict[str, float]]] = {"works": [], "fails": []}
    simulator.measure(circuit.cases([sample(circuit, "uniform", seed, 10**6 + i) for i in range(10)]))  # warms it up
    for index in tqdm(range(count), desc="stages", unit="sizing"):
        sizing = sample(circuit, "uniform", seed, index)
        (measured,), wall = timed(partial(simulator.measure, circuit.cases([sizing]), errors="raise"))
        if not isinstance(measured, Measurement):
            continue
        stages = {name: 1e3 * seconds for name, seconds in measured.stages.items()}
        stages["overhead"] = 1e3 * wall - sum(stages.values())
        spent["works" if circuit.circuit_class.judge(measured.raw, simulator.policy) is None else "fails"].append(
            stages
        )
    return {
        kind: {"sizings": len(rows)} | {stage: np.mean([row.get(stage, 0.0) for row in rows]) for stage in STAGES}
        for kind, rows in spent.items()
        if rows
    }


def measure_stability(circuit: Circuit, strategy: str, count: int, seed: int) -> dict[str, Any]:
    """Verdict of the closed-loop poles against that of the step response, which here runs for unstable ones, too.

    Only amplifiers with a live operating point and gain are counted; `count` of them.
    """
    table, index = Counter[str](), 0
    points: list[float] = []
    with NgspiceSimulator(circuit, keep_waveforms=True) as simulator, tqdm(total=count, desc=circuit.name) as bar:
        while table.total() < count:
            (measured,) = simulator.measure(circuit.cases([sample(circuit, strategy, seed, index)]), errors="raise")
            index += 1
            if not isinstance(measured, Measurement) or not _is_live(measured, simulator):
                continue
            raw, policy = measured.raw, _policy(simulator)
            comes_to_rest = raw["transient_complete"] == 1.0 and _known(raw, "ringing") <= policy.max_ringing
            poles = "left" if _known(raw, "max_pole_real") <= policy.max_pole_real else "right"
            table[f"{poles} half-plane, {'comes to rest' if comes_to_rest else 'oscillates'}"] += 1
            if poles == "left" and comes_to_rest:
                points.append(_known(raw, "transient_points"))
            bar.update()
    quantiles: Sequence[float | None] = np.quantile(points, (0.5, 0.95, 1.0)).tolist() if points else (None,) * 3
    return {
        "strategy": strategy,
        "amplifiers": count,
        "table": dict(table),
        "time_points_of_working": dict(zip(("median", "p95", "max"), quantiles, strict=True)),
    }


def _is_live(measured: Measurement, simulator: NgspiceSimulator) -> bool:
    failure = simulator.circuit.circuit_class.judge(measured.raw, simulator.policy)
    return failure not in ("no_convergence", "operating_point", "no_gain")


def run_part(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One part's results, by the names under which they are saved."""
    circuit, seed, quick = load_circuit("nmcf"), arguments.seed, arguments.quick
    if part == "throughput":
        count = arguments.evaluations or (300 if quick else 5000)
        return {"throughput": measure_throughput(circuit, arguments.workers, count, seed)}
    if part == "stability":
        count = 20 if quick else 200
        cases = (("nmcf", "uniform"), ("nmcnr", "log"))
        return {"stability": {name: measure_stability(load_circuit(name), how, count, seed) for name, how in cases}}
    with NgspiceSimulator(circuit) as simulator:
        if part == "stages":
            return {"stages": measure_stages(circuit, simulator, 40 if quick else 300, seed)}
        sizings = working_sizings(circuit, simulator, arguments.sizings or (2 if quick else 20), seed)
        n_shipped = min(1 if quick else 6, len(sizings))
        speed, accuracy = measure_speed_and_accuracy(circuit, simulator, sizings, n_shipped)
        return {"speed": speed, "accuracy": accuracy}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="run some only, keep the others' results"
    )
    parser.add_argument("--quick", action="store_true", help="few sizings: a look, not a result")
    parser.add_argument("--sizings", type=int, help="working sizings in (a) and (b) (default: 20, quick: 2)")
    parser.add_argument("--evaluations", type=int, help="evaluations in (c) (default: 5000, quick: 300)")
    parser.add_argument("--workers", type=int, default=2, help="workers in (c) (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the sizings (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and figure (default: %(default)s)")
    arguments = parser.parse_args()

    saved = arguments.out / "spice_speed.json"
    result: dict[str, Any] = json.loads(saved.read_text()) if saved.exists() else {}
    with NgspiceSimulator(load_circuit("nmcf")) as simulator:
        versions = dict(simulator.provenance)
    for part in arguments.parts:
        facts = {"seed": arguments.seed, "quick": arguments.quick, "load_before": os.getloadavg()[0]}
        result |= run_part(part, arguments)
        result.setdefault("provenance", {})[part] = provenance("scipy", simulator=versions, **facts)
        write_json(saved, result)  # a part takes minutes: it is not lost when the next one is interrupted
    report(result)
    if missing := [name for name in DRAWN if name not in result]:
        print(f"\nno figure yet: {', '.join(missing)} missing")
    else:
        draw(result, saved.with_suffix(".png"))
    print(f"\nwritten: {saved}")


if __name__ == "__main__":
    main()
