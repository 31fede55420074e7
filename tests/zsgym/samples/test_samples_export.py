"""The published sample format, compared with numbers worked out by hand."""

import json
from pathlib import Path

import pytest

from tests.zsgym.samples.rows import failed_row, make_row
from zsgym.base.errors import SampleLogError
from zsgym.circuits import Circuit, load_circuit
from zsgym.samples import Sample
from zsgym.samples.export import describe_nodes, export_zerosim, graph_nodes, zerosim_sample

PERFORMANCE_KEYS = [
    "TC",
    "Power",
    "vos",
    "cmrrdc",
    "dcgain",
    "GBW",
    "phase_margin (deg)",
    "PSRP",
    "PSRN",
    "sr",
    "setting_time",
    "sim_success",
]
# The figures of the published sample, in SI units and with positive decibels.
METRICS = {
    "tc": 1.09076992e-05,
    "power": 170.090892e-6,
    "vos": 3.1e-06,
    "cmrr": 57.40823,
    "dc_gain": 115.5752,
    "gbw": 2554416.0,
    "phase_margin": -173.787,
    "psrr_p": 58.24394,
    "psrr_n": 78.2757,
    "slew_rate": 184674.565145,
    "settling_time": 1.209139260300713e-6,
}


@pytest.fixture
def circuit() -> Circuit:
    return load_circuit("nmcf")


@pytest.fixture
def sample(circuit: Circuit) -> Sample:
    sizing = dict.fromkeys(circuit.parameter_names, 1.0)
    sizing |= {"W_bias_p": 2.5, "L_bias_p": 0.5, "M_bias_p": 3, "W_bias_n": 1.25, "L_bias_n": 0.75, "M_bias_n": 2}
    sizing |= {"cap1": 1e-11, "cap2": 2e-12, "bias_current": 5e-6}
    return make_row(netlist_hash=circuit.netlist_hash, sizing=sizing, metrics=METRICS)


def test_performance_is_in_published_names_units_and_signs(circuit: Circuit, sample: Sample) -> None:
    exported = zerosim_sample(circuit, sample)
    performance = exported["performance"]
    assert list(performance) == PERFORMANCE_KEYS
    assert performance["Power"] == pytest.approx(170.090892)
    assert performance["cmrrdc"] == -57.40823
    assert performance["PSRP"] == -58.24394
    assert performance["PSRN"] == -78.2757
    assert performance["dcgain"] == 115.5752
    assert performance["sr"] == 184674.565145
    assert performance["setting_time"] == pytest.approx(1.209139260300713)
    assert performance["TC"] == 1.09076992e-05
    assert (performance["sim_success"], exported["label"]) == (1, 1)
    assert list(exported) == ["parameters", "performance", "label"]


def test_a_failed_sample_keeps_its_parameters_and_holds_the_sentinel_in_every_metric(
    circuit: Circuit, sample: Sample
) -> None:
    failed = failed_row(netlist_hash=circuit.netlist_hash, sizing=sample.sizing)
    exported = zerosim_sample(circuit, failed)
    assert exported["performance"] == dict.fromkeys(PERFORMANCE_KEYS[:-1], 1e9) | {"sim_success": 0}
    assert exported["label"] == 0
    assert exported["parameters"] == zerosim_sample(circuit, sample)["parameters"]


def test_nodes_are_numbered_as_in_the_published_figure(circuit: Circuit, sample: Sample) -> None:
    parameters = zerosim_sample(circuit, sample)["parameters"]
    # 24 transistors with four pins each, two capacitors and the bias source with two pins each.
    assert list(parameters) == [str(number) for number in range(6, 108)]
    assert parameters["102"] == parameters["103"] == [1e-11]
    assert parameters["104"] == parameters["105"] == [2e-12]
    assert parameters["106"] == parameters["107"] == [5e-6]


def test_every_pin_carries_width_length_and_total_multiplier_of_its_device(circuit: Circuit, sample: Sample) -> None:
    parameters = zerosim_sample(circuit, sample)["parameters"]
    nodes = describe_nodes(graph_nodes(circuit))
    pins = [number for number, node in nodes.items() if node.get("device") == "xm23"]
    assert [nodes[pin]["pin"] for pin in pins] == ["d", "g", "s", "b"]
    # XM23 is eight units of the bias_n group.
    assert [parameters[pin] for pin in pins] == [[1.25, 0.75, 16.0]] * 4
    assert nodes[pins[0]]["net"] == "n1"
    assert nodes["0"] == {"global": "[G]"}
    assert [nodes[str(number)]["port"] for number in range(1, 6)] == ["vss", "vdd", "inn", "inp", "out"]


def test_the_file_is_one_json_list_with_a_key_to_its_nodes(tmp_path: Path, circuit: Circuit, sample: Sample) -> None:
    failed = failed_row(netlist_hash=circuit.netlist_hash, sizing=sample.sizing)
    predicted = make_row(netlist_hash=circuit.netlist_hash, sizing=sample.sizing, backend="surrogate")
    out = tmp_path / "new" / "nmcf.json"
    assert export_zerosim([sample, predicted, failed], circuit, out) == 2
    exported = json.loads(out.read_text())
    assert exported == [zerosim_sample(circuit, sample), zerosim_sample(circuit, failed)]
    nodes = json.loads((tmp_path / "new" / "nmcf.nodes.json").read_text())
    assert set(exported[0]["parameters"]) < set(nodes)
    assert export_zerosim([], circuit, out) == 0
    assert json.loads(out.read_text()) == []


def test_rows_of_another_circuit_or_netlist_are_refused(tmp_path: Path, circuit: Circuit, sample: Sample) -> None:
    with pytest.raises(SampleLogError, match="another version of the netlist"):
        zerosim_sample(circuit, make_row())
    with pytest.raises(SampleLogError, match="one circuit per file"):
        zerosim_sample(circuit, make_row(circuit="nmcnr"))
    out = tmp_path / "broken.json"
    with pytest.raises(SampleLogError):
        export_zerosim([sample, make_row()], circuit, out)
    assert not out.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(SampleLogError, match="cannot write"):
        export_zerosim([sample], circuit, tmp_path / "file" / "x.json")
