"""What happens during training besides learning: curves, verification in ngspice, a progress bar."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, Logger
from tqdm import tqdm

from zsgym.classes.specs import FAILURE_REWARD
from zsgym.training.archive import Archive
from zsgym.training.rehearsal import Rehearsal
from zsgym.training.verification import Verified, Verifier

FloatArray = NDArray[np.float64]

_EPISODES = 256
_WORTH = 0.05
"""With `stop`, simulations are scarce: during training a design needs this probability of being feasible."""


class StopTraining(Exception):  # noqa: N818 (a signal, like StopIteration)
    """Training ends here, in good order; the reason is its message."""


def due(callback: BaseCallback, every: int) -> bool:
    """True when a multiple of `every` steps was passed within the last rollout."""
    assert isinstance(callback.model, PPO)
    steps, rollout = callback.num_timesteps, callback.model.n_steps * callback.model.n_envs
    return steps // every > (steps - rollout) // every


class Curves(BaseCallback):
    """TensorBoard scalars of every rollout; fills the archive of the best designs.

    `sizing/success_rate` (share of the last finished episodes that met every spec), `sizing/validity_rate` (share of
    sizings that work), `sizing/reward` and `sizing/reward_working` (mean reward of the environment), `margins/<metric>`
    (mean margin of the working sizings). Success is judged by the targets of the episode, all else by the archive's.
    """

    def __init__(self, archive: Archive) -> None:
        super().__init__()
        self.archive = archive
        self._worked = self._simulated = 0
        self._margins: list[FloatArray] = []
        # Failing episodes last longest and end together: a single rollout would show one kind, then the other.
        self._successes: deque[bool] = deque(maxlen=_EPISODES)

    def _on_rollout_start(self) -> None:
        self._worked = self._simulated = 0
        self._margins = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        margins = self.archive.offer(infos)
        self._simulated += len(infos)
        self._worked += len(margins)
        self._successes += [infos[i]["is_success"] for i in np.flatnonzero(self.locals["dones"])]
        self._margins.append(margins)
        return True

    def _on_rollout_end(self) -> None:
        record = self.logger.record
        record("sizing/validity_rate", self._worked / max(self._simulated, 1))
        record("sizing/archive_feasible", self.archive.feasible)
        if self._successes:
            record("sizing/success_rate", float(np.mean(self._successes)))
        if not self._worked:
            return
        margins = np.concatenate(self._margins)
        rewards = np.minimum(margins, 0.0).sum(axis=1)
        failed = FAILURE_REWARD * (self._simulated - self._worked)
        record("sizing/reward", (rewards.sum() + failed) / self._simulated)
        record("sizing/reward_working", rewards.mean())
        for name, mean in zip(self.archive.specs, margins.mean(axis=0), strict=True):
            record(f"margins/{name}", mean)


class Verification(BaseCallback):
    """Every so many steps, the most promising designs in ngspice, and how far the surrogate was off.

    `spice/calls`, `spice/best_reward`, `spice/confirmed` (share of the verified designs that are feasible in ngspice
    among those that the surrogate calls feasible), `gap/reward` and `gap/<metric>` (mean of ngspice minus surrogate, in
    reward and in spec margins) over the designs of this evaluation. The figure `spice/best_design`, where matplotlib is
    installed, shows the margins of the best design so far in ngspice and on the surrogate.

    :param rehearsal: finds designs beside those of the training. :param k: designs at a time.
    :param stop: raise `StopTraining` once a design is confirmed or the budget is spent.
    """

    def __init__(
        self, verifier: Verifier, archive: Archive, rehearsal: Rehearsal | None, every: int, k: int, stop: bool
    ) -> None:
        super().__init__()
        self.verifier, self.archive, self._rehearsal = verifier, archive, rehearsal
        self._every, self._k, self._stop = every, k, stop

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not due(self, self._every):
            return
        # Before anything is predicted to be feasible, one simulation is enough to see how far predictions are off.
        self._verify(None, _WORTH if self._stop else 0.0)

    def _on_rollout_start(self) -> None:
        if not self._stop:
            return
        if self.verifier.confirmed:
            raise StopTraining("a design meets every spec in ngspice")
        if self.verifier.remaining == 0:
            raise StopTraining("the budget of ngspice simulations is spent")

    def last(self) -> None:
        """Verify when training has ended, unless it ended with what it was for."""
        if self._stop and self.verifier.confirmed:
            return
        self._verify((self.verifier.remaining if self._stop else None) or self._k, 0.0)
        self.logger.dump(self.model.num_timesteps)

    def _verify(self, k: int | None, least: float) -> None:
        if self._rehearsal is not None and isinstance(self.model, PPO):
            self._rehearsal(self.model, self.archive)
        k = k or (self._k if self.archive.feasible else 1)
        new = self.verifier.verify(self.archive, k, self.model.num_timesteps, every=not self._stop, least=least)
        record(self.logger, self.verifier, new)


def record(logger: Logger, verifier: Verifier, new: list[Verified]) -> None:
    """What TensorBoard shows of one verification (see `Verification`). :param new: the designs of this one."""
    for name, value in verifier.scalars(new).items():
        logger.record(name, value)
    if verifier.best is None:
        return
    try:
        from zsgym.training.figures import margin_figure
    except ImportError:  # matplotlib is optional
        return
    figure = Figure(margin_figure(verifier.best, verifier.truth.circuit, verifier.truth.targets), close=True)
    logger.record("spice/best_design", figure, exclude=("stdout", "log", "json", "csv"))


class Progress(BaseCallback):
    """A progress bar with the success rate in training and the best reward that ngspice confirmed.

    :param total: steps of the whole run.
    """

    def __init__(self, total: int, verifier: Verifier, quiet: bool = False) -> None:
        super().__init__()
        self._total, self._verifier, self._quiet = total, verifier, quiet
        self._bar = tqdm(disable=True)

    def _on_training_start(self) -> None:
        self._bar = tqdm(
            total=self._total, initial=self.num_timesteps, unit="step", desc="training", disable=self._quiet or None
        )

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        return True

    def _on_rollout_end(self) -> None:
        seen = self.logger.name_to_value
        shown = {"works": f"{seen['sizing/validity_rate']:.0%}", "success": f"{seen.get('sizing/success_rate', 0):.0%}"}
        if self._verifier.best is not None:
            shown["spice"] = f"{self._verifier.best.measured.reward:.3f}"
        self._bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
