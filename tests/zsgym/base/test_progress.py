"""Progress of long work where no terminal is: a line now and then."""

import pytest

from zsgym.base.progress import FIRST_S, INTERVAL_S, ProgressBar


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_after(seconds: list[float], capsys: pytest.CaptureFixture[str], *, shown: bool = True) -> list[str]:
    clock = Clock()
    bar = ProgressBar(400, "sizing nmcf", "sim", shown=shown, clock=clock)
    for now in seconds:
        clock.now = 100.0 + now
        bar.update("best reward -0.1")
    bar.close()
    bar.close()
    return capsys.readouterr().err.splitlines()


def test_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    early, first = FIRST_S - 0.1, FIRST_S
    assert lines_after([0.5, early], capsys) == []
    lines = lines_after([0.5, early, first, first + 1.0, first + INTERVAL_S], capsys)
    assert lines == [
        "zsgym: sizing nmcf: 3 of 400 sim, 10 s, 0.3 sim/s, best reward -0.1",
        "zsgym: sizing nmcf: 5 of 400 sim, 40 s, 0.125 sim/s, best reward -0.1",
    ]


def test_silence_where_nobody_wants_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_after([60.0, 120.0], capsys, shown=False) == []
