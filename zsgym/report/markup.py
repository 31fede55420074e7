"""HTML tables, and the style that the package comes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources


def html_table(headers: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table that scrolls sideways where it does not fit.

    :param headers: HTML and class of each column. :param rows: HTML of each cell. :param style: classes of the table:
        `stack` gives each row the width that a narrow screen has, where cells of class `named` then carry the header
        of their column; `keep` keeps the first column in sight.
    """
    head = "".join(f'<th class="{kind}">{text}</th>' for text, kind in headers)
    body = "".join(f"<tr>{_cells(headers, row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cells(headers: Sequence[tuple[str, str]], row: Sequence[str]) -> str:
    return "".join(
        f'<td class="{kind}"{_label(text, kind)}>{cell}</td>' for (text, kind), cell in zip(headers, row, strict=True)
    )


def _label(header: str, kind: str) -> str:
    return f' data-label="{header}"' if "named" in kind.split() else ""


def stylesheets(*names: str) -> str:
    """The text of style sheets of this package, one after the other."""
    folder = resources.files("zsgym.report")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
