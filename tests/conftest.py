"""Shared test set-up: the options, private folders for logs, one thread per process."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

from zsgym import pdk
from zsgym.base.errors import PdkError

# A runner in the background may start us with interrupts ignored, and programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are shared: how long one example takes says nothing about the code.
hypothesis.settings.register_profile("zsgym", deadline=None)
hypothesis.settings.load_profile("zsgym")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--ngspice",
        choices=("required", "if_available", "disabled"),
        default="if_available",
        help="tests that simulate: fail when ngspice is missing (required), skip them then, or never run them",
    )
    parser.addoption(
        "--truth",
        choices=("sample", "all"),
        default="sample",
        help="closed loops that are held against an independent deck: a sample, or all designs at all corners",
    )
    parser.addoption(
        "--all-circuits",
        action="store_true",
        help="run on every shipped circuit what runs on a few of them otherwise (tests/chosen.py)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "another_circuit: left out without --all-circuits")
    config.addinivalue_line("markers", "ngspice: needs ngspice and the SKY130 models")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--all-circuits"):
        left_out = [item for item in items if item.get_closest_marker("another_circuit")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("another_circuit")]
    mode = config.getoption("--ngspice")
    missing = _missing()
    if mode == "required":
        if missing:
            raise pytest.UsageError(f"--ngspice required, but {missing}")
        return
    reason = "--ngspice disabled" if mode == "disabled" else missing
    if reason:
        for item in items:
            if item.get_closest_marker("ngspice"):
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str | None:
    if shutil.which("ngspice") is None:
        return "ngspice is not installed"
    try:
        pdk.locate()
    except PdkError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def _private_log_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes samples into the user's own log."""
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "samples"))
