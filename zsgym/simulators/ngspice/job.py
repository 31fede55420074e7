"""One evaluation in ngspice: a sized circuit in its testbench, stage by stage, as far as it deserves.

The cold operating point needs gmin stepping, which costs more than a whole AC sweep. Every later analysis therefore
starts from its node voltages (`.nodeset`); tolerances are tight, since a warm start ends after few iterations.
"""

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zsgym.classes.circuit_class import Bench
from zsgym.classes.testbench import Noise, OperatingPoint, Stage, Wave, Waves
from zsgym.simulators.ngspice.deck import SizedNetlist
from zsgym.simulators.ngspice.engine import Analysis, Engine, NonConvergenceError, OutsideModelError, Vectors
from zsgym.simulators.ngspice.testbench import NOISE_TOLERANCES, TOLERANCES, Translator, element_lines

_prepared: set[type[Bench]] = set()


@dataclass(slots=True)
class Measurement:
    """Raw measurements (SI), operating points, time spent per stage (s), waves when asked for.

    `converged` is the one measurement that every class has: 1.0 when every analysis that was run converged, else 0.0.
    """

    raw: dict[str, float | None]
    operating_points: dict[str, dict[str, float]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    waves: Waves | None = None


@dataclass(frozen=True, slots=True)
class BenchJob:
    """Everything that a worker needs for one evaluation."""

    netlist: SizedNetlist
    bench: Bench
    keep_waves: bool = False

    def prepare(self) -> None:
        """See `Bench.prepare`; done once per kind of bench in a process."""
        if type(self.bench) not in _prepared:
            self.bench.prepare()
            _prepared.add(type(self.bench))

    def run(self, engine: Engine) -> Measurement | None:
        """Run the stages that the bench wants, and measure them; None when a model card refuses a transistor's size.

        Non-convergence ends the evaluation with what was measured until then and `converged` at 0, unless it is in a
        stage on which no verdict rests.
        """
        run = _Run(self, engine)
        try:
            for stage in run.translator.testbench.stages:
                if self.bench.wants(stage.name, run.result.raw):
                    run.stage(stage)
            run.result.raw["converged"] = 1.0
        except OutsideModelError:
            return None
        except NonConvergenceError:
            pass
        if self.keep_waves:
            run.result.waves = run.waves
        return run.result


class _Run:
    def __init__(self, job: BenchJob, engine: Engine) -> None:
        self.job, self.engine = job, engine
        self.translator = Translator(job.bench.testbench)
        self.result = Measurement(raw={"converged": 0.0})
        self.waves: dict[str, Mapping[str, Wave]] = {}
        self._nodeset: dict[str, float] = {}
        self._deck = deck(job)
        self._cold = True

    def stage(self, stage: Stage) -> None:
        started = clock.perf_counter()
        nodes = self.job.netlist.nets if self._cold else {}
        analyses = {wanted.name: self.translator.analysis(wanted, nodes) for wanted in stage.analyses}
        found = self._run(self._deck_for(stage), list(analyses.values()), bool(stage.optional))
        for wanted in stage.analyses:
            if wanted.name in found:
                self.waves |= self.translator.waves(wanted, found[wanted.name], nodes)
        last = stage.analyses[-1]
        if self._cold and isinstance(last, OperatingPoint):
            self._warm_up(self.waves[last.name])
        self.result.raw |= self.job.bench.measure(stage.name, self.waves, self.result.operating_points)
        self.result.stages[stage.name] = clock.perf_counter() - started

    def _deck_for(self, stage: Stage) -> Sequence[str]:
        if not all(isinstance(wanted, Noise) for wanted in stage.analyses):
            return self._deck
        return deck(self.job, self._nodeset, NOISE_TOLERANCES)

    def _run(self, lines: Sequence[str], analyses: Sequence[Analysis], optional: bool) -> dict[str, Vectors]:
        """The vectors of each analysis. Where nothing rests on them, those that do not converge are left out."""
        try:
            return self.engine.run(lines, analyses)
        except NonConvergenceError:
            if not optional:
                raise
        found: dict[str, Vectors] = {}
        for analysis in analyses if len(analyses) > 1 else ():
            found |= self._run(lines, [analysis], optional)
        return found

    def _warm_up(self, point: Mapping[str, Wave]) -> None:
        """Keep the operating points of the transistors, and start everything that follows from this solution."""
        points = self.engine.operating_points()
        names = self.job.netlist.transistors
        self.result.operating_points = {name: points[element] for name, element in names.items()}
        nets = self.job.netlist.nets
        self._nodeset = {nets[net]: float(point[net][0].real) for net in nets}
        self._deck = deck(self.job, self._nodeset)
        self.translator = Translator(self.translator.testbench)
        self._cold = False


def deck(job: BenchJob, nodeset: Mapping[str, float] | None = None, tolerances: str = TOLERANCES) -> Sequence[str]:
    """The lines of the deck. :param nodeset: node -> voltage (V) near which the solution lies."""
    testbench = job.bench.testbench
    lines = [
        "* a circuit in its testbench",
        f".option {tolerances}",
        f".temp {testbench.temperature!r}",
        *element_lines(testbench.elements),
        *job.netlist.elements,
        *job.netlist.models,
    ]
    if nodeset:
        lines.append(".nodeset " + " ".join(f"v({node})={value!r}" for node, value in nodeset.items()))
    return [*lines, ".end"]
