"""The training loop: deterministic, resumable after every epoch, with curves for TensorBoard."""

import io
import pickle
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from surrogate.calibration import cross_entropy, fit_temperature
from surrogate.checkpoint import Checkpoint
from surrogate.config import SurrogateConfig, TrainingConfig
from surrogate.corpus import Corpus
from surrogate.data import AUXILIARY, Batch
from surrogate.graph import Topology
from surrogate.losses import losses
from surrogate.model import ModelConfig, Prediction, SurrogateModel
from surrogate.scores import auroc, r_squared
from zsgym.base.errors import ConfigError
from zsgym.base.files import new_file
from zsgym.classes.amplifier import METRICS

_CHUNK = 512


class Trainer:
    """One training run; its whole state is saved after every epoch."""

    def __init__(
        self, config: SurrogateConfig, corpus: Corpus, folder: Path, initial: Checkpoint | None = None
    ) -> None:
        torch.manual_seed(config.training.seed)
        self.config, self.corpus, self.folder = config, corpus, folder
        self.model = SurrogateModel(config.model, len(METRICS.names), len(AUXILIARY))
        if initial is not None:
            _check_same_model(initial.model.config, config.model)
            self.model.load_state_dict(initial.model.state_dict())
        self._identity = [corpus.digest, config.model_dump_json(), initial.sha256 if initial else ""]
        training = config.training
        self.batches = max(len(corpus.train) // training.batch_size, 1)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model, training.weight_decay), training.learning_rate, eps=1e-8, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, _warmup_and_decay(training, self.batches * training.epochs)
        )
        self.epoch, self.best_loss, self.best_epoch = 0, float("inf"), 0
        self.best: dict[str, Tensor] = {}

    def run(self, quiet: bool = False) -> None:
        """Train until the last epoch or until patience ends. Ctrl-C loses at most the current epoch.

        :param quiet: no line for every epoch, only the progress bar.
        :raises ConfigError: training diverged.
        """
        with SummaryWriter(str(self.folder)) as board:
            while self.epoch < self.config.training.epochs and not self._out_of_patience():
                started = time.perf_counter()
                train_loss = self._train_epoch()
                scores = self._validate()
                self.epoch += 1
                if scores["loss"] < self.best_loss:
                    self.best_loss, self.best_epoch = scores["loss"], self.epoch
                    self.best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
                self._save()
                scores |= {
                    "train_loss": train_loss,
                    "rows_per_s": len(self.corpus.train) / (time.perf_counter() - started),
                }
                for name, value in scores.items():
                    board.add_scalar(name, value, self.epoch)
                if not quiet:
                    seen = f"loss {train_loss:.4f} in training, {scores['loss']:.4f} in validation"
                    tqdm.write(f"epoch {self.epoch}: {seen}")
        if not self.best:
            raise ConfigError("the validation loss was never a finite number; choose a smaller training.learning_rate")

    def _train_epoch(self) -> float:
        self.model.train()
        training = self.config.training
        # Order and dropout depend on seed and epoch alone, so that a resumed run goes on exactly.
        torch.manual_seed(training.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.corpus.train))
        total = 0.0
        bar = tqdm(range(self.batches), desc=f"epoch {self.epoch + 1}/{training.epochs}", unit="batch", leave=False)
        for k in bar:
            batch = self.corpus.train[order[k * training.batch_size : (k + 1) * training.batch_size]]
            loss = losses(self.model(self.corpus.topology, batch.index, batch.features), batch, training).total
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
            self.optimizer.step()
            self.schedule.step()
            total += loss.item()
        return total / self.batches

    def _validate(self) -> dict[str, float]:
        batch = self.corpus.validation
        prediction = predict_all(self.model, self.corpus.topology, batch)
        parts = losses(prediction, batch, self.config.training)
        scores = {f"validation/{name}": float(value) for name, value in zip(parts._fields, parts, strict=True)}
        valid, logit = batch.valid.numpy() > 0.5, prediction.validity.double().numpy()
        # Late epochs are overconfident, which temperature scaling mends: epochs are compared as they will be used.
        calibrated = cross_entropy(logit, valid, fit_temperature(logit, valid))
        scores["validation/calibrated_validity"] = calibrated
        scores["loss"] = float(parts.total) + self.config.training.lambda_valid * (calibrated - float(parts.validity))
        scores["validation/auroc"] = auroc(valid, logit)
        for k, name in enumerate(METRICS.names):
            known = valid & (batch.metrics_known[:, k].numpy() > 0)
            truth, guess = (t[known, k].double().numpy() for t in (batch.metrics, prediction.metrics))
            scores[f"r2/{name}"] = r_squared(truth, guess)
        return scores

    def _out_of_patience(self) -> bool:
        return self.epoch - self.best_epoch >= self.config.training.patience

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "progress": [self.epoch, self.best_epoch, self.best_loss],
            "run": self._identity,
        }
        content = io.BytesIO()
        torch.save(state, content)
        with new_file(self.folder / "state.pt") as place:  # where torch would call a full disk an unexpected position
            place.write_bytes(content.getbuffer())

    def resume(self) -> bool:
        """Continue the run in the folder, if there is one.

        :raises ConfigError: it was another configuration, other data or another initial checkpoint.
        """
        place = self.folder / "state.pt"
        if not place.is_file():
            return False
        try:
            state = torch.load(place, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ConfigError(f"{place} is damaged: delete it to start again") from error
        if state["run"] != self._identity:
            raise ConfigError(
                f"{self.folder} holds a run with another configuration, other data or another initial checkpoint; "
                "choose another --run"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best = state["best"]
        self.epoch, self.best_epoch, self.best_loss = state["progress"]
        return True


def _check_same_model(initial: ModelConfig, wanted: ModelConfig) -> None:
    differing = [name for name in ModelConfig.model_fields if getattr(initial, name) != getattr(wanted, name)]
    if set(differing) - {"dropout"}:
        raise ConfigError(f"the initial checkpoint has another {', '.join(differing)}; fine-tuning keeps the model")


def predict_all(model: SurrogateModel, topology: Topology, batch: Batch) -> Prediction:
    """Predictions of any number of rows, in chunks."""
    model.eval()
    with torch.inference_mode():
        structure = model.encode_structure(topology)
        parts = [
            model.predict(structure, batch.index[start : start + _CHUNK], batch.features[start : start + _CHUNK])
            for start in range(0, len(batch), _CHUNK)
        ]
    return Prediction(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _parameter_groups(model: SurrogateModel, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices, embeddings and learned tokens; biases and norms are left alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _warmup_and_decay(training: TrainingConfig, steps: int) -> Any:
    warmup = max(training.warmup_steps, 1)
    return lambda step: min((step + 1) / warmup, 1.0) * max(1.0 - step / steps, 0.0)
