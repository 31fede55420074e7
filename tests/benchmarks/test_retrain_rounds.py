"""The figure of the retraining loop, from the state of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import retrain_rounds

from zsgym.classes.amplifier import METRICS


def _found(designs: int, confirmed: int, gap: float, **more: Any) -> dict[str, Any]:
    share = confirmed / designs if designs else None
    claims = {"designs": designs, "confirmed": confirmed, "share": share, "interval": [0.1, 0.9] if designs else None}
    kind = {"reward_gap": gap, "metric_gap": dict.fromkeys(METRICS.names, gap)}
    kinds = {"best": kind, "random": {"reward_gap": None, "metric_gap": {}}}
    none = {"designs": 0, "confirmed": 0, "share": None, "interval": None}
    shares = {"claims": claims, "certain": none, "published": none}
    return {"labelled": 20, "checkpoint": "c", "kinds": kinds, **shares, **more}


def _state(folder: Path, rounds: list[dict[str, Any]], **more: Any) -> Path:
    folder.mkdir()
    identity = {"circuit": "nmcf", "init_file": None}
    state = {"identity": identity, "processes": [], "rounds": rounds, **more}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_run_becomes_a_table_a_file_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = {"round": 1, "promoted": True, "refused": [], "untouched": {}}
    run = _state(tmp_path / "nmcf", [_found(10, 4, 0.5, **gate)], audit=_found(10, 9, 0.2, after=1))
    bare = _state(tmp_path / "bare", [_found(0, 0, 0.3, **gate)])
    out = tmp_path / "result" / "rounds.json"
    retrain_rounds.main([str(run), str(bare), "--out", str(out)])
    result = json.loads(out.read_text())
    points = result["runs"][0]["points"]
    assert [(p["after_rounds"], p["simulations"], p["claims"]["share"]) for p in points] == [(0, 0, 0.4), (1, 20, 0.9)]
    assert result["runs"][0]["simulations"] == 40
    assert result["provenance"]["command"]
    assert out.with_suffix(".png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "nmcf (nmcf)" in printed
    assert "0.9000" in printed


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"cannot read .*nowhere.state\.json"):
        retrain_rounds.main([str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="no finished round"):
        retrain_rounds.main([str(_state(tmp_path / "new", []))])
