"""Named sets of specs: files of `configs/problems/`, each a circuit and what changes in its targets.

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
    """What a problem file holds. targets: changes to the circuit's targets, metric -> SI value; null drops a spec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    circuit: str
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
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = _directory() / f"{name_or_path}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"unknown problem {name_or_path!r}. {did_you_mean(name_or_path, list_problems(), 'Known')}, "
            "or a YAML file with title, circuit and targets"
        )
    problem = read_model(path, NamedProblem)
    circuit = load_circuit(problem.circuit)
    return circuit, circuit.metrics.resolve_targets(circuit.targets, problem.targets), problem.title


def _directory() -> Path:
    return data_root() / "configs" / "problems"
