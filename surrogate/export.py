"""Export a surrogate to ONNX: python -m surrogate.export --checkpoint FILE --circuit nmcf --out fast-nmcf.onnx

The file holds everything that `Predictor` does for one circuit: the geometry check, the network with the encoded
structure of the circuit, the calibration, and the scales of the metrics. It runs wherever ONNX Runtime runs.

| tensor            | type, shape     | meaning                                                               |
| ----------------- | --------------- | --------------------------------------------------------------------- |
| `sizing` (input)  | float64, (B, n) | sizing vectors in declared units (um, count, F, ohm, A)               |
| `p_valid`         | float64, (B,)   | calibrated probability that the amplifier works; 0 outside the models |
| `valid`           | bool, (B,)      | `p_valid` reaches the threshold                                       |
| `metrics`         | float64, (B, K) | metrics in SI units, NaN where not valid                              |
| `low`, `high`     | float64, (B, K) | conformal interval in SI units, NaN where not valid                   |
| `in_distribution` | bool, (B,)      | false where the model was not trained on anything alike               |

The file's metadata names the parameters and the metrics in their order, with units, and says where the model comes
from. After writing, the file is run by ONNX Runtime on random sizings and compared with the `Predictor`.
"""

import argparse
import importlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from surrogate.checkpoint import Checkpoint, shipped
from surrogate.graph import group_features, topology_tensors
from surrogate.model import Structure
from surrogate.predict import RANGE_SLACK, Predictor
from surrogate.transforms import CLIP, Kind, Transform
from zsgym.base.errors import ConfigError
from zsgym.base.files import new_file
from zsgym.base.scripts import ending_in_one_line
from zsgym.circuits import Circuit, load_circuit
from zsgym.classes.amplifier import METRICS
from zsgym.datasets import sample
from zsgym.netlist import Expression
from zsgym.netlist.expressions import Call, Name, Negation, Node, Number, Operation
from zsgym.pdk.geometry import SIZE_LIMITS, SIZE_TOLERANCE
from zsgym.samples.manifest import provenance_of_this_process

OUTPUTS = ("p_valid", "valid", "metrics", "low", "high", "in_distribution")
TOLERANCE = 1e-3
"""Largest difference from the `Predictor` that a written file may have (see `compare`). The rounding of float32 stays
below a hundredth of it; the intervals of a trained model are tens of times wider than it."""

_OPSET = 20
_CHECKED_SIZINGS = 256


