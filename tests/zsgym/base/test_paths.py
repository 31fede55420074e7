"""Folders: they follow the environment, and the data is found."""

from pathlib import Path

import pytest

from zsgym.base.paths import cache_dir, data_root, log_dir


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ZSGYM_CACHE", "XDG_CACHE_HOME", "ZSGYM_LOG_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "zsgym"
    assert log_dir() == tmp_path / ".local" / "share" / "zsgym" / "samples"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert cache_dir() == tmp_path / "c" / "zsgym"
    assert log_dir() == tmp_path / "d" / "zsgym" / "samples"
    monkeypatch.setenv("ZSGYM_CACHE", "~/x")
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "y"))
    assert cache_dir() == tmp_path / "x"
    assert log_dir() == tmp_path / "y"


def test_data_root_holds_the_data() -> None:
    assert (data_root() / "netlists" / "nmcf.spice").is_file()
    assert (data_root() / "configs" / "circuits" / "nmcf.yaml").is_file()
