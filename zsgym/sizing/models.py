"""Learnt models that a belief can rest on: what is needed of one, which ones are installed, and what they cover.

Models come from packages of their own, found by the entry point group `zsgym.models`: a name, and a function from the
path of a trained file (None: the one that comes with the package) to a `LearntModel`. `zsgym.simulators` holds the
simulator of the same name, whose answers are predictions. K metrics, in the order of the circuit's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.classes import Conditions
from zsgym.simulators.outcome import Outcome

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "zsgym.models"


class Scale(Protocol):
    """The scale on which a model regresses one metric."""

    def normalise(self, values: NDArray[np.float64], /) -> NDArray[np.float64]:
        """SI values of any shape on that scale; monotonic, NaN stays NaN."""
        ...


class CircuitModel(Protocol):
    """What a model says about one circuit at its own conditions. Sharing one between threads is not safe."""

    @property
    def spread(self) -> Tensor:
        """(K,) standard deviation of the errors of the normalised metrics, float64, finite."""
        ...

    @property
    def scales(self) -> Sequence[Scale]:
        """The scale of each metric."""
        ...

    def predict(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated logits of working (B,) and normalised metrics (B, K), float64, differentiable.

        :param values: (B, n) sizings in declared units, float64; counts need not be whole.
        """
        ...

    def measured(self, outcome: Outcome) -> Mapping[str, float | None]:
        """Metric -> SI value of what a simulation measured, failures included, as far as the model learns from it."""
        ...


class LearntModel(Protocol):
    """A trained model; a `surrogate.checkpoint.Checkpoint` is one."""

    @property
    def topologies(self) -> Mapping[str, str]:
        """Netlist hash -> name of every circuit that it was trained on."""
        ...

    @property
    def sha256(self) -> str:
        """Of the file that it was read from."""
        ...

    def of(self, circuit: Circuit) -> CircuitModel:
        """What it says about a circuit; about one that it was not trained on, a guess."""
        ...


@dataclass(frozen=True)
class InstalledModel:
    """A model and the name under which it was found, which is that of its simulator."""

    name: str
    model: LearntModel

    def covers(self, circuit: Circuit, conditions: Conditions | None = None) -> bool:
        """Whether it was trained on this netlist, at these conditions; None: at those of the circuit."""
        return self.why_not(circuit, conditions) is None

    def why_not(self, circuit: Circuit, conditions: Conditions | None = None) -> str | None:
        """Why its answers about a circuit are guesses; None where it was trained on it."""
        name = self.model.topologies.get(circuit.netlist_hash)
        if name is None:
            known = ", ".join(self.model.topologies.values()) or "nothing"
            return f"the {self.name} was trained on {known}, not on {circuit.name}"
        if not _same_conditions(name, circuit):
            return f"the {self.name} was trained on this netlist at the conditions of {name}, which differ"
        if conditions is not None and conditions != circuit.conditions:
            at, not_at = circuit.conditions.differences(conditions)
            return f"the {self.name} was trained on {circuit.name} at {at}, not at {not_at}"
        if circuit.asked:
            return f"the {self.name} was not trained on {', '.join(circuit.asked)}"
        return None


def installed_models(checkpoint: Path | None = None) -> list[InstalledModel]:
    """Every installed model, or the one that a file holds.

    :param checkpoint: a trained file of the user's own.
    :raises ConfigError: no installed package reads the file, or one cannot be imported; the message says why not.
    """
    found: list[InstalledModel] = []
    refusals: list[str] = []
    for entry in _entries():
        load = _loader(entry)
        try:
            found.append(InstalledModel(entry.name, load(checkpoint)))
        except ValueError as error:  # what a model raises about a file that it cannot use
            if checkpoint is None:
                raise
            refusals.append(str(error))
    if checkpoint is not None and not found:
        raise ConfigError("; ".join(refusals) or f"no installed model reads {checkpoint}: the group {GROUP} is empty")
    return found


def _same_conditions(name: str, circuit: Circuit) -> bool:
    """Whether a model of the circuit with that name serves this one: it knows the conditions of its own file alone.

    Those of a circuit that cannot be looked up are taken to be the same.
    """
    if name not in list_circuits():
        return True
    trained = load_circuit(name)
    return trained.netlist_hash != circuit.netlist_hash or trained.conditions == circuit.conditions


def _loader(entry: EntryPoint) -> Callable[[Path | None], LearntModel]:
    try:
        load: Callable[[Path | None], LearntModel] = entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.module.split(".")[0]
        raise ConfigError(
            f"the model {entry.name!r} cannot be loaded from {entry.value}: {error}. If another package named "
            f"{package!r} is installed or lies in the working folder, remove or rename it"
        ) from error
    return load


def _entries() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
