"""What an ngspice engine is: it runs named analyses on a deck and returns their vectors, or says why it cannot.

Two engines obey this contract. `library` drives libngspice inside a forked process (fast, the default); `process`
starts the ngspice program with a batch file (portable, and the independent cross-check of the first).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsgym.errors import SimulatorOutputError

Vector = npt.NDArray[np.float64] | npt.NDArray[np.complex128]
Vectors = Mapping[str, Vector]

_CIRCUIT_FAULTS = (
    "no convergence",
    "timestep too small",
    "singular matrix",
    "iteration limit reached",
    "gmin stepping failed",
    "source stepping failed",
)
"""Messages with which ngspice 39 says that it finds no solution of the circuit equations."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis: `commands` prepare it (options, `alter`), `run` performs it, `vectors` are read afterwards.

    max_points bounds the simulated effort (time points) of a transient; one that reaches the bound ends early and its
    vectors end with it.
    """

    name: str
    run: str
    vectors: tuple[str, ...]
    commands: tuple[str, ...] = ()
    max_points: int | None = None


class NonConvergenceError(Exception):
    """ngspice itself reported that an analysis of this circuit does not converge. A statement about the circuit."""


class Engine(Protocol):
    """Runs analyses in order on one deck."""

    def run(self, deck: Sequence[str], analyses: Sequence[Analysis]) -> dict[str, Vectors]:
        """Vectors of each analysis by its name.

        :raises NonConvergenceError: ngspice reported non-convergence.
        :raises SimulatorError: any other reason for a missing or incomplete result.
        """
        ...

    def operating_points(self) -> dict[str, dict[str, float]]:
        """Device -> quantity -> value at the solution of the last `op` analysis."""
        ...


def failed_analysis(name: str, messages: Sequence[str]) -> Exception:
    """The error for an analysis without results: non-convergence only where ngspice said so."""
    text = "\n".join(messages)
    lowered = text.lower()
    if any(fault in lowered for fault in _CIRCUIT_FAULTS):
        return NonConvergenceError(f"analysis {name}: {text[-400:]}")
    return SimulatorOutputError(f"analysis {name} gave no result; ngspice said: {text[-400:] or '(nothing)'}")


@contextmanager
def complete(name: str, messages: Sequence[str]) -> Iterator[None]:
    """Turns a missing vector (KeyError) into the error that explains it."""
    try:
        yield
    except KeyError as error:
        raise failed_analysis(name, messages) from error
