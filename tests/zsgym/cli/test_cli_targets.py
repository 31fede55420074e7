"""What a command judges by is one thing: the circuit's specs, a file's, a named set's, and single changes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.zsgym.cli.conftest import write
from tests.zsgym.conftest import Run
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.cli.targets import add_targets, read_target, targets_from


def targets(circuit: Circuit, *arguments: str, found_for: dict[str, float] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser()
    add_targets(parser)
    return targets_from(parser.parse_args(arguments), circuit, found_for)


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("2e6", "gbw", 2e6),
        ("2meg", "gbw", 2e6),
        ("2MEG", "gbw", 2e6),
        ("2.5megHz", "gbw", 2.5e6),
        ("800k", "gbw", 8e5),
        ("60u", "power", 60e-6),
        ("60 uW", "power", 60e-6),
        ("0.06m", "power", 60e-6),
        ("500ns", "settling_time", 500e-9),
        ("2s", "settling_time", 2.0),
        ("90dB", "dc_gain", 90.0),
        ("-3dB", "cmrr", -3.0),
        ("60deg", "phase_margin", 60.0),
        ("0.5megV/s", "slew_rate", 5e5),
        ("1u", "tc", 1e-6),
        (".5", "vos", 0.5),
    ],
)
def test_targets_are_read_as_spice_reads_them(circuit: Circuit, text: str, metric: str, value: float) -> None:
    assert read_target(text, circuit.metrics[metric]) == value


@pytest.mark.parametrize(
    ("text", "metric", "message"),
    [
        ("2M", "gbw", "M is milli in SPICE and mega elsewhere: write 2meg"),
        ("2MHz", "gbw", "write 2meg"),
        ("5ppm", "tc", "a number in 1/K is needed"),  # SPICE would read pico
        ("5ppm/K", "tc", "a number in 1/K is needed"),
        ("0.5V/us", "slew_rate", "a number in V/s is needed"),
        ("2mil", "vos", "a number in V is needed"),
        ("60dBm", "power", "a number in W is needed"),
        ("fast", "gbw", "a number in Hz is needed, with one of the suffixes t g meg k"),
        ("nan", "gbw", "a number in Hz is needed"),
        ("", "gbw", "a number in Hz is needed"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(circuit: Circuit, text: str, metric: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_target(text, circuit.metrics[metric])


def test_changes_come_on_top_of_what_was_named(circuit: Circuit, tmp_path: Path) -> None:
    own = dict(circuit.targets)
    assert targets(circuit) == own
    assert targets(circuit, "--target", "gbw=2meg") == own | {"gbw": 2e6}
    dropped = targets(circuit, "--target", "tc=none", "--target", "power = 60u")
    assert dropped == {name: own[name] for name in own if name != "tc"} | {"power": 60e-6}
    hard = targets(circuit, "--specs", "nmcf-hard", "--target", "gbw=3meg")
    assert (hard["power"], hard["settling_time"], hard["gbw"]) == (60e-6, 2e-6, 3e6)
    specs = tmp_path / "mine.yaml"
    specs.write_text("targets: {power: 50e-6, tc: null}\n")
    assert targets(circuit, "--specs", str(specs)).items() >= {("power", 50e-6), ("gbw", own["gbw"])}
    assert "tc" not in targets(circuit, "--specs", str(specs))


def test_a_file_of_designs_asks_for_what_they_were_found_for(circuit: Circuit) -> None:
    found = {"power": 3e-4, "gbw": 2e6}
    assert targets(circuit, found_for=found) == found
    assert targets(circuit, "--target", "gbw=1meg", found_for=found) == {"power": 3e-4, "gbw": 1e6}
    assert targets(circuit, "--specs", "nmcf", found_for=found) == dict(circuit.targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "gwb=2e6"), "unknown metric 'gwb'. Did you mean 'gbw'"),
        (("--target", "gbw"), "write METRIC=VALUE"),
        (("--target", "gbw="), "write METRIC=VALUE"),
        (("--target", "gbw=2M"), "--target 'gbw=2M': M is milli"),
        (("--target", "gbw=-1"), "must be positive"),
        (("--specs", "nmcf-hrd"), "Did you mean 'nmcf-hard'"),
        (("--specs", "nmcnr"), "those of another circuit, not of nmcf"),
    ],
)
def test_mistakes_are_named(circuit: Circuit, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        targets(circuit, *arguments)


def test_specs_of_another_circuit_are_refused(circuit: Circuit, tmp_path: Path) -> None:
    specs = tmp_path / "other.yaml"
    specs.write_text("title: other\ncircuit: nmcnr\ntargets: {power: 50e-6}\n")
    with pytest.raises(ConfigError, match="these specs are of nmcnr, not of nmcf"):
        targets(circuit, "--specs", str(specs))


@pytest.mark.ngspice
def test_simulate_and_report_judge_by_the_targets_of_the_designs(run: Run, tmp_path: Path, circuit: Circuit) -> None:
    """The sizing meets its circuit's specs; the file asked for more bandwidth, and for nothing else but power."""
    good = circuit.known_good["robust"]
    designs = [{"sizing": good, "reward": -0.3, "feasible": False}]
    path = write(
        tmp_path / "designs.json", {"circuit": "nmcf", "targets": {"gbw": 9e6, "power": 3e-4}, "designs": designs}
    )
    code, printed, err = run("simulate", "nmcf", "--sizing", path)
    assert code == 0
    assert "the best one is taken, with its targets" in err
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line}
    assert "> 9 MHz" in printed
    assert rows["gbw"][-1] == "no"
    assert rows["dc_gain"][-1] == "-"
    for option in ("--sizing", "--designs"):
        code, printed, _ = run("report", "nmcf", option, path, "--out", tmp_path / "r.html")
        assert code == 0
        assert printed.startswith("nmcf: Works and meets 1 of 2 specs"), option
