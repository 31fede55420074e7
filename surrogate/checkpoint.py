"""One self-describing file per trained surrogate: weights and everything needed to use and to judge them.

The file is a safetensors file (no pickle, nothing in it is executed). Its metadata holds, as JSON: the model's
configuration, vocabularies, target names and scales, the calibration of every topology, and where it comes from (data
hash, git revision, command, seed), and a checksum over all of this. A file that is corrupt, foreign or from an
incompatible version is refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from surrogate.calibration import Calibration
from surrogate.data import AUXILIARY, Normaliser
from surrogate.graph import DEVICE_TYPES, N_FEATURES, PIN_TYPES
from surrogate.model import ModelConfig, SurrogateModel
from surrogate.sizing import DifferentiableSurrogate
from surrogate.transforms import Transform
from zsgym.base.errors import ZsgymError
from zsgym.base.files import new_file
from zsgym.circuits import DEFAULT_VERDICT, Circuit
from zsgym.classes.amplifier import METRICS

FORMAT = "zsgym-surrogate"
VERSION = 1
_INTERFACE = {
    "metrics": list(METRICS.names),
    "auxiliary": list(AUXILIARY),
    "device_types": list(DEVICE_TYPES),
    "pin_types": list(PIN_TYPES),
    "group_features": N_FEATURES,
}
"""What a checkpoint and this code must agree on, besides the format version."""


class CheckpointError(ZsgymError, ValueError):
    """A checkpoint cannot be used; the message says why."""


@dataclass
class Checkpoint:
    """A trained model with its scales and calibration.

    calibration: netlist hash -> calibration, and "pooled" for topologies that were not trained on. topologies: netlist
    hash -> circuit name. mean, precision: of training embeddings. provenance: JSON-able facts about the training run,
    among them the verdict policy of its labels (`policy`). sha256: of the content of the file that it was read from.
    """

    model: SurrogateModel
    normaliser: Normaliser
    calibration: dict[str, Calibration]
    topologies: dict[str, str]
    mean: Tensor
    precision: Tensor
    provenance: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def policy(self) -> str:
        """Name of the verdict policy that gave the labels; files older than this entry were trained on the default."""
        return str(self.provenance.get("policy", DEFAULT_VERDICT))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What it predicts, in order."""
        return METRICS.names

    def of(self, circuit: Circuit) -> DifferentiableSurrogate:
        """What the model says about one circuit, differentiable with respect to the sizing."""
        return DifferentiableSurrogate(self, circuit)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; an existing one is replaced only by a complete new one.

        :raises ConfigError: it cannot be written.
        """
        metadata = {
            "format": FORMAT,
            "version": VERSION,
            "interface": _INTERFACE,
            "model": self.model.config.model_dump(),
            "normaliser": asdict(self.normaliser),
            "calibration": {key: value.model_dump() for key, value in self.calibration.items()},
            "topologies": self.topologies,
            "provenance": self.provenance,
        }
        tensors = {f"model.{name}": tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        tensors |= {"embedding.mean": self.mean.contiguous(), "embedding.precision": self.precision.contiguous()}
        header = json.dumps(metadata)
        content = save(tensors, metadata={"zsgym": header, "sha256": _checksum(header, tensors)})
        with new_file(Path(path)) as place:
            place.write_bytes(content)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a file written by `save`.

        :raises CheckpointError: missing, corrupt, foreign or incompatible; the message says which.
        """
        path = Path(path)
        tensors, metadata, sha256 = _read(path)
        _check_interface(path, metadata)
        try:
            model = SurrogateModel(ModelConfig(**metadata["model"]), len(METRICS.names), len(AUXILIARY))
            weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
            model.load_state_dict(weights)
            normaliser = Normaliser(
                *(tuple(Transform(**t) for t in metadata["normaliser"][name]) for name in ("metrics", "auxiliary"))
            )
            calibration = {key: Calibration(**value) for key, value in metadata["calibration"].items()}
            return Checkpoint(
                model.eval(),
                normaliser,
                calibration,
                metadata["topologies"],
                tensors["embedding.mean"],
                tensors["embedding.precision"],
                metadata["provenance"],
                sha256,
            )
        except (KeyError, TypeError, RuntimeError, ValidationError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CheckpointError(f"{path} is damaged: {reason:.200}") from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors, metadata and checksum of a file."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; `python -m surrogate.train` writes checkpoints")
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error!s:.200}") from error
    if "zsgym" not in found:
        raise CheckpointError(f"{path} is a safetensors file, but not a zsgym surrogate")
    if found.get("sha256") != _checksum(found["zsgym"], tensors):
        raise CheckpointError(f"{path} is damaged: its checksum does not match")
    return tensors, json.loads(found["zsgym"]), found["sha256"]


def _checksum(header: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata and every tensor, in the order of their names."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_interface(path: Path, metadata: Mapping[str, Any]) -> None:
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        found = f"{metadata.get('format')} version {metadata.get('version')}"
        raise CheckpointError(f"{path} holds {found}; this zsgym reads {FORMAT} version {VERSION}: train it again")
    differing = [key for key, value in _INTERFACE.items() if metadata.get("interface", {}).get(key) != value]
    if differing:
        raise CheckpointError(f"{path} was trained with other {', '.join(differing)}: train it again with this version")


def shipped(name: str = "fast") -> Path:
    """Path of the checkpoint that comes with the package."""
    return Path(__file__).with_name("checkpoints") / f"{name}.safetensors"
