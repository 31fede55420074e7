"""Circuits as data: the shipped ones, a user's own, all ways of writing a sizing."""

import copy
import os
import pickle
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fakes import ask
from hypothesis import given
from hypothesis import strategies as st

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.classes.amplifier import METRICS, AmplifierConditions
from zsgym.simulators import make_simulator

TEXTBOOK = ("folded_cascode", "miller_n", "miller_p", "ota5t", "telescopic")
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rc_loaded"
CIRCUITS = [load_circuit("nmcf"), load_circuit("nmcnr"), load_circuit(EXAMPLE)]


class Published(NamedTuple):
    """What is known of a published amplifier: counts, the load (F) of its file, and the hash that never changes."""

    nmos: int
    pmos: int
    parameters: int
    load: float
    netlist_hash: str


PUBLISHED = {
    "acbc": Published(13, 14, 33, 100e-12, "61bf44f9b5002460"),
    "affc": Published(16, 14, 33, 100e-12, "bf109886e07d5cde"),
    "az": Published(10, 11, 36, 15000e-12, "9a4bbf970cc175fd"),
    "azc": Published(12, 13, 38, 1500e-12, "f18ecc1efd366c4e"),
    "cfcc": Published(12, 12, 29, 500e-12, "ae14b53e98f16eef"),
    "clia": Published(13, 12, 28, 560e-12, "0acb13166b569ddb"),
    "dacfc": Published(16, 21, 33, 500e-12, "8167f19a20583c8b"),
    "dfcfc1": Published(13, 13, 30, 100e-12, "8b6d703237f784c0"),
    "dfcfc2": Published(13, 13, 27, 100e-12, "d6e0e39b7575ca87"),
    "iac": Published(16, 18, 31, 150e-12, "2ddb87a6ebe0c3fe"),
    "lec": Published(15, 15, 28, 500e-12, "71e89b345c02b37f"),
    "nmcf": Published(12, 12, 24, 10e-12, "8171e3d588b8fc3c"),
    "nmcnr": Published(12, 12, 22, 10e-12, "d904954b2b4dec7b"),
    "pfc": Published(12, 12, 24, 100e-12, "15509cd8f454063f"),
    "raffc": Published(12, 12, 27, 100e-12, "33430117ffcd1f6c"),
    "smc": Published(12, 12, 23, 10e-12, "bd9d9031c2bf1c9f"),
    "tcfc": Published(14, 18, 24, 150e-12, "3a2e4f72406e8c01"),
}

each_circuit = pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.name)


def middle(circuit: Circuit) -> dict[str, float]:
    return circuit.sizing(circuit.from_point(np.zeros(len(circuit.parameters))))


# --- the shipped circuits -------------------------------------------------------------------------------------------


def test_shipped_circuits_are_listed() -> None:
    assert {*PUBLISHED, *TEXTBOOK} <= set(list_circuits())


@pytest.mark.parametrize("name", list_circuits())
def test_every_shipped_circuit_is_complete(name: str) -> None:
    circuit = load_circuit(name)
    assert circuit.subcircuit.ports == ("vss", "vdd", "inn", "inp", "out")
    assert set(circuit.targets) == set(METRICS.names)
    assert set(circuit.verdict_policies) == {"functional", "measured"}
    assert circuit.verdict_policies["measured"].judge == "measured"
    assert circuit.source
    # Every device belongs to a group, and every parameter sizes something.
    members = {device.name for group in circuit.groups.values() for device in group}
    assert members == {device.name for device in circuit.devices}
    assert circuit.subcircuit.names == set(circuit.parameter_names)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_amplifiers(name: str) -> None:
    """Seventeen circuits of the AnalogGym suite, each under the load of its published file and its published step."""
    circuit, published = load_circuit(name), PUBLISHED[name]
    kinds = [device.kind for device in circuit.devices]
    assert (kinds.count("nmos"), kinds.count("pmos")) == (published.nmos, published.pmos)
    assert len(circuit.parameters) == published.parameters
    assert circuit.conditions == AmplifierConditions(load=published.load, step_low=0.3, step_high=0.5)
    assert circuit.netlist_hash == published.netlist_hash
    # Every device belongs to exactly one group.
    members = [device.name for group in circuit.groups.values() for device in group]
    assert sorted(members) == sorted(device.name for device in circuit.devices)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_circuits_step_around_their_common_mode(name: str) -> None:
    conditions = load_circuit(name).conditions
    assert isinstance(conditions, AmplifierConditions)
    assert sum(conditions.step_levels) / 2.0 == pytest.approx(conditions.common_mode)
    higher = conditions.replace(common_mode_ratio=conditions.common_mode_ratio + 0.05)
    assert higher.step_levels == pytest.approx([level + 0.09 for level in conditions.step_levels])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_amplifiers_have_one_signal_path_and_no_idle_device(name: str) -> None:
    """A pMOS pair of one group on a common source, its left gate inverting; one current source; no net with one pin."""
    circuit = load_circuit(name)
    left, right = circuit.groups["input_pair"]
    assert (left.nodes["g"], right.nodes["g"]) == ("inn", "inp")
    assert left.nodes["s"] == right.nodes["s"] == left.nodes["b"] == right.nodes["b"]
    assert [device.kind for device in circuit.groups["bias_current"]] == ["isource"]
    pins = Counter(net for device in circuit.devices for net in device.nodes.values())
    assert {net for net, count in pins.items() if count == 1} <= {"inn", "inp"}
    bulks = {device.nodes["b"] for device in circuit.devices if device.kind == "nmos"}
    assert bulks == {"vss"}


