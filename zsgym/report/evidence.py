"""What a report says about one sizing, gathered once: what ngspice measures, and what the surrogate expects."""

from __future__ import annotations

import math
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsgym.base.errors import NotCoveredError, PdkError, SimulatorError, SimulatorMissingError
from zsgym.circuits import Cases, Circuit, Sizing
from zsgym.classes import Conditions, Targets
from zsgym.classes.specs import meets_all
from zsgym.classes.testbench import Waves
from zsgym.samples.manifest import provenance_of_this_process
from zsgym.simulators import make_simulator
from zsgym.simulators.outcome import Outcome, Status
from zsgym.sizing.models import installed_models

_USUAL_COVERAGE = 0.9


@dataclass(frozen=True, slots=True)
class Request:
    """What a report is about.

    sizing: complete, in declared units. policy: name of a verdict policy of the circuit. targets: SI units. checkpoint:
    of the surrogate; None means the one that comes with the package.
    """

    circuit: Circuit
    sizing: Sizing
    conditions: Conditions
    targets: Targets
    policy: str = "functional"
    checkpoint: Path | None = None

    @property
    def cases(self) -> Cases:
        """The one case that the report is about."""
        return self.circuit.cases([self.sizing], self.conditions)

    @staticmethod
    def of(circuit: Circuit, sizing: Sizing, **changes: Any) -> Request:
        """A request at the circuit's own conditions and targets."""
        return Request(circuit, sizing, circuit.conditions, circuit.resolve_targets(), **changes)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a sizing.

    truth: ngspice's outcome; None without ngspice. waveforms: of the analyses that ran, as `NgspiceSimulator.measure`
    gives them. prediction: the surrogate's outcome; None where it cannot answer. coverage: what its intervals promise.
    notes: what the reader must know, such as that ngspice is missing. provenance: label -> value, in order of printing.
    """

    request: Request
    truth: Outcome | None
    prediction: Outcome | None
    waveforms: Waves = field(default_factory=dict)
    coverage: float = _USUAL_COVERAGE
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome | None:
        """The best answer there is: the simulator's, else the surrogate's."""
        return self.truth or self.prediction

    @property
    def margins(self) -> dict[str, float]:
        """Spec margins of the best answer; empty where the sizing does not work."""
        outcome, circuit = self.outcome, self.request.circuit
        if outcome is None or not outcome.metrics:
            return {}
        # No model predicts the optional ones.
        metrics = {**dict.fromkeys(circuit.asked, math.nan), **outcome.metrics}
        return circuit.metrics.margins(metrics, self.request.targets)

    @property
    def meets_all(self) -> bool:
        """Whether the best answer is a working circuit that meets every spec."""
        return bool(self.margins) and meets_all(self.margins)

    def covered(self, metric: str) -> bool | None:
        """Whether the surrogate's interval holds the simulated value; None where one of the two is missing."""
        if not (self.truth and self.truth.metrics and self.prediction and self.prediction.uncertainty):
            return None
        if metric not in self.prediction.uncertainty:
            return None
        low, high = self.prediction.uncertainty[metric]
        return low <= self.truth.metrics[metric] <= high

    def as_dict(self) -> dict[str, Any]:
        """Plain values in SI units, for JSON."""
        request, outcome, prediction = self.request, self.outcome, self.prediction
        return {
            "circuit": request.circuit.name,
            "verified": self.truth is not None,
            "status": outcome.status.value if outcome else None,
            "failure": outcome.failure if outcome else None,
            "meets_all_specs": self.meets_all,
            "metrics": outcome.determined if outcome else None,
            "targets": dict(request.targets),
            "margins": self.margins,
            "prediction": {
                "p_valid": prediction.p_valid,
                "in_distribution": prediction.in_distribution,
                "metrics": dict(prediction.metrics) if prediction.metrics else None,
                "intervals": {name: list(ends) for name, ends in (prediction.uncertainty or {}).items()},
            }
            if prediction
            else None,
            "conditions": request.conditions.as_dict(),
            "sizing": dict(request.sizing),
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
        }


