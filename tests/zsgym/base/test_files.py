"""Files are whole or not there, whatever happens while they are written."""

from pathlib import Path

import pytest

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.base.files import check_writable, copy_file, new_file, write_text


def test_a_file_appears_with_its_folders_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "Ω\n")
    assert path.read_bytes() == "Ω\n".encode()
    write_text(path, "shorter")
    copy_file(path, tmp_path / "new" / "b.txt")
    assert {p.name: p.read_text() for p in path.parent.iterdir()} == {"a.txt": "shorter", "b.txt": "shorter"}


def test_nobody_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with new_file(path) as place:
        place.write_text("ne")
        assert path.read_text() == "old"
        place.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with new_file(path) as place:
            place.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with new_file(tmp_path / "a.txt", SampleLogError) as place:
            place.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(SampleLogError, match=r"cannot write .*a\.txt: No space left on device"):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write .*file.a\.txt: "):
        write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.parametrize("name", [".", "", "new"])
def test_a_folder_is_no_place_for_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    for attempt in (lambda path: write_text(path, "text"), check_writable):
        with pytest.raises(ConfigError, match=r"cannot write .*: it is a folder"):
            attempt(Path(name))


def test_whether_a_file_can_be_written_is_known_before_it_is(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.txt")
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(ConfigError, match=r"cannot write /proc/nowhere/a\.txt: "):
        check_writable(Path("/proc/nowhere/a.txt"))


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*a\.txt: No such file"), new_file(tmp_path / "a.txt"):
        pass
