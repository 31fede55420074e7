"""The verdict taken apart: what was judged, against which threshold, and which reason each miss stands for."""

from __future__ import annotations

from collections.abc import Iterable

from zsgym.base.typography import MISSING, typeset
from zsgym.classes.verdict import Check, Raw
from zsgym.report.markup import html_table


def checks_table(raw: Raw, checks: Iterable[Check]) -> str:
    """One row for each check, in the order in which reasons are tested.

    A measurement that was not made is not a miss here: simulation stops early once the verdict is known.
    """
    headers = [("check", ""), ("measured", "n named"), ("limit", "n named"), ("", ""), ("a miss means", "named")]
    rows = []
    for check in checks:
        limit = check.limit
        state = {True: '<span class="yes">passed</span>', False: '<span class="no">missed</span>', None: "not reached"}
        kept = limit.kept(raw)
        measured = MISSING if kept is None else typeset(limit.measured(raw))
        reason = check.failure.replace("_", " ")
        rows.append([limit.title, measured, typeset(limit.in_words), state[kept], reason])
    return html_table(headers, rows, "checks stack")
