"""The model's sizes are the paper's, its decoder reads what the paper says, and its loss sees labels only."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surrogate.config import TrainingConfig, read_config
from surrogate.data import AUXILIARY, Batch
from surrogate.graph import group_features, topology_tensors
from surrogate.losses import losses
from surrogate.model import ModelConfig, Prediction, SurrogateModel
from tests.surrogate.synthetic import TINY, TINY_PINS, nmcf, vectors
from zsgym.base.paths import data_root
from zsgym.classes.amplifier import METRICS

CONFIGS = data_root() / "configs" / "surrogate"
K = len(METRICS.names)


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_zerosim_has_the_sizes_of_the_paper() -> None:
    config = read_config(CONFIGS / "zerosim.yaml")
    model = SurrogateModel(config.model, auxiliary=len(AUXILIARY))
    assert (config.model.tokens, config.model.dim, config.model.structure_layers) == ("pins", 128, 0)
    assert len(model.encoder) == 12
    assert len(model.injections) == 8
    assert len(model.decoder) == 2
    blocks = [*model.encoder, *model.decoder]
    attentions = [
        *(b.attention for b in blocks),
        *(i.look for i in model.injections),
        *(b.cross for b in model.decoder),
    ]
    assert len(attentions) == 12 + 2 + 8 + 2
    for attention in attentions:
        assert (attention.heads, attention.query.in_features) == (8, 128)
    for block in blocks:
        widths = [(layer.in_features, layer.out_features) for layer in block.ffn if isinstance(layer, nn.Linear)]
        assert widths == [(128, 512), (512, 128)]
        assert [type(layer) for layer in block.ffn] == [nn.LayerNorm, nn.Linear, nn.GELU, nn.Linear]
    assert model.queries.shape == (11, 128)
    assert model.validity_token.shape == (1, 128)
    assert (config.training.weight_decay, config.training.clip) == (1e-4, 1.0)
    assert not config.training.regress_failures
    assert config.training.lambda_auxiliary == 0.0


def test_fast_looks_at_few_tokens() -> None:
    config = read_config(CONFIGS / "fast.yaml")
    model = SurrogateModel(config.model, auxiliary=len(AUXILIARY))
    structure = model.encode_structure(topology_tensors([nmcf()]))
    assert structure.tokens.shape[1] == 1 + len(nmcf().groups)
    assert sum(p.numel() for p in model.parameters()) * 4 < 12e6


@pytest.mark.parametrize("name", ["fast", "zerosim"])
def test_shipped_configurations_are_valid(name: str) -> None:
    assert read_config(CONFIGS / f"{name}.yaml").name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 5}, "dim 64 is not a multiple of heads 5"),
        ({"injections": 5}, "injections 5 exceed layers 4"),
        ({"tokens": "nets"}, "'pins' or 'groups'"),
        ({"layers": 0}, "greater than 0"),
        ({"width": 3}, "width"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig(**changes)


# --- what flows where -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[TINY, TINY_PINS], ids=lambda config: config.tokens)
def model(request: pytest.FixtureRequest) -> SurrogateModel:
    torch.manual_seed(0)
    return SurrogateModel(request.param, auxiliary=3).eval()


@pytest.fixture
def features() -> torch.Tensor:
    return group_features(nmcf(), torch.from_numpy(vectors(nmcf(), 4)))


def run(model: SurrogateModel, features: torch.Tensor) -> Prediction:
    with torch.no_grad():
        return model(topology_tensors([nmcf()]), torch.zeros(len(features), dtype=torch.long), features)


def test_the_decoder_reads_graph_token_validity_token_and_queries(
    model: SurrogateModel, features: torch.Tensor
) -> None:
    seen: dict[str, torch.Tensor] = {}
    model.encoder[-1].register_forward_hook(lambda _, inputs, output: seen.update(encoded=output))
    model.decoder[0].register_forward_hook(lambda _, inputs, output: seen.update(decoded=inputs[0], context=inputs[2]))
    run(model, features)
    assert seen["decoded"].shape == (4, 1 + 1 + K, model.config.dim)
    assert torch.equal(seen["decoded"][:, 0], seen["encoded"][:, 0])  # [G]
    assert torch.equal(seen["decoded"][:, 1], model.validity_token.expand(4, -1))
    assert torch.equal(seen["decoded"][:, 2:], model.queries.expand(4, -1, -1))
    assert torch.equal(seen["context"], seen["encoded"])


def test_each_head_reads_its_own_token(model: SurrogateModel, features: torch.Tensor) -> None:
    tokens: dict[str, torch.Tensor] = {}
    model.decoder_norm.register_forward_hook(lambda _, inputs, output: tokens.update(y=output))
    found = run(model, features)
    y = tokens["y"]
    with torch.no_grad():
        assert torch.equal(found.embedding, y[:, 0])
        assert torch.equal(found.auxiliary, model.auxiliary_head(y[:, 0]))
        assert torch.equal(found.validity, model.validity_head(y[:, 1]).squeeze(-1))
        for k in range(K):
            expected = y[:, 2 + k] @ model.metric_head[k] + model.metric_bias[k]
            torch.testing.assert_close(found.metrics[:, k], expected)


def test_structure_layers_see_no_parameters(model: SurrogateModel, features: torch.Tensor) -> None:
    """Encoded once, a structure serves every sizing."""
    topology = topology_tensors([nmcf()])
    with torch.no_grad():
        structure = model.encode_structure(topology)
        once = model.predict(structure, None, features)
        padded = model.predict(structure, torch.zeros(4, dtype=torch.long), features)  # masks that mask nothing
    for a, b, c in zip(once, padded, run(model, features), strict=True):
        assert torch.equal(a, c)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_layers_alternate_between_masked_and_global_attention(model: SurrogateModel, features: torch.Tensor) -> None:
    masks: list[torch.Tensor | None] = []
    for block in model.encoder:
        block.attention.register_forward_hook(lambda _, inputs, output: masks.append(inputs[2]))
    run(model, features)
    structure = model.encode_structure(topology_tensors([nmcf()]))
    for depth, mask in enumerate(masks):
        if depth % 2:
            assert mask is None  # everything, in a batch without padding
        else:
            assert torch.equal(mask, structure.near)
    assert not structure.near.all()
    assert structure.near[:, 0].all()  # [G] sees everything, and everything sees [G]
    assert structure.near[:, :, 0].all()
    assert structure.near.diagonal(dim1=1, dim2=2).all()
    assert torch.equal(structure.near, structure.near.transpose(1, 2))


def test_groups_are_near_when_a_net_joins_them() -> None:
    structure = SurrogateModel(TINY, auxiliary=3).encode_structure(topology_tensors([nmcf()]))
    place = {group: 1 + i for i, group in enumerate(nmcf().groups)}
    assert structure.near[0, place["gm3"], place["cap2"]]  # n10 and out
    assert not structure.near[0, place["input_pair"], place["gm3"]]


def test_a_batch_is_predicted_as_one_by_one(model: SurrogateModel, features: torch.Tensor) -> None:
    together = run(model, features)
    for row in range(len(features)):
        for a, b in zip(together, run(model, features[row : row + 1]), strict=True):
            torch.testing.assert_close(a[row : row + 1], b, rtol=1e-4, atol=1e-5)


# --- loss -----------------------------------------------------------------------------------------------------------


def make_batch(valid: list[float], known: torch.Tensor, target: float = 0.0) -> Batch:
    n = len(valid)
    return Batch(
        index=torch.zeros(n, dtype=torch.long),
        features=torch.zeros(n, 1, 6),
        valid=torch.tensor(valid),
        metrics=torch.full((n, K), target),
        metrics_known=known,
        auxiliary=torch.zeros(n, 3),
        auxiliary_known=torch.ones(n, 3),
    )


def make_prediction(n: int) -> Prediction:
    torch.manual_seed(3)
    parts = (torch.randn(n), torch.randn(n, K), torch.randn(n, 3), torch.zeros(n, 4))
    return Prediction(*(part.requires_grad_() for part in parts))


@pytest.mark.parametrize("regress_failures", [True, False])
def test_undefined_and_failing_entries_have_no_gradient(regress_failures: bool) -> None:
    known = torch.ones(4, K)
    known[0, 3] = known[1, :] = 0.0
    batch = make_batch([1.0, 1.0, 0.0, 1.0], known)
    prediction = make_prediction(4)
    config = TrainingConfig(regress_failures=regress_failures)
    losses(prediction, batch, config).performance.backward()
    gradient = prediction.metrics.grad
    assert gradient is not None
    expected = known.clone()
    if not regress_failures:
        expected[2] = 0.0
    assert torch.equal(gradient != 0.0, expected > 0.0)


def test_the_loss_is_the_papers() -> None:
    known = torch.ones(3, K)
    known[2] = 0.0
    prediction, batch = make_prediction(3), make_batch([1.0, 0.0, 1.0], known, target=0.5)
    config = TrainingConfig(lambda_valid=2.0, lambda_auxiliary=0.5, regress_failures=False)
    found = losses(prediction, batch, config)
    p = torch.sigmoid(prediction.validity)
    assert found.performance.item() == pytest.approx(((prediction.metrics[0] - 0.5) ** 2).mean().item())
    cross_entropy = -(p[0].log() + (1 - p[1]).log() + p[2].log()) / 3.0
    assert found.validity.item() == pytest.approx(cross_entropy.item(), rel=1e-5)
    assert found.auxiliary.item() == pytest.approx((prediction.auxiliary**2).mean().item(), rel=1e-5)
    total = found.performance + 2.0 * found.validity + 0.5 * found.auxiliary
    assert found.total.item() == pytest.approx(total.item())


def test_a_batch_without_any_metric_has_a_finite_loss() -> None:
    prediction, batch = make_prediction(2), make_batch([0.0, 0.0], torch.zeros(2, K))
    found = losses(prediction, batch, TrainingConfig())
    found.total.backward()
    assert found.performance.item() == 0.0
    assert torch.isfinite(found.total)
    assert prediction.metrics.grad is not None
    assert not prediction.metrics.grad.any()


def test_configurations_are_where_the_wheel_finds_them() -> None:
    assert {path.stem for path in Path(CONFIGS).glob("*.yaml")} >= {"fast", "zerosim"}
