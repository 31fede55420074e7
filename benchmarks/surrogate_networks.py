"""The neural baselines: a perceptron and a message-passing network, and the loop that trains both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from surrogate.config import TrainingConfig
from surrogate.data import AUXILIARY, Batch
from surrogate.graph import DEVICE_TYPES, GLOBAL, N_FEATURES, PIN_TYPES, pin_graph, topology_tensors
from surrogate.losses import losses
from surrogate.model import Prediction
from zsgym.circuits import Circuit
from zsgym.classes.amplifier import METRICS

FloatArray = NDArray[np.float64]

_N_METRICS, _N_AUXILIARY = len(METRICS.names), len(AUXILIARY)
_CHUNK = 512


class Raw(NamedTuple):
    """Uncalibrated answers: validity logit (n,) and metrics (n, K) on the normalised scale."""

    logit: FloatArray
    metrics: FloatArray


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a baseline may spend: epochs of the perceptrons and of the graph network, patience in epochs,
    boosting rounds, rows a Gaussian process rests on, and rows its kernel is tuned on."""

    epochs: int = 150
    graph_epochs: int = 20
    patience: int = 15
    tree_rounds: int = 1000
    gp_rows: int = 1000
    gp_tuning_rows: int = 300
    seed: int = 0


class Perceptron(nn.Module):
    """Features (n, d) to validity logit, metrics and auxiliary targets (n, 1 + K + A)."""

    def __init__(self, inputs: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.GELU(),
            *(_Residual(width) for _ in range(2)),
            nn.LayerNorm(width),
            nn.Linear(width, 1 + _N_METRICS + _N_AUXILIARY),
        )

    def forward(self, circuit: int, features: Tensor) -> Tensor:
        """`circuit` is not used: there is one perceptron per circuit."""
        out: Tensor = self.layers(features)
        return out


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class GraphNetwork(nn.Module):
    """Message passing on pin graphs: in each layer every net, every device and the whole graph takes the mean of its
    pins, and every pin adds a function of itself and of the three it belongs to. (On a net or a device, whose pins are
    all joined to each other, that is what passing messages along the edges amounts to, and it costs far less.)

    Pins start from device type, pin type, multiplicity and the size of their group.
    """

    def __init__(self, circuits: Sequence[Circuit], width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.topologies = [topology_tensors([circuit]) for circuit in circuits]
        self.members = [_members(circuit) for circuit in circuits]
        self.device = nn.Embedding(len(DEVICE_TYPES), width)
        self.pin = nn.Embedding(len(PIN_TYPES), width)
        self.multiplicity = nn.Linear(1, width)
        self.size = nn.Sequential(nn.Linear(N_FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(_MessageLayer(width) for _ in range(layers))
        self.head = nn.Sequential(
            nn.LayerNorm(2 * width),
            nn.Linear(2 * width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, 1 + _N_METRICS + _N_AUXILIARY),
        )

    def forward(self, circuit: int, features: Tensor) -> Tensor:
        """features: (n, P, F) of one circuit -> (n, 1 + K + A)."""
        topology = self.topologies[circuit]
        fixed = self.device(topology.device[0]) + self.pin(topology.pin[0])  # (N, D)
        fixed = fixed + self.multiplicity(topology.multiplicity[0].unsqueeze(-1))
        x = fixed + topology.member[0].T @ self.size(features)  # (n, N, D)
        for layer in self.layers:
            x = layer(x, self.members[circuit])
        out: Tensor = self.head(torch.cat([x[:, 0], x[:, 1:].mean(dim=1)], dim=-1))
        return out


class _MessageLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, width)
        self.messages = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out = nn.Sequential(nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor, members: Sequence[Tensor]) -> Tensor:
        """x: (n, N, D). members: nets, devices and graph as (M, N) matrices of ones."""
        y = self.norm(x)
        total = self.own(y)  # (n, N, D)
        for message, member in zip(self.messages, members, strict=True):
            mean = (member / member.sum(dim=1, keepdim=True)) @ y  # (n, M, D)
            total = total + member.T @ message(mean)
        out: Tensor = x + self.out(total)
        return out


def _members(circuit: Circuit) -> list[Tensor]:
    """Which pins belong to each net, to each device, and to the graph: (M, N) each, pins as in `topology_tensors`."""
    graph = pin_graph(circuit)
    order = [GLOBAL, *(node for node in graph if node != GLOBAL)]
    nets: dict[str, list[int]] = {}
    devices: dict[str, list[int]] = {}
    net_of = {(device.name, pin): net for device in circuit.devices for pin, net in device.nodes.items()}
    for index, node in enumerate(order[1:], start=1):
        nets.setdefault(net_of.get(node, node[1]), []).append(index)
        if node[0] != "port":
            devices.setdefault(node[0], []).append(index)
    matrices = []
    for groups in (nets.values(), devices.values(), [range(len(order))]):
        matrix = torch.zeros(len(groups), len(order))
        for row, indices in enumerate(groups):
            matrix[row, list(indices)] = 1.0
        matrices.append(matrix)
    return matrices


def train_network(
    network: nn.Module,
    train: Sequence[Batch],
    validation: Sequence[Batch],
    config: TrainingConfig,
    epochs: int,
    effort: Effort,
    label: str,
) -> None:
    """Train on batches of one circuit each; the network ends with the weights of its best epoch."""
    steps = sum(-(-len(part) // config.batch_size) for part in train)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1.0 - step / (steps * epochs), 0.0))
    best, best_loss, best_epoch = network.state_dict(), float("inf"), 0
    generator = torch.Generator().manual_seed(effort.seed)
    bar = tqdm(range(epochs), desc=label, unit="epoch", leave=False)
    for epoch in bar:
        network.train()
        pieces = [
            (circuit, rows)
            for circuit, part in enumerate(train)
            for rows in torch.split(torch.randperm(len(part), generator=generator), config.batch_size)
        ]
        for k in torch.randperm(len(pieces), generator=generator).tolist():
            circuit, rows = pieces[k]
            optimizer.zero_grad()
            _loss(network, circuit, train[circuit][rows], config).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()
            schedule.step()
        loss = _validation_loss(network, validation, config)
        if loss < best_loss:
            best, best_loss, best_epoch = {k: v.clone() for k, v in network.state_dict().items()}, loss, epoch
        if epoch - best_epoch >= effort.patience:
            break
        bar.set_postfix(validation=f"{best_loss:.4f}")
    network.load_state_dict(best)


def _loss(network: nn.Module, circuit: int, batch: Batch, config: TrainingConfig) -> Tensor:
    out = network(circuit, batch.features)
    prediction = Prediction(out[:, 0], out[:, 1 : 1 + _N_METRICS], out[:, 1 + _N_METRICS :], out)
    return losses(prediction, batch, config).total


def _validation_loss(network: nn.Module, validation: Sequence[Batch], config: TrainingConfig) -> float:
    network.eval()
    with torch.inference_mode():
        parts = [
            (float(_loss(network, circuit, part[rows], config)), len(rows))
            for circuit, part in enumerate(validation)
            for rows in torch.split(torch.arange(len(part)), _CHUNK)
        ]
    return sum(loss * n for loss, n in parts) / sum(n for _, n in parts)


def ask_network(network: nn.Module, circuit: int, features: Tensor) -> Raw:
    """Raw answers to n sizings of one circuit, in chunks."""
    network.eval()
    with torch.inference_mode():
        out = torch.cat([network(circuit, part) for part in torch.split(features, _CHUNK)]).double().numpy()
    return Raw(out[:, 0], out[:, 1 : 1 + _N_METRICS])
