"""Reading YAML strictly, and turning what is wrong with it into short lines that name file, key and valid choices."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from zsgym.base.encoding import decode
from zsgym.base.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


class SectionError(ValueError):
    """What is wrong inside a section of a file that a model of its own reads, for a validator of that section.

    lines: `key: what is wrong`, as `describe` gives them, keys counted from the section.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


def read_model(path: Path, model: type[ModelT]) -> ModelT:
    """Read a YAML file into a pydantic model.

    :raises ConfigError: the file cannot be read, is not YAML, repeats a key or does not fit the model: one line per
        problem, each with the file, the key and the valid choices.
    """
    content = read_mapping(path, model)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in describe(error, model))) from error


def read_mapping(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """What a YAML file holds, before it is held against a model, whose keys an error names. Raises as `read_model`."""
    try:
        text = decode(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        content = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(_keys(model))}")
    return content


def read_section(content: object, model: type[ModelT], where: str) -> ModelT:
    """A part of a file that was read already, as a model.

    :param where: the file and the key of the part, such as `designs.json: history`.
    :raises ConfigError: it is not one; the message names every key that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{where}.{line}" for line in describe(error, model))) from error


def did_you_mean(name: object, choices: Iterable[str], label: str = "Valid") -> str:
    """The end of an error message: the nearest valid choice, if any is near, and all of them."""
    names = list(choices)
    near = difflib.get_close_matches(str(name), names, n=1)
    return (f"Did you mean {near[0]!r}? " if near else "") + f"{label}: {', '.join(names) or 'none'}"


def unlike(given: Iterable[str], wanted: Iterable[str], noun: str = "parameter") -> list[str]:
    """What is wrong with the names of a mapping that must have exactly the wanted ones: at most two short texts.

    The wanted names are listed once, however many are unknown or missing.
    """
    names, found = list(wanted), list(given)
    unknown = [name for name in found if name not in names]
    missing = [name for name in names if name not in found]
    problems = []
    if len(unknown) == 1:
        problems.append(f"unknown {noun} {unknown[0]!r}. {did_you_mean(unknown[0], names)}")
    elif unknown:
        near = {name: difflib.get_close_matches(str(name), names, n=1) for name in unknown}
        guesses = [f"{name!r} (did you mean {near[name][0]!r}?)" if near[name] else repr(name) for name in unknown]
        problems.append(f"unknown {noun}s {', '.join(guesses)}. Valid: {', '.join(names) or 'none'}")
    if missing:
        every = bool(unknown) and len(missing) == len(names)
        problems.append("missing " + ("every one of them" if every else ", ".join(missing)))
    return problems


def describe(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per problem of a pydantic error, `key.key: what is wrong`."""
    lines = []
    for problem in error.errors(include_url=False):
        where = [str(part) for part in problem["loc"] if part != "[key]"]
        if isinstance(section := problem.get("ctx", {}).get("error"), SectionError):
            lines += [".".join([*where, line]) for line in section.lines]
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key. {did_you_mean(where[-1], _keys_at(model, where[:-1]))}"
        elif problem["type"] == "missing":
            message = "this key is required"
        elif problem["type"] == "literal_error":
            choices = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            message = f"{problem['input']!r} is not valid here. {did_you_mean(problem['input'], choices)}"
        elif problem["type"] in ("greater_than_equal", "less_than_equal") and (limits := _limits(model, where)):
            given = problem["input"]
            number = f"{given:g}" if isinstance(given, int | float) else repr(given)
            message = f"must lie between {limits}, got {number}"
        elif problem["type"] != "value_error" and isinstance(problem["input"], str | int | float):
            message = f"{message} (got {problem['input']!r}){_plain_number(problem['input'])}"
        # A check over the whole file reports several problems, one per line.
        lines += [f"{'.'.join(where)}: {line}" if where else line for line in message.splitlines()]
    return lines


_SUFFIXED = re.compile(
    r"(?P<digits>[+-]?(?:\d+\.?\d*|\.\d+))(?P<power>e[+-]?\d+)?\s*(?P<scale>meg|[tgkmunp\u00b5]|(?-i:f))?\s*(?P<unit>[a-z%/]*)",
    re.IGNORECASE,
)
"""F is farad here, f is femto."""
_POWERS = {"t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "\u00b5": -6, "n": -9, "p": -12, "f": -15}


def _plain_number(given: object) -> str:
    """How a number with a suffix or a unit is written in a file; empty where it is not one."""
    match = _SUFFIXED.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or not (match["scale"] or match["unit"]):
        return ""
    digits, power = match["digits"], int((match["power"] or "e0")[1:])
    exponent = power + _POWERS.get((match["scale"] or "").lower(), 0)
    number = f"{digits}e{exponent}" if exponent else digits
    mega = f" (or {digits}e{power + 6}, where M is mega)" if match["scale"] == "M" else ""
    return f": write {number}{mega}. Numbers in a file are plain, without suffix and unit"


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _limits(model: type[BaseModel], where: list[str]) -> str:
    """Both inclusive limits of a field of the model with its unit, such as `0.5 and 5 V`; empty where it lacks one."""
    field = model.model_fields.get(where[0]) if len(where) == 1 else None
    if field is None:
        return ""
    low, high = (next((getattr(m, name) for m in field.metadata if hasattr(m, name)), None) for name in ("ge", "le"))
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    return "" if low is None or high is None else f"{low:g} and {high:g} {unit}".rstrip()


def _keys_at(model: type[BaseModel], where: list[str]) -> list[str]:
    """Valid keys of the mapping that a location inside a model leads to."""
    for position, key in enumerate(where):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if key in fields:
            below = _model_in(fields[key].annotation)
            # The key after a `dict[str, Model]` is free: it belongs to the mapping, not to a model.
            if below is None:
                return []
            model = below
        elif position == 0:
            return []
    return _keys(model)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as `dict[str, Model]` or `Model | None`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    inner = [_model_in(argument) for argument in typing.get_args(annotation)]
    return next((found for found in inner if found is not None), None)


class _StrictLoader(yaml.SafeLoader):
    """PyYAML lets a repeated key win silently; a parameter that is listed twice must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is repeated", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
