"""Analog circuit sizing as a reinforcement-learning problem.

Importing the package registers its Gymnasium environments: `gymnasium.make("zsgym/NMCF-v0", backend="ngspice")`.
`zsgym.size("nmcf")` finds a sizing that meets the circuit's specs in ngspice.
"""

from typing import TYPE_CHECKING, Any

from zsgym.envs.registration import register_environments

if TYPE_CHECKING:
    from zsgym.sizing.from_specs import size as size

__version__ = "0.1.0"

register_environments()


def __getattr__(name: str) -> Any:
    """`size` is imported when it is first asked for: environments do not need what it needs."""
    if name == "size":
        from zsgym.sizing.from_specs import size

        return size
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
