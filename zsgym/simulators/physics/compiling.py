"""How the equations become machine code: one decorator, and what it asks of the installation.

Everything that is decorated here is scalar numba code without exceptions: a division by zero gives infinity as in C,
not an error. `fastmath` stays off, since it would let the compiler change results in the last digits from one machine
to the next. Compiled code is kept beside the sources (or in numba's cache folder where those are read-only).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

try:
    import numba
except ImportError as error:  # numba is an extra
    raise ImportError("the physics backend needs numba; install it with: pip install 'zsgym[physics]'") from error

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a scalar function on its first call, and keep the machine code for the next process."""
    return cast(Function, numba.njit(cache=True, error_model="numpy", fastmath=False)(function))


def inlined(function: Function) -> Function:
    """Compile a function into every compiled function that calls it."""
    return cast(Function, numba.njit(cache=True, error_model="numpy", fastmath=False, forceinline=True)(function))


def section(function: Function) -> Function:
    """Compile a part of a longer calculation; the derivative generator copies its body into its caller's.

    A section may return several values; it ends with its only `return` and does not assign to its arguments.
    """
    return compiled(function)


@compiled
def hold(value: float) -> float:
    """The value itself, which the derivative generator takes for a constant."""
    return value
