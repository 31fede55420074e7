"""The `library` engine: libngspice through ctypes.

One process may hold one libngspice, and its state survives from one circuit to the next: a single halted transient
makes every later command fail. `LibraryEngine` therefore belongs into a process that is thrown away after one sizing
(see `server`), where start-up, already paid by the parent of the fork, costs nothing.
"""

import ctypes
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zsgym.base.errors import SimulatorCrashError, SimulatorMissingError, SimulatorOutputError
from zsgym.simulators.ngspice.engine import (
    DEVICE_QUANTITIES,
    INSTALL_HINT,
    SETTINGS,
    Analysis,
    Vector,
    Vectors,
    checked,
    find_version,
    parse_show,
)

_COMPLEX_VECTOR = 2  # VF_COMPLEX in ngspice's vector flags


class _VectorInfo(ctypes.Structure):
    """`vector_info` of sharedspice.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("flags", ctypes.c_short),
        ("real", ctypes.POINTER(ctypes.c_double)),
        ("complex", ctypes.POINTER(ctypes.c_double)),
        ("length", ctypes.c_int),
    )


_SendText = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
_ControlledExit = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_int, ctypes.c_bool, ctypes.c_bool, ctypes.c_int, ctypes.c_void_p
)


def load_library() -> ctypes.CDLL:
    """libngspice, with the signatures that are used here: the system's, or that of the Python environment (conda).

    :raises SimulatorMissingError: the shared library is not installed.
    """
    for name in ("libngspice.so.0", "libngspice.so", str(Path(sys.prefix, "lib", "libngspice.so"))):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.ngSpice_CurPlot.restype = ctypes.c_char_p
        library.ngSpice_AllVecs.restype = ctypes.POINTER(ctypes.c_char_p)
        library.ngSpice_AllVecs.argtypes = [ctypes.c_char_p]
        library.ngGet_Vec_Info.restype = ctypes.POINTER(_VectorInfo)
        library.ngGet_Vec_Info.argtypes = [ctypes.c_char_p]
        library.ngSpice_Command.argtypes = [ctypes.c_char_p]
        return library
    raise SimulatorMissingError(f"libngspice was not found; {INSTALL_HINT}")


class LibraryEngine:
    """libngspice, initialised and ready for its first circuit."""

    def __init__(self) -> None:
        self._library = load_library()
        self._messages: list[str] = []
        self._fatal: str | None = None
        self._deck: Sequence[str] | None = None
        # ctypes callbacks must outlive the library's use of them.
        self._callbacks = (_SendText(self._on_text), _ControlledExit(self._on_exit))
        send, leave = self._callbacks
        self._library.ngSpice_Init(send, None, leave, None, None, None, None)
        for setting in SETTINGS:
            self._command(setting)
        self._command("version -s")
        self.version = find_version("\n".join(self._messages), str(self._library._name))

    def run(self, deck: Sequence[str], analyses: Sequence[Analysis]) -> dict[str, Vectors]:
        """See `Engine.run`. A deck stays loaded while the same object is passed again."""
        if deck is not self._deck:
            self._load(deck)
        return {analysis.name: self._analyse(analysis) for analysis in analyses}

    def operating_points(self) -> dict[str, dict[str, float]]:
        """See `Engine.operating_points`: one `show` for all transistors, which costs a fraction of single queries."""
        self._messages.clear()
        self._command(f"show m : {' '.join(DEVICE_QUANTITIES)}")
        return parse_show("\n".join(self._messages))

    def _load(self, deck: Sequence[str]) -> None:
        if self._deck is not None:
            self._command("remcirc")
        self._messages.clear()
        lines = (ctypes.c_char_p * (len(deck) + 1))(*(line.encode() for line in deck), None)
        if self._library.ngSpice_Circ(lines) != 0:
            raise SimulatorCrashError(f"ngspice refused the deck: {self._tail()}")
        self._check_alive()
        self._deck = deck

    def _analyse(self, analysis: Analysis) -> Vectors:
        self._messages.clear()
        for command in analysis.commands:
            self._command(command)
            if self._messages:  # one that is carried out says nothing
                raise SimulatorOutputError(f"ngspice refused {command!r}: {self._tail()}")
        if analysis.max_points is not None:
            self._command(f"stop after {analysis.max_points}")
        self._command("destroy all")  # a stale vector can then never be read as a fresh one
        self._command(analysis.run)
        if analysis.plot is not None:
            self._command(f"setplot {analysis.plot}")
        if analysis.max_points is not None:
            self._command("delete all")  # the bound must not cut a later analysis short
        return checked(analysis, self._vectors(analysis), "\n".join(self._messages))

    def _vectors(self, analysis: Analysis) -> dict[str, Vector]:
        """Those of an analysis's vectors that ngspice has. Names that it lacks it would look up among its constants."""
        plot: bytes = self._library.ngSpice_CurPlot()
        if not plot.startswith(analysis.kind.encode()):
            return {}
        present = set(itertools.takewhile(bool, self._library.ngSpice_AllVecs(plot)))
        found = {name: self._vector(name) for name in analysis.vectors if name.encode() in present}
        return {name: vector for name, vector in found.items() if vector is not None}

    def _vector(self, name: str) -> Vector | None:
        pointer = self._library.ngGet_Vec_Info(name.encode())
        if not pointer or pointer.contents.length == 0:
            return None
        info = pointer.contents
        if info.flags & _COMPLEX_VECTOR:
            parts = np.ctypeslib.as_array(info.complex, (2 * info.length,)).copy()
            return parts.view(np.complex128)
        return np.ctypeslib.as_array(info.real, (info.length,)).copy()

    def _command(self, text: str) -> None:
        self._library.ngSpice_Command(text.encode())
        self._check_alive()

    def _check_alive(self) -> None:
        if self._fatal is not None:
            raise SimulatorCrashError(f"libngspice gave up ({self._fatal}): {self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self._messages)[-400:]

    def _on_text(self, text: bytes, _ident: int, _data: int | None) -> int:
        self._messages.append(text.decode("utf-8", errors="replace"))
        return 0

    def _on_exit(self, status: int, _immediate: bool, on_quit: bool, _ident: int, _data: int | None) -> int:
        self._fatal = f"exit status {status}{', on quit' if on_quit else ''}"
        return 0
