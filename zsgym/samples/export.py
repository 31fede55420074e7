"""Export to the published sample format (ZeroSim with failure labels): one JSON list, one object per sample.

    {"parameters": {"6": [2.5, 0.5, 4], ...}, "performance": {"TC": ..., "sim_success": 1}, "label": 1}

`parameters` is keyed by the node of the pin-level graph; every pin of a device carries the device's own list:
`[W, L, M]` of a transistor (micrometres, micrometres, total multiplier) and `[value]` of a passive or a source (farad,
ohm, henry, ampere, volt). Nodes are numbered in a fixed order: 0 is the global token [G]; then the ports, in the order
of the subcircuit line; then the pins of the transistors, capacitors, resistors, inductors and sources, in this order
of kinds, and in netlist order within a kind (pins d, g, s, b or p, n). For NMCF this gives the transistors 6 to 101
and the capacitors 102 to 105, as in the published figure. Nodes 0 and the ports have no parameters and no entry.

`performance` holds the published names and units: see `zsgym.metrics`. In a failed sample every metric is 1e9, as is a
metric that a success under the `measured` policy does not have. Rows that a surrogate answered are not exported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.base.files import new_file, write_text
from zsgym.circuits import Circuit, Sizing
from zsgym.classes import find_class
from zsgym.netlist import Device, DeviceKind
from zsgym.samples.schema import Sample

SENTINEL = 1e9
"""What the published format writes into every metric of a failed sample."""

_KIND_ORDER: tuple[DeviceKind, ...] = ("nmos", "pmos", "capacitor", "resistor", "inductor", "isource", "vsource")
_TRANSISTORS = ("nmos", "pmos")


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One numbered node of the pin-level graph: a pin of a device (`device` set), a port, or [G] (neither net)."""

    number: int
    net: str | None = None
    device: Device | None = None
    pin: str | None = None


def graph_nodes(circuit: Circuit) -> list[GraphNode]:
    """The nodes of a circuit's pin-level graph in the order of the published format (see the module)."""
    devices = sorted(circuit.subcircuit.devices, key=lambda device: _rank(device.kind))
    places: list[tuple[str | None, Device | None, str | None]] = [(None, None, None)]
    places += [(port, None, None) for port in circuit.subcircuit.ports]
    places += [(net, device, pin) for device in devices for pin, net in device.nodes.items()]
    return [GraphNode(number, *place) for number, place in enumerate(places)]


def _rank(kind: DeviceKind) -> int:
    if kind == "subcircuit":
        raise ConfigError("the published format has no hierarchy: export a circuit whose netlist is flat")
    return 0 if kind in _TRANSISTORS else _KIND_ORDER.index(kind)


def zerosim_sample(circuit: Circuit, sample: Sample, nodes: Iterable[GraphNode] | None = None) -> dict[str, Any]:
    """One sample in the published format.

    :param nodes: `graph_nodes(circuit)`, to number them once for many samples.
    :raises SampleLogError: the sample belongs to another circuit or to another version of its netlist.
    """
    check_circuit(circuit, sample)
    lists: dict[str, list[float]] = {}
    for node in nodes if nodes is not None else graph_nodes(circuit):
        if node.device is not None:
            lists[str(node.number)] = device_parameters(node.device, sample.sizing)
    performance = {
        metric.published_name or metric.name: SENTINEL
        if (value := sample.metrics.get(metric.name)) is None
        else metric.published_value(value)
        for metric in find_class(sample.circuit_class).metrics
    }
    return {"parameters": lists, "performance": performance | {"sim_success": sample.label}, "label": sample.label}


def device_parameters(device: Device, sizing: Sizing) -> list[float]:
    """`[W, L, M]` (um, um, total multiplier) of a transistor, `[value]` (SI) of anything else, for a given sizing."""
    values = {name: value.evaluate(sizing) for name, value in device.values.items()}
    if device.kind in _TRANSISTORS:
        return [values["w"], values["l"], values.get("m", 1.0)]
    return [values["value"]]


def export_zerosim(samples: Iterable[Sample], circuit: Circuit, path: str | os.PathLike[str]) -> int:
    """Write the published format to `path`, and the meaning of its nodes to `nodes_file(path)`.

    :returns: the number of samples written; rows answered by a surrogate are left out.
    :raises SampleLogError: a row of another circuit or netlist version, or a file that cannot be written.
    """
    path = Path(path)
    nodes = graph_nodes(circuit)
    write_text(nodes_file(path), json.dumps(describe_nodes(nodes), indent=1) + "\n", SampleLogError)
    count = 0
    with new_file(path, SampleLogError) as place, place.open("w", encoding="utf-8") as file:
        file.write("[")
        for sample in samples:
            if not sample.predicted:
                file.write(",\n" if count else "\n")
                json.dump(zerosim_sample(circuit, sample, nodes), file, allow_nan=False)
                count += 1
        file.write("\n]\n")
    return count


def nodes_file(path: str | os.PathLike[str]) -> Path:
    """Where the meaning of the nodes stands: `<path without suffix>.nodes.json`."""
    return Path(path).with_suffix(".nodes.json")


def describe_nodes(nodes: Iterable[GraphNode]) -> dict[str, Mapping[str, str | list[str] | None]]:
    """What each node number stands for: device, pin, net, and the names of the values in its list."""
    described: dict[str, Mapping[str, str | list[str] | None]] = {}
    for node in nodes:
        if node.device is None:
            described[str(node.number)] = {"port": node.net} if node.net else {"global": "[G]"}
        else:
            names = ["W", "L", "M"] if node.device.kind in _TRANSISTORS else ["value"]
            described[str(node.number)] = {
                "device": node.device.name,
                "kind": node.device.kind,
                "pin": node.pin,
                "net": node.net,
                "parameters": names,
            }
    return described


def check_circuit(circuit: Circuit, sample: Sample) -> None:
    """Whether a row belongs to this circuit, as it is now.

    :raises SampleLogError: it belongs to another circuit, or to another version of its netlist.
    """
    if sample.circuit != circuit.name:
        raise SampleLogError(
            f"the published format holds one circuit per file: found a row of {sample.circuit!r} among those of "
            f"{circuit.name!r}"
        )
    if sample.netlist_hash != circuit.netlist_hash:
        raise SampleLogError(
            f"the rows were made with another version of the netlist of {circuit.name!r} (hash {sample.netlist_hash}, "
            f"now {circuit.netlist_hash}): export them with the circuit files that made them"
        )
