"""How the equations become machine code: one decorator, and what it asks of the installation.

Everything that is decorated here is scalar numba code without exceptions: a division by zero gives infinity as in C,
not an error. `fastmath` stays off, since it would let the compiler change results in the last digits from one machine
to the next. Compiled code is kept beside the sources (or in numba's cache folder where those are read-only).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

try:
    import numba
except ImportError as error:  # an installation without its requirements
    raise ImportError("the physics backend needs numba; install it with: pip install numba") from error

Function = TypeVar("Function", bound=Callable[..., Any])


def _package_stamp() -> str:
    """A hash of the package's sources."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_STAMP = _package_stamp()


def _compile(function: Function, **options: Any) -> Function:
    dispatcher = numba.njit(cache=True, error_model="numpy", fastmath=False, **options)(function)
    # numba notices that the file of a function has changed, but not that of a function which is compiled into it: an
    # upgrade would go on computing with old equations. These are private names; a numba without them is left as it is.
    kept: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(kept, "_source_stamp"):
        kept._source_stamp = (kept._source_stamp, _STAMP)
    return cast(Function, dispatcher)


def compiled(function: Function) -> Function:
    """Compile a scalar function on its first call, and keep the machine code for the next process."""
    return _compile(function)


def is_kept(dispatcher: Any) -> bool:
    """Whether there is machine code of a compiled function that is still valid; true where numba does not tell."""
    kept: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if dispatcher.signatures or not hasattr(kept, "_load_index"):
        return True
    return bool(kept._load_index())


def inlined(function: Function) -> Function:
    """Compile a function into every compiled function that calls it."""
    return _compile(function, forceinline=True)


def section(function: Function) -> Function:
    """Compile a part of a longer calculation; the derivative generator copies its body into its caller's.

    A section may return several values; it ends with its only `return` and does not assign to its arguments.
    """
    return inlined(function)


@inlined
def hold(value: float) -> float:
    """The value itself, which the derivative generator takes for a constant."""
    return value
