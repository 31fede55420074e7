"""The sample log under everything that happens to long runs: crashes, forks, full disks, damaged files."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zsgym.samples.rows import failed_row, make_row, samples
from zsgym.base.errors import SampleLogError
from zsgym.classes.amplifier import AmplifierConditions
from zsgym.samples import (
    ErrorRecord,
    ReadReport,
    Sample,
    SampleLog,
    SampleLogWarning,
    read_errors,
    read_samples,
    relabel_queue,
    sample_id,
    training_rows,
)
from zsgym.samples.lines import decode_line, encode_line
from zsgym.samples.packing import RowPacker

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def segments(directory: Path) -> list[Path]:
    return sorted((directory / "segments").iterdir())


def read_quietly(directory: Path) -> tuple[list[Sample], ReadReport]:
    report = ReadReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleLogWarning)
        return list(read_samples(directory, report)), report


# --- rows -----------------------------------------------------------------------------------------------------------


@FAST
@given(st.lists(samples(), max_size=5))
def test_rows_round_trip_in_every_bit(rows: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        with SampleLog(directory) as log:
            stored = log.append_many(rows)
        if rows:
            assert list(read_samples(directory)) == stored
        assert [row.model_copy(update={"writer": None}) for row in stored] == rows


def test_rows_from_before_targets_were_logged_still_read(tmp_path: Path) -> None:
    fields = make_row(index=3).as_dict()
    assert fields.pop("targets") is None
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "a.jsonl").write_bytes(encode_line(fields))
    (row,) = read_samples(tmp_path)
    assert (row.index, row.targets) == (3, None)


def test_a_line_is_plain_json_with_a_checksum_that_covers_every_byte() -> None:
    line = encode_line({"a": 0.1 + 0.2, "b": 'µ\n"}'})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    fields = decode_line(line[:-1])
    assert fields == {"a": 0.1 + 0.2, "b": 'µ\n"}'}
    for position in range(len(line) - 1):
        damaged = bytearray(line[:-1])
        damaged[position] ^= 0x01
        assert isinstance(decode_line(bytes(damaged)), str), f"a flipped bit at byte {position} went unnoticed"


def test_sample_id_depends_on_what_was_simulated_and_on_nothing_else() -> None:
    conditions = AmplifierConditions()
    identity = sample_id("nmcf", "ab", {"W": 1.0, "M": 4}, conditions)
    assert identity == sample_id("nmcf", "ab", {"M": 4.0, "W": 1.0}, conditions.as_dict())
    others = [
        sample_id("nmcnr", "ab", {"W": 1.0, "M": 4}, conditions),
        sample_id("nmcf", "cd", {"W": 1.0, "M": 4}, conditions),
        sample_id("nmcf", "ab", {"W": 1.0 + 2**-52, "M": 4}, conditions),
        sample_id("nmcf", "ab", {"W": 4, "M": 1.0}, conditions),
        sample_id("nmcf", "ab", {"W": 1.0, "M": 4}, conditions.replace(corner="ff")),
    ]
    assert len({identity, *others}) == 6
    assert make_row().sample_id == failed_row(backend="surrogate", elapsed_s=9.0).sample_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 1, "metrics": None}, "needs metrics"),
        ({"metrics": {"gbw": float("nan")}}, r"metrics\.gbw: .*finite"),
        ({"reward": float("-inf")}, "reward: .*finite"),
        ({"conditions": {"supply": float("nan")}}, "conditions.*finite"),
        ({"failure": "unstable"}, "cannot have the failure"),
        ({"label": 0}, "needs a failure"),
        ({"label": 0, "failure": "unstable", "metrics": {"gbw": 1e9}}, "null metrics"),
        ({"label": 0, "failure": "bad luck"}, "failure"),
        ({"label": None}, "label"),
        ({"backend": "hybrid"}, "simulator that answered"),
        ({"sizing": {"W": float("inf")}}, "finite"),
        ({"sizing": {}}, "at least one parameter"),
        ({"colour": "blue"}, "colour"),
        ({"schema": 2}, "version 2"),
    ],
)
def test_an_impossible_row_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SampleLogError, match=message):
        make_row(**changes)


def test_failed_rows_hold_null_metrics_and_keep_their_finite_measurements(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        log.append(failed_row(raw={"pole": 3.0, "margin": float("nan"), "slew": None}))
    (row,) = read_samples(tmp_path)
    assert row.label == 0
    assert set(row.metrics.values()) == {None}
    assert len(row.metrics) == 11
    assert row.raw == {"pole": 3.0}


def test_predicted_rows_are_a_queue_and_never_training_rows(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        log.append(make_row(backend="surrogate", p_valid=0.9))
        log.append(failed_row(backend="surrogate", sizing={"W_gm3": 2.0}))
        log.append(failed_row(backend="surrogate", sizing={"W_gm3": 2.0}))
        log.append(make_row())
    assert [row.backend for row in training_rows(tmp_path)] == ["ngspice"]
    assert [row.sizing for row in relabel_queue(tmp_path)] == [{"W_gm3": 2.0}]


def test_infrastructure_errors_stay_outside_the_samples(tmp_path: Path) -> None:
    fields = make_row().as_dict()
    record = {key: fields[key] for key in ("circuit", "netlist_hash", "sizing", "conditions", "backend")}
    with SampleLog(tmp_path) as log:
        log.append_error(record | {"error": "SimulatorCrashError", "message": "killed by signal 9"})
    assert list(read_samples(tmp_path)) == []
    assert [error.message for error in read_errors(tmp_path)] == ["killed by signal 9"]
    with pytest.raises(SampleLogError, match="label"):
        ErrorRecord.parse(record | {"error": "x", "message": "y", "label": 0})


def test_reading_what_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(SampleLogError, match="does not exist"):
        list(read_samples(tmp_path / "missing"))
    with pytest.raises(SampleLogError, match="not a sample log"):
        list(read_samples(tmp_path))


def test_a_row_of_a_later_version_is_an_error_not_a_guess(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "a.jsonl").write_bytes(encode_line(make_row().as_dict() | {"schema": 7}))
    with pytest.raises(SampleLogError, match=r"a\.jsonl, line 1: .*version 7"):
        list(read_samples(tmp_path))


# --- damage ---------------------------------------------------------------------------------------------------------

ROWS = [failed_row(sizing={"W_gm3": 0.5 + i}, index=i) for i in range(4)]
PACKER = RowPacker()
LINES = {"jsonl": [encode_line(row.as_dict()) for row in ROWS], "rows": [PACKER.lines(row) for row in ROWS]}
"""Suffix of a segment -> for every row what is written: its line, behind the definitions that come with it."""
DEFINITIONS = LINES["rows"][0].rindex(b"\n", 0, -1) + 1
"""Length of the definitions, all of which come with the first row."""

formats = st.sampled_from(["jsonl", "rows"])


def write_segment(directory: Path, content: bytes, suffix: str) -> None:
    (directory / "segments").mkdir()
    (directory / "segments" / f"one.{suffix}").write_bytes(content)


@FAST
@given(formats, st.data())
def test_a_file_cut_anywhere_loses_only_the_cut_row_and_says_so(suffix: str, data: st.DataObject) -> None:
    lines = LINES[suffix]
    text = b"".join(lines)
    length = data.draw(st.integers(0, len(text)))
    with tempfile.TemporaryDirectory() as name:
        write_segment(Path(name), text[:length], suffix)
        rows, report = read_quietly(Path(name))
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    # Without its newline the last row is still whole, which its checksum proves.
    whole = sum(length >= end - 1 for end in ends)
    assert rows == ROWS[:whole]
    breaks = [0, *(place + 1 for place in range(len(text)) if text[place : place + 1] == b"\n")]
    clean = length in breaks or length + 1 in breaks
    number = text[:length].count(b"\n") + 1
    assert [problem.line for problem in report.problems] == ([] if clean else [number])


@FAST
@given(formats, st.data(), st.binary(min_size=1, max_size=3))
def test_overwritten_bytes_never_give_a_wrong_row(suffix: str, data: st.DataObject, garbage: bytes) -> None:
    text = b"".join(LINES[suffix])
    position = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:position] + garbage + text[position + len(garbage) :]
    with tempfile.TemporaryDirectory() as name:
        write_segment(Path(name), damaged, suffix)
        rows, report = read_quietly(Path(name))
    assert all(row in ROWS for row in rows)
    if damaged.rstrip(b"\n") != text.rstrip(b"\n"):
        assert report.problems
        assert len(rows) < len(ROWS)


@FAST
@given(formats, st.data(), st.binary(min_size=1, max_size=200))
def test_inserted_bytes_never_give_a_wrong_row(suffix: str, data: st.DataObject, garbage: bytes) -> None:
    text = b"".join(LINES[suffix])
    position = data.draw(st.integers(0, len(text)))
    with tempfile.TemporaryDirectory() as name:
        write_segment(Path(name), text[:position] + garbage + text[position:], suffix)
        rows, report = read_quietly(Path(name))
    assert all(row in ROWS for row in rows)
    if suffix == "jsonl" or position >= DEFINITIONS:
        assert len(rows) >= len(ROWS) - 1
    assert report.problems


def test_a_flipped_bit_is_never_read_over(tmp_path: Path) -> None:
    text = b"".join(LINES["rows"])
    write_segment(tmp_path, text, "rows")
    (path,) = segments(tmp_path)
    for position in range(len(text) - 1):
        damaged = bytearray(text)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        rows, report = read_quietly(tmp_path)
        assert report.problems, f"a flipped bit at byte {position} went unnoticed"
        assert len(rows) < len(ROWS)
        assert all(row in ROWS for row in rows)


def test_a_damaged_line_is_warned_about_by_file_and_line(tmp_path: Path) -> None:
    lines = LINES["jsonl"]
    write_segment(tmp_path, lines[0] + lines[1].replace(b'"unstable"', b'"unphysical"') + lines[2], "jsonl")
    with pytest.warns(SampleLogWarning, match=r"one\.jsonl, line 2: checksum does not match"):
        rows = list(read_samples(tmp_path))
    assert rows == [ROWS[0], ROWS[2]]


def test_a_row_being_written_right_now_is_no_damage(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        log.append(ROWS[0])
        with segments(tmp_path)[0].open("ab") as file:
            file.write(LINES["rows"][1][:40])
        assert [row.index for row in read_samples(tmp_path)] == [0]
    with pytest.warns(SampleLogWarning, match="incomplete last line"):
        assert [row.index for row in read_samples(tmp_path)] == [0]


# --- several writers ------------------------------------------------------------------------------------------------


def append_rows(log: SampleLog, first: int, count: int) -> None:
    for index in range(first, first + count):
        log.append(make_row(index=index))


def test_threads_share_one_log(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        threads = [threading.Thread(target=append_rows, args=(log, 100 * i, 100)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(segments(tmp_path)) == 1
    assert sorted(row.index or 0 for row in read_samples(tmp_path)) == list(range(400))


def test_two_logs_on_one_directory_do_not_meet(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as one, SampleLog(tmp_path) as two:
        append_rows(one, 0, 3)
        append_rows(two, 3, 3)
        append_rows(one, 6, 3)
    assert len(segments(tmp_path)) == 2
    assert sorted(row.index or 0 for row in read_samples(tmp_path)) == list(range(9))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_share_a_log_object_write_segments_of_their_own(tmp_path: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    log = SampleLog(tmp_path)
    log.append(make_row(index=0))
    parent_segment = segments(tmp_path)[0]
    children = [context.Process(target=append_rows, args=(log, 1 + 50 * i, 50)) for i in range(2)]
    for child in children:
        child.start()
    log.append(make_row(index=101))
    for child in children:
        child.join()
        assert child.exitcode == 0
    log.close()
    assert len(segments(tmp_path)) == 3
    rows = list(read_samples(tmp_path))
    assert sorted(row.index or 0 for row in rows) == list(range(102))
    assert len({row.writer for row in rows}) == 3
    assert [row.index for row in rows if row.writer == parent_segment.stem] == [0, 101]


def test_a_fork_while_another_thread_writes_does_not_deadlock(tmp_path: Path) -> None:
    log = SampleLog(tmp_path)
    log._lock.acquire()  # what the child inherits when another thread is in the middle of a row
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        log.append(make_row(index=1))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    log._lock.release()
    assert [row.index for row in read_samples(tmp_path)] == [1]


def test_a_pickled_log_starts_a_new_segment(tmp_path: Path) -> None:
    with SampleLog(tmp_path) as log:
        log.append(make_row(index=0))
        with pickle.loads(pickle.dumps(log)) as copy:
            copy.append(make_row(index=1))
    assert len(segments(tmp_path)) == 2


# --- crashes and full disks -----------------------------------------------------------------------------------------

WRITER = """
import sys
from tests.zsgym.samples.rows import make_row
from zsgym.samples import SampleLog
log = SampleLog(sys.argv[1])
for index in range(10**9):
    log.append(make_row(index=index))
    if index == 20:
        print("writing", flush=True)