def gather(request: Request) -> Evidence:
    """Ask ngspice and the surrogate.

    Without ngspice or the SKY130 models the report rests on the surrogate alone, and a note says so. Where ngspice
    answered, a surrogate that was not trained on the circuit, or not at these conditions, is not asked, unless the
    request names it: its guess would tell a reader nothing.

    :raises ConfigError: the sizing, the policy or the checkpoint is not usable. :raises SimulatorError: ngspice is
        there and failed.
    """
    notes: list[str] = []
    provenance = _this_process()
    truth, waveforms = _simulate(request, notes, provenance)
    asked = truth is None or request.checkpoint is not None or _covered(request)
    prediction, coverage = _predict(request, notes, provenance) if asked else (None, _USUAL_COVERAGE)
    return Evidence(request, truth, prediction, waveforms, coverage, tuple(notes), provenance)


def _simulate(request: Request, notes: list[str], provenance: dict[str, str]) -> tuple[Outcome | None, Waves]:
    from zsgym.simulators.ngspice.simulator import NgspiceSimulator

    try:
        with NgspiceSimulator(request.circuit, policy=request.policy, keep_waveforms=True) as simulator:
            answer = simulator.measure(request.cases)[0]
            if isinstance(answer, SimulatorError):
                raise answer
            outcome = simulator.outcome(answer)
            provenance |= {"ngspice": simulator.provenance["ngspice"], "SKY130 models": simulator.provenance["models"]}
    except (SimulatorMissingError, PdkError) as error:
        notes.append(f"Not verified: every figure below is a prediction of the surrogate. ngspice did not run: {error}")
        return None, {}
    return outcome, (answer.waves or {}) if answer else {}


def _predict(request: Request, notes: list[str], provenance: dict[str, str]) -> tuple[Outcome | None, float]:
    circuit = request.circuit.asking(set(request.circuit.asked) - set(request.circuit.asked_of_simulators))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            surrogate = make_simulator("surrogate", circuit, checkpoint=request.checkpoint)
        except NotCoveredError:
            if request.checkpoint is not None:
                raise
            notes.append(f"No prediction: the surrogate knows no {request.circuit.circuit_class.title}.")
            return None, _USUAL_COVERAGE
    notes += [f"{str(warning.message)[0].upper()}{str(warning.message)[1:]}." for warning in caught]
    if request.conditions != request.circuit.conditions:
        notes.append("No prediction: the surrogate knows the circuit at its default conditions only.")
        return None, _USUAL_COVERAGE
    prediction = surrogate.simulate(circuit.cases([request.sizing], request.conditions))[0]
    if prediction.in_distribution is False and not caught:
        notes.append("The surrogate was not trained on sizings like this one: its figures may be far off.")
    provenance |= {"surrogate": surrogate.provenance["checkpoint"]}
    return prediction, float(getattr(surrogate, "coverage", _USUAL_COVERAGE))


def _covered(request: Request) -> bool:
    """Whether an installed model was trained on the circuit at the conditions of the request."""
    return any(model.covers(request.circuit, request.conditions) for model in installed_models())


def _this_process() -> dict[str, str]:
    facts = provenance_of_this_process()
    return {
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(facts["command"]),
        "zsgym": facts["versions"]["zsgym"],
        "git revision": facts["git_revision"] or "none (installed package)",
        "Python": platform.python_version(),
    }


def verdict(evidence: Evidence) -> tuple[str, str]:
    """One of `good`, `fair`, `bad`, `unknown`, and the sentence that goes with it."""
    outcome, margins = evidence.outcome, evidence.margins
    if outcome is None:
        return "unknown", "Nobody could answer"
    verified = evidence.truth is not None
    if outcome.status is not Status.SUCCESS:
        reason = str(outcome.failure).replace("_", " ")
        return "bad", f"Does not work: {reason}" if verified else "Predicted to fail"
    met = sum(margin >= 0.0 for margin in margins.values())
    if len(margins) == 1:
        specs = "its one spec" if met else "0 of 1 spec"
    else:
        specs = f"all {len(margins)} specs" if met == len(margins) else f"{met} of {len(margins)} specs"
    if not verified:
        return "unknown", f"Predicted to meet {specs}; not verified"
    return ("good" if met == len(margins) else "fair"), f"Works and meets {specs}"
