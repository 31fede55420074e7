"""Scripts end in one line, with the exit code that shells expect."""

import pytest

from zsgym.base.errors import ConfigError
from zsgym.base.scripts import ending_in_one_line, reason


def end(error: BaseException, **texts: str) -> SystemExit:
    with pytest.raises(SystemExit) as ended, ending_in_one_line(**texts):
        raise error
    return ended.value


def test_a_deliberate_error_is_one_line_and_code_one() -> None:
    assert end(ConfigError("no circuit 'nmfc'")).code == "error: no circuit 'nmfc'"  # Python prints it and exits with 1
    assert end(ConfigError("no"), failed="try again").code == "error: no\ntry again"


def test_the_operating_system_is_quoted_without_its_number() -> None:
    assert end(OSError(28, "No space left on device")).code == "error: No space left on device"
    assert (
        end(FileNotFoundError(2, "No such file or directory", "a.txt")).code
        == "error: a.txt: No such file or directory"
    )
    assert reason(ValueError("plain")) == "plain"


def test_ctrl_c_says_how_to_go_on_and_ends_like_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(KeyboardInterrupt(), interrupted="again: make bench").code == 130
    assert capsys.readouterr().err == "\nagain: make bench\n"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), ending_in_one_line():
        raise ZeroDivisionError
    with ending_in_one_line():
        pass
