"""The models that a sceptic names, trained on the same rows as the surrogate and calibrated by the same code.

- `mlp`: a multilayer perceptron on the sizing's features, one per circuit.
- `trees`: histogram gradient-boosted trees (scikit-learn), one ensemble per circuit and target.
- `gnn`: a plain message-passing network on the same pin graph, one for all circuits.
- `gp`: Gaussian processes on a subset of the rows, one per circuit and target.
- `sentinel`: the paper's alternative to a validity head, one regression that emits the sentinel 1e9 for failures; how
  close the answer is to the sentinel says how likely the sizing is to fail.

All see the logarithmic features of the surrogate (`group_features`), and the networks its loss with early stopping on
validation rows, auxiliary targets included. Targets are normalised by the same scales. None ever sees a test row.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from surrogate_networks import Effort, GraphNetwork, Perceptron, Raw, ask_network, train_network
from tqdm import tqdm

from surrogate.config import TrainingConfig
from surrogate.data import Batch, Normaliser, Rows, to_batch
from surrogate.graph import N_FEATURES, group_features
from zsgym.circuits import Circuit

FloatArray = NDArray[np.float64]

SENTINEL = 1e9
"""Every metric of a failed sample in the published format."""

Model = Callable[[Circuit, FloatArray], Raw]
"""A fitted baseline: sizing vectors (n, p) of a circuit in declared units -> raw answers."""


QUICK = Effort(epochs=8, graph_epochs=2, tree_rounds=40, gp_rows=200, gp_tuning_rows=60)
"""Just enough to see that everything runs."""


def fit_mlp(train: Sequence[Rows], validation: Sequence[Rows], scales: Normaliser, effort: Effort) -> Model:
    """A perceptron with three hidden layers and one output for validity and for every target."""

    def fit(rows: Rows, held_out: Rows) -> Model:
        return _fit_perceptron("mlp", rows, held_out, scales, effort, TrainingConfig())

    return _per_circuit(fit, train, validation)


def fit_sentinel(train: Sequence[Rows], validation: Sequence[Rows], scales: Normaliser, effort: Effort) -> Model:
    """A perceptron that regresses metrics only; those of a failure are the sentinel, clipped as any target is.

    Clipping is kind to it: unclipped, 1e9 dB lies so far away that working amplifiers all look the same.
    """
    sentinel = np.array([float(scale.normalise(np.array([SENTINEL]))[0]) for scale in scales.metrics])
    config = TrainingConfig(lambda_valid=0.0, lambda_auxiliary=0.0)

    def mark(batch: Batch) -> Batch:
        works = batch.valid.unsqueeze(-1) > 0.5
        metrics = torch.where(works, batch.metrics, torch.from_numpy(sentinel).float())
        return replace(batch, metrics=metrics, metrics_known=torch.where(works, batch.metrics_known, 1.0))

    def fit(rows: Rows, held_out: Rows) -> Model:
        model = _fit_perceptron("sentinel", rows, held_out, scales, effort, config, mark)

        def answer(circuit: Circuit, vectors: FloatArray) -> Raw:
            metrics = model(circuit, vectors).metrics
            return Raw((sentinel / 2.0 - metrics).mean(axis=1), metrics)

        return answer

    return _per_circuit(fit, train, validation)


def fit_gnn(train: Sequence[Rows], validation: Sequence[Rows], scales: Normaliser, effort: Effort) -> Model:
    """Message passing over nets, devices and the global node of the pin graph."""
    torch.manual_seed(effort.seed)
    circuits = [rows.circuit for rows in train]
    network = GraphNetwork(circuits)
    learnt, held_out = ([to_batch([rows], scales) for rows in side] for side in (train, validation))
    train_network(network, learnt, held_out, TrainingConfig(), effort.graph_epochs, effort, "gnn")
    names = [circuit.name for circuit in circuits]

    def answer(circuit: Circuit, vectors: FloatArray) -> Raw:
        return ask_network(network, names.index(circuit.name), group_features(circuit, torch.from_numpy(vectors)))

    return answer


def fit_trees(train: Sequence[Rows], validation: Sequence[Rows], scales: Normaliser, effort: Effort) -> Model:
    """Gradient-boosted trees; they stop early on a part of the training rows that they split off themselves."""
    options: dict[str, Any] = {
        "max_iter": effort.tree_rounds,
        "learning_rate": 0.08,
        "early_stopping": True,
        "n_iter_no_change": 20,
        "validation_fraction": 0.05,
        "random_state": effort.seed,
    }

    def fit(rows: Rows, _: Rows) -> Model:
        inputs = tabular(rows.circuit, rows.vectors)
        classifier = HistGradientBoostingClassifier(**options).fit(inputs, rows.valid)
        regressors = [
            HistGradientBoostingRegressor(**options).fit(inputs[known], target[known])
            for target, known in _targets(rows, scales, f"trees, {rows.circuit.name}")
        ]

        def answer(circuit: Circuit, vectors: FloatArray) -> Raw:
            x = tabular(circuit, vectors)
            return Raw(classifier.decision_function(x), np.stack([r.predict(x) for r in regressors], axis=1))

        return answer

    return _per_circuit(fit, train, validation)


def fit_gp(train: Sequence[Rows], validation: Sequence[Rows], scales: Normaliser, effort: Effort) -> Model:
    """Gaussian processes with one length scale per size (Matern 5/2), on a random subset of the rows.

    The kernel is tuned on a part of the subset, because the cost of tuning grows with the cube of the rows.
    """

    def fit(rows: Rows, _: Rows) -> Model:
        order = np.random.default_rng(effort.seed).permutation(len(rows.vectors))
        inputs = tabular(rows.circuit, rows.vectors, derived=False)
        kernel = ConstantKernel(1.0) * Matern(np.ones(inputs.shape[1]), (0.05, 100.0), nu=2.5)
        classifier = _fit_process(
            lambda **options: GaussianProcessClassifier(**options), kernel, inputs[order], rows.valid[order], effort
        )
        working = order[rows.valid[order]]
        regressors = []
        for target, known in _targets(rows, scales, f"gp, {rows.circuit.name}"):
            chosen = working[known[working]]
            regressors.append(
                _fit_process(
                    lambda **options: GaussianProcessRegressor(normalize_y=True, **options),
                    kernel + WhiteKernel(0.1),
                    inputs[chosen],
                    target[chosen],
                    effort,
                )
            )

        def answer(circuit: Circuit, vectors: FloatArray) -> Raw:
            x = tabular(circuit, vectors, derived=False)
            p = np.clip(classifier.predict_proba(x)[:, 1], 1e-9, 1.0 - 1e-9)
            return Raw(np.log(p / (1.0 - p)), np.stack([r.predict(x) for r in regressors], axis=1))

        return answer

    return _per_circuit(fit, train, validation)


BASELINES: dict[str, Callable[[Sequence[Rows], Sequence[Rows], Normaliser, Effort], Model]] = {
    "mlp": fit_mlp,
    "trees": fit_trees,
    "gnn": fit_gnn,
    "gp": fit_gp,
    "sentinel": fit_sentinel,
}
"""Name -> function that fits it on training rows, with validation rows for early stopping."""


def tabular(circuit: Circuit, vectors: FloatArray, derived: bool = True) -> FloatArray:
    """Features of a sizing as one row (n, d): logarithms of all sizes and, if `derived`, ratios and areas."""
    features = group_features(circuit, torch.from_numpy(np.ascontiguousarray(vectors))).double().numpy()
    columns = [
        features[:, index, : 1 if (devices[0].kind not in ("nmos", "pmos")) else N_FEATURES if derived else 3]
        for index, devices in enumerate(circuit.groups.values())
    ]
    return np.concatenate(columns, axis=1)


def _per_circuit(fit: Callable[[Rows, Rows], Model], train: Sequence[Rows], validation: Sequence[Rows]) -> Model:
    """One model for each circuit, as one."""
    models = {rows.circuit.name: fit(rows, held_out) for rows, held_out in zip(train, validation, strict=True)}
    return lambda circuit, vectors: models[circuit.name](circuit, vectors)


def _targets(rows: Rows, scales: Normaliser, label: str) -> Iterable[tuple[FloatArray, NDArray[np.bool_]]]:
    """Every metric on its normalised scale, and where it is defined."""
    columns = [scale.normalise(rows.measured[:, k]) for k, scale in enumerate(scales.metrics)]
    return tqdm([(column, np.isfinite(column)) for column in columns], desc=label, unit="metric", leave=False)


def _fit_process(
    make: Callable[..., Any], kernel: Any, inputs: FloatArray, targets: NDArray[Any], effort: Effort
) -> Any:
    """Tune the kernel on few rows, then rest on more."""
    few, many = effort.gp_tuning_rows, effort.gp_rows
    with warnings.catch_warnings():
        # A length scale at its upper bound says that this size does not matter, which is as it may be.
        warnings.simplefilter("ignore", ConvergenceWarning)
        tuned = make(kernel=kernel, random_state=effort.seed).fit(inputs[:few], targets[:few]).kernel_
    return make(kernel=tuned, optimizer=None, random_state=effort.seed).fit(inputs[:many], targets[:many])


def _fit_perceptron(
    label: str,
    rows: Rows,
    held_out: Rows,
    scales: Normaliser,
    effort: Effort,
    config: TrainingConfig,
    mark: Callable[[Batch], Batch] = lambda batch: batch,
) -> Model:
    torch.manual_seed(effort.seed)
    learnt, stopping = (
        replace(mark(to_batch([r], scales)), features=torch.from_numpy(tabular(r.circuit, r.vectors)).float())
        for r in (rows, held_out)
    )
    network = Perceptron(learnt.features.shape[1])
    train_network(network, [learnt], [stopping], config, effort.epochs, effort, f"{label}, {rows.circuit.name}")
    return lambda circuit, vectors: ask_network(network, 0, torch.from_numpy(tabular(circuit, vectors)).float())
