"""The numbers of `plain_deck.spice`: an amplifier's testbench in ngspice's own words, and its `meas` statements.

It shares nothing with the fast backend but the definitions of the metrics, so that what it prints is an independent
check of an outcome.
"""

from zsgym.classes.amplifier.conditions import AmplifierConditions
from zsgym.classes.amplifier.measurements import SUPPLY_TEMPERATURE, TEMPERATURES
from zsgym.classes.amplifier.testbench import MAX_TIME_STEP, PUBLISHED_TEMPERATURE, input_step
from zsgym.classes.amplifier.verdict import AmplifierPolicy


def numbers(conditions: AmplifierConditions, policy: AmplifierPolicy) -> dict[str, float]:
    """Name in the text -> value, SI and degrees Celsius."""
    published = conditions.temperature == PUBLISHED_TEMPERATURE
    step = input_step(conditions)
    room = SUPPLY_TEMPERATURE if published else conditions.temperature
    return {
        "supply": conditions.supply,
        "temperature": conditions.temperature,
        "load": conditions.load,
        "common_mode": conditions.common_mode,
        "room": room,
        "below_room": room - 2.0,
        "coldest": TEMPERATURES[0],
        "hottest": TEMPERATURES[-1],
        "max_time_step": MAX_TIME_STEP,
        "low": step.low,
        "high": step.high,
        "rise": step.rise,
        "fall": step.fall,
        "end": step.end,
        "width": step.fall - step.rise,
        "middle": (step.low + step.high) / 2.0,
        "half_step": (step.high - step.low) / 2.0,
        "before_fall": step.fall - 1e-12,
        "before_end": step.end - 1e-12,
        "band_up": policy.settling_band * step.high,
        "band_down": policy.settling_band * step.low,
    }