def test_nmcf_is_the_published_circuit() -> None:
    circuit = load_circuit("nmcf")
    assert len(circuit.parameters) == 24
    assert {group: len(devices) for group, devices in circuit.groups.items()} == {
        "bias_p": 8,
        "input_pair": 2,
        "gm2": 1,
        "gmf2": 1,
        "bias_n": 9,
        "load2": 2,
        "gm3": 1,
        "cap1": 1,
        "cap2": 1,
        "bias_current": 1,
    }
    # Tail current source: four bias units.
    (tail,) = (d for d in circuit.devices if d.nodes.get("d") == "n2" and d.nodes["g"] == "n4")
    assert tail.values["m"].evaluate({"M_bias_p": 3}) == 12
    assert circuit.targets["dc_gain"] == 130
    assert circuit.targets["slew_rate"] == 0.4e6
    assert circuit.targets["tc"] == 1e-6


def test_nmcnr_differs_by_the_resistor_and_the_class_a_output() -> None:
    nmcf, nmcnr = load_circuit("nmcf"), load_circuit("nmcnr")
    assert set(nmcf.groups) - set(nmcnr.groups) == {"gmf2"}
    assert set(nmcnr.groups) - set(nmcf.groups) == {"res1"}
    assert len(nmcnr.parameters) == 22
    (source,) = (d for d in nmcnr.devices if d.nodes.get("d") == "out" and d.kind == "pmos")
    assert source.values["m"].evaluate({"M_bias_p": 1}) == 10


PUBLISHED_BOUNDS = {"um W": (0.2, 10), "um L": (0.13, 1), "count M": (1, 100), "A value": (1e-6, 40e-6)} | {
    "F value": (1e-12, 100e-12),
    "ohm value": (100, 1e6),
}


@pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
def test_uniform_ranges_are_the_published_ones_and_actions_reach_them(name: str) -> None:
    for parameter in load_circuit(name).parameters:
        assert parameter.uniform_bounds == pytest.approx(PUBLISHED_BOUNDS[f"{parameter.unit} {parameter.quantity}"])
        for low, high in (parameter.uniform_bounds, parameter.log_bounds):
            assert parameter.low <= low < high <= parameter.high
        assert parameter.integer == (parameter.quantity == "M")


@each_circuit
def test_circuits_survive_pickling_and_copying(circuit: Circuit) -> None:
    for twin in (pickle.loads(pickle.dumps(circuit)), copy.deepcopy(circuit)):
        assert twin.subcircuit == circuit.subcircuit
        assert twin.parameters == circuit.parameters
        assert twin.from_point(np.zeros(len(circuit.parameters))).tolist() == list(middle(circuit).values())


def test_shipped_circuits_are_loaded_once() -> None:
    assert load_circuit("nmcf") is load_circuit("nmcf")


# --- sizings, vectors, actions --------------------------------------------------------------------------------------


@each_circuit
def test_unit_values_map_onto_the_bounds(circuit: Circuit) -> None:
    n = len(circuit.parameters)
    low, high = circuit.bounds
    assert circuit.from_point(np.full(n, -1.0)) == pytest.approx(low, rel=1e-12)
    assert circuit.from_point(np.full(n, 1.0)) == pytest.approx(high, rel=1e-12)
    for parameter, value in zip(circuit.parameters, circuit.from_point(np.zeros(n)), strict=True):
        expected = (
            (parameter.low * parameter.high) ** 0.5 if parameter.scale == "log" else sum(circuit_range(parameter)) / 2
        )
        assert value == pytest.approx(round(expected) if parameter.integer else expected)


