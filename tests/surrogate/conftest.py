"""Small data sets and configurations for all tests of the surrogate."""

from pathlib import Path

import pytest
import torch

from surrogate.config import SurrogateConfig, read_config
from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, write_config, write_rows


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two circuits that follow the synthetic rule."""
    rows = [*make_rows(nmcf(), 900), *make_rows(nmcnr(), 300, "log")]
    return write_rows(tmp_path_factory.mktemp("synthetic"), rows)


@pytest.fixture(autouse=True)
def _global_state_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line sets torch's threads, and training its seed: not for the tests that follow."""
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Just enough rows to have a working one on every side."""
    return write_rows(tmp_path_factory.mktemp("small"), make_rows(nmcf(), 300, "log"))


@pytest.fixture
def config_file(small: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path / "tiny.yaml", [small], training={"epochs": 4}, model={"dropout": 0.1})


@pytest.fixture
def config(config_file: Path) -> SurrogateConfig:
    return read_config(config_file)
