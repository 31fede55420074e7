"""The two render modes."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from zsgym.envs.env import SizingEnv
from zsgym.envs.rendering import quantity, target_text

MakeEnv = Callable[..., SizingEnv]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (170.090892e-6, "W", "170.1 uW"),
        (999.99e-6, "W", "1 mW"),
        (-25e-6, "V", "-25 uV"),
        (0.0, "V", "0 V"),
        (1.29e6, "Hz", "1.29 MHz"),
        (2.6e-6, "s", "2.6 us"),
        (1e-17, "F", "0.01 fF"),
        (5e11, "Hz", "500 GHz"),
        (1.0908e-5, "1/K", "10.91 ppm/K"),
        (0.4e6, "V/s", "0.4 V/us"),
        (115.5752, "dB", "115.6 dB"),
        (100.0, "", "100"),
    ],
)
def test_quantities_are_written_as_a_data_sheet_does(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_targets_show_their_direction() -> None:
    assert target_text("gbw", 1e6) == "> 1 MHz"
    assert target_text("vos", -4e-5) == "< 40 uV"


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
    with pytest.raises(DependencyNotInstalled, match=r"pip install \"zsgym\[bench\]\""):
        env.render()