def circuit_range(parameter: Any) -> tuple[float, float]:
    return parameter.low, parameter.high


@each_circuit
@given(data=st.data())
def test_unit_round_trip(circuit: Circuit, data: st.DataObject) -> None:
    n = len(circuit.parameters)
    unit = np.array(data.draw(st.lists(st.floats(-1.5, 1.5), min_size=2 * n, max_size=2 * n))).reshape(2, n)
    values = circuit.from_point(unit)
    low, high = circuit.bounds
    assert values.dtype == np.float64
    assert values.shape == (2, n)
    assert np.all((low <= values) & (values <= high))
    integer = np.array([parameter.integer for parameter in circuit.parameters])
    assert np.array_equal(values[:, integer], np.rint(values[:, integer]))
    assert circuit.to_point(values)[:, ~integer] == pytest.approx(np.clip(unit, -1, 1)[:, ~integer], abs=1e-9)
    assert circuit.from_point(circuit.to_point(values)) == pytest.approx(values, rel=1e-12)
    assert np.all(np.abs(circuit.to_point(values)) <= 1 + 1e-9)


def test_from_point_takes_float32_actions_and_stays_in_bounds() -> None:
    circuit = load_circuit("nmcnr")
    values = circuit.from_point(np.full(22, np.float32(1.0), dtype=np.float32))
    assert np.all(values <= circuit.bounds[1])


def test_to_point_shows_what_lies_outside_the_bounds() -> None:
    circuit = load_circuit("nmcf")
    assert np.all(circuit.to_point(circuit.bounds[1] * 2) > 1)


@each_circuit
def test_vector_and_sizing_are_inverse(circuit: Circuit) -> None:
    sizing = middle(circuit)
    shuffled = dict(sorted(sizing.items(), reverse=True))
    assert circuit.sizing(circuit.vector(shuffled)) == sizing
    assert list(circuit.validate(shuffled)) == list(circuit.parameter_names)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.pop("cap1"), "nmcf: missing cap1"),
        (lambda s: s.update(cap3=1.0), "unknown parameter 'cap3'. Did you mean 'cap"),
        (lambda s: s.update(w_gm3=1.0), "Did you mean 'W_gm3'?"),
        (lambda s: s.update(cap1=float("nan")), "cap1 must be a positive finite number, got nan"),
        (lambda s: s.update(cap1=float("inf")), "cap1 must be a positive finite number"),
        (lambda s: s.update(W_gm3=-1), "W_gm3 must be a positive finite number, got -1"),
        (lambda s: s.update(W_gm3="1"), "W_gm3 must be a positive finite number, got '1'"),
        (lambda s: s.update(W_gm3=True), "W_gm3 must be a positive finite number, got True"),
    ],
)
def test_invalid_sizings(change: Callable[[dict[str, Any]], Any], why: str) -> None:
    circuit = load_circuit("nmcf")
    sizing: dict[str, Any] = middle(circuit)
    change(sizing)
    with pytest.raises(ConfigError, match=re.escape(why)):
        circuit.vector(sizing)


def test_sizings_accept_numpy_numbers_and_values_outside_the_bounds() -> None:
    circuit = load_circuit("nmcf")
    sizing: dict[str, Any] = middle(circuit) | {"W_gm3": np.float32(0.05), "M_gm3": np.int64(1000)}
    assert circuit.validate(sizing)["M_gm3"] == 1000.0


@pytest.mark.parametrize("bad", [np.zeros(23), np.zeros((24, 1)), np.zeros(0), 3.0])
def test_wrong_shapes(bad: Any) -> None:
    circuit = load_circuit("nmcf")
    for method in (circuit.from_point, circuit.to_point, circuit.sizing):
        with pytest.raises(ConfigError, match=r"24|positive"):
            method(bad)


def test_nan_is_named() -> None:
    circuit = load_circuit("nmcf")
    unit = np.zeros((3, 24))
    unit[1, 2] = np.nan
    with pytest.raises(ConfigError, match="nmcf: M_bias_p is NaN"):
        circuit.from_point(unit)


def test_sizing_that_is_no_mapping() -> None:
    with pytest.raises(ConfigError, match="a sizing is a mapping"):
        load_circuit("nmcf").validate([1.0, 2.0])  # type: ignore[arg-type]


