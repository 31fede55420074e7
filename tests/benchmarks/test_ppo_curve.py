"""Learning curves: read from real events, medians over seeds, one line per kind of run."""

import json
import sys
from pathlib import Path

import numpy as np
import ppo_curve
import pytest
from stable_baselines3.common.logger import configure


def make_run(folder: Path, seed: int, offset: float, **changes: object) -> Path:
    folder.mkdir()
    arguments = {
        "env": "zsgym/NMCF-v0",
        "specs": "",
        "goals": "fixed",
        "symlog": True,
        "seed": seed,
        "run": str(folder),
    }
    (folder / "arguments.json").write_text(json.dumps(arguments | {"run": str(folder)} | changes))
    logger = configure(str(folder), ["tensorboard"])
    for step in range(100, 1001, 100):
        logger.record("sizing/validity_rate", offset + step / 2000)
        if step >= 500:
            logger.record("spice/best_reward", -1.0)
        logger.dump(step)
    logger.close()
    return folder


def test_a_line_is_the_median_of_its_seeds_with_their_range(tmp_path: Path) -> None:
    runs = [ppo_curve.read_run(make_run(tmp_path / str(seed), seed, 0.1 * seed)) for seed in range(3)]
    assert len({run.group for run in runs}) == 1
    grid = np.array([100.0, 500.0, 1000.0])
    low, middle, high = ppo_curve.median_curve(runs, "sizing/validity_rate", grid)
    np.testing.assert_allclose(low, [0.05, 0.175, 0.4], rtol=1e-6)  # means of (0, 100], (100, 500], (500, 1000]
    np.testing.assert_allclose(middle, low + 0.1, rtol=1e-6)
    np.testing.assert_allclose(high, low + 0.2, rtol=1e-6)
    _, spice, _ = ppo_curve.median_curve(runs, "spice/best_reward", grid)
    assert np.isnan(spice[0])  # nothing was simulated yet
    assert spice[1:].tolist() == [-1.0, -1.0]
    assert np.isnan(ppo_curve.median_curve(runs, "sizing/success_rate", grid)).all()


def test_the_script_writes_a_figure_and_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        make_run(tmp_path / "a", 1, 0.0),
        make_run(tmp_path / "b", 2, 0.0),
        make_run(tmp_path / "c", 1, 0.2, symlog=False),
    ]
    out = tmp_path / "out" / "curve"
    monkeypatch.setattr(
        sys, "argv", ["ppo_curve.py", *map(str, folders), "--out", str(out), "--labels", "one", "other"]
    )
    ppo_curve.main()
    assert "one" in capsys.readouterr().out
    assert out.with_suffix(".png").stat().st_size > 10_000
    lines = json.loads(out.with_suffix(".json").read_text())["lines"]
    assert [(line["label"], len(line["runs"])) for line in lines] == [("one", 2), ("other", 1)]
    assert str(tmp_path) not in json.dumps(lines)


def test_a_folder_without_a_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ppo_curve.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no run"):
        ppo_curve.main()
