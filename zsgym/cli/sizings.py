"""The sizings that a command is about: of a file, of standard input, of an agent's designs, or known to be good."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsgym.base.errors import ConfigError
from zsgym.base.quantities import counted

if TYPE_CHECKING:
    from zsgym.circuits import Circuit
    from zsgym.classes import Conditions

_ROUNDING = 1e-9
"""Relative; published units are converted, and a value at its bound may come out a bit beyond it."""
_MOST_NAMED = 3
"""Unusual values that a warning names."""


def add_sizing(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The options that say what is simulated; gives the group of which one is required, for further choices."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--sizing",
        metavar="FILE.json",
        help="a sizing, a list of sizings, or a file of designs, of which the best is taken; - reads standard input",
    )
    what.add_argument("--known-good", metavar="NAME", help="a known-good sizing of the circuit")
    parser.add_argument("--published", action="store_true", help="the sizings use the published names and units")
    return what


@dataclass(frozen=True)
class Given:
    """What a command is about.

    sizings: complete, in declared units. targets: complete (SI), of a file of designs: what they were found for; None
    means the circuit's own. conditions: complete, those that the designs of a file were simulated under; None means the
    circuit's own. history, tradeoff: how these designs were found, as the file holds it; None without.
    """

    sizings: list[dict[str, float]]
    targets: Mapping[str, float] | None = None
    history: object = None
    conditions: Conditions | None = None
    tradeoff: object = None


def sizings_from(options: argparse.Namespace, circuit: Circuit) -> Given:
    """The sizings that the options name.

    Values of a file that lie outside their bounds, and counts that are not whole numbers, get one warning.

    :raises ConfigError: there is no such sizing, or one is not valid; the message says which.
    """
    if options.known_good is not None:
        known = circuit.known_good
        if options.published:
            raise ConfigError("--published goes with --sizing: a known-good sizing has the project's own names")
        if options.known_good not in known:
            raise ConfigError(
                f"{circuit.name} has no known-good sizing {options.known_good!r}; it has: {', '.join(known) or 'none'}"
            )
        return Given([known[options.known_good]])
    content, source = read_json(options.sizing), _place(options.sizing)
    if isinstance(content, dict) and isinstance(content.get("designs"), list):
        if options.published:
            raise ConfigError(f"{source} holds the designs of an agent, which have no published names")
        found = counted(len(content["designs"]), "design")
        print(
            f"zsgym: note: {source} holds {found}: the best one is taken, with its targets and conditions",
            file=sys.stderr,
        )
        given = best_of_designs(content, source, circuit)
        _warn_of_unusual(given.sizings, circuit)
        return given
    listed = content if isinstance(content, list) else [content]
    if not listed or not all(isinstance(sizing, dict) for sizing in listed):
        raise ConfigError(
            f"{source} must hold one sizing (a JSON object from parameter name to value) or a list of them"
        )
    read = circuit.from_published if options.published else circuit.validate
    sizings = []
    for position, sizing in enumerate(listed, start=1):
        try:
            sizings.append(read(sizing))
        except ConfigError as error:
            raise ConfigError(f"{_which(position, listed)}{error}") from error
    _warn_of_unusual(sizings, circuit)
    return Given(sizings)


def best_of_designs(content: Any, source: str, circuit: Circuit) -> Given:
    """The best design of a file that an agent or `zsgym size` has written, and what it was found for.

    :param content: what the file holds. :param source: what messages call it.
    :raises ConfigError: it holds no designs, or those of another circuit.
    """
    best = _best_design(content, source, circuit)
    # The file's targets are complete: what it does not name has no spec.
    targets = content.get("targets")
    if targets:
        try:
            targets = circuit.resolve_targets(targets, base={})
        except ConfigError as error:
            raise ConfigError(f"{source}: targets: {error}") from error
    conditions = content.get("conditions")
    if conditions is not None:
        try:
            conditions = circuit.conditions.read(conditions)
        except (ConfigError, TypeError, ValueError) as error:
            raise ConfigError(f"{source}: {error}") from error
    sizing = circuit.validate(best["sizing"])
    return Given([sizing], targets or None, content.get("history"), conditions, content.get("tradeoff"))


def _best_design(content: Any, source: str, circuit: Circuit) -> Mapping[str, Any]:
    """The best design of a file that an agent has written: a feasible one, then the one with the largest reward.

    :param content: what the file holds. :param source: what messages call it.
    :raises ConfigError: it holds no designs, or those of another circuit. The sizing itself is not checked.
    """
    designs = content.get("designs") if isinstance(content, dict) else None
    if not isinstance(designs, list) or not all(isinstance(d, dict) and "sizing" in d for d in designs):
        raise ConfigError(
            f"{source} is not what an agent writes with --out: an object with a list of designs is needed"
        )
    if not designs:
        raise ConfigError(f"{source} holds no design: the agent found none")
    if content.get("circuit", circuit.name) != circuit.name:
        raise ConfigError(f"the designs in {source} are of {content['circuit']}, not of {circuit.name}")
    if not all(isinstance(design.get("reward", 0.0), int | float) for design in designs):
        raise ConfigError(f"{source}: the reward of a design must be a number")
    best: Mapping[str, Any] = max(
        designs, key=lambda design: (bool(design.get("feasible")), float(design.get("reward", 0.0)))
    )
    return best


def read_json(source: str) -> Any:
    """What a JSON file holds, or standard input for `-`.

    :raises ConfigError: it cannot be read, is not JSON, or an object names something twice.
    """
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_without_repetition)
    except OSError as error:
        raise ConfigError(f"cannot read {_place(source)}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_place(source)} is not valid JSON: {error}") from error


def _place(source: str) -> str:
    return "standard input" if source == "-" else source


def _which(position: int, sizings: Sequence[object]) -> str:
    """Where a message is about one sizing of several: which, counted from 1."""
    return f"sizing {position} of {len(sizings)}: " if len(sizings) > 1 else ""


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets the last of two equal keys win silently; in a sizing that is a mistake."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ConfigError(f"a sizing names {next(name for name in names if names.count(name) > 1)!r} twice")
    return result


def _warn_of_unusual(sizings: Sequence[Mapping[str, float]], circuit: Circuit) -> None:
    """One line about the first sizing with unusual values, and how many more there are: often a wrong unit."""
    found = [(position, oddities) for position, s in enumerate(sizings, start=1) if (oddities := _unusual(s, circuit))]
    if not found:
        return
    position, oddities = found[0]
    text = _which(position, sizings) + "; ".join(oddities[:_MOST_NAMED])
    if len(oddities) > _MOST_NAMED:
        text += f"; and {counted(len(oddities) - _MOST_NAMED, 'value')} more"
    if len(found) > 1:
        text += f" (and {counted(len(found) - 1, 'sizing')} more with such values)"
    warnings.warn(text, stacklevel=2)


def _unusual(sizing: Mapping[str, float], circuit: Circuit) -> list[str]:
    """The values outside their bounds, and the counts that are not whole numbers, with the declared units."""
    oddities = []
    for p in circuit.parameters:
        value, unit = sizing[p.name], "" if p.unit == "count" else f" {p.unit}"
        if not p.low * (1.0 - _ROUNDING) <= value <= p.high * (1.0 + _ROUNDING):
            oddities.append(f"{p.name}={value:.10g}{unit} lies outside its bounds, {p.low:g} to {p.high:g}{unit}")
        elif p.integer and not value.is_integer():
            oddities.append(f"{p.name}={value:.10g} is a count, and not a whole number")
    return oddities
