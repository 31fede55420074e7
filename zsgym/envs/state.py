"""One state of a sub-environment: an immutable record, and the `info` made from it.

States are never changed, only replaced once everything about the new one is known (simulated, judged, logged). A
simulator that fails in the middle of a step therefore leaves the environment exactly where it was. A batch is judged as
a whole, in arrays, because the surrogate answers faster than Python can loop; its states are rows of these arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.classes import Conditions, MetricSet
from zsgym.envs.observation import observations
from zsgym.simulators.outcome import Outcome

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one answer is worth; sequences are in the order of the circuit's metrics.

    metrics: SI units, 0 when the circuit does not work; an optional one that could not be determined has the bad end of
    its scale. margins: in [-1, 1]; 0 without a spec, -1 for every spec of
    a circuit that does not work. terms: what each margin adds to the reward. reward: their sum, or the failure
    reward. is_success: it works and meets every spec. observation: float32, see `zsgym.envs.observation`.
    """

    metrics: Sequence[float]
    margins: Sequence[float]
    terms: Sequence[float]
    reward: float
    is_success: bool
    observation: NDArray[np.float32]


def assess(
    metric_set: MetricSet,
    points: FloatArray,
    outcomes: Sequence[Outcome],
    targets: Sequence[Mapping[str, float]],
    failure_reward: float,
) -> list[Assessment]:
    """Judge a batch of answers.

    :param points: (B, parameters) normalised sizings. :param targets: of each, metric -> SI value.
    """
    works = np.array([outcome.success for outcome in outcomes])
    measured = [metric_set.row(outcome.metrics if outcome.success else None) for outcome in outcomes]
    metrics = np.array(measured, dtype=np.float64)  # (B, K)
    wanted = np.array([metric_set.row(specs) for specs in targets], dtype=np.float64)
    margins = np.where(works[:, None], metric_set.margin_table(metrics, wanted), -1.0)
    margins = np.where(np.isnan(wanted), 0.0, margins)
    terms = np.where(works[:, None], np.minimum(margins, 0.0), 0.0)
    rewards = np.zeros(len(works))
    for column in terms.T:  # one after the other, as adding up `reward_terms` does
        rewards += column
    rewards = np.where(works, rewards, failure_reward)
    seen = observations(metric_set, points, metrics, margins, wanted, works)
    return list(
        map(
            Assessment,
            np.where(works[:, None], np.where(np.isnan(metrics), metric_set.bad_ends, metrics), 0.0).tolist(),
            margins.tolist(),
            terms.tolist(),
            rewards.tolist(),
            (works & (margins >= 0.0).all(axis=1)).tolist(),
            seen,
        )
    )


@dataclass(frozen=True, slots=True)
class State:
    """One simulated sizing of an episode, judged.

    episode: counts from 0 over all sub-environments of one core. step: 0 after a reset. seed: what the last seeded
    reset was given. point: normalised sizing, float64, shape (parameters,). sizing: the same in declared units.
    conditions: under which it was simulated. metric_set: of the circuit's class.
    targets: SI units. step_limit: where an episode is truncated, as far as it is known here. action: the clipped action
    that led here, shape (parameters,), None after a reset. earlier_rewards: of the same episode.
    """

    episode: int
    step: int
    seed: int | None
    point: FloatArray
    sizing: Mapping[str, float]
    conditions: Conditions
    metric_set: MetricSet
    targets: Mapping[str, float]
    outcome: Outcome
    assessment: Assessment
    failure_reward: float
    step_limit: int | None
    action: FloatArray | None
    earlier_rewards: tuple[float, ...]

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """Metric -> SI value of a working circuit, else None."""
        return self.outcome.metrics if self.outcome.success else None

    @property
    def margins(self) -> Mapping[str, float]:
        """Spec -> margin in [-1, 1]; -1 for every spec of a circuit that does not work."""
        pairs = zip(self.metric_set.names, self.assessment.margins, strict=True)
        return {name: margin for name, margin in pairs if name in self.targets}

    @property
    def reward(self) -> float:
        """The failure reward, or for a working circuit the sum of its missed margins (0 when every spec is met)."""
        return self.assessment.reward

    @property
    def rewards(self) -> tuple[float, ...]:
        """Rewards of the episode's steps so far; the reset has none."""
        return self.earlier_rewards if self.step == 0 else (*self.earlier_rewards, self.reward)

    @property
    def is_success(self) -> bool:
        """True when the circuit works and meets every spec."""
        return self.assessment.is_success

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
        """Why the circuit does not work, or an empty string."""
        return "" if self.outcome.failure is None else str(self.outcome.failure)

    def as_row(self) -> dict[str, Any]:
        """What this state adds to the row of its answer in the sample log."""
        return {
            "episode": self.episode,
            "step": self.step,
            "action": None if self.action is None else self.action.tolist(),
            "reward": None if self.action is None else self.reward,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "targets": self.targets,
            "seed": self.seed,
        }

    def observation(self) -> NDArray[np.float32]:
        """A new observation vector, see `zsgym.envs.observation`."""
        return self.assessment.observation.copy()

    def info(self) -> dict[str, Any]:
        """A new `info`: always the same keys and types, finite numbers only, nothing that a seed does not reproduce.

        Types are fixed because a vector environment gives a whole column the type of the first entry that it sees.
        Metrics of a circuit that does not work are 0.0: `sim_success` says whether they mean anything.
        """
        judged = self.assessment
        works = self.outcome.success
        terms = dict(zip(self.metric_set.names, judged.terms, strict=True))
        terms["failure"] = 0.0 if works else self.failure_reward
        return {
            "sizing": dict(self.sizing),
            "metrics": dict(zip(self.metric_set.names, judged.metrics, strict=True)),
            "margins": dict(zip(self.metric_set.names, judged.margins, strict=True)),
            "reward_terms": terms,
            "is_success": judged.is_success,
            "sim_success": works,
            "failure": self.failure,
        }
