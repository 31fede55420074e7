"""A training that can be stopped at any time, and resumed to the bit."""

from __future__ import annotations

import pickle
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from zsgym.base.errors import ConfigError, SampleLogError
from zsgym.training.archive import Archive
from zsgym.training.callbacks import StopTraining, due
from zsgym.training.verification import Verifier

MODEL, NORMALISATION, DESIGNS = "model.zip", "normalisation.pkl", "designs.pkl"
_KEPT = 2


class Checkpoints(BaseCallback):
    """Saves the run every so many steps, and begins all random streams and episodes anew there.

    That is why a resumed run is the run that was never stopped, to the bit: what a checkpoint does not hold (episodes
    under way, the state of the random generators) begins again from the seed and the number of steps in both.

    :param folder: of the run. :param seed: of the run. :param every: steps between two checkpoints.
    """

    def __init__(self, folder: Path, seed: int, every: int, archive: Archive, verifier: Verifier) -> None:
        super().__init__()
        self.interrupted = False
        """Whether the run is to end, with a checkpoint, before its next rollout."""
        self.ended = "all steps that were asked for"
        """Why training has ended."""
        self._folder, self._seed, self._every = folder, seed, every
        self._archive, self._verifier = archive, verifier
        self._resumed = self._begun = False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        first, self._begun = not self._begun, True
        scheduled = self.num_timesteps > 0 and due(self, self._every)
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
        path = checkpoint_path(self._folder, self.model.num_timesteps)
        partial = path.with_name(f".{path.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self.model.save(partial / MODEL)
            normalisation = self.model.get_vec_normalize_env()
            if normalisation is not None:
                normalisation.save(str(partial / NORMALISATION))
            with (partial / DESIGNS).open("wb") as file:
                pickle.dump((self._archive.points, self._archive.merit, self._verifier.verified), file)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        except OSError as error:
            raise SampleLogError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; the one before is complete"
            ) from error
        for old in checkpoints(self._folder)[:-_KEPT]:
            shutil.rmtree(old)
        return path

    def resume(self, checkpoint: Path, env: VecEnv) -> PPO:
        """The model of a checkpoint, to learn on in an environment; archive and verifier get what they had then.

        :raises ConfigError: the checkpoint is damaged.
        """
        try:
            with (checkpoint / DESIGNS).open("rb") as file:
                self._archive.points, self._archive.merit, self._verifier.verified = pickle.load(file)
        except (OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise ConfigError(f"{checkpoint} is damaged ({error}): remove it to resume from the one before") from error
        if isinstance(env, VecNormalize):
            env = VecNormalize.load(str(checkpoint / NORMALISATION), env.venv)
        self._resumed = True
        return PPO.load(checkpoint / MODEL, env=env, device="cpu")

    def _begin_segment(self) -> None:
        seed = int(np.random.SeedSequence([self._seed, self.num_timesteps]).generate_state(1)[0])
        set_random_seed(seed)
        env = self.training_env
        env.seed(seed % 2**31)
        self.model._last_obs = env.reset()  # type: ignore[assignment]  # never a tuple
        self.model._last_episode_starts = np.ones(env.num_envs, dtype=bool)


@contextmanager
def stoppable(model: PPO, saving: Checkpoints) -> Iterator[None]:
    """Around `model.learn`: ends it in good order for whoever asks, a callback by `StopTraining` or a user by Ctrl-C.

    The first Ctrl-C ends the run before its next rollout, with a checkpoint; a second one at once.

    :raises KeyboardInterrupt: the user asked; the run is saved. :raises ConfigError: training diverged.
    """

    def handle(number: int, frame: FrameType | None) -> Any:
        if saving.interrupted:
            raise KeyboardInterrupt
        saving.interrupted = True
        print("\ninterrupted: saving after this rollout (again to stop at once)", flush=True)

    # The episodes begin where `Checkpoints` says, not in `learn`.
    model._last_obs = np.zeros((model.n_envs, *(model.observation_space.shape or ())), np.float32)
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    except StopTraining as stop:
        saving.ended = str(stop)
    except ValueError as error:
        if all(parameter.abs().max() < 1e6 for parameter in model.policy.parameters()):  # neither huge nor NaN
            raise
        raise ConfigError("training diverged; choose a smaller --learning-rate") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if saving.interrupted:
        saving.save()
        raise KeyboardInterrupt


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
