"""Both engines on decks small enough to be calculated by hand, on decks that fail, and on a fake ngspice that lies."""

import json
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ask
from faults import DeckJob, fake_ngspice

from zsgym.base.errors import SimulatorCrashError, SimulatorError, SimulatorMissingError, SimulatorOutputError
from zsgym.circuits import load_circuit
from zsgym.classes import Failure
from zsgym.simulators import make_simulator
from zsgym.simulators.ngspice import library
from zsgym.simulators.ngspice.engine import Analysis, NonConvergenceError, checked, find_version, parse_show
from zsgym.simulators.ngspice.pool import WorkerOptions, WorkerPool
from zsgym.simulators.ngspice.process import ProcessEngine

pytestmark = pytest.mark.usefixtures("spotless")

POWER_UP = Path(__file__).parents[2] / "golden" / "power_up.json"
FILTER = (
    "* low-pass filter, 1 kOhm and 1 nF, and a transistor",
    "v1 in 0 dc 1 ac 1 pulse(0 1 1u 1n 1n 1)",
    "r1 in out 1k",
    "c1 out 0 1n",
    "m1 in in 0 0 simple w=10u l=1u",
    ".model simple nmos level=1",
    ".end",
)
OP = Analysis("op", "op", ("in", "out"))
SWEEP = Analysis("sweep", "dc v1 0 2 0.1", ("out", "v1#branch"))
AC = Analysis("ac", "ac dec 10 1k 1meg", ("frequency", "out"))
ONE_FREQUENCY = Analysis("one", "ac lin 1 1k 1k", ("out",))
NOISE = Analysis(
    "noise", "noise v(out) v1 dec 10 1k 1meg", ("frequency", "onoise_spectrum", "inoise_spectrum"), ("alter v1 ac=1",)
)
NOISE_AT_ONE_FREQUENCY = Analysis("noise_at_one", "noise v(out) v1 dec 10 1k 1k", NOISE.vectors, NOISE.commands)
TRANSIENT = Analysis("transient", "tran 0.1u 10u 0 0.1u", ("time", "out"))
BOUNDED = Analysis("bounded", "tran 0.1u 10u 0 0.1u", ("time", "out"), max_points=20)

CONFLICTING_SOURCES = ("* no solution", "v1 in 0 dc 1", "v2 in 0 dc 2", "r1 in out 1k", "r2 out c 1k", ".end")
BREAKS_IN_TIME = (
    "* a logarithm of a negative number from 1.45 V on",
    "v1 in 0 dc 0 pulse(0 2 1u 1u 1u 10u 1)",
    "r1 in out 1k",
    "b1 out 0 i = v(in) > 1.45 ? 1e3*(v(out) > 0.7 ? -1 : 1)+ln(v(in)-3) : v(out)*1m",
    ".end",
)
NO_MODEL = ("* a transistor without a model", "v1 c 0 dc 1", "m1 c c 0 0 nothing w=1u l=1u", ".end")


@pytest.fixture(scope="module", params=["library", "process"])
def pool(request: pytest.FixtureRequest, spotless: object) -> Iterator[WorkerPool]:
    with closing(WorkerPool(1, WorkerOptions(request.param, retries=0, timeout_s=60.0))) as pool:
        yield pool


def run(pool: WorkerPool, deck: tuple[str, ...], *analyses: Analysis, **options: Any) -> Any:
    return pool.map([DeckJob(deck, analyses, **options)])[0]


@pytest.mark.ngspice
def test_results_are_those_of_the_circuit(pool: WorkerPool) -> None:
    found = run(pool, FILTER, OP, SWEEP, AC, ONE_FREQUENCY, TRANSIENT)
    assert found["op"]["out"] == pytest.approx([1.0])
    np.testing.assert_allclose(found["sweep"]["out"], np.linspace(0.0, 2.0, 21), atol=1e-6)
    frequency = found["ac"]["frequency"]
    assert frequency.dtype == np.float64
    np.testing.assert_allclose(frequency, np.logspace(3, 6, 31), rtol=1e-9)
    np.testing.assert_allclose(found["ac"]["out"], 1.0 / (1.0 + 2j * math.pi * frequency * 1e-6), rtol=1e-6)
    assert found["one"]["out"].shape == (1,)
    time, out = found["transient"]["time"], found["transient"]["out"]
    assert time[-1] == pytest.approx(10e-6)
    np.testing.assert_allclose(out[-1], 1.0 - math.exp(-9.0), rtol=1e-3)


