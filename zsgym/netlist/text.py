"""Netlists as text: comments and continuation lines.

People's netlists come from many programs. Here a file becomes one thing, a list of logical lines in lower case, each
with the file and line at which it begins. What does not matter to a circuit is left out: comments, what follows `.end`,
and blocks from `.control` to `.endc`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn

from zsgym.base.errors import NetlistError

# A comment begins at `;`, `//` and a `$` behind a blank, as in ngspice 39.
_COMMENT = re.compile(r";.*|//.*|(?:^|(?<=\s))\$.*")
_COMMENT_BEHIND_A_PATH = re.compile(r";.*|(?<=\s)\$\s.*")
# xschem writes the top of a schematic as a comment when it is asked to netlist it as a top level.
_COMMENTED_OUT = re.compile(r"\*\*(\.subckt\s.*|\.ends\b.*)", re.IGNORECASE)
_MICRO = re.compile("(?<=[0-9.])[\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}]")
COMMENTED = "**"
"""What the keyword of a `.subckt` or `.ends` begins with that xschem has commented out."""


class LineError(NetlistError):
    """What is wrong with one logical line. The message may have several lines, each with its file and line number."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class Line:
    """A logical line in lower case: continuations joined, comments gone; it begins at line `number` of `source`."""

    source: str
    number: int
    text: str

    @property
    def where(self) -> str:
        """Where the line begins, as messages name it: `file:line`."""
        return f"{self.source}:{self.number}"

    @property
    def keyword(self) -> str:
        """The first word."""
        return self.text.split(maxsplit=1)[0]

    def error(self, *reasons: str) -> LineError:
        """The error that says what is wrong with this line, one message line for each reason."""
        return LineError("\n".join(f"{self.where}: {reason}" for reason in reasons), self.number)

    def fail(self, *reasons: str) -> NoReturn:
        """Raise `error`."""
        raise self.error(*reasons)


class Problems:
    """Collects what is wrong with a file, so that one message tells all of it."""

    def __init__(self) -> None:
        self._found: list[LineError] = []

    def add(self, line: Line, reason: str) -> None:
        """Note a problem of a line."""
        self._found.append(line.error(reason))

    def add_error(self, error: LineError) -> None:
        """Note the error of a line."""
        self._found.append(error)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the error of a line that is raised inside, and go on behind the block."""
        try:
            yield
        except LineError as error:
            self.add_error(error)

    def raise_all(self, *others: Problems) -> None:
        """:raises NetlistError: something was noted here or by the others; in the order of the file, each once."""
        found = sorted((*self._found, *(e for other in others for e in other._found)), key=lambda error: error.number)
        if found:
            raise NetlistError("\n".join(dict.fromkeys(str(error) for error in found)))


def logical_lines(text: str, source: str, problems: Problems) -> tuple[list[Line], bool]:
    """The logical lines of a netlist, and whether anything but comments and blank lines was left out or replaced.

    A `.subckt` or `.ends` that xschem commented out becomes a line, too; its keyword begins with COMMENTED.
    """
    lines: list[Line] = []
    left_out = False
    control: Line | None = None
    # Not splitlines, which also splits at characters that editors do not count as the end of a line.
    for number, raw in enumerate(text.split("\n"), start=1):
        content = _without_comment(raw)
        line = Line(source, number, _MICRO.sub("u", content))
        if not content:
            continue
        left_out |= line.text != content
        if control is not None:
            control = None if line.keyword == ".endc" else control
        elif line.keyword == ".end":
            left_out = True
            break
        elif line.keyword == ".control":
            left_out, control = True, line
        elif lines and line.text.startswith("+"):
            lines[-1] = _joined(lines[-1], line.text[1:])
        elif lines and lines[-1].text.endswith("\\\\"):
            lines[-1] = _joined(replace(lines[-1], text=lines[-1].text[:-2]), line.text)
        elif line.text.startswith("+"):
            problems.add(line, "a continuation line needs a line before it")
        else:
            lines.append(line)
    if control is not None:
        problems.add(control, ".control has no .endc")
    return lines, left_out


def _without_comment(raw: str) -> str:
    """A physical line in lower case without its comment; empty where nothing is left."""
    text = raw.strip()
    if text.startswith("*"):
        if not (found := _COMMENTED_OUT.fullmatch(text)):
            return ""
        return COMMENTED + _COMMENT.sub("", found[1]).strip().lower()
    comment = _COMMENT_BEHIND_A_PATH if text.lower().startswith((".lib", ".inc")) else _COMMENT
    return comment.sub("", text).strip().lower()


def _joined(line: Line, more: str) -> Line:
    return replace(line, text=f"{line.text} {more.strip()}".rstrip())


def check_characters(line: Line) -> None:
    """Outside comments SPICE is ASCII: other characters mean different things to different simulators.

    :raises LineError: the line holds others, which the message names.
    """
    if strange := [c for c in dict.fromkeys(line.text) if not (c == "\t" or (c.isascii() and c.isprintable()))]:
        named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in strange)
        line.fail(f"only ASCII characters may stand outside comments; found {named}")
