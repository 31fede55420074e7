"""When an operational amplifier works. Raw measurements (SI units) that are judged here:

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

from typing import Literal

from pydantic import Field

from zsgym.classes.amplifier.metrics import METRICS
from zsgym.classes.verdict import Check, Failure, Grade, Limit, VerdictPolicy

MAX_DC_PHASE = 90.0
"""Degrees; a gain whose phase at 0.1 Hz lies further from zero has the wrong polarity."""
_POSITIVE = ("power", "gbw", "slew_rate", "settling_time")
_OF_THE_STEP = ("slew_rate", "settling_time")


class AmplifierPolicy(VerdictPolicy):
    """Thresholds that separate a working amplifier from a failure.

    judge: `functional` asks whether the amplifier works; `measured` only whether the simulator returned every number
    that it was asked for, which is the published notion of success.
    """

    judge: Literal["functional", "measured"] = "functional"
    max_output_error_v: float = Field(0.05, gt=0, description="V; beyond it the output is railed in unity feedback")
    min_branch_current_a: float = Field(1e-12, ge=0, description="A; below it a transistor carries no current")
    max_pole_real: float = Field(0.0, description="rad/s; beyond it the closed loop is unstable")
    max_ringing: float = Field(0.01, gt=0, description="fraction of the step left as swing at the end of a half-period")
    max_static_error: float = Field(0.01, gt=0, description="fraction of the ideal output level")
    settling_band: float = Field(0.01, gt=0, lt=1, description="fraction of the final output level")


def checks(policy: AmplifierPolicy) -> tuple[Check, ...]:
    """What an amplifier must fulfil under a policy, in order."""
    converges = Check(
        Failure.NO_CONVERGENCE, Limit("every analysis converges", "converged", at_least=1.0, unit="flag"), 24.0
    )
    return (converges, *(_functional(policy) if policy.judge == "functional" else _measured()))


def _functional(policy: AmplifierPolicy) -> tuple[Check, ...]:
    """Earlier misses are worse, and within a reason those with the larger error, which leads a search to what works."""
    return (
        *_graded(
            Failure.OPERATING_POINT,
            (18.0, Grade("output_error", 0.0, 1.8, 6.0)),
            Limit("error of the output level", "output_error", at_most=policy.max_output_error_v, unit="V"),
            Limit("smallest drain current", "min_device_current", at_least=policy.min_branch_current_a, unit="A"),
        ),
        *_graded(
            Failure.NO_GAIN,
            (15.0, Grade("dc_gain", 100.0, 0.0, 2.0)),
            Limit("the gain crosses 0 dB", "gbw", unit="Hz", made="unity_crossings"),
            Limit("phase at 0.1 Hz", "dc_phase", at_most=MAX_DC_PHASE, magnitude=True, unit="deg"),
        ),
        *_graded(
            Failure.UNSTABLE,
            (3.0, Grade("max_pole_real", 0.0, 10.0, 10.0, logarithmic=True)),
            Limit("rightmost closed-loop pole", "max_pole_real", at_most=policy.max_pole_real, unit="rad/s"),
            Limit("step response within the bound on time points", "transient_complete", at_least=1.0, unit="flag"),
            Limit("swing left at the end of a half-period", "ringing", at_most=policy.max_ringing, unit="share"),
        ),
        *_graded(
            Failure.UNSETTLED,
            (1.0, Grade("static_error", 0.0, 1.0, 2.0)),
            Limit("the step response settles", "settling_time", unit="s", made="ringing"),
            Limit("error of the settled level", "static_error", at_most=policy.max_static_error, unit="share"),
        ),
        *(
            Check(
                Failure.UNPHYSICAL,
                Limit(
                    metric.title,
                    metric.name,
                    finite=True,
                    above=0.0 if metric.name in _POSITIVE else None,
                    unit=metric.unit,
                    made="ringing",
                ),
            )
            for metric in METRICS
        ),
    )


def _graded(failure: str, badness: tuple[float, Grade], *limits: Limit) -> list[Check]:
    return [Check(failure, limit, *badness) for limit in limits]


def _measured() -> tuple[Check, ...]:
    """Every number that was asked for is there. Under the functional policy no step response is asked for once small
    signals have shown an amplifier to be unstable; a row of that kind is judged by the rest."""
    crosses = Check(
        Failure.NO_GAIN, Limit("the gain crosses 0 dB", "gbw", unit="Hz", made="unity_crossings"), penalty=15.0
    )
    numbers = (
        Limit(
            metric.title,
            metric.name,
            unit=metric.unit,
            made="transient_points" if metric.name in _OF_THE_STEP else "converged",
            optional=metric.name in _OF_THE_STEP,
        )
        for metric in METRICS
    )
    return (crosses, *(Check(Failure.UNPHYSICAL, limit) for limit in numbers))
