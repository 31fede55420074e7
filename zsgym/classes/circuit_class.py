"""A class of circuits: what its circuits have in common, from their ports to the pictures of their report.

Everything that zsgym knows about amplifiers, or regulators, or references, is behind one such object, which a
simulator, an environment or a report asks without knowing which it is. A class is found by the entry point group
`zsgym.classes`, so that one can come from another package.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean
from zsgym.classes.conditions import Conditions
from zsgym.classes.metrics import MetricSet
from zsgym.classes.testbench import Testbench, Waves
from zsgym.classes.verdict import Check, Raw, VerdictPolicy, first_missed
from zsgym.netlist import GROUND, Subcircuit, carries_no_current

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENTRY_POINTS = "zsgym.classes"
Devices = Mapping[str, Mapping[str, float]]
"""Transistor -> operating-point quantity -> SI value."""
ClosedForm = Callable[[Subcircuit, Mapping[str, float]], float]
"""The SI value of a metric, from the flat circuit and a complete sizing in declared units."""


@dataclass(frozen=True, slots=True)
class Port:
    """A terminal that a circuit of the class must have.

    role: what it is for, in words. rail: whether it is at the lowest or at the highest potential of the circuit.
    aliases: further names that people give it.
    """

    name: str
    role: str
    rail: Literal["low", "high"] | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of a report: a title, an inline SVG, and a sentence below it."""

    title: str
    svg: str
    caption: str = ""


class Sketch(Protocol):
    """Draws into matplotlib axes."""

    def __call__(self, axes: Axes, metrics: Mapping[str, float] | None) -> None:
        """:param metrics: SI; None for a circuit that does not work."""
        ...


class Bench(Protocol):
    """One case of a class, ready to be simulated: a testbench, and how its waves become measurements. Picklable."""

    @property
    def testbench(self) -> Testbench:
        """What a simulator runs."""
        ...

    def prepare(self) -> None:
        """Use the numerical routines once: what they import and cache here, no evaluation has to."""
        ...

    def wants(self, stage: str, raw: Raw) -> bool:
        """Whether a stage is worth its time, after what was measured in the stages before it."""
        ...

    def measure(self, stage: str, waves: Waves, devices: Devices) -> dict[str, float | None]:
        """Measurements (SI) that a stage adds.

        :param waves: of all analyses so far. :param devices: operating points of the transistors, as far as known.
        """
        ...


