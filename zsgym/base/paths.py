"""Where zsgym finds its own data and where it may write: one function per folder.

The environment variables are read at every call, so that a test or a batch job can redirect a folder at any time.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """The folder that holds `netlists/` and `configs/`.

    In an installed wheel they are packed under `zsgym/_data`; in a checkout they are the top-level folders.
    """
    packed = _PACKAGE / "_data"
    return packed if packed.is_dir() else _PACKAGE.parent


def cache_dir() -> Path:
    """Where things that can be rebuilt are kept: `$ZSGYM_CACHE`, `$XDG_CACHE_HOME/zsgym` or `~/.cache/zsgym`."""
    return _from_environment("ZSGYM_CACHE") or (_from_environment("XDG_CACHE_HOME") or Path.home() / ".cache") / "zsgym"


def log_dir() -> Path:
    """Where samples are logged: `$ZSGYM_LOG_DIR`, `$XDG_DATA_HOME/zsgym/samples` or `~/.local/share/zsgym/samples`."""
    data_home = _from_environment("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return _from_environment("ZSGYM_LOG_DIR") or data_home / "zsgym" / "samples"


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    return Path(value).expanduser() if value else None
