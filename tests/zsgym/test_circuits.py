"""Circuits as data: the shipped ones, a user's own, all ways of writing a sizing, errors that name file and key."""

import copy
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zsgym.circuits import Circuit, list_circuits, load_circuit
from zsgym.circuits.schema import ConditionsFile
from zsgym.errors import ConfigError, NetlistError
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Conditions
from zsgym.paths import cache_dir, data_root, log_dir
from zsgym.simulators import make_simulator

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rc_loaded"
CIRCUITS = [load_circuit("nmcf"), load_circuit("nmcnr"), load_circuit(EXAMPLE)]

each_circuit = pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.name)


def middle(circuit: Circuit) -> dict[str, float]:
    return circuit.sizing(circuit.from_unit(np.zeros(len(circuit.parameters))))


# --- the shipped circuits -------------------------------------------------------------------------------------------


def test_shipped_circuits_are_listed() -> None:
    assert {"nmcf", "nmcnr"} <= set(list_circuits())


@pytest.mark.parametrize("name", list_circuits())
def test_every_shipped_circuit_is_complete(name: str) -> None:
    circuit = load_circuit(name)
    assert circuit.subcircuit.ports == ("vss", "vdd", "inn", "inp", "out")
    assert set(circuit.targets) == set(METRIC_NAMES)
    assert set(circuit.verdict_policies) == {"functional", "measured"}
    assert circuit.verdict_policies["measured"].judge == "measured"
    assert circuit.conditions == Conditions()
    assert circuit.source
    # Every device of these circuits belongs to exactly one group, and every parameter sizes something.
    members = [device.name for group in circuit.groups.values() for device in group]
    assert sorted(members) == sorted(device.name for device in circuit.devices)
    assert circuit.subcircuit.names == set(circuit.parameter_names)


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


def test_hash_depends_on_the_circuit_only(tmp_path: Path) -> None:
    circuit = load_circuit("nmcf")
    assert re.fullmatch(r"[0-9a-f]{16}", circuit.netlist_hash)
    netlist = circuit.netlist_text
    same = write_circuit(tmp_path / "same", netlist=re.sub(r"(?m)^\*.*\n", "", netlist).upper(), name="nmcf")
    other = write_circuit(tmp_path / "other", netlist=netlist.replace("{M_bias_p*4}", "{M_bias_p*5}"), name="nmcf")
    assert load_circuit(same).netlist_hash == circuit.netlist_hash
    assert load_circuit(other).netlist_hash != circuit.netlist_hash


@each_circuit
def test_circuits_survive_pickling_and_copying(circuit: Circuit) -> None:
    for twin in (pickle.loads(pickle.dumps(circuit)), copy.deepcopy(circuit)):
        assert twin.subcircuit == circuit.subcircuit
        assert twin.parameters == circuit.parameters
        assert twin.from_unit(np.zeros(len(circuit.parameters))).tolist() == list(middle(circuit).values())


def test_shipped_circuits_are_loaded_once() -> None:
    assert load_circuit("nmcf") is load_circuit("nmcf")


# --- sizings, vectors, actions --------------------------------------------------------------------------------------


@each_circuit
def test_unit_values_map_onto_the_bounds(circuit: Circuit) -> None:
    n = len(circuit.parameters)
    low, high = circuit.bounds
    assert circuit.from_unit(np.full(n, -1.0)) == pytest.approx(low, rel=1e-12)
    assert circuit.from_unit(np.full(n, 1.0)) == pytest.approx(high, rel=1e-12)
    for parameter, value in zip(circuit.parameters, circuit.from_unit(np.zeros(n)), strict=True):
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
    values = circuit.from_unit(unit)
    low, high = circuit.bounds
    assert values.dtype == np.float64
    assert values.shape == (2, n)
    assert np.all((low <= values) & (values <= high))
    integer = np.array([parameter.integer for parameter in circuit.parameters])
    assert np.array_equal(values[:, integer], np.rint(values[:, integer]))
    assert circuit.to_unit(values)[:, ~integer] == pytest.approx(np.clip(unit, -1, 1)[:, ~integer], abs=1e-9)
    assert circuit.from_unit(circuit.to_unit(values)) == pytest.approx(values, rel=1e-12)
    assert np.all(np.abs(circuit.to_unit(values)) <= 1 + 1e-9)


