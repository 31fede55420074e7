"""What a model, corrected by every simulation so far, believes about a sizing: the probability that it is feasible.

The model (`zsgym.sizing.models`) predicts each metric on its normalised scale with an error whose spread it states, and
the probability that the amplifier works at all. A Gaussian process over logarithmic positions carries the *residuals*
seen in simulations to the neighbourhood of the simulated sizings (prior mean: the model is right), as in Bayesian
optimisation with constraints (J. Gardner et al., ICML 2014). The objective

    log P(feasible) = log p_valid + sum over specs of log P(spec is met)

is smooth, aims at a margin in proportion to the doubt about each metric, and needs no weights. Everything is
differentiable with respect to the sizing.

Axes: B sizings, n parameters, K metrics, N simulated designs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zsgym.base.errors import ConfigError
from zsgym.circuits import Circuit
from zsgym.classes import Better, Metric
from zsgym.sizing.models import LearntModel, Scale
from zsgym.sizing.problem import Design
from zsgym.sizing.scale import LogScale
from zsgym.sizing.score import score

FloatArray = NDArray[np.float64]

_LENGTH = 0.25
"""Length scale of residuals: root mean square difference of logarithmic positions."""
_NUGGET = 0.02
"""Share of a residual's variance that no neighbour knows."""
_PRIOR_ROWS = 4.0
"""How many residuals the stated spread of a metric counts for when the seen ones say otherwise."""
_MOST_ROWS = 256
"""Designs that a belief learns from at most: the work grows with their cube."""
_DECIDED = 2.0
"""Validity logit that a simulated sizing is pulled to: a probability of 0.88 or 0.12."""


