"""The training command says in one line what is wrong with its arguments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from surrogate import train as cli
from surrogate.checkpoint import Checkpoint
from surrogate.config import read_config
from surrogate.train import main
from tests.surrogate.synthetic import write_config

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in a private folder; gives the error message, or an empty string."""

    def run(*arguments: object) -> str:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            return str(leaving.code)
        return ""

    monkeypatch.chdir(tmp_path)
    return run


def test_the_command_trains_and_reports(run: Run, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config", config_file, "--set", "training.epochs=1", "name=quick", "model.ffn=16") == ""
    out = capsys.readouterr().out
    assert "quick: " in out
    assert "training rows of nmcf" in out
    checkpoint = Checkpoint.load(Path("runs/quick/quick.safetensors"))
    assert checkpoint.model.config.ffn == 16
    assert checkpoint.provenance["config"]["training"]["epochs"] == 1
    assert run("--config", config_file, "--set", "training.epochs=1", "name=quick", "model.ffn=16") == ""
    assert "continuing after epoch 1" in capsys.readouterr().out
    assert run("--config", config_file, "--set", "training.epochs=2", "name=quick", "model.ffn=16") != ""


def test_the_data_of_the_command_line_win(run: Run, tmp_path: Path, small: Path) -> None:
    file = write_config(tmp_path / "c.yaml", [Path("nowhere")], training={"epochs": 1})
    assert "no sample log" in run("--config", file)
    assert run("--config", file, "--data", small, "--run", tmp_path / "here") == ""
    assert (tmp_path / "here" / "tiny.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "training.epoch=3"],
            "there is no key 'training.epoch' to override. Did you mean 'training.epochs'?",
        ),
        (["--set", "epochs=3"], "there is no key 'epochs'"),
        (["--set", "model=3"], "there is no key 'model'"),
        (["--set", "name.x=3"], "there is no key 'name.x'"),
        (["--set", "training.epochs.x=3"], "there is no key"),
        (["--set", "training.epochs"], "--set needs KEY=VALUE, got 'training.epochs'"),
        (["--set", "training.epochs=0"], "training.epochs: Input should be greater than 0 (got 0)"),
        (["--set", "training.learning_rate=fast"], "training.learning_rate"),
        (["--set", "model.heads=3"], "model: dim 16 is not a multiple of heads 3"),
        (["--set", "model.tokens=nets"], "'nets' is not valid here"),
        (["--set", "data.paths=[]"], "data.paths"),
        (["--set", "data.hold_out=[nmcf]"], "every circuit of the data sets is held out"),
        (["--set", "calibration.coverage=1.5"], "calibration.coverage"),
        (["--data", "nowhere"], "there is no sample log at nowhere"),
        (["--init", "nowhere.safetensors"], "there is no checkpoint nowhere.safetensors"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_mistakes_are_one_line(run: Run, config_file: Path, arguments: list[str], message: str) -> None:
    error = run("--config", config_file, *arguments)
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("training", {"epoch": 3}, "training.epoch: unknown key. Did you mean 'epochs'?"),
        ("model", {"width": 3}, "model.width: unknown key"),
        ("model", {"metrics": 12}, "model.metrics: unknown key"),
        ("data", {"paths": []}, "data.paths"),
    ],
)
def test_a_configuration_with_a_mistake_names_it(
    run: Run, small: Path, tmp_path: Path, section: str, content: dict[str, Any], message: str
) -> None:
    file = write_config(tmp_path / "c.yaml", [small], **{section: content})
    error = run("--config", file)
    assert error.startswith(f"error: {file}: ")
    assert message in error


def test_an_interrupt_says_how_to_go_on(
    run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", interrupted)
    assert run("--config", config_file) == "130"
    assert "same command" in capsys.readouterr().err


def test_the_command_uses_one_thread_unless_told(run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(cli, "train", lambda *_: None)
    run("--config", config_file)
    run("--config", config_file, "--threads", 2)
    assert asked == [1, 2]


def test_overrides_are_yaml(small: Path, tmp_path: Path) -> None:
    file = write_config(tmp_path / "c.yaml", [small])
    changed = read_config(file, {"data.hold_out": ["nmcnr"], "training.regress_failures": False, "data.limit": 7})
    assert changed.data.hold_out == ("nmcnr",)
    assert changed.training.regress_failures is False
    assert changed.data.limit == 7
    plain = read_config(file)
    assert plain.model_dump() | {
        "data": changed.model_dump()["data"],
        "training": changed.model_dump()["training"],
    } == (changed.model_dump())
    assert (
        json.loads(plain.model_dump_json())["training"]["epochs"]
        == yaml.safe_load(file.read_text())["training"]["epochs"]
    )
