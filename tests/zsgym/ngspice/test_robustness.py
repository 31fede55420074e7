"""The real ngspice under attack: killed, stopped, starved and misled in the middle of real evaluations.

Whatever happens, an outcome is the one of an undisturbed run or an infrastructure error, never another label.
"""

import copy
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import ask
from faults import REPOSITORY, DeckJob, children, descendants, eventually, python

from zsgym.base.errors import SimulatorCrashError, SimulatorError, SimulatorMissingError, SimulatorTimeoutError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes import Failure
from zsgym.simulators.ngspice import worker
from zsgym.simulators.ngspice.engine import Analysis
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool
from zsgym.simulators.ngspice.simulator import NgspiceSimulator
from zsgym.simulators.outcome import Outcome, Status

pytestmark = [pytest.mark.ngspice, pytest.mark.usefixtures("spotless")]

ENGINES = ["library", "process"]


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return load_circuit("nmcf")


@pytest.fixture(scope="module")
def sizings(circuit: Circuit) -> list[dict[str, float]]:
    """A working one, one outside the models, and an unstable one."""
    good = next(iter(circuit.known_good.values()))
    return [good, {**good, "L_gm3": 0.1}, {**good, "L_gm2": good["L_gm2"] / 4.0}]


@pytest.fixture(scope="module")
def clean(circuit: Circuit, sizings: list[dict[str, float]], spotless: object) -> list[Any]:
    """What an undisturbed run says."""
    with closing(NgspiceSimulator(circuit)) as simulator:
        outcomes = ask(simulator, sizings)
    assert [outcome.failure for outcome in outcomes] == [None, Failure.GEOMETRY, Failure.UNSTABLE]
    return content(outcomes)


def content(outcomes: list[Outcome]) -> list[Any]:
    return [(o.status, o.failure, o.metrics, o.raw, o.operating_points) for o in outcomes]


def processes(program: int | None = None) -> dict[str, list[int]]:
    """The workers of a program (this one), their children, and the ngspice programs that these have started."""
    workers = [pid for pid in children(program or os.getpid()) if is_worker(pid)]
    simulating = [child for pid in workers for child in children(pid) if is_worker(child)]
    return {"worker": workers, "child": simulating, "ngspice": [pid for child in simulating for pid in children(child)]}