@pytest.mark.ngspice
def test_noise_is_that_of_the_resistor(pool: WorkerPool) -> None:
    """Among other analyses: 4 k T R at 27 degrees, filtered at the output, white when referred to the input."""
    found = run(pool, FILTER, OP, NOISE, AC, NOISE_AT_ONE_FREQUENCY)
    frequency = found["noise"]["frequency"]
    np.testing.assert_allclose(frequency, np.logspace(3, 6, 31), rtol=1e-9)
    density = math.sqrt(4.0 * 1.380649e-23 * 300.15 * 1e3)  # V/sqrt(Hz)
    np.testing.assert_allclose(found["noise"]["inoise_spectrum"], density, rtol=1e-6)
    response = np.abs(1.0 / (1.0 + 2j * math.pi * frequency * 1e-6))
    np.testing.assert_allclose(found["noise"]["onoise_spectrum"], density * response, rtol=1e-6)
    np.testing.assert_allclose(found["noise_at_one"]["inoise_spectrum"], [density], rtol=1e-6)


@pytest.mark.ngspice
def test_operating_points_belong_to_the_last_op(pool: WorkerPool) -> None:
    found = run(pool, FILTER, OP, operating_points=True)
    (device,) = found["show"].values()
    assert device["vds"] == pytest.approx(1.0)
    assert device["id"] == pytest.approx(0.5 * 2e-5 * 10 * 1.0**2)


@pytest.mark.ngspice
def test_the_bound_on_time_points_holds_for_its_analysis_only(pool: WorkerPool) -> None:
    found = run(pool, FILTER, BOUNDED, AC, TRANSIENT, then=[OP, BOUNDED, SWEEP])
    clean = run(pool, FILTER, TRANSIENT)
    assert found["bounded"]["time"].shape == (20,)
    assert found["bounded"]["time"][-1] < 10e-6
    np.testing.assert_array_equal(found["transient"]["out"], clean["transient"]["out"])
    np.testing.assert_array_equal(found["bounded"]["out"], clean["transient"]["out"][:20])
    assert found["sweep"]["out"].shape == (21,)


@pytest.mark.ngspice
def test_both_engines_agree_to_the_last_bit(spotless: object) -> None:
    answers = []
    for engine in ("library", "process"):
        with closing(WorkerPool(1, WorkerOptions(engine))) as pool:
            answers.append(run(pool, FILTER, OP, SWEEP, AC, NOISE, BOUNDED))
    first, second = answers
    for name, vectors in first.items():
        for vector, values in vectors.items():
            np.testing.assert_array_equal(values, second[name][vector], err_msg=f"{name} {vector}")


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("deck", "analysis"),
    [
        (CONFLICTING_SOURCES, OP),
        # ngspice knows physical constants by these names: the speed of light is no node voltage
        (CONFLICTING_SOURCES, Analysis("op", "op", ("c",))),
        (CONFLICTING_SOURCES, Analysis("sweep", "dc v1 0 2 0.1", ("out",))),
        (CONFLICTING_SOURCES, NOISE),
        (BREAKS_IN_TIME, Analysis("transient", "tran 0.1u 10u", ("time", "out"))),
    ],
)
def test_non_convergence_is_a_statement_about_the_circuit(
    pool: WorkerPool, deck: tuple[str, ...], analysis: Analysis
) -> None:
    answer = run(pool, deck, analysis)
    assert isinstance(answer, str)
    assert answer.startswith("no convergence: analysis")