class BakedSurrogate(nn.Module):
    """A `Predictor` as one function of tensors, for one circuit. Axes as in `surrogate.model`."""

    interval: Tensor
    mean: Tensor
    precision: Tensor

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.circuit, self.calibration = predictor.circuit, predictor.calibration
        self.scales = predictor.checkpoint.normaliser.metrics
        self.model = predictor.checkpoint.model
        with torch.no_grad():
            structure = self.model.encode_structure(topology_tensors([self.circuit]))
        for name, tensor in structure._asdict().items():
            self.register_buffer(name, tensor)
        self.register_buffer("interval", torch.tensor(self.calibration.interval, dtype=torch.float64))
        self.register_buffer("mean", predictor.checkpoint.mean.double())
        self.register_buffer("precision", predictor.checkpoint.precision.double())
        self.ranges: Tensor | None = None
        if predictor.trained:
            ranges = [self.calibration.ranges[group] for group in self.circuit.groups]
            self.ranges = torch.tensor(ranges, dtype=torch.float64)  # (P, 2, F)

    def forward(self, sizing: Tensor) -> tuple[Tensor, ...]:
        """sizing: (B, n) float64, declared units. Returns the OUTPUTS in order."""
        structure = Structure(*(self.get_buffer(name) for name in Structure._fields))
        features = group_features(self.circuit, sizing)
        prediction = self.model.predict(structure, None, features)
        geometry = self._inside_models(sizing)
        probability = torch.sigmoid(prediction.validity.double() / self.calibration.temperature)
        p_valid = torch.where(geometry, probability, 0.0)
        valid = geometry & (p_valid >= self.calibration.threshold)
        middle = prediction.metrics.double().clamp(-CLIP, CLIP)
        values = self._restored(torch.stack([middle, middle - self.interval, middle + self.interval]))  # (3, B, K)
        metrics, low, high = torch.where(valid.unsqueeze(-1), values, torch.nan).unbind()
        return p_valid, valid, metrics, low, high, self._in_distribution(features, prediction.embedding)

    def _inside_models(self, sizing: Tensor) -> Tensor:
        """(B,) as `zsgym.pdk.geometry.inside_models`."""
        columns = dict(zip(self.circuit.parameter_names, sizing.unbind(1), strict=True))
        limits = {
            (size, limit)
            for device in self.circuit.devices
            if device.kind in SIZE_LIMITS
            for size, limit in zip((device.values["w"], device.values["l"]), SIZE_LIMITS[device.kind], strict=True)
        }
        if not limits:
            return torch.ones_like(sizing[:, 0], dtype=torch.bool)
        sizes = torch.stack([_evaluate(expression, columns) for expression, _ in limits], dim=-1)
        low, high = torch.tensor([limit for _, limit in limits], dtype=torch.float64).unbind(-1)
        return ((sizes >= low - SIZE_TOLERANCE) & (sizes <= high + SIZE_TOLERANCE)).all(-1)

    def _restored(self, normalised: Tensor) -> Tensor:
        """(..., K) normalised values in SI units, as `Transform.restore`; one kind of scale after the other."""
        facts = torch.tensor([(s.spread, s.center, s.unit) for s in self.scales], dtype=torch.float64)  # (K, 3)
        spread, center, unit = facts.unbind(-1)
        scaled = normalised * spread + center
        columns = {kind: [k for k, s in enumerate(self.scales) if s.kind == kind] for kind in _INVERSE}
        parts = [_INVERSE[kind](scaled[..., where]) for kind, where in columns.items() if where]
        order = torch.tensor([k for where in columns.values() for k in where]).argsort()
        return torch.cat(parts, dim=-1)[..., order] * unit

    def _in_distribution(self, features: Tensor, embedding: Tensor) -> Tensor:
        if self.ranges is None:
            return torch.zeros_like(features[:, 0, 0], dtype=torch.bool)
        values = features.double()
        inside = (values >= self.ranges[:, 0] - RANGE_SLACK) & (values <= self.ranges[:, 1] + RANGE_SLACK)
        centred = embedding.double() - self.mean
        distance = ((centred @ self.precision) * centred).sum(-1).clamp(min=0.0).sqrt()
        return inside.flatten(1).all(-1) & (distance <= self.calibration.max_distance)


_INVERSE: dict[Kind, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "log10": lambda x: torch.pow(10.0, x),
    "asinh": lambda x: (torch.exp(x) - torch.exp(-x)) / 2.0,  # ONNX Runtime has no sinh of float64
}
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "sqrt": torch.sqrt,
    "min": torch.minimum,
    "max": torch.maximum,
    "abs": torch.abs,
    "int": torch.trunc,
    "floor": torch.floor,
}
_OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "**": torch.pow,
}


def _evaluate(expression: Expression, columns: Mapping[str, Tensor]) -> Tensor:
    """(B,) value of a netlist expression for every sizing."""
    by_name = {name.lower(): column for name, column in columns.items()}  # SPICE ignores case
    like = next(iter(columns.values()))

    def value(node: Node) -> Tensor:
        match node:
            case Number(number):
                return torch.full_like(like, number)
            case Name(name):
                return by_name[name.lower()]
            case Negation(operand):
                return -value(operand)
            case Call(function, arguments):
                return _FUNCTIONS[function](*map(value, arguments))
            case Operation(operator, left, right):
                a, b = value(left), value(right)
                return _OPERATORS[operator](a, b)

    return value(expression.root)


def export(checkpoint: Checkpoint, circuit: Circuit, path: str | os.PathLike[str]) -> float:
    """Write the ONNX file of a checkpoint for one circuit, and run it once against the `Predictor`.

    :returns: the largest difference of any number from the `Predictor`'s (see `compare`).
    :raises ConfigError: the packages of the `export` extra are missing, or the file cannot be written.
    """
    onnx = _package("onnx")
    _package("onnxscript")
    predictor = Predictor(checkpoint, circuit)
    proto = _traced(BakedSurrogate(predictor).eval(), len(circuit.parameters))
    onnx.helper.set_model_props(proto, _metadata(checkpoint, circuit, predictor))
    onnx.checker.check_model(proto)
    with new_file(Path(path)) as place:
        onnx.save(proto, place)
        return compare(predictor, place)


