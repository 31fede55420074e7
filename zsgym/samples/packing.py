"""Rows in few bytes: what rows have in common is written once per segment, and their numbers in binary.

The lines of a segment are of three kinds, each with a checksum of its own (JSON lines: `zsgym.samples.lines`):

    {"define":3,"group":"episode","value":{"targets":{...},"seed":0},"crc":"1c291ca3"}
    =...                                                          (binary)
    {"schema":1,"sample_id":"...",...,"crc":"548cf6e5"}

- A *definition* is a part that rows share; it stands before the first row that refers to it. There are four groups: the
  `origin` (circuit, backend, provenance, ...: every field that is in no other group), the `conditions`, the `episode`
  (targets and seed), and the `layout` (verdict, and which numbers a row holds: `zsgym.samples.layout`).
- A *packed row* is the mark "=", its CRC32, the numbers of one definition of each group (four times 16 bits, little
  endian like all that follows), and its own numbers. The checksum covers those of the four definitions too: a row is
  read with the definitions that it was written with, or not at all. A newline within is escaped, so that a line stays a
  line.
- A row that cannot be packed (its time is not in UTC, for example) is a whole row in JSON, as zsgym 0.1 wrote all rows.

Every 4,096 rows the definitions are written anew. So a damaged definition costs no more rows than these, and neither
writers nor readers have more to remember.
"""

from __future__ import annotations

import json
import operator
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

from zsgym.samples.layout import NUMBERS, VERDICT, DoesNotFitError, Layout, shape
from zsgym.samples.lines import checksum, decode_line, encode_line, sealed
from zsgym.samples.schema import Sample

BLOCK_ROWS = 4096
"""After so many rows a writer repeats the definitions in use. With up to four new ones a row, 16 bits number them."""

_MARK = b"="
_CHECKSUM = struct.Struct("<I")
_REFERENCES = struct.Struct("<4H")
_EPISODE = ("targets", "seed")
_MAPPINGS = ("provenance", "conditions", "targets")  # all shared fields but these are hashable
_ORIGIN = tuple(name for name in Sample.model_fields if name not in {"conditions", *_EPISODE, *VERDICT, *NUMBERS})
_FIELDS: Final = {"origin": _ORIGIN, "conditions": ("conditions",), "episode": _EPISODE}

_plain = operator.attrgetter(*(name for name in (*_ORIGIN, "seed") if name not in _MAPPINGS))

_Definition = tuple[int, int]  # number and checksum


