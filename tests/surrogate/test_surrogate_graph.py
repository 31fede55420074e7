"""The pin graph: counted independently, blind to names and orders, and equal alone and padded."""

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate.graph import (
    DEVICE_TYPES,
    GLOBAL,
    MAX_NODES,
    N_FEATURES,
    PIN_TYPES,
    Topology,
    group_features,
    pin_graph,
    topology_tensors,
)
from surrogate.model import ModelConfig, Prediction, SurrogateModel
from tests.surrogate.synthetic import RC_LOADED, TINY, TINY_PINS, Disguise, disguise, multiplied, nmcf, nmcnr, vectors
from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit, load_circuit

CIRCUITS = [nmcf(), nmcnr(), load_circuit(RC_LOADED)]
each_circuit = pytest.mark.parametrize("circuit", CIRCUITS, ids=lambda circuit: circuit.name)
each_kind_of_token = pytest.mark.parametrize("config", [TINY, TINY_PINS], ids=lambda config: config.tokens)


# --- the graph ------------------------------------------------------------------------------------------------------


def pins_of(netlist: str) -> dict[str, list[str]]:
    """Device -> nets of its pins, read from a flat netlist without the project's parser."""
    words = [line.split() for line in netlist.splitlines() if line and line[0] in "XICR"]
    return {name.lower(): rest[: 4 if name.startswith("X") else 2] for name, *rest in words}


@pytest.mark.parametrize(("circuit", "nodes"), [(nmcf(), 108), (nmcnr(), 110)], ids=lambda x: getattr(x, "name", x))
def test_nodes_and_edges_are_those_of_the_netlist(circuit: Circuit, nodes: int) -> None:
    devices = pins_of(circuit.netlist_text)
    assert len(devices) == len(circuit.devices)
    pins = sum(map(len, devices.values()))
    assert 1 + 5 + pins == nodes  # [G], the ports, the pins
    virtual = sum(math.comb(len(nets), 2) for nets in devices.values())
    on_net: dict[str, list[str]] = defaultdict(list)
    for name, nets in [*devices.items(), *((f"port {port}", [port]) for port in ("vss", "vdd", "inn", "inp", "out"))]:
        for net in nets:
            on_net[net].append(name)
    pairs = itertools.chain.from_iterable(itertools.combinations(names, 2) for names in on_net.values())
    between_devices = sum(a != b for a, b in pairs)  # two pins of one device share a virtual edge already

    graph = pin_graph(circuit)
    assert graph.number_of_nodes() == nodes
    kinds = Counter(kind for *_, kind in graph.edges(data="kind"))
    assert kinds == {"global": nodes - 1, "device": virtual, "net": between_devices}


def test_nmcf_in_numbers() -> None:
    kinds = Counter(kind for *_, kind in pin_graph(nmcf()).edges(data="kind"))
    assert (kinds["device"], kinds["net"], kinds["global"]) == (24 * 6 + 3, 540, 107)


def test_a_transistor_is_four_different_nodes() -> None:
    graph = pin_graph(nmcf())
    (tail,) = (d.name for d in nmcf().devices if d.nodes.get("d") == "n2" and d.nodes["g"] == "n4")
    pins = {pin: graph.nodes[tail, pin] for pin in "dgsb"}
    assert {node["pin"] for node in pins.values()} == set("dgsb")
    for node in pins.values():
        assert (node["device"], node["groups"]) == ("pmos", {"bias_p"})
        assert node["multiplicity"] == 2.0  # four units
    for a, b in itertools.combinations("dgsb", 2):
        assert graph.edges[(tail, a), (tail, b)]["kind"] == "device"


def test_a_net_joins_pins_of_devices_and_ports() -> None:
    graph = pin_graph(nmcf())
    (inverting,) = (d.name for d in nmcf().devices if d.nodes.get("g") == "inn")
    assert graph.edges[("port", "inn"), (inverting, "g")]["kind"] == "net"
    assert not graph.has_edge(("port", "inn"), (inverting, "d"))
    assert not graph.has_edge(("port", "inn"), ("port", "inp"))
    assert graph.nodes["port", "inn"]["pin"] == "inn"


def test_the_global_token_touches_everything() -> None:
    for circuit in CIRCUITS:
        graph = pin_graph(circuit)
        assert set(graph[GLOBAL]) == set(graph) - {GLOBAL}
        assert {graph.edges[GLOBAL, node]["kind"] for node in graph[GLOBAL]} == {"global"}


