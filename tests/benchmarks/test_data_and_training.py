"""What data sets hold and what training takes, from fabricated data sets and runs."""

import json
from collections.abc import Callable
from pathlib import Path

import data_sets
import pytest
import training_curves
from curves import read_curves

from surrogate.config import read_config
from surrogate.train import train
from tests.surrogate.synthetic import make_rows, nmcf, nmcnr, write_config, write_rows
from zsgym.base.errors import ConfigError
from zsgym.samples.manifest import write_manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_rows(tmp_path_factory.mktemp("data") / "nmcf-uniform", make_rows(nmcf(), 400))
    write_manifest(folder, {"made_by": "generate", "configuration": {"strategy": "uniform", "seed": 1}})
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = write_config(folder.parent / "tiny.yaml", [data], training={"epochs": 2}, data={"limit": 200})
    train(read_config(config), folder)
    return folder


# --- data sets ------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_data_set_are_counted_by_reason(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data_sets.json"
    data_sets.main([str(data), "--out", str(out)])
    (found,) = json.loads(out.read_text())["sets"]
    assert (found["circuit"], found["strategy"], found["seed"], found["rows"]) == ("nmcf", "uniform", 1, 400)
    assert 0 < found["working"] < 400
    assert sum(found["failures"].values()) == 400 - found["working"]
    assert found["data_hash"] == training_curves.read_run(run)["provenance"]["data_hash"]
    printed = capsys.readouterr().out
    assert "nmcf, uniform" in printed
    assert f"{found['failures']['geometry']}" in printed


def logged(folder: Path) -> Path:
    return write_rows(folder, make_rows(nmcf(), 5))


def mixed(folder: Path) -> Path:
    place = write_rows(folder, [*make_rows(nmcf(), 5), *make_rows(nmcnr(), 5)])
    write_manifest(place, {"made_by": "generate", "configuration": {}})
    return place


@pytest.mark.parametrize("make", [logged, mixed])
def test_only_a_generated_set_of_one_circuit_is_counted(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*set that `zsgym dataset generate` has made of one circuit"):
        data_sets.main([str(make(tmp_path / "set")), "--out", str(tmp_path / "a.json")])
    assert not (tmp_path / "a.json").exists()


# --- training -------------------------------------------------------------------------------------------------------


def test_a_training_run_becomes_a_table_a_file_and_a_figure(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "training.json"
    training_curves.main([str(run), "--out", str(out)])
    (found,) = json.loads(out.read_text())["runs"]
    assert (found["name"], found["rows"], found["epochs"]) == ("tiny", 200, [1, 2])
    assert found["minutes"][1] == pytest.approx(sum(200 / speed / 60 for speed in found["rows_per_s"]), rel=1e-4)
    assert len(found["auroc"]) == len(found["median_r2"]) == 2
    assert found["lowest_r2"][1] <= found["median_r2"][1]
    assert out.with_suffix(".png").stat().st_size > 10_000
    assert "tiny" in capsys.readouterr().out


def test_a_folder_without_a_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds 0 checkpoints instead of one"):
        training_curves.main([str(tmp_path), "--out", str(tmp_path / "a.json")])
    with pytest.raises(ConfigError, match="no such folder"):
        read_curves(tmp_path / "nowhere", ["loss"])
