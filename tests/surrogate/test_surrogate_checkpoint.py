"""One file per surrogate: complete, self-describing, and refused in one clear line when anything is wrong with it."""

import json
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from surrogate import checkpoint as module
from surrogate.checkpoint import Checkpoint, CheckpointError, shipped
from surrogate.config import read_config
from surrogate.graph import DEVICE_TYPES, PIN_TYPES
from surrogate.predict import Predictor
from tests.surrogate.synthetic import TINY_PINS, nmcf, nmcnr, untrained_checkpoint, vectors
from zsgym.base.errors import ConfigError, ZsgymError
from zsgym.base.paths import data_root
from zsgym.classes.amplifier import METRICS
from zsgym.simulators import make_simulator
from zsgym.simulators.base import policy_name


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return untrained_checkpoint([nmcf(), nmcnr()])


@pytest.fixture(scope="module")
def file(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    checkpoint.save(path)
    return path


def refused(path: Path) -> str:
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(CheckpointError) as error:
        Checkpoint.load(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400
    return message


# --- round trip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", ["groups", "pins"])
def test_a_file_predicts_what_its_model_predicted(tokens: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    if tokens == "pins":
        checkpoint = untrained_checkpoint([nmcf(), nmcnr()], TINY_PINS)
    path = tmp_path / "new folder" / "model.safetensors"
    checkpoint.save(path)
    loaded = Checkpoint.load(path)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]  # nothing partial is left
    assert loaded.normaliser == checkpoint.normaliser
    assert loaded.calibration == checkpoint.calibration
    assert loaded.topologies == checkpoint.topologies
    assert loaded.provenance == checkpoint.provenance
    assert loaded.model.config == checkpoint.model.config
    assert not loaded.model.training
    values = vectors(nmcf(), 20, "uniform")
    before, after = (Predictor(c, nmcf()).predict(values) for c in (checkpoint, loaded))
    for name in ("geometry", "p_valid", "valid", "metrics", "low", "high", "in_distribution"):
        assert np.array_equal(getattr(before, name), getattr(after, name), equal_nan=True), name


def test_a_place_may_be_text(file: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert Checkpoint.load(str(file)).sha256 == Checkpoint.load(file).sha256
    checkpoint.save(str(tmp_path / "again.safetensors"))
    assert Checkpoint.load(tmp_path / "again.safetensors").sha256 == Checkpoint.load(file).sha256
    with pytest.raises(CheckpointError, match="there is no checkpoint nowhere"):
        Checkpoint.load("nowhere")


def test_the_hash_names_the_content(file: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    checkpoint.save(again)
    assert Checkpoint.load(again).sha256 == Checkpoint.load(file).sha256
    replace(checkpoint, provenance={"command": ["other"]}).save(again)
    assert Checkpoint.load(again).sha256 != Checkpoint.load(file).sha256


def test_the_file_describes_itself(file: Path) -> None:
    """Anybody can read it with safetensors and json alone."""
    with safe_open(file, framework="np") as opened:
        described = json.loads(opened.metadata()["zsgym"])
    assert (described["format"], described["version"]) == ("zsgym-surrogate", 1)
    assert described["model"]["dim"] == 16
    assert described["interface"]["metrics"] == list(METRICS.names)
    assert described["interface"]["device_types"] == list(DEVICE_TYPES)
    assert described["interface"]["pin_types"] == list(PIN_TYPES)
    assert {t["kind"] for t in described["normaliser"]["metrics"]} == {"identity", "log10", "asinh"}
    assert set(described["topologies"].values()) == {"nmcf", "nmcnr"}
    assert set(described["calibration"]) == {"pooled", *described["topologies"]}
    assert described["provenance"] == {"command": ["test"]}


def test_the_verdict_policy_of_the_labels_is_known(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path)
    assert Checkpoint.load(path).policy == "functional", "files from before the entry were trained on the default"
    replace(checkpoint, provenance={"policy": "measured"}).save(path)
    assert Checkpoint.load(path).policy == "measured"
    for backend in ("surrogate", "hybrid"):
        with pytest.raises(
            ConfigError, match=r"labels of the verdict policy 'measured', not 'functional': use policy="
        ):
            make_simulator(backend, nmcf(), checkpoint=path)
    simulator = make_simulator("surrogate", nmcf(), checkpoint=path, policy="measured")
    assert policy_name(simulator, nmcf()) == "measured"


def test_unbounded_intervals_survive(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pooled = checkpoint.calibration["pooled"].model_copy(update={"interval": (float("inf"),) * len(METRICS.names)})
    path = tmp_path / "model.safetensors"
    replace(checkpoint, calibration={"pooled": pooled}).save(path)
    assert Checkpoint.load(path).calibration["pooled"] == pooled


def test_the_fast_configuration_is_small(tmp_path: Path) -> None:
    config = read_config(data_root() / "configs" / "surrogate" / "fast.yaml")
    untrained_checkpoint([nmcf(), nmcnr()], config.model).save(tmp_path / "fast.safetensors")
    assert (tmp_path / "fast.safetensors").stat().st_size < 12_000_000


# --- damage ---------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refused(tmp_path / "nowhere.safetensors")
    assert "there is no checkpoint" in refused(tmp_path)
    assert issubclass(CheckpointError, ZsgymError)


def test_a_file_cut_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    cut = tmp_path / "cut.safetensors"
    places = {*range(12), header - 1, header, header + 1, len(content) - 1}
    places |= set(random.Random(0).sample(range(len(content)), 60))
    for place in sorted(places):
        cut.write_bytes(content[:place])
        refused(cut)
    cut.write_bytes(content + b"\0")
    refused(cut)
    cut.write_bytes(content)
    Checkpoint.load(cut)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0.0, 1.0, exclude_max=True), flipped=st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(file: Path, tmp_path: Path, place: float, flipped: int) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= flipped
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    refused(damaged)


def test_a_changed_weight_and_a_changed_description_are_noticed(file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = file.read_bytes()
    damaged.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    assert "damaged: its checksum does not match" in refused(damaged)
    old, new = b'\\"threshold\\": 0.5', b'\\"threshold\\": 0.1'
    assert old in content
    damaged.write_bytes(content.replace(old, new))
    assert "damaged: its checksum does not match" in refused(damaged)


@given(content=st.binary(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "random.safetensors"
    path.write_bytes(content)
    refused(path)


class Trap:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("sprung"),)  # type: ignore[return-value]


def test_nothing_is_ever_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.safetensors").write_bytes(pickle.dumps(Trap()))
    torch.save({"model": Trap()}, tmp_path / "torch.safetensors")
    for name in ("plain", "torch"):
        assert "not a readable safetensors file" in refused(tmp_path / f"{name}.safetensors")
    assert not Path("sprung").exists()


# --- foreign and incompatible ---------------------------------------------------------------------------------------


def rewritten(file: Path, path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Path:
    """A well-formed file with another description or other tensors."""
    with safe_open(file, framework="pt") as opened:
        described = json.loads(opened.metadata()["zsgym"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    change(described, tensors)
    header = json.dumps(described)
    save_file(tensors, path, metadata={"zsgym": header, "sha256": module._checksum(header, tensors)})
    return path


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    assert "not a zsgym surrogate" in refused(path)
    save_file({"weight": torch.zeros(2)}, path, metadata={"zsgym": "hello"})
    assert "checksum" in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "holds zsgym-surrogate version 2; this zsgym reads zsgym-surrogate version 1: train it again"),
        ("format", "zsgym-policy", "holds zsgym-policy version 1"),
        ("interface", {}, "was trained with other metrics, auxiliary, device_types, pin_types, group_features"),
    ],
)
def test_an_incompatible_file_says_why(file: Path, tmp_path: Path, key: str, value: Any, message: str) -> None:
    path = rewritten(file, tmp_path / "other.safetensors", lambda described, _: described.update({key: value}))
    assert message in refused(path)


def test_another_vocabulary_is_refused(file: Path, tmp_path: Path) -> None:
    def reorder(described: dict[str, Any], _: Any) -> None:
        described["interface"]["pin_types"][6:8] = described["interface"]["pin_types"][7:5:-1]

    assert "was trained with other pin_types" in refused(rewritten(file, tmp_path / "other.safetensors", reorder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, t: t.pop("model.queries"), "queries"),
        (lambda d, t: t.pop("embedding.mean"), "embedding.mean"),
        (lambda d, t: t.update({"model.extra": torch.zeros(1)}), "extra"),
        (lambda d, t: t.update({"model.queries": torch.zeros(3, 16)}), "queries"),
        (lambda d, t: d["model"].update(dim=32), "size mismatch"),
        (lambda d, t: d["model"].update(colour="red"), "colour"),
        (lambda d, t: d["model"].update(heads=3), "not a multiple of heads"),
        (lambda d, t: d.pop("calibration"), "calibration"),
        (lambda d, t: d["calibration"]["pooled"].pop("threshold"), "threshold"),
        (lambda d, t: d["normaliser"].pop("metrics"), "metrics"),
        (lambda d, t: d.pop("provenance"), "provenance"),
    ],
)
def test_an_incomplete_file_says_what_is_missing(
    file: Path, tmp_path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None], message: str
) -> None:
    path = rewritten(file, tmp_path / "incomplete.safetensors", change)
    found = refused(path)
    assert "is damaged: " in found
    assert message in found


def test_a_failed_save_leaves_the_old_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match=r"cannot write .*model\.safetensors: No space"):
        replace(checkpoint, provenance={}).save(path)
    assert path.read_bytes() == before


def test_the_shipped_file_is_beside_the_code() -> None:
    assert shipped() == Path(module.__file__).parent / "checkpoints" / "fast.safetensors"


@pytest.mark.skipif(not shipped().is_file(), reason="no checkpoint is shipped yet")
def test_the_shipped_checkpoint_is_complete() -> None:
    checkpoint = Checkpoint.load(shipped())
    assert shipped().stat().st_size < 12_000_000
    for circuit in (nmcf(), nmcnr()):
        assert checkpoint.topologies[circuit.netlist_hash] == circuit.name
        (design,) = [circuit.known_good["robust"]]
        predictions = Predictor(checkpoint, circuit).predict(circuit.vector(design)[None])
        assert np.isfinite(predictions.p_valid).all()
    assert checkpoint.provenance["config"]["name"] == "fast"
    assert checkpoint.provenance["data_hash"]
    assert checkpoint.provenance["command"]
    assert checkpoint.provenance["git_revision"]
