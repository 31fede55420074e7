"""A circuit as a pin-level graph (paper, section III-A), and the graph as tensors.

One node per device pin, so that a gate and a drain of the same transistor are different things; edges between pins on
the same net; *virtual* edges between all pins of a device; one node per port; and a global token [G] connected to all.
Sizes are not part of the graph: it is the same for every sizing of a topology. Neither are names: two netlists that
differ only in the order or the names of their devices and nets give isomorphic graphs, and equal predictions.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import networkx as nx
import torch
from torch import Tensor

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.netlist import Device

GLOBAL = "[G]"
DEVICE_TYPES = ("global", "port", "nmos", "pmos", "capacitor", "resistor", "inductor", "isource", "vsource")
"""Vocabulary of device types; the first two are not devices."""
PIN_TYPES = ("global", "vss", "vdd", "inn", "inp", "out", "other", "d", "g", "s", "b", "p", "n")
"""Vocabulary of pin types: the ports of an amplifier, then the pins of devices. An unlisted port is `other`."""
MAX_NODES = 200
"""Largest graph (paper, section VIII-A)."""
N_FEATURES = 6
"""Features of a sizing group: see `group_features`."""

_PORTS = PIN_TYPES[1:6]
_SYMMETRIC_PINS = {"capacitor", "resistor", "inductor"}  # p and n of these are interchangeable


def pin_graph(circuit: Circuit) -> nx.Graph:
    """The pin-level graph of a circuit.

    Nodes are (device, pin) pairs, ("port", name) pairs and GLOBAL, with attributes `device` and `pin` (types), `groups`
    (the sizing groups that size it; a device of fixed size has none) and `multiplicity` (how many times the group's
    size, as a base-2 logarithm). Edges have a `kind`: net, device (virtual) or global.

    :raises ConfigError: more than MAX_NODES nodes, or a device type outside the vocabulary.
    """
    groups_of: dict[str, set[str]] = {device.name: set() for device in circuit.devices}
    for group, devices in circuit.groups.items():
        for device in devices:
            groups_of[device.name].add(group)
    graph = nx.Graph(name=circuit.name)
    on_net: dict[str, list[tuple[str, str]]] = {}
    for port in circuit.subcircuit.ports:
        node = ("port", port)
        graph.add_node(node, device="port", pin=port if port in _PORTS else "other", groups=set(), multiplicity=0.0)
        on_net.setdefault(port, []).append(node)
    for device in circuit.devices:
        pins = [(device.name, pin) for pin in device.nodes]
        for (_, pin), net in zip(pins, device.nodes.values(), strict=True):
            graph.add_node(
                (device.name, pin),
                device=device.kind,
                pin="p" if device.kind in _SYMMETRIC_PINS else pin,
                groups=groups_of[device.name],
                multiplicity=_multiplicity(device),
            )
            on_net.setdefault(net, []).append((device.name, pin))
        graph.add_edges_from(combinations(pins, 2), kind="device")
    for nodes in on_net.values():
        graph.add_edges_from((pair for pair in combinations(nodes, 2) if not graph.has_edge(*pair)), kind="net")
    others = list(graph.nodes)
    graph.add_node(GLOBAL, device="global", pin="global", groups=set(), multiplicity=0.0)
    graph.add_edges_from(((GLOBAL, node) for node in others), kind="global")
    _check(circuit, graph)
    return graph


def _multiplicity(device: Device) -> float:
    """log2 of the factor between a device's M and its group's: mirrors of 4 and 8 units differ from one of 1."""
    if "m" not in device.values:
        return 0.0
    return math.log2(device.values["m"].evaluate(dict.fromkeys(device.values["m"].names, 1.0)))


def _check(circuit: Circuit, graph: nx.Graph) -> None:
    if graph.number_of_nodes() > MAX_NODES:
        raise ConfigError(f"{circuit.name}: {graph.number_of_nodes()} graph nodes, at most {MAX_NODES} are supported")
    strange = {data["device"] for _, data in graph.nodes(data=True)} - set(DEVICE_TYPES)
    if strange:
        raise ConfigError(f"{circuit.name}: device types {sorted(strange)} are outside {', '.join(DEVICE_TYPES)}")


@dataclass(frozen=True, slots=True)
class Topology:
    """One or more pin graphs as tensors, padded to the longest. T topologies, N nodes, P sizing groups.

    device, pin: (T, N) vocabulary indices. multiplicity: (T, N). connected: (T, N, N) neighbours, self and [G].
    present: (T, N) false for padding. member: (T, P, N) one where a node belongs to a group. group_type: (T, P)
    vocabulary index of the group's device type. group_present: (T, P). Node 0 is [G].
    """

    device: Tensor
    pin: Tensor
    multiplicity: Tensor
    connected: Tensor
    present: Tensor
    member: Tensor
    group_type: Tensor
    group_present: Tensor

    def to(self, device: torch.device | str) -> "Topology":
        """A copy on another torch device."""
        return Topology(*(getattr(self, name).to(device) for name in self.__slots__))


def topology_tensors(circuits: Iterable[Circuit]) -> Topology:
    """Graphs of several circuits as one padded batch; groups in the order of `circuit.groups`."""
    singles = [_single(circuit) for circuit in circuits]
    nodes = max(single.device.shape[0] for single in singles)
    groups = max(single.group_type.shape[0] for single in singles)
    sizes = {
        "connected": (nodes, nodes),
        "member": (groups, nodes),
        "group_type": (groups,),
        "group_present": (groups,),
    }
    return Topology(
        *(
            torch.stack([_padded(getattr(single, name), sizes.get(name, (nodes,))) for single in singles])
            for name in Topology.__slots__
        )
    )


def _single(circuit: Circuit) -> Topology:
    graph = pin_graph(circuit)
    order = [GLOBAL, *(node for node in graph if node != GLOBAL)]
    data = [graph.nodes[node] for node in order]
    groups = list(circuit.groups)
    member = torch.tensor([[float(group in node["groups"]) for node in data] for group in groups])
    adjacency = torch.from_numpy(nx.to_numpy_array(graph, nodelist=order, weight=None)).bool()
    return Topology(
        device=torch.tensor([DEVICE_TYPES.index(node["device"]) for node in data]),
        pin=torch.tensor([PIN_TYPES.index(node["pin"]) for node in data]),
        multiplicity=torch.tensor([node["multiplicity"] for node in data]),
        connected=adjacency | torch.eye(len(order), dtype=torch.bool),
        present=torch.ones(len(order), dtype=torch.bool),
        member=member,
        group_type=torch.tensor([DEVICE_TYPES.index(circuit.groups[group][0].kind) for group in groups]),
        group_present=torch.ones(len(groups), dtype=torch.bool),
    )


def _padded(tensor: Tensor, size: tuple[int, ...]) -> Tensor:
    padded = tensor.new_zeros(size)
    padded[tuple(slice(length) for length in tensor.shape)] = tensor
    return padded


def group_features(circuit: Circuit, values: Tensor) -> Tensor:
    """Numbers that describe the size of every group, on scales that all circuits share.

    :param values: (B, n) sizing vectors in declared units (um, count, F, ohm, A), float64.
    :return: (B, P, N_FEATURES) float32. A transistor group gets log W, log L, log M, log(W M / L), 1/L and log(W L);
        a passive or source gets the logarithm of its value. Each is scaled to about [-1, 1] over the published bounds.
    """
    layout = _feature_layout(circuit)
    logs = values.log10()  # (B, n)
    if layout.constants.numel():
        logs = torch.cat([logs, layout.constants.expand(logs.shape[0], -1)], dim=1)
    features = values.new_zeros(values.shape[0], len(circuit.groups), N_FEATURES)
    width, length, count = logs[:, layout.columns].unbind(1)  # each (B, transistor groups)
    features[:, layout.transistors] = torch.stack(
        [
            (width - 0.4) / 0.6,
            (length + 0.4) / 0.4,
            count - 1.0,
            (width + count - length - 1.8) / 1.2,
            (10.0**-length - 3.0) / 2.0,
            (width + length) / 0.8,
        ],
        dim=-1,
    )
    features[:, layout.others, 0] = (logs[:, layout.other_columns] - layout.center) / layout.span
    return features.float()


_VALUE_SCALE = {"capacitor": (-11.5, 1.0), "resistor": (4.5, 1.5), "isource": (-5.5, 0.8)}
"""Device type -> center and span of log10 of its value in SI units."""


@dataclass(frozen=True, slots=True)
class _FeatureLayout:
    """Where a circuit's features come from. Columns count the sizing vector first, then the constants.

    transistors, others: positions of the groups. columns: (3, transistor groups) of W, L and M. other_columns, center,
    span: of passives and sources. constants: log10 of the sizes that the netlist fixes.
    """

    transistors: Tensor
    columns: Tensor
    others: Tensor
    other_columns: Tensor
    center: Tensor
    span: Tensor
    constants: Tensor


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for callers that need gradients, whoever asks first
def _feature_layout(circuit: Circuit) -> _FeatureLayout:
    column = {(p.group, p.quantity): index for index, p in enumerate(circuit.parameters)}
    constants: list[float] = []
    transistors, columns, others, other_columns, scales = [], [], [], [], []
    for position, (group, devices) in enumerate(circuit.groups.items()):
        if (group, "value") in column:
            others.append(position)
            other_columns.append(column[group, "value"])
            scales.append(_VALUE_SCALE[devices[0].kind])
            continue
        transistors.append(position)
        sizes = []
        for quantity in ("W", "L", "M"):
            size: int | float | None = column.get((group, quantity))
            if size is None:
                size = _size_from_netlist(circuit, group, quantity)
            if isinstance(size, float):
                constants.append(size)
                size = len(circuit.parameters) + len(constants) - 1
            sizes.append(size)
        columns.append(sizes)
    return _FeatureLayout(
        torch.tensor(transistors, dtype=torch.long),
        torch.tensor(columns, dtype=torch.long).reshape(-1, 3).T,
        torch.tensor(others, dtype=torch.long),
        torch.tensor(other_columns, dtype=torch.long),
        torch.tensor([center for center, _ in scales], dtype=torch.float64),
        torch.tensor([span for _, span in scales], dtype=torch.float64),
        torch.tensor(constants, dtype=torch.float64),
    )


def _size_from_netlist(circuit: Circuit, group: str, quantity: str) -> int | float:
    """A width or length that is not a parameter of the group: the column of another group's, or log10 of a number."""
    if quantity == "M":
        return 0.0  # what the netlist says of M is the multiplicity of each device
    sizes = {device.values[quantity.lower()] for device in circuit.groups[group]}
    if not any(size.names for size in sizes):
        return sum(math.log10(size.evaluate({})) for size in sizes) / len(sizes)
    first, *others = map(str, sizes)
    if others or first not in circuit.parameter_names:
        raise ConfigError(
            f"{circuit.name}: the surrogate needs {quantity}_{group} as a parameter or as a number in the netlist, "
            f"not as {first}"
        )
    return circuit.parameter_names.index(first)
