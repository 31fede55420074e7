"""Videos: the recorders of Gymnasium and Stable-Baselines3 get pictures of every face. MoviePy itself is played."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo
from gymnasium.wrappers.vector import RecordVideo as RecordVectorVideo
from stable_baselines3.common.vec_env import VecVideoRecorder

from zsgym.envs.sb3 import SizingVecEnv

NAME = "zsgym/NMCF-v0"
OPTIONS: dict[str, Any] = {"backend": "ngspice", "render_mode": "rgb_array", "log": False}

pytestmark = pytest.mark.usefixtures("fake_backend")


class Clip:
    """What the recorders ask of MoviePy: keeps the frames instead of encoding them."""

    made: list["Clip"]

    def __init__(self, frames: list[Any], fps: int) -> None:
        self.frames, self.fps = [np.asarray(frame) for frame in frames], fps
        Clip.made.append(self)

    def write_videofile(self, path: str, **_: Any) -> None:
        Path(path).write_bytes(b"video")


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    Clip.made = []
    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        module: Any = ModuleType(name)
        module.ImageSequenceClip = Clip
        monkeypatch.setitem(sys.modules, name, module)
    return Clip.made


def test_an_episode_becomes_a_video(clips: list[Clip], tmp_path: Path) -> None:
    env = RecordVideo(gym.make(NAME, max_episode_steps=3, **OPTIONS), str(tmp_path / "videos"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(env.action_space.sample())
    env.close()
    (clip,) = clips
    assert clip.fps == 4
    assert len(clip.frames) == 4, "the start and three steps"
    assert {frame.shape for frame in clip.frames} == {(680, 1040, 3)}
    assert all((a != b).any() for a, b in zip(clip.frames, clip.frames[1:], strict=False))


def test_the_vector_faces_become_videos(clips: list[Clip], tmp_path: Path) -> None:
    vector: Any = RecordVectorVideo(gym.make_vec(NAME, 2, **OPTIONS), str(tmp_path / "vector"), video_length=2)
    vector.reset(seed=0)
    for _ in range(3):
        vector.step(vector.action_space.sample())
    vector.close()
    vec: Any = VecVideoRecorder(SizingVecEnv(NAME, 2, **OPTIONS), str(tmp_path / "sb3"), lambda step: step == 0, 2)
    vec.reset()
    for _ in range(3):
        vec.step(np.zeros((2, 24), np.float32))
    vec.close()
    assert [clip.fps for clip in clips] == [4, 4]
    assert all({frame.ndim for frame in clip.frames} == {3} for clip in clips)


def test_a_missing_moviepy_is_named_by_gymnasium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """We cannot say it ourselves: the environment knows nothing of its wrappers. The documentation names the extra."""
    monkeypatch.setitem(sys.modules, "moviepy", None)
    env = gym.make(NAME, **OPTIONS)
    with pytest.raises(gym.error.DependencyNotInstalled, match=r"(?i)moviepy is not installed"):
        RecordVideo(env, str(tmp_path / "videos"))