def test_from_unit_takes_float32_actions_and_stays_in_bounds() -> None:
    circuit = load_circuit("nmcnr")
    values = circuit.from_unit(np.full(22, np.float32(1.0), dtype=np.float32))
    assert np.all(values <= circuit.bounds[1])


def test_to_unit_shows_what_lies_outside_the_bounds() -> None:
    circuit = load_circuit("nmcf")
    assert np.all(circuit.to_unit(circuit.bounds[1] * 2) > 1)


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
    for method in (circuit.from_unit, circuit.to_unit, circuit.sizing):
        with pytest.raises(ConfigError, match=r"24|positive"):
            method(bad)


def test_nan_is_named() -> None:
    circuit = load_circuit("nmcf")
    unit = np.zeros((3, 24))
    unit[1, 2] = np.nan
    with pytest.raises(ConfigError, match="nmcf: M_bias_p is NaN"):
        circuit.from_unit(unit)


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
                (outcome,) = simulator.simulate([design.sizing], circuit.conditions.replace(supply=supply))
                assert outcome.success, f"{name} at {supply} V: {outcome.failure}"
    finally:
        simulator.close()


def test_a_folder_named_like_a_circuit_does_not_shadow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nmcf").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_circuit("nmcf").title.startswith("Three-stage")


def test_a_name_may_not_be_claimed_twice(tmp_path: Path) -> None:
    write_circuit(tmp_path, name="nmcf")
    with pytest.raises(ConfigError, match=r"circuit 'nmcf' is claimed by .*nmcf\.yaml and .*nmcf\.yaml"):
        load_circuit("nmcf", directories=[tmp_path])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nmfc", r"unknown circuit 'nmfc'\. Did you mean 'nmcf'\? Known: nmcf, nmcnr"),
        ("", "unknown circuit ''"),
        ("missing.yaml", r"missing\.yaml: no such circuit file\. Known circuits: nmcf, nmcnr"),
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


# --- files that are wrong -------------------------------------------------------------------------------------------

NETLIST = """
.subckt amp vss vdd inn inp out gain=2
XM1 out inn vss vss sky130_fd_pr__nfet_01v8 W={W_in} L={L_in} M={M_in*gain}
XM2 out inp vdd vdd sky130_fd_pr__pfet_01v8 W={W_in} L={L_in} M={M_in}
C1 out vss {Cap1}
.ends
"""
CONTENT: dict[str, Any] = {
    "title": "two transistors",
    "class": "amplifier",
    "source": "test",
    "netlist": "amp.spice",
    "quantities": {
        "W": {"unit": "um", "bounds": [0.5, 10], "scale": "log"},
        "L": {"unit": "um", "bounds": [0.15, 1], "scale": "linear"},
        "M": {"unit": "count", "bounds": [1, 100], "scale": "log"},
        "capacitance": {"unit": "F", "bounds": ["1e-12", "1e-10"], "scale": "log"},
    },
    "groups": {"in": {"device": "transistor"}, "Cap1": {"device": "capacitor"}},
    "conditions": {"corner": "tt", "supply": 1.8, "temperature": 27, "load": 1e-11, "common_mode_ratio": 0.4},
    "targets": {"gbw": "1e6"},
    "verdict": {"functional": {"judge": "functional"}},
}


def write_circuit(
    folder: Path, netlist: str | None = None, name: str = "amp", change: Callable[[dict[str, Any]], Any] | None = None
) -> Path:
    """A circuit folder; with the netlist of NMCF its shipped YAML is taken, else CONTENT."""
    folder.mkdir(exist_ok=True)
    if netlist is not None and name == "nmcf":
        content = yaml.safe_load((data_root() / "configs" / "circuits" / "nmcf.yaml").read_text())
    else:
        content = copy.deepcopy(CONTENT)
    content["netlist"] = "amp.spice"
    if change is not None:
        change(content)
    (folder / "amp.spice").write_text(netlist if netlist is not None else NETLIST)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_small_circuit_is_valid(tmp_path: Path) -> None:
    circuit = load_circuit(write_circuit(tmp_path))
    assert circuit.parameter_names == ("W_in", "L_in", "M_in", "Cap1")
    assert circuit.targets == {"gbw": 1e6}, "PyYAML reads 1e6 as a string; the model must not"
    assert circuit.devices[0].values["m"].evaluate({"M_in": 3}) == 6, "an undeclared parameter keeps its default"
    assert circuit.devices[2].names == {"Cap1"}, "names are spelled as the YAML declares them"


