"""A pool of random targets is made from the working rows of a data set, on either side of the surrogate's split."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from surrogate import target_pool
from surrogate.data import read_labels
from tests.surrogate.synthetic import nmcf
from zsgym.envs.targets import TargetPool


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["target_pool", *map(str, arguments)])
    target_pool.main()


def test_a_pool_holds_working_amplifiers_of_both_splits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "targets" / "nmcf.json"
    run(monkeypatch, "nmcf", "--data", data, "--train", 20, "--test", 5, "--min-phase-margin", -180, "--out", out)
    content = json.loads(out.read_text())
    assert (len(content["train"]), len(content["test"])) == (20, 5)
    assert not {tuple(row) for row in content["train"]} & {tuple(row) for row in content["test"]}
    rows = read_labels([data])[0]["nmcf"]
    working = {tuple(float(f"{value:.6g}") for value in row) for row in rows.measured[rows.valid]}
    assert {tuple(row) for row in content["train"] + content["test"]} <= working
    pool = TargetPool.load(replace(nmcf(), directory=tmp_path))
    assert len(pool.designs["train"]) == 20


def test_mistakes_are_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="a split of the pool would be empty"):
        run(monkeypatch, "nmcf", "--data", data, "--min-phase-margin", 1e6, "--out", tmp_path / "pool.json")
    with pytest.raises(SystemExit, match="hold no rows of rc_loaded"):
        run(monkeypatch, Path(__file__).parents[2] / "docs/examples/rc_loaded", "--data", data)
