"""Learnt models are found by entry point; what they cover is what they were trained on, at its conditions."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from surrogate.checkpoint import Checkpoint
from tests.surrogate.synthetic import RC_LOADED, nmcf, untrained_checkpoint
from zsgym.base.errors import ConfigError
from zsgym.circuits import load_circuit
from zsgym.sizing import models
from zsgym.sizing.models import installed_models


def test_the_shipped_surrogate_covers_what_it_was_trained_on() -> None:
    (found,) = installed_models()
    assert found.name == "surrogate"
    assert found.covers(nmcf())
    stranger = load_circuit(RC_LOADED)
    assert not found.covers(stranger)
    assert found.why_not(stranger) == "the surrogate was trained on nmcf, nmcnr, not on rc_loaded"


def test_a_netlist_at_other_conditions_is_not_covered() -> None:
    (found,) = installed_models()
    hot = replace(nmcf(), name="mine", conditions=nmcf().conditions.replace(temperature=125.0))
    assert hot.netlist_hash == nmcf().netlist_hash
    assert "conditions of nmcf" in (found.why_not(hot) or "")
    assert found.covers(replace(nmcf(), name="mine"))


def test_a_file_of_the_users_own_is_read(tmp_path: Path) -> None:
    stranger = load_circuit(RC_LOADED)
    made = untrained_checkpoint([stranger])
    made.save(tmp_path / "mine.safetensors")
    (found,) = installed_models(tmp_path / "mine.safetensors")
    assert found.covers(stranger)
    assert not found.covers(nmcf())
    with pytest.raises(ConfigError, match=r"there is no checkpoint .*nowhere"):
        installed_models(tmp_path / "nowhere.safetensors")


def test_without_an_installed_model_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "_entries", list)
    assert installed_models() == []
    with pytest.raises(ConfigError, match="no installed model reads"):
        installed_models(tmp_path / "any.safetensors")


def test_another_package_can_bring_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("other", f"{__name__}:load_other", models.GROUP)
    monkeypatch.setattr(models, "_entries", lambda: [entry])
    (found,) = installed_models()
    assert found.why_not(nmcf()) == "the other was trained on rc_loaded, not on nmcf"


def test_a_model_that_is_hidden_by_another_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_entries", lambda: [EntryPoint("other", "tests.nowhere:load", models.GROUP)])
    with pytest.raises(ConfigError, match=r"model 'other' cannot be loaded from tests\.nowhere:load.*named 'tests'"):
        installed_models()


def load_other(path: Path | None = None) -> Checkpoint:
    return untrained_checkpoint([load_circuit(RC_LOADED)])


def test_predictions_are_differentiable_and_leave_the_checkpoint_alone() -> None:
    checkpoint = untrained_checkpoint([nmcf()])
    predictor = checkpoint.of(nmcf())
    values = torch.from_numpy(nmcf().vector(nmcf().known_good["robust"]))[None].requires_grad_(True)
    logit, metrics = predictor.predict(values)
    assert (logit.shape, metrics.shape) == ((1,), (1, 11))
    (logit.sum() + metrics.sum()).backward()
    assert values.grad is not None
    assert values.grad.abs().sum() > 0.0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in checkpoint.model.parameters())
    assert predictor.spread.isfinite().all()


def test_a_circuit_that_was_first_asked_about_without_gradients_has_them_later() -> None:
    circuit = replace(nmcf())  # of which nothing is cached yet
    predictor = untrained_checkpoint([nmcf()]).of(circuit)
    values = torch.from_numpy(circuit.vector(circuit.known_good["robust"]))[None]
    with torch.inference_mode():
        predictor.predict(values)
    logit, _ = predictor.predict(values.requires_grad_(True))
    logit.sum().backward()
    assert values.grad is not None
