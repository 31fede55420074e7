"""A testbench in ngspice's words: element lines of a deck, and the commands of each analysis.

No name of the circuit can meet one of the testbench. In the deck every device and every net of the circuit has a number
(`m3`, `n7`) except the ports, which carry the names of their roles; elements of the testbench have an underscore behind
their letter (`v_vdd`).

Every analysis states all that an earlier one may have changed (stimuli, levels, open loops), so that its
result depends neither on what ran before nor on the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zsgym.classes import testbench as bench
from zsgym.classes.testbench import Element, Testbench
from zsgym.simulators.ngspice import engine

TOLERANCES = "reltol=1e-6 vntol=1e-9 abstol=1e-15"
"""Of every analysis. In a step response 3e-6 saves a quarter of the points, and can throw an amplifier that comes to
rest into a limit cycle that is only numerical: the trapezoidal rule then damps too little."""


NOISE_TOLERANCES = "reltol=1e-4 vntol=1e-7 abstol=1e-13 copynodesets"
"""Of a stage of noise. ngspice puts 1 milliohm into every drain and source for it. With the nodes in between, which are
made to begin where their neighbours are, a third of the working NMCF sizings do not converge under the usual
tolerances; under these all do. The noise moves by 5e-6 at most."""


def element_lines(elements: Sequence[Element]) -> list[str]:
    """Deck lines of what surrounds the circuit. Loops are closed."""
    return [line for element in elements for line in _lines(element)]


def _lines(element: Element) -> list[str]:
    name = element.name
    match element:
        case bench.VoltageSource():
            return [f"v_{name} {element.plus} {element.minus} dc {float(element.dc)!r}{_pulse(element.pulse)}"]
        case bench.CurrentSource():
            return [f"i_{name} {element.plus} {element.minus} dc {float(element.dc)!r}{_pulse(element.pulse)}"]
        case bench.Capacitor():
            return [f"c_{name} {element.plus} {element.minus} {float(element.value)!r}"]
        case bench.Resistor():
            return [f"r_{name} {element.plus} {element.minus} {float(element.value)!r}"]
        case bench.LoopProbe():
            return [f"v_{name} {element.feedback} {element.output} dc 0", f"f_{name} 0 {element.output} v_{name} 0"]


def _pulse(pulse: bench.Pulse | None) -> str:
    if pulse is None:
        return ""
    # ngspice would stretch the width by the edges, and repeats a pulse unless its period is long.
    width, period = pulse.stop - pulse.start, 1e3 * pulse.stop
    return f" pulse({pulse.low!r} {pulse.high!r} {pulse.start!r} {pulse.edge!r} {pulse.edge!r} {width!r} {period!r})"


@dataclass(slots=True)
class Translator:
    """Turns the analyses of one testbench into ngspice's, and knows which settings they have touched so far."""

    testbench: Testbench
    _letters: dict[str, str] = field(init=False)
    _defaults: dict[str, str] = field(init=False)
    _touched: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._letters, self._defaults = {}, {}
        for element in self.testbench.elements:
            if isinstance(element, bench.Capacitor | bench.Resistor):
                continue
            self._letters[element.name] = "i" if isinstance(element, bench.CurrentSource) else "v"
            self._defaults[f"{self._source(element.name)} ac"] = "0"
            if isinstance(element, bench.LoopProbe):
                self._defaults[f"f_{element.name} gain"] = "0"
                self._defaults[f"{self._source(element.name)} dc"] = "0"
            else:
                self._defaults[f"{self._source(element.name)} dc"] = repr(float(element.dc))

    def analysis(self, wanted: bench.Analysis, nodes: Mapping[str, str]) -> engine.Analysis:
        """One analysis of the deck as it stands after all earlier ones.

        :param nodes: node of the circuit -> its name in the deck, read next to the probes; ports need no entry.
        """
        settings = self._settings(wanted)
        self._touched |= dict.fromkeys(settings)
        commands = [f"alter {name}={settings.get(name, self._defaults[name])}" for name in self._touched]
        bound = wanted.max_points if isinstance(wanted, bench.Transient) else None
        return engine.Analysis(wanted.name, self._run(wanted), self._vectors(wanted, nodes), tuple(commands), bound)

    def waves(self, wanted: bench.Analysis, vectors: engine.Vectors, nodes: Mapping[str, str]) -> bench.Waves:
        """The vectors of an analysis under the names of its probes."""
        names = {vector: probe for probe, vector in self._probes(wanted, nodes).items()}
        return {wanted.name: {names.get(vector, vector): values for vector, values in vectors.items()}}

    def _settings(self, wanted: bench.Analysis) -> dict[str, str]:
        """Everything in which an analysis departs from the deck."""
        settings: dict[str, str] = {}
        match wanted:
            case bench.SmallSignal():
                settings |= {f"f_{loop} gain": "-1" for loop in wanted.open_loops}
                settings |= {f"{self._source(name)} ac": f"{value:.17g}" for name, value in wanted.stimuli.items()}
                settings |= self._levels(wanted.levels)
            case bench.OperatingPoint():
                settings |= self._levels(wanted.levels)
            case bench.SourceSweep():
                # Stated before and after, since a sweep that is given up leaves its source where it was.
                source = f"{self._source(wanted.source)} dc"
                settings[source] = self._defaults[source]
            case bench.Noise():
                settings |= {f"{self._source(wanted.source)} ac": "1"}
        return settings

    def _levels(self, levels: Mapping[str, float]) -> dict[str, str]:
        return {f"{self._source(name)} dc": repr(float(value)) for name, value in levels.items()}

    def _source(self, name: str) -> str:
        return f"{self._letters[name]}_{name}"

    def _run(self, wanted: bench.Analysis) -> str:
        match wanted:
            case bench.OperatingPoint():
                return "op"
            case bench.TemperatureSweep():
                return f"dc temp {wanted.start:.12g} {wanted.stop:.12g} {wanted.step:.12g}"
            case bench.SourceSweep():
                return f"dc {self._source(wanted.source)} {wanted.start:.12g} {wanted.stop:.12g} {wanted.step:.12g}"
            case bench.SmallSignal() if wanted.start == wanted.stop:
                return f"ac lin 1 {wanted.start!r} {wanted.start!r}"
            case bench.SmallSignal():
                return f"ac dec {wanted.per_decade} {wanted.start!r} {wanted.stop!r}"
            case bench.Noise():
                source, points = self._source(wanted.source), wanted.per_decade
                return f"noise v({wanted.output}) {source} dec {points} {wanted.start!r} {wanted.stop!r}"
            case bench.Transient():
                return f"tran {wanted.max_step!r} {wanted.stop!r} 0 {wanted.max_step!r}"

    def _vectors(self, wanted: bench.Analysis, nodes: Mapping[str, str]) -> tuple[str, ...]:
        axis: tuple[str, ...] = ()
        if isinstance(wanted, bench.Transient):
            axis = ("time",)
        elif isinstance(wanted, bench.Noise) or (isinstance(wanted, bench.SmallSignal) and wanted.start != wanted.stop):
            axis = ("frequency",)
        return tuple(dict.fromkeys((*axis, *self._probes(wanted, nodes).values())))

    def _probes(self, wanted: bench.Analysis, nodes: Mapping[str, str]) -> dict[str, str]:
        """Probe -> ngspice's vector."""
        if isinstance(wanted, bench.Noise):
            return {"output": "onoise_spectrum", "input": "inoise_spectrum"}
        probes = (*wanted.probes, *nodes)
        return {probe: self._vector(probe, nodes) for probe in probes}

    def _vector(self, probe: str, nodes: Mapping[str, str]) -> str:
        if probe.startswith("i("):
            return f"{self._source(probe[2:-1])}#branch"
        return nodes.get(probe, probe)
