"""What a circuit's YAML file may hold, and the sizing parameters that it declares.

The file states bounds once per quantity (all widths, all capacitors, ...) and overrides them where one parameter
differs; `CircuitFile.sizing_parameters` gives the complete list, one explicit `SizingParameter` each. Everything is in
the declared unit: micrometres and counts for transistors, F, ohm and A for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    InstanceOf,
    PlainValidator,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from zsgym.base.errors import ConfigError
from zsgym.base.problems import SectionError, describe, did_you_mean
from zsgym.classes import CircuitClass, Conditions, VerdictPolicy, find_class
from zsgym.netlist import DeviceKind

Quantity = Literal["W", "L", "M", "value"]
Unit = Literal["um", "count", "F", "ohm", "A"]
Scale = Literal["linear", "log"]
QuantityName = Literal["W", "L", "M", "capacitance", "resistance", "current"]
DeviceClass = Literal["transistor", "capacitor", "resistor", "current_source"]

UNITS: dict[QuantityName, Unit] = {
    "W": "um",
    "L": "um",
    "M": "count",
    "capacitance": "F",
    "resistance": "ohm",
    "current": "A",
}
QUANTITIES: dict[DeviceClass, tuple[QuantityName, ...]] = {
    "transistor": ("W", "L", "M"),
    "capacitor": ("capacitance",),
    "resistor": ("resistance",),
    "current_source": ("current",),
}
KINDS: dict[DeviceClass, tuple[DeviceKind, ...]] = {
    "transistor": ("nmos", "pmos"),
    "capacitor": ("capacitor",),
    "resistor": ("resistor",),
    "current_source": ("isource",),
}
"""Which netlist devices a group of each class may size."""

DEFAULT_VERDICT = "functional"


class StrictModel(BaseModel):
    """Immutable, and without room for keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0 < bounds[0] < bounds[1]:
        raise ValueError(f"bounds must be [low, high] with 0 < low < high, got [{bounds[0]:g}, {bounds[1]:g}]")
    return bounds


Bounds = Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_ordered)]


def _known_class(given: object) -> CircuitClass:
    return given if isinstance(given, CircuitClass) else find_class(str(given))


def _of_class(part: Literal["conditions", "policy"]) -> Callable[[Any, ValidationInfo], Any]:
    """Reads a section of a circuit file by the model that the circuit's class has for it, whose defaults apply."""

    def read(content: object, info: ValidationInfo) -> object:
        circuit_class = info.data.get("circuit_class")
        if circuit_class is None:
            return content  # the class itself is reported; nothing more can be said
        model: type[BaseModel] = getattr(circuit_class, part)
        try:
            return model.model_validate(content)
        except ValidationError as error:
            raise SectionError(describe(error, model)) from error

    return read


class Alias(StrictModel):
    """How a parameter is called in the published configuration: published value = our value * factor."""

    name: str
    factor: PositiveFloat = 1.0


class SizingParameter(StrictModel):
    """One number that sizes the circuit.

    low, high: bounds of an action, in `unit`. uniform_bounds, log_bounds: where the generators of the same name draw,
    inside the bounds. scale: how an action in [-1, 1] maps onto the bounds. integer: actions and samples are rounded.
    """

    name: str
    group: str
    quantity: Quantity
    unit: Unit
    low: float
    high: float
    uniform_bounds: Bounds
    log_bounds: Bounds
    scale: Scale
    integer: bool
    alias: Alias | None = None

    @model_validator(mode="after")
    def _draws_inside_bounds(self) -> Self:
        for drawn, (low, high) in (("uniform", self.uniform_bounds), ("logarithmic", self.log_bounds)):
            if low < self.low or high > self.high:
                raise ValueError(f"{drawn} [{low:g}, {high:g}] reaches outside bounds [{self.low:g}, {self.high:g}]")
        edges = (self.low, self.high, *self.uniform_bounds, *self.log_bounds)
        if self.integer and not all(edge.is_integer() for edge in edges):
            raise ValueError(f"bounds of a count must be whole numbers, got {', '.join(f'{edge:g}' for edge in edges)}")
        return self


class RangeFile(StrictModel):
    """Bounds and scale. Keys that are left out come from the quantity, or from `bounds` for the sampling ranges."""

    bounds: Bounds | None = None
    uniform: Bounds | None = None
    logarithmic: Bounds | None = None
    scale: Scale | None = None


class QuantityFile(RangeFile):
    """What all parameters of a quantity have in common."""

    unit: Unit
    bounds: Bounds
    scale: Scale
    published_factor: PositiveFloat = 1.0


class GroupFile(StrictModel):
    """Devices that share a size. `sizes` restricts a transistor group to some of W, L and M."""

    device: DeviceClass
    alias: str | None = None
    sizes: tuple[Literal["W", "L", "M"], ...] = ("W", "L", "M")

    @property
    def quantities(self) -> tuple[QuantityName, ...]:
        """The quantities that this group is sized by."""
        return self.sizes if self.device == "transistor" else QUANTITIES[self.device]


