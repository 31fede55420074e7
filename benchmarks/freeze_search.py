"""The search behind frozen specs: rows of a circuit, how good a design is among them, and CMA-ES on that.

Everything that ngspice has answered is kept in two files per circuit, so that an interrupted search goes on where it
stopped: `rows.jsonl` (targeted sampling) and `search.jsonl` (one line per generation).
"""

import copy
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.schema import KnownGood
from zsgym.datasets.strategies import LabelledSizing, make_strategy, rounds
from zsgym.evaluate import Evaluator
from zsgym.simulators import make_simulator
from zsgym.simulators.outcome import Outcome
from zsgym.sizing.optimisers.cma_es import CmaEs
from zsgym.sizing.score import shortfall

FloatArray = NDArray[np.float64]

ATTEMPTS = 3
"""How often ngspice is asked while the machine, not the circuit, fails."""
POPULATION = 14
STEP_WIDTH = 0.15
"""First standard deviation of the search around the best row, as a fraction of every parameter's range."""
SUPPLIES = (1.62, 1.8, 1.98)
"""Nominal, and 10 % less and more, V. A best design works at all three."""
_FRAIL = 3.0
"""What a design loses that works at the nominal supply only: it ranks below the robust ones of its neighbourhood."""
_WORST, _BEST = -3.0, 2.0
"""Bounds of one metric's part: a failed metric cannot be bought off, and a brilliant one does not pay for many."""
_LEAST_UNIT = 0.05
_FAILING = -4.0
"""Where designs that do not work begin, below every working one; how far below, says `shortfall`."""


