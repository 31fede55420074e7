"""What one sub-environment is in after a reset or a step: an immutable record, and the `info` made from it.

States are never changed, only replaced once everything about the new one is known (simulated, judged, logged). A
simulator that fails in the middle of a step therefore leaves the environment exactly where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.envs.observation import observation
from zsgym.metrics import METRIC_NAMES
from zsgym.outcome import Outcome
from zsgym.specs import meets_all, spec_margins


@dataclass(frozen=True)
class State:
    """One simulated sizing of an episode, judged.

    episode: counts from 0 over all sub-environments of one core. step: 0 after a reset. seed: what the last seeded
    reset was given. unit: normalised sizing, float64, shape (parameters,). sizing: the same in declared units.
    targets: SI units. step_limit: where an episode is truncated, as far as it is known here. action: the clipped action
    that led here, shape (parameters,), None after a reset. earlier_rewards: of the same episode.
    """

    episode: int
    step: int
    seed: int | None
    unit: NDArray[np.float64]
    sizing: Mapping[str, float]
    targets: Mapping[str, float]
    outcome: Outcome
    failure_reward: float
    step_limit: int | None
    action: NDArray[np.float64] | None
    earlier_rewards: tuple[float, ...]

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """Metric -> SI value of a working amplifier, else None."""
        return self.outcome.metrics if self.outcome.success else None

    @cached_property
    def margins(self) -> Mapping[str, float]:
        """Spec -> margin in [-1, 1]; -1 for every spec of an amplifier that does not work."""
        if self.metrics is None:
            return dict.fromkeys(self.targets, -1.0)
        return spec_margins(self.metrics, self.targets)

    @cached_property
    def reward_terms(self) -> Mapping[str, float]:
        """What the reward of this sizing consists of: one term per metric and `failure`. Their sum is the reward."""
        terms = dict.fromkeys(METRIC_NAMES, 0.0)
        if self.metrics is not None:
            terms |= {name: min(margin, 0.0) for name, margin in self.margins.items()}
        return terms | {"failure": 0.0 if self.outcome.success else self.failure_reward}

    @cached_property
    def reward(self) -> float:
        """The failure reward, or for a working amplifier the sum of its missed margins (0 when every spec is met)."""
        return sum(self.reward_terms.values(), 0.0)

    @property
    def rewards(self) -> tuple[float, ...]:
        """Rewards of the episode's steps so far; the reset has none."""
        return self.earlier_rewards if self.step == 0 else (*self.earlier_rewards, self.reward)

    @property
    def is_success(self) -> bool:
        """True when the amplifier works and meets every spec."""
        return self.outcome.success and meets_all(self.margins)

    @property
    def terminated(self) -> bool:
        """True when a step (never a reset) has reached a sizing that meets every spec."""
        return self.step > 0 and self.is_success

    @property
    def truncated(self) -> bool:
        """True when the step limit is reached."""
        return self.step_limit is not None and self.step >= self.step_limit

    @property
    def done(self) -> bool:
        """True when the episode is over."""
        return self.terminated or self.truncated

    @property
    def failure(self) -> str:
        """Why the amplifier does not work, or an empty string."""
        return "" if self.outcome.failure is None else str(self.outcome.failure)

    def observation(self) -> NDArray[np.float32]:
        """A new observation vector, see `zsgym.envs.observation`."""
        return observation(self.unit, self.metrics, self.margins)

    def info(self) -> dict[str, Any]:
        """A new `info`: always the same keys and types, finite numbers only, nothing that a seed does not reproduce.

        Types are fixed because a vector environment gives a whole column the type of the first entry that it sees.
        Metrics of an amplifier that does not work are 0.0: `sim_success` says whether they mean anything.
        """
        metrics = self.metrics or {}
        return {
            "sizing": {name: float(value) for name, value in self.sizing.items()},
            "metrics": {name: float(metrics.get(name, 0.0)) for name in METRIC_NAMES},
            "margins": {name: self.margins.get(name, 0.0) for name in METRIC_NAMES},
            "reward_terms": dict(self.reward_terms),
            "is_success": self.is_success,
            "sim_success": self.outcome.success,
            "failure": self.failure,
        }
