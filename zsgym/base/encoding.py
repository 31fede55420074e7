"""Text files as people have them: any usual encoding, byte-order mark and line ending."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Blanks that editors and web pages put in place of a space, and characters without a width.
_BLANKS = {0x00A0: " ", 0x2007: " ", 0x2009: " ", 0x202F: " ", 0x200B: None, 0xFEFF: None}


def decode(data: bytes) -> str:
    """The text of a file, whatever program wrote it, cleaned as `cleaned` does.

    A byte-order mark decides; without one the text is UTF-8 or, where that does not fit, Windows-1252, which holds
    Latin-1. What zsgym reads is ASCII but for comments and titles, so that a wrong guess does no harm.

    :raises ValueError: the bytes are not text; the message says why.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return cleaned(_decode(data[len(mark) :], encoding))
    if b"\0" in data:
        # UTF-16 without its mark: nearly every other byte of the text is zero.
        odd, even = data[1::2].count(0), data[::2].count(0)
        if 3 * max(odd, even) < len(data):
            raise ValueError("this is not a text file: it holds zero bytes")
        return cleaned(_decode(data, "utf-16-le" if odd > even else "utf-16-be"))
    for encoding in ("utf-8", "cp1252"):
        try:
            return cleaned(data.decode(encoding))
        except UnicodeDecodeError:
            continue
    return cleaned(data.decode("latin-1"))


def cleaned(text: str) -> str:
    """The text with `\\n` at the end of lines, and plain spaces for the blanks that editors put in their place."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_BLANKS)


def _decode(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"this is not complete {encoding.upper()}, which its first bytes announce: save the file as UTF-8"
        ) from error
