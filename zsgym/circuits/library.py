"""Finding and loading circuits: the shipped ones, and folders of a user's own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from zsgym.base.errors import ConfigError
from zsgym.base.paths import data_root
from zsgym.base.problems import did_you_mean, read_model
from zsgym.circuits.circuit import Circuit
from zsgym.circuits.schema import KINDS, CircuitFile, SizingParameter
from zsgym.netlist import Device, Expression, Subcircuit, flatten, parse_netlist
from zsgym.netlist.expressions import Name, Operation

DIRECTORIES_VARIABLE = "ZSGYM_CIRCUITS"
"""Environment variable with further circuit directories, separated as in PATH."""

_SUFFIXES = (".yaml", ".yml")
_ONE = Expression.constant(1.0)


def list_circuits(directories: Iterable[str | os.PathLike[str]] = ()) -> list[str]:
    """Names of the circuits that `load_circuit` finds with the same directories, sorted."""
    return sorted(_find(directories))


def load_circuit(name_or_path: str | os.PathLike[str], directories: Iterable[str | os.PathLike[str]] = ()) -> Circuit:
    """A circuit by its name, or from its YAML file or a folder that holds exactly one.

    Names are searched in `directories`, in those of the environment variable ZSGYM_CIRCUITS, and among the shipped
    circuits; a known name wins over a file or folder of that name. Shipped circuits are loaded once per process.

    :raises ConfigError: no such circuit, a name that two directories claim, or an invalid YAML file or netlist; the
        message names file, key and valid choices.
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
    return path.resolve()


@cache
def _load_shipped(path: Path) -> Circuit:
    return _load(path)


def _load(path: Path) -> Circuit:
    file = read_model(path, CircuitFile)
    netlist_path = Path(os.path.normpath(path.parent / file.netlist))
    try:
        netlist_text = netlist_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: netlist: {netlist_path} cannot be read: {error}") from error
    parameters = file.sizing_parameters()
    subcircuit = _subcircuit(path, file, parse_netlist(netlist_text, str(netlist_path)))
    _raise(path, [*_port_problems(file, subcircuit), *_parameter_problems(subcircuit, parameters)])
    subcircuit = _with_multipliers(_with_declared_names(subcircuit, parameters))
    _raise(path, [*_group_problems(file, subcircuit, parameters), *_known_good_problems(file, parameters)])
    return Circuit(
        name=path.stem,
        title=file.title,
        circuit_class=file.circuit_class,
        source=file.source,
        directory=path.parent,
        netlist_path=netlist_path,
        netlist_text=netlist_text,
        subcircuit=subcircuit,
        parameters=parameters,
        conditions=file.conditions,
        targets=file.targets,
        verdict_policies=file.verdict,
        known_good_designs=file.known_good,
    )


def _raise(path: Path, problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))


def _subcircuit(path: Path, file: CircuitFile, subcircuits: dict[str, Subcircuit]) -> Subcircuit:
    """The circuit's own subcircuit, flat: the one that the file names, or the netlist's only one."""
    names = ", ".join(subcircuits) or "none"
    if file.subcircuit is None and len(subcircuits) != 1:
        raise ConfigError(
            f"{path}: subcircuit: this key is required unless the netlist defines one; it defines: {names}"
        )
    top = (file.subcircuit or next(iter(subcircuits))).lower()
    if top not in subcircuits:
        raise ConfigError(
            f"{path}: subcircuit: the netlist has no {top!r}. {did_you_mean(top, subcircuits, 'Defined')}"
        )
    return flatten(subcircuits, top)


def _port_problems(file: CircuitFile, subcircuit: Subcircuit) -> list[str]:
    wanted = file.circuit_class.port_names
    if set(subcircuit.ports) == set(wanted):
        return []
    got, need = " ".join(subcircuit.ports), " ".join(wanted)
    return [f"netlist: the ports of {subcircuit.name!r} are {got}; class {file.circuit_class.name!r} needs {need}"]


def _parameter_problems(subcircuit: Subcircuit, parameters: tuple[SizingParameter, ...]) -> list[str]:
    """Parameters that only the netlist knows, or only the YAML."""
    declared = {parameter.name.lower(): parameter.name for parameter in parameters}
    used = subcircuit.names | subcircuit.parameters.keys()
    problems = [
        f"groups: no group declares {name!r} of the netlist. {did_you_mean(name, declared.values(), 'Declared')}"
        for name in sorted(subcircuit.names - declared.keys())
    ]
    problems += [
        f"groups: {name!r} is declared, but the netlist does not use it. {did_you_mean(name, sorted(used), 'Used')}"
        for lower, name in declared.items()
        if lower not in used
    ]
    if len(declared) < len(parameters):
        problems.append("groups: two parameter names differ in case only, which SPICE cannot tell apart")
    return problems


def _with_declared_names(subcircuit: Subcircuit, parameters: tuple[SizingParameter, ...]) -> Subcircuit:
    """Defaults put in for what the YAML does not declare, and every other name in the YAML's spelling."""
    spelling = {parameter.name.lower(): Expression(Name(parameter.name)) for parameter in parameters}
    fixed = {name: value for name, value in subcircuit.parameters.items() if name not in spelling}
    return subcircuit.substitute(fixed).substitute(spelling)


def _with_multipliers(subcircuit: Subcircuit) -> Subcircuit:
    """Multipliers where every reader of a circuit looks for them: an `m` of each transistor, none of anything else.

    The `m` of a two-terminal device goes into its value.
    """
    return replace(subcircuit, devices=tuple(map(_with_multiplier, subcircuit.devices)))


def _with_multiplier(device: Device) -> Device:
    if device.kind in KINDS["transistor"]:
        return device if "m" in device.values else replace(device, values={**device.values, "m": _ONE})
    if "m" not in device.values:
        return device
    value, count = device.values["value"], device.values["m"]
    shrinks = device.kind in ("resistor", "inductor")  # in parallel
    total = Expression(Operation("/", value.root, count.root)) if shrinks else value * count
    return replace(device, values={"value": total})


def _group_problems(file: CircuitFile, subcircuit: Subcircuit, parameters: tuple[SizingParameter, ...]) -> list[str]:
    """Groups whose parameters size another kind of device than they say."""
    device_class = {parameter.name: file.groups[parameter.group].device for parameter in parameters}
    return [
        f"groups.{name}.device: {device_class[name]!r} does not fit {device.name!r}, which is a {device.kind}"
        for device in subcircuit.devices
        for name in sorted(device.names)
        if device.kind not in KINDS[device_class[name]]
    ]


def _known_good_problems(file: CircuitFile, parameters: tuple[SizingParameter, ...]) -> list[str]:
    bounds = {parameter.name: (parameter.low, parameter.high) for parameter in parameters}
    problems = []
    for design, entry in file.known_good.items():
        where = f"known_good.{design}.sizing"
        for name in entry.sizing.keys() - bounds.keys():
            problems.append(f"{where}.{name}: unknown parameter. {did_you_mean(name, bounds)}")
        for name, (low, high) in bounds.items():
            if name not in entry.sizing:
                problems.append(f"{where}.{name}: this key is required")
            elif not low <= entry.sizing[name] <= high:
                problems.append(f"{where}.{name}: {entry.sizing[name]:g} is outside the bounds [{low:g}, {high:g}]")
    return problems