def test_a_device_may_belong_to_two_groups_or_none() -> None:
    graph = pin_graph(load_circuit(RC_LOADED))
    groups = {
        device: data["groups"]
        for (device, *_), data in graph.nodes(data=True)
        if data["device"] not in DEVICE_TYPES[:2]
    }
    assert groups["xm6"] == {"load1", "gm2"}
    assert groups["rl"] == groups["cl"] == set()


def test_too_many_nodes_are_refused() -> None:
    assert pin_graph(multiplied(nmcf(), 1)).number_of_nodes() <= MAX_NODES
    with pytest.raises(ConfigError, match=r"nmcf2: 210 graph nodes, at most 200"):
        pin_graph(multiplied(nmcf(), 2))


def test_a_device_without_a_type_is_refused() -> None:
    first, *others = nmcf().devices
    strange = replace(first, kind="subcircuit")
    circuit = replace(nmcf(), subcircuit=replace(nmcf().subcircuit, devices=(strange, *others)))
    with pytest.raises(ConfigError, match=r"\['subcircuit'\] are outside global, port, nmos"):
        pin_graph(circuit)


# --- names and orders mean nothing ----------------------------------------------------------------------------------


def as_set(graph: nx.Graph, original: Disguise | None = None) -> tuple[object, object]:
    """Nodes and edges as sets, in the names of a disguise; the ends of symmetric devices are not told apart."""

    def name(node: object) -> object:
        if original is None or node == GLOBAL or node[0] == "port":  # type: ignore[index]
            return node
        device, pin = node  # type: ignore[misc]
        return original.devices[device], pin

    def groups(names: set[str]) -> frozenset[str]:
        if original is None:
            return frozenset(names)
        old = {p.group: p.name for p in nmcf().parameters}
        new = {p.name: p.group for p in original.circuit.parameters}
        return frozenset(new[original.parameters[old[group]]] for group in names)

    nodes = {
        (name(n), d["device"], d["pin"], d["multiplicity"], groups(d["groups"])) for n, d in graph.nodes(data=True)
    }
    return nodes, {(frozenset((name(a), name(b))), kind) for a, b, kind in graph.edges(data="kind")}


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_a_disguised_circuit_has_the_same_graph(seed: int) -> None:
    hidden = disguise(nmcf(), seed)
    assert hidden.circuit.netlist_hash != nmcf().netlist_hash
    plain, found = pin_graph(nmcf()), pin_graph(hidden.circuit)
    ends = {d.name for d in hidden.circuit.devices if d.kind == "capacitor" and list(d.nodes) == ["p", "n"]}
    # The two ends of a turned capacitor have changed places; their types have not.
    turned = {
        (new, pin): (new, {"p": "n", "n": "p"}[pin])
        for old, new in hidden.devices.items()
        for pin in "pn"
        if new in ends and old.startswith("c") and is_turned(hidden, old)
    }
    assert as_set(plain, hidden) == as_set(nx.relabel_nodes(found, turned))


def is_turned(hidden: Disguise, old: str) -> bool:
    """Whether the first end of a compensation capacitor is at the output in the one circuit only."""
    (plain,) = (d for d in nmcf().devices if d.name == old)
    (found,) = (d for d in hidden.circuit.devices if d.name == hidden.devices[old])
    return (plain.nodes["p"] == "out") != (found.nodes["p"] == "out")


def predict(config: ModelConfig, circuits: list[Circuit], values: list[np.ndarray]) -> list[Prediction]:
    """Predictions of a random model for some circuits in one padded batch, one result per circuit."""
    torch.manual_seed(7)
    model = SurrogateModel(config, auxiliary=3).eval()
    features = [group_features(c, torch.from_numpy(v)) for c, v in zip(circuits, values, strict=True)]
    groups = max(f.shape[1] for f in features)
    padded = torch.cat([torch.nn.functional.pad(f, (0, 0, 0, groups - f.shape[1])) for f in features])
    index = torch.cat([torch.full((len(f),), i) for i, f in enumerate(features)])
    with torch.inference_mode():
        together = model(topology_tensors(circuits), index, padded)
    return [Prediction(*(tensor[index == i] for tensor in together)) for i in range(len(circuits))]


def assert_close(a: Prediction, b: Prediction) -> None:
    for name, x, y in zip(a._fields, a, b, strict=True):
        assert torch.isfinite(x).all(), name
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5, msg=name)


@each_kind_of_token
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
def test_a_disguised_circuit_is_predicted_alike(config: ModelConfig, seed: int) -> None:
    hidden = disguise(nmcf(), seed)
    values = vectors(nmcf(), 3)
    theirs = np.array([hidden.circuit.vector(hidden.sizing(nmcf().sizing(row))) for row in values])
    assert not np.array_equal(theirs, values)
    (plain,) = predict(config, [nmcf()], [values])
    (found,) = predict(config, [hidden.circuit], [theirs])
    assert_close(plain, found)


