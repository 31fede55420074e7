"""Operational amplifiers: five ports, eleven metrics, and a verdict that cannot be gamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import ClassVar

from zsgym.classes.amplifier import figures, optional, plain_deck, verdict
from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.metrics import METRICS
from zsgym.classes.amplifier.testbench import AmplifierBench
from zsgym.classes.amplifier.verdict import AmplifierPolicy
from zsgym.classes.circuit_class import Bench, CircuitClass, Figure, Port, Sketch
from zsgym.classes.conditions import Conditions
from zsgym.classes.testbench import Waves
from zsgym.classes.verdict import Check, Failure, VerdictPolicy
from zsgym.netlist import Subcircuit

__all__ = ["AMPLIFIER", "METRICS", "AmplifierConditions", "AmplifierPolicy"]


class Amplifier(CircuitClass):
    """See the module."""

    name = "amplifier"
    title = "operational amplifier"
    ports = (
        Port("vss", "negative supply", "low", ("gnd", "vee", "agnd", "avss", "gnda", "vssa", "vgnd")),
        Port("vdd", "positive supply", "high", ("vcc", "avdd", "vdda", "vpwr", "vdd1v8")),
        Port("inn", "inverting input", None, ("minus", "in-", "vin-", "vinn", "inm", "vinm", "vn", "vim", "in_n")),
        Port("inp", "non-inverting input", None, ("plus", "in+", "vin+", "vinp", "vp", "vip", "in_p")),
        Port("out", "output", None, ("vout", "vo", "output")),
    )
    metrics = METRICS
    optional_metrics = optional.OPTIONAL_METRICS
    closed_form: ClassVar = {
        "gate_area": optional.gate_area,
        "compensation_capacitance": optional.compensation_capacitance,
    }
    conditions = AmplifierConditions
    policy = AmplifierPolicy
    reasons: ClassVar = {
        Failure.GEOMETRY: "a transistor is outside the model bins",
        Failure.NO_CONVERGENCE: "ngspice itself reported that an analysis does not converge",
        Failure.OPERATING_POINT: "the output is railed in unity feedback, or a bias branch is dead",
        Failure.NO_GAIN: "no unity-gain crossing, or the wrong polarity",
        Failure.UNSTABLE: "a right-half-plane closed-loop pole, or a step response that keeps ringing",
        Failure.UNSETTLED: "the step response does not reach its level",
        Failure.UNPHYSICAL: "a measurement is undefined or impossible",
    }

    def bench(
        self, circuit: Subcircuit, conditions: Conditions, policy: VerdictPolicy, *, complete: bool = False
    ) -> AmplifierBench:
        """See `CircuitClass.bench`."""
        return AmplifierBench(_of_this_class(conditions), _policy(policy), self.idle_devices(circuit), complete)

    def asking(self, bench: Bench, names: Sequence[str]) -> AmplifierBench:
        """See `CircuitClass.asking`."""
        assert isinstance(bench, AmplifierBench), bench
        return replace(bench, asked=tuple(names))

    def checks(self, policy: VerdictPolicy) -> tuple[Check, ...]:
        """See `CircuitClass.checks`."""
        return verdict.checks(_policy(policy))

    def figures(self, waves: Waves, conditions: Conditions, policy: VerdictPolicy) -> list[Figure]:
        """Bode plot, step response, temperature sweep and closed loop, as far as they were simulated."""
        return figures.figures(waves, _of_this_class(conditions), _policy(policy))

    def sketch(self) -> Sketch:
        """The two-pole open loop with the gain, bandwidth and phase margin that were measured."""
        from zsgym.classes.amplifier.sketch import draw_response

        return draw_response

    def plain_deck(self, conditions: Conditions, policy: VerdictPolicy) -> tuple[str, dict[str, float]]:
        """See `CircuitClass.plain_deck`."""
        text = resources.files(__name__).joinpath("plain_deck.spice").read_text(encoding="utf-8")
        return text, plain_deck.numbers(_of_this_class(conditions), _policy(policy))


def _of_this_class(conditions: Conditions) -> AmplifierConditions:
    assert isinstance(conditions, AmplifierConditions), conditions
    return conditions


def _policy(policy: VerdictPolicy) -> AmplifierPolicy:
    assert isinstance(policy, AmplifierPolicy), policy
    return policy


AMPLIFIER = Amplifier()
