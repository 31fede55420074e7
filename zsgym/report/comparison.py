"""Which circuit of a class: the ranking as a report shows it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from zsgym.base.typography import MISSING
from zsgym.report.markup import html_table

if TYPE_CHECKING:
    from zsgym.sizing.comparison import Comparison, Ranked


def comparison_section(comparison: Comparison) -> str:
    """HTML: the circuits that were tried, best first, and those that were not, with the reason."""
    hint = (
        "Every circuit was asked under the conditions above. One that meets every spec comes before all others, then "
        "the larger smallest margin counts; the report is about the first. The rounds are those of successive halving."
    )
    headers = [("circuit", ""), ("best design", ""), ("smallest margin", "n"), ("of", "")]
    headers += [("simulations", "n"), ("seconds", "n"), ("rounds", "n")]
    ranked = html_table(headers, [_row(ranked) for ranked in comparison.ranking], "keep")
    left_out = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(reason)}</dd>" for name, reason in comparison.left_out.items()
    )
    rest = f'<p class="hint after">Left out:</p><dl>{left_out}</dl>' if left_out else ""
    return f'<p class="hint">{hint}</p>{ranked}{rest}'


def _row(ranked: Ranked) -> list[str]:
    circuit, margin = ranked.result.circuit, MISSING
    if ranked.margin is not None:
        text = f"{ranked.margin:+.3f}".replace("-", "\N{MINUS SIGN}")
        margin = f'<span class="{"yes" if ranked.margin >= 0.0 else "no"}">{text}</span>'
    return [
        f'{escape(circuit.name)}<span class="sub">{escape(circuit.title)}</span>',
        escape(ranked.in_words),
        margin,
        escape(ranked.tightest) or MISSING,
        str(len(ranked.result.designs)),
        f"{ranked.seconds:.0f}",
        str(ranked.rounds),
    ]
