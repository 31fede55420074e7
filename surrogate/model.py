"""The validity-aware ZeroSim model (paper, sections V to VII), in two sizes.

Axes: B sizings, T topologies, N pin nodes, P sizing groups, S tokens (nodes or groups, [G] first), K metrics, D width.

    pin graph --> structure layers --> [pool to groups] --> layers with parameter injection --> decoder --> heads
    (once per topology)                                     (once per sizing)

Structure layers see no parameters: their result is the same for every sizing of a topology and is computed once. In the
paper's size (`zerosim`) the tokens of the parameter layers are all pins; in the fast size they are the sizing groups,
ten times fewer, each the mean of its pins. The decoder's input is [graph_token, validity_token, performance_queries].
"""

from typing import Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from surrogate.graph import DEVICE_TYPES, N_FEATURES, PIN_TYPES, Topology
from zsgym.classes.amplifier import METRICS


class ModelConfig(BaseModel):
    """Sizes of the model.

    tokens: what the parameter layers attend over. structure_layers: layers before parameters come in. layers: layers
    after. injections: how many of these take the parameters in, counted from the first. Layers alternate between
    connectivity-masked and global attention.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Literal["pins", "groups"] = "groups"
    dim: PositiveInt = 64
    heads: PositiveInt = 4
    ffn: PositiveInt = 128
    structure_layers: int = Field(4, ge=0)
    layers: PositiveInt = 4
    injections: PositiveInt = 4
    decoder_layers: PositiveInt = 1
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        if self.injections > self.layers:
            raise ValueError(f"injections {self.injections} exceed layers {self.layers}")
        return self


class Prediction(NamedTuple):
    """validity: (B,) logit. metrics: (B, K) normalised. auxiliary: (B, A) normalised. embedding: (B, D) graph token."""

    validity: Tensor
    metrics: Tensor
    auxiliary: Tensor
    embedding: Tensor


class Structure(NamedTuple):
    """What a prediction needs of T topologies: the same for every sizing.

    tokens: (T, S, D) embeddings. groups: (T, P, D) embedding of each group's device type. group_present: (T, P) false
    for padding. group_of: (T, S, P) one where a token belongs to a group. near: (T, S, S), far: (T, 1, S) where
    connectivity-masked and global attention may look.
    """

    tokens: Tensor
    groups: Tensor
    group_present: Tensor
    group_of: Tensor
    near: Tensor
    far: Tensor


class Attention(nn.Module):
    """Multi-head attention of queries over a context."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.dim, config.dim)
        self.key_value = nn.Linear(config.dim, 2 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (B, S, D), context: (B, C, D), mask: (B or 1, S or 1, C), true where attention may look."""
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, S, D/H)
        k, v = self.key_value(context).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        y = scaled_dot_product_attention(q, k, v, None if mask is None else mask.unsqueeze(1))  # (B, H, S, D/H)
        out: Tensor = self.out(y.transpose(1, 2).flatten(-2))
        return out


class Injection(nn.Module):
    """Brings the sizes in: each token is shifted and scaled by the embedding of its own group's parameters, and, where
    tokens are pins, looks at the parameters of all groups by cross-attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.scale_shift = nn.Linear(config.dim, 2 * config.dim)
        self.look = Attention(config) if config.tokens == "pins" else None

    def forward(self, x: Tensor, own: Tensor, parameters: Tensor, parameter_mask: Tensor | None) -> Tensor:
        """x: (B, S, D), own: (B, S, D) parameters of each token's group, parameters: (B, P, D)."""
        scale, shift = self.scale_shift(own).chunk(2, dim=-1)
        y = self.norm(x) * scale + shift
        if self.look is not None:
            y = y + self.look(self.norm(x), parameters, parameter_mask)
        injected: Tensor = x + y
        return injected


class Block(nn.Module):
    """A pre-norm transformer layer: self-attention, optional cross-attention, feed-forward network."""

    def __init__(self, config: ModelConfig, cross: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config)
        self.cross_norm = nn.LayerNorm(config.dim) if cross else None
        self.cross = Attention(config) if cross else None
        self.ffn = nn.Sequential(
            nn.LayerNorm(config.dim), nn.Linear(config.dim, config.ffn), nn.GELU(), nn.Linear(config.ffn, config.dim)
        )
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(
        self, x: Tensor, mask: Tensor | None, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> Tensor:
        """x: (B, S, D)."""
        y = self.norm(x)
        x = x + self.dropout(self.attention(y, y, mask))
        if self.cross is not None and self.cross_norm is not None and context is not None:
            x = x + self.dropout(self.cross(self.cross_norm(x), context, context_mask))
        out: Tensor = x + self.dropout(self.ffn(x))
        return out


class SurrogateModel(nn.Module):
    """Topology and sizes in, validity and metrics out.

    :param metrics: how many metrics are queried. :param auxiliary: further targets, read from the graph token.
    """

    def __init__(self, config: ModelConfig, metrics: int = len(METRICS.names), auxiliary: int = 0) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.device_embedding = nn.Embedding(len(DEVICE_TYPES), dim)
        self.pin_embedding = nn.Embedding(len(PIN_TYPES), dim)
        self.multiplicity = nn.Linear(1, dim)
        self.structure = nn.ModuleList(Block(config) for _ in range(config.structure_layers))
        self.group_embedding = nn.Embedding(len(DEVICE_TYPES), dim)
        self.parameters_in = nn.Sequential(nn.Linear(N_FEATURES, dim), nn.GELU(), nn.Linear(dim, dim))
        self.injections = nn.ModuleList(Injection(config) for _ in range(config.injections))
        self.encoder = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.validity_token = nn.Parameter(0.02 * torch.randn(1, dim))
        self.queries = nn.Parameter(0.02 * torch.randn(metrics, dim))
        self.decoder = nn.ModuleList(Block(config, cross=True) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.validity_head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1))
        self.metric_head = nn.Parameter(torch.randn(metrics, dim) / dim**0.5)
        self.metric_bias = nn.Parameter(torch.zeros(metrics))
        self.auxiliary_head = nn.Linear(dim, auxiliary)

    def forward(self, topology: Topology, index: Tensor, features: Tensor) -> Prediction:
        """Predict a batch.

        :param topology: T topologies. :param index: (B,) which of them each sizing belongs to.
        :param features: (B, P, N_FEATURES) from `group_features`, padded to the topologies' P.
        """
        structure = self.encode_structure(topology)
        return self.predict(structure, index if len(structure.tokens) > 1 else None, features)

    def encode_structure(self, topology: Topology) -> Structure:
        """All that does not depend on parameters: computed once per topology."""
        x: Tensor = self.device_embedding(topology.device) + self.pin_embedding(topology.pin)  # (T, N, D)
        x = x + self.multiplicity(topology.multiplicity.unsqueeze(-1))
        everywhere = topology.present.unsqueeze(1)  # (T, 1, N)
        for i, block in enumerate(self.structure):
            x = block(x, topology.connected if i % 2 == 0 else everywhere)
        groups = self.group_embedding(topology.group_type)  # (T, P, D)
        if self.config.tokens == "pins":
            group_of = topology.member.transpose(1, 2)  # (T, N, P)
            return Structure(x, groups, topology.group_present, group_of, topology.connected, everywhere)
        return self._pooled(topology, x, groups)

    def _pooled(self, topology: Topology, nodes: Tensor, groups: Tensor) -> Structure:
        """Sizing groups as tokens, each the mean of its pins; two are near when a net joins them."""
        member = topology.member  # (T, P, N)
        pooled = member @ nodes / member.sum(-1, keepdim=True).clamp(min=1.0)  # (T, P, D)
        tokens = torch.cat([nodes[:, :1], pooled], dim=1)  # (T, 1 + P, D)
        present = nn.functional.pad(topology.group_present, (1, 0), value=True)  # (T, 1 + P)
        touching = (member @ topology.connected.float() @ member.transpose(1, 2)) > 0  # (T, P, P)
        near = nn.functional.pad(touching, (1, 0, 1, 0), value=True)  # (T, 1 + P, 1 + P)
        # A padding token looks everywhere, so that its (unused) softmax is not empty.
        near = (near & present.unsqueeze(1)) | ~present.unsqueeze(-1)
        group_of = nn.functional.pad(torch.diag_embed(topology.group_present.float()), (0, 0, 1, 0))  # (T, 1 + P, P)
        return Structure(tokens, groups, topology.group_present, group_of, near, present.unsqueeze(1))

    def predict(self, structure: Structure, index: Tensor | None, features: Tensor) -> Prediction:
        """Predict a batch.

        :param structure: from `encode_structure`. :param index: as in `forward`; None for a single topology, which has
            no padding to mask. :param features: as in `forward`.
        """
        far: Tensor | None = None
        parameter_mask: Tensor | None = None
        if index is not None:
            structure = Structure(*(tensor[index] for tensor in structure))
            far, parameter_mask = structure.far, structure.group_present.unsqueeze(1)  # (B, 1, S), (B, 1, P)
        size = features.shape[0]
        parameters = self.parameters_in(features) + structure.groups  # (B, P, D)
        own = structure.group_of @ parameters  # (B, S, D)
        x = structure.tokens.expand(size, -1, -1)  # (B, S, D)
        for i, block in enumerate(self.encoder):
            if i < len(self.injections):
                x = self.injections[i](x, own, parameters, parameter_mask)
            x = block(x, structure.near if i % 2 == 0 else far)
        graph_token = x[:, :1]  # (B, 1, D)
        learned = torch.cat([self.validity_token, self.queries])  # (1 + K, D)
        y = torch.cat([graph_token, learned.expand(size, -1, -1)], dim=1)  # (B, 2 + K, D)
        for block in self.decoder:
            y = block(y, None, x, far)
        y = self.decoder_norm(y)
        return Prediction(
            validity=self.validity_head(y[:, 1]).squeeze(-1),
            metrics=(y[:, 2:] * self.metric_head).sum(-1) + self.metric_bias,
            auxiliary=self.auxiliary_head(y[:, 0]),
            embedding=y[:, 0],
        )