class Rows:
    """Rows of the `targeted` strategy, made without any known-good sizing: labels, metrics (n, K; NaN), sizings."""

    def __init__(self, circuit: Circuit, path: Path) -> None:
        self.circuit, self.path = circuit, path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()]

    def extend(self, evaluator: Evaluator, count: int, seed: int) -> None:
        """Have at least this many rows; those that are there are kept."""
        with tqdm(total=count, initial=len(self.rows), desc=f"{self.circuit.name}: rows", unit="row") as bar:
            for indices in rounds("targeted", count):
                wanted = [index for index in indices if index >= len(self.rows)]
                if not wanted:
                    continue
                labelled = [LabelledSizing(row["sizing"], row["label"]) for row in self.rows[: indices.start]]
                for index in wanted:
                    sizing = make_strategy("targeted", self.circuit, labelled).propose(seed, [index])[0]
                    (outcome,) = evaluator.evaluate(self.circuit.cases([sizing]), attempts=ATTEMPTS)
                    self._keep(sizing, outcome)
                    bar.update()

    def _keep(self, sizing: Mapping[str, float], outcome: Outcome) -> None:
        row = {
            "label": outcome.label,
            "failure": outcome.failure,
            "metrics": None if outcome.metrics is None else dict(outcome.metrics),
            "sizing": dict(sizing),
        }
        self.rows.append(row)
        append(self.path, row)

    def first(self, count: int) -> "Rows":
        """The first of these rows, on their own."""
        part = copy.copy(self)
        part.rows = self.rows[:count]
        return part

    @property
    def working(self) -> list[dict[str, Any]]:
        """The rows that work."""
        return [row for row in self.rows if row["label"] == 1]

    @property
    def share(self) -> float:
        """Working rows among all."""
        return len(self.working) / max(len(self.rows), 1)

    @property
    def metrics(self) -> FloatArray:
        """Metrics of the working rows (n, K) in SI units."""
        table = [self.circuit.metrics.row(row["metrics"]) for row in self.working]
        return np.array(table).reshape(-1, len(self.circuit.metrics))


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What is good among the working rows of a circuit.

    middle, quarter: (K,) the median and the value that the better quarter of the working rows exceeds, on the metric's
    own scale (logarithmic where its observations are), turned so that more is better. unit: (K,) the distance between
    the two, or a twentieth of what observations resolve where few rows make it smaller.
    """

    circuit: Circuit
    middle: FloatArray
    quarter: FloatArray
    unit: FloatArray

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """From the working rows, of which there must be a few."""
        turned, metrics = _turned(rows.circuit, rows.metrics), rows.circuit.metrics
        middle, quarter = np.quantile(turned, [0.5, 0.75], axis=0)
        ends = _turned(rows.circuit, np.array([[m.scale.low for m in metrics], [m.scale.high for m in metrics]]))
        return cls(rows.circuit, middle, quarter, np.maximum(quarter - middle, _LEAST_UNIT * np.abs(ends[1] - ends[0])))

    def value(self, metrics: Mapping[str, float]) -> float:
        """The mean over all metrics of how far each lies from the median (0) towards and beyond the quarter (1).

        Beyond the quarter it counts a third, so that a metric that lags gains more than one that leads.
        """
        place = (_turned(self.circuit, self._row(metrics)) - self.middle) / self.unit
        bent = np.where(place > 1.0, 1.0 + (place - 1.0) / 3.0, place)
        return float(np.clip(bent, _WORST, _BEST).mean())

    def beyond(self, metrics: Mapping[str, float]) -> list[str]:
        """Metrics that are better than the 75th percentile of the working rows."""
        better = _turned(self.circuit, self._row(metrics)) > self.quarter
        return [name for name, is_better in zip(self.circuit.metrics.names, better, strict=True) if is_better]

    def _row(self, metrics: Mapping[str, float]) -> FloatArray:
        return np.array(self.circuit.metrics.row(metrics))


def _turned(circuit: Circuit, values: FloatArray) -> FloatArray:
    """Metrics (..., K) on their scales, more being better."""
    found = circuit.metrics.magnitudes(values)
    logarithmic = np.array([metric.scale.logarithmic for metric in circuit.metrics])
    logs = np.log(np.where(logarithmic, np.maximum(found, 1e-30), 1.0))
    return circuit.metrics.signs * np.where(logarithmic, logs, found)


class Search:
    """CMA-ES on the yardstick, from the best of the rows; generations that were run are replayed from their file."""

    def __init__(self, rows: Rows, evaluator: Evaluator, path: Path, seed: int) -> None:
        self.circuit, self.evaluator, self.path = rows.circuit, evaluator, path
        self.yardstick = Yardstick.of(rows)
        self.simulations = 0
        start = max(rows.working, key=lambda row: self.yardstick.value(row["metrics"]))
        self.best: tuple[float, dict[str, float]] = (-math.inf, start["sizing"])
        place = (self.circuit.to_point(self.circuit.vector(start["sizing"])) + 1.0) / 2.0
        self._optimiser = CmaEs(len(self.circuit.parameters), seed, place, STEP_WIDTH, POPULATION)
        self._kept: list[dict[str, Any]] = []
        if path.is_file():
            self._kept = [json.loads(line) for line in path.read_text().splitlines()]

    def run(self, simulations: int) -> None:
        """Search until this many simulations were spent, checks at other supplies included."""
        with tqdm(total=simulations, desc=f"{self.circuit.name}: search", unit="sim") as bar:
            while self.simulations < simulations:
                positions = self._optimiser.ask()
                sizings = [self.circuit.sizing(row) for row in self.circuit.from_point(2.0 * positions - 1.0)]
                values = self._kept.pop(0)["values"] if self._kept else self._values(sizings)
                self._take(sizings, values)
                self._optimiser.tell(positions, np.array([value for value, _ in values]))
                bar.update(min(self.simulations, simulations) - bar.n)
                bar.set_postfix_str(f"best {self.best[0]:.3f}")

    def _take(self, sizings: list[dict[str, float]], values: list[list[float]]) -> None:
        for sizing, (value, spent) in zip(sizings, values, strict=True):
            self.simulations += int(spent)
            if value > self.best[0]:
                self.best = (value, sizing)

    def _values(self, sizings: list[dict[str, float]]) -> list[list[float]]:
        """Value and number of simulations of every sizing. One that would be the best is asked at all supplies."""
        values, best = [], self.best[0]
        for sizing in sizings:
            value, spent = self._value(self._ask(sizing)), 1
            if value > best:
                others = [self._ask(sizing, supply) for supply in SUPPLIES if supply != self.circuit.conditions.supply]
                spent += len(others)
                value -= _FRAIL * (not all(outcome.success for outcome in others))
                best = max(best, value)
            values.append([value, spent])
        append(self.path, {"values": values})
        return values

    def _value(self, outcome: Outcome) -> float:
        if outcome.success and outcome.metrics is not None:
            return self.yardstick.value(outcome.metrics)
        return _FAILING - shortfall(self.circuit, self.circuit.policy("functional"), outcome)

    def _ask(self, sizing: Mapping[str, float], supply: float | None = None) -> Outcome:
        conditions = self.circuit.conditions if supply is None else self.circuit.conditions.replace(supply=supply)
        (outcome,) = self.evaluator.evaluate(self.circuit.cases([sizing], conditions), attempts=ATTEMPTS)
        return outcome

    def at_supplies(self, sizing: Mapping[str, float]) -> dict[float, Outcome]:
        """What ngspice says of a sizing at every supply."""
        return {supply: self._ask(sizing, supply) for supply in SUPPLIES}


def scout(circuit: Circuit, evaluator: Evaluator, path: Path, seed: int, simulations: int) -> dict[str, Any]:
    """Look for any sizing that works, by CMA-ES on how badly sizings fail, where random ones hardly ever do.

    :return: `sizing`, None where the simulations were spent in vain, and `simulations`. Kept in a file.
    """
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    optimiser, spent = CmaEs(len(circuit.parameters), seed, population=POPULATION), 0
    with tqdm(total=simulations, desc=f"{circuit.name}: scout", unit="sim") as bar:
        while spent < simulations:
            positions, values = optimiser.ask(), []
            for sizing in map(circuit.sizing, circuit.from_point(2.0 * positions - 1.0)):
                (outcome,) = evaluator.evaluate(circuit.cases([sizing]), attempts=ATTEMPTS)
                spent += 1
                bar.update()
                if outcome.success:
                    append(path, {"sizing": sizing, "simulations": spent})
                    return {"sizing": sizing, "simulations": spent}
                values.append(-shortfall(circuit, circuit.policy("functional"), outcome))
            optimiser.tell(positions, np.array(values))
            bar.set_postfix_str(f"best {max(values):.2f}")
    append(path, {"sizing": None, "simulations": spent})
    return {"sizing": None, "simulations": spent}


def unknown_circuit(name: str) -> Circuit:
    """A shipped circuit as if nobody had ever sized it: a row drawn around its known-good sizing would meet its specs
    because the specs come from there."""
    return replace(load_circuit(name), known_good_designs={})


def starting_at(circuit: Circuit, sizing: Mapping[str, float] | None) -> Circuit:
    """A circuit of which one working sizing is known, a scout's; as it was where the scout found none."""
    if sizing is None:
        return circuit
    design = KnownGood(description="scouted", supplies=(circuit.conditions.supply,), sizing=dict(sizing))
    return replace(circuit, known_good_designs={"scouted": design})


def evaluator_of(circuit: Circuit) -> Evaluator:
    """One worker, no log."""
    return Evaluator(make_simulator("ngspice", circuit))


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