class Belief:
    """Belief about one circuit's feasibility under some targets.

    :param model: one that was trained on this circuit, best: what any other says is a guess.
    :param targets: metric -> target in SI units.
    :raises ConfigError: a target of an optional metric, which no model predicts.
    """

    def __init__(self, model: LearntModel, circuit: Circuit, targets: Mapping[str, float]) -> None:
        self.circuit, self.scale = circuit, LogScale.of(circuit)
        self._model = model.of(circuit)
        self._spread, self._transforms = self._model.spread, self._model.scales
        metrics = circuit.circuit_class.metrics
        if unknown := [name for name in targets if name not in metrics.names]:
            raise ConfigError(
                f"a model knows nothing of {', '.join(unknown)}: search ngspice (the method cma-es), or drop the spec"
            )
        self._columns = [metrics.names.index(name) for name in targets]
        self._sides = [
            _sides(metrics[name], target, self._transforms[column])
            for column, (name, target) in zip(self._columns, targets.items(), strict=True)
        ]
        self._low = torch.from_numpy(self.scale.low)
        self._span = torch.from_numpy(np.log(self.scale.high / self.scale.low))
        self.is_count = torch.tensor([parameter.integer for parameter in circuit.parameters])
        self._residuals = Residuals(self._spread)
        self.searched: Literal["surrogate"] = "surrogate"
        """What its evaluations are of."""
        self.evaluations = 0
        """Positions that it was asked about so far."""
        self.climb: list[tuple[int, float]] = []
        """(evaluations, logarithm of the probability) whenever a position was more promising than all others since the
        last correction: what a search has found so far."""
        self.choices: list[tuple[int, float]] = []
        """(evaluations, probability of being feasible) of every design at the time when it was simulated."""
        self._most_promising = -math.inf

    def log_feasibility(self, positions: Tensor) -> Tensor:
        """(B,) logarithm of the probability of being feasible.

        :param positions: (B, n) logarithmic positions (see `LogScale`), float64; counts need not be whole.
        """
        value = self._log_feasibility(positions)
        self.evaluations += len(value)
        best = float(value.detach().amax()) if len(value) else -math.inf
        if best > self._most_promising:
            self._most_promising = best
            self.climb.append((self.evaluations, best))
        return value

    def _log_feasibility(self, positions: Tensor) -> Tensor:
        logit, metrics = self._predict(positions)
        mean, spread, shift = self._residuals(positions)
        value = torch.nn.functional.logsigmoid(logit + shift)
        metrics = metrics + mean
        for column, sides in zip(self._columns, self._sides, strict=True):
            for sign, target in sides:
                value = value + torch.special.log_ndtr(sign * (metrics[:, column] - target) / spread[:, column])
        return value

    def note_choice(self, design: Design) -> None:
        """Keep what is believed of a design that was just simulated, before anything is learnt from it."""
        positions = torch.from_numpy(self.scale.positions(design.point[None]))
        with torch.no_grad():
            self.choices.append((self.evaluations, float(self._log_feasibility(positions).exp())))

    def rounded(self, positions: Tensor) -> Tensor:
        """The same positions with every count moved to the nearest whole number."""
        values = self._low * torch.exp(self._span * positions)
        whole = torch.log(values.round().clamp(min=1.0) / self._low) / self._span
        return torch.where(self.is_count, whole, positions)

    def learn(self, designs: Sequence[Design]) -> None:
        """Correct the belief by simulated designs (of ngspice): all that were ever simulated, each time.

        Of many, those with the best scores count.
        """
        designs = sorted(designs, key=score, reverse=True)[:_MOST_ROWS]
        points = np.array([design.point for design in designs]).reshape(len(designs), -1)
        positions = torch.from_numpy(self.scale.positions(points))
        with torch.no_grad():
            logit, predicted = self._predict(positions)
        truth = torch.from_numpy(np.array([self._measured(design) for design in designs]))  # (N, K)
        works = torch.tensor([design.outcome.success for design in designs])
        surprise = torch.where(works, (_DECIDED - logit).clamp(min=0.0), (-_DECIDED - logit).clamp(max=0.0))
        self._residuals = Residuals(self._spread, positions, truth - predicted, surprise)
        self._most_promising = -math.inf

    def _predict(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated validity logits (B,) and normalised metrics (B, K) of the model alone, float64."""
        values = self._low * torch.exp(self._span * positions)
        return self._model.predict(values)

    def _measured(self, design: Design) -> FloatArray:
        """(K,) normalised metrics of a simulated design, NaN where it has none."""
        known = self._model.measured(design.outcome)
        values = [known.get(name) for name in self.circuit.circuit_class.metrics.names]
        physical = np.array([math.nan if value is None else value for value in values])
        return np.array([t.normalise(v) for t, v in zip(self._transforms, physical[:, None], strict=True)]).ravel()


class Residuals:
    """Gaussian process of (simulated - predicted) metrics and validity logits.

    :param spread: (K,) standard deviation of the model's errors. :param positions: (N, n) of simulated designs.
    :param residual: (N, K), NaN where nothing was measured. :param surprise: (N,) of the validity logit.
    """

    def __init__(
        self,
        spread: Tensor,
        positions: Tensor | None = None,
        residual: Tensor | None = None,
        surprise: Tensor | None = None,
    ) -> None:
        self._spread = spread
        self._positions = positions
        if positions is None or residual is None or surprise is None:
            return
        known = residual.isfinite()
        residual = torch.where(known, residual, 0.0)
        rows = known.sum(dim=0)
        self._spread = ((_PRIOR_ROWS * spread**2 + (residual**2).sum(dim=0)) / (_PRIOR_ROWS + rows)).sqrt()
        # What was not measured is a measurement with an enormous error.
        error = torch.where(known, _NUGGET, 1e6).T  # (K, N)
        everything = torch.cat([error, torch.full_like(error[:1], _NUGGET)])  # (K + 1, N)
        covariance = _kernel(positions, positions) + torch.diag_embed(everything)  # (K + 1, N, N)
        self._inverse = torch.linalg.inv(covariance)
        values = torch.cat([residual.T, surprise[None]])  # (K + 1, N)
        self._weights = (self._inverse @ values.unsqueeze(-1)).squeeze(-1)  # (K + 1, N)

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and spread (B, K) of the metrics' residuals, and the shift (B,) of the validity logit."""
        if self._positions is None:
            spread = self._spread.expand(len(positions), -1)
            return torch.zeros_like(spread), spread, torch.zeros(len(positions), dtype=torch.float64)
        near = _kernel(positions, self._positions)  # (B, N)
        mean = near @ self._weights.T  # (B, K + 1)
        explained = torch.einsum("bi,kij,bj->bk", near, self._inverse[:-1], near)  # (B, K)
        spread = self._spread * (1.0 + _NUGGET - explained).clamp(min=_NUGGET).sqrt()
        return mean[:, :-1], spread, mean[:, -1]


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """(A, B) correlation of residuals: squared exponential in the root mean square difference of positions."""
    squared = ((a.unsqueeze(1) - b.unsqueeze(0)) ** 2).mean(dim=-1)
    return torch.exp(-0.5 * squared / _LENGTH**2)


def _sides(metric: Metric, target: float, scale: Scale) -> list[tuple[float, float]]:
    """Conditions `sign * (metric - bound) >= 0` on the normalised scale that a spec amounts to."""
    sign = 1.0 if metric.higher_is_better else -1.0
    bounds = [(sign, target)]
    if metric.better is Better.LOW_MAGNITUDE:
        bounds = [(-1.0, abs(target)), (1.0, -abs(target))]
    return [(sign, float(scale.normalise(np.array(bound)))) for sign, bound in bounds]