class RowPacker:
    """Makes the lines of one segment, row by row, in the order in which they are written."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin a new block: every definition is written again before a row refers to it."""
        self._rows = 0
        self._next = 0
        self._definitions: dict[bytes, _Definition] = {}
        self._shared: dict[Any, tuple[_Definition, ...]] = {}
        self._layouts: dict[Any, list[tuple[Layout, _Definition]]] = {}
        self._references: dict[tuple[_Definition, ...], tuple[bytes, int]] = {}

    def lines(self, row: Sample) -> bytes:
        """The line of one row, behind the definitions that come with it.

        :raises ValueError: the row holds a value that JSON cannot store. The packer must `forget` then, and also when
            the lines are not written.
        """
        if self._rows == BLOCK_ROWS:
            self.forget()
        self._rows += 1
        new: list[bytes] = []
        try:
            data, layout = self._numbers(row, new)
        except DoesNotFitError:
            return sealed(row.as_json())
        key = (_plain(row), _key(row.provenance), _key(row.conditions), _key(row.targets))
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = tuple([self._define_fields(group, row, new) for group in _FIELDS])
        definitions = (*shared, layout)
        references, salt = self._references.get(definitions) or self._refer(definitions)
        body = references + data
        checked = _CHECKSUM.pack(zlib.crc32(body, salt)) + body
        new += (_MARK, _escaped(checked), b"\n")
        return b"".join(new)

    def _numbers(self, row: Sample, new: list[bytes]) -> tuple[bytes, _Definition]:
        """The numbers of a row and the layout that says what they are.

        :raises DoesNotFitError: no layout can hold them.
        """
        layouts = self._layouts.setdefault(shape(row), [])
        for layout, definition in layouts:
            try:
                return layout.pack(row), definition
            except DoesNotFitError:
                continue
        layout = layouts[-1][0] if layouts else Layout.of(row)
        while True:
            try:
                data = layout.pack(row)
                break
            except DoesNotFitError as misfit:
                layout = layout.widened(misfit.field, row)
        definition = self._define("layout", layout.description, new)
        layouts.append((layout, definition))
        return data, definition

    def _refer(self, definitions: tuple[_Definition, ...]) -> tuple[bytes, int]:
        references = _REFERENCES.pack(*[number for number, _ in definitions])
        self._references[definitions] = (references, _salt(*[check for _, check in definitions]))
        return self._references[definitions]

    def _define_fields(self, group: str, row: Sample, new: list[bytes]) -> _Definition:
        return self._define(group, row.model_dump(mode="json", by_alias=True, include=set(_FIELDS[group])), new)

    def _define(self, group: str, value: Mapping[str, Any], new: list[bytes]) -> _Definition:
        """The number of a definition, which is written unless this block has it already."""
        content = json.dumps([group, value], allow_nan=False).encode()
        if content not in self._definitions:
            new.append(encode_line({"define": self._next, "group": group, "value": value}))
            self._definitions[content] = (self._next, checksum(new[-1]))
            self._next += 1
        return self._definitions[content]


class RowUnpacker:
    """Reads the lines of one segment, in order."""

    def __init__(self) -> None:
        self._definitions: dict[int, tuple[Any, int]] = {}  # number -> fields or layout, checksum

    def decode(self, line: bytes) -> dict[str, Any] | str | None:
        """The fields of a row from its line (without newline), None for a definition, or what is wrong with it."""
        if line.startswith(_MARK):
            return self._row(_unescaped(line[len(_MARK) :]))
        fields = decode_line(line)
        if isinstance(fields, str) or "define" not in fields:
            return fields
        value = Layout(fields["value"]) if fields["group"] == "layout" else fields["value"]
        self._definitions[fields["define"]] = (value, checksum(line))
        return None

    def _row(self, content: bytes) -> dict[str, Any] | str:
        start = _CHECKSUM.size + _REFERENCES.size
        if len(content) < start:
            return "too short for a row: torn line"
        body = content[_CHECKSUM.size :]
        found = [self._definitions.get(number) for number in _REFERENCES.unpack_from(body)]
        known = [definition for definition in found if definition is not None]
        if len(known) < len(found):
            return "it refers to a definition that is not there: damaged line, here or before"
        if _CHECKSUM.unpack_from(content)[0] != zlib.crc32(body, _salt(*[check for _, check in known])):
            return "checksum does not match: damaged line, here or where its definitions stood"
        (origin, _), (conditions, _), (episode, _), (layout, _) = known
        return {**origin, **conditions, **episode, **layout.unpack(content[start:])}


def _key(value: Any) -> Any:
    """A hashable stand-in for a field, different for values that JSON tells apart: 0.0 and -0.0, too."""
    if not isinstance(value, dict):
        return value
    values = tuple(value.values())
    return (*value, *(map(repr, values) if 0.0 in values else values))


def _salt(*checksums: int) -> int:
    """What the checksum of a row begins with: it stands for the definitions that the row refers to."""
    return zlib.crc32(struct.pack(f"<{len(checksums)}I", *checksums))


# A newline becomes ESC 1 and ESC becomes ESC 2: no newline is left, and every ESC is the first of two bytes.


def _escaped(data: bytes) -> bytes:
    return data.replace(b"\x1b", b"\x1b\x02").replace(b"\n", b"\x1b\x01")


def _unescaped(data: bytes) -> bytes:
    return data.replace(b"\x1b\x01", b"\n").replace(b"\x1b\x02", b"\x1b")
