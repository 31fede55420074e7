"""Circuit files: small ones that are right, and wrong ones, whose errors name file, key and choices."""

import copy
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from zsgym.base.errors import ConfigError, NetlistError
from zsgym.base.paths import data_root
from zsgym.circuits import load_circuit
from zsgym.classes.amplifier import AmplifierConditions, AmplifierPolicy

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-own-circuit.md"
NETLIST = """
.subckt amp vss vdd inn inp out gain=2
XM1 out inn vss vss sky130_fd_pr__nfet_01v8 W={W_in} L={L_in} M={M_in*gain}
XM2 out inp vdd vdd sky130_fd_pr__pfet_01v8 W={W_in} L={L_in} M={M_in}
C1 out vss {Cap1}
.ends
"""
PFET = "inp vdd vdd sky130_fd_pr__pfet_01v8 W={W_in}"
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


def test_multipliers_are_in_the_values_and_on_every_transistor(tmp_path: Path) -> None:
    """The deck of a simulator takes M from every transistor, and of other devices nothing but their value."""
    lines = "XA out vss extra m=3\nI1 vdd out 2u m=2\nV1 out x 0\nM9 out inn vss vss nfet W=1 L=1\nR2 x vss 4k\n.ends\n"
    extra = ".subckt extra p n\nC2 p n {Cap1}\nR1 p n 6k m=2\nL1 p q 6n\nM1 q n n n nfet W=1 L=1\n.ends\n"
    change = _set("subcircuit", "amp")
    path = write_circuit(tmp_path, netlist=NETLIST.replace(".ends\n", lines) + extra, change=change)
    devices = {device.name: device.values for device in load_circuit(path).devices}
    sizing = {"W_in": 1, "L_in": 1, "M_in": 1, "Cap1": 2e-12}
    expected = {"c.xa.c2": 6e-12, "r.xa.r1": 1000, "l.xa.l1": 2e-9, "i1": 4e-6, "v1": 0, "r2": 4000, "c1": 2e-12}
    assert {name: devices[name]["value"].evaluate(sizing) for name in expected} == pytest.approx(expected, rel=1e-12)
    assert not any("m" in devices[name] for name in expected)
    assert [devices[name]["m"].evaluate() for name in ("m9", "m.xa.m1")] == [1, 3]


