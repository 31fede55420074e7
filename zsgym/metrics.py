"""The eleven performance metrics: names, units, direction, and how the published sample format spells them.

Everything inside the project uses the canonical name and the SI unit given here. Conversion to the published format
(microwatts, microseconds, negative decibels for rejection ratios) happens only in the exporter, through
`Metric.published_value`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Better(StrEnum):
    """Which direction improves a metric."""

    LOW = "low"
    LOW_MAGNITUDE = "low magnitude"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Metric:
    """One performance figure of an operational amplifier.

    `published_name` and `published_factor` give the key and the multiplier from SI to the published sample format.
    """

    name: str
    unit: str
    better: Better
    title: str
    published_name: str
    published_factor: float = 1.0

    def magnitude(self, value: float) -> float:
        """The number that is compared with a target: the absolute value where only the magnitude matters."""
        return abs(value) if self.better is Better.LOW_MAGNITUDE else value

    def published_value(self, value: float) -> float:
        """An SI value in the unit and sign of the published sample format."""
        return value * self.published_factor


METRICS: tuple[Metric, ...] = (
    Metric("tc", "1/K", Better.LOW, "temperature coefficient of the output", "TC"),
    Metric("power", "W", Better.LOW, "supply power", "Power", 1e6),
    Metric("vos", "V", Better.LOW_MAGNITUDE, "input offset voltage", "vos"),
    Metric("cmrr", "dB", Better.HIGH, "common-mode rejection ratio", "cmrrdc", -1.0),
    Metric("dc_gain", "dB", Better.HIGH, "open-loop gain at 0.1 Hz", "dcgain"),
    Metric("gbw", "Hz", Better.HIGH, "gain-bandwidth product (unity-gain frequency)", "GBW"),
    Metric("phase_margin", "deg", Better.HIGH, "phase margin", "phase_margin (deg)"),
    Metric("psrr_p", "dB", Better.HIGH, "positive supply rejection ratio", "PSRP", -1.0),
    Metric("psrr_n", "dB", Better.HIGH, "negative supply rejection ratio", "PSRN", -1.0),
    Metric("slew_rate", "V/s", Better.HIGH, "slew rate (slower edge)", "sr"),
    Metric("settling_time", "s", Better.LOW, "settling time (slower edge)", "setting_time", 1e6),
)

METRIC_NAMES: tuple[str, ...] = tuple(metric.name for metric in METRICS)
METRIC_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
