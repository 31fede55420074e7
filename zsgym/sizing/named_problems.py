"""Named sets of specs: files of `configs/problems/`, or of a user's own, each with what changes in a circuit's targets.

A circuit's name is a problem as well: its own targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat

from zsgym.base.errors import ConfigError
from zsgym.base.paths import data_root
from zsgym.base.problems import did_you_mean, read_model
from zsgym.circuits import Circuit, list_circuits, load_circuit


class NamedProblem(BaseModel):
    """What a problem file holds.

    targets: changes to the circuit's targets, metric -> SI value; null drops a spec. title, circuit: may be left out
    where the circuit is given otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    circuit: str | None = None
    targets: Mapping[str, FiniteFloat | None] = {}


def list_problems() -> list[str]:
    """Names of all problems: circuits first, then the files."""
    return [*list_circuits(), *sorted(path.stem for path in _directory().glob("*.yaml"))]


def load_problem(name_or_path: str) -> tuple[Circuit, dict[str, float], str]:
    """Circuit, complete targets (SI) and title of a problem, by its name or its file.

    :raises ConfigError: there is no such problem, or its file is invalid.
    """
    if name_or_path in list_circuits():
        circuit = load_circuit(name_or_path)
        return circuit, dict(circuit.targets), f"{name_or_path.upper()}, default specs"
    path, problem = _read(name_or_path)
    if problem.circuit is None:
        raise ConfigError(f"{path}: circuit: this key is required here, since nothing else names the circuit")
    circuit = load_circuit(problem.circuit)
    return circuit, circuit.resolve_targets(problem.targets), problem.title or path.stem


def specs_of(name_or_path: str, circuit: Circuit) -> dict[str, float]:
    """The complete targets (SI) that a problem asks of a circuit which is known already.

    :raises ConfigError: there is no such problem, its file is invalid, or it is about another circuit.
    """
    if name_or_path == circuit.name:
        return dict(circuit.targets)
    if name_or_path in list_circuits():
        raise ConfigError(f"the specs {name_or_path!r} are those of another circuit, not of {circuit.name}")
    path, problem = _read(name_or_path)
    if problem.circuit not in (None, circuit.name):
        raise ConfigError(f"{path}: these specs are of {problem.circuit}, not of {circuit.name}")
    return circuit.resolve_targets(problem.targets)


def targets_of(name_or_path: str) -> dict[str, float]:
    """The complete targets (SI) of a problem, whichever circuit is asked: those that its file states alone, where it
    names no circuit.

    :raises ConfigError: there is no such problem, or its file is invalid.
    """
    if name_or_path not in list_circuits():
        _, problem = _read(name_or_path)
        if problem.circuit is None:
            return {name: target for name, target in problem.targets.items() if target is not None}
    return load_problem(name_or_path)[1]


def _read(name_or_path: str) -> tuple[Path, NamedProblem]:
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = _directory() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"unknown problem {name_or_path!r}. {did_you_mean(name_or_path, list_problems(), 'Known')}, "
            "or a YAML file with title, circuit and targets"
        )
    return path, read_model(path, NamedProblem)


def _directory() -> Path:
    return data_root() / "configs" / "problems"