def test_parameter_overrides(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["quantities"]["W"]["logarithmic"] = [1, 5]
        content["groups"]["in2"] = {"device": "transistor", "sizes": ["W"]}
        content["parameters"] = {"W_in2": {"bounds": [1, 3], "scale": "linear"}, "L_in": {"uniform": [0.2, 0.5]}}

    netlist = NETLIST.replace(PFET, PFET.replace("W_in", "W_in2"))
    circuit = load_circuit(write_circuit(tmp_path, netlist=netlist, change=change))
    by_name = {parameter.name: parameter for parameter in circuit.parameters}
    assert by_name["W_in"].log_bounds == (1, 5)
    assert by_name["W_in2"].log_bounds == (1, 3), "ranges of the quantity do not belong to other bounds"
    assert by_name["W_in2"].scale == "linear"
    assert by_name["L_in"].uniform_bounds == (0.2, 0.5)
    assert by_name["L_in"].log_bounds == (0.15, 1)


def test_hash_depends_on_the_circuit_only(tmp_path: Path) -> None:
    circuit = load_circuit("nmcf")
    assert re.fullmatch(r"[0-9a-f]{16}", circuit.netlist_hash)
    netlist = circuit.netlist_text
    same = write_circuit(tmp_path / "same", netlist=re.sub(r"(?m)^\*.*\n", "", netlist).upper(), name="nmcf")
    other = write_circuit(tmp_path / "other", netlist=netlist.replace("{M_bias_p*4}", "{M_bias_p*5}"), name="nmcf")
    assert load_circuit(same).netlist_hash == circuit.netlist_hash
    assert load_circuit(other).netlist_hash != circuit.netlist_hash


def test_a_name_may_not_be_claimed_twice(tmp_path: Path) -> None:
    write_circuit(tmp_path, name="nmcf")
    with pytest.raises(ConfigError, match=r"circuit 'nmcf' is claimed by .*nmcf\.yaml and .*nmcf\.yaml"):
        load_circuit("nmcf", directories=[tmp_path])


# --- files that are wrong -------------------------------------------------------------------------------------------


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
        (
            _set("conditions", "corner", "fast"),
            "conditions.corner: 'fast' is not valid here. Did you mean 'fs'? Valid: tt, ff, ss, sf, fs",
        ),
        (_set("conditions", "supply", -1), "conditions.supply: must lie between 0.5 and 5 V, got -1"),
        (_set("conditions", "supply", "high"), "conditions.supply: Input should be a valid number"),
        (_set("conditions", "load", float("inf")), "conditions.load: Input should be a finite number"),
        (_set("class", "bandgap"), "class: unknown class 'bandgap'. Known: amplifier"),
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
    ("given", "right"),
    [
        ("12Meg", "write 12e6."),
        ("12 MHz", "write 12e-3 (or 12e6, where M is mega)."),
        ("300u", "write 300e-6."),
        ("300 uW", "write 300e-6."),
        ("1.5e3 kHz", "write 1.5e6."),
        ("10 pF", "write 10e-12."),
        ("10F", "write 10."),
        ("1.8 V", "write 1.8."),
    ],
)
def test_a_number_with_a_suffix_is_shown_without(tmp_path: Path, given: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_circuit(write_circuit(tmp_path, change=_set("targets", "gbw", given)))
    assert (
        f"targets.gbw: Input should be a valid number, unable to parse string as a number (got {given!r}): {right}"
        in (str(caught.value))
    )
    with pytest.raises(ConfigError, match=r"got 'fast'\)$"):
        load_circuit(write_circuit(tmp_path, change=_set("targets", "gbw", "fast")))


def test_faults_of_the_netlist_are_told_with_those_of_the_file(tmp_path: Path) -> None:
    netlist = NETLIST.replace("C1", "Q1").replace("pfet_01v8", "pfet_01v8_lvt_x")
    with pytest.raises(ConfigError) as caught:
        load_circuit(write_circuit(tmp_path, netlist, change=_set("conditions", "suply", 1.8)))
    first, *others = str(caught.value).splitlines()
    assert "amp.yaml: conditions.suply: unknown key" in first
    assert [re.match(r".*amp\.spice:\d", line) is not None for line in others] == [True, True]
    with pytest.raises(ConfigError) as caught:
        load_circuit(write_circuit(tmp_path, change=lambda content: content.update(netlist="gone.spice", targest=1)))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["targest", "netlist"]


def test_an_unknown_class_is_the_only_problem_of_its_sections(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_circuit(write_circuit(tmp_path, change=_set("class", "bandgap")))
    assert len(str(caught.value).splitlines()) == 1


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
            "subcircuit: this key is required unless the netlist defines one, or one that uses the others; it defines",
        ),
        (NETLIST.replace("C1", "Q1"), "amp.spice:5: 'q1' is a bipolar transistor, which is not simulated"),
        ("", "amp.spice: the netlist is empty"),
    ],
)
def test_wrong_netlists(tmp_path: Path, netlist: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        load_circuit(write_circuit(tmp_path, netlist=netlist))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title: a\ntitle: b\n", "key 'title' is repeated"),
        ("a: [1\n", "not valid YAML"),
        ("- 1\n", "expected a mapping with the keys title, class"),
        ("", "expected a mapping"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("? [a]\n: 1\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_circuit(tmp_path: Path, text: str | bytes, why: str) -> None:
    path = tmp_path / "amp.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=f"amp.yaml: .*{re.escape(why)}"):
        load_circuit(path)


def test_a_netlist_in_the_place_of_its_yaml_file_is_said_to_be_one(tmp_path: Path) -> None:
    write_circuit(tmp_path)
    with pytest.raises(ConfigError, match=r"amp\.spice is a netlist: give the YAML file that describes it"):
        load_circuit(tmp_path / "amp.spice")


def test_documentation_shows_these_errors(tmp_path: Path) -> None:
    """Each line of the page's box, which wraps them, is what a file with that mistake gives."""

    def misspell(content: dict[str, Any]) -> None:
        content["conditions"]["suply"] = content["conditions"].pop("supply")

    def lower_case(content: dict[str, Any]) -> None:
        content["groups"]["cap1"] = content["groups"].pop("Cap1")

    transistor = "XM1 out inn vss vss sky130_fd_pr__nfet_01v8"
    mistakes: list[tuple[str, Callable[[dict[str, Any]], None] | None]] = [
        (NETLIST, misspell),
        (NETLIST, _set("quantities", "W", "bounds", [10, 1])),
        (NETLIST.replace(".ends", "C2 out vss {cap2}\n.ends"), lower_case),
        (NETLIST.replace("XM1", "Q1"), None),
        (NETLIST.replace(transistor, f"{transistor}_lvt"), None),
        (NETLIST.replace(".ends", "Vs vdd 0 1.8\n.ends"), None),
    ]
    printed = []
    for netlist, change in mistakes:
        with pytest.raises(ConfigError) as caught:
            load_circuit(write_circuit(tmp_path, netlist=netlist, change=change))
        printed += str(caught.value).replace(f"{tmp_path}{os.sep}amp.", "my_amp.").splitlines()
    (box,) = re.findall(r"```\n(my_amp\.yaml: .*?)```", PAGE.read_text(), re.DOTALL)
    assert re.sub(r"\n +", " ", box).splitlines() == printed


def test_netlist_errors_are_config_errors() -> None:
    assert issubclass(NetlistError, ConfigError)


def test_conditions_in_yaml_are_those_of_the_simulator() -> None:
    stated = {**CONTENT["conditions"], "step_low": 0.3, "step_high": 0.5}
    assert list(stated) == list(AmplifierConditions.model_fields)


def test_conditions_and_verdict_may_be_left_out_in_part_and_altogether(tmp_path: Path) -> None:
    def without(content: dict[str, Any]) -> None:
        del content["conditions"], content["verdict"]

    circuit = load_circuit(write_circuit(tmp_path, change=without))
    assert circuit.conditions == AmplifierConditions()
    assert circuit.verdict_policies == {"functional": AmplifierPolicy()}
    some = load_circuit(write_circuit(tmp_path, change=_set("conditions", {"supply": 1.2})))
    assert some.conditions == AmplifierConditions(supply=1.2)
    strict = load_circuit(write_circuit(tmp_path, change=_set("verdict", {"strict": {"max_ringing": 0.001}})))
    assert list(strict.verdict_policies) == ["functional", "strict"]
    assert strict.verdict_policies["functional"] == AmplifierPolicy()
