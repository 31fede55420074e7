"""The contract that every simulator obeys: a batch of sizings in, one three-way outcome each, in the same order."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from zsgym.outcome import Conditions, Failure, Outcome, Sizing, Status

__all__ = ["Conditions", "Failure", "Outcome", "Simulator", "Sizing", "Status"]


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
