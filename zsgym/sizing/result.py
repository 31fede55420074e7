"""What comes of sizing a circuit: the best design, what ngspice says of it, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.files import write_text
from zsgym.base.quantities import counted
from zsgym.circuits import Circuit
from zsgym.classes import Conditions
from zsgym.sizing.designs import designs_file, spec_report
from zsgym.sizing.history import SearchHistory
from zsgym.sizing.problem import Design
from zsgym.sizing.tradeoff import Tradeoff

if TYPE_CHECKING:
    from zsgym.sizing.comparison import Comparison


@dataclass(frozen=True, eq=False)
class SizingResult:
    """The outcome of `zsgym.size`.

    targets: complete, SI units. conditions: under which everything was simulated. method, reason: how it was sized, and
    why so. designs: every simulated one, in order. best: the best of them; of a prediction that nobody verified, the
    proposed one; of a front, the one in its middle. verified: simulated in ngspice. history: of the search. seconds:
    from the first simulation's request to the last answer. arguments: what was asked for. provenance: versions of what
    answered. tradeoff: which specs bind, and the front of two metrics; None where every spec is met, unless a front was
    asked for.
    """

    circuit: Circuit
    targets: Mapping[str, float]
    conditions: Conditions
    method: str
    reason: str
    designs: list[Design]
    best: Design
    verified: bool
    history: SearchHistory
    seconds: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    tradeoff: Tradeoff | None = None

    @property
    def met(self) -> bool:
        """Whether the best design works and meets every spec in ngspice."""
        return self.verified and self.best.feasible

    @property
    def has_front(self) -> bool:
        """Whether a front was asked for, and there are designs on it that keep the other specs."""
        front = None if self.tradeoff is None or not self.tradeoff.asked else self.tradeoff.front
        return front is not None and front.complete and bool(front.points)

    @property
    def missed(self) -> list[str]:
        """The metrics whose specs the best design misses: all of them where it does not work."""
        return [name for name in self.targets if self.best.margins.get(name, -1.0) < 0.0]

    @property
    def simulations(self) -> int:
        """Simulations in ngspice."""
        return len(self.designs) if self.verified else 0

    @property
    def solved(self) -> int | None:
        """Sizings that were solved from the circuit's equations; None where that was not the way."""
        return self.history.evaluations if self.history.searched == "physics" else None

    def summary(self) -> str:
        """One sentence: what was reached, after how many simulations."""
        solved = "" if self.solved is None else f"{counted(self.solved, 'solved sizing')}, "
        spent = f"{solved}{counted(self.simulations, 'simulation')} in ngspice, {self.seconds:.0f} s"
        if not self.verified:
            verdict = "meets every spec" if self.best.feasible else f"misses {', '.join(self.missed)}"
            return f"not verified, a prediction only: the best proposal {verdict}"
        if self.has_front and self.tradeoff is not None and self.tradeoff.front is not None:
            front = self.tradeoff.front
            names = " and ".join(front.metrics)
            return f"a front of {names} with {counted(len(front.points), 'design')} that keep the other specs ({spent})"
        if self.met:
            return f"every spec is met in ngspice ({spent})"
        outcome = self.best.outcome
        if not outcome.success:
            return f"no design works: the best one fails as {(outcome.failure or '').replace('_', ' ')} ({spent})"
        return f"no design meets every spec: the best one misses {', '.join(self.missed)} ({spent})"

    def table(self) -> str:
        """Value, target and margin of every metric of the best design."""
        return spec_report(self.circuit, self.best, self.targets)

    def tradeoff_text(self) -> list[str]:
        """Lines about the specs that bind, and the front that was asked for; none where there is neither."""
        if self.tradeoff is None:
            return []
        return [*self.tradeoff.in_words(self.circuit.metrics), *self.tradeoff.front_text(self.circuit.metrics)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values in SI units, for JSON."""
        return {
            "circuit": self.circuit.name,
            "method": self.method,
            "reason": self.reason,
            "met": self.met,
            "verified": self.verified,
            "missed": self.missed,
            "simulations": self.simulations,
            "solved": self.solved,
            "seconds": self.seconds,
            "targets": dict(self.targets),
            "conditions": self.conditions.as_dict(),
            "best": self.best.as_dict(),
            "tradeoff": None if self.tradeoff is None else self.tradeoff.model_dump(),
        }

    def write(self, path: str | Path) -> None:
        """Write the distinct designs, best first, and how they were found, as JSON that `zsgym report` reads.

        :raises ConfigError: the file cannot be written.
        """
        write_text(Path(path), self.designs_text())

    def designs_text(self) -> str:
        """What `write` writes."""
        asked = {"method": self.method, "reason": self.reason, **self.arguments}
        return designs_file(
            f"size, {self.method}",
            self.circuit,
            self.targets,
            self.designs,
            self.history,
            asked,
            self.provenance,
            self.conditions,
            self.tradeoff,
            self.best,
        )

    def write_report(
        self, path: str | Path, netlist: str | Path | None = None, *, comparison: Comparison | None = None
    ) -> None:
        """Simulate the best design once more, for its waveforms, and write the report (HTML).

        :param netlist: also write the sized netlist with its testbench for plain ngspice here.
        :param comparison: of the circuit with others, to show.
        :raises ConfigError: a file cannot be written. :raises SimulatorError: ngspice failed.
        """
        # The report is a room above this one; whoever has a result should not have to know that.
        from zsgym.report import Request, write_report
        from zsgym.report.comparison import comparison_section

        checkpoint = self.arguments.get("checkpoint")
        request = Request(
            self.circuit,
            self.best.sizing,
            self.conditions,
            self.targets,
            checkpoint=Path(checkpoint) if checkpoint else None,
        )
        shown: dict[str, Any] = {"history": self.history, "tradeoff": self.tradeoff}
        if comparison is not None:
            shown["comparison"] = comparison_section(comparison)
        write_report(request, Path(path), Path(netlist) if netlist else None, **shown)


class SizingInterrupted(KeyboardInterrupt):
    """Ctrl-C while a circuit was being sized. result: what there was by then."""

    def __init__(self, result: SizingResult) -> None:
        super().__init__(f"interrupted; {result.summary()}")
        self.result = result