@each_kind_of_token
def test_what_has_a_meaning_changes_the_prediction(config: ModelConfig) -> None:
    """The invariance above is none of a model that does not look."""
    values = vectors(nmcf(), 3)
    (plain,) = predict(config, [nmcf()], [values])
    swapped = {"inn": "inp", "inp": "inn"}
    devices = tuple(
        replace(d, nodes={pin: swapped.get(net, net) if d.name == "xm1" else net for pin, net in d.nodes.items()})
        for d in nmcf().devices
    )
    rewired = replace(nmcf(), subcircuit=replace(nmcf().subcircuit, devices=devices))
    (other,) = predict(config, [rewired], [values])
    assert not torch.allclose(plain.validity, other.validity, rtol=1e-4, atol=1e-5)
    for column in range(values.shape[1]):
        moved = values.copy()
        moved[:, column] *= 1.5
        (other,) = predict(config, [nmcf()], [moved])
        assert not torch.allclose(plain.validity, other.validity, rtol=1e-5, atol=1e-6), nmcf().parameter_names[column]


# --- tensors --------------------------------------------------------------------------------------------------------


@each_circuit
def test_tensors_hold_the_graph(circuit: Circuit) -> None:
    graph = pin_graph(circuit)
    order = [GLOBAL, *(node for node in graph if node != GLOBAL)]
    tensors = topology_tensors([circuit])
    assert tensors.device.shape == (1, len(order))
    for i, node in enumerate(order):
        data = graph.nodes[node]
        assert DEVICE_TYPES[tensors.device[0, i]] == data["device"]
        assert PIN_TYPES[tensors.pin[0, i]] == data["pin"]
        assert tensors.multiplicity[0, i] == data["multiplicity"]
        assert {list(circuit.groups)[p] for p in tensors.member[0, :, i].nonzero().flatten()} == data["groups"]
        neighbours = {order[j] for j in tensors.connected[0, i].nonzero().flatten()}
        assert neighbours == {*graph[node], node}
    assert tensors.present.all()
    assert tensors.group_present.all()
    assert [DEVICE_TYPES[t] for t in tensors.group_type[0]] == [d[0].kind for d in circuit.groups.values()]


def test_padding_is_absent_everywhere() -> None:
    small, big = load_circuit(RC_LOADED), nmcnr()
    tensors = topology_tensors([small, big])
    alone = topology_tensors([small])
    nodes, groups = alone.device.shape[1], alone.group_type.shape[1]
    assert nodes < tensors.device.shape[1]
    assert groups < tensors.group_type.shape[1]
    for name in Topology.__slots__:
        padded, own = getattr(tensors, name)[0], getattr(alone, name)[0]
        assert torch.equal(padded[tuple(map(slice, own.shape))], own)
        assert padded.count_nonzero() == own.count_nonzero(), f"{name} says something about padding"


@each_kind_of_token
def test_a_padded_topology_is_predicted_as_alone(config: ModelConfig) -> None:
    circuits = [load_circuit(RC_LOADED), nmcf(), nmcnr()]
    values = [vectors(circuit, 3) for circuit in circuits]
    together = predict(config, circuits, values)
    for circuit, own, found in zip(circuits, values, together, strict=True):
        (alone,) = predict(config, [circuit], [own])
        assert_close(alone, found)


