"""Jobs that crash, hang and fail, and the end of workers. None of it needs a real ngspice."""

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from faults import Do, descendants, eventually, is_gone, open_descriptors, python, script, zombies

from zsgym.base.errors import (
    SimulatorCrashError,
    SimulatorError,
    SimulatorTimeoutError,
)
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool

pytestmark = pytest.mark.usefixtures("spotless")


# --- jobs that fail, and jobs beside them ---------------------------------------------------------------------------


def test_answers_keep_their_order(shared: WorkerPool) -> None:
    delays = [0.2, 0.0, 0.1, 0.0, 0.15, 0.0]
    assert shared.map([Do("echo", (i, delay)) for i, delay in enumerate(delays)]) == [0, 1, 2, 3, 4, 5]
    assert shared.map([]) == []


def test_every_job_has_a_fresh_process_of_a_lasting_worker(pool: WorkerPool) -> None:
    answers = pool.map([Do("pids") for _ in range(5)])
    assert len({worker for worker, _ in answers}) == 1
    assert len({child for _, child in answers}) == 5


@pytest.mark.parametrize(
    ("by", "named"), [(signal.SIGKILL, "signal 9"), (signal.SIGSEGV, "signal 11"), (103, "status 103")]
)
def test_a_job_that_always_crashes_costs_only_its_own_answer(
    shared: WorkerPool, tmp_path: Path, by: int, named: str
) -> None:
    attempts = tmp_path / "attempts"
    answers = shared.map([Do("echo", (0,)), Do("die", (int(by),), attempts), Do("echo", (2,)), Do("echo", (3,))])
    assert [answers[0], *answers[2:]] == [0, 2, 3]
    assert isinstance(answers[1], SimulatorCrashError)
    assert named in str(answers[1])
    assert len(attempts.read_text().splitlines()) == 1 + shared.options.retries


def test_a_crash_does_not_cost_the_worker(pool: WorkerPool) -> None:
    before, _ = pool.map([Do("pids")])[0]
    pool.map([Do("die", (int(signal.SIGSEGV),))])
    after, _ = pool.map([Do("pids")])[0]
    assert before == after


def test_a_job_that_crashes_once_is_answered(shared: WorkerPool, tmp_path: Path) -> None:
    assert shared.map([Do("die_once", (tmp_path / "flag",)), Do("echo", (1,))]) == ["alive", 1]


def test_a_killed_worker_is_replaced(pool: WorkerPool) -> None:
    before, _ = pool.map([Do("pids")])[0]
    (answer,) = pool.map([Do("kill_worker")])
    assert isinstance(answer, SimulatorCrashError)
    assert "signal 9" in str(answer)
    after, _ = pool.map([Do("pids")])[0]
    assert before != after


def test_a_worker_killed_between_jobs_is_replaced_unnoticed(pool: WorkerPool) -> None:
    before, _ = pool.map([Do("pids")])[0]
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    after, _ = pool.map([Do("pids")])[0]
    assert before != after


@pytest.mark.parametrize(
    ("function", "named"),
    [("fail", "ZeroDivisionError: a bug in a testbench"), ("unpicklable", "pickle")],
)
def test_a_bug_in_a_job_is_an_error_that_names_it(pool: WorkerPool, function: str, named: str) -> None:
    (answer,) = pool.map([Do(function)])
    assert isinstance(answer, SimulatorError)
    assert named in str(answer)


def test_a_job_that_the_worker_cannot_import_is_an_error(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Do, "__module__", "no_such_module")
    monkeypatch.setitem(sys.modules, "no_such_module", sys.modules["faults"])
    (answer,) = pool.map([Do("echo", (1,))])
    assert isinstance(answer, SimulatorError)
    assert "no_such_module" in str(answer)


def test_big_jobs_and_answers(shared: WorkerPool) -> None:
    size = 5_000_000
    assert [len(answer) for answer in shared.map([Do("big", (size,)), Do("echo", (b"y" * size,))])] == [size, size]


