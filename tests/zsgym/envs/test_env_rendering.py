"""The two render modes."""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from fakes import FakeSimulator
from gymnasium.error import DependencyNotInstalled
from matplotlib.figure import Figure

from zsgym.circuits import Circuit
from zsgym.classes import Failure
from zsgym.classes.amplifier import METRICS
from zsgym.classes.amplifier.sketch import two_pole_response
from zsgym.envs.env import SizingEnv
from zsgym.envs.picture import draw_margins, draw_rewards
from zsgym.simulators.outcome import Outcome, Status

MakeEnv = Callable[..., SizingEnv]


def test_table_shows_values_targets_and_verdict(make_env: MakeEnv) -> None:
    env = make_env(render_mode="ansi", targets={"tc": None})
    env.action_space.seed(0)
    env.reset(seed=0)
    texts = {}
    for _ in range(30):
        *_, info = env.step(env.action_space.sample())
        texts[info["failure"]] = (env.render(), info)
    text, info = texts[""]
    lines = {line.split()[0]: line for line in str(text).splitlines()[2:] if line}
    gain = info["metrics"]["dc_gain"]
    assert f"{gain:.4g} dB" in lines["dc_gain"]
    assert "> 130 dB" in lines["dc_gain"]
    assert f"{info['margins']['dc_gain']:+.3f}" in lines["dc_gain"]
    assert lines["dc_gain"].endswith("yes" if gain >= 130.0 else "no")
    assert lines["tc"].split()[-3:] == ["-", "-", "-"]
    met = sum(value >= 0.0 for name, value in info["margins"].items() if name != "tc")
    assert f"works, meets {met} of 10 specs" in str(text)
    assert "does not work: unstable" in str(texts["unstable"][0])


class PredictingFake(FakeSimulator):
    """Answers as the surrogate does: failures have no reason, except that a geometry is known to be impossible."""

    name = "surrogate"

    def _failure(self, point: Sequence[float]) -> str | None:
        failure = super()._failure(point)
        return failure if failure in (None, Failure.GEOMETRY) else Failure.PREDICTED


def test_predictions_are_called_predictions(make_env: MakeEnv, nmcf: Circuit, easy_targets: dict[str, float]) -> None:
    lines = {}
    for targets in ({}, easy_targets):
        env = make_env(simulator=PredictingFake(nmcf), render_mode="ansi", targets=targets)
        env.action_space.seed(0)
        env.reset(seed=0)
        for _ in range(200):
            *_, terminated, _, info = env.step(env.action_space.sample())
            met = sum(value >= 0.0 for value in info["margins"].values())
            lines[info["failure"], info["is_success"]] = (str(env.render()).splitlines()[1], met)
            if terminated:
                env.reset()
    (missing, met), (meeting, _) = lines["", False], lines["", True]
    assert missing == f"predicted to work, misses {11 - met} of 11 specs"
    assert meeting == "predicted to meet every spec"
    assert lines["predicted", False][0] == "predicted not to work"
    assert lines["geometry", False][0] == "does not work: geometry", "that is known, not predicted"


@pytest.mark.parametrize(
    ("failure", "backend", "message"),
    [
        (Failure.PREDICTED, "surrogate", "predicted not to work"),
        (Failure.NO_GAIN, "ngspice", "does not work: no gain"),
    ],
)
def test_a_picture_says_whether_a_failure_is_a_prediction(failure: str, backend: str, message: str) -> None:
    axes = Figure().add_subplot()
    draw_margins(axes, METRICS, Outcome(Status.CIRCUIT_FAILURE, failure, backend=backend), {"gbw": 1e6}, {"gbw": -1.0})
    assert f"no metrics\n{message}" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("rewards", [[-100.0], [-100.0, -0.8, -100.0], [-3.0, -2.5, -100.0]])
def test_failures_stand_off_the_scale_of_the_rewards(rewards: list[float]) -> None:
    axes = Figure().add_subplot()
    draw_rewards(axes, rewards, -100.0, 20)
    crosses = next(line for line in axes.lines if line.get_marker() == "x")
    names = dict(zip(axes.get_yticks(), [label.get_text() for label in axes.get_yticklabels()], strict=True))
    assert [names.pop(height) for height in set(crosses.get_ydata())] == ["failed"]
    assert all(float(name) == tick for tick, name in names.items())
    lowest = min([0.0, *(reward for reward in rewards if reward > -100.0)])
    assert max(crosses.get_ydata()) < lowest, "below every reward that is drawn"
    assert 0.0 in names


def test_rewards_without_a_failure_have_numbers_only() -> None:
    axes = Figure().add_subplot()
    draw_rewards(axes, [-2.0, -1.0, 0.0], -100.0, None)
    assert "failed" not in [label.get_text() for label in axes.get_yticklabels()]


def test_picture_is_new_every_time_and_shows_the_state(make_env: MakeEnv) -> None:
    env = make_env(render_mode="rgb_array")
    env.reset(seed=0)
    pictures = [env.render(), env.render()]
    env.step(env.action_space.sample())
    pictures.append(env.render())
    for picture in pictures:
        assert isinstance(picture, np.ndarray)
        assert picture.shape == (680, 1040, 3)
        assert picture.dtype == np.uint8
        assert picture.flags.owndata
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [5.0, 61.0, 88.0])
def test_the_drawn_response_has_the_gain_the_bandwidth_and_the_margin(margin: float) -> None:
    frequency, response = two_pole_response({"dc_gain": 130.0, "gbw": 2e6, "phase_margin": margin})
    decibel, degrees = 20.0 * np.log10(np.abs(response)), np.rad2deg(np.unwrap(np.angle(response)))
    assert decibel[0] == pytest.approx(130.0, abs=0.1)
    at_unity = np.log(2e6)
    assert np.interp(at_unity, np.log(frequency), decibel) == pytest.approx(0.0, abs=0.2)
    assert np.interp(at_unity, np.log(frequency), degrees) == pytest.approx(margin - 180.0, abs=1.0)


def test_no_render_mode_renders_nothing(make_env: MakeEnv) -> None:
    env = make_env()
    env.reset(seed=0)
    assert env.render() is None


def test_a_picture_without_matplotlib_says_what_to_install(make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "zsgym.envs.picture", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    env = make_env(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(DependencyNotInstalled, match=r"pip install \"zsgym\[video\]\""):
        env.render()
