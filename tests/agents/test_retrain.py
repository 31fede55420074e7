"""The page that shows the retraining loop: it runs, labels, and keeps only what is better."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from agents import retrain
from surrogate.checkpoint import Checkpoint
from surrogate.retrain.loop import Settings
from tests.surrogate.retrain.setup import SETTINGS, RuleSimulator, make_data
from tests.surrogate.synthetic import nmcf
from zsgym.samples import read_samples


def test_the_page_runs_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(tmp_path)
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    monkeypatch.setattr(Settings, "shipped", lambda: config)
    simulator = RuleSimulator(nmcf())
    monkeypatch.setattr(retrain, "make_simulator", lambda *_, **__: simulator)
    weak, run = data / "init.safetensors", tmp_path / "run"
    asked = retrain.Arguments(rounds=1, per_round=40, base=str(data / "data"), checkpoint=str(weak), run=str(run))
    retrain.retrain(asked)
    told = capsys.readouterr().out
    assert len(list(read_samples(run / "labels"))) == len(simulator.answered) == 40
    kept = sorted(run.glob("round-*.safetensors"))
    assert told.count("better (p = ") == len(kept) > 0
    assert f'backend_options={{"checkpoint": "{kept[-1]}"}}' in told
    assert Checkpoint.load(kept[0]).provenance["initial"] == Checkpoint.load(weak).sha256[:16]
    # What is labelled is not labelled again.
    retrain.retrain(asked)
    assert len(simulator.answered) == 40
