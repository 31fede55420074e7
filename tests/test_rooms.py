"""Who may import whom: the table of docs/architecture.md, read from the code itself. Lazy imports count, too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BELOW_SAMPLES = {"base", "netlist", "pdk", "classes", "circuits"}
BELOW_EVALUATE = BELOW_SAMPLES | {"simulators", "samples"}
ROOMS: dict[str, set[str]] = {
    "base": set(),
    "netlist": {"base"},
    "pdk": {"base", "netlist"},
    "classes": {"base", "netlist", "pdk"},
    "circuits": {"base", "netlist", "pdk", "classes"},
    "simulators": BELOW_SAMPLES,
    "samples": BELOW_SAMPLES | {"simulators.base", "simulators.outcome"},
    "evaluate": BELOW_EVALUATE,
    "datasets": BELOW_EVALUATE | {"evaluate"},
    "sizing": BELOW_EVALUATE | {"evaluate"},
    "envs": BELOW_EVALUATE | {"evaluate", "sizing"},
    "training": BELOW_EVALUATE | {"evaluate", "sizing", "envs"},
    "report": BELOW_EVALUATE | {"evaluate", "datasets", "sizing", "envs"},
    "cli": BELOW_EVALUATE | {"evaluate", "datasets", "sizing", "envs", "report"},
}
"""Room -> rooms, or modules of rooms, that it may import besides itself."""

EXCEPTIONS = {("zsgym/sizing/result.py", "report")}
"""`SizingResult.write_report` asks the room above it when it is called: whoever has a result has its report."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, wherever in the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports name the package, so that this test can read them"
            # `from zsgym import pdk` and `from zsgym.pdk import models` import a module by its last name.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, allowed: set[str]) -> bool:
    """Whether a dotted name below zsgym lies in an allowed room or module."""
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def trespasses(room: str) -> list[str]:
    """What a room imports and may not."""
    place = ROOT / "zsgym" / room
    files = modules(f"zsgym/{room}") if place.is_dir() else [place.with_suffix(".py")]
    found = []
    for path in files:
        module = path.relative_to(ROOT).as_posix()
        allowed = ROOMS[room] | {room, "__version__"} | {other for user, other in EXCEPTIONS if user == module}
        for line, name in imports(path):
            if name.startswith("zsgym.") and not within(name.removeprefix("zsgym."), allowed):
                found.append(f"{module}:{line} imports {name}")
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert trespasses(room) == []


@pytest.mark.parametrize(("module", "other"), EXCEPTIONS)
def test_an_exception_is_one_lazy_import(module: str, other: str) -> None:
    """At the top of the module it would be a circle."""
    top = ast.parse((ROOT / module).read_text(encoding="utf-8")).body
    assert not any(isinstance(node, ast.ImportFrom) and node.module == f"zsgym.{other}" for node in top)
    assert {line for line, name in imports(ROOT / module) if within(name, {f"zsgym.{other}"})}, "no longer needed"


def test_every_module_is_in_a_room() -> None:
    rooms = {path.relative_to(ROOT / "zsgym").parts[0].removesuffix(".py") for path in modules("zsgym")}
    assert rooms - {"__init__", "__main__"} <= ROOMS.keys()


@pytest.mark.parametrize("package", ["zsgym", "surrogate"])
def test_nobody_imports_a_script(package: str) -> None:
    """`agents/` and `benchmarks/` are not installed."""
    found = [
        f"{path}:{line}"
        for path in modules(package)
        for line, name in imports(path)
        if re.match(r"(agents|benchmarks|tests)\b", name)
    ]
    assert found == []


def test_learnt_models_are_found_by_entry_points_alone() -> None:
    """zsgym names no module of surrogate/: neither in an import nor in a text that could become one."""
    found = []
    for path in modules("zsgym"):
        found += [f"{path}:{line}" for line, name in imports(path) if re.match(r"surrogate\b", name)]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if re.match(r"(surrogate|agents|benchmarks)[.:]\w", text):
                found.append(f"{path}:{node.lineno}: {text!r}")
    assert found == []


def test_a_trespass_would_be_found(tmp_path: Path) -> None:
    """Also within a function, and of a module by its name."""
    module = tmp_path / "module.py"
    module.write_text(
        "import zsgym.cli.main as m\ndef f():\n    from zsgym import samples\n    from zsgym.pdk import models\n"
    )
    assert list(imports(module)) == [(1, "zsgym.cli.main"), (3, "zsgym.samples"), (4, "zsgym.pdk.models")]
    assert within("pdk.models", {"pdk"})
    assert not within("samples", ROOMS["simulators"])
    assert not within("simulators.hybrid", ROOMS["samples"])
    assert within("simulators.outcome.Status", ROOMS["samples"])


def test_the_table_is_the_documented_one() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(\w+)(?:\.py|/)`", page.split("may import whom")[1].split("\n## ")[0]))
    assert ROOMS.keys() <= documented
