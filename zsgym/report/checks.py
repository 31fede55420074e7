"""The verdict taken apart: what was judged, against which threshold, and which reason each miss stands for."""

from __future__ import annotations

from collections.abc import Iterator

from zsgym.outcome import Failure
from zsgym.report.markup import html_table
from zsgym.report.typography import MISSING, printed
from zsgym.verdict import Raw, VerdictPolicy


def checks_table(raw: Raw, policy: VerdictPolicy) -> str:
    """One row for each check of the functional verdict, in the order in which reasons are tested.

    A measurement that was not made is no miss here: simulation stops early once the verdict is known.
    """
    headers = [("check", ""), ("measured", "n"), ("limit", "n"), ("", ""), ("a miss means", "")]
    rows = []
    for failure, name, measured, limit, passed in _checks(raw, policy):
        told = {True: '<span class="yes">passed</span>', False: '<span class="no">missed</span>', None: "not reached"}
        rows.append([name, measured, limit, told[passed], str(failure).replace("_", " ")])
    return html_table(headers, rows, "checks")


def missed_checks(raw: Raw, policy: VerdictPolicy) -> list[str]:
    """The missed checks in words, such as `error of the output level: 312 mV, limit ≤ 50 mV`."""
    return [
        f"{name}: {measured}" + (f", limit {limit}" if limit else "")
        for _, name, measured, limit, passed in _checks(raw, policy)
        if passed is False
    ]


def _checks(raw: Raw, policy: VerdictPolicy) -> Iterator[tuple[Failure, str, str, str, bool | None]]:
    """Reason, name, measured value, limit and whether it was kept, for each check."""
    converged, complete = raw.get("converged"), raw.get("transient_complete")
    gbw, phase = raw.get("gbw"), raw.get("dc_phase")
    yes = {1.0: "yes", 0.0: "no", None: MISSING}
    small_signals = "unity_crossings" in raw
    yield Failure.NO_CONVERGENCE, "every analysis converges", yes[converged], "yes", _at_least(converged, 1.0)
    yield _limited(
        raw, Failure.OPERATING_POINT, "error of the output level", "output_error", policy.max_output_error_v, "V"
    )
    current, least = raw.get("min_device_current"), policy.min_branch_current_a
    yield (
        Failure.OPERATING_POINT,
        "smallest drain current",
        printed(current, "A"),
        f"≥ {printed(least, 'A')}",
        _at_least(current, least),
    )
    crosses = gbw is not None if small_signals else None
    yield Failure.NO_GAIN, "the gain crosses 0 dB", printed(gbw, "Hz"), "", crosses
    polarity = None if phase is None else abs(phase) <= 90.0
    yield Failure.NO_GAIN, "phase at 0.1 Hz", printed(phase, "deg"), "within ±90°", polarity
    yield _limited(raw, Failure.UNSTABLE, "rightmost closed-loop pole", "max_pole_real", policy.max_pole_real, "rad/s")
    yield (
        Failure.UNSTABLE,
        "step response within the bound on time points",
        yes[complete],
        "yes",
        _at_least(complete, 1.0),
    )
    yield _limited(raw, Failure.UNSTABLE, "swing left at the end of a half-period", "ringing", policy.max_ringing, "")
    settled = raw.get("settling_time")
    settles = settled is not None if complete == 1.0 else None
    yield Failure.UNSETTLED, "the step response settles", printed(settled, "s"), "", settles
    yield _limited(raw, Failure.UNSETTLED, "error of the settled level", "static_error", policy.max_static_error, "")


def _limited(
    raw: Raw, failure: Failure, name: str, key: str, limit: float, unit: str
) -> tuple[Failure, str, str, str, bool | None]:
    """A check that a measurement does not exceed its limit."""
    value = raw.get(key)
    if unit:
        return failure, name, printed(value, unit), f"≤ {printed(limit, unit)}", _at_least(limit, value)
    share = MISSING if value is None else f"{100.0 * value:.3g} %"
    return failure, name, share, f"≤ {100.0 * limit:g} %", _at_least(limit, value)


def _at_least(larger: float | None, smaller: float | None) -> bool | None:
    return None if larger is None or smaller is None else larger >= smaller
