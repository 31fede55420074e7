"""The contract that every simulator obeys: a batch of sizings in, one three-way outcome each, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from zsgym.circuits import DEFAULT_VERDICT, Circuit
from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status
from zsgym.quantities import quantity

__all__ = [
    "Conditions",
    "Failure",
    "Outcome",
    "Simulator",
    "Sizing",
    "Status",
    "TargetAware",
    "differences",
    "policy_name",
]


@runtime_checkable
class Simulator(Protocol):
    """Anything that answers sizings of one circuit."""

    name: str
    """Short backend name: ngspice, surrogate or hybrid."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """What produced the answers: versions of ngspice and PDK, or the checkpoint hash."""
        ...

    def simulate(
        self,
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        """Answer a batch, in order.

        :param sizings: complete sizings of this simulator's circuit.
        :param conditions: None means the circuit's default conditions.
        :param errors: raise an infrastructure error (the default), or return it as an outcome without a label.
        :raises ConfigError: a sizing lacks a parameter, has an unknown one, or holds a value that is not finite.
        :raises SimulatorError: infrastructure failed, after bounded retries, with errors="raise".
        """
        ...

    def close(self) -> None:
        """Release processes and files. Safe to call twice."""
        ...


@runtime_checkable
class TargetAware(Simulator, Protocol):
    """A simulator whose way of answering depends on which specs its caller will judge; the hybrid is one.

    Who knows the specs (an environment, whose targets may change from episode to episode) calls `simulate_for`;
    `simulate` goes by the simulator's own targets.
    """

    def simulate_for(
        self,
        targets: Sequence[Mapping[str, float]],
        sizings: Sequence[Sizing],
        conditions: Conditions | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[Outcome]:
        """`simulate` for given specs.

        :param targets: of each sizing, metric -> target in SI units.
        """
        ...


def differences(wanted: Conditions, known: Conditions) -> tuple[str, str]:
    """The conditions in which the two differ, as people read them: the known ones, then the wanted ones.

    >>> differences(Conditions(corner="ss", supply=1.62), Conditions())
    ('corner tt, supply 1.8 V', 'corner ss, supply 1.62 V')
    """
    units = {"supply": "V", "temperature": "C", "load": "F", "common_mode_ratio": ""}
    names = [name for name, value in known.as_dict().items() if value != getattr(wanted, name)]

    def told(conditions: Conditions) -> str:
        values = [getattr(conditions, name) for name in names]
        return ", ".join(
            f"{name.replace('_', ' ')} {quantity(value, units[name]) if name in units else value}"
            for name, value in zip(names, values, strict=True)
        )

    return told(known), told(wanted)


def policy_name(simulator: object, circuit: Circuit) -> str:
    """Name of the verdict policy by which a simulator decides what works.

    It is its `policy`: a name, or one of the circuit's policies. A simulator without one goes by the default.
    """
    policy = getattr(simulator, "policy", DEFAULT_VERDICT)
    names = (name for name, known in circuit.verdict_policies.items() if policy in (name, known))
    return next(names, DEFAULT_VERDICT)