@each_kind_of_token
def test_gradients_through_padding_are_finite(config: ModelConfig) -> None:
    circuits = [load_circuit(RC_LOADED), nmcnr()]
    torch.manual_seed(0)
    model = SurrogateModel(config, auxiliary=3)
    topology = topology_tensors(circuits)
    features = group_features(circuits[1], torch.from_numpy(vectors(circuits[1], 4)))
    features[:2, len(circuits[0].groups) :] = 0.0
    sum(part.sum() for part in model(topology, torch.tensor([0, 0, 1, 1]), features)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, f"{name} is not used"
        assert torch.isfinite(parameter.grad).all(), name


# --- features -------------------------------------------------------------------------------------------------------


@each_circuit
def test_features_describe_the_size_of_each_group(circuit: Circuit) -> None:
    values = vectors(circuit, 5)
    features = group_features(circuit, torch.from_numpy(values)).double().numpy()
    assert features.shape == (5, len(circuit.groups), N_FEATURES)
    for row, sizing in enumerate(map(circuit.sizing, values)):
        for position, (group, devices) in enumerate(circuit.groups.items()):
            found = features[row, position]
            if group in sizing:
                center, span = {"capacitor": (-11.5, 1.0), "resistor": (4.5, 1.5), "isource": (-5.5, 0.8)}[
                    devices[0].kind
                ]
                assert found[0] == pytest.approx((math.log10(sizing[group]) - center) / span, abs=1e-6)
                assert not found[1:].any()
                continue
            width, length = (devices[0].values[quantity].evaluate(sizing) for quantity in "wl")
            count = sizing.get(f"M_{group}", 1.0)
            expected = [
                (math.log10(width) - 0.4) / 0.6,
                (math.log10(length) + 0.4) / 0.4,
                math.log10(count) - 1.0,
                (math.log10(width * count / length) - 1.8) / 1.2,
                (1.0 / length - 3.0) / 2.0,
                math.log10(width * length) / 0.8,
            ]
            assert found == pytest.approx(expected, abs=1e-6)


def test_features_of_published_sizings_are_of_order_one() -> None:
    for circuit in (nmcf(), nmcnr()):
        features = group_features(circuit, torch.from_numpy(vectors(circuit, 200, "uniform")))
        assert features.abs().max() < 2.5
        assert torch.isfinite(features).all()


EVERYTHING = """
.subckt everything vss vdd inn inp out
I1 out vss {bias}
V1 n1 vss 0.9
L1 n3 out 1n
R1 n1 n2 {res}
R2 n2 vss 2k
XM1 n3 inn n2 vss sky130_fd_pr__nfet_01v8 W={W_a} L=0.5 M={2*M_a}
XM2 vdd inp out out sky130_fd_pr__pfet_01v8 W=2 L={L_b} M=8
.ends
"""
EVERYTHING_YAML = """
title: every kind of device
class: amplifier
source: test
netlist: everything.spice
quantities:
  W: {unit: um, bounds: [0.5, 20], scale: log}
  L: {unit: um, bounds: [0.15, 2], scale: log}
  M: {unit: count, bounds: [1, 50], scale: log}
  resistance: {unit: ohm, bounds: [100, 100e3], scale: log}
  current: {unit: A, bounds: [0.5e-6, 50e-6], scale: log}
groups:
  a: {device: transistor, sizes: [W, M]}
  b: {device: transistor, sizes: [L]}
  res: {device: resistor}
  bias: {device: current_source}
conditions: {corner: tt, supply: 1.8, temperature: 27, load: 10e-12, common_mode_ratio: 0.4}
targets: {dc_gain: 70}
verdict: {functional: {judge: functional}}
"""


@pytest.fixture
def everything(tmp_path: Path) -> Circuit:
    (tmp_path / "everything.spice").write_text(EVERYTHING)
    (tmp_path / "everything.yaml").write_text(EVERYTHING_YAML)
    return load_circuit(tmp_path / "everything.yaml")


@each_kind_of_token
def test_every_kind_of_device_has_a_place(everything: Circuit, config: ModelConfig) -> None:
    graph = pin_graph(everything)
    types = {
        device: {(d["device"], d["pin"]) for (n, *_), d in graph.nodes(data=True) if n == device}
        for device in ("i1", "v1", "l1", "r1", "r2")
    }
    assert types == {
        "i1": {("isource", "p"), ("isource", "n")},
        "v1": {("vsource", "p"), ("vsource", "n")},
        "l1": {("inductor", "p")},
        "r1": {("resistor", "p")},
        "r2": {("resistor", "p")},
    }
    assert graph.nodes["xm1", "d"]["multiplicity"] == 1.0
    assert graph.nodes["xm2", "d"]["multiplicity"] == 3.0
    values = vectors(everything, 3)
    features = group_features(everything, torch.from_numpy(values))
    a, b = features[:, list(everything.groups).index("a")], features[:, list(everything.groups).index("b")]
    assert a[:, 1].tolist() == pytest.approx([(math.log10(0.5) + 0.4) / 0.4] * 3)
    assert b[:, 0].tolist() == pytest.approx([(math.log10(2.0) - 0.4) / 0.6] * 3)
    assert b[:, 2].tolist() == [-1.0] * 3
    (prediction,) = predict(config, [everything], [values])
    assert all(torch.isfinite(part).all() for part in prediction)


def test_a_size_that_the_features_cannot_tell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "everything.spice").write_text(EVERYTHING.replace("L=0.5", "L={2*L_b}"))
    (tmp_path / "everything.yaml").write_text(EVERYTHING_YAML)
    circuit = load_circuit(tmp_path / "everything.yaml")
    with pytest.raises(ConfigError, match=r"needs L_a as a parameter or as a number in the netlist, not as 2\*L_b"):
        group_features(circuit, torch.from_numpy(vectors(circuit, 1)))
