"""Progress of long work: a bar on a terminal, a line now and then everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

FIRST_S, INTERVAL_S = 10.0, 30.0
"""Seconds until the first line, and between two: what ends soon says nothing, and a night's log stays readable."""


class ProgressBar:
    """Counts what is done and says so on stderr.

    :param total: how much there is to do; None where nobody knows. :param name: what is being done.
    :param unit: of what is counted, such as `sim`. :param shown: False says nothing at all.
    :param clock: seconds, for tests.
    """

    def __init__(
        self,
        total: int | None,
        name: str,
        unit: str,
        *,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        on_terminal = shown and sys.stderr.isatty()
        self._lines = shown and not on_terminal
        self._bar = tqdm(total=total, unit=unit, desc=name, disable=not on_terminal)
        self._total, self._name, self._unit, self._clock = total, name, unit, clock
        self._done = 0
        self._started = clock()
        self._due = self._started + FIRST_S

    def update(self, note: str = "", count: int = 1) -> None:
        """So many more are done. :param note: how it stands, such as `reward -0.12`."""
        self._done += count
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)
        if self._lines and (now := self._clock()) >= self._due:
            self._due = now + INTERVAL_S
            print(f"zsgym: {self._line(now - self._started, note)}", file=sys.stderr, flush=True)

    def reach(self, count: int) -> None:
        """So many are done in all."""
        self.update(count=count - self._done)

    def close(self) -> None:
        """Leave the bar as it is. Safe to call twice."""
        self._bar.close()

    def _line(self, seconds: float, note: str) -> str:
        count = f"{self._done}" if self._total is None else f"{self._done} of {self._total}"
        pace = f"{self._done / seconds:.3g} {self._unit}/s" if seconds > 0.0 else ""
        return ", ".join(filter(None, (f"{self._name}: {count} {self._unit}", f"{seconds:.0f} s", pace, note)))
