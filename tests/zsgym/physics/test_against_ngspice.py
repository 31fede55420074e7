"""The transistor against ngspice: random devices in all corners, and cards altered on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import physics_devices as pd
import pytest
from numpy.typing import NDArray

from zsgym.pdk import CORNERS, load_corner
from zsgym.pdk.models import CornerModels
from zsgym.simulators.ngspice.process import ProcessEngine

pytestmark = pytest.mark.ngspice

MEDIAN, WORST = 1e-12, 1e-7
TEMPERATURES = dict(zip(CORNERS, (27.0, 125.0, -40.0, 85.0, 0.0), strict=True))


def some(models: CornerModels, count: int, seed: int) -> list[pd.Device]:
    """Random devices of `count` random bins."""
    rng = np.random.default_rng(seed)
    devices = pd.draw(models, rng, per_bin=1)
    return [devices[place] for place in rng.choice(len(devices), count, replace=False)]


def check(found: dict[str, NDArray[np.float64]], expected: dict[str, NDArray[np.float64]], where: str) -> None:
    for name, errors in pd.errors(found, expected).items():
        if name != "i_b":  # what ngspice says of a body's current is rounded to some 1e-17 A
            assert np.median(errors) <= MEDIAN, f"{name} {where}"
        assert errors.max() <= WORST, f"{name} {where}: device {int(errors.argmax())}"


@pytest.mark.parametrize("corner", CORNERS)
def test_operating_points_agree_in_every_corner(corner: str) -> None:
    models = load_corner(corner)
    devices, celsius = some(models, 50, seed=1), TEMPERATURES[corner]
    expected = pd.in_ngspice(models, devices, celsius, ProcessEngine())
    check(pd.in_physics(devices, celsius), expected, f"{corner}, {celsius} C")


@pytest.mark.parametrize(("corner", "celsius", "hertz"), [("tt", 27.0, 1e6), ("fs", 125.0, 1e9)])
def test_admittances_agree_with_the_body_network_in_place(corner: str, celsius: float, hertz: float) -> None:
    models = load_corner(corner)
    devices = some(models, 25, seed=2)
    expected = pd.admittance_in_ngspice(models, devices, celsius, hertz, ProcessEngine())
    found = pd.admittance_in_physics(devices, celsius, hertz)
    body = np.zeros((4, 4), dtype=bool)
    body[3, 3] = True  # its real part is what is left of resistors of 17 ohm: rounding in ngspice
    for part in ("real", "imag"):
        mine, theirs = getattr(found, part), getattr(expected, part)
        floor = 1e-6 * np.abs(theirs).max(axis=(1, 2), keepdims=True)
        errors = np.abs(mine - theirs) / np.maximum(np.abs(theirs), floor)
        assert np.median(errors) <= MEDIAN
        assert errors[:, ~body].max() <= WORST
        assert errors[:, body].max() <= 1e-4


def test_noise_agrees_with_the_milliohm_of_a_noise_deck_in_place(tmp_path: Path) -> None:
    models = load_corner("tt")
    devices = some(models, 40, seed=3)
    expected = pd.noise_in_ngspice(models, devices, 27.0, 1e3, tmp_path)
    check(pd.noise_in_physics(devices, 27.0, 1e3), expected, "noise")


ALTERATIONS: tuple[dict[str, float], ...] = (
    # Continuations of functions beyond their domain
    {"keta": -2.0}, {"keta": 3.0}, {"ua": -9e-9}, {"a0": -5.0}, {"a0": 8.0, "ags": 2.0}, {"nfactor": -9.0},
    {"eta0": 0.0, "etab": -1.0}, {"dwg": 3e-6}, {"dwb": -2e-6}, {"pdiblcb": 4.0}, {"pdiblcb": -4.0},
    {"dvt2": 3.0, "dvt0": 2.0, "cdsc": 1e-3}, {"dvt2w": -3.0, "dvt2": -2.0, "dvt0": 2.0}, {"acde": 2.0}, {"acde": 0.05},
    # Effects on and off
    {"ngate": 0.0}, {"ngate": 5e19}, {"ngate": 1e18}, {"minv": 0.3}, {"minv": -0.4}, {"k1": -0.1}, {"k1": 0.0},
    {"k1": 1.2, "k2": -0.3}, {"k2": 0.2}, {"k2": -2.0}, {"rdsw": 0.0, "a2": 1.0}, {"rdsw": -1.0, "a2": 0.5},
    {"rdsw": 0.0, "a2": 0.5}, {"a2": 2.0}, {"a2": -1.0}, {"pscbe2": -1e-9},
    {"pscbe2": 1e-6, "pscbe1": 3e8, "lpscbe1": 0.0, "wpscbe1": 0.0, "ppscbe1": 0.0},
    {"pclm": 1.5}, {"pdiblc1": 0.0, "pdiblc2": 0.0}, {"alpha0": 0.0, "alpha1": 0.0}, {"beta0": 0.0},
    {"alpha0": 1e-5, "beta0": 20.0}, {"agidl": 1e-5, "bgidl": 1e8, "cgidl": 0.1, "egidl": 0.1},
    {"agidl": 1e-5, "bgidl": 1e11, "cgidl": 0.1, "egidl": 0.1}, {"cgsl": 1e-10, "cgdl": 2e-10, "ckappas": 0.1},
    {"cgsl": 1e-10, "cgdl": 2e-10, "ckappas": 0.3, "ckappad": 0.05}, {"cgso": -1e-9}, {"cgbo": -1e-10},
    # Sizes, temperature, junctions, body network
    {"dtox": 4e-10}, {"toxm": 3e-9}, {"epsrox": 5.0}, {"lpe0": 3e-7, "lpeb": 2e-7}, {"w0": 1e-6}, {"phin": 0.1},
    {"kt1l": 2e-9}, {"prt": 50.0, "rdswmin": 20.0, "prwb": 0.3}, {"prwg": -1.0}, {"tnom": 60.0}, {"vbm": -1.0},
    {"xl": 1e-8, "xw": -2e-8}, {"ll": 1e-15, "lw": 2e-15, "lwl": 1e-22, "wl": 1e-15, "ww": -2e-15, "wwl": 1e-22},
    {"llc": 3e-15, "wlc": 2e-15, "lwc": 1e-15, "wwlc": 1e-22}, {"noff": 1.0, "voffcv": 0.1}, {"moin": 25.0},
    {"clc": 3e-7, "cle": 0.9}, {"tcjswg": -0.02}, {"tpbswg": 0.02}, {"pbswgs": 0.01}, {"u0": 300.0}, {"wr": 0.8},
    {"mjsws": 0.4, "tcjsw": 0.01, "pbsws": 0.4}, {"rbpb": 5000.0, "rbps": 2000.0, "gbmin": 1e-3}, {"ijthsfwd": 1e-12},
    {"delta": 0.05}, {"xj": 1e-7}, {"nsd": 1e19, "ndep": 5e17}, {"voffl": 5e-8}, {"b0": 1e-6, "b1": 1e-7},
    {"cit": 2e-3, "cdscd": 1e-3, "cdscb": 1e-3}, {"lvth0": 1e-8, "wvth0": -1e-8, "pvth0": 1e-15},
)  # fmt: skip
LEFT_OUT = (
    "cf", "cgso cgdo", "cgbo", "dlc cgso", "dwc cgbo", "ckappas", "rbpb rbps gbmin", "voff voffl", "dvt0 dvt1 dvt2",
    "u0 ua ub uc", "nfactor cdsc cit", "pclm drout dsub", "acde moin noff voffcv", "njs cjswgs mjswgs pbswgs", "toxm",
    "tnom", "alpha0 alpha1 beta0", "agidl bgidl cgidl egidl", "rdsw prwg wr", "eta0 etab", "a0 ags a2 keta",
    "k3 k3b w0", "lpe0 lpeb", "ndep nsd ngate", "xj", "toxe",
)  # fmt: skip
"""Parameters whose defaults must count."""


def altered(models: CornerModels) -> list[pd.Device]:
    """Both transistors with every alteration, conducting and switched off, forward or reverse."""
    rng = np.random.default_rng(4)
    found: list[pd.Device] = []
    for kind, sign in (("nmos", 1.0), ("pmos", -1.0)):
        model = models.find(kind, 5e-6, 1e-6)
        assert model is not None
        cards = [model.parameters | change for change in ALTERATIONS]
        for names in LEFT_OUT:
            dropped = {prefix + name for name in names.split() for prefix in ("", "l", "w", "p")}
            cards.append({name: value for name, value in model.parameters.items() if name not in dropped})
        for place, card in enumerate(cards):
            another = replace(model, index=1000 + place, parameters=card)
            for v_gs, v_ds in ((-1.0, -1.9), (1.9, 1.9)) if place % 2 else ((-1.0, 1.9), (1.9, -1.9)):
                gate, drain = v_gs * rng.uniform(), v_ds * rng.uniform()
                body = rng.uniform(-1.2, 0.2)
                low = min(drain, 0.0)
                voltages = (sign * drain, sign * (gate + low), 0.0, sign * (body + low))
                found.append(pd.Device(another, 5e-6, 1e-6, 1, voltages))
    return found


def test_altered_cards_agree_as_well() -> None:
    models = load_corner("tt")
    devices = altered(models)
    expected = pd.in_ngspice(models, devices, 85.0, ProcessEngine())
    check(pd.in_physics(devices, 85.0), expected, "altered")


def layouts(devices: Sequence[pd.Device]) -> list[pd.Device]:
    rng = np.random.default_rng(5)
    found = []
    for place, device in enumerate(devices):
        area, perimeter = device.width * rng.uniform(1e-7, 1e-6, 2), device.width * rng.uniform(0.0, 3.0, 2)
        area, perimeter = area * (place % 3 != 0), perimeter * (place % 3 != 1)
        diffusions = (float(area[0]), float(area[1]), float(perimeter[0]), float(perimeter[1]))
        found.append(replace(device, diffusions=diffusions, fingers=1 + place % 2, width=device.width))
    return found


def test_diffusions_and_fingers_agree() -> None:
    models = load_corner("ff")
    devices = [device for device in layouts(some(models, 100, seed=6)) if fits(models, device)]
    assert len(devices) > 50
    expected = pd.in_ngspice(models, devices, 85.0, ProcessEngine())
    check(pd.in_physics(devices, 85.0), expected, "diffusions")


def fits(models: CornerModels, device: pd.Device) -> bool:
    """Whether a finger is in the model's own bin: ngspice is given no other."""
    return device.model.holds(device.width / device.fingers, device.length)