@pytest.mark.ngspice
@pytest.mark.parametrize(
    ("deck", "analyses"),
    [
        (NO_MODEL, [OP]),
        (NO_MODEL, [Analysis("op", "op", ("c",))]),
        (FILTER, [Analysis("op", "op", ("out", "no_such_net"))]),
        # a second analysis that ngspice refuses must not be answered with the vectors of the first
        (FILTER, [SWEEP, Analysis("again", "dc no_such_source 0 2 0.1", ("out", "v1#branch"))]),
        (FILTER, [OP, Analysis("again", "op", ("pi",))]),
        (FILTER, [NOISE, Analysis("again", "noise v(out) no_such_source dec 10 1k 1meg", NOISE.vectors)]),
        (FILTER, [Analysis("noise", "noise v(out) v1 dec 10 1k 1meg", ("frequency", "onoise_total"))]),
        (("no deck at all",), [OP]),
        ((), [OP]),
    ],
)
def test_everything_else_is_an_error_of_the_infrastructure(
    pool: WorkerPool, deck: tuple[str, ...], analyses: list[Analysis]
) -> None:
    answer = run(pool, deck, *analyses)
    assert isinstance(answer, SimulatorError), answer


@pytest.mark.ngspice
@pytest.mark.parametrize("command", ["alter v1 gain=1", "alter no_such_source ac=1", "alter r1 gain=0", "allter"])
def test_a_refused_command_is_an_error_of_the_infrastructure(pool: WorkerPool, command: str) -> None:
    """ngspice goes on all the same, and every number after it belongs to another circuit than the one meant."""
    carried_out = Analysis("op", "op", ("out",), ("alter v1 dc=1.5", "option reltol=1e-5"))
    assert run(pool, FILTER, carried_out)["op"]["out"] == pytest.approx([1.5])
    answer = run(pool, FILTER, Analysis("op", "op", ("out",), (command,)))
    assert isinstance(answer, SimulatorOutputError), answer
    assert "refused" in str(answer)


@pytest.mark.ngspice
def test_a_failure_says_nothing_about_the_next_job(pool: WorkerPool) -> None:
    run(pool, CONFLICTING_SOURCES, OP)
    run(pool, NO_MODEL, OP)
    assert run(pool, FILTER, OP)["op"]["out"] == pytest.approx([1.0])


@pytest.mark.ngspice
def test_a_full_disk_is_an_error_of_the_infrastructure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zsgym.simulators.ngspice.process._MAX_FILE_BYTES", 1000)
    engine = ProcessEngine(scratch=tmp_path / "scratch")
    with pytest.raises((SimulatorCrashError, SimulatorOutputError)):
        engine.run(FILTER, [OP, SWEEP, AC, TRANSIENT])
    assert list((tmp_path / "scratch").iterdir()) == []


# --- a fake ngspice -------------------------------------------------------------------------------------------------

DECK = ("* for the fake", ".end")
ANALYSES = (Analysis("op", "op", ("out", "in")), Analysis("sweep", "dc v1 0 1 0.1", ("in", "out")))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def fake(scratch: Path, mode: str) -> ProcessEngine:
    return ProcessEngine(fake_ngspice(scratch.parent, mode), scratch)


