"""The manifest of a data set: how it was made, from what, by which versions, and how long that took."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import zsgym
from zsgym.base.errors import SampleLogError
from zsgym.base.files import write_text

MANIFEST = "manifest.json"
_PACKAGES = ("numpy", "scipy", "pyarrow")


def read_manifest(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The manifest of a data set, or None where there is none (a plain sample log, a Parquet file).

    :raises SampleLogError: it cannot be read.
    """
    path = Path(directory) / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SampleLogError(f"cannot read {path}: {error}. Restore it, or start a new data set.") from error
    return manifest


def write_manifest(directory: str | os.PathLike[str], manifest: Mapping[str, Any]) -> None:
    """Write the manifest in one step.

    :raises SampleLogError: it cannot be written.
    """
    write_text(Path(directory) / MANIFEST, json.dumps(manifest, indent=2) + "\n", SampleLogError)


def provenance_of_this_process() -> dict[str, Any]:
    """Command line, versions and git revision: what a manifest says about the run that writes it."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "zsgym")
    packages = {name: package_version(name) for name in _PACKAGES}
    return {
        "command": [program, *sys.argv[1:]],
        "versions": {"zsgym": zsgym.__version__, "python": platform.python_version(), **packages},
        "git_revision": git_revision(),
    }


def package_version(name: str) -> str:
    """The installed version of a Python package, or "not installed"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def git_revision() -> str | None:
    """The commit of the checkout that this package runs from (`-dirty` when changed), or None outside a checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None  # installed, perhaps inside the checkout of something else
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
