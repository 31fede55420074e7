"""`zsgym doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from packaging.requirements import Requirement

from zsgym.base.errors import ZsgymError
from zsgym.base.tables import table
from zsgym.cli.output import print_json

_GIGABYTE = 1e9
_LEAST_FREE = 0.5 * _GIGABYTE


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `missing` makes the command fail; `warning` is worth knowing; fix says how to get it."""

    name: str
    state: Literal["ok", "warning", "missing"]
    detail: str
    fix: str | None = None


def add_parser(commands: Any) -> None:
    """Add the command to the main parser."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation",
        description="Check Python, packages, ngspice, SKY130 models, circuits and folders, and simulate one sizing.\n"
        "The exit code is 1 when something required is missing.",
        epilog="examples:\n  zsgym doctor\n  zsgym doctor --json | jq '.checks[] | select(.state != \"ok\")'",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    checks = list(examine())
    complete = all(check.state != "missing" for check in checks)
    if options.json:
        print_json({"ok": complete, "checks": [asdict(check) for check in checks]})
        return 0 if complete else 1
    print(table(["", "state", "found"], [[check.name, check.state, check.detail] for check in checks]))
    for check in checks:
        if check.fix is not None:
            print(f"\n{check.name}: {check.fix}")
    print("\neverything required is there" if complete else "\nsomething required is missing")
    return 0 if complete else 1


def examine() -> Iterator[Check]:
    """Every check in turn."""
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield from _packages()
    yield _guarded("libngspice", _library)
    yield _guarded("ngspice program", _program, state="warning")
    pdk = _guarded("SKY130 models", _pdk)
    yield pdk
    yield _guarded("circuits", _circuits)
    yield from _folders()
    if pdk.state == "ok":
        yield _guarded("simulation", _simulation)


def _guarded(name: str, look: Callable[[], str], state: Literal["missing", "warning"] = "missing") -> Check:
    """A check from a function that says what it found, or raises the error that says what to do."""
    try:
        return Check(name, "ok", look())
    except ZsgymError as error:
        return Check(name, state, "no", str(error))


def _packages() -> Iterator[Check]:
    for requirement in map(Requirement, _requirements()):
        name, fix = requirement.name, f"pip install '{requirement}'"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "missing", "no", fix)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Check(name, "ok", version)
        else:
            yield Check(name, "missing", f"{version}, needed: {requirement.specifier}", fix)


def _requirements() -> list[str]:
    """What zsgym needs at run time: from the installed package, or from the checkout that it runs in."""
    try:
        declared = importlib.metadata.requires("zsgym") or []
    except importlib.metadata.PackageNotFoundError:
        from zsgym.base.paths import data_root

        project = data_root() / "pyproject.toml"
        declared = tomllib.loads(project.read_text())["project"]["dependencies"] if project.is_file() else []
    return [requirement for requirement in declared if "extra ==" not in requirement]


def _library() -> str:
    from zsgym.simulators.ngspice.library import load_library

    return str(load_library()._name)


def _program() -> str:
    from zsgym.simulators.ngspice.process import ProcessEngine, find_executable

    return f"{ProcessEngine().version} ({find_executable()})"


def _pdk() -> str:
    from zsgym import pdk

    return str(pdk.locate())


def _circuits() -> str:
    from zsgym.circuits import list_circuits, load_circuit

    names = list_circuits()
    for name in names:
        load_circuit(name)
    return ", ".join(names)


def _folders() -> Iterator[Check]:
    from zsgym.base.paths import cache_dir, log_dir

    for name, folder, variable in (("cache", cache_dir(), "ZSGYM_CACHE"), ("sample log", log_dir(), "ZSGYM_LOG_DIR")):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        found = f"{folder} ({free / _GIGABYTE:.1f} GB free)"
        if not os.access(existing, os.W_OK | os.X_OK):
            yield Check(name, "missing", found, f"{existing} is not writable: set {variable} to a folder that is")
        elif free < _LEAST_FREE:
            yield Check(name, "warning", found, f"little space is left: free some, or set {variable} to another disk")
        else:
            yield Check(name, "ok", found)


def _simulation() -> str:
    """Simulate a known-good sizing from one end to the other."""
    from zsgym.base.errors import SimulatorError
    from zsgym.circuits import list_circuits, load_circuit
    from zsgym.simulators import make_simulator

    for circuit in map(load_circuit, list_circuits()):
        for name, sizing in circuit.known_good.items():
            simulator = make_simulator("ngspice", circuit)
            try:
                outcome = simulator.simulate(circuit.cases([sizing]))[0]
                provenance = ", ".join(f"{key} {value}" for key, value in simulator.provenance.items())
            finally:
                simulator.close()
            if not outcome.success:
                raise SimulatorError(
                    f"the known-good sizing {name!r} of {circuit.name} does not work: {outcome.failure}"
                )
            return f"{circuit.name} {name}: works, {outcome.elapsed_s:.2f} s ({provenance})"
    return "no known-good sizing to try"
