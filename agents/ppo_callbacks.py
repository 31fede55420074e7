"""What happens during training besides learning: curves, verification in ngspice, checkpoints, a clean interrupt."""

from __future__ import annotations

import pickle
import shutil
import signal
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from zsgym.errors import ConfigError, SampleLogError
from zsgym.metrics import METRIC_NAMES

from agents.ppo_designs import Archive, Verified, Verifier
from agents.ppo_play import Rehearsal, offer
from zsgym.circuits import Circuit

FloatArray = NDArray[np.float64]

MODEL, NORMALISATION, DESIGNS = "model.zip", "normalisation.pkl", "designs.pkl"
_KEPT = 2
_EPISODES = 256
_WORTH = 0.05
"""With `stop`, simulations are scarce: during training a design needs this probability of being feasible."""


class StopTraining(Exception):  # noqa: N818 (a signal, like StopIteration)
    """Training ends here, in good order; the reason is its message."""


def due(steps: int, rollout: int, every: int) -> bool:
    """True when a multiple of `every` steps was passed within the last rollout."""
    return steps // every > (steps - rollout) // every


class Curves(BaseCallback):
    """TensorBoard scalars of every rollout, and the archive of the best designs.

    `sizing/success_rate` (share of the last finished episodes that met every spec), `sizing/validity_rate` (share of
    sizings that work), `sizing/reward` and `sizing/reward_working` (mean reward of the environment), `margins/<metric>`
    (mean margin of the working sizings). Success is judged by the targets of the episode, all else by `targets`.
    """

    def __init__(self, circuit: Circuit, targets: Mapping[str, float], failure_reward: float, archive: Archive) -> None:
        super().__init__()
        self.archive = archive
        self._circuit, self._failure_reward = circuit, failure_reward
        self._specs = [name for name in METRIC_NAMES if name in targets]
        self._targets = targets
        self._worked = self._simulated = 0
        self._margins: list[FloatArray] = []
        # Failing episodes last longest and end together: a single rollout would show one kind, then the other.
        self._successes: deque[bool] = deque(maxlen=_EPISODES)

    def _on_rollout_start(self) -> None:
        self._worked = self._simulated = 0
        self._margins = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        margins = offer(self.archive, self._circuit, infos, self._targets)
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
        failed = self._failure_reward * (self._simulated - self._worked)
        record("sizing/reward", (rewards.sum() + failed) / self._simulated)
        record("sizing/reward_working", rewards.mean())
        for name, mean in zip(self._specs, margins.mean(axis=0), strict=True):
            record(f"margins/{name}", mean)


class Verification(BaseCallback):
    """Every so many steps, the most promising designs in ngspice, and how far the surrogate was off.

    `spice/calls`, `spice/best_reward`, `spice/confirmed` (share of the verified designs that are feasible in ngspice
    among those that the surrogate calls feasible), `gap/reward` and `gap/<metric>` (mean of ngspice minus surrogate, in
    reward and in spec margins) over the designs of this evaluation. The figure `spice/best_design`, where matplotlib is
    installed, shows the margins of the best design so far in ngspice and on the surrogate.

    :param rehearsal: finds designs beside those of the training.
    :param stop: raise `StopTraining` once a design is confirmed or the budget is spent.
    """

    def __init__(
        self,
        verifier: Verifier,
        archive: Archive,
        rehearsal: Rehearsal | None,
        rollout: int,
        every: int,
        k: int,
        stop: bool,
    ) -> None:
        super().__init__()
        self.verifier, self.archive, self._rehearsal = verifier, archive, rehearsal
        self._rollout, self._every, self._k, self._stop = rollout, every, k, stop

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not due(self.num_timesteps, self._rollout, self._every):
            return
        if self._rehearsal is not None and isinstance(self.model, PPO):
            self._rehearsal(self.model, self.archive)
        # Before the surrogate calls anything feasible, one simulation is enough to see how far it is off.
        k = self._k if self.archive.feasible else 1
        least = _WORTH if self._stop else 0.0
        new = self.verifier.verify(self.archive, k, self.num_timesteps, every=not self._stop, least=least)
        record_verification(self.logger, self.verifier, new)

    def _on_rollout_start(self) -> None:
        if not self._stop:
            return
        if self.verifier.confirmed:
            raise StopTraining("a design meets every spec in ngspice")
        if self.verifier.remaining == 0:
            raise StopTraining("the budget of ngspice simulations is spent")


def record_verification(logger: Logger, verifier: Verifier, new: list[Verified]) -> None:
    """What TensorBoard shows of one evaluation (see `Verification`). :param new: the designs of this evaluation."""
    for name, value in verification_scalars(verifier, new).items():
        logger.record(name, value)
    if verifier.best is None:
        return
    try:
        from agents.ppo_figures import margin_figure
    except ImportError:  # matplotlib is optional
        return
    figure = Figure(margin_figure(verifier.best, verifier.truth.targets), close=True)
    logger.record("spice/best_design", figure, exclude=("stdout", "log", "json", "csv"))


