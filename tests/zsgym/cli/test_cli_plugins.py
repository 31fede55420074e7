"""Commands that come from other packages, by entry point."""

from __future__ import annotations

import argparse
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from zsgym import cli


def add_shout(commands: Any) -> None:
    parser = commands.add_parser("shout", help="say a word aloud")
    parser.add_argument("word")
    parser.set_defaults(run=_shout)


def _shout(options: argparse.Namespace) -> int:
    print(options.word.upper())
    return 0


def test_a_command_of_another_package_is_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint("shout", f"{__name__}:add_shout", cli.COMMANDS)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point] if group == cli.COMMANDS else [])
    assert cli.main(["shout", "hello"]) == 0
    assert capsys.readouterr().out == "HELLO\n"


def test_a_broken_command_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("lost", "no_such_package:add_parser", cli.COMMANDS)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken])
    assert cli.main(["circuits"]) == 0
    told = capsys.readouterr()
    assert "nmcf" in told.out
    assert "the command lost (no_such_package:add_parser) is left out: No module named 'no_such_package'" in told.err


def test_the_installed_commands_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["retrain", "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert "usage: zsgym retrain" in out
    assert "example" in out
    assert max(map(len, out.splitlines())) <= 120