@pytest.mark.parametrize("mode", ["good", "not_utf8"])
def test_a_clean_run_of_the_fake_is_accepted(scratch: Path, mode: str) -> None:
    engine = fake(scratch, mode)
    results = engine.run(DECK, ANALYSES)
    np.testing.assert_array_equal(results["sweep"]["out"], np.ones(11))
    assert engine.operating_points() == {"m1": {"id": 1e-6, "gm": 1e-5}}
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "error", "named"),
    [
        ("garbage", SimulatorOutputError, "ended early"),
        ("silent", SimulatorOutputError, "ended early"),
        ("status_1_at_once", SimulatorOutputError, "status 1"),
        ("status_1", SimulatorOutputError, "status 1"),
        ("no_end_mark", SimulatorOutputError, "ended early"),
        ("lies_about_convergence", SimulatorOutputError, "no complete result"),
        ("last_missing", SimulatorOutputError, "analysis sweep"),
        ("too_few_rows", SimulatorOutputError, "analysis sweep"),
        ("vector_missing", SimulatorOutputError, "analysis sweep"),
        ("other_plot", SimulatorOutputError, "analysis sweep"),
        ("truncated", SimulatorOutputError, "incomplete"),
        ("padded", SimulatorOutputError, "incomplete"),
        ("header_only", SimulatorOutputError, "not an ngspice raw file"),
        ("empty_file", SimulatorOutputError, "not an ngspice raw file"),
        ("not_a_number", SimulatorOutputError, "finite"),
        ("killed_at_the_end", SimulatorCrashError, "signal 9"),
        ("refuses_a_command", SimulatorOutputError, "refused a command: Error: no default parameter"),
        ("segmentation_fault", SimulatorCrashError, "signal 11"),
        ("flood", SimulatorOutputError, "File too large"),
    ],
)
def test_no_misbehaviour_of_ngspice_becomes_a_result(
    scratch: Path, mode: str, error: type[SimulatorError], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zsgym.simulators.ngspice.process._MAX_FILE_BYTES", 1 << 20)
    engine = fake(scratch, mode)
    with pytest.raises(error, match=named) as caught:
        engine.run(DECK, ANALYSES)
    assert type(caught.value) is error
    assert list(scratch.iterdir()) == []


def test_operating_points_of_a_run_that_failed_are_not_kept(scratch: Path) -> None:
    engine = fake(scratch, "silent")
    with pytest.raises(SimulatorOutputError):
        engine.run(DECK, ANALYSES)
    assert engine.operating_points() == {}


# --- what counts as what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "rows"),
    [
        ("op", 1),
        ("ac lin 1 0.1 0.1", 1),
        ("ac dec 10 0.1 1g", 101),
        ("ac dec 3 1 5", 3),
        ("dc temp 25 125 5", 21),
        ("dc temp 25 -40 -1", 66),
        ("dc v1 0 1.8 0.1", 19),
    ],
)
def test_number_of_rows_of_a_complete_analysis(run: str, rows: int) -> None:
    analysis = Analysis("a", run, ("out",))
    assert analysis.is_complete({"out": np.ones(rows)})
    assert not analysis.is_complete({"out": np.ones(rows + 1)})
    assert not analysis.is_complete({"out": np.ones(rows - 1)})
    assert not analysis.is_complete({})


@pytest.mark.ngspice
@pytest.mark.parametrize("run", ["ac dec 3 1 5", "ac dec 7 1 1234", "dc v1 0 1.8 0.07", "dc temp 25 -40 -5"])
def test_ngspice_agrees_on_the_number_of_rows(pool: WorkerPool, run: str) -> None:
    answer = pool.map([DeckJob(FILTER, [Analysis("a", run, ("out",))])])[0]
    assert not isinstance(answer, SimulatorError), answer


@pytest.mark.ngspice
@pytest.mark.parametrize("span", ["dec 3 1 5", "dec 7 1 1234", "dec 7 1 999", "dec 10 1k 1k"])
def test_ngspice_agrees_on_the_number_of_noise_frequencies(pool: WorkerPool, span: str) -> None:
    answer = pool.map([DeckJob(FILTER, [Analysis("a", f"noise v(out) v1 {span}", NOISE.vectors, NOISE.commands)])])[0]
    assert not isinstance(answer, SimulatorError), answer


@pytest.mark.parametrize(("rows", "complete"), [(30, False), (31, True), (32, True), (33, False)])
def test_noise_may_end_one_frequency_late(rows: int, complete: bool) -> None:
    assert NOISE.is_complete(dict.fromkeys(NOISE.vectors, np.ones(rows))) is complete


