"""Under which conditions an amplifier is asked."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, FiniteFloat, model_validator

from zsgym.base.typography import printed
from zsgym.classes.conditions import Conditions

HALF_STEP = 0.1
"""V: how far the levels of the step response lie from the common mode, where they are not stated. The published step
is as high, 0.2 V."""
SMALLEST_STEP = 0.01
"""V: the half-way point of a smaller one is where an offset of a few millivolts puts it."""


class AmplifierConditions(Conditions):
    """Corner, supply (V), temperature (degrees Celsius), load, input common mode and levels of the step response.

    load: capacitance from output to ground, F; 0 for none. common_mode_ratio: input common-mode voltage divided by the
    supply. step_low, step_high: levels of the input in the step response, V; None for 0.1 V below and above the common
    mode, which they follow then. Defaults as published, but for the levels: they are 0.3 V and 0.5 V in the published
    testbench, far below its common mode of 0.72 V.
    """

    before_stored: ClassVar[Mapping[str, float | str]] = {"step_low": 0.3, "step_high": 0.5}

    load: Annotated[
        FiniteFloat, Field(ge=0.0, le=1e-3, description="load capacitance in farads", json_schema_extra={"unit": "F"})
    ] = 10e-12
    common_mode_ratio: Annotated[
        FiniteFloat, Field(ge=0.0, le=1.0, description="input common mode divided by the supply")
    ] = 0.4
    step_low: Annotated[
        FiniteFloat | None,
        Field(ge=0.0, le=5.0, description="lower level of the step response in volts", json_schema_extra={"unit": "V"}),
    ] = None
    step_high: Annotated[
        FiniteFloat | None,
        Field(ge=0.0, le=5.0, description="upper level of the step response in volts", json_schema_extra={"unit": "V"}),
    ] = None

    @model_validator(mode="after")
    def _step_fits(self) -> Self:
        """Errors and bands are fractions of the levels, so that none can be zero."""
        low, high = self.step_levels
        problem = ""
        if low <= 0.0:
            problem = f"step_low: must lie above ground, got {low:g} V"
        elif high > self.supply:
            problem = f"step_high: must not lie above the supply of {self.supply:g} V, got {high:g} V"
        elif high - low < SMALLEST_STEP * (1.0 - 1e-9):
            problem = f"step_high: must lie {SMALLEST_STEP:g} V or more above step_low, {low:g} V; got {high:g} V"
        if problem and None in (self.step_low, self.step_high):
            problem += (
                f". A level that is not stated lies {HALF_STEP:g} V from the common mode, which is "
                f"{self.common_mode:g} V: state both, or move the common mode"
            )
        if problem:
            raise ValueError(problem)
        return self

    def as_dict(self) -> dict[str, Any]:
        """See `Conditions.as_dict`."""
        low, high = self.step_levels
        return super().as_dict() | {"step_low": low, "step_high": high}

    def in_words(self) -> str:
        """See `Conditions.in_words`."""
        low, high = self.step_levels
        own = (
            f"load {printed(self.load, 'F')}",
            f"input common mode {self.common_mode:g} V",
            f"step {low:g} V to {high:g} V",
        )
        return ", ".join([*self._shared_in_words(), *own])

    @property
    def common_mode(self) -> float:
        """Input common-mode voltage in volts."""
        return self.supply * self.common_mode_ratio

    @property
    def step_levels(self) -> tuple[float, float]:
        """Lower and upper level of the input in the step response, V."""
        low, high = self.step_low, self.step_high
        return (
            self.common_mode - HALF_STEP if low is None else low,
            self.common_mode + HALF_STEP if high is None else high,
        )