class KnownGood(StrictModel):
    """A sizing that was simulated and works, with the supplies (V) at which that was verified."""

    description: str
    supplies: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    sizing: dict[str, FiniteFloat]


def _net_name(given: object) -> object:
    """YAML reads the net `0` as a number."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _with_the_default(given: object) -> object:
    """The policies of a file, and the default one where it states none of that name."""
    return {DEFAULT_VERDICT: {}, **given} if isinstance(given, dict) else given


class CircuitFile(StrictModel):
    """A circuit's YAML file as it stands. `netlist` is relative to the file; `subcircuit` defaults to its only one.

    ports: port of the class -> net of the netlist, where the two have different names. conditions, verdict: what is
    left out, or the whole section, has the default of the class.
    """

    title: str
    circuit_class: Annotated[InstanceOf[CircuitClass], BeforeValidator(_known_class)] = Field(alias="class")
    source: str
    netlist: str
    subcircuit: str | None = None
    ports: dict[str, Annotated[str, BeforeValidator(_net_name)]] = {}
    quantities: dict[QuantityName, QuantityFile]
    groups: Annotated[dict[str, GroupFile], Field(min_length=1)]
    parameters: dict[str, RangeFile] = {}
    conditions: Annotated[Conditions, PlainValidator(_of_class("conditions"))] = Field(
        default_factory=dict, validate_default=True
    )
    targets: Annotated[dict[str, FiniteFloat], Field(min_length=1)]
    verdict: Annotated[
        dict[str, Annotated[VerdictPolicy, PlainValidator(_of_class("policy"))]], BeforeValidator(_with_the_default)
    ] = Field(default_factory=dict, validate_default=True)
    known_good: dict[str, KnownGood] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            f"quantities.{name}.unit: {quantity.unit!r} does not fit; the unit of {name} is {UNITS[name]!r}"
            for name, quantity in self.quantities.items()
            if quantity.unit != UNITS[name]
        ]
        for group, entry in self.groups.items():
            problems += [
                f"quantities.{quantity}: this key is required by group {group!r}"
                for quantity in entry.quantities
                if quantity not in self.quantities
            ]
        problems += self._target_problems()
        if not problems:
            _, problems = self._sizing_parameters()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _target_problems(self) -> list[str]:
        problems = []
        for name in self.targets:
            try:
                self.circuit_class.all_metrics.check_name(name)
            except ConfigError as error:
                problems.append(f"targets.{name}: {error}")
        return problems

    def sizing_parameters(self) -> tuple[SizingParameter, ...]:
        """Every sizing parameter, complete, in the order of the groups."""
        return tuple(self._sizing_parameters()[0])

    def _sizing_parameters(self) -> tuple[list[SizingParameter], list[str]]:
        """The parameters that can be made, and what is wrong with the others."""
        parameters: list[SizingParameter] = []
        problems: list[str] = []
        for group, entry in self.groups.items():
            for quantity in entry.quantities:
                try:
                    parameters.append(self._parameter(group, entry, quantity))
                except ValidationError as error:
                    where = f"parameters.{parameter_name(group, quantity)}"
                    problems += [f"{where}: {line}" for line in describe(error, SizingParameter)]
        names = [parameter.name for parameter in parameters]
        if not problems:
            unknown = [name for name in self.parameters if name not in names]
            problems += [f"parameters.{name}: unknown parameter. {did_you_mean(name, names)}" for name in unknown]
        aliases = [parameter.alias.name for parameter in parameters if parameter.alias]
        problems += [
            f"groups: the alias of {name!r} is used twice" for name in {n for n in aliases if aliases.count(n) > 1}
        ]
        return parameters, problems

    def _parameter(self, group: str, entry: GroupFile, quantity: QuantityName) -> SizingParameter:
        shared = self.quantities[quantity]
        own = self.parameters.get(parameter_name(group, quantity), RangeFile())
        bounds = own.bounds or shared.bounds
        # A parameter with bounds of its own does not inherit ranges that were meant for the others' bounds.
        inherited = RangeFile() if own.bounds else shared
        alias = None
        if entry.alias is not None:
            alias = Alias(name=parameter_name(entry.alias, quantity), factor=shared.published_factor)
        return SizingParameter(
            name=parameter_name(group, quantity),
            group=group,
            quantity=quantity if quantity in ("W", "L", "M") else "value",
            unit=shared.unit,
            low=bounds[0],
            high=bounds[1],
            uniform_bounds=own.uniform or inherited.uniform or bounds,
            log_bounds=own.logarithmic or inherited.logarithmic or bounds,
            scale=own.scale or shared.scale,
            integer=quantity == "M",
            alias=alias,
        )


def parameter_name(group: str, quantity: QuantityName) -> str:
    """`W_gm3` for a transistor's quantity, the group itself for a passive or a source."""
    return f"{quantity}_{group}" if quantity in QUANTITIES["transistor"] else group
