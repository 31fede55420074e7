"""`zsgym retrain`: what an agent has used is labelled, learnt, judged and deployed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import torch
import yaml
from stable_baselines3 import PPO

import zsgym  # noqa: F401  (registers the environments)
from surrogate.checkpoint import Checkpoint
from surrogate.retrain import loop
from tests.surrogate.retrain.setup import SETTINGS, RuleSimulator
from tests.surrogate.synthetic import make_row, nmcf, nmcnr, sizings, untrained_checkpoint
from zsgym.cli import main
from zsgym.datasets.generate import only_run_in
from zsgym.envs.sb3 import SizingVecEnv
from zsgym.samples import SampleLog, read_samples


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weak(tmp_path: Path) -> Path:
    """A checkpoint that knows nothing and overrates everything."""
    checkpoint = untrained_checkpoint([nmcf()])
    with torch.no_grad():
        checkpoint.model.validity_head[-1].bias += 3.0
        checkpoint.model.metric_bias += 1.5
    for key, calibration in checkpoint.calibration.items():
        checkpoint.calibration[key] = calibration.model_copy(update={"temperature": 1.0})
    checkpoint.save(tmp_path / "weak.safetensors")
    return tmp_path / "weak.safetensors"


def settings(path: Path, **sections: dict[str, float]) -> Path:
    content = {name: section | sections.get(name, {}) for name, section in SETTINGS.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def used_by(gym_line: str) -> dict[str, object]:
    """Evaluate the arguments of the `gym.make` that the command prints."""
    (call,) = (node for node in ast.walk(ast.parse(gym_line.strip())) if isinstance(node, ast.Call))
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}


@pytest.mark.ngspice
def test_what_ppo_found_on_the_surrogate_is_labelled_learnt_and_deployed(
    tmp_path: Path, weak: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"checkpoint": str(weak)}
    env = SizingVecEnv("zsgym/NMCF-v0", 16, backend="surrogate", backend_options=options, log="samples")
    PPO("MlpPolicy", env, n_steps=25, batch_size=100, n_epochs=2, seed=1, device="cpu").learn(2000)
    env.close()
    before = list(read_samples("samples"))
    assert len(before) >= 2000
    assert {row.provenance["checkpoint"] for row in before} == {Checkpoint.load(weak).sha256[:16]}
    learn = {"steps": 30, "learning_rate": 3e-3}
    config = settings(tmp_path / "fast.yaml", learn=learn, gate={"rows": 12, "level": 0.05, "tolerance": 0.05})
    command = f"retrain --log samples --per-round 48 --checkpoint {weak} --config {config} --out better.safetensors"
    assert main(command.split()) == 0
    told = capsys.readouterr().out
    labels = [row for row in read_samples("samples") if row.backend == "ngspice"]
    assert len(labels) == 48
    assert {row.sample_id for row in labels} <= {row.sample_id for row in before}
    better = Checkpoint.load(Path("better.safetensors"))
    assert better.provenance["initial"] == Checkpoint.load(weak).sha256[:16]
    assert "better checkpoint, of round 1: better.safetensors" in told
    (line,) = (line for line in told.splitlines() if "gym.make" in line)
    agent = gym.make("zsgym/NMCF-v0", log="after", **used_by(line))
    agent.reset(seed=1)
    agent.step(agent.action_space.sample())
    agent.close()
    rows = list(read_samples("after"))
    assert {row.provenance["checkpoint"] for row in rows} == {better.sha256[:16]}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an environment has logged, and a stand-in for ngspice."""
    monkeypatch.setattr(loop, "make_simulator", lambda name, circuit, **_: RuleSimulator(circuit))
    with SampleLog("samples") as file:
        file.append_many(make_row(nmcf(), s, backend="surrogate", raw={}) for s in sizings(nmcf(), 100, "log", seed=7))
    return Path("samples")


def test_a_small_round_deploys_nothing_and_says_why(log: Path, weak: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"retrain nmcf --log {log} --per-round 12 --checkpoint {weak} --out better.safetensors"
    assert main(command.split()) == 0
    told = capsys.readouterr().out
    assert "2 test rows of the log cannot show an improvement, at least 20 can" in told
    assert "temperature 1 and threshold 0.5 on p_valid stay as they were" in told
    assert "the checkpoint stays as it is" in told
    assert not Path("better.safetensors").exists()


def test_the_default_log_is_that_of_the_environments(
    log: Path, weak: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(log))
    assert main(f"retrain --per-round 12 --checkpoint {weak}".split()) == 0
    assert Path("runs/retrain-nmcf/state.json").is_file()
    with only_run_in(Path("runs/retrain-nmcf")):
        assert main(f"retrain --per-round 12 --checkpoint {weak}".split()) != 0
    assert "another process is at work in runs/retrain-nmcf" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    log: Path, weak: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "make_simulator", lambda name, circuit, **_: RuleSimulator(circuit, interrupt_at=1))
    assert main(f"retrain --log {log} --per-round 12 --checkpoint {weak}".split()) == 130
    assert "no label is lost: repeat the command to go on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("nmcx --search", "unknown circuit 'nmcx'"),
        ("--search", "--search needs the name of a CIRCUIT"),
        ("nmcf --log nowhere", "holds no sizing of nmcf"),
        ("--log nowhere", "there is no sample log at nowhere"),
        ("nmcf --search --per-round 2", "per-round at least 4"),
        ("nmcf --search --base nowhere", "there is no sample log at nowhere"),
        ("nmcf --search --checkpoint nothing.safetensors", "no checkpoint nothing.safetensors"),
        ("nmcf --search --out .", "it is a folder"),
        ("--log both", r"name a CIRCUIT: both holds predictions of nmcf (2 rows), nmcnr (1 rows)"),
    ],
)
def test_mistakes_are_told_in_one_line(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with SampleLog("both") as file:
        for circuit, count in ((nmcf(), 2), (nmcnr(), 1)):
            file.append_many(make_row(circuit, s, backend="surrogate", raw={}) for s in sizings(circuit, count, "log"))
    assert main(f"retrain {options}".split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("zsgym: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_command_is_there_without_loading_torch() -> None:
    code = "import sys, zsgym.cli; zsgym.cli.build_parser(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