def test_parameter_overrides(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["quantities"]["W"]["logarithmic"] = [1, 5]
        content["groups"]["in2"] = {"device": "transistor", "sizes": ["W"]}
        content["parameters"] = {"W_in2": {"bounds": [1, 3], "scale": "linear"}, "L_in": {"uniform": [0.2, 0.5]}}

    netlist = NETLIST.replace("inp vdd vdd sky130_fd_pr__pfet_01v8 W={W_in}", "inp vdd vdd pfet W={W_in2}")
    circuit = load_circuit(write_circuit(tmp_path, netlist=netlist, change=change))
    by_name = {parameter.name: parameter for parameter in circuit.parameters}
    assert by_name["W_in"].log_bounds == (1, 5)
    assert by_name["W_in2"].log_bounds == (1, 3), "ranges of the quantity do not belong to other bounds"
    assert by_name["W_in2"].scale == "linear"
    assert by_name["L_in"].uniform_bounds == (0.2, 0.5)
    assert by_name["L_in"].log_bounds == (0.15, 1)


def _set(*path_and_value: Any) -> Callable[[dict[str, Any]], None]:
    *path, last, value = path_and_value

    def change(content: dict[str, Any]) -> None:
        for key in path:
            content = content[key]
        content[last] = value

    return change


GOOD: dict[str, Any] = {
    "description": "d",
    "supplies": [1.8],
    "sizing": {"W_in": 1, "L_in": 0.2, "M_in": 1, "Cap1": "2e-12"},
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set("targest", {}), "targest: unknown key. Did you mean 'targets'? Valid: title, class"),
        (
            _set("conditions", "suply", 1.8),
            "conditions.suply: unknown key. Did you mean 'supply'? Valid: corner, supply",
        ),
        (_set("quantities", "W", "bound", [1, 2]), "quantities.W.bound: unknown key. Did you mean 'bounds'?"),
        (_set("verdict", "functional", "max_rining", 1), "unknown key. Did you mean 'max_ringing'?"),
        (_set("groups", "in", "aliass", "M0"), "groups.in.aliass: unknown key. Did you mean 'alias'?"),
        (_set("conditions", {"corner": "tt"}), "conditions.supply: this key is required"),
        (
            _set("conditions", "corner", "fast"),
            "conditions.corner: 'fast' is not valid here. Did you mean 'fs'? Valid: tt, ff, ss, sf, fs",
        ),
        (_set("conditions", "supply", -1), "conditions.supply: Input should be greater than 0 (got -1)"),
        (_set("conditions", "supply", "high"), "conditions.supply: Input should be a valid number"),
        (_set("conditions", "load", float("inf")), "conditions.load: Input should be a finite number"),
        (_set("class", "bandgap"), "class: 'bandgap' is not valid here. Valid: amplifier"),
        (_set("targets", "gwb", 1e6), "unknown metric 'gwb'. Did you mean 'gbw'?"),
        (_set("targets", {}), "targets: "),
        (
            _set("quantities", "W", "bounds", [10, 1]),
            "quantities.W.bounds: bounds must be [low, high] with 0 < low < high",
        ),
        (_set("quantities", "W", "bounds", [0, 1]), "0 < low < high, got [0, 1]"),
        (_set("quantities", "W", "bounds", [1]), "quantities.W.bounds.1: this key is required"),
        (_set("quantities", "W", "unit", "nm"), "quantities.W.unit: 'nm' is not valid here. Valid: um, count"),
        (_set("quantities", "W", "unit", "F"), "quantities.W.unit: 'F' does not fit; the unit of W is 'um'"),
        (_set("quantities", "W", "scale", "logarithmic"), "quantities.W.scale: 'logarithmic' is not valid here."),
        (_set("quantities", "width", {}), "quantities.width: 'width' is not valid here. Valid: W, L, M, capacitance"),
        (_set("quantities", "M", "bounds", [1.5, 10]), "parameters.M_in: bounds of a count must be whole numbers"),
        (_set("quantities", "W", "uniform", [0.1, 10]), "parameters.W_in: uniform [0.1, 10] reaches outside bounds"),
        (_set("groups", "in", "device", "mosfet"), "groups.in.device: 'mosfet' is not valid here."),
        (_set("groups", "Cap1", "device", "resistor"), "quantities.resistance: this key is required by group 'Cap1'"),
        (
            _set("groups", "in2", {"device": "transistor"}),
            "groups: 'W_in2' is declared, but the netlist does not use it",
        ),
        (_set("groups", {"in": {"device": "transistor"}}), "groups: no group declares 'cap1' of the netlist."),
        (_set("groups", "CAP1", {"device": "capacitor"}), "two parameter names differ in case only"),
        (_set("parameters", {"W_inn": {}}), "parameters.W_inn: unknown parameter. Did you mean 'W_in'?"),
        (_set("verdict", {"strict": {}}), "verdict.functional: this key is required"),
        (_set("netlist", "nowhere.spice"), "nowhere.spice cannot be read"),
        (_set("subcircuit", "ampl"), "subcircuit: the netlist has no 'ampl'. Did you mean 'amp'?"),
        (_set("known_good", {"a": {**GOOD, "supplies": []}}), "known_good.a.supplies: "),
        (_set("known_good", {"a": {**GOOD, "sizing": {"W_in": 1}}}), "known_good.a.sizing.L_in: this key is required"),
        (
            _set("known_good", {"a": {**GOOD, "sizing": {**GOOD["sizing"], "W_in": 50}}}),
            "known_good.a.sizing.W_in: 50 is outside the bounds [0.5, 10]",
        ),
        (_set("known_good", {"a": {**GOOD, "sizing": {**GOOD["sizing"], "Wx": 5}}}), "known_good.a.sizing.Wx: unknown"),
    ],
)
def test_wrong_files_name_file_key_and_choices(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    path = write_circuit(tmp_path, change=change)
    with pytest.raises(ConfigError) as caught:
        load_circuit(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any(why in line for line in lines), str(caught.value)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["targest"] = 1
        content["conditions"]["supply"] = -1
        content["quantities"]["L"]["scale"] = "cubic"

    with pytest.raises(ConfigError) as caught:
        load_circuit(write_circuit(tmp_path, change=change))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("netlist", "why"),
    [
        (
            NETLIST.replace("vss vdd inn inp out gain", "vdd vss in out gain"),
            "class 'amplifier' needs vss vdd inn inp out",
        ),
        (
            NETLIST.replace("C1 out vss {Cap1}", "R1 out vss {Cap1}"),
            "groups.Cap1.device: 'capacitor' does not fit 'r1'",
        ),
        (
            NETLIST + ".subckt b a\n.ends",
            "subcircuit: this key is required unless the netlist defines one; it defines: amp",
        ),
        (NETLIST.replace("C1", "Q1"), "amp.spice:5: device 'q1' is not supported"),
        ("", "it defines: none"),
    ],
)
def test_wrong_netlists(tmp_path: Path, netlist: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        load_circuit(write_circuit(tmp_path, netlist=netlist))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title: a\ntitle: b\n", "key 'title' is repeated"),
        ("a: [1\n", "no valid YAML"),
        ("- 1\n", "expected a mapping with the keys title, class"),
        ("", "expected a mapping"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("? [a]\n: 1\n", "no valid YAML"),
    ],
)
def test_files_that_are_no_circuit(tmp_path: Path, text: str | bytes, why: str) -> None:
    path = tmp_path / "amp.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=f"amp.yaml: .*{re.escape(why)}"):
        load_circuit(path)


def test_netlist_errors_are_config_errors() -> None:
    assert issubclass(NetlistError, ConfigError)


def test_conditions_in_yaml_are_those_of_the_simulator() -> None:
    assert list(ConditionsFile.model_fields) == [field.name for field in fields(Conditions)]


# --- folders --------------------------------------------------------------------------------------------------------


def test_folders_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ZSGYM_CACHE", "XDG_CACHE_HOME", "ZSGYM_LOG_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "zsgym"
    assert log_dir() == tmp_path / ".local" / "share" / "zsgym" / "samples"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert cache_dir() == tmp_path / "c" / "zsgym"
    assert log_dir() == tmp_path / "d" / "zsgym" / "samples"
    monkeypatch.setenv("ZSGYM_CACHE", "~/x")
    monkeypatch.setenv("ZSGYM_LOG_DIR", str(tmp_path / "y"))
    assert cache_dir() == tmp_path / "x"
    assert log_dir() == tmp_path / "y"


def test_data_root_holds_the_data() -> None:
    assert (data_root() / "netlists" / "nmcf.spice").is_file()
    assert (data_root() / "configs" / "circuits" / "nmcf.yaml").is_file()
