"""Tables of text: aligned columns, and the specs of one amplifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zsgym.metrics import METRIC_BY_NAME, METRICS, Better
from zsgym.quantities import quantity
from zsgym.specs import Targets, spec_margins


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Aligned columns; the columns with the given positions are flush right."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def spec_table(metrics: Mapping[str, float] | None, targets: Targets) -> str:
    """Value, target, margin and verdict of every metric.

    :param metrics: metric -> SI value, at least of those with a target; None for an amplifier that does not work, which
        meets no spec. :param targets: metric -> SI value.
    """
    measured = metrics or {}
    margins = spec_margins(measured, targets) if metrics else {}
    rows = []
    for name, unit in ((metric.name, metric.unit) for metric in METRICS):
        target, margin = targets.get(name), margins.get(name)
        rows.append(
            (
                name,
                quantity(measured.get(name), unit),
                "-" if target is None else target_text(name, target),
                "-" if margin is None else f"{margin:+.3f}",
                "-" if target is None else "yes" if margin is not None and margin >= 0.0 else "no",
            )
        )
    return table(("metric", "value", "target", "margin", "met"), rows, right=(1, 3))


def target_text(name: str, target: float) -> str:
    """A target (SI) with the direction in which it counts, e.g. `> 1 MHz`."""
    metric = METRIC_BY_NAME[name]
    return f"{'>' if metric.better is Better.HIGH else '<'} {quantity(metric.magnitude(target), metric.unit)}"