"""


def test_a_killed_writer_loses_at_most_the_row_being_written(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        time.sleep(0.02)
        writer.kill()
    rows, report = read_quietly(tmp_path)
    assert len(rows) > 20
    assert [row.index for row in rows] == list(range(len(rows)))
    assert len(report.problems) <= 1
    append_rows(SampleLog(tmp_path), len(rows), 1)
    assert len(read_quietly(tmp_path)[0]) == len(rows) + 1


FULL_DISK = """
import resource, sys
from tests.zsgym.samples.rows import make_row
from zsgym.base.errors import SampleLogError
from zsgym.samples import SampleLog
log = SampleLog(sys.argv[1])
log.append(make_row(index=0))
log.append(make_row(index=1))
size = next((log.directory / "segments").iterdir()).stat().st_size
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), unlimited[1]))
try:
    log.append(make_row(index=2))
except SampleLogError as error:
    print(error)
else:
    sys.exit("a write beyond the limit went through")
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
log.append(make_row(index=3))
log.close()
"""


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_is_an_error_and_the_log_stays_whole(tmp_path: Path, room: int) -> None:
    """A file size limit stands in for the full disk: the write is refused, or (with some room) cut short."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(room)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cannot write to" in done.stdout
    assert "rows before this one are safe" in done.stdout
    rows, report = read_quietly(tmp_path)
    assert [row.index for row in rows] == [0, 1, 3]
    assert not report.problems


