"""The report: one HTML file with its own style and drawings, without scripts, that opens anywhere and prints well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

from zsgym.base.typography import MISSING, printed
from zsgym.classes import Metric
from zsgym.report.checks import checks_table
from zsgym.report.devices import SAFE_HEADROOM, operating_point_table, sizing_table
from zsgym.report.evidence import Evidence, verdict
from zsgym.report.figures import Curve, curve_plot
from zsgym.report.markup import html_table, stylesheets
from zsgym.report.schematic import draw_schematic, load_schematic
from zsgym.report.search import search_plots
from zsgym.report.tradeoff import tradeoff_section
from zsgym.sizing.history import SearchHistory
from zsgym.sizing.tradeoff import Tradeoff

_MARGIN_HINT = (
    "The margin is (value &minus; target) / (|value| + |target|), with the sign turned where low is better: "
    "at zero or more the spec is met. Bars reach from &minus;1 to 1."
)
_FAILURE_HINT = "A sizing that does not work has no metrics."
_VERDICT_HINT = "Whether it works at all: what ngspice measured, against the thresholds of the verdict policy."
_SCHEMATIC_HINT = "Beside each device: W/L in micrometres and the complete multiplier. Nets of one name are connected."
_SIZING_HINT = (
    "Devices of a group share W and L; &times;4 stands for four times the group's multiplier M. "
    '<span class="edge">Coloured</span> values lie at a bound of their search range.'
)
_WAVEFORM_HINT = "As simulated, at the conditions above."
_BIAS_HINT = (
    "Saturation begins where V<sub>DS</sub> reaches V<sub>Dsat</sub>, both as magnitudes. With less than "
    f'{printed(SAFE_HEADROOM, "V")} to spare a transistor is at the <span class="edge">edge of saturation</span>, '
    'and without any in <span class="edge">triode</span>.'
)
_SEARCH_HINT = (
    "Lines are the best that the search had found. Dots are simulations: at a reward of zero every spec is met, red "
    "ones at the lower edge do not work."
)
_BELIEF_HINT = " Predictions begin anew whenever ngspice has corrected the surrogate."


def render_page(
    evidence: Evidence,
    netlist: str | None = None,
    curves: Mapping[str, Curve] | None = None,
    history: SearchHistory | None = None,
    tradeoff: Tradeoff | None = None,
    comparison: str = "",
) -> str:
    """The complete page.

    :param netlist: text of the sized netlist, shown folded. :param curves: title -> training curve.
    :param history: of the search that found the design. :param tradeoff: of the specs, where it was looked at.
    :param comparison: HTML of what the circuit was compared with, if it was (`zsgym.report.comparison`).
    """
    name = escape(evidence.request.circuit.name.upper())
    style = stylesheets("palette.css", "style.css", "schematic.css")
    metrics, targets = evidence.request.circuit.circuit_class.all_metrics, evidence.request.targets
    sections = [
        _section("Which circuit", comparison),
        _specs(evidence),
        _section("Trade-off", tradeoff_section(tradeoff, metrics, targets) if tradeoff else ""),
        _checks(evidence),
        _schematic(evidence),
        _section("Sizing", sizing_table(evidence.request.circuit, evidence.request.sizing), _SIZING_HINT),
        _section("Waveforms", _waveforms(evidence), _WAVEFORM_HINT),
        _section("Operating points", _operating_points(evidence), _BIAS_HINT),
        _search(history),
        _section("Training", _training(curves or {})),
        _section("Sized netlist", _netlist(netlist)),
    ]
    # "</script>" in a string would end the element that holds the data.
    data = json.dumps(evidence.as_dict(), allow_nan=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} design report</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(evidence)}\n<main>\n{''.join(sections)}</main>\n{_footer(evidence)}\n"
        f'<script type="application/json" id="design">{data}</script>\n</body>\n</html>\n'
    )


def _section(title: str, body: str, hint: str = "") -> str:
    if not body:
        return ""
    hint = f'<p class="hint">{hint}</p>' if hint else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{hint}{body}\n</section>\n"


def _header(evidence: Evidence) -> str:
    circuit, conditions = evidence.request.circuit, evidence.request.conditions
    kind, sentence = verdict(evidence)
    asked = f"SKY130, {conditions.in_words()}"
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in evidence.notes)
    return (
        f"<header><div><h1>{escape(circuit.name.upper())} design report</h1><p>{escape(circuit.title)}</p>"
        f'<p>{escape(asked)}</p><span class="verdict {kind}">{escape(sentence)}</span>{notes}</div></header>'
    )


def _specs(evidence: Evidence) -> str:
    outcome = evidence.outcome
    if outcome is None or not outcome.metrics:
        return _section("Specs", f'<p class="hint">{_FAILURE_HINT}</p>{_validity(evidence)}')
    compared = evidence.truth is not None and evidence.prediction is not None
    source = "ngspice" if evidence.truth else "surrogate"
    headers = [("metric", ""), (source, "n"), ("margin", "n"), ("", "bar-cell")]
    if compared:
        interval = f"{100 * evidence.coverage:g} % interval"
        headers += [("surrogate", "n named"), (interval, "n named"), ("covers", "named")]
    rows = [
        _spec_row(metric, evidence) + (_predicted_cells(metric, evidence) if compared else [])
        for metric in evidence.request.circuit.metrics
    ]
    return _section("Specs", html_table(headers, rows, "specs stack") + _validity(evidence), _MARGIN_HINT)


def _checks(evidence: Evidence) -> str:
    truth, request = evidence.truth, evidence.request
    if truth is None or not truth.raw:
        return ""
    table = checks_table(truth.raw, request.circuit.circuit_class.checks(request.circuit.policy(request.policy)))
    if truth.success:
        table = f"<details><summary>It passed every check</summary>{table}</details>"
    return _section("Verdict", table, _VERDICT_HINT)


def _schematic(evidence: Evidence) -> str:
    circuit = evidence.request.circuit
    drawn = draw_schematic(load_schematic(circuit), circuit, evidence.request.sizing)
    return _section("Schematic", f'<div class="scroll">{drawn}</div>', _SCHEMATIC_HINT)


def _spec_row(metric: Metric, evidence: Evidence) -> list[str]:
    outcome, target = evidence.outcome, evidence.request.targets.get(metric.name)
    value = outcome.metrics.get(metric.name) if outcome and outcome.metrics else None
    margin = evidence.margins.get(metric.name)
    direction = "≥" if metric.higher_is_better else "≤"
    wanted = "no target" if target is None else f"{direction} {printed(metric.magnitude(target), metric.unit)}"
    signed = MISSING
    if margin is not None:
        signed = f'<span class="{"yes" if margin >= 0.0 else "no"}">{_signed(margin)}</span>'
    name = f'{escape(metric.name)}<span class="sub">{escape(metric.title)}</span>'
    return [name, f'<b>{printed(value, metric.unit)}</b><span class="sub">{wanted}</span>', signed, _bar(margin)]


def _predicted_cells(metric: Metric, evidence: Evidence) -> list[str]:
    prediction = evidence.prediction
    if prediction is None or not prediction.metrics or metric.name not in (prediction.uncertainty or {}):
        return [MISSING, MISSING, ""]
    assert prediction.uncertainty is not None
    low, high = prediction.uncertainty[metric.name]
    covers = {True: '<span class="yes">yes</span>', False: '<span class="no">no</span>', None: ""}
    interval = f"<small>{printed(low, metric.unit)} … {printed(high, metric.unit)}</small>"
    return [printed(prediction.metrics[metric.name], metric.unit), interval, covers[evidence.covered(metric.name)]]


def _signed(margin: float) -> str:
    return f"{margin:+.3f}".replace("-", "\N{MINUS SIGN}")


def _bar(margin: float | None) -> str:
    """A bar from the middle to the right for a met spec, to the left for a missed one."""
    if margin is None:
        return ""
    kind = "met" if margin >= 0.0 else "missed"
    left, width = 50.0 + min(50.0 * margin, 0.0), max(abs(50.0 * margin), 0.8)
    return f'<div class="bar"><i class="{kind}" style="left:{left:.1f}%;width:{width:.1f}%"></i></div>'


def _validity(evidence: Evidence) -> str:
    """One sentence about what the surrogate thought of the sizing as a whole."""
    prediction = evidence.prediction
    if prediction is None or prediction.p_valid is None:
        return ""
    sentence = f"The surrogate gave this sizing a probability of {prediction.p_valid:.3f} of working"
    held = [
        covered for metric in evidence.request.circuit.metrics if (covered := evidence.covered(metric.name)) is not None
    ]
    if held:
        sentence += f"; {sum(held)} of its {len(held)} intervals hold the simulated value"
    return f'<p class="hint after">{sentence}.</p>'


def _waveforms(evidence: Evidence) -> str:
    request = evidence.request
    policy = request.circuit.policy(request.policy)
    figures = request.circuit.circuit_class.figures(evidence.waveforms, request.conditions, policy)
    captions = {figure.title: figure.caption for figure in figures}
    return _grid({figure.title: figure.svg for figure in figures}, captions)


def _grid(figures: Mapping[str, str], captions: Mapping[str, str] | None = None) -> str:
    """Drawings with their titles, two beside each other where there is room, some with a sentence below."""
    below = {title: f'<p class="hint">{escape(text)}</p>' for title, text in (captions or {}).items() if text}
    cells = (
        f"<figure><figcaption>{escape(title)}</figcaption>{figure}{below.get(title, '')}</figure>"
        for title, figure in figures.items()
    )
    return f'<div class="pair">{"".join(cells)}</div>' if figures else ""


def _operating_points(evidence: Evidence) -> str:
    outcome = evidence.outcome
    return operating_point_table(evidence.request.circuit, outcome) if outcome else ""


def _search(history: SearchHistory | None) -> str:
    if history is None:
        return ""
    hint = _SEARCH_HINT + (_BELIEF_HINT if history.believed else "")
    return _section("Search", _grid(search_plots(history)), hint)


def _training(curves: Mapping[str, Curve]) -> str:
    return _grid({title: curve_plot(title, curve) for title, curve in curves.items()})


def _netlist(text: str | None) -> str:
    if text is None:
        return ""
    hint = "Netlist and testbench for plain ngspice and the full SKY130 library: <code>ngspice -b FILE</code> runs it."
    return f'<p class="hint">{hint}</p><details><summary>Show the netlist</summary><pre>{escape(text)}</pre></details>'


def _footer(evidence: Evidence) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in evidence.provenance.items())
    return f"<footer><div><h2>Provenance</h2><dl>{facts}</dl></div></footer>"
