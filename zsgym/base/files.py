"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zsgym.base.errors import ConfigError, ZsgymError


@contextlib.contextmanager
def new_file(path: Path, error: type[ZsgymError] = ConfigError) -> Iterator[Path]:
    """A place to write a file to, which gets its name when the block has ended well and the file is on the disk.

    If the block fails, what stood under the name before still does, and nothing else is left. Missing folders are made.

    :raises error: it cannot be written; the message names the file and the cause.
    """
    with _writing(path, error):
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()


@contextlib.contextmanager
def _writing(path: Path, error: type[ZsgymError]) -> Iterator[None]:
    """Make the folder of a file, and say what is wrong when it, or the file, cannot be written."""
    if path.is_dir():
        raise error(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror or problem}") from problem


def check_writable(path: Path) -> None:
    """Find out before long work whether its result can be written; makes the folder.

    :raises ConfigError: it cannot.
    """
    with _writing(path, ConfigError):
        tempfile.TemporaryFile(dir=path.parent).close()


def write_text(path: Path, text: str, error: type[ZsgymError] = ConfigError) -> None:
    """Write a text file in one step, as `new_file`."""
    with new_file(path, error) as place:
        place.write_text(text, encoding="utf-8")


def copy_file(source: Path, path: Path) -> None:
    """Copy a file in one step, as `new_file`."""
    with new_file(path) as place:
        shutil.copyfile(source, place)