def is_worker(pid: int) -> bool:
    try:
        return b"ngspice.server import main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def attacker(attack: Callable[[], bool]) -> Iterator[threading.Event]:
    """A thread that attacks again and again, until an attack says that it was the last one. The event: it has begun."""
    stop, begun = threading.Event(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            if attack():
                begun.set()
            time.sleep(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield begun
    finally:
        stop.set()
        thread.join()


def send(pids: list[int], number: int) -> bool:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
    return bool(pids)


TARGETS = [
    ("library", "worker"),
    ("library", "child"),
    ("process", "worker"),
    ("process", "child"),
    ("process", "ngspice"),
]


@pytest.mark.parametrize(("engine", "target"), TARGETS)
def test_killed_once_in_mid_run(
    circuit: Circuit, sizings: list[dict[str, float]], clean: list[Any], engine: Any, target: str, mark: str
) -> None:
    killed: list[int] = []

    def attack() -> bool:
        found = processes()
        if not killed and found["child"] and send(found[target], signal.SIGKILL):
            killed.extend(found[target])
        return bool(killed)

    with closing(NgspiceSimulator(circuit, engine=engine)) as simulator, attacker(attack) as begun:
        outcomes = ask(simulator, sizings)
    assert begun.is_set()
    assert content(outcomes) == clean
    assert eventually(lambda: not descendants(mark))


@pytest.mark.parametrize(("engine", "target"), [pair for pair in TARGETS if pair != ("process", "child")])
def test_killed_every_time(
    circuit: Circuit, sizings: list[dict[str, float]], clean: list[Any], engine: Any, target: str, mark: str
) -> None:
    def attack() -> bool:
        found = processes()
        return bool(found["child"]) and send(found[target], signal.SIGKILL)

    with closing(NgspiceSimulator(circuit, engine=engine)) as simulator, attacker(attack):
        working, outside = ask(simulator, sizings[:2], errors="return")
        if target != "worker":  # each of which takes its time to start
            with pytest.raises(SimulatorCrashError, match="signal 9"):
                ask(simulator, sizings)
    assert (working.status, working.label) == (Status.INFRASTRUCTURE_ERROR, None)
    assert isinstance(working.error, SimulatorCrashError)
    assert content([outside]) == clean[1:2]  # known without a simulation


@pytest.mark.parametrize("engine", ENGINES)
def test_hanging(circuit: Circuit, sizings: list[dict[str, float]], engine: Any, mark: str) -> None:
    def attack() -> bool:
        found = processes()
        return bool(found["child"]) and send(found["ngspice" if engine == "process" else "child"], signal.SIGSTOP)

    started = time.monotonic()
    with closing(NgspiceSimulator(circuit, engine=engine, timeout_s=0.5)) as simulator, attacker(attack):
        with pytest.raises(SimulatorTimeoutError, match=r"no answer for 0.5 s"):
            ask(simulator, sizings)
        assert time.monotonic() - started < 30.0
    assert eventually(lambda: not descendants(mark))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_fault_at_any_moment_changes_an_answer(
    circuit: Circuit, sizings: list[dict[str, float]], clean: list[Any], engine: Any, mark: str
) -> None:
    generator = random.Random(1)
    faults = [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGFPE]

    def attack() -> bool:
        time.sleep(generator.uniform(0.0, 0.3))
        victims = [pid for pids in processes().values() for pid in pids]
        return bool(victims) and send([generator.choice(victims)], generator.choice(faults))

    seen = []
    with closing(NgspiceSimulator(circuit, engine=engine, timeout_s=1.5)) as simulator, attacker(attack) as begun:
        for _ in range(3):
            for outcome, expected in zip(ask(simulator, sizings, errors="return"), clean, strict=True):
                seen.append(outcome.status)
                if outcome.status is Status.INFRASTRUCTURE_ERROR:
                    assert isinstance(outcome.error, SimulatorError)
                else:
                    assert content([outcome]) == [expected]
    assert begun.is_set()
    assert seen.count(Status.INFRASTRUCTURE_ERROR) < len(seen)
    with closing(NgspiceSimulator(circuit, engine=engine)) as simulator:
        assert content(ask(simulator, sizings)) == clean


HOSTILE = {
    "options": "set num_threads=7\nset ngbehavior=ps\nset filetype=ascii\nset temp=100\noption reltol=0.5\n",
    "quits": "quit\n",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_settings_of_the_user_change_nothing(
    circuit: Circuit,
    sizings: list[dict[str, float]],
    clean: list[Any],
    engine: Any,
    hostile: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (".spiceinit", "spice.rc", "spinit"):
        (tmp_path / name).write_text(HOSTILE[hostile])
    monkeypatch.chdir(tmp_path)
    for variable in (
        "HOME",
        "USERPROFILE",
        "SPICE_SCRIPTS",
        "SPICE_LIB_DIR",
        "SPICE_USERINIT_DIR",
        "NGSPICE_INPUT_DIR",
    ):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("SPICE_ASCIIRAWFILE", "1")
    monkeypatch.setenv("NGSPICE_MEAS_PRECISION", "2")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with closing(NgspiceSimulator(circuit, engine=engine)) as simulator:
        assert content(ask(simulator, sizings)) == clean
    assert len(list(tmp_path.iterdir())) == 3


def test_these_settings_would_change_ngspice(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    (tmp_path / ".spiceinit").write_text(HOSTILE["quits"])
    (tmp_path / "a.cir").write_text("* a\nr1 a 0 1\nv1 a 0 1\n.control\nop\nwrite a.raw a\n.endc\n.end\n")
    subprocess.run(["ngspice", "-b", "a.cir"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert not (tmp_path / "a.raw").exists()


def test_ten_simulators_in_one_folder(
    circuit: Circuit, sizings: list[dict[str, float]], clean: list[Any], spotless: tuple[Path, Path]
) -> None:
    answers: list[Any] = [None] * 10

    def simulate(number: int) -> None:
        with closing(NgspiceSimulator(circuit, engine=ENGINES[number % 2])) as simulator:  # type: ignore[arg-type]
            answers[number] = content(ask(simulator, sizings))

    threads = [threading.Thread(target=simulate, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [clean] * 10
    assert [os.listdir(folder) for folder in spotless] == [[], []]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(
    circuit: Circuit,
    sizings: list[dict[str, float]],
    clean: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("TMPDIR", str(disk))
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with closing(NgspiceSimulator(circuit, engine="process")) as simulator:
            for used in (60, 45, 30):  # KiB: no room for the deck, for some results, for the last result
                (disk / "other").write_bytes(b"\0" * (used << 10))
                for outcome, expected in zip(ask(simulator, sizings, errors="return"), clean, strict=True):
                    assert outcome.status is Status.INFRASTRUCTURE_ERROR or content([outcome]) == [expected]
                if used == 60:
                    with pytest.raises(SimulatorError):
                        ask(simulator, sizings)
        (disk / "other").unlink()
        assert list(disk.iterdir()) == []
        with closing(NgspiceSimulator(circuit)) as simulator:  # writes no files at all
            (disk / "other").write_bytes(b"\0" * (60 << 10))
            assert content(ask(simulator, sizings)) == clean


def program(body: str, engine: str) -> str:
    return f"""
import os, sys, time
from zsgym.circuits import load_circuit
from zsgym.simulators import make_simulator
circuit = load_circuit("nmcf")
simulator = make_simulator("ngspice", circuit, workers=2, engine={engine!r})
good = next(iter(circuit.known_good.values()))
{body}
"""


@pytest.mark.parametrize(
    ("engine", "number"),
    [("library", signal.SIGINT), ("process", signal.SIGINT), ("library", signal.SIGTERM), ("process", signal.SIGKILL)],
)
def test_the_end_of_a_program_in_mid_batch(engine: str, number: int, mark: str, spotless: tuple[Path, Path]) -> None:
    simulating = python(program("simulator.simulate(circuit.cases([good] * 1000))", engine))
    assert eventually(lambda: len(processes(simulating.pid)["child"]) >= 2, 30.0)
    simulating.send_signal(number)
    _, complaints = simulating.communicate(timeout=10)
    if number == signal.SIGINT:
        assert complaints.count("Traceback") == 1
        assert complaints.strip().endswith("KeyboardInterrupt")
    else:
        assert complaints == ""
    assert eventually(lambda: not descendants(mark), 5.0), descendants(mark)
    assert eventually(lambda: os.listdir(spotless[1]) == [], 5.0)


def test_without_ngspice(circuit: Circuit, sizings: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    start = worker._program
    no_library = (
        "import ctypes; L = ctypes.CDLL; ctypes.CDLL = lambda n: (_ for _ in ()).throw(OSError) if n else L(n); "
    )
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_program", lambda arguments: no_library + start(arguments))
        with closing(NgspiceSimulator(circuit)) as simulator:
            with pytest.raises(SimulatorMissingError, match="apt-get install ngspice libngspice0"):
                ask(simulator, sizings)
            with pytest.raises(SimulatorMissingError):
                simulator.provenance  # noqa: B018
            assert ask(simulator, sizings, errors="return")[0].label is None
    monkeypatch.setenv("PATH", "")
    with (
        closing(NgspiceSimulator(circuit, engine="process")) as simulator,
        pytest.raises(SimulatorMissingError, match="apt-get install ngspice libngspice0"),
    ):
        ask(simulator, sizings)


def test_copies(circuit: Circuit, sizings: list[dict[str, float]], clean: list[Any]) -> None:
    with closing(NgspiceSimulator(circuit, policy="measured", timeout_s=7.0)) as simulator:
        for other in (pickle.loads(pickle.dumps(simulator)), copy.deepcopy(simulator)):
            assert (other.policy, other._pool.options) == (simulator.policy, simulator._pool.options)
            other.close()


def test_memory_stays_flat(circuit: Circuit, sizings: list[dict[str, float]], mark: str) -> None:
    deck = ("* a divider", "v1 a 0 1 ac 1", "r1 a b 1k", "c1 b 0 1n", ".end")
    job = DeckJob(deck, [Analysis("ac", "ac dec 100 1 1meg", ("frequency", "b"))])

    def resident(pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with closing(WorkerPool(1, WorkerOptions())) as pool:
        pool.map([job] * 20)
        pids = [os.getpid(), *processes()["worker"]]
        before = [resident(pid) for pid in pids]
        for _ in range(30):
            pool.map([job] * 10)
        growth = [resident(pid) - size for pid, size in zip(pids, before, strict=True)]
    assert len(growth) == 2
    assert max(growth) < 2 << 20, growth


def test_an_installed_package_in_a_hostile_folder(tmp_path: Path, mark: str) -> None:
    """Not the checkout is used, and no file of the user's in place of a module."""
    site, cwd = tmp_path / "site", tmp_path / "cwd"
    for name in ("zsgym", "surrogate"):
        shutil.copytree(REPOSITORY / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("netlists", "configs"):
        shutil.copytree(REPOSITORY / name, site / "zsgym" / "_data" / name)
    cwd.mkdir()
    for name in ("zsgym", "resource", "numbers", "site"):
        (cwd / f"{name}.py").write_text("raise SystemExit('shadowed')")
    body = "print(simulator.simulate(circuit.cases([good]))[0].status, simulator.provenance['ngspice'])"
    code = f"import sys; sys.path.insert(0, {str(site)!r})" + program(body, "library")
    finished = subprocess.run([sys.executable, "-I", "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert (finished.stdout.split()[:1], finished.stderr) == (["success"], "")
