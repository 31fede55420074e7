"""Runs a testbench, as data, on a batch of cases of one circuit under the same conditions.

Every stage is run for the cases that want it; what an analysis gives is computed for all of them at once when the first
of them is read, so that a response that nobody looks at costs nothing. Operating points are found from a constant
voltage, sweeps from their neighbours: an answer depends on its own case alone.

A temperature sweep in fine steps is solved at every tenth and interpolated by a quintic spline, since waves are smooth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsgym.circuits import Circuit
from zsgym.classes import testbench as tb
from zsgym.classes.circuit_class import Bench
from zsgym.classes.testbench import POLES, Analysis, Stage, Testbench, Wave
from zsgym.simulators.physics import listing
from zsgym.simulators.physics.backend.noisy import noise_of
from zsgym.simulators.physics.backend.sizes import Sizes
from zsgym.simulators.physics.backend.steps import Transients
from zsgym.simulators.physics.backend.waves import Once, View, Waves, filled, later, now
from zsgym.simulators.physics.solver import OperatingPoints, SmallSignals, linearise, operating_points
from zsgym.simulators.physics.system import Element, Kind, System, Values

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
_KINDS: dict[str, Kind] = {
    "resistor": "resistor", "capacitor": "capacitor", "inductor": "inductor", "isource": "isource",
    "vsource": "vsource",
}  # fmt: skip
_FINE = 10
"""Every so many points of a sweep in temperature are solved."""
_SHORT = 24
"""Points of a sweep that is solved at all of them."""


SUPPORTED = (tb.OperatingPoint, tb.TemperatureSweep, tb.SourceSweep, tb.SmallSignal, tb.Noise, tb.Transient)
"""Analyses that are known here."""


class UnsupportedError(Exception):
    """An analysis that this backend does not know."""


class NotSolvedError(Exception):
    """Some cases of an analysis have no solution. rows: which, among those that were asked."""

    def __init__(self, rows: Rows) -> None:
        super().__init__("no convergence")
        self.rows = rows


@dataclass
class Answer:
    """What a testbench gave for one case.

    raw: measurements. devices: operating points of the transistors. waves: of all analyses.
    missing: names of wanted stages that could not be run. solved: false where an analysis did not converge.
    """

    raw: dict[str, float | None] = field(default_factory=dict)
    devices: dict[str, dict[str, float]] = field(default_factory=dict)
    waves: dict[str, Mapping[str, Wave]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    solved: bool = True


def system_of(circuit: Circuit, testbench: Testbench) -> System:
    """The circuit in its testbench, with every loop closed."""
    elements: list[Element] = []
    for element in testbench.elements:
        name = f"t.{element.name}"
        match element:
            case tb.VoltageSource():
                elements.append(Element(name, "vsource", (element.plus, element.minus), element.dc))
            case tb.CurrentSource():
                elements.append(Element(name, "isource", (element.plus, element.minus), element.dc))
            case tb.Capacitor():
                elements.append(Element(name, "capacitor", (element.plus, element.minus), element.value))
            case tb.Resistor():
                elements.append(Element(name, "resistor", (element.plus, element.minus), element.value))
            case tb.LoopProbe():
                elements.append(Element(name, "vsource", (element.feedback, element.output)))
                elements.append(Element(f"f.{element.name}", "follower", ("0", element.output), 0.0, control=name))
    for device in circuit.devices:
        name = f"d.{device.name}"
        if device.kind in ("nmos", "pmos"):
            elements.append(Element(name, "transistor", tuple(device.nodes[pin] for pin in "dgsb")))
        else:
            elements.append(Element(name, _KINDS[device.kind], (device.nodes["p"], device.nodes["n"])))
    return System(elements)


class Batch:
    """Cases of one circuit under the same conditions.

    :param vectors: (B, n) sizings, all inside the models. :param bench: of the class, for these conditions.
    :param corner: of the process. :param transient: without it, transient analyses are unsupported.
    """

    def __init__(
        self, circuit: Circuit, system: System, vectors: Floats, bench: Bench, corner: str, *, transient: bool = True
    ) -> None:
        self.circuit, self.bench, self.testbench, self.system = circuit, bench, bench.testbench, system
        self._transients = transient
        self._own = {f"t.{element.name}": _value(element) for element in self.testbench.elements}
        self._sizes = Sizes(circuit, vectors, corner)
        self._transistors = [device.name for device in circuit.devices if device.kind in ("nmos", "pmos")]
        self._passives = {f"d.{name}": column for name, column in self._sizes.values().items()}
        self._devices, self.covered = self._sizes.devices(self.testbench.temperature)
        """(B,) false where the equations refuse the size of a transistor."""
        self.answers = [Answer() for _ in vectors]
        self.seconds: dict[str, float] = {}
        """Stage -> time that it took for the whole batch, s."""
        self._point: OperatingPoints | None = None

    def run(self) -> list[Answer]:
        """Every stage that a case wants, in order."""
        for stage in self.testbench.stages:
            rows = np.array(
                [
                    row
                    for row, answer in enumerate(self.answers)
                    if self.covered[row] and answer.solved and self.bench.wants(stage.name, answer.raw)
                ],
                dtype=np.intp,
            )
            started = time.perf_counter()
            while rows.size:
                try:
                    self._stage(stage, rows)
                    break
                except NotSolvedError as error:
                    for row in rows[error.rows]:
                        self.answers[row].solved = False
                    rows = np.delete(rows, error.rows)
                except UnsupportedError:
                    for row in rows:
                        self.answers[row].missing += (stage.name,)
                    break
            self.seconds[stage.name] = time.perf_counter() - started
        return self.answers

    def _stage(self, stage: Stage, rows: Rows) -> None:
        for analysis in stage.analyses:
            waves, solved = (
                self._as_far_as_solved(analysis, rows) if stage.optional else (self._analyse(analysis, rows), rows)
            )
            for place, row in enumerate(solved):
                self.answers[row].waves |= {analysis.name: View(waves, place)}
        for row in rows:
            answer = self.answers[row]
            answer.raw |= self.bench.measure(stage.name, answer.waves, answer.devices)

    def _as_far_as_solved(self, analysis: Analysis, rows: Rows) -> tuple[Waves, Rows]:
        """The waves of those cases that have a solution, and which ones they are: of a stage that needs none."""
        while rows.size:
            try:
                return self._analyse(analysis, rows), rows
            except NotSolvedError as error:
                rows = np.delete(rows, error.rows)
        return Waves({}), rows

    def _analyse(self, wanted: Analysis, rows: Rows) -> Waves:
        match wanted:
            case tb.OperatingPoint():
                return self._operating_point(wanted, rows)
            case tb.TemperatureSweep():
                return self._temperature_sweep(wanted, rows)
            case tb.SourceSweep():
                return self._source_sweep(wanted, rows)
            case tb.SmallSignal():
                return self._small_signal(wanted, rows)
            case tb.Noise():
                return self._noise(wanted, rows)
            case tb.Transient() if self._transients:
                return self._transient(wanted, rows)
        raise UnsupportedError(type(wanted).__name__)

    # --- steady states ----------------------------------------------------------------------------------------------

    def _values(self, rows: Rows, levels: Mapping[str, float], devices: NDArray[np.void] | None = None) -> Values:
        changes = {name: column[rows] for name, column in self._passives.items()}
        changes |= {name: np.full(len(rows), value) for name, value in self._own.items()}
        changes |= {f"t.{name}": np.full(len(rows), value) for name, value in levels.items()}
        return self.system.values(self._devices[rows] if devices is None else devices, **changes)

    def _base(self, rows: Rows) -> OperatingPoints:
        """The operating points with all sources at their own values, which are found once."""
        if self._point is None:
            self._point = checked(operating_points(self.system, self._values(rows, {})))
            self._rows = rows
            self._list(self._point)
        places = np.searchsorted(self._rows, rows)
        return taken(self._point, places)

    def _list(self, points: OperatingPoints) -> None:
        listed = np.zeros((len(self._transistors), len(listing.QUANTITIES)))
        for place, row in enumerate(self._rows):
            listing.list_devices(
                self._devices[row], self.system.wiring.transistors, points.x[place], points.inner[place], listed
            )
            self.answers[row].devices = {
                name: dict(zip(listing.QUANTITIES, values, strict=True))
                for name, values in zip(self._transistors, listed.tolist(), strict=True)
            }

    def _at(self, rows: Rows, levels: Mapping[str, float]) -> OperatingPoints:
        base = self._base(rows)
        if not levels:
            return base
        return checked(operating_points(self.system, self._values(rows, levels), base))

    def _operating_point(self, wanted: tb.OperatingPoint, rows: Rows) -> Waves:
        first = self._point is None
        points = self._at(rows, wanted.levels)
        probes = dict.fromkeys((*wanted.probes, *(self.system.nodes if first else ())))
        return Waves({probe: now(points.x[:, self._place(probe), None]) for probe in probes})

    def _temperature_sweep(self, wanted: tb.TemperatureSweep, rows: Rows) -> Waves:
        celsius = _steps(wanted.start, wanted.stop, wanted.step)
        chosen = np.arange(len(celsius))
        if len(celsius) > _SHORT:
            chosen = np.unique(np.append(np.arange(0, len(celsius), _FINE), len(celsius) - 1))
        states = self._sweep(
            rows,
            celsius[chosen],
            lambda values, kelvin: with_devices(values, self._sizes.devices(kelvin, rows)[0]),
        )
        return Waves(
            {probe: later(filled, celsius, chosen, states[:, :, self._place(probe)]) for probe in wanted.probes}
        )

    def _source_sweep(self, wanted: tb.SourceSweep, rows: Rows) -> Waves:
        steps = _steps(wanted.start, wanted.stop, wanted.step)
        states = self._sweep(rows, steps, lambda _, value: self._values(rows, {wanted.source: value}))
        return Waves({probe: now(states[:, :, self._place(probe)]) for probe in wanted.probes})

    def _sweep(self, rows: Rows, steps: Floats, values: Callable[[Values, float], Values]) -> Floats:
        """(rows, steps, unknowns): each state begins at an extrapolation of the three before it.

        :param values: makes those of a step from those of the operating point.
        """
        base = self._base(rows)
        past: list[OperatingPoints] = []
        states = np.zeros((len(rows), len(steps), self.system.size))
        for place, step in enumerate(steps.tolist()):
            start = _extrapolated(past, steps[:place], step) if len(past) > 1 else base
            point = checked(operating_points(self.system, values(base.values, step), start))
            past = [*past[-2:], point]
            states[:, place] = point.x[:, :-1]
        return states

    def _place(self, probe: str) -> int:
        return self.system.branch(f"t.{probe[2:-1]}") if probe.startswith("i(") else self.system.place(probe)

    # --- small signals ----------------------------------------------------------------------------------------------

    def _small_signal(self, wanted: tb.SmallSignal, rows: Rows) -> Waves:
        gain = {f"f.{loop}": -1.0 for loop in wanted.open_loops}
        signals = linearise(self._at(rows, wanted.levels), gain=gain)
        right = self._stimulus(wanted.stimuli)
        frequency = _frequencies(wanted)
        response = Once(lambda: signals.answers(right, frequency)[:, :, :, 0])

        def made(probe: str) -> Callable[[], Wave]:
            return lambda: np.ascontiguousarray(response()[:, :, self._place(probe)])

        waves: dict[str, Callable[[], Sequence[Wave] | Wave]] = {probe: made(probe) for probe in wanted.probes}
        if wanted.start != wanted.stop:
            waves["frequency"] = now(np.broadcast_to(frequency, (len(rows), len(frequency))))
        waves[POLES] = lambda: _poles(signals)
        return Waves(waves)

    def _stimulus(self, stimuli: Mapping[str, float]) -> Floats:
        """(unknowns + 1, 1) right-hand side of some sources at once."""
        right = np.zeros((self.system.size + 1, 1))
        for name, amplitude in stimuli.items():
            element = self.system.elements[f"t.{name}"]
            if element.kind == "vsource":
                right[self.system.branch(element.name), 0] += amplitude
            else:
                above, below = (self.system.place(node) if node != "0" else -1 for node in element.nodes)
                right[above, 0] -= amplitude
                right[below, 0] += amplitude
                right[-1, 0] = 0.0
        return right

    def _noise(self, wanted: tb.Noise, rows: Rows) -> Waves:
        points = self._base(rows)
        frequency = _frequencies(wanted)
        stimulus = self._stimulus({wanted.source: 1.0})
        densities = noise_of(points, self._devices[rows], stimulus, self._place(wanted.output), frequency)
        output = np.sqrt(np.stack([density for density, _ in densities]))
        gain = np.stack([gain for _, gain in densities])
        return Waves(
            {
                "frequency": now(np.broadcast_to(frequency, output.shape)),
                "output": now(output),
                "input": now(output / np.maximum(gain, 1e-300)),
            }
        )

    # --- time -------------------------------------------------------------------------------------------------------

    def _transient(self, wanted: tb.Transient, rows: Rows) -> Waves:
        transients = Transients(self.system, self.testbench, wanted)
        levels = {name: pulse.low for name, pulse in transients.pulses.items()}
        points = self._at(rows, levels)
        places = [self._place(probe) for probe in wanted.probes]
        runs = transients.run(points, places)
        lost = np.array([place for place, run in enumerate(runs) if run is None], dtype=np.intp)
        if lost.size:
            raise NotSolvedError(lost)
        good = [run for run in runs if run is not None]
        waves: dict[str, Callable[[], Sequence[Wave] | Wave]] = {"time": lambda: [time for time, _ in good]}
        for column, probe in enumerate(wanted.probes):
            waves[probe] = later(lambda column: [values[:, column] for _, values in good], column)
        return Waves(waves)


def _value(element: tb.Element) -> float:
    match element:
        case tb.VoltageSource() | tb.CurrentSource():
            return element.dc
        case tb.Capacitor() | tb.Resistor():
            return element.value
    return 0.0  # the source of a loop probe


def checked(points: OperatingPoints) -> OperatingPoints:
    """The same. :raises NotSolvedError: some cases have not converged."""
    lost = np.flatnonzero(~points.converged)
    if lost.size:
        raise NotSolvedError(lost)
    return points


def taken(points: OperatingPoints, places: Rows) -> OperatingPoints:
    """Some cases of a batch."""
    if len(places) == len(points.x):
        return points
    return OperatingPoints(
        points.system,
        Values(*(array[places] for array in points.values)),
        points.x[places],
        points.inner[places],
        points.converged[places],
        points.iterations[places],
        points.fallback[places],
        points.residual[places],
    )


def with_devices(values: Values, devices: NDArray[np.void]) -> Values:
    """The same with other transistors."""
    plain = np.ascontiguousarray(devices).view(np.float64).reshape(*devices.shape, -1)
    return values._replace(devices=plain)


def _extrapolated(past: Sequence[OperatingPoints], steps: Floats, step: float) -> OperatingPoints:
    """Where the next state of a sweep is expected: the parabola, or the line, through those before."""
    known = steps[-len(past) :]
    weights = [
        math.prod((step - other) / (own - other) for other in known if other != own) for own in known
    ]  # of Lagrange
    last = past[-1]
    x = sum(weight * point.x for weight, point in zip(weights, past, strict=True))
    inner = sum(weight * point.inner for weight, point in zip(weights, past, strict=True))
    parts = (last.converged, last.iterations, last.fallback, last.residual)
    return OperatingPoints(last.system, last.values, np.asarray(x), np.asarray(inner), *parts)


def _poles(signals: SmallSignals) -> list[Wave]:
    return list(signals.poles())


def _steps(start: float, stop: float, step: float) -> Floats:
    return np.asarray(start + step * np.arange(math.floor((stop - start) / step + 1e-6) + 1), dtype=np.float64)


def _frequencies(wanted: tb.SmallSignal | tb.Noise) -> Floats:
    if wanted.start == wanted.stop:
        return np.array([wanted.start])
    points = math.floor(wanted.per_decade * math.log10(wanted.stop / wanted.start) + 1e-6) + 1
    return np.asarray(wanted.start * 10.0 ** (np.arange(points) / wanted.per_decade), dtype=np.float64)