def test_a_transient_is_complete_at_its_end_or_at_its_bound() -> None:
    values = {"time": np.linspace(0.0, 1e-5, 50), "out": np.ones(50)}
    short = {name: vector[:20] for name, vector in values.items()}
    assert TRANSIENT.is_complete(values)
    assert BOUNDED.is_complete(short)
    assert not TRANSIENT.is_complete(short)
    assert not BOUNDED.is_complete({name: vector[:19] for name, vector in values.items()})
    assert not TRANSIENT.is_complete({**values, "out": np.ones(49)})


ABORTED = "doAnalyses: {reason}\n\n\n{kind} simulation(s) aborted"


@pytest.mark.parametrize(
    ("messages", "is_statement"),
    [
        (ABORTED.format(reason="OP:  Timestep too small; cause unrecorded.", kind="op"), True),
        ("stderr doAnalyses: iteration limit reached\nstderr op simulation(s) aborted", True),
        (ABORTED.format(reason="matrix is singular", kind="op"), True),
        (ABORTED.format(reason="Too many iterations without convergence", kind="op"), True),
        (ABORTED.format(reason="out of memory", kind="op"), False),
        (ABORTED.format(reason="Timestep too small", kind="ac"), False),  # it was another analysis
        ("Warning: Dynamic gmin stepping failed\nWarning: source stepping failed\nno convergence", False),
        ("op simulation(s) aborted", False),
        ("", False),
    ],
)
def test_only_a_definite_statement_is_non_convergence(messages: str, is_statement: bool) -> None:
    with pytest.raises(NonConvergenceError if is_statement else SimulatorOutputError):
        checked(OP, {}, messages)
    complete = {"in": np.ones(1), "out": np.ones(1)}
    assert checked(OP, complete, messages) == complete  # complete results need no words


@pytest.mark.ngspice
@pytest.mark.parametrize("engine", ["library", "process"])
def test_no_operating_point_is_looked_for_by_a_transient_from_power_up(engine: str) -> None:
    """Nothing bounds it: this amplifier took seconds for every operating point, 200 of which make an evaluation."""
    stored = json.loads(POWER_UP.read_text())
    circuit = load_circuit(stored["circuit"])
    with closing(make_simulator("ngspice", circuit, engine=engine)) as simulator:
        (outcome,) = ask(simulator, [stored["sizing"]])
    assert outcome.failure == Failure.NO_CONVERGENCE
    assert outcome.raw == {"converged": 0.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, complex(0.0, math.nan)])
def test_values_that_are_not_finite_are_no_result(value: complex) -> None:
    with pytest.raises(SimulatorOutputError, match="finite in out"):
        checked(OP, {"in": np.ones(1), "out": np.array([value])}, "")


def test_the_imaginary_part_of_a_frequency_is_ignored() -> None:
    analysis = Analysis("a", "ac lin 1 1 1", ("frequency",))
    vectors = checked(analysis, {"frequency": np.array([complex(1.0, math.nan)])}, "")
    np.testing.assert_array_equal(vectors["frequency"], [1.0])


def test_versions() -> None:
    assert find_version("stdout ** ngspice-39 : Circuit", "it") == "39"
    assert find_version("** ngspice-44.2 : Circuit", "it") == "44.2"
    for text in ("ngspice-38", "ngspice", "", "\ufffd"):
        with pytest.raises(SimulatorMissingError, match="apt-get install"):
            find_version(text, "it")


def test_a_missing_library_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(library.ctypes, "CDLL", fail)
    with pytest.raises(SimulatorMissingError, match="apt-get install ngspice libngspice0"):
        library.load_library()


def test_show_is_read_in_blocks() -> None:
    text = " BSIM4v5: ...\n  device m3 m2\n  id 1 2\n  gm 3 4\n\n"
    text += "  device m1\n  id -5\n  model x\n  vth ?????????\n  gm 1 2\n"
    assert parse_show(text) == {"m3": {"id": 1.0, "gm": 3.0}, "m2": {"id": 2.0, "gm": 4.0}, "m1": {"id": -5.0}}
