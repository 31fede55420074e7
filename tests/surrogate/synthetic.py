"""Surrogates and data without ngspice: rows that follow a simple rule, disguised circuits, untrained checkpoints."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from surrogate.calibration import Calibration
from surrogate.checkpoint import Checkpoint
from surrogate.data import AUXILIARY, Normaliser
from surrogate.graph import group_features
from surrogate.model import ModelConfig, SurrogateModel
from surrogate.transforms import Transform
from zsgym.circuits import Circuit, load_circuit
from zsgym.circuits.geometry import inside_models
from zsgym.classes.amplifier import METRICS
from zsgym.datasets import sample
from zsgym.netlist import Device, Expression
from zsgym.netlist.expressions import Name
from zsgym.samples import Sample
from zsgym.samples.parquet import samples_to_table, write_part

RC_LOADED = Path(__file__).parents[2] / "docs" / "examples" / "rc_loaded"
"""A circuit with devices of fixed size, a device in two groups, and fewer groups than the shipped ones."""

TINY = ModelConfig(dim=16, heads=2, ffn=32, structure_layers=2, layers=2, injections=2, decoder_layers=1)
TINY_PINS = ModelConfig(
    tokens="pins", dim=16, heads=2, ffn=32, structure_layers=1, layers=4, injections=2, decoder_layers=2
)

SCALES = {
    "tc": Transform("log10", 3e-6, 0.0, 0.5),
    "power": Transform("log10", 7e-4, 0.0, 0.4),
    "vos": Transform("asinh", 4e-4, 0.2, 1.5),
    "cmrr": Transform("identity", 63.0, 1.0, 0.3),
    "dc_gain": Transform("identity", 113.0, 1.0, 0.1),
    "gbw": Transform("log10", 9e5, 0.0, 0.4),
    "phase_margin": Transform("identity", 57.0, 1.0, 0.3),
    "psrr_p": Transform("identity", 64.0, 1.0, 0.3),
    "psrr_n": Transform("identity", 82.0, 1.0, 0.2),
    "slew_rate": Transform("log10", 3e5, 0.0, 0.4),
    "settling_time": Transform("log10", 1.6e-6, 0.0, 0.4),
}
"""Plausible scales of the metrics, for models that nothing was fitted for."""


def sizings(circuit: Circuit, count: int, strategy: str = "uniform", seed: int = 1) -> list[dict[str, float]]:
    """A few sizings; about a quarter of the uniform ones lies outside the transistor models."""
    return [sample(circuit, strategy, seed, index) for index in range(count)]


def vectors(circuit: Circuit, count: int, strategy: str = "log", seed: int = 1) -> np.ndarray:
    """(count, n) sizing vectors."""
    return np.array([circuit.vector(sizing) for sizing in sizings(circuit, count, strategy, seed)])


# --- rows -----------------------------------------------------------------------------------------------------------


def make_row(circuit: Circuit, sizing: Mapping[str, float], **changes: Any) -> Sample:
    """What ngspice might say: works when the bias current is large for the first capacitor, metrics from the same."""
    point = dict(zip(circuit.parameter_names, circuit.to_point(circuit.vector(sizing)).tolist(), strict=True))
    speed, gain = point["bias_current"] - 0.7 * point["cap1"], point["L_gm3"] - 0.5 * point["W_input_pair"]
    if not inside_models(circuit, circuit.vector(sizing)[None])[0]:
        outcome = {"label": 0, "failure": "geometry"}
    else:
        ordinary = {
            "tc": 3e-6 * 10.0 ** (0.4 * gain),
            "power": 7e-4 * 10.0 ** (0.5 * point["bias_current"]),
            "vos": 4e-4 * np.sinh(2.5 * gain),
            "cmrr": 63.0 + 20.0 * gain,
            "dc_gain": 113.0 - 10.0 * speed,
            "psrr_p": 64.0 - 20.0 * gain,
            "psrr_n": 82.0 + 10.0 * speed,
            "gbw": 9e5 * 10.0 ** (0.5 * speed),
        }
        transient = {
            "phase_margin": 57.0 + 15.0 * speed,
            "slew_rate": 3e5 * 10.0 ** (0.5 * speed),
            "settling_time": 1.6e-6 * 10.0 ** (-0.5 * speed),
        }
        errors = {"output_error": 1e-3 * 10.0 ** (-speed), "static_error": 1e-3 * 10.0 ** (-gain)}
        raw = {**ordinary, "max_pole_real": -5e6 * np.sinh(3.0 * (speed + 0.2)), **errors}
        if speed > -0.2:
            metrics = {**ordinary, **transient}
            outcome = {"label": 1, "metrics": metrics, "raw": {**raw, **transient}}
        elif speed > -1.2:
            # The transient of a failure is measured on something that is no step response.
            outcome = {"label": 0, "failure": "unstable", "raw": {**raw, "phase_margin": -999.0, "slew_rate": 1e9}}
        else:
            outcome = {"label": 0, "failure": "no_gain", "raw": {**errors, "dc_gain": -40.0}}
    fields = {
        "circuit": circuit.name,
        "netlist_hash": circuit.netlist_hash,
        "sizing": dict(sizing),
        "conditions": circuit.conditions.as_dict(),
        "backend": "ngspice",
        "provenance": {"ngspice": "39"},
    }
    return Sample.parse(fields | outcome | changes)


def make_rows(circuit: Circuit, count: int, strategy: str = "uniform", seed: int = 1) -> list[Sample]:
    return [make_row(circuit, sizing) for sizing in sizings(circuit, count, strategy, seed)]


def write_rows(folder: Path, rows: Iterable[Sample]) -> Path:
    """A data set that holds these rows."""
    write_part(samples_to_table(list(rows)), folder / "parquet" / "rows.parquet")
    return folder


def write_config(path: Path, paths: Sequence[Path], /, **sections: Mapping[str, Any]) -> Path:
    """A configuration of a tiny model that trains in seconds."""
    model = {"dim": 16, "heads": 2, "ffn": 32, "structure_layers": 1, "layers": 2, "injections": 2}
    training = {"epochs": 3, "batch_size": 64, "learning_rate": 5e-3, "warmup_steps": 5}
    content = {
        "name": "tiny",
        "model": model | dict(sections.get("model", {})),
        "data": {"paths": [str(place) for place in paths]} | dict(sections.get("data", {})),
        "training": training | dict(sections.get("training", {})),
    }
    path.write_text(yaml.safe_dump(content))
    return path


# --- circuits -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disguise:
    """A circuit in which everything without a meaning has changed: names, orders, ends of symmetric devices.

    parameters, devices: old name -> new name.
    """

    circuit: Circuit
    parameters: Mapping[str, str]
    devices: Mapping[str, str]

    def sizing(self, sizing: Mapping[str, float]) -> dict[str, float]:
        """The same sizing under the new names, in another order."""
        return {self.parameters[name]: sizing[name] for name in sorted(sizing)}


def disguise(circuit: Circuit, seed: int) -> Disguise:
    """Rename devices, internal nets and sizing groups, permute devices and parameters, turn symmetric devices round."""
    rng = random.Random(seed)
    internal = [net for net in circuit.subcircuit.nets if net not in circuit.subcircuit.ports]
    nets = dict(zip(internal, rng.sample([f"net{i}" for i in range(len(internal))], len(internal)), strict=True))
    numbers = rng.sample(range(len(circuit.devices)), len(circuit.devices))
    devices = {d.name: f"{d.name[0]}q{number}" for d, number in zip(circuit.devices, numbers, strict=True)}
    groups = list(circuit.groups)
    labels = rng.sample(range(len(groups)), len(groups))
    new_group = {group: f"group{label}" for group, label in zip(groups, labels, strict=True)}
    parameters = {p.name: p.name.replace(p.group, new_group[p.group]) for p in circuit.parameters}
    assert len(set(parameters.values())) == len(parameters)
    renamed = circuit.subcircuit.substitute({old: Expression(Name(new)) for old, new in parameters.items()})

    def disguised(device: Device) -> Device:
        nodes = {pin: nets.get(net, net) for pin, net in device.nodes.items()}
        if device.kind in ("capacitor", "resistor", "inductor") and rng.random() < 0.5:
            nodes = {"p": nodes["n"], "n": nodes["p"]}
        return replace(device, name=devices[device.name], nodes=nodes)

    shuffled = [disguised(device) for device in renamed.devices]
    rng.shuffle(shuffled)
    declared = [
        p.model_copy(update={"name": parameters[p.name], "group": new_group[p.group]}) for p in circuit.parameters
    ]
    rng.shuffle(declared)
    return Disguise(
        replace(
            circuit, name="disguised", subcircuit=replace(renamed, devices=tuple(shuffled)), parameters=tuple(declared)
        ),
        parameters,
        devices,
    )


def multiplied(circuit: Circuit, times: int) -> Circuit:
    """The circuit with `times` copies of its devices in parallel, as a bigger graph."""
    copies = [replace(d, name=f"{d.name}_{i}") for i in range(times) for d in circuit.devices]
    return replace(
        circuit, name=f"{circuit.name}{times}", subcircuit=replace(circuit.subcircuit, devices=tuple(copies))
    )


# --- checkpoints ----------------------------------------------------------------------------------------------------


def untrained_checkpoint(circuits: Sequence[Circuit], config: ModelConfig = TINY, seed: int = 0) -> Checkpoint:
    """A random model calibrated by hand: about half of the in-bin sizings are valid, every drawn one is familiar."""
    torch.manual_seed(seed)
    model = SurrogateModel(config, len(METRICS.names), len(AUXILIARY)).eval()
    normaliser = Normaliser(
        tuple(SCALES[name] for name in METRICS.names), tuple(Transform("identity", 1.0, 0.0, 1.0) for _ in AUXILIARY)
    )
    mean, precision = torch.zeros(config.dim), torch.eye(config.dim)
    common: dict[str, Any] = {
        "temperature": 0.005,
        "interval": tuple(0.1 + 0.02 * k for k in range(len(METRICS.names))),
        "max_distance": 1e3,
        "rows": 100,
        "working": 50,
    }
    calibration = {"pooled": Calibration(threshold=0.5, **common)}
    for circuit in circuits:
        drawn = group_features(circuit, torch.from_numpy(vectors(circuit, 200, "uniform"))).double().numpy()
        ranges = {
            group: (tuple(drawn[:, i].min(0).tolist()), tuple(drawn[:, i].max(0).tolist()))
            for i, group in enumerate(circuit.groups)
        }
        calibration[circuit.netlist_hash] = Calibration(threshold=0.5, ranges=ranges, **common)
    checkpoint = Checkpoint(
        model,
        normaliser,
        calibration,
        {c.netlist_hash: c.name for c in circuits},
        mean,
        precision,
        {"command": ["test"]},
    )
    _centre(checkpoint, circuits[0])
    return checkpoint


def _centre(checkpoint: Checkpoint, circuit: Circuit) -> None:
    """Shift the validity logit so that its median over a circuit's sizings is zero."""
    from surrogate.graph import topology_tensors

    features = group_features(circuit, torch.from_numpy(vectors(circuit, 64, "uniform")))
    with torch.no_grad():
        logit = checkpoint.model(topology_tensors([circuit]), torch.zeros(64, dtype=torch.long), features).validity
        checkpoint.model.validity_head[-1].bias -= logit.median()


@functools.cache
def nmcf() -> Circuit:
    return load_circuit("nmcf")


@functools.cache
def nmcnr() -> Circuit:
    return load_circuit("nmcnr")
