"""The exported surrogate answers what the `Predictor` answers."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate import export
from surrogate.checkpoint import Checkpoint
from surrogate.export import OUTPUTS, BakedSurrogate, compare
from surrogate.predict import Predictor, ZeroShotWarning
from surrogate.transforms import Transform
from tests.surrogate.synthetic import RC_LOADED, TINY_PINS, nmcf, nmcnr, untrained_checkpoint, vectors
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import METRICS
from zsgym.netlist import Expression


def calm(circuits: Sequence[Circuit], *config: Any) -> Checkpoint:
    """An untrained checkpoint whose probabilities are not all 0 or 1."""
    checkpoint = untrained_checkpoint(circuits, *config)
    kept = {key: value.model_copy(update={"temperature": 0.05}) for key, value in checkpoint.calibration.items()}
    return replace(checkpoint, calibration=kept)


def mixed(circuit: Circuit, count: int) -> np.ndarray:
    """Sizings inside and outside the models, inside and outside the ranges of training."""
    values = np.concatenate([vectors(circuit, count // 2, "uniform", 5), vectors(circuit, count // 2, "log", 6)])
    values[::7] *= 1.5
    values[3::7] *= 0.1
    return values


def assert_same(found: Sequence[Any], predictor: Predictor, values: np.ndarray) -> None:
    expected, scales = predictor.predict(values), predictor.checkpoint.normaliser.metrics
    for name, answer in zip(OUTPUTS, found, strict=True):
        assert export.difference(np.asarray(answer), getattr(expected, name), scales) < export.TOLERANCE, name


def with_expressions() -> Circuit:
    """NMCF whose output transistor gets its sizes from every operation and function of a netlist."""
    width = Expression.parse("2*max(w_gm3, -1) - min(floor(0.5), abs(-w_gm3))/sqrt(4)")
    length = Expression.parse("(l_gm3**2)/l_gm3 + int(0.9)")
    changed = nmcf().subcircuit.substitute({"W_gm3": width, "L_gm3": length})
    assert changed != nmcf().subcircuit
    return replace(nmcf(), subcircuit=changed)


@pytest.mark.parametrize("circuit", [nmcf(), nmcnr(), load_circuit(RC_LOADED), with_expressions()])
@pytest.mark.parametrize("config", [(), (TINY_PINS,)], ids=["groups", "pins"])
def test_the_function_that_is_exported_is_the_predictor(circuit: Circuit, config: tuple[Any, ...]) -> None:
    predictor = Predictor(calm([circuit], *config), circuit)
    values = mixed(circuit, 60)
    expected = predictor.predict(values)
    assert 0 < expected.valid.sum() < expected.geometry.sum() < 60
    assert 0 < expected.in_distribution.sum() < 60
    with torch.no_grad():
        found = BakedSurrogate(predictor)(torch.from_numpy(values))
    assert_same(found, predictor, values)


def test_a_threshold_of_zero_accepts_nothing_outside_the_models() -> None:
    checkpoint = calm([nmcf()])
    trusting = {key: value.model_copy(update={"threshold": 0.0}) for key, value in checkpoint.calibration.items()}
    predictor = Predictor(replace(checkpoint, calibration=trusting), nmcf())
    values = mixed(nmcf(), 40)
    with torch.no_grad():
        assert_same(BakedSurrogate(predictor)(torch.from_numpy(values)), predictor, values)


def test_an_unseen_topology_is_never_in_distribution() -> None:
    with pytest.warns(ZeroShotWarning):
        predictor = Predictor(calm([nmcf()]), nmcnr())
    values = mixed(nmcnr(), 40)
    with torch.no_grad():
        found = BakedSurrogate(predictor)(torch.from_numpy(values))
    assert_same(found, predictor, values)


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Predictor]:
    """An ONNX file, and the predictor that it stands for."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    checkpoint = calm([nmcf()])
    path = tmp_path_factory.mktemp("onnx") / "new" / "tiny-nmcf.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert export.export(checkpoint, nmcf(), path) < export.TOLERANCE
    return path, Predictor(checkpoint, nmcf())


@pytest.mark.parametrize("count", [0, 1, 2, 150])
def test_onnx_runtime_gives_the_answers_of_the_predictor(exported: tuple[Path, Predictor], count: int) -> None:
    import onnxruntime

    path, predictor = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = mixed(nmcf(), 150)[:count]
    assert_same(session.run(list(OUTPUTS), {"sizing": values}), predictor, values)


def test_the_file_says_what_it_is(exported: tuple[Path, Predictor]) -> None:
    import onnx

    path, predictor = exported
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    model = onnx.load(path)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["circuit"] == "nmcf"
    assert facts["netlist_hash"] == nmcf().netlist_hash
    assert json.loads(facts["parameters"]) == {p.name: p.unit for p in nmcf().parameters}
    assert json.loads(facts["metrics"]) == {metric.name: metric.unit for metric in METRICS}
    assert float(facts["threshold"]) == predictor.calibration.threshold
    assert json.loads(facts["exported_by"])["command"]
    assert [output.name for output in model.graph.output] == list(OUTPUTS)


def test_a_difference_is_measured_on_the_scale_of_training() -> None:
    """An offset of a nanovolt where a hundredth of it was expected is rounding; a hundredth of a decade is not."""
    scales = (Transform("asinh", 1e-4, 0.0, 1.0), Transform("log10", 1e6, 0.0, 0.5))
    expected = np.array([[1e-11, 1e6]])
    assert export.difference(np.array([[1e-9, 1e6]]), expected, scales) == pytest.approx(1e-5, rel=0.05)
    assert export.difference(np.array([[1e-11, 10**6.01]]), expected, scales) == pytest.approx(0.02)


@pytest.mark.parametrize("found", [[[np.nan, 1e6]], [[1e-11, -1e6]], [[1e-11, np.inf]]])
def test_a_missing_or_impossible_number_is_never_within_rounding(found: list[list[float]]) -> None:
    scales = (Transform("asinh", 1e-4, 0.0, 1.0), Transform("log10", 1e6, 0.0, 0.5))
    assert export.difference(np.array(found), np.array([[1e-11, 1e6]]), scales) == np.inf


def test_verdicts_are_the_same_or_not() -> None:
    verdicts = np.array([True, False])
    assert export.difference(verdicts, verdicts, ()) == 0.0
    assert export.difference(~verdicts, verdicts, ()) == np.inf


def test_a_file_of_another_model_is_noticed(exported: tuple[Path, Predictor]) -> None:
    path, _ = exported
    other = untrained_checkpoint([nmcf()], seed=1)
    with pytest.raises(ConfigError, match="differs from the surrogate by"):
        compare(Predictor(other, nmcf()), path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"needs onnx: pip install \"zsgym\[export\]\""):
        export.export(calm([nmcf()]), nmcf(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--checkpoint", "nowhere.safetensors"], ["--circuit", "nmfc"]])
def test_a_mistake_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    options = {"--circuit": "nmcf", "--out": str(tmp_path / "a.onnx")} | {arguments[0]: arguments[1]}
    with pytest.raises(SystemExit, match=r"error: .*(nowhere|nmcf)"):
        export.main([part for pair in options.items() for part in pair])
