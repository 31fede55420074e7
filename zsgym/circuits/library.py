"""Finding and loading circuits: the shipped ones, and folders of a user's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from zsgym.base.errors import ConfigError
from zsgym.base.paths import data_root
from zsgym.base.problems import did_you_mean, read_mapping, read_model
from zsgym.circuits.circuit import Circuit
from zsgym.circuits.schema import CircuitFile
from zsgym.circuits.topology import netlist_faults, read_topology

DIRECTORIES_VARIABLE = "ZSGYM_CIRCUITS"
"""Environment variable with further circuit directories, separated as in PATH."""

_SUFFIXES = (".yaml", ".yml")
_NETLIST_SUFFIXES = (".spice", ".cir", ".sp", ".net", ".ckt", ".scs")


def list_circuits(directories: Iterable[str | os.PathLike[str]] = ()) -> list[str]:
    """Names of the circuits that `load_circuit` finds with the same directories, sorted."""
    return sorted(_find(directories))


def load_circuit(name_or_path: str | os.PathLike[str], directories: Iterable[str | os.PathLike[str]] = ()) -> Circuit:
    """A circuit by its name, or from its YAML file or a folder that holds exactly one.

    Names are searched in `directories`, in those of the environment variable ZSGYM_CIRCUITS, and among the shipped
    circuits; a known name wins over a file or folder of that name. Shipped circuits are loaded once per process.

    :raises ConfigError: no such circuit, a name that two directories claim, or an invalid YAML file or netlist: one
        line per problem, which names the file, the key or the line, and what to write.
    """
    path, name = Path(name_or_path), str(name_or_path)
    # A bare word is a name first, even where the working directory has a folder of that name.
    if not isinstance(name_or_path, str) or path.suffix in _SUFFIXES or len(path.parts) > 1:
        return _load(_circuit_file(path))
    found = _find(directories)
    if name not in found:
        if name and path.exists():
            return _load(_circuit_file(path))
        known = did_you_mean(name, sorted(found), "Known")
        raise ConfigError(f"unknown circuit {name!r}. {known}; a YAML file or its folder may be given, too")
    is_shipped = found[name].parent == _shipped_directory()
    return _load_shipped(found[name]) if is_shipped else _load(found[name])


def _shipped_directory() -> Path:
    return data_root() / "configs" / "circuits"


def _find(directories: Iterable[str | os.PathLike[str]]) -> dict[str, Path]:
    """Circuit name -> YAML file, over every directory."""
    from_environment = filter(None, os.environ.get(DIRECTORIES_VARIABLE, "").split(os.pathsep))
    found: dict[str, Path] = {}
    for directory in dict.fromkeys(Path(d).resolve() for d in (*directories, *from_environment, _shipped_directory())):
        if not directory.is_dir():
            raise ConfigError(f"circuit directory {directory} does not exist")
        for path in _yaml_files(directory):
            if path.stem in found:
                raise ConfigError(
                    f"circuit {path.stem!r} is claimed by {found[path.stem]} and {path}: rename one of them"
                )
            found[path.stem] = path
    return found


def _yaml_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES)


def _circuit_file(path: Path) -> Path:
    """The YAML file that a path means."""
    if path.is_dir():
        files = _yaml_files(path)
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise ConfigError(f"{path}: a circuit folder given by its path needs exactly one YAML file; found: {names}")
        path = files[0]
    if not path.is_file():
        raise ConfigError(f"{path}: no such circuit file. Known circuits: {', '.join(list_circuits())}")
    if path.suffix.lower() in _NETLIST_SUFFIXES:
        raise ConfigError(
            f"{path} is a netlist: give the YAML file that describes it, with its sizing parameters and specs "
            "(docs/bring-your-own-circuit.md)"
        )
    return path.resolve()


@cache
def _load_shipped(path: Path) -> Circuit:
    return _load(path)


def _load(path: Path) -> Circuit:
    try:
        file = read_model(path, CircuitFile)
    except ConfigError as error:
        faults = netlist_faults(path, read_mapping(path, CircuitFile))
        raise ConfigError("\n".join([str(error), *faults])) from error
    topology = read_topology(path, file)
    circuit = Circuit(
        name=path.stem,
        title=file.title,
        circuit_class=file.circuit_class,
        source=file.source,
        directory=path.parent,
        netlist_path=topology.netlist_path,
        netlist_text=topology.netlist_text,
        subcircuit=topology.subcircuit,
        parameters=file.sizing_parameters(),
        conditions=file.conditions,
        targets=file.targets,
        verdict_policies=file.verdict,
        known_good_designs=file.known_good,
    )
    return circuit.asking(file.targets)