def _traced(model: BakedSurrogate, parameters: int) -> Any:
    """The ONNX graph of a model, for batches of any size."""
    example = torch.ones(3, parameters, dtype=torch.float64)
    model(example)  # caches what depends on the circuit only, which must not be traced
    with _quiet():
        program = torch.onnx.export(
            model,
            (example,),
            input_names=["sizing"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"sizing": {0: torch.export.Dim("batch", min=1)}},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None is for the exporter that dynamo replaces
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of deprecations inside torch, of a missing torchvision, and of what it does not optimise."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _metadata(checkpoint: Checkpoint, circuit: Circuit, predictor: Predictor) -> dict[str, str]:
    """What the file says about itself: text, JSON where it is structured."""
    made = provenance_of_this_process()
    return {
        "circuit": circuit.name,
        "netlist_hash": circuit.netlist_hash,
        "parameters": json.dumps({p.name: p.unit for p in circuit.parameters}),
        "metrics": json.dumps({metric.name: metric.unit for metric in METRICS}),
        "threshold": repr(predictor.calibration.threshold),
        "zero_shot": json.dumps(not predictor.trained),
        "checkpoint_sha256": checkpoint.sha256,
        "exported_by": json.dumps(made),
    }


def compare(predictor: Predictor, path: str | os.PathLike[str]) -> float:
    """The largest difference between an ONNX file and the `Predictor` that it was made from.

    In `p_valid` as it is; in metrics and intervals on the scales that the model is trained on, in standard deviations
    (a relative difference says nothing of an offset voltage close to zero). Verdicts must be the same, except where a
    probability lies within rounding of the threshold.

    :raises ConfigError: they differ by more than TOLERANCE: the file is not to be trusted.
    """
    runtime = _package("onnxruntime")
    circuit = predictor.circuit
    # Half of them reaches outside the models, half lies where most amplifiers work.
    strategies = ("uniform", "log") * (_CHECKED_SIZINGS // 2)
    sizings = [sample(circuit, strategy, 0, index) for index, strategy in enumerate(strategies)]
    vectors = np.array([circuit.vector(sizing) for sizing in sizings], dtype=np.float64)
    session = runtime.InferenceSession(Path(path).read_bytes(), providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"sizing": vectors}), strict=True))
    expected = predictor.predict(vectors)
    clear = np.abs(expected.p_valid - predictor.calibration.threshold) > TOLERANCE
    scales = predictor.checkpoint.normaliser.metrics
    differences = {name: difference(found[name][clear], getattr(expected, name)[clear], scales) for name in OUTPUTS}
    differences["p_valid"] = difference(found["p_valid"], expected.p_valid, scales)
    name = max(differences, key=lambda name: differences[name])
    if differences[name] > TOLERANCE:
        raise ConfigError(
            f"the exported model differs from the surrogate by {differences[name]:.1e} in {name}: do not use it, and "
            "tell the developers which versions of torch, onnxscript and onnxruntime you have"
        )
    return differences[name]


def difference(found: NDArray[Any], expected: NDArray[Any], scales: Sequence[Transform]) -> float:
    """Largest difference of an output, as in `compare`; infinite where only one is NaN, or two verdicts differ."""
    if expected.dtype == np.bool_:
        return 0.0 if np.array_equal(found, expected) else np.inf
    if expected.ndim == 2:
        if not np.array_equal(np.isnan(found), np.isnan(expected)):
            return np.inf
        found, expected = (
            np.stack([scale.normalise(column) for scale, column in zip(scales, values.T, strict=True)])
            for values in (found, expected)
        )
    same = np.isnan(found) & np.isnan(expected)
    return float(np.nan_to_num(np.where(same, 0.0, np.abs(found - expected)), nan=np.inf).max(initial=0.0))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f'the export to ONNX needs {name}: pip install "zsgym[export]"') from error


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m surrogate.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=shipped(), metavar="FILE", help="default: the shipped one")
    parser.add_argument("--circuit", required=True, metavar="NAME", help="a circuit's name, or the path of its YAML")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: NAME of checkpoint and circuit, .onnx")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with ending_in_one_line():
        circuit = load_circuit(options.circuit)
        out = options.out or Path(f"{options.checkpoint.stem}-{circuit.name}.onnx")
        difference = export(Checkpoint.load(options.checkpoint), circuit, out)
    size = out.stat().st_size / 1e6
    print(
        f"{out}: {size:.1f} MB; differs from the surrogate by at most {difference:.1e} standard deviations of a metric "
        f"over {_CHECKED_SIZINGS} sizings"
    )


if __name__ == "__main__":
    main()
