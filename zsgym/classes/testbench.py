"""A testbench as data: what surrounds a circuit, which analyses are run, and what is read. Any simulator can run it.

Nodes are the ports of the circuit, by the names of their roles, and `0`, the global ground. A simulator keeps the names
of the testbench's elements apart from those of the circuit. Everything is in SI units.

A *probe* is a node (its voltage, V) or `i(NAME)`: the current through the voltage source NAME (A), counted from its
plus to its minus terminal, so that a supply that feeds a circuit has a negative one, as SPICE has it. *Waves* are what
an analysis gives: probe -> array, next to the axis `frequency` (Hz) or `time` (s) where there is one.

A simulator that knows them adds `POLES` to a small-signal analysis: the natural modes of the circuit as the analysis
has it, loops open or closed (complex, rad/s). Who wants poles and finds none fits them to the response.

Stages are run in order, and the class says after each whether the next is wanted: a simulator need not know why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64] | NDArray[np.complex128]
Waves = Mapping[str, Mapping[str, Wave]]
"""Analysis -> probe or axis -> (n,) values; complex in small-signal analyses."""
POLES = "poles"
"""Name of the natural modes among the waves of a small-signal analysis; not every simulator gives them."""


# --- what surrounds the circuit -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse of a source: `low` until `start`, `high` from then until `stop`, then `low` again (V or A, s)."""

    low: float
    high: float
    start: float
    stop: float
    edge: float = 1e-12


@dataclass(frozen=True, slots=True)
class VoltageSource:
    """Ideal source of `dc` volts from plus to minus. In a transient it follows its pulse."""

    name: str
    plus: str
    minus: str
    dc: float
    pulse: Pulse | None = None


@dataclass(frozen=True, slots=True)
class CurrentSource:
    """Ideal source of `dc` amperes, which flow from plus through it to minus. Follows its pulse in a transient."""

    name: str
    plus: str
    minus: str
    dc: float
    pulse: Pulse | None = None


@dataclass(frozen=True, slots=True)
class Capacitor:
    """Farads between two nodes."""

    name: str
    plus: str
    minus: str
    value: float


@dataclass(frozen=True, slots=True)
class Resistor:
    """Ohms between two nodes."""

    name: str
    plus: str
    minus: str
    value: float


@dataclass(frozen=True, slots=True)
class LoopProbe:
    """Joins `feedback` to `output` by a zero-volt source, which serves as small-signal stimulus of the loop.

    Closed, it is a wire. Open (`SmallSignal.open_loops`), the current that `feedback` draws is returned to `output`, so
    that the response v(output)/v(feedback) is that of the unloaded output, as if an infinite inductor had opened the
    loop, while the operating point stays the closed one. The stimulus adds v(feedback) - v(output). So does its DC
    voltage, which is zero unless a level or a sweep says otherwise: it holds the output that far below the feedback.
    """

    name: str
    feedback: str
    output: str


Element = VoltageSource | CurrentSource | Capacitor | Resistor | LoopProbe


# --- what is analysed -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """DC solution. probes: nodes and source currents; a simulator adds every node of the circuit to the first one.

    levels: source or loop probe -> DC value instead of its own (V or A).
    """

    name: str
    probes: tuple[str, ...] = ()
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TemperatureSweep:
    """DC solutions from `start` to `stop` (degrees Celsius, both included) in steps of `step`, each from the last."""

    name: str
    probes: tuple[str, ...]
    start: float
    stop: float
    step: float


@dataclass(frozen=True, slots=True)
class SourceSweep:
    """DC solutions while a source or loop probe goes from `start` to `stop` (V or A, both included) by `step`."""

    name: str
    probes: tuple[str, ...]
    source: str
    start: float
    stop: float
    step: float


@dataclass(frozen=True, slots=True)
class SmallSignal:
    """Linear response at the operating point. stimuli: source or loop probe -> amplitude (V or A).

    start, stop: Hz, `per_decade` points in each decade; a single point where both are equal. open_loops: loop probes
    that are open; all others are closed. levels: as for an operating point.
    """

    name: str
    probes: tuple[str, ...]
    stimuli: Mapping[str, float]
    start: float
    stop: float
    per_decade: int = 10
    open_loops: tuple[str, ...] = ()
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise at a node, referred to a source: `frequency`, `output` (V/sqrt(Hz)) and `input` (V or A per sqrt(Hz))."""

    name: str
    output: str
    source: str
    start: float
    stop: float
    per_decade: int = 10


@dataclass(frozen=True, slots=True)
class Transient:
    """Response in time from 0 to `stop` (s), steps of at most `max_step` (s).

    max_points bounds the simulated effort: an analysis that reaches it ends early, and its waves end with it.
    """

    name: str
    probes: tuple[str, ...]
    stop: float
    max_step: float
    max_points: int


Analysis = OperatingPoint | TemperatureSweep | SourceSweep | SmallSignal | Noise | Transient


@dataclass(frozen=True, slots=True)
class Stage:
    """Analyses that are run together. Every name is unique within a testbench.

    optional: the measurements of a stage on which no verdict rests; a stage without any has to converge. An analysis of
    such a stage that does not converge is missing from the waves, and the class says what cannot be determined then.
    """

    name: str
    analyses: tuple[Analysis, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Testbench:
    """Elements around the circuit, at a temperature (degrees Celsius), and the stages of its analysis."""

    __test__ = False  # pytest: this is not a test

    temperature: float
    elements: tuple[Element, ...]
    stages: tuple[Stage, ...]
