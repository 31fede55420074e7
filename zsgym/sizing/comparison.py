"""Which circuit of a class? All that can be expected to reach the targets are sized, and ranked by what ngspice says.

Everybody is asked under the same conditions: the class's own, with what the caller changes, whatever the file of a
circuit states. First the known-good sizings of every circuit are simulated there. A circuit is left out where a target
lies more than a quarter of the metric's observation scale (40 dB, one and a half decades of a bandwidth) beyond the
best that is known of it: what those sizings measure and, if they are meant for the same conditions, its own specs. One
of which nothing is known is tried. All that are left share the budget by successive halving (K. Jamieson and A.
Talwalkar, AISTATS 2016): in each round every circuit gets the same number of simulations, and the better half goes on.
Each is searched by CMA-ES from the best of its known-good sizings; a search does not end at the specs, but goes on to
the largest margin.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zsgym.base.errors import ConfigError
from zsgym.base.files import write_text
from zsgym.base.progress import ProgressBar
from zsgym.base.quantities import counted, quantity
from zsgym.base.tables import table
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.classes import CircuitClass, Conditions, Targets, find_class
from zsgym.classes.specs import exactly
from zsgym.evaluate import LogPlace
from zsgym.sizing.contender import Contender
from zsgym.sizing.dominance import goodness
from zsgym.sizing.from_specs import Notify, checked_seed
from zsgym.sizing.problem import Problem
from zsgym.sizing.result import SizingResult

_EACH, _LEAST = 150, 1500
"""Simulations unless told otherwise: so many for each circuit of the class, and in all at least."""
_REACH = 0.5
"""How far beyond what is known of a circuit a target may lie, on the observation scale from -1 to 1."""


@dataclass(frozen=True)
class Ranked:
    """A circuit that was tried. result: of its search. rounds: in how many of them it took part. seconds: its own."""

    result: SizingResult
    rounds: int
    seconds: float

    @property
    def margin(self) -> float | None:
        """The smallest margin of its best design; None where that does not work."""
        return min(self.result.best.margins.values(), default=None)

    @property
    def tightest(self) -> str:
        """The spec with the smallest margin; empty where the best design does not work."""
        margins = self.result.best.margins
        return min(margins, key=margins.__getitem__) if margins else ""

    @property
    def in_words(self) -> str:
        """What its best design reaches."""
        result = self.result
        if result.met:
            return "meets every spec"
        if not result.best.outcome.success:
            return f"fails: {(result.best.outcome.failure or '').replace('_', ' ')}"
        return f"misses {', '.join(result.missed)}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "circuit": self.result.circuit.name,
            "met": self.result.met,
            "margin": self.margin,
            "tightest": self.tightest or None,
            "missed": self.result.missed,
            "simulations": self.result.simulations,
            "seconds": self.seconds,
            "rounds": self.rounds,
            "best": self.result.best.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome of `compare`. ranking: best first. left_out: circuit -> why it was not tried. seconds: in all."""

    circuit_class: CircuitClass
    targets: Targets
    conditions: Conditions
    ranking: list[Ranked]
    left_out: Mapping[str, str]
    seconds: float
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> SizingResult:
        """The result of the circuit that is ranked first."""
        return self.ranking[0].result

    @property
    def met(self) -> bool:
        """Whether its best design meets every spec in ngspice."""
        return self.best.met

    def summary(self) -> str:
        """One sentence: who comes first, and at what cost."""
        count = sum(len(ranked.result.designs) for ranked in self.ranking)
        tried = counted(len(self.ranking), "circuit")
        spent = f"{tried} tried, {counted(count, 'simulation')} in ngspice, {self.seconds:.0f} s"
        first = self.best.circuit.name
        if self.met:
            others = [ranked.result.circuit.name for ranked in self.ranking[1:] if ranked.result.met]
            also = f"; so {'does' if len(others) == 1 else 'do'} {', '.join(others)}" if others else ""
            return f"{first} meets every spec, with the largest margin{also} ({spent})"
        return f"no circuit meets every spec: {first} comes nearest, and {self.ranking[0].in_words} ({spent})"

    def table(self) -> str:
        """The ranking."""
        headers = ("circuit", "best design", "smallest margin", "of", "simulations", "seconds", "rounds")
        rows = [
            (
                ranked.result.circuit.name,
                ranked.in_words,
                "-" if ranked.margin is None else f"{ranked.margin:+.3f}",
                ranked.tightest or "-",
                str(len(ranked.result.designs)),
                f"{ranked.seconds:.0f}",
                str(ranked.rounds),
            )
            for ranked in self.ranking
        ]
        return table(headers, rows, right=(2, 4, 5, 6))

    def as_dict(self) -> dict[str, Any]:
        """Plain values in SI units, for JSON."""
        return {
            "class": self.circuit_class.name,
            "met": self.met,
            "targets": dict(self.targets),
            "conditions": self.conditions.as_dict(),
            "ranking": [ranked.as_dict() for ranked in self.ranking],
            "left_out": dict(self.left_out),
            "seconds": self.seconds,
            "arguments": dict(self.arguments),
        }

    def write(self, path: str | Path) -> None:
        """Write the designs of the best circuit as `SizingResult.write` does, with the ranking as `comparison`.

        :raises ConfigError: the file cannot be written.
        """
        content = json.loads(self.best.designs_text()) | {"comparison": self.as_dict()}
        write_text(Path(path), json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_report(self, path: str | Path, netlist: str | Path | None = None) -> None:
        """The report of the best circuit's best design, with the ranking. See `SizingResult.write_report`."""
        self.best.write_report(path, netlist, comparison=self)


class ComparisonInterrupted(KeyboardInterrupt):
    """Ctrl-C while circuits were being compared. result: what there was by then."""

    def __init__(self, result: Comparison) -> None:
        super().__init__(f"interrupted; {result.summary()}")
        self.result = result


def compare(
    circuit_class: str,
    targets: Mapping[str, float],
    *,
    conditions: Mapping[str, Any] | None = None,
    directories: Iterable[str | os.PathLike[str]] = (),
    seed: int = 1,
    budget: int | None = None,
    from_scratch: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    log: LogPlace = True,
    progress: bool = False,
    notify: Notify | None = None,
) -> Comparison:
    """Size every circuit of a class that can be expected to reach the targets, and rank them.

        comparison = zsgym.sizing.compare("amplifier", {"gbw": 5e6, "power": 100e-6})
        print(comparison.summary(), comparison.table(), sep="\\n")

    :param circuit_class: its name. :param targets: all that is asked for, metric -> SI value.
    :param conditions: changes to the class's own, under which every circuit is asked.
    :param directories: further ones with circuits, see `zsgym.circuits.load_circuit`.
    :param budget: simulations in ngspice at most, of all circuits together; None means 150 for each circuit of the
        class, and 1500 in all at least.
    :param from_scratch: begin no search at a known-good sizing. They are simulated all the same, to see who is tried.
    The other parameters are those of `zsgym.size`.
    :raises ConfigError: an unknown class, metric or condition, no target, or no circuit of the class.
    :raises SimulatorMissingError: ngspice is missing. :raises SimulatorError: it failed.
    :raises ComparisonInterrupted: Ctrl-C; it carries the ranking so far.
    """
    found = find_class(circuit_class)
    if not targets:
        raise ConfigError(f"the class {circuit_class!r} has no specs of its own: name at least one target")
    wanted = found.all_metrics.resolve_targets({}, targets)
    under = found.conditions.read(dict(conditions or {}))
    circuits = [
        c for name in list_circuits(directories) if (c := load_circuit(name, directories)).circuit_class is found
    ]
    if not circuits:
        raise ConfigError(f"there is no circuit of the class {circuit_class!r}")
    most = max(_EACH * len(circuits), _LEAST) if budget is None else budget
    if most < 1:
        raise ConfigError(f"the budget must be at least one simulation, got {most}")
    say = notify or (lambda text: None)
    say(f"{circuit_class}: {counted(len(circuits), 'circuit')}, all at {under.in_words()}")
    arguments = {"seed": checked_seed(seed), "budget": most, "from_scratch": from_scratch}
    common: dict[str, Any] = {"log": log, "agent": "compare", "seed": seed, "executor": executor, "conditions": under}
    search = _Search(circuits, wanted, common, most, seed, from_scratch, say)
    interrupted = False
    with search.open(workers, progress):
        try:
            search.look_at_known_good()
            search.halve()
        except KeyboardInterrupt:
            interrupted = True
    if not any(contender.designs for contender in search.contenders):
        raise KeyboardInterrupt
    search.note_untried()
    result = Comparison(found, wanted, under, search.ranking(arguments), search.left_out, search.seconds, arguments)
    if interrupted:
        raise ComparisonInterrupted(result)
    return result


class _Search:
    """The searches of one comparison, which share ngspice's workers and the budget."""

    def __init__(
        self,
        circuits: list[Circuit],
        targets: Targets,
        common: Mapping[str, Any],
        budget: int,
        seed: int,
        from_scratch: bool,
        say: Notify,
    ) -> None:
        self._circuits, self._targets, self._common, self._budget = circuits, targets, common, budget
        self._seed, self._from_scratch, self._say = seed, from_scratch, say
        self.contenders: list[Contender] = []
        self.left_out: dict[str, str] = {}
        self._started = time.perf_counter()
        self.seconds = 0.0

    @contextlib.contextmanager
    def open(self, workers: int, progress: bool) -> Any:
        """Workers and logs, as long as they are needed."""
        from zsgym.simulators.ngspice.simulator import NgspiceSimulator

        simulator = NgspiceSimulator(self._circuits[0], workers=workers)
        bar = ProgressBar(self._budget, f"sizing {self._circuits[0].circuit_class.name}", "sim", shown=progress)
        for number, circuit in enumerate(self._circuits):
            problem = Problem(
                circuit,
                backend=simulator.for_circuit(circuit),
                targets=exactly(circuit.targets, self._targets),
                **self._common,
            )
            self.contenders.append(Contender(problem, self._seed + number, bar))
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - self._started
            bar.close()
            for contender in self.contenders:
                contender.problem.close()
            simulator.close()

    @property
    def _left(self) -> int:
        return self._budget - sum(len(contender.designs) for contender in self.contenders)

    def look_at_known_good(self) -> None:
        """Simulate every known-good sizing, and leave out who cannot be expected to reach the targets.

        The nearest stays where that would be all.
        """
        for contender in self.contenders:
            contender.look_at_known_good(self._left)
        gaps = {contender.name: self._gap(contender) for contender in self.contenders}
        nearest = min(gaps, key=lambda name: gaps[name][0])
        for contender in self.contenders:
            gap, reason = gaps[contender.name]
            if gap > _REACH and contender.name != nearest:
                self.left_out[contender.name] = reason
                self._say(f"{contender.name} is left out: {reason}")
        if gaps[nearest][0] > _REACH:
            self._say(f"nobody can be expected to reach the targets; {nearest} comes nearest: {gaps[nearest][1]}")
        if not self._from_scratch:
            for contender in self._tried():
                contender.begin_at_best()

    def _tried(self) -> list[Contender]:
        return [contender for contender in self.contenders if contender.name not in self.left_out]

    def _gap(self, contender: Contender) -> tuple[float, str]:
        """How far the worst target lies beyond what is known of a circuit, on the observation scale, and in words.

        Minus infinity where nothing is known.
        """
        circuit, metrics = contender.problem.circuit, contender.problem.circuit.metrics
        rows = [design.outcome.metrics for design in contender.designs if design.outcome.metrics]
        # Nobody knows what specs are worth under other conditions: a tenth of the load may be ten times the bandwidth.
        same = circuit.conditions == contender.problem.conditions
        rows.append(circuit.targets if same else {})
        values = np.array([metrics.row(row) for row in rows])  # (N, K)
        good = np.where(np.isnan(values), -np.inf, goodness(metrics, values))
        best = np.take_along_axis(values, good.argmax(axis=0)[None], axis=0)  # (1, K)
        asked = np.array([metrics.row(self._targets)])
        gaps = (metrics.signs * (metrics.normalise(asked) - metrics.normalise(best)))[0]
        known = ~np.isnan(asked[0]) & ~np.isnan(best[0])
        if not known.any():
            return -math.inf, "nothing is known of it"
        worst = int(np.where(known, gaps, -np.inf).argmax())
        metric = metrics[worst]
        reached, wanted = (quantity(metric.magnitude(float(each[0, worst])), metric.unit) for each in (best, asked))
        return float(gaps[worst]), f"the best {metric.name} known of it is {reached}, and {wanted} is asked for"

    def halve(self) -> None:
        """Rounds in which every circuit that is left gets the same share; the better half goes on."""
        left = self._tried()
        rounds = max(math.ceil(math.log2(len(left))), 1)
        for number in range(1, rounds + 1):
            share = self._left // (rounds + 1 - number) // len(left)
            self._say(f"round {number} of {rounds}: {counted(share, 'simulation')} each for {_names(left)}")
            for contender in left:
                contender.search(min(share, self._left))
            left.sort(key=lambda contender: contender.worth, reverse=True)
            left = left[: max(math.ceil(len(left) / 2), min(2, len(left)))]

    def note_untried(self) -> None:
        """Name those for whom the budget had nothing: no known-good sizing, and a share below one generation."""
        for contender in self._tried():
            if not contender.designs:
                self.left_out[contender.name] = "nothing of it was simulated: the budget is too small for so many"

    def ranking(self, arguments: Mapping[str, Any]) -> list[Ranked]:
        """Everybody who was tried, best first."""
        tried = sorted((c for c in self._tried() if c.designs), key=lambda contender: contender.worth, reverse=True)
        return [Ranked(contender.result(arguments), contender.rounds, contender.seconds) for contender in tried]


def _names(contenders: list[Contender]) -> str:
    return ", ".join(contender.name for contender in contenders)
