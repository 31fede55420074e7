"""HTML tables, and the style that the package comes with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources


def html_table(headers: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table that scrolls sideways on narrow screens.

    :param headers: HTML and class of each column. :param rows: HTML of each cell. :param style: class of the table.
    """
    head = "".join(f'<th class="{kind}">{text}</th>' for text, kind in headers)
    body = "".join(f"<tr>{_cells(headers, row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cells(headers: Sequence[tuple[str, str]], row: Sequence[str]) -> str:
    return "".join(f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(headers, row, strict=True))


def stylesheets(*names: str) -> str:
    """The text of style sheets of this package, one after the other."""
    folder = resources.files("zsgym.report")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
