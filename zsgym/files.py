"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

from zsgym.errors import ConfigError


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader ever sees half of it.

    :raises ConfigError: it cannot be written there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
