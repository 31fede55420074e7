"""What an ngspice engine is: it runs named analyses on a deck and returns their vectors, or says why it cannot.

Two engines obey this contract. `library` drives libngspice inside a forked process (fast, the default); `process`
starts the ngspice program with a batch file (portable, and the independent cross-check of the first).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zsgym.base.errors import SimulatorMissingError, SimulatorOutputError
from zsgym.netlist.expressions import parse_number

Vector = npt.NDArray[np.float64] | npt.NDArray[np.complex128]
Vectors = Mapping[str, Vector]

DEVICE_QUANTITIES = ("id", "gm", "gds", "gmbs", "vth", "vdsat", "vds", "vgs", "vbs")
"""Operating-point quantities read for every transistor (A, S, S, S, V, V, V, V, V)."""

OLDEST_VERSION = 39
INSTALL_HINT = f"install it with: apt-get install ngspice libngspice0 (version {OLDEST_VERSION} or newer)"

SETTINGS = ("set num_threads=1", "optran 1 1 1 0 0 0")
"""Commands before the first circuit. Debian's build solves BSIM4 with OpenMP threads, which spin against those of other
workers. The second leaves out ngspice's last resort for an operating point, a transient from power-up: it is the one
analysis whose effort nothing bounds in points or iterations (24 s of processor time for one oscillating amplifier, and
again at every temperature), and where it ends is often not an operating point, so that nothing can start from it."""

_NON_CONVERGENCE = (
    "iteration limit reached",
    "too many iterations without convergence",
    "timestep too small",
    "matrix is singular",
)
"""Reasons for giving up that are about the circuit equations; others (out of memory, a pause) are not."""

_REFUSAL = re.compile(
    r"^.*(?:no default parameter|no such device or model name|no such parameter|no such command available"
    r"|syntax error|^usage:).*$",
    re.IGNORECASE | re.MULTILINE,
)
"""What ngspice says of a command that it does not carry out. It goes on all the same, with another circuit."""


_REFUSED_CARD = "Fatal error: detected during BSIM4"
"""What ngspice says when the parameters of a model card, evaluated for a transistor, are impossible. It happens where
the fingers of a transistor are much narrower than its whole width, by which ngspice has chosen the card."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis: `commands` prepare it (options, `alter`), `run` performs it, `vectors` are read afterwards.

    max_points bounds the simulated effort (time points) of a transient; one that reaches the bound ends early and its
    vectors end with it. A transient must list its `time` vector.
    """

    name: str
    run: str
    vectors: tuple[str, ...]
    commands: tuple[str, ...] = ()
    max_points: int | None = None

    @property
    def kind(self) -> str:
        """op, ac, dc, noise or tran."""
        return self.run.split()[0]

    @property
    def plot(self) -> str | None:
        """The plot that is read, where it is not the one that the analysis ends with: noise ends with its integral.

        ngspice counts plots anew when all of them have been destroyed, as they are before each analysis.
        """
        return "noise1" if self.kind == "noise" else None

    def is_complete(self, vectors: Vectors) -> bool:
        """Whether vectors are what this analysis yields when it runs to its end, or to its bound."""
        sizes = {vector.size for vector in vectors.values()}
        if len(sizes) != 1 or len(vectors) != len(self.vectors):
            return False
        rows = sizes.pop()
        numbers = [parse_number(word) or 0.0 for word in self.run.split()]
        match self.run.split():
            case ["op"]:
                return rows == 1
            case ["ac", "lin", *_]:
                return rows == numbers[2]
            case ["ac", "dec", *_]:
                return rows == _frequencies(*numbers[2:5])
            case ["noise", _, _, "dec", *_]:
                # Its last frequency may lie beyond the end, by less than its tolerance.
                return rows - _frequencies(*numbers[4:7]) in (0, 1)
            case ["dc", *_]:
                return rows == math.floor((numbers[3] - numbers[2]) / numbers[4] + 1e-6) + 1
            case ["tran", *_]:
                at_end = bool(vectors["time"][-1].real >= numbers[2] * (1.0 - 1e-9))
                return at_end or (self.max_points is not None and rows >= self.max_points)
        raise ValueError(f"unknown analysis {self.run!r}")


def _frequencies(per_decade: float, start: float, stop: float) -> int:
    """Points of a logarithmic sweep."""
    return math.floor(per_decade * math.log10(stop / start) + 1e-6) + 1


class NonConvergenceError(Exception):
    """ngspice itself reported that an analysis of this circuit does not converge. A statement about the circuit."""


class OutsideModelError(Exception):
    """ngspice refused the card of a transistor for its size. A statement about the circuit."""


class Engine(Protocol):
    """Runs analyses in order on one deck."""

    version: str

    def run(self, deck: Sequence[str], analyses: Sequence[Analysis]) -> dict[str, Vectors]:
        """Vectors of each analysis by its name.

        :raises NonConvergenceError: ngspice reported non-convergence.
        :raises OutsideModelError: a model card does not hold for the size of a transistor.
        :raises SimulatorError: any other reason for a missing or incomplete result.
        """
        ...

    def operating_points(self) -> dict[str, dict[str, float]]:
        """Device -> quantity -> value at the solution of the last `op` analysis."""
        ...


def checked(analysis: Analysis, vectors: Vectors, messages: str) -> Vectors:
    """The vectors of an analysis, when they are complete and finite.

    :param messages: what ngspice said; it decides only which error is raised.
    :raises NonConvergenceError: they are not, and ngspice says that the analysis did not converge.
    :raises OutsideModelError: they are not, and ngspice says that a model card does not hold.
    :raises SimulatorOutputError: they are not, for whatever other reason.
    """
    # The imaginary part of ngspice's frequency vector is not initialised.
    vectors = {name: vector.real if name == "frequency" else vector for name, vector in vectors.items()}
    if not analysis.is_complete(vectors):
        if _REFUSED_CARD in messages:
            raise OutsideModelError(f"analysis {analysis.name}: a model card does not hold for a transistor's size")
        if reason := _non_convergence(analysis.kind, messages):
            raise NonConvergenceError(f"analysis {analysis.name}: {reason}")
        said = messages.strip()[-400:] or "(nothing)"
        raise SimulatorOutputError(f"analysis {analysis.name} gave no complete result; ngspice said: {said}")
    if unusable := [name for name, vector in vectors.items() if not np.isfinite(vector).all()]:
        raise SimulatorOutputError(f"analysis {analysis.name}: not every value is finite in {', '.join(unusable)}")
    return vectors


def check_carried_out(messages: str) -> None:
    """Raise SimulatorOutputError when ngspice has refused a command: whatever follows is about another circuit."""
    if refusal := _REFUSAL.search(messages):
        raise SimulatorOutputError(f"ngspice refused a command: {refusal[0].strip()}")


def _non_convergence(kind: str, messages: str) -> str | None:
    """ngspice's own statement that an analysis of this kind was given up for lack of convergence.

    Nothing less counts: a successful run may mention failed gmin steps, and garbage may mention anything.
    """
    for reason in re.findall(rf"doAnalyses:\s*(.*)\s+(?:stderr\s+)*{kind} simulation\(s\) aborted", messages):
        if any(known in reason.lower() for known in _NON_CONVERGENCE):
            return str(reason).strip()
    return None


def find_version(text: str, source: str) -> str:
    """Version of ngspice as it states it, such as 39 or 44.2.

    :param source: the library or program that was asked.
    :raises SimulatorMissingError: that is not ngspice, or one that is too old.
    """
    found = re.search(r"ngspice-(\d+)(\S*)", text)
    if found is None:
        raise SimulatorMissingError(f"{source} is not a working ngspice; {INSTALL_HINT}")
    if int(found[1]) < OLDEST_VERSION:
        raise SimulatorMissingError(f"{source} is ngspice {found[1]}{found[2]}, which is too old; {INSTALL_HINT}")
    return found[1] + found[2]


def parse_show(text: str) -> dict[str, dict[str, float]]:
    """Reads the table of `show`: rows of quantities, columns of devices, in blocks. Unknown values are left out.

    >>> parse_show("stdout device   m2   m1\\nstdout id   2e-6   1e-6")
    {'m2': {'id': 2e-06}, 'm1': {'id': 1e-06}}
    """
    points: dict[str, dict[str, float]] = {}
    devices: list[str] = []
    for line in text.splitlines():
        words = line.removeprefix("stdout ").split()
        if not words:
            continue
        if words[0] == "device":
            devices = words[1:]
            points.update((device, {}) for device in devices)
        elif words[0] in DEVICE_QUANTITIES and len(words) == len(devices) + 1:
            for device, value in zip(devices, words[1:], strict=True):
                if not value.startswith("?"):
                    points[device][words[0]] = float(value)
    return points
