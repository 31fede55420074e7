"""Training learns, and is exact about seeds and resuming."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from surrogate import trainer as trainer_module
from surrogate.checkpoint import Checkpoint
from surrogate.config import SurrogateConfig, read_config
from surrogate.corpus import Corpus, load_corpus
from surrogate.predict import Predictor
from surrogate.scores import auroc, r_squared
from surrogate.train import train
from surrogate.trainer import Trainer, predict_all
from tests.surrogate.synthetic import make_row, make_rows, nmcf, sizings, write_config, write_rows
from zsgym.base.errors import ConfigError
from zsgym.classes.amplifier import METRICS


@pytest.fixture
def corpus(config: SurrogateConfig) -> Corpus:
    return load_corpus(config)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- learning -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    folder = tmp_path_factory.mktemp("trained")
    training = {"epochs": 12, "batch_size": 32, "warmup_steps": 40}
    config = read_config(write_config(folder / "tiny.yaml", [data], training=training, model={"structure_layers": 0}))
    return train(config, folder / "run"), folder / "run"


def test_it_learns_a_simple_rule(trained: tuple[Checkpoint, Path], data: Path) -> None:
    checkpoint, _ = trained
    from surrogate.data import read_rows  # the sides are the point of this test

    test = read_rows([data])["nmcf"].side("test")
    predictions = Predictor(checkpoint, nmcf()).predict(test.vectors)
    assert auroc(test.valid, predictions.p_valid) > 0.95
    both = test.valid & predictions.valid
    scores = {}
    for k, name in enumerate(METRICS.names):
        scale = checkpoint.normaliser.metrics[k]
        scores[name] = r_squared(scale.normalise(test.measured[both, k]), scale.normalise(predictions.metrics[both, k]))
    assert np.median(list(scores.values())) > 0.6, scores
    assert predictions.in_distribution.mean() > 0.7  # few rows leave the ends of their ranges open


def test_the_checkpoint_says_where_it_comes_from(trained: tuple[Checkpoint, Path]) -> None:
    checkpoint, folder = trained
    provenance = Checkpoint.load(folder / "tiny.safetensors").provenance
    assert provenance == checkpoint.provenance
    assert provenance["config"]["training"]["seed"] == 0
    assert provenance["config"]["model"]["dim"] == 16
    assert len(provenance["data_hash"]) == 16
    assert set(provenance["rows"]) == {"nmcf", "nmcnr"}
    assert provenance["rows"]["nmcf"]["train"] > 400
    assert provenance["versions"]["python"]
    assert "git_revision" in provenance
    assert provenance["command"]
    assert provenance["initial"] is None
    assert set(checkpoint.topologies.values()) == {"nmcf", "nmcnr"}
    assert set(checkpoint.calibration) == {"pooled", *checkpoint.topologies}


def test_the_checkpoint_counts_the_rows_that_it_was_limited_to(small: Path, tmp_path: Path) -> None:
    settings = {"training": {"epochs": 1}, "data": {"limit": 150}}
    rows = train(read_config(write_config(tmp_path / "c.yaml", [small], **settings)), tmp_path).provenance["rows"]
    assert rows["nmcf"]["train"] == 150
    assert rows["nmcf"]["calibration"] > 0


def test_curves_are_written_for_tensorboard(trained: tuple[Checkpoint, Path]) -> None:
    _, folder = trained
    events = EventAccumulator(str(folder))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss", "train_loss", "rows_per_s", "validation/auroc", "validation/validity", "r2/gbw"} <= tags
    losses = [event.value for event in events.Scalars("loss")]
    assert [event.step for event in events.Scalars("loss")] == list(range(1, len(losses) + 1))
    assert min(losses) < 0.5 * losses[0]


def test_the_best_epoch_is_kept(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(config, corpus, tmp_path)
    seen: list[tuple[float, dict[str, torch.Tensor]]] = []
    validate = trainer._validate

    def recorded() -> dict[str, float]:
        scores = validate() | {"loss": [3.0, 1.0, 2.0, 1.5][len(seen)]}
        seen.append((scores["loss"], weights(trainer)))
        return scores

    trainer._validate = recorded  # type: ignore[method-assign]
    trainer.run()
    assert (trainer.best_epoch, trainer.best_loss, len(seen)) == (2, 1.0, 4)
    assert same(trainer.best, seen[1][1])
    assert not same(trainer.best, seen[3][1])


def test_the_checkpoint_is_that_of_the_best_epoch(
    config: SurrogateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def made_up(trainer: Trainer) -> dict[str, float]:
        seen.append(weights(trainer))
        return {"loss": [3.0, 1.0, 2.0, 1.5][len(seen) - 1]}

    monkeypatch.setattr(Trainer, "_validate", made_up)
    checkpoint = train(config, tmp_path)
    assert same(dict(checkpoint.model.state_dict()), seen[1])
    assert not same(seen[1], seen[3])
    assert checkpoint.provenance["best_epoch"] == 2


def test_patience_ends_a_run(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    training = config.training.model_copy(update={"epochs": 20, "patience": 2})
    trainer = Trainer(config.model_copy(update={"training": training}), corpus, tmp_path)
    made_up = iter([1.0, 0.5, 0.6, 0.7, 0.1])
    trainer._validate = lambda: {"loss": next(made_up)}  # type: ignore[method-assign]
    trainer.run()
    assert (trainer.epoch, trainer.best_epoch) == (4, 2)


def test_a_run_that_diverges_says_so(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(config, corpus, tmp_path)
    trainer._validate = lambda: {"loss": float("nan")}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"smaller training\.learning_rate"):
        trainer.run()


# --- seeds and resuming ---------------------------------------------------------------------------------------------


def test_the_seed_decides_everything(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    ends = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        training = config.training.model_copy(update={"seed": seed, "epochs": 1})
        (tmp_path / name).mkdir()
        trainer = Trainer(config.model_copy(update={"training": training}), corpus, tmp_path / name)
        trainer.run()
        torch.rand(3)  # what others do with the generator must not matter
        ends.append(weights(trainer))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize("killed_in_batch", [1, 5, 9])
def test_a_killed_run_goes_on_exactly(
    config: SurrogateConfig, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in_batch: int
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = Trainer(config, corpus, tmp_path / "whole")
    whole.run()
    assert whole.batches * 4 > killed_in_batch

    real, calls = trainer_module.losses, 0

    def fatal(*arguments: Any) -> Any:
        nonlocal calls
        calls += torch.is_grad_enabled()  # validation batches do not count
        if calls == killed_in_batch:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(trainer_module, "losses", fatal)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, corpus, tmp_path / "killed").run()
    monkeypatch.setattr(trainer_module, "losses", real)
    torch.manual_seed(999)
    second = Trainer(config, corpus, tmp_path / "killed")
    assert second.resume() == (killed_in_batch > whole.batches)
    assert second.epoch == (killed_in_batch - 1) // whole.batches
    second.run()
    assert same(weights(second), weights(whole))
    assert same(second.best, whole.best)
    assert (second.best_loss, second.best_epoch) == (whole.best_loss, whole.best_epoch)
    assert str(second.optimizer.state_dict()) == str(whole.optimizer.state_dict())


def test_a_finished_run_is_not_trained_again(config: SurrogateConfig, tmp_path: Path) -> None:
    first = train(config, tmp_path / "run")
    state = (tmp_path / "run" / "state.pt").read_bytes()
    again = train(config, tmp_path / "run")
    assert same(first.model.state_dict(), again.model.state_dict())
    assert again.calibration == first.calibration
    assert (tmp_path / "run" / "state.pt").read_bytes() == state


def test_a_run_of_something_else_is_not_continued(
    config: SurrogateConfig, corpus: Corpus, small: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    training = config.training.model_copy(update={"epochs": 1})
    config = config.model_copy(update={"training": training})
    Trainer(config, corpus, run).run()
    assert Trainer(config, corpus, run).resume()
    slower = config.model_copy(update={"training": training.model_copy(update={"learning_rate": 1e-4})})
    with pytest.raises(ConfigError, match="another configuration, other data"):
        Trainer(slower, corpus, run).resume()
    more = write_rows(
        tmp_path / "more", [*make_rows(nmcf(), 300, "log"), make_row(nmcf(), sizings(nmcf(), 1, "log", 9)[0])]
    )
    grown = load_corpus(config.model_copy(update={"data": config.data.model_copy(update={"paths": (str(more),)})}))
    with pytest.raises(ConfigError, match="choose another --run"):
        Trainer(config, grown, run).resume()
    (run / "state.pt").write_bytes((run / "state.pt").read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"state\.pt is damaged"):
        Trainer(config, corpus, run).resume()


# --- optimisation ---------------------------------------------------------------------------------------------------


def test_every_epoch_sees_every_row_in_another_order(
    config: SurrogateConfig, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config, corpus, tmp_path)
    seen: list[torch.Tensor] = []
    real = trainer_module.losses

    def recorded(prediction: Any, batch: Any, training: Any) -> Any:
        seen.append(batch.features[:, 0, 0].clone())
        return real(prediction, batch, training)

    monkeypatch.setattr(trainer_module, "losses", recorded)
    epochs = []
    for epoch in range(2):
        trainer.epoch = epoch
        seen.clear()
        trainer._train_epoch()
        epochs.append(torch.cat(seen))
    rows = trainer.batches * config.training.batch_size
    assert len(corpus.train) - config.training.batch_size < rows <= len(corpus.train)
    for order in epochs:
        assert len(order.unique()) == rows
    assert not torch.equal(*epochs)


def test_the_learning_rate_warms_up_and_decays_linearly(
    config: SurrogateConfig, corpus: Corpus, tmp_path: Path
) -> None:
    training = config.training.model_copy(update={"warmup_steps": 4, "learning_rate": 1e-3})
    trainer = Trainer(config.model_copy(update={"training": training}), corpus, tmp_path)
    rates: list[float] = []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run()
    steps = trainer.batches * training.epochs
    assert len(rates) == steps
    expected = [1e-3 * min((step + 1) / 4, 1.0) * (1.0 - step / steps) for step in range(steps)]
    assert rates == pytest.approx(expected)


def test_gradients_are_clipped(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    norms = []
    for clip in (1e-3, 1e9):
        training = config.training.model_copy(update={"clip": clip})
        trainer = Trainer(config.model_copy(update={"training": training}), corpus, tmp_path)
        trainer._train_epoch()
        gradients = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
        norms.append(torch.cat(gradients).norm().item())
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1] > 0.01


def test_biases_and_norms_do_not_decay(config: SurrogateConfig, corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(config, corpus, tmp_path)
    decayed, free = trainer.optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (config.training.weight_decay, 0.0)
    groups = {id(p): group["weight_decay"] for group in (decayed, free) for p in group["params"]}
    for name, parameter in trainer.model.named_parameters():
        is_free = name.endswith(("bias", "ffn.0.weight")) or "norm" in name
        assert (groups.pop(id(parameter)) == 0.0) == is_free, name
    assert not groups


# --- fine-tuning ----------------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_a_checkpoint(trained: tuple[Checkpoint, Path], small: Path, tmp_path: Path) -> None:
    first, folder = trained
    training = {"epochs": 1, "learning_rate": 1e-6}
    file = write_config(tmp_path / "tuned.yaml", [small], training=training, model={"structure_layers": 0})
    tuned = train(read_config(file), tmp_path / "run", folder / "tiny.safetensors")
    assert tuned.normaliser == first.normaliser  # the scales are part of the model
    assert list(tuned.topologies.values()) == ["nmcf"]
    assert tuned.provenance["initial"] == str(folder / "tiny.safetensors")
    for name, tensor in first.model.state_dict().items():
        torch.testing.assert_close(tuned.model.state_dict()[name], tensor, rtol=0, atol=1e-3)
    scratch = train(read_config(file), tmp_path / "scratch")
    assert not torch.allclose(scratch.model.queries, first.model.queries, atol=1e-3)
    with pytest.raises(ConfigError, match="another initial checkpoint"):
        train(read_config(file), tmp_path / "run")


def test_fine_tuning_keeps_the_model(trained: tuple[Checkpoint, Path], small: Path, tmp_path: Path) -> None:
    _, folder = trained
    file = write_config(tmp_path / "tuned.yaml", [small], model={"dim": 32, "structure_layers": 0, "layers": 3})
    with pytest.raises(ConfigError, match="the initial checkpoint has another dim, layers;"):
        train(read_config(file), tmp_path / "run", folder / "tiny.safetensors")


# --- prediction ------------------------------------------------------------------------------------------------------


def test_predictions_of_many_rows_are_those_of_few(corpus: Corpus, config: SurrogateConfig, tmp_path: Path) -> None:
    trainer = Trainer(config, corpus, tmp_path)
    whole = predict_all(trainer.model, corpus.topology, corpus.train)
    few = predict_all(trainer.model, corpus.topology, corpus.train[torch.arange(5)])
    assert len(whole.validity) == len(corpus.train)
    torch.testing.assert_close(whole.metrics[:5], few.metrics, rtol=1e-4, atol=1e-5)
    assert not trainer.model.training
