"""Packed rows: exact to the bit whatever the numbers, a fifth of the bytes, never read with a wrong definition."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zsgym.samples.rows import failed_row, make_row, samples
from zsgym.base.errors import SampleLogError
from zsgym.samples import Sample, SampleLog, packing, read_samples
from zsgym.samples.layout import NUMBERS
from zsgym.samples.lines import sealed
from zsgym.samples.packing import RowPacker, RowUnpacker

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def packed(rows: Iterable[Sample]) -> list[bytes]:
    packer = RowPacker()
    return b"".join([packer.lines(row) for row in rows]).split(b"\n")[:-1]


def unpacked(lines: Iterable[bytes]) -> list[Sample]:
    unpacker = RowUnpacker()
    decoded = [unpacker.decode(line) for line in lines]
    assert not [problem for problem in decoded if isinstance(problem, str)]
    return [Sample.parse(fields) for fields in decoded if isinstance(fields, dict)]


def texts(rows: Iterable[Sample]) -> list[bytes]:
    """The rows as JSON: unlike `==` it tells 0.0 from -0.0 and sees the order of names."""
    return [row.as_json() for row in rows]


def in_json(lines: Sequence[bytes]) -> int:
    """How many rows were written as JSON, since they could not be packed."""
    return sum(line.startswith(b'{"schema"') for line in lines)


# --- every bit ------------------------------------------------------------------------------------------------------


@FAST
@given(st.lists(samples(), max_size=5))
def test_any_rows_come_back_to_the_bit(rows: list[Sample]) -> None:
    assert texts(unpacked(packed(rows))) == texts(rows)


NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.integers(-3, 70_000).map(float),
    st.floats(1e-18, 1e9).map(lambda value: float(f"{value:.6g}")),
    st.sampled_from([0.0, -0.0, 1.0, 65535.0, 65536.0, 1e-45, 1.17549e-38, 3.40282e38, 3.40283e38]),
)
COUNTER = st.none() | st.sampled_from([0, 7, 2**32 - 1, 2**32, -1, 2**63 - 1, 2**63, -(2**63) - 1])


@FAST
@given(st.lists(st.tuples(*[NUMBER] * 8, COUNTER, COUNTER), min_size=1, max_size=8))
def test_rows_of_one_shape_may_have_any_numbers(numbers: list[tuple[Any, ...]]) -> None:
    """What is a count, a float32 or a decimal of six digits in one row need not be one in the next."""
    rows = [
        make_row(
            sizing={"W": a, "M": b},
            action=[c, d],
            operating_points={"xm1": {"id": e, "gm": f}},
            raw={"vout": g},
            reward=h,
            episode=episode,
            step=step,
        )
        for a, b, c, d, e, f, g, h, episode, step in numbers
    ]
    assert texts(unpacked(packed(rows))) == texts(rows)


def test_shared_fields_that_are_equal_but_not_the_same_are_kept_apart() -> None:
    rows = [make_row(targets={"vos": value}, conditions={"load": value}) for value in (0.0, -0.0, 0.0)]
    assert texts(unpacked(packed(rows))) == texts(rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "yesterday"},
        {"time": "2026-11-25T13:42:08.846761+01:00"},
        {"time": "2026-11-25T13:42:08.84676é+00:00"},
        {"time": "2026-11-25 13:42:08.846761+00:00"},
        {"time": "2026-13-25T13:42:08.846761+00:00"},
        {"sample_id": "not hexadecimal"},
        {"sample_id": "ABCDEF0123456789ABCD"},
        {"sample_id": "ab cdef0123456789abcd"},
        {"step": 2**63},
    ],
)
def test_a_row_that_cannot_be_packed_is_written_in_full(changes: dict[str, Any]) -> None:
    rows = [make_row(), make_row(**changes), make_row()]
    lines = packed(rows)
    assert in_json(lines) == 1
    assert texts(unpacked(lines)) == texts(rows)


def test_a_value_that_json_cannot_hold_leaves_no_gap(tmp_path: Path) -> None:
    """A definition of a batch that was refused is not in the file: rows after it must not refer to it."""
    bad = make_row(circuit="new").model_copy(update={"time": "\ud800"})
    with SampleLog(tmp_path) as log:
        log.append(make_row())
        with pytest.raises(SampleLogError, match="JSON cannot store"):
            log.append_many([make_row(circuit="new", targets={"gbw": 1e6}), bad])
        log.append(make_row(circuit="new", targets={"gbw": 1e6}))
    assert [row.circuit for row in read_samples(tmp_path)] == ["nmcf", "new"]


# --- few bytes ------------------------------------------------------------------------------------------------------


def rows_of_a_run(count: int, **fields: Any) -> list[Sample]:
    """Transitions of 8 environments with 24 parameters, as PPO makes them, a third of them working."""
    draw, targets = np.random.default_rng(0), make_row().metrics
    names = [f"{kind}_group{i}" for i in range(8) for kind in "WLM"]
    rows = []
    for i in range(count):
        values = [float(draw.integers(1, 100)) if name[0] == "M" else draw.uniform(0.15, 10.0) for name in names]
        verdict = {"metrics": {name: draw.uniform() for name in targets}} if i % 3 == 0 else {}
        make = make_row if verdict else failed_row
        action = draw.uniform(-1, 1, 24).astype(np.float32).tolist()
        where = {"episode": i // 400 * 8 + i % 8, "step": 1 + i // 8 % 50, "seed": i % 8, "env_id": "zsgym/NMCF-v0"}
        answer = {"terminated": False, "truncated": False, "elapsed_s": draw.uniform(), "targets": targets}
        given = {"sizing": dict(zip(names, values, strict=True)), "action": action, "reward": draw.normal(), "raw": {}}
        rows.append(make(**{**given, **verdict, **where, **answer, **{k: v(draw) for k, v in fields.items()}}))
    return rows


def share(rows: Sequence[Sample]) -> float:
    """Bytes of the rows when packed, as a share of those in the format of zsgym 0.1."""
    return sum(len(line) + 1 for line in packed(rows)) / sum(len(sealed(row.as_json())) for row in rows)


def test_a_transition_on_the_surrogate_takes_a_fifth_of_what_it_took() -> None:
    rows = rows_of_a_run(4000, backend=lambda _: "surrogate", p_valid=lambda draw: draw.uniform())
    assert share(rows) < 0.18


def test_a_simulated_transition_takes_a_fifth_of_what_it_took() -> None:
    def points(draw: np.random.Generator) -> dict[str, dict[str, float]]:
        """24 transistors, half of them matched in pairs."""
        quantities = ("id", "gm", "gds", "gmbs", "vth", "vdsat", "vds", "vgs", "vbs")
        found = [{name: float(f"{draw.uniform():.6g}") for name in quantities} for _ in range(18)]
        return {f"xm{i}": found[i % 18] for i in range(24)}

    rows = rows_of_a_run(
        500, operating_points=points, raw=lambda draw: {f"measured{i}": draw.normal() for i in range(24)}
    )
    assert share(rows) < 0.2


def test_random_targets_cost_a_definition_per_episode() -> None:
    rows = [make_row(targets={"gbw": 1e6 + i // 50}, step=i % 50, episode=i // 50) for i in range(500)]
    lines = packed(rows)
    assert sum(b'"episode"' in line[:40] for line in lines) == 10
    assert len(lines) == 500 + 10 + 3


def test_every_field_of_a_row_has_its_place() -> None:
    """A field that is new goes with what rows share; a mapping or a list there must be made hashable first."""
    for name, field in Sample.model_fields.items():
        if "dict" in str(field.annotation) or "list" in str(field.annotation):
            assert name in (*NUMBERS, *packing._MAPPINGS), f"zsgym.samples.packing does not know what to do with {name}"


# --- definitions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("block", "left"), [(0, [3, 4, 5, 6, 7]), (1, [0, 1, 2, 3, 4, 5, 6, 7])])
def test_a_damaged_definition_costs_the_rows_of_its_block_at_most(
    monkeypatch: pytest.MonkeyPatch, block: int, left: list[int]
) -> None:
    """Nothing is lost where the same definition stood before, as it does here from the second block on."""
    monkeypatch.setattr(packing, "BLOCK_ROWS", 3)
    lines = packed([make_row(index=i) for i in range(8)])
    places = [i for i, line in enumerate(lines) if b'"conditions"' in line[:40]]
    assert len(places) == 3, "written anew for every three rows"
    lines[places[block]] = lines[places[block]].replace(b"27.0", b"37.0")
    unpacker = RowUnpacker()
    decoded = [unpacker.decode(line) for line in lines]
    assert [fields["index"] for fields in decoded if isinstance(fields, dict)] == left
    problems = [problem for problem in decoded if isinstance(problem, str)]
    assert problems[0] == "checksum does not match: damaged line"
    assert len(problems) == 1 + 8 - len(left)


def test_a_row_is_never_read_with_the_definitions_of_another() -> None:
    """Two segments in one file: the numbers of their definitions are the same, the definitions are not."""
    first, second = packed([make_row()]), packed([make_row(conditions={"temperature": 125.0})])
    assert [row.conditions["temperature"] for row in unpacked(first + second)] == [27.0, 125.0]
    without = [line for line in second if b'"conditions"' not in line[:40]]
    unpacker = RowUnpacker()
    *_, problem = [unpacker.decode(line) for line in first + without]
    assert problem == "checksum does not match: damaged line, here or where its definitions stood"
    *_, problem = [RowUnpacker().decode(line) for line in without]
    assert problem == "it refers to a definition that is not there: damaged line, here or before"


def test_a_row_of_a_later_version_is_an_error_not_a_guess(tmp_path: Path) -> None:
    later = make_row().model_copy(update={"schema_version": 7})
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "a.rows").write_bytes(b"\n".join(packed([later])) + b"\n")
    with pytest.raises(SampleLogError, match=r"a\.rows, line 5: .*version 7"):
        list(read_samples(tmp_path))


def test_a_segment_has_one_line_per_row_and_no_newline_within(tmp_path: Path) -> None:
    rows = rows_of_a_run(300)
    with SampleLog(tmp_path) as log:
        stored = log.append_many(rows)
    (path,) = (tmp_path / "segments").iterdir()
    assert sum(line.startswith(b"=") for line in path.read_bytes().split(b"\n")) == 300
    assert list(read_samples(tmp_path)) == stored
