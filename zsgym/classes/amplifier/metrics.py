"""The eleven performance metrics of an operational amplifier, as the published sample format has them.

Observation scales are wider than the 5 % to 95 % range of random working SKY130 amplifiers by more than a decade (or
30 dB).
"""

from zsgym.classes.metrics import Better, Metric, MetricSet, Scale

_DECIBELS = Scale(0.0, 160.0)
_RATES = Scale(1e3, 1e9, logarithmic=True)

METRICS = MetricSet(
    (
        Metric(
            "tc",
            "1/K",
            Better.LOW,
            "temperature coefficient of the output",
            Scale(1e-8, 1e-2, logarithmic=True),
            "TC",
        ),
        Metric("power", "W", Better.LOW, "supply power", Scale(1e-6, 1e-1, logarithmic=True), "Power", 1e6),
        Metric("vos", "V", Better.LOW_MAGNITUDE, "input offset voltage", Scale(1e-7, 1e0, logarithmic=True), "vos"),
        Metric("cmrr", "dB", Better.HIGH, "common-mode rejection ratio", _DECIBELS, "cmrrdc", -1.0),
        Metric("dc_gain", "dB", Better.HIGH, "open-loop gain at 0.1 Hz", _DECIBELS, "dcgain"),
        Metric("gbw", "Hz", Better.HIGH, "gain-bandwidth product (unity-gain frequency)", _RATES, "GBW"),
        Metric("phase_margin", "deg", Better.HIGH, "phase margin", Scale(0.0, 180.0), "phase_margin (deg)"),
        Metric("psrr_p", "dB", Better.HIGH, "positive supply rejection ratio", _DECIBELS, "PSRP", -1.0),
        Metric("psrr_n", "dB", Better.HIGH, "negative supply rejection ratio", _DECIBELS, "PSRN", -1.0),
        Metric("slew_rate", "V/s", Better.HIGH, "slew rate (slower edge)", _RATES, "sr"),
        Metric(
            "settling_time",
            "s",
            Better.LOW,
            "settling time (slower edge)",
            Scale(1e-9, 1e-3, logarithmic=True),
            "setting_time",
            1e6,
        ),
    )
)
