"""The rows of a training run: read once, split, normalised, as tensors."""

from dataclasses import dataclass

from surrogate.config import SurrogateConfig
from surrogate.data import Batch, Normaliser, Rows, digest_of, read_labels, to_batch
from surrogate.graph import Topology, topology_tensors
from zsgym.base.errors import ConfigError
from zsgym.circuits import DEFAULT_VERDICT


@dataclass
class Corpus:
    """The rows of a run: trained-on circuits in order, their split as tensors, the scales, and the verdict policy."""

    rows: list[Rows]
    topology: Topology
    normaliser: Normaliser
    train: Batch
    validation: Batch
    digest: str
    policy: str = DEFAULT_VERDICT


def load_corpus(config: SurrogateConfig, normaliser: Normaliser | None = None) -> Corpus:
    """Read and normalise the configured data sets.

    :param normaliser: scales of an earlier model that is fine-tuned; None fits new ones.
    :raises ConfigError: a held-out circuit is not in the data, or too few rows are left.
    """
    by_circuit, policy = read_labels(config.data.paths)
    absent = [name for name in config.data.hold_out if name not in by_circuit]
    if absent:
        raise ConfigError(f"hold_out: the data hold no {', '.join(absent)}, only {', '.join(by_circuit)}")
    rows = [r for name, r in by_circuit.items() if name not in config.data.hold_out]
    if not rows:
        raise ConfigError("every circuit of the data sets is held out; nothing is left to train on")
    train = [r.side("train").drawn(config.data.limit) for r in rows]
    validation = [r.side("validation") for r in rows]
    for part in (*train, *validation, *(r.side("calibration") for r in rows)):
        if not part.valid.any():
            raise ConfigError(
                f"{part.circuit.name}: too few rows; training, validation or calibration has no working one"
            )
    normaliser = normaliser or Normaliser.fit(train)
    return Corpus(
        rows,
        topology_tensors([r.circuit for r in rows]),
        normaliser,
        to_batch(train, normaliser),
        to_batch(validation, normaliser),
        digest_of(rows),
        policy,
    )
