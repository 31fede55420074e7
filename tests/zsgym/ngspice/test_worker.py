"""Workers in hostile surroundings: settings and files of the user, limits of the system, no usable ngspice."""

import os
import resource
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from faults import Do, descendants, fake_ngspice, open_descriptors, python, script

from zsgym.base.errors import (
    ConfigError,
    SimulatorCrashError,
    SimulatorError,
    SimulatorMissingError,
)
from zsgym.simulators.ngspice.messages import Channel
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool

pytestmark = pytest.mark.usefixtures("spotless")


# --- hostile surroundings -------------------------------------------------------------------------------------------


def test_workers_see_none_of_the_users_settings_and_files(
    ngspice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SPICE_SCRIPTS", "SPICE_LIB_DIR", "SPICE_USERINIT_DIR", "NGSPICE_MEAS_PRECISION"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with closing(WorkerPool(1, WorkerOptions("process", ngspice))) as pool, (tmp_path / "private").open("w") as private:
        os.set_inheritable(private.fileno(), True)
        (seen,) = pool.map([Do("surroundings")])
    assert not [target for target in seen["descriptors"] if "private" in target]
    assert seen["cwd"] == "/proc"
    assert seen["environment"]["HOME"] == "/proc"
    assert seen["environment"]["OMP_NUM_THREADS"] == "1"
    assert seen["environment"]["LC_ALL"] == "C"
    assert not [name for name in seen["environment"] if "SPICE" in name]


@pytest.mark.parametrize("flags", [(), ("-I",)])
def test_modules_of_the_user_cannot_shadow_those_of_a_worker(
    ngspice: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    for name in ("zsgym", "site", "resource", "numbers", "pickle", "socket", "traceback", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    body = "print(pool.map([Do('echo', (5,))]))"
    entry = f"import sys; sys.path[:0] = {[str(Path(__file__).parents[3]), str(Path(__file__).parent)]!r}\n"
    code = f"{entry}import faults, zsgym, numpy, zsgym.simulators.ngspice.pool\n"
    code += f"import os; os.chdir({str(tmp_path)!r}); sys.path.insert(0, '')\n"
    program = python(code + script(ngspice, body), *flags, env={"PYTHONPATH": ""})
    assert program.communicate(timeout=30) == ("[5]\n", "")


def test_the_working_folder_may_be_deleted(ngspice: str, tmp_path: Path) -> None:
    (tmp_path / "deleted").mkdir()
    body = "os.rmdir(os.getcwd()); print(pool.map([Do('echo', (5,))]))"
    program = python(script(ngspice, body), cwd=tmp_path / "deleted")
    assert program.communicate(timeout=30) == ("[5]\n", "")


def test_more_descriptors_than_select_can_handle(pool: WorkerPool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("the limit of open files cannot be raised")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
    opened: list[int] = []
    try:
        while not opened or opened[-1] < 1100:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        pool.close()
        assert pool.map([Do("echo", (1,))]) != []
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_signals_that_the_program_ignores_or_not(pool: WorkerPool) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGCHLD, signal.SIGPIPE)}
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        worker, _ = pool.map([Do("pids")])[0]
        os.kill(worker, signal.SIGKILL)
        pool.map([Do("echo", (b"y" * 1_000_000,))])
        (answer,) = pool.map([Do("die", (int(signal.SIGABRT),))])
        assert "signal 6" in str(answer)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_missing_program_is_reported_at_once(mark: str) -> None:
    started = time.monotonic()
    with pytest.raises(SimulatorMissingError, match="apt-get install ngspice"):
        WorkerPool(1, WorkerOptions("process", "no-such-ngspice")).map([Do("pids")] * 50, fail_fast=True)
    assert time.monotonic() - started < 1.0
    assert descendants(mark) == []


@pytest.mark.parametrize(("mode", "named"), [("version_is_garbage", "not a working ngspice"), ("too_old", "too old")])
def test_a_program_that_is_no_ngspice_is_reported_without_retries(tmp_path: Path, mode: str, named: str) -> None:
    started = time.monotonic()
    with closing(WorkerPool(2, WorkerOptions("process", fake_ngspice(tmp_path, mode)))) as pool:
        answers = pool.map([Do("pids")] * 100)
    assert {type(answer) for answer in answers} == {SimulatorMissingError}
    assert all(named in str(answer) for answer in answers)
    assert time.monotonic() - started < 10.0


def test_a_program_that_cannot_be_executed_is_reported(tmp_path: Path) -> None:
    program = tmp_path / "ngspice"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    with closing(WorkerPool(1, WorkerOptions("process", str(program)))) as pool:
        (answer,) = pool.map([Do("pids")])
    assert isinstance(answer, SimulatorMissingError)
    assert "cannot be run" in str(answer)


def test_a_program_may_be_named_relative_to_the_working_folder(ngspice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(ngspice).parent)
    with closing(WorkerPool(1, WorkerOptions("process", f"./{Path(ngspice).name}"))) as pool:
        assert pool.version() == "39"


def test_no_place_for_temporary_files_is_a_clear_error(ngspice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with closing(WorkerPool(1, WorkerOptions("process", ngspice, retries=0))) as pool:
        (answer,) = pool.map([Do("pids")])
    assert isinstance(answer, SimulatorError)
    assert "TMPDIR" in str(answer)


def test_no_process_can_be_started(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    before = open_descriptors()
    monkeypatch.setattr(subprocess, "Popen", refuse)
    (answer,) = pool.map([Do("pids")])
    assert "Resource temporarily unavailable" in str(answer)
    assert open_descriptors() == before


def test_a_worker_that_cannot_start_says_why(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.close()
    monkeypatch.setattr("zsgym.simulators.ngspice.worker._program", lambda _: "raise ImportError('numpy is broken')")
    (answer,) = pool.map([Do("pids")])
    assert isinstance(answer, SimulatorCrashError)
    assert "numpy is broken" in str(answer)


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "hspice"},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"timeout_s": float("inf")},
        {"retries": -1},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        WorkerOptions(**options)  # type: ignore[arg-type]


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        WorkerPool(0, WorkerOptions())


# --- channels -------------------------------------------------------------------------------------------------------


def test_a_channel_gives_up_on_half_a_message() -> None:
    raw, other = socket.socketpair()
    with closing(Channel(raw)) as channel, closing(other):
        other.sendall(b"\x10\0\0\0\0\0\0\0half")
        with pytest.raises(TimeoutError):
            channel.receive(timeout_s=0.1)
        other.close()
        with pytest.raises(EOFError):
            channel.receive()


def test_a_channel_reports_a_lost_or_deaf_partner() -> None:
    ours, theirs = Channel.pair()
    with closing(ours):
        with pytest.raises(TimeoutError):
            ours.send(b"x" * 10_000_000, timeout_s=0.1)
        theirs.close()
        with pytest.raises(EOFError):
            ours.send(b"x")
    ours.hang_up()