def test_fail_fast_raises_and_drops_the_rest(shared: WorkerPool) -> None:
    started = time.monotonic()
    with pytest.raises(SimulatorError, match="ZeroDivisionError"):
        shared.map([Do("sleep"), Do("fail"), Do("sleep")], fail_fast=True)
    assert time.monotonic() - started < 10.0
    assert shared.map([Do("echo", (1,))]) == [1]


# --- hanging --------------------------------------------------------------------------------------------------------


def test_a_hanging_job_is_killed_with_all_it_started(pool: WorkerPool, mark: str) -> None:
    pool.close()
    pool.map([Do("pids")])  # a worker with the mark
    started = time.monotonic()
    (answer,) = pool.map([Do("sleep_uninterruptibly")])
    assert isinstance(answer, SimulatorTimeoutError)
    assert 1.0 <= time.monotonic() - started < 5.0
    assert "1 s" in str(answer)
    assert eventually(lambda: not descendants(mark))


def test_a_stopped_child_is_killed_and_its_job_retried(ngspice: str, tmp_path: Path) -> None:
    with closing(WorkerPool(1, WorkerOptions("process", ngspice, timeout_s=1.0, retries=1))) as pool:
        assert pool.map([Do("stop_once", (tmp_path / "flag",)), Do("echo", (1,))]) == ["alive", 1]


@pytest.mark.parametrize("size", [1, 5_000_000])  # the larger one does not fit into the buffer of a socket
def test_a_stopped_worker_is_killed(pool: WorkerPool, size: int) -> None:
    worker, _ = pool.map([Do("pids")])[0]
    os.kill(worker, signal.SIGSTOP)
    (answer,) = pool.map([Do("echo", (b"y" * size,))])
    assert isinstance(answer, SimulatorTimeoutError)
    assert is_gone(worker)


def test_a_process_left_behind_by_a_job_is_killed(shared: WorkerPool) -> None:
    (left,) = shared.map([Do("leave_a_process_behind")])
    assert eventually(lambda: is_gone(left))


# --- the end of the pool, and of those around it --------------------------------------------------------------------


def test_close_ends_everything_and_may_be_repeated(pool: WorkerPool) -> None:
    worker, _ = pool.map([Do("pids")])[0]
    pool.close()
    assert is_gone(worker)
    pool.close()
    WorkerPool(1, pool.options).close()  # never used


def test_a_forgotten_pool_ends_its_workers(ngspice: str) -> None:
    pool = WorkerPool(1, WorkerOptions("process", ngspice))
    worker, _ = pool.map([Do("pids")])[0]
    del pool
    gc.collect()
    assert is_gone(worker)


def test_close_during_use_answers_with_an_error(ngspice: str, mark: str) -> None:
    pool = WorkerPool(2, WorkerOptions("process", ngspice))
    answers: list[object] = []
    user = threading.Thread(target=lambda: answers.extend(pool.map([Do("sleep") for _ in range(4)])))
    user.start()
    assert eventually(lambda: len(descendants(mark)) >= 4)
    pool.close()
    user.join(timeout=10.0)
    assert not user.is_alive()
    assert len(answers) == 4
    assert all(isinstance(answer, SimulatorError) for answer in answers)
    assert eventually(lambda: not descendants(mark))


def test_close_by_a_signal_handler_in_mid_batch_answers_with_errors(ngspice: str) -> None:
    pool = WorkerPool(1, WorkerOptions("process", ngspice))
    previous = signal.signal(signal.SIGALRM, lambda *_: pool.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        answers = pool.map([Do("sleep"), Do("sleep")])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert all(isinstance(answer, SimulatorError) for answer in answers)


def test_threads_take_turns(shared: WorkerPool) -> None:
    answers: dict[int, list[object]] = {}

    def use(number: int) -> None:
        answers[number] = shared.map([Do("echo", ((number, i), 0.01)) for i in range(6)])

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30.0)
    assert answers == {number: [(number, i) for i in range(6)] for number in range(3)}