class CircuitClass(ABC):
    """One class of circuits. Immutable and without state; pickled by its name."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What such a circuit is called in a sentence, such as `operational amplifier`."""
    ports: ClassVar[tuple[Port, ...]]
    metrics: ClassVar[MetricSet]
    optional_metrics: ClassVar[MetricSet] = MetricSet(())
    """What is measured only when a spec or a caller asks; every one of them has `optional` set."""
    closed_form: ClassVar[Mapping[str, ClosedForm]] = {}
    """Those optional metrics that follow from the sizing alone, so that any simulator can give them."""
    conditions: ClassVar[type[Conditions]]
    policy: ClassVar[type[VerdictPolicy]]
    reasons: ClassVar[Mapping[str, str]]
    """Every reason for which a circuit of the class can fail -> what it means."""

    @abstractmethod
    def bench(
        self, circuit: Subcircuit, conditions: Conditions, policy: VerdictPolicy, *, complete: bool = False
    ) -> Bench:
        """The testbench of one case.

        :param circuit: flat. :param complete: run every stage, also those that cannot change the verdict.
        """

    def asking(self, bench: Bench, names: Sequence[str]) -> Bench:
        """The bench of a case for which optional metrics are wanted, too.

        :param names: of optional metrics that are not of closed form. What its stages add to `raw` has these names,
            with None where it could not be determined.
        """
        raise NotImplementedError(f"the class {self.name!r} lists {', '.join(names)} and does not measure it")

    @abstractmethod
    def checks(self, policy: VerdictPolicy) -> tuple[Check, ...]:
        """What a working circuit must fulfil, in the order in which reasons are tested."""

    def figures(self, waves: Waves, conditions: Conditions, policy: VerdictPolicy) -> list[Figure]:
        """Pictures of a simulated case; none where nothing was simulated."""
        return []

    def sketch(self) -> Sketch | None:
        """What draws the circuit's behaviour as far as its metrics tell it, for the picture of an environment.

        None where there is nothing to draw. Asked for only when a picture is made: matplotlib is optional.
        """
        return None

    def plain_deck(self, conditions: Conditions, policy: VerdictPolicy) -> tuple[str, Mapping[str, float]] | None:
        """The class's testbench as text for plain ngspice and the full SKY130 library; None where there is none.

        :return: a template that prints every metric as `name = value` in SI units, in which `@{name}` stands for a
            number, or for what the report puts in (the sized circuit, the library, ...), and the numbers.
        """
        return None

    @property
    def port_names(self) -> tuple[str, ...]:
        """Names of the ports, in the order of the class."""
        return tuple(port.name for port in self.ports)

    def rail(self, rail: Literal["low", "high"]) -> tuple[str, ...]:
        """Names of the nets at the lowest or at the highest potential: ports, and ground, which is low."""
        ports = tuple(port.name for port in self.ports if port.rail == rail)
        return (*ports, GROUND) if rail == "low" else ports

    def idle_devices(self, circuit: Subcircuit) -> frozenset[str]:
        """Names of the transistors that carry no current by construction (dummies, MOS capacitors)."""
        low, high = self.rail("low"), self.rail("high")
        return frozenset(device.name for device in circuit.devices if carries_no_current(device, low, high))

    def judge(self, raw: Raw, policy: VerdictPolicy) -> str | None:
        """The first reason for which the circuit does not work, or None when it works.

        Geometry is not judged here: a sizing outside the model bins has no measurements at all.
        """
        missed = first_missed(self.checks(policy), raw)
        return None if missed is None else missed.failure

    @cached_property
    def all_metrics(self) -> MetricSet:
        """Every metric that a spec may name: those that are always measured, then the optional ones."""
        return self.metrics_with(self.optional_metrics.names)

    def metrics_with(self, asked: Collection[str]) -> MetricSet:
        """The metrics that are always measured and, behind them, those optional ones that are asked for."""
        added = [metric for metric in self.optional_metrics if metric.name in asked]
        return MetricSet((*self.metrics, *added)) if added else self.metrics

    def metrics_of(self, raw: Raw) -> dict[str, float]:
        """The metrics of a working circuit. KeyError or TypeError here would be a fault of the verdict.

        Optional ones are there if they were asked for: NaN where the measurement could not be made.
        """
        metrics = {name: float(raw[name]) for name in self.metrics.names}  # type: ignore[arg-type]
        for name in self.optional_metrics.names:
            if name in raw:
                value = raw[name]
                metrics[name] = math.nan if value is None else float(value)
        return metrics

    def severity(self, raw: Raw, policy: VerdictPolicy, reason: str | None = None) -> float:
        """How far a failing circuit lies below every working one: earlier in the verdict is worse, then by how much.

        :param reason: the failure that is graded, where the measurements need not be complete; None: the first missed.
        """
        checks = (check for check in self.checks(policy) if reason in (None, check.failure))
        missed = first_missed(checks, raw)
        return 0.0 if missed is None else missed.severity(raw)

    def __reduce__(self) -> tuple[object, ...]:
        return find_class, (self.name,)

    def __repr__(self) -> str:
        return f"<circuit class {self.name!r}>"


@cache
def _classes() -> dict[str, CircuitClass]:
    found: dict[str, CircuitClass] = {}
    for point in entry_points(group=ENTRY_POINTS):
        circuit_class = point.load()
        if not isinstance(circuit_class, CircuitClass) or circuit_class.name != point.name:
            raise ConfigError(f"the entry point {point.name!r} of {ENTRY_POINTS} ({point.value}) is not such a class")
        found[point.name] = circuit_class
    return found


def list_classes() -> list[str]:
    """Names of the installed classes of circuits."""
    return sorted(_classes())


def find_class(name: str) -> CircuitClass:
    """A class of circuits by its name.

    :raises ConfigError: none has that name; the message lists those that are installed.
    """
    classes = _classes()
    if name not in classes:
        hint = "" if classes else ": zsgym must be installed (pip install -e .), its classes are found by entry points"
        raise ConfigError(f"unknown class {name!r}. {did_you_mean(name, sorted(classes), 'Known')}{hint}")
    return classes[name]
