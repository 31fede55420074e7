"""What is asked of a simulator: sizings, each with the conditions it is asked under. Many of them are two arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.base.errors import ConfigError
from zsgym.classes.conditions import Conditions

if TYPE_CHECKING:
    from zsgym.circuits.circuit import Circuit

Sizing = Mapping[str, float]
"""Sizing parameter name -> value, in the units that the circuit declares (um, count, F, ohm, A)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One sizing and the conditions that it is asked under."""

    sizing: Sizing
    conditions: Conditions


class Cases(Sequence[Case]):
    """Cases of one circuit, in order. Made by `Circuit.cases`; a slice, or an array of positions, gives cases again.

    vectors: (B, n) float64 sizings in declared units, in the order of the circuit's parameters.
    conditions: of each case; equal ones are the same object, as a rule.
    """

    def __init__(self, circuit: Circuit, vectors: NDArray[np.float64], conditions: Sequence[Conditions]) -> None:
        if len(vectors) != len(conditions):
            raise ConfigError(f"{len(vectors)} sizings need as many conditions, got {len(conditions)}")
        self.circuit = circuit
        self.vectors = vectors
        self.conditions = tuple(conditions)

    @classmethod
    def of(
        cls,
        circuit: Circuit,
        sizings: Iterable[Sizing] | ArrayLike,
        conditions: Conditions | Sequence[Conditions] | None = None,
    ) -> Cases:
        """See `Circuit.cases`."""
        if isinstance(sizings, np.ndarray):
            vectors = _checked(circuit, np.atleast_2d(np.asarray(sizings, dtype=np.float64)))
        else:
            vectors = _vectors(circuit, list(sizings))  # type: ignore[arg-type]
        if conditions is None or isinstance(conditions, Conditions):
            conditions = [circuit.conditions if conditions is None else conditions] * len(vectors)
        wanted = circuit.circuit_class.conditions
        for each in dict.fromkeys(conditions):
            if not isinstance(each, wanted):
                raise ConfigError(f"{circuit.name} needs {wanted.__name__}, got {type(each).__name__}")
        return cls(circuit, vectors, conditions)

    def __len__(self) -> int:
        return len(self.vectors)

    @overload
    def __getitem__(self, key: int) -> Case: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.intp]) -> Cases: ...
    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.intp]) -> Case | Cases:
        if isinstance(key, int | np.integer):
            return Case(self.sizings[key], self.conditions[key])
        rows = np.arange(len(self))[key]
        return Cases(self.circuit, self.vectors[rows], [self.conditions[row] for row in rows])

    def __iter__(self) -> Iterator[Case]:
        return map(Case, self.sizings, self.conditions)

    def __repr__(self) -> str:
        return f"<{len(self)} cases of {self.circuit.name!r}>"

    @cached_property
    def sizings(self) -> list[dict[str, float]]:
        """Every sizing as a mapping."""
        names = self.circuit.parameter_names
        return [dict(zip(names, row, strict=True)) for row in self.vectors.tolist()]

    @property
    def at_default_conditions(self) -> NDArray[np.bool_]:
        """(B,) whether a case is asked under the circuit's own conditions."""
        default = self.circuit.conditions
        return np.array([each is default or each == default for each in self.conditions], dtype=bool)


def _vectors(circuit: Circuit, sizings: Sequence[Sizing]) -> NDArray[np.float64]:
    """(B, n) in declared units; only a sizing that is not obviously complete is looked at name by name."""
    rows = []
    for sizing in sizings:
        row = tuple(map(sizing.get, circuit.parameter_names)) if isinstance(sizing, Mapping) else ()
        plain = len(row) and len(sizing) == len(row) and set(map(type, row)) == {float}
        rows.append(row if plain else circuit.vector(sizing))
    vectors = np.array(rows, dtype=np.float64).reshape(len(rows), len(circuit.parameter_names))
    return _checked(circuit, vectors)


def _checked(circuit: Circuit, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    if vectors.shape[1:] != (len(circuit.parameter_names),) or not ((vectors > 0.0) & (vectors < np.inf)).all():
        for row in vectors:
            circuit.sizing(row)  # raises, and says what is wrong
    return vectors
