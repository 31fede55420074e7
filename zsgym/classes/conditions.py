"""The conditions that a circuit is asked about: process corner, supply, temperature, and what its class adds.

Validated here, once, for YAML files, environments and the command line alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from zsgym.base.errors import ConfigError
from zsgym.base.problems import describe
from zsgym.base.quantities import quantity
from zsgym.base.typography import printed

Corner = Literal["tt", "ff", "ss", "sf", "fs"]
"""SKY130 process corners: typical, fast, slow, and the two that set one kind of transistor against the other."""


class Conditions(BaseModel):
    """What every class of circuits can be asked under. A class that needs more derives its own from it.

    corner: SKY130 process corner. supply: V. temperature: degrees Celsius. The limits lie far outside what the models
    are made for, and just inside what ngspice still answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    before_stored: ClassVar[Mapping[str, float | str]] = {}
    """Conditions that a class got when rows of it had been stored already, with what they were in those rows."""

    corner: Annotated[Corner, Field(description="process corner")] = "tt"
    supply: Annotated[
        FiniteFloat, Field(ge=0.5, le=5.0, description="supply voltage in volts", json_schema_extra={"unit": "V"})
    ] = 1.8
    temperature: Annotated[
        FiniteFloat,
        Field(ge=-55.0, le=175.0, description="temperature in degrees Celsius", json_schema_extra={"unit": "C"}),
    ] = 27.0

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed.

        :raises ConfigError: an unknown condition, or a value outside its limits; the message names the valid ones.
        """
        return self.read({name: getattr(self, name) for name in type(self).model_fields} | changes)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Conditions from plain values, as YAML, JSON or a keyword argument hold them. Raises as `replace` does."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError("; ".join(f"conditions.{line}" for line in describe(error, cls))) from error

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for logs and JSON: a condition that follows others has the value that it comes to."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def __eq__(self, other: object) -> bool:
        """Equal are conditions of one class under which the same is simulated, stated or followed."""
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    @classmethod
    def of_row(cls, values: Mapping[str, float | str]) -> dict[str, float | str]:
        """All conditions of a stored row, which may be older than some of them: see `before_stored`."""
        return {**values, **{name: value for name, value in cls.before_stored.items() if name not in values}}

    @classmethod
    def identity(cls, values: Mapping[str, float | str]) -> dict[str, float | str]:
        """Those that tell rows apart. One that has its value of `before_stored` does not: older rows keep their ids."""
        return {name: value for name, value in values.items() if cls.before_stored.get(name) != value}

    def in_words(self) -> str:
        """All of them, as a report states them."""
        own = [name for name in type(self).model_fields if name not in Conditions.model_fields]
        return ", ".join([*self._shared_in_words(), *(_in_words(self, [name]) for name in own)])

    def _shared_in_words(self) -> list[str]:
        return [f"corner {self.corner}", f"{self.supply:g} V", f"{printed(self.temperature)} °C"]

    @classmethod
    def unit(cls, name: str) -> str:
        """Unit of a condition; empty for one that has none, such as the corner."""
        extra = cls.model_fields[name].json_schema_extra
        return str(extra.get("unit", "")) if isinstance(extra, dict) else ""

    @classmethod
    def help(cls, name: str) -> str:
        """What a condition is and which values it takes, in a line."""
        field = cls.model_fields[name]
        if get_origin(field.annotation) is Literal:
            choices = get_args(field.annotation)
            return f"{field.description}: {', '.join(map(str, choices))}"
        limits = {type(limit).__name__: limit for limit in field.metadata}
        low, high = limits.get("Ge"), limits.get("Le")
        bounds = f", {low.ge:g} to {high.le:g}" if low and high else ""
        return f"{field.description}{bounds}"

    def differences(self, other: Conditions) -> tuple[str, str]:
        """Those in which the two differ, as people read them: these ones, then the others.

        >>> Conditions().differences(Conditions(corner="ss", supply=1.62))
        ('corner tt, supply 1.8 V', 'corner ss, supply 1.62 V')
        """
        others = other.as_dict()
        names = [name for name, value in self.as_dict().items() if value != others.get(name)]
        return _in_words(self, names), _in_words(other, names)


def _in_words(conditions: Conditions, names: list[str]) -> str:
    parts, values = [], conditions.as_dict()
    for name in names:
        value = values.get(name)
        text = value if value is None or isinstance(value, str) else quantity(value, conditions.unit(name))
        parts.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(parts)
