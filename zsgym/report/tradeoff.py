"""What a report shows of specs that pull against each other: which ones bind, and the front of two metrics."""

from __future__ import annotations

from html import escape
from itertools import pairwise

import numpy as np

from zsgym.base.plot import Axis, Panel, drawing, log_ticks, padded
from zsgym.base.typography import printed, typeset
from zsgym.classes import Metric, MetricSet, Targets
from zsgym.report.markup import html_table
from zsgym.sizing.tradeoff import Binding, Front, Point, Tradeoff, thinned, value_text

_MOST_ROWS = 12
"""Designs of a front that its table shows."""


def tradeoff_section(tradeoff: Tradeoff, metrics: MetricSet, targets: Targets) -> str:
    """HTML: the specs that bind, a picture of the front, and its designs as a table. :param targets: SI."""
    parts = [_binding(tradeoff, metrics)]
    if tradeoff.front is not None and tradeoff.front.points:
        front = tradeoff.front
        title = f"{front.metrics[0]} against {front.metrics[1]}"
        parts.append(
            f"<figure><figcaption>{escape(title)}</figcaption>{front_plot(front, metrics, targets)}"
            f'<p class="hint">{escape(_caption(front))}</p></figure>'
        )
        parts.append(_front_table(front, metrics, targets))
    return "".join(parts)


def front_plot(front: Front, metrics: MetricSet, targets: Targets) -> str:
    """The front as SVG: its designs, the step line of what they reach, dominated ones behind, and the two targets."""
    first, second = (metrics[name] for name in front.metrics)
    points = [_at(point, first, second) for point in front.points]
    wanted = [None if (target := targets.get(m.name)) is None else m.magnitude(target) for m in (first, second)]
    x = _axis(first, [point[0] for point in points], wanted[0])
    y = _axis(second, [point[1] for point in points], wanted[1])
    panel = Panel(x, y, height=320)
    for a, b in front.others:
        at = first.magnitude(a), second.magnitude(b)
        if x.low <= at[0] <= x.high and y.low <= at[1] <= y.high:
            panel.dot(*at, "behind", radius=2.5)
    _staircase(panel, points)
    if wanted[0] is not None:
        panel.upright(wanted[0], "rule")
        text = _wanted(first, wanted[0])
        if first.higher_is_better:
            panel.label(wanted[0], y.low, text, "end", dx=-5, dy=-6)
        else:
            panel.label(wanted[0], y.low, text, "start", dx=5, dy=-6)
    if wanted[1] is not None:
        panel.level(wanted[1], "rule")
        panel.label(x.low, wanted[1], _wanted(second, wanted[1]), "start", dx=6, dy=-5)
    for point, at in zip(front.points, points, strict=True):
        panel.dot(*at, "second" if point.meets_all else "main")
    return drawing([panel], f"{first.title} against {second.title}: designs that no other one dominates")


def _axis(metric: Metric, values: list[float], target: float | None) -> Axis:
    shown = [*values, *([] if target is None else [target])]
    title = f"{metric.name}, {'more' if metric.higher_is_better else 'less'} is better"
    if not metric.scale.logarithmic or min(shown) <= 0.0 or metric.unit == "1/K":
        return Axis(*padded(shown, share=0.12), title, unit=metric.unit)
    ratio = max(max(shown) / min(shown), 1.05) ** 0.12
    low, high = min(shown) / ratio, max(shown) * ratio
    return Axis(low, high, title, "log", log_ticks(low, high), metric.unit)


def _staircase(panel: Panel, points: list[tuple[float, float]]) -> None:
    """Between two designs of a front, the worse of each: what one of the two reaches for certain."""
    corners = [points[0]]
    for before, point in pairwise(points):
        corners += [(point[0], before[1]), point]
    xs, ys = np.array(corners, dtype=np.float64).T
    panel.line(xs, ys, "main")


def _wanted(metric: Metric, target: float) -> str:
    return f"{'≥' if metric.higher_is_better else '≤'} {printed(target, metric.unit)}"


def _at(point: Point, first: Metric, second: Metric) -> tuple[float, float]:
    return first.magnitude(point.metrics[first.name]), second.magnitude(point.metrics[second.name])


def _caption(front: Front) -> str:
    """What the picture shows."""
    if not front.kept and front.complete:
        kept = "Every design works; there are no other specs"
    elif front.complete:
        kept = f"Every design works and meets the other {len(front.kept)} specs"
    else:
        kept = (
            f"Hardly a design of the search meets all other specs; these keep {', '.join(front.kept) or 'none of them'}"
        )
    end = (
        " Dashed lines are targets; orange designs meet every spec." if front.complete else " Dashed lines are targets."
    )
    return f"{kept}, and none on the line is beaten in both. Small dots are beaten ones.{end}"


def _binding(tradeoff: Tradeoff, metrics: MetricSet) -> str:
    if not tradeoff.binding:
        return ""
    alone = [row for row in tradeoff.binding if row.reached is not None]
    if not alone:
        return f'<p class="hint">{escape(_sentence(tradeoff.in_words(metrics)[0]))}</p>'
    hint = (
        "No design of this search meets every spec. If one spec of this table alone gave as far as it says, a "
        "simulated design would meet all of them. A longer search may find one that asks for less."
    )
    headers = [("spec", ""), ("asked for", "n"), ("alone would have to give to", "n"), ("by simulation", "n")]
    table = html_table(headers, [_binding_row(row, metrics) for row in alone], "keep")
    helpless = [row.metric for row in tradeoff.binding if row.reached is None]
    rest = f"To give in {', '.join(helpless)} alone helps no design of this search." if helpless else ""
    return f'<p class="hint">{hint}</p>{table}' + (f'<p class="hint after">{escape(rest)}</p>' if rest else "")


def _binding_row(row: Binding, metrics: MetricSet) -> list[str]:
    metric = metrics[row.metric]
    reached = typeset(value_text(metrics, row.metric, row.reached))
    name = f'{escape(metric.name)}<span class="sub">{escape(metric.title)}</span>'
    return [name, _wanted(metric, metric.magnitude(row.target)), f"<b>{reached}</b>", str(row.simulation)]


def _front_table(front: Front, metrics: MetricSet, targets: Targets) -> str:
    """Some designs of the front, with every metric that has a target."""
    rest = [name for name in metrics.names if name in targets and name not in front.metrics]
    names = [*front.metrics, *rest]
    headers = [("simulation", "n"), *((escape(name), "n") for name in names)]
    chosen = [front.points[place] for place in thinned(len(front.points), _MOST_ROWS)]
    return html_table(headers, [_front_row(point, names, front, metrics) for point in chosen], "keep")


def _front_row(point: Point, names: list[str], front: Front, metrics: MetricSet) -> list[str]:
    texts = [typeset(value_text(metrics, name, point.metrics.get(name))) for name in names]
    cells = [f"<b>{text}</b>" if name in front.metrics else text for name, text in zip(names, texts, strict=True)]
    return [str(point.simulation), *cells]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
