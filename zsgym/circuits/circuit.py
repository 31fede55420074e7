"""A circuit: its topology, what can be sized, and how a sizing is written as a vector, an action or a published one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsgym.base.arrays import rowwise
from zsgym.base.errors import ConfigError
from zsgym.base.problems import did_you_mean, unlike
from zsgym.circuits.case import Cases, Sizing
from zsgym.circuits.schema import KnownGood, SizingParameter
from zsgym.classes import CircuitClass, Conditions, MetricSet, VerdictPolicy
from zsgym.netlist import Device, Subcircuit, write_subcircuit

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Circuit:
    """A topology with its sizing parameters, conditions and specs. Immutable and picklable; made by `load_circuit`.

    A *sizing* is a mapping from every parameter name to a number in the parameter's declared unit (um, count, F, ohm,
    A). A *vector* holds the same numbers in the order of `parameters`. *Unit* values are what an action holds: each
    parameter's bounds mapped onto [-1, 1], linearly or logarithmically as the parameter declares.

    subcircuit is flat, and its expressions use the declared parameter names. targets are in SI units. asked: optional
    metrics of its class that are measured, too: those that its own targets name, or what `asking` was given.
    """

    name: str
    title: str
    circuit_class: CircuitClass
    source: str
    directory: Path
    netlist_path: Path
    netlist_text: str
    subcircuit: Subcircuit
    parameters: tuple[SizingParameter, ...]
    conditions: Conditions
    targets: Mapping[str, float]
    verdict_policies: Mapping[str, VerdictPolicy]
    known_good_designs: Mapping[str, KnownGood] = field(default_factory=dict)
    asked: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Circuit({self.name!r}, {len(self.devices)} devices, {len(self.parameters)} parameters)"

    @cached_property
    def metrics(self) -> MetricSet:
        """What it is measured by: the metrics of its class, and those optional ones that are asked for."""
        return self.circuit_class.metrics_with(self.asked)

    def asking(self, names: Iterable[str]) -> Circuit:
        """The same circuit, asked for the optional metrics among these names and for no other.

        :param names: of any metrics of its class, such as the targets in force; None of them has to be optional.
        :raises ConfigError: an unknown metric.
        """
        wanted = frozenset(names)
        for name in sorted(wanted):
            self.circuit_class.all_metrics.check_name(name)
        asked = tuple(name for name in self.circuit_class.optional_metrics.names if name in wanted)
        return self if asked == self.asked else replace(self, asked=asked)

    def judged_by(self, targets: Iterable[str]) -> Circuit:
        """The same circuit, asked for the optional metrics that have one of these targets.

        Those of its own targets that are not among them are asked for no longer; what `asking` was given, still is.

        :raises ConfigError: an unknown metric.
        """
        return self.asking((*targets, *(name for name in self.asked if name not in self.targets)))

    def resolve_targets(
        self, changes: Mapping[str, float | None] | None = None, base: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Complete targets, SI units, which may name optional metrics: see `MetricSet.resolve_targets`.

        :param changes: metric -> SI value; None as a value drops a spec. :param base: None means the circuit's own.
        """
        return self.circuit_class.all_metrics.resolve_targets(self.targets if base is None else base, changes)

    def closed_form(self, sizing: Sizing) -> dict[str, float]:
        """Those of the metrics it is asked for that follow from a complete sizing alone, SI units."""
        forms = self.circuit_class.closed_form
        return {name: forms[name](self.subcircuit, sizing) for name in self.asked if name in forms}

    @property
    def asked_of_simulators(self) -> tuple[str, ...]:
        """Those of the metrics it is asked for that have to be simulated."""
        return tuple(name for name in self.asked if name not in self.circuit_class.closed_form)

    def cases(
        self,
        sizings: Iterable[Sizing] | FloatArray,
        conditions: Conditions | Sequence[Conditions] | None = None,
    ) -> Cases:
        """What a simulator is asked: sizings under conditions.

        :param sizings: complete sizings, or an array (B, n) in declared units.
        :param conditions: of all, or one for each; None means the circuit's own.
        :raises ConfigError: a sizing lacks a parameter, has an unknown one, or holds a value that is not a positive
            finite number; or the conditions are those of another class.
        """
        return Cases.of(self, sizings, conditions)

    def policy(self, name: str) -> VerdictPolicy:
        """A verdict policy by its name. :raises ConfigError: the circuit has none of that name."""
        if name not in self.verdict_policies:
            known = did_you_mean(name, self.verdict_policies)
            raise ConfigError(f"{self.name} has no verdict policy {name!r}. {known}")
        return self.verdict_policies[name]

    @property
    def devices(self) -> tuple[Device, ...]:
        """Every device of the flat subcircuit."""
        return self.subcircuit.devices

    @cached_property
    def netlist_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical subcircuit: comments and layout do not change it."""
        return hashlib.sha256(write_subcircuit(self.subcircuit).lower().encode()).hexdigest()[:16]

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """Names in the order of vectors and actions."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def groups(self) -> dict[str, tuple[Device, ...]]:
        """Group -> the devices that one of its parameters sizes, in netlist order."""
        members = {}
        for group in dict.fromkeys(parameter.group for parameter in self.parameters):
            names = {parameter.name for parameter in self.parameters if parameter.group == group}
            members[group] = tuple(device for device in self.devices if device.names & names)
        return members

    @property
    def known_good(self) -> dict[str, dict[str, float]]:
        """Name -> a sizing that works; `known_good_designs` says at which supplies."""
        return {name: dict(design.sizing) for name, design in self.known_good_designs.items()}

    def validate(self, sizing: Mapping[str, float]) -> dict[str, float]:
        """The same sizing as plain floats, in the order of `parameters`. Nothing is completed, clipped or rounded.

        :raises ConfigError: parameters are missing or unknown, or a value is not a positive finite number.
        """
        if not isinstance(sizing, Mapping):
            raise ConfigError(f"{self.name}: a sizing is a mapping from parameter name to number, not {sizing!r:.80}")
        problems = unlike(sizing, self.parameter_names) if sizing.keys() != self._names else []
        for name in self.parameter_names:
            value = sizing.get(name, 1.0)
            if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
                problems.append(f"{name} must be a positive finite number, got {value!r}")
        if problems:
            raise ConfigError(f"{self.name}: " + "; ".join(problems))
        return {name: float(sizing[name]) for name in self.parameter_names}

    def vector(self, sizing: Mapping[str, float]) -> FloatArray:
        """A sizing as float64 values (n,) in declared units. Raises ConfigError as `validate` does."""
        return np.array(list(self.validate(sizing).values()), dtype=np.float64)

    def sizing(self, vector: ArrayLike) -> dict[str, float]:
        """The sizing that a vector (n,) in declared units holds. Raises ConfigError for a wrong length or value."""
        values = np.asarray(vector, dtype=np.float64)
        if values.shape != (len(self.parameters),):
            raise ConfigError(f"{self.name}: a vector of shape ({len(self.parameters)},) is needed, got {values.shape}")
        return self.validate(dict(zip(self.parameter_names, values.tolist(), strict=True)))

    def from_point(self, point: ArrayLike) -> FloatArray:
        """Values in declared units, inside the bounds, from points (..., n); counts come out rounded.

        Unit values outside [-1, 1] are clipped. A row of a batch comes out the same to the bit as alone.

        :raises ConfigError: the last axis has the wrong length, or a value is NaN.
        """
        points = self._checked(point)
        low, high = self._scaled_bounds
        scaled = low + (np.clip(points, -1.0, 1.0) + 1.0) / 2.0 * (high - low)
        values = np.where(self._is_log, rowwise(np.exp, np.where(self._is_log, scaled, 0.0)), scaled)
        values = np.where(self._is_integer, np.rint(values), values)
        # Rounding of exp(log(bound)) must not leave the bounds.
        return np.clip(values, *self.bounds)

    def to_point(self, values: ArrayLike) -> FloatArray:
        """Points from values (..., n) in declared units. Values outside the bounds come out outside [-1, 1].

        :raises ConfigError: the last axis has the wrong length, or a value is NaN or not positive on a log scale.
        """
        declared = self._checked(values)
        if np.any((declared <= 0) & self._is_log):
            raise ConfigError(f"{self.name}: values on a logarithmic scale must be positive")
        low, high = self._scaled_bounds
        scaled = np.where(self._is_log, np.log(np.where(self._is_log, declared, 1.0)), declared)
        return (scaled - low) / (high - low) * 2.0 - 1.0

    def from_published(self, published: Mapping[str, float]) -> dict[str, float]:
        """A sizing from the published names and units (`W_M0`, `Ib`, `C0` in pF, ...).

        :raises ConfigError: published names are missing or unknown, or the circuit has none.
        """
        aliases = {p.alias.name: p for p in self.parameters if p.alias is not None}
        if problems := unlike(published, aliases, "published parameter"):
            raise ConfigError(f"{self.name}: " + "; ".join(problems))
        return self.validate({p.name: published[a] / p.alias.factor for a, p in aliases.items() if p.alias})

    def to_published(self, sizing: Mapping[str, float]) -> dict[str, float]:
        """The sizing under its published names and units, in the order of `parameters`."""
        complete = self.validate(sizing)
        return {p.alias.name: complete[p.name] * p.alias.factor for p in self.parameters if p.alias is not None}

    @cached_property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lowest and highest values (n,) of an action, in declared units. Read-only arrays."""
        return _read_only([p.low for p in self.parameters]), _read_only([p.high for p in self.parameters])

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.parameter_names)

    @cached_property
    def _is_log(self) -> NDArray[np.bool_]:
        return np.array([parameter.scale == "log" for parameter in self.parameters])

    @cached_property
    def _is_integer(self) -> NDArray[np.bool_]:
        return np.array([parameter.integer for parameter in self.parameters])

    @cached_property
    def _scaled_bounds(self) -> tuple[FloatArray, FloatArray]:
        """The bounds, as logarithms where the scale is logarithmic."""
        low, high = self.bounds
        return np.where(self._is_log, np.log(low), low), np.where(self._is_log, np.log(high), high)

    def _checked(self, values: ArrayLike) -> FloatArray:
        array = np.asarray(values, dtype=np.float64)
        if array.shape[-1:] != (len(self.parameters),):
            raise ConfigError(f"{self.name}: the last axis must hold {len(self.parameters)} values, got {array.shape}")
        if np.isnan(array).any():
            culprit = self.parameter_names[int(np.argwhere(np.isnan(array))[0][-1])]
            raise ConfigError(f"{self.name}: {culprit} is NaN")
        return array


def _read_only(values: list[float]) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
