"""The reader of raw files: exact on whole files, and a typed error on everything else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsgym.base.errors import SimulatorOutputError
from zsgym.simulators.ngspice.process import read_raw

ANY_FILE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def raw_file(table: np.ndarray, names: list[str], plot: str = "AC Analysis") -> bytes:
    """A file as ngspice writes it. table: (rows, names)."""
    flags = "complex" if np.iscomplexobj(table) else "real"
    header = f"Title: * a: b\nDate: Sun Nov 22 15:10:39  2026\nPlotname: {plot}\nFlags: {flags}\n"
    header += f"No. Variables: {table.shape[1]}\nNo. Points: {table.shape[0]}\nVariables:\n"
    header += "".join(f"\t{i}\t{name}\tvoltage\n" for i, name in enumerate(names))
    return header.encode() + b"Binary:\n" + table.tobytes()


@given(rows=st.integers(1, 6), columns=st.integers(1, 4), is_complex=st.booleans(), seed=st.integers(0, 2**32 - 1))
@ANY_FILE
def test_round_trip(tmp_path: Path, rows: int, columns: int, is_complex: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(rows, columns)) * 10.0 ** generator.integers(-30, 30, (rows, columns))
    if is_complex:
        table = table + 1j * generator.normal(size=table.shape)
    names = [f"v(n{i})" for i in range(columns)]
    path = tmp_path / "a.raw"
    path.write_bytes(raw_file(table, names))
    vectors = read_raw(path, "AC Analysis")
    assert list(vectors) == [f"n{i}" for i in range(columns)]
    for column, vector in enumerate(vectors.values()):
        np.testing.assert_array_equal(vector, table[:, column])


@given(cut=st.floats(0.0, 1.0, exclude_max=True), rows=st.integers(1, 5))
@ANY_FILE
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, cut: float, rows: int) -> None:
    whole = raw_file(np.ones((rows, 2)), ["frequency", "v(out)"])
    path = tmp_path / "a.raw"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(SimulatorOutputError):
        read_raw(path)


@given(
    content=st.binary(max_size=200)
    | st.builds(
        lambda variables, points, data: f"No. Variables: {variables}\nNo. Points: {points}\nBinary:\n".encode() + data,
        st.integers(-3, 10**20) | st.text(max_size=5),
        st.integers(-3, 10**20),
        st.binary(max_size=64),
    )
)
@ANY_FILE
def test_garbage_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(content)
    with pytest.raises(SimulatorOutputError):
        read_raw(path)


def test_a_file_with_something_behind_it_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(raw_file(np.ones((2, 1)), ["v(out)"]) * 2)
    with pytest.raises(SimulatorOutputError, match="incomplete"):
        read_raw(path)


def test_missing_file_and_other_plot(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        read_raw(tmp_path / "a.raw")
    (tmp_path / "a.raw").write_bytes(raw_file(np.ones((1, 1)), ["v(out)"], plot="constants"))
    with pytest.raises(KeyError):
        read_raw(tmp_path / "a.raw", "Operating Point")


def test_names_are_those_of_libngspice(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(raw_file(np.ones((1, 4)), ["time", "v(out)", "i(vdd)", "v(v(x)"]))
    assert list(read_raw(path)) == ["time", "out", "vdd#branch", "v(x"]