def test_a_batch_is_one_write_and_stored_as_a_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, sizes = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real_write(descriptor, data[: len(data) // 2] if len(sizes) == 2 else data)

    monkeypatch.setattr(os, "write", write)
    with SampleLog(tmp_path) as log:
        log.append_many(make_row(index=i) for i in range(3))
        with pytest.raises(SampleLogError, match="disk full"):
            log.append_many(make_row(index=i) for i in range(3, 6))
        log.append_many([make_row(index=6), make_row(index=7)])
        assert log.append_many([]) == []
    rows, report = read_quietly(tmp_path)
    assert len(sizes) == 3
    assert [row.index for row in rows] == [0, 1, 2, 6, 7], "of the batch that failed half-way nothing remains"
    assert not report.problems


def test_an_incomplete_row_that_cannot_be_removed_is_left_behind_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, length: int) -> None:
        raise OSError(5, "Input/output error")

    real_write = os.write
    with SampleLog(tmp_path) as log:
        log.append(make_row(index=0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", refuse)
            patch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:30]))
            with pytest.raises(SampleLogError, match="disk full"):
                log.append(make_row(index=1))
        log.append(make_row(index=2))
    rows, report = read_quietly(tmp_path)
    assert [row.index for row in rows] == [0, 2]
    (problem,) = report.problems
    assert problem.line == len(problem.path.read_bytes().split(b"\n"))


def test_a_log_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SampleLogError, match="cannot create a segment"):
        SampleLog(tmp_path / "file").append(make_row())


def test_nothing_is_created_before_the_first_row(tmp_path: Path) -> None:
    with SampleLog(tmp_path / "log"):
        pass
    assert not (tmp_path / "log").exists()
