"""The documentation does what it says: its code runs, its commands and their options exist, and its site builds."""

import argparse
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from zsgym.cli import build_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PROGRAMS = {"apt-get", "cd", "export", "git", "minari", "ngspice", "source", "tensorboard"}
"""Commands of the documentation that are not ours to check."""

_FENCE = re.compile(
    r"^(?P<comment><!-- not run: .+ -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block. run: false where a comment before it says why it cannot be run."""

    page: Path
    line: int
    language: str
    text: str
    run: bool

    @property
    def needs_ngspice(self) -> bool:
        return bool(re.search(r"[\"'](ngspice|hybrid)[\"']", self.text))


def blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        content = page.read_text()
        for match in _FENCE.finditer(content):
            if match["language"] in languages:
                line = content.count("\n", 0, match.start("text"))
                yield Block(page, line, match["language"], match["text"], match["comment"] is None)


def by_page(needs_ngspice: bool) -> list[Any]:
    """The Python blocks of each page that has any of that kind, as parameters of a test."""
    pages: dict[Path, list[Block]] = {}
    for block in blocks("python"):
        if block.run:
            pages.setdefault(block.page, []).append(block)
    return [
        pytest.param(found, id=page.name)
        for page, found in pages.items()
        if not needs_ngspice or any(block.needs_ngspice for block in found)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the example circuit under the names that the documentation uses."""
    example = ROOT / "docs" / "examples" / "rc_loaded"
    shutil.copytree(example, tmp_path / "my_circuits")
    (tmp_path / "my_circuits" / "rc_loaded.yaml").rename(tmp_path / "my_circuits" / "my_amp.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))  # the documentation sets it for itself
    return tmp_path


def execute(found: list[Block]) -> None:
    """Run the blocks of one page one after the other, in one namespace."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in found:
        code = compile("\n" * block.line + block.text, str(block.page), "exec")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(code, namespace)


@pytest.mark.parametrize("found", by_page(needs_ngspice=False))
@pytest.mark.usefixtures("folder")
def test_python_runs_on_the_surrogate(found: list[Block]) -> None:
    if any("minari" in block.text for block in found):
        pytest.importorskip("minari")
    execute([block for block in found if not block.needs_ngspice])


@pytest.mark.ngspice
@pytest.mark.parametrize("found", by_page(needs_ngspice=True))
@pytest.mark.usefixtures("folder")
def test_python_runs_with_ngspice(found: list[Block]) -> None:
    execute(found)


# --- commands -------------------------------------------------------------------------------------------------------


class Understood(BaseException):
    """The arguments of a program have been parsed; it must not go on to work."""


def commands() -> list[Any]:
    """Every different command line of the documentation, its environment variables and comments removed."""
    known: dict[str, str] = {}
    for block in blocks("sh", "console"):
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            for command in " ".join(map(shlex.quote, words)).split(" '&&' "):
                if command and shlex.split(command)[0] not in OTHER_PROGRAMS:
                    known.setdefault(command, f"{block.page.name}:{block.line}")
    return [pytest.param(shlex.split(command), id=f"{where}:{command}") for command, where in known.items()]


_ON_THE_SIDE = {"--out": 1, "--runs": 1, "--processes": 1, "--no-log": 0, "--parts": None}
"""Options that say where and how a benchmark runs and not what it measures, and their numbers of values (None: any)."""


def essence(words: list[str]) -> tuple[str, ...]:
    """A command without its folder and without the options that do not change the result."""
    kept = [Path(words[0]).name]
    skip: float = 0
    for word in words[1:]:
        if word in _ON_THE_SIDE:
            count = _ON_THE_SIDE[word]
            skip = float("inf") if count is None else count
        elif word.startswith("--") or skip <= 0:
            kept.append(word)
            skip = 0
        else:
            skip -= 1
    return tuple(kept)


def recorded_commands() -> list[Any]:
    """What made the published results, as they say themselves."""
    found = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        content = json.loads(path.read_text())
        origin = content.get("provenance", content)
        parts = [origin] if "command" in origin else list(origin.values())
        found += [pytest.param(part["command"], id=f"{path.stem}-{i}") for i, part in enumerate(parts)]
    return found


@pytest.mark.parametrize("command", recorded_commands())
def test_a_published_result_was_made_by_a_command_of_the_documentation(command: list[str]) -> None:
    documented = {essence(p.values[0][1:]) for p in commands() if p.values[0][0] == "python"}
    assert essence(command) in documented


@pytest.mark.parametrize("words", commands())
def test_a_command_and_its_options_exist(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = words
    monkeypatch.chdir(ROOT)
    if program == "zsgym":
        build_parser().parse_args(arguments)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= set(targets)
    elif program == "pip":
        check_pip(arguments)
    else:
        assert program in ("python", "python3"), f"add {program} to OTHER_PROGRAMS, or correct the documentation"
        check_python(arguments, monkeypatch)


def check_pip(arguments: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert arguments[0] == "install"
    for text in arguments:
        if "[" in text:
            assert set(re.findall(r"[\w-]+", text.split("[", 1)[1])) <= set(extras)


def check_python(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script or module up to the point where it has understood its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *given: Any, **named: Any) -> NoReturn:
        parse(self, *given, **named)
        raise Understood

    module = None
    if arguments[0] == "-m":
        module, arguments = arguments[1], arguments[1:]
        if module.split(".")[0] not in ("surrogate", "zsgym"):
            return
    else:
        assert (ROOT / arguments[0]).is_file(), f"there is no {arguments[0]}"
        monkeypatch.syspath_prepend(str((ROOT / arguments[0]).parent))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", list(arguments))
    with pytest.raises(Understood):
        start(module)


def start(module: str | None) -> None:
    """Run a module, or the script that is the first argument, as its own process would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if module is not None:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(ROOT / sys.argv[0]), run_name="__main__")


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_checkout(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_benchmark_is_in_the_list_of_tables() -> None:
    listed = (ROOT / "docs" / "reproduce.md").read_text()
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert scripts
    assert not [path.name for path in scripts if f"`python benchmarks/{path.name}`" not in listed]


def test_files_that_commands_read_exist() -> None:
    """Configurations are part of the checkout; what a command writes, or what another one has written, is not."""
    for block in blocks("sh", "console"):
        for path in re.findall(r"(?<!\S)(?:configs|docs|netlists)/[\w./-]+", block.text):
            assert (ROOT / path).exists(), f"{block.page.name}:{block.line}: {path}"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "site" / "index.html").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert page.stem == "index" or f'href="{page.stem}.html"' in index, f"{page.name} is in no table of contents"
    # The site works without network: no script, style or font of another host.
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://[^\"]+\.(?:js|css|woff2?|svg|png)", index)