# --- published names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nmcf", "nmcnr"])
def test_published_names_round_trip(name: str) -> None:
    circuit = load_circuit(name)
    sizing = middle(circuit)
    published = circuit.to_published(sizing)
    assert len(published) == len(sizing)
    assert circuit.from_published(published) == pytest.approx(sizing, rel=1e-15)


def test_published_units() -> None:
    published = load_circuit("nmcnr").to_published(
        middle(load_circuit("nmcnr")) | {"cap1": 5e-12, "res1": 10e3, "bias_current": 3e-6, "W_gm3": 2.0}
    )
    assert published["C0"] == pytest.approx(5)
    assert published["R0"] == pytest.approx(10)
    assert published["Ib"] == 3e-6
    assert published["W_M23"] == 2.0


def test_published_names_are_checked() -> None:
    circuit = load_circuit("nmcf")
    published = circuit.to_published(middle(circuit))
    published["W_M1"] = published.pop("W_M0")
    with pytest.raises(ConfigError, match=r"unknown published parameter 'W_M1'\. Did you mean .*; missing W_M0"):
        circuit.from_published(published)


# --- a user's own circuit -------------------------------------------------------------------------------------------


def test_example_loads_by_file_folder_and_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    by_file, by_folder = load_circuit(EXAMPLE / "rc_loaded.yaml"), load_circuit(str(EXAMPLE))
    by_name = load_circuit("rc_loaded", directories=[EXAMPLE])
    assert by_file.netlist_hash == by_folder.netlist_hash == by_name.netlist_hash
    assert "rc_loaded" in list_circuits([EXAMPLE])
    assert "rc_loaded" not in list_circuits()
    monkeypatch.setenv("ZSGYM_CIRCUITS", os.pathsep.join([str(EXAMPLE), ""]))
    assert load_circuit("rc_loaded").name == "rc_loaded"
    assert load_circuit("nmcf").name == "nmcf"


def test_example_is_flat_and_uses_declared_names() -> None:
    circuit = load_circuit(EXAMPLE)
    mirror = {device.name: device for device in circuit.devices}["xbias.xm2"]
    assert mirror.values["m"].evaluate({"M_bias": 3}) == 6
    assert mirror.nodes == {"d": "tail", "g": "bias", "s": "vdd", "b": "vdd"}
    assert circuit.subcircuit.names == set(circuit.parameter_names)
    assert {device.name for device in circuit.groups["gm2"]} == {"xm6"}
    assert circuit.known_good["hand_sized"]["cap1"] == 2e-12


@pytest.mark.ngspice
@each_circuit
def test_known_good_sizings_work_at_every_supply_they_name(circuit: Circuit) -> None:
    simulator = make_simulator("ngspice", circuit)
    try:
        for name, design in circuit.known_good_designs.items():
            for supply in design.supplies:
                (outcome,) = ask(simulator, [design.sizing], circuit.conditions.replace(supply=supply))
                assert outcome.success, f"{name} at {supply} V: {outcome.failure}"
    finally:
        simulator.close()


def test_a_folder_named_like_a_circuit_does_not_shadow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nmcf").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_circuit("nmcf").title.startswith("Three-stage")


@pytest.mark.parametrize("name", ["my_circuits", "my_circuits/", "./my_circuits", "my_circuits/rc_loaded.yaml", "bare"])
def test_a_bare_word_may_be_a_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "my_circuits")
    for file in EXAMPLE.iterdir():
        shutil.copy(file, tmp_path / ("bare" if file.suffix == ".yaml" else file.name))
    monkeypatch.chdir(tmp_path)
    assert load_circuit(name).netlist_hash == load_circuit(EXAMPLE).netlist_hash


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nmfc", r"unknown circuit 'nmfc'\. Did you mean 'nmcf'\? Known: .*nmcf, nmcnr"),
        ("", "unknown circuit ''"),
        ("nmfc/", r"unknown circuit 'nmfc/'\. Did you mean 'nmcf'\? .*; a YAML file or its folder may be given"),
        ("missing.yaml", r"missing\.yaml: no such circuit file\. Known circuits: .*nmcf, nmcnr"),
        ("some/where", "no such circuit file"),
    ],
)
def test_unknown_circuits(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_circuit(name)


def test_missing_and_ambiguous_folders(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs exactly one YAML file; found: none"):
        load_circuit(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_circuit("nmcf", directories=[tmp_path / "nowhere"])
