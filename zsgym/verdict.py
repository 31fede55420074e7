"""The verdict: does an amplifier with these measurements work, and if not, what is the first reason?

A verdict is a pure function of stored raw measurements and of a policy, so that every label can be recomputed under
other thresholds without simulating again. Raw measurements (SI units) that are judged here:

================== ==================================================================================================
converged          1.0 when every analysis that was run converged, else 0.0
output_error       |output - common mode| in unity feedback, V
min_device_current smallest drain current magnitude of all transistors, A
dc_gain            gain magnitude at 0.1 Hz, dB
dc_phase           phase of the gain at 0.1 Hz, degrees (0 is the right polarity)
gbw                first unity-gain frequency, Hz; None when the gain never crosses 0 dB
max_pole_real      largest real part of the closed-loop poles, rad/s
transient_complete 1.0 when the step response ran to its end within the bound on time points, 0.0 when it was cut short
ringing            residual peak-to-peak swing at the end of a half-period, as a fraction of the step (worse edge)
static_error       |settled output - ideal output| / ideal output (worse edge)
settling_time      s; None when the output does not settle
================== ==================================================================================================
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Failure

Raw = Mapping[str, float | None]


class VerdictPolicy(BaseModel):
    """Thresholds that separate a working amplifier from a failure.

    judge: `functional` asks whether the amplifier works; `measured` only whether the simulator returned every number
    that it was asked for, which is the published notion of success.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    judge: Literal["functional", "measured"] = "functional"
    max_output_error_v: float = Field(0.05, gt=0, description="V; beyond it the output is railed in unity feedback")
    min_branch_current_a: float = Field(1e-12, ge=0, description="A; below it a transistor carries no current")
    max_pole_real: float = Field(0.0, description="rad/s; beyond it the closed loop is unstable")
    max_ringing: float = Field(0.01, gt=0, description="fraction of the step left as swing at the end of a half-period")
    max_static_error: float = Field(0.01, gt=0, description="fraction of the ideal output level")
    settling_band: float = Field(0.01, gt=0, lt=1, description="fraction of the final output level")


def judge(raw: Raw, policy: VerdictPolicy) -> Failure | None:
    """The first reason for which the amplifier does not work, or None when it works.

    Geometry is not judged here: a sizing outside the model bins has no measurements at all.
    """
    reasons = _functional(raw, policy) if policy.judge == "functional" else _measured(raw)
    return next(reasons, None)


def metrics_of(raw: Raw) -> dict[str, float]:
    """The eleven metrics of a working amplifier. KeyError or TypeError here would be a fault of the verdict."""
    return {name: float(raw[name]) for name in METRIC_NAMES}  # type: ignore[arg-type]


def _functional(raw: Raw, policy: VerdictPolicy) -> Iterator[Failure]:
    if raw.get("converged") != 1.0:
        yield Failure.NO_CONVERGENCE
    if _above(raw, "output_error", policy.max_output_error_v):
        yield Failure.OPERATING_POINT
    current, phase = raw.get("min_device_current"), raw.get("dc_phase")
    if current is None or not current >= policy.min_branch_current_a:
        yield Failure.OPERATING_POINT
    if raw.get("gbw") is None or phase is None or not abs(phase) <= 90.0:
        yield Failure.NO_GAIN
    if _above(raw, "max_pole_real", policy.max_pole_real):
        yield Failure.UNSTABLE
    if raw.get("transient_complete") != 1.0 or _above(raw, "ringing", policy.max_ringing):
        yield Failure.UNSTABLE
    if raw.get("settling_time") is None or _above(raw, "static_error", policy.max_static_error):
        yield Failure.UNSETTLED
    yield from _unphysical(raw)


def _measured(raw: Raw) -> Iterator[Failure]:
    """Every number that was asked for is there. Under the functional policy no step response is asked for once small
    signals have shown an amplifier to be unstable; a row of that kind is judged by the rest."""
    if raw.get("converged") != 1.0:
        yield Failure.NO_CONVERGENCE
    if raw.get("gbw") is None:
        yield Failure.NO_GAIN
    not_asked = () if "transient_points" in raw else ("slew_rate", "settling_time")
    if any(raw.get(name) is None for name in METRIC_NAMES if name not in not_asked):
        yield Failure.UNPHYSICAL


def _unphysical(raw: Raw) -> Iterator[Failure]:
    values = [raw.get(name) for name in METRIC_NAMES]
    positive = [raw.get(name) or 0.0 for name in ("power", "gbw", "slew_rate", "settling_time")]
    if any(value is None or not math.isfinite(value) for value in values) or min(positive) <= 0.0:
        yield Failure.UNPHYSICAL


def _above(raw: Raw, name: str, limit: float) -> bool:
    """Whether a measurement exceeds its limit; one that was not made, or is NaN, does not pass."""
    value = raw.get(name)
    return value is None or not value <= limit
