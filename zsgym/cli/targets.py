"""The specs that a command judges by: the circuit's own, a named set, and single changes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from zsgym.base.errors import ConfigError

if TYPE_CHECKING:
    from zsgym.circuits import Circuit
    from zsgym.classes import Metric, MetricSet

_NUMBER = re.compile(r"(?P<digits>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<rest>.*)", re.IGNORECASE)


def add_targets(parser: argparse.ArgumentParser) -> None:
    """The options that change what is asked for."""
    group = parser.add_argument_group(
        "specs",
        "By default those of the circuit (zsgym circuits NAME). A target is a number in SI units. Suffixes are those\n"
        "of SPICE, where m is milli and meg is mega: gbw=2meg, power=60u. The unit may follow.",
    )
    group.add_argument("--specs", metavar="NAME|FILE.yaml", help="a named set of specs, or a file with changed targets")
    group.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="another target, or none for no spec; may be repeated: --target power=60u --target tc=none",
    )


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """The option that asks for optional metrics without a spec."""
    from zsgym.classes import find_class, list_classes

    named = (f"{c.name}: {', '.join(c.optional_metrics.names)}" for c in map(find_class, list_classes()))
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="NAME[,NAME...]",
        help=f"optional metrics to measure as well, or all ({'; '.join(text for text in named if text[-2:] != ': ')})",
    )


def asked_for(options: argparse.Namespace, circuit: Circuit) -> Circuit:
    """The circuit, asked for what `--metrics` names besides what its own specs do.

    :raises ConfigError: an unknown metric.
    """
    names = [name.strip() for text in options.metrics for name in text.split(",")]
    if "all" in names:
        names = [*filter("all".__ne__, names), *circuit.circuit_class.optional_metrics.names]
    return circuit.asking([*circuit.asked, *names])


def targets_from(
    options: argparse.Namespace, circuit: Circuit, found_for: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The complete targets (SI) that the options ask for.

    :param found_for: complete targets of a file of designs, which count instead of the circuit's own; a set of specs
        that is named counts instead of both.
    :raises ConfigError: an unknown metric or set, a value that cannot be read, or no spec left.
    """
    from zsgym.classes.specs import exactly
    from zsgym.sizing.named_problems import specs_of

    base = specs_of(options.specs, circuit) if options.specs else found_for or circuit.targets
    changes = dict(_change(text, circuit.circuit_class.all_metrics) for text in options.target)
    return circuit.resolve_targets(exactly(circuit.targets, base) | changes)


def class_targets_from(options: argparse.Namespace, metrics: MetricSet) -> dict[str, float]:
    """The complete targets (SI) that the options ask of any circuit of a class; a class has none of its own.

    :param metrics: of the class. :raises ConfigError: as `targets_from` does, or nothing is asked for.
    """
    from zsgym.sizing.named_problems import targets_of

    base: dict[str, float | None] = dict(targets_of(options.specs)) if options.specs else {}
    wanted = base | dict(_change(text, metrics) for text in options.target)
    if not any(target is not None for target in wanted.values()):
        raise ConfigError("a class has no specs of its own: name at least one --target METRIC=VALUE, or --specs")
    return metrics.resolve_targets({}, wanted)


def _change(text: str, metrics: MetricSet) -> tuple[str, float | None]:
    """One `METRIC=VALUE`."""
    name, separator, value = (part.strip() for part in text.partition("="))
    if not separator or not value:
        raise ConfigError(f"--target {text!r}: write METRIC=VALUE, or METRIC=none to drop a spec")
    metrics.check_name(name)
    if value.lower() == "none":
        return name, None
    try:
        return name, read_target(value, metrics[name])
    except ConfigError as error:
        raise ConfigError(f"--target {text!r}: {error}") from error


def read_target(text: str, metric: Metric) -> float:
    """A target as people write it, in SI units: `2e6`, `2meg`, `60uW`.

    :raises ConfigError: it is not a number with a suffix of SPICE, or has one that people read differently.
    """
    from zsgym.netlist.expressions import SUFFIXES, parse_number

    unit, match = metric.unit, _NUMBER.fullmatch(text.strip())
    suffix = "" if match is None else match["rest"].strip()
    with_unit = bool(unit) and suffix.lower().endswith(unit.lower())
    if with_unit:
        suffix = suffix[: -len(unit)]
    if suffix == "M":
        number = match["digits"] if match else ""
        raise ConfigError(f"M is milli in SPICE and mega elsewhere: write {number}meg (or {number}e6), or {number}m")
    value = None
    if match is not None and suffix.lower() in ("", *SUFFIXES) and suffix.lower() != "mil":
        value = parse_number(match["digits"] + suffix)
    if value is not None and suffix and unit.endswith("^2"):
        value = _squared(match["digits"] if match else "", suffix, unit, with_unit)
    if value is None:
        suffixes = " ".join(name for name in SUFFIXES if name != "mil")
        raise ConfigError(f"a number in {unit} is needed, with one of the suffixes {suffixes} if you like")
    return value


def _squared(digits: str, suffix: str, unit: str, with_unit: bool) -> float:
    """The suffix of a squared unit belongs to the unit: 1 um^2 is 1e-12 m^2.

    :raises ConfigError: the unit is not there, so that the suffix could belong to the number.
    """
    from zsgym.netlist.expressions import parse_number

    if not with_unit:
        raise ConfigError(f"write {digits}{suffix}{unit} where the suffix is that of the unit, or the number in {unit}")
    return (parse_number(digits) or 0.0) * (parse_number(f"1{suffix}") or 0.0) ** 2