def _use_in_fork(pool: WorkerPool, results: "multiprocessing.Queue[object]") -> None:
    results.put((os.getpid(), pool.map([Do("pids")])[0][0], pool.map([Do("echo", (7,))])))
    pool.close()


def test_a_forked_process_has_workers_of_its_own(shared: WorkerPool) -> None:
    mine = {worker for worker, _ in shared.map([Do("pids") for _ in range(8)])}
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[object] = context.Queue()
    child = context.Process(target=_use_in_fork, args=(shared, results))
    child.start()
    _, theirs, answer = results.get(timeout=30)  # type: ignore[misc]
    child.join(timeout=10)
    assert child.exitcode == 0
    assert theirs not in mine
    assert answer == [7]
    assert {worker for worker, _ in shared.map([Do("pids") for _ in range(8)])} <= mine


def test_copies_and_pickles_have_workers_of_their_own(pool: WorkerPool) -> None:
    for duplicate in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool)), copy.copy(pool)):
        assert (duplicate.workers, duplicate.options) == (pool.workers, pool.options)
        assert duplicate is not pool
        duplicate.close()
    assert pool.map([Do("echo", (1,))]) == [1]


def test_an_interrupt_ends_a_batch_at_once(ngspice: str, mark: str, spotless: tuple[Path, Path]) -> None:
    program = python(script(ngspice, "pool.map([Do('sleep_uninterruptibly') for _ in range(4)])", workers=2))
    assert eventually(lambda: len([p for p in descendants(mark) if "sleep 1000" in p]) == 2)
    program.send_signal(signal.SIGINT)
    _, complaints = program.communicate(timeout=10)
    assert complaints.strip().endswith("KeyboardInterrupt")
    assert complaints.count("Traceback") == 1
    assert eventually(lambda: not descendants(mark), 3.0), descendants(mark)
    assert os.listdir(spotless[1]) == []


def test_nothing_outlives_a_killed_program_even_beside_its_forks(
    ngspice: str, mark: str, spotless: tuple[Path, Path]
) -> None:
    body = """
pool.map([Do("pids")])
if os.fork() == 0:
    time.sleep(1000)
print(os.getpid(), flush=True)
pool.map([Do("sleep_uninterruptibly") for _ in range(4)])
"""
    program = python(script(ngspice, body, workers=2))
    assert eventually(lambda: len([p for p in descendants(mark) if "sleep 1000" in p]) == 2)
    program.kill()
    program.wait()
    assert eventually(lambda: len(descendants(mark)) == 1, 5.0), descendants(mark)
    assert eventually(lambda: os.listdir(spotless[1]) == [], 5.0)
    os.kill(int(descendants(mark)[0].split()[0]), signal.SIGKILL)
    program.communicate()


@pytest.mark.parametrize(
    "end",
    ["", "pool.close()", "threading.Thread(target=pool.map, args=([Do('sleep')],), daemon=True).start()"],
)
def test_the_end_of_a_program_is_silent(ngspice: str, mark: str, end: str) -> None:
    body = f"assert pool.map([Do('echo', (i,)) for i in range(2)]) == [0, 1]\n{end}"
    program = python(script(ngspice, body), "-X", "dev", "-W", "error")
    output = program.communicate(timeout=30)
    assert (program.returncode, *output) == (0, "", "")
    assert eventually(lambda: not descendants(mark), 3.0)


def test_replaced_workers_leave_no_descriptor_and_no_zombie(pool: WorkerPool) -> None:
    pool.map([Do("pids")])
    before = open_descriptors()
    for _ in range(3):
        pool.map([Do("kill_worker")])
        pool.map([Do("pids")])
    assert len(open_descriptors()) == len(before)
    assert zombies() == []
