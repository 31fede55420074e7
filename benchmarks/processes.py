"""What this process and everything that it started have used: processor time and memory, from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")
_PARENT, _USER, _RESIDENT = 1, 11, 21  # fields of /proc/PID/stat behind the program's name


def timed(action: Callable[[], _Result]) -> tuple[_Result, float]:
    """The result of an action, and its wall time in seconds."""
    started = time.perf_counter()
    result = action()
    return result, time.perf_counter() - started


def family_cpu_s() -> float:
    """Processor seconds of this process and its descendants, those included that have ended and were waited for."""
    ticks = sum(sum(map(int, fields[_USER : _USER + 4])) for fields in _family())
    return ticks / os.sysconf("SC_CLK_TCK")


def family_resident_mib() -> float:
    """Resident memory of this process and its living descendants, pages that they share counted once for each."""
    return sum(int(fields[_RESIDENT]) for fields in _family()) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _family() -> list[list[str]]:
    """Stat fields of this process and of all its descendants."""
    stats: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stats[int(folder.name)] = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended meanwhile
    family = {os.getpid()}
    while grown := {pid for pid, fields in stats.items() if int(fields[_PARENT]) in family} - family:
        family |= grown
    return [stats[pid] for pid in family if pid in stats]