def verification_scalars(verifier: Verifier, new: list[Verified]) -> dict[str, float]:
    """The TensorBoard scalars of one evaluation (see `Verification`)."""
    scalars: dict[str, float] = {"spice/calls": len(verifier.verified)}
    if verifier.best is not None:
        scalars["spice/best_reward"] = verifier.best.measured.reward
    promised = [row.measured.feasible for row in verifier.verified if row.predicted.feasible]
    if promised:
        scalars["spice/confirmed"] = float(np.mean(promised))
    both = [row for row in new if row.gap()]
    if both:
        scalars["gap/reward"] = float(np.mean([row.measured.reward - row.predicted.reward for row in both]))
        for name in both[0].gap():
            scalars[f"gap/{name}"] = float(np.mean([row.gap()[name] for row in both]))
    return scalars


class Checkpoints(BaseCallback):
    """Saves the run every so many steps, and begins all random streams and episodes anew there.

    That is why a resumed run is the run that was never stopped, to the bit: what a checkpoint does not hold (episodes
    under way, the state of the random generators) begins again from the seed and the number of steps in both.
    """

    def __init__(
        self, folder: Path, seed: int, rollout: int, every: int, archive: Archive, verifier: Verifier, resumed: bool
    ) -> None:
        super().__init__()
        self.interrupted = False
        self._folder, self._seed, self._rollout, self._every = folder, seed, rollout, every
        self._archive, self._verifier = archive, verifier
        self._resumed = resumed
        self._begun = False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        first, self._begun = not self._begun, True
        scheduled = self.num_timesteps > 0 and due(self.num_timesteps, self._rollout, self._every)
        if scheduled and not (first and self._resumed):
            self.save()
        if self.interrupted:
            raise StopTraining("interrupted")
        if first or scheduled:
            self._begin_segment()

    def save(self) -> Path:
        """Write a checkpoint; it appears under its name only when it is complete.

        :raises SampleLogError: it cannot be written (disk full); the one before is untouched.
        """
        path = checkpoint_path(self._folder, self.num_timesteps)
        partial = path.with_name(f".{path.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self.model.save(partial / MODEL)
            normalisation = self.model.get_vec_normalize_env()
            if normalisation is not None:
                normalisation.save(str(partial / NORMALISATION))
            with (partial / DESIGNS).open("wb") as file:
                pickle.dump((self._archive, self._verifier.verified), file)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        except OSError as error:
            raise SampleLogError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; the one before is complete"
            ) from error
        for old in checkpoints(self._folder)[:-_KEPT]:
            shutil.rmtree(old)
        return path

    def _begin_segment(self) -> None:
        seed = int(np.random.SeedSequence([self._seed, self.num_timesteps]).generate_state(1)[0])
        set_random_seed(seed)
        env, policy = self.training_env, self.model.policy
        env.seed(seed % 2**31)
        if isinstance(policy, ActorCriticPolicy) and policy.use_sde:
            policy.reset_noise(env.num_envs)
        self.model._last_obs = env.reset()  # type: ignore[assignment]  # never a tuple
        self.model._last_episode_starts = np.ones(env.num_envs, dtype=bool)


def checkpoint_path(folder: Path, steps: int) -> Path:
    """Where the checkpoint of that many steps is kept; names sort by steps."""
    return folder / "checkpoints" / f"step_{steps:012d}"


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted((folder / "checkpoints").glob("step_*"))


def newest_checkpoint(folder: Path) -> Path:
    """The last complete checkpoint of a run.

    :raises ConfigError: there is none.
    """
    kept = checkpoints(folder)
    if not kept:
        raise ConfigError(f"{folder} holds no checkpoint yet; one is written every --checkpoint-every steps")
    return kept[-1]


def load_designs(checkpoint: Path) -> tuple[Archive, list[Verified]]:
    """Archive and verified designs of a checkpoint.

    :raises ConfigError: it is damaged.
    """
    try:
        with (checkpoint / DESIGNS).open("rb") as file:
            archive, verified = pickle.load(file)
    except (OSError, pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(f"{checkpoint} is damaged ({error}): remove it to resume from the one before") from error
    return archive, verified


def restored_normalisation(checkpoint: Path, env: VecEnv) -> VecEnv:
    """The environment with the statistics of a checkpoint; unchanged if it does not normalise."""
    if not isinstance(env, VecNormalize):
        return env
    return VecNormalize.load(str(checkpoint / NORMALISATION), env.venv)


@contextmanager
def graceful_interrupt(checkpoints: Checkpoints) -> Iterator[None]:
    """Let the first Ctrl-C end the run at the next checkpoint, and a second one at once."""

    def handle(number: int, frame: FrameType | None) -> Any:
        if checkpoints.interrupted:
            raise KeyboardInterrupt
        checkpoints.interrupted = True
        print("\ninterrupted: saving after this rollout (again to stop at once)", flush=True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
