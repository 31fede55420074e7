"""Under which conditions an amplifier is asked."""

from typing import Annotated

from pydantic import Field, FiniteFloat

from zsgym.base.typography import printed
from zsgym.classes.conditions import Conditions


class AmplifierConditions(Conditions):
    """Corner, supply (V), temperature (degrees Celsius), load and input common mode; defaults as published.

    load: capacitance from output to ground, F; 0 for none. common_mode_ratio: input common-mode voltage divided by the
    supply.
    """

    load: Annotated[
        FiniteFloat, Field(ge=0.0, le=1e-3, description="load capacitance in farads", json_schema_extra={"unit": "F"})
    ] = 10e-12
    common_mode_ratio: Annotated[
        FiniteFloat, Field(ge=0.0, le=1.0, description="input common mode divided by the supply")
    ] = 0.4

    def in_words(self) -> str:
        """See `Conditions.in_words`."""
        own = f"load {printed(self.load, 'F')}", f"input common mode {self.common_mode:g} V"
        return ", ".join([*self._shared_in_words(), *own])

    @property
    def common_mode(self) -> float:
        """Input common-mode voltage in volts."""
        return self.supply * self.common_mode_ratio
