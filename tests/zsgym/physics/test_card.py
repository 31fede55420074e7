"""Model cards: defaults, and refusals that name the parameter."""

from __future__ import annotations

import numpy as np
import pytest

from tests.zsgym.physics.cards import device, made_up
from zsgym.base.errors import ConfigError
from zsgym.simulators.physics.card import read_card


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mobmod", 1.0), ("capmod", 1.0), ("rdsmod", 1.0), ("igcmod", 1.0), ("igbmod", 1.0), ("diomod", 0.0),
        ("permod", 0.0), ("geomod", 1.0), ("rgatemod", 1.0), ("rbodymod", 0.0), ("tempmod", 1.0), ("acnqsmod", 1.0),
        ("trnqsmod", 1.0), ("fnoimod", 0.0), ("tnoimod", 0.0), ("level", 49.0), ("version", 4.8), ("binunit", 1.0),
    ],
)  # fmt: skip
def test_another_option_is_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"nmos_7: {option} = {value:g}, but the physics backend covers only"):
        read_card("nmos", made_up("nmos", **{option: value}), name="nmos_7")


@pytest.mark.parametrize("option", ["level", "version", "binunit", "rbodymod", "tnoimod"])
def test_an_option_counts_with_its_default_when_the_card_does_not_state_it(option: str) -> None:
    card = made_up("nmos")
    del card[option]
    with pytest.raises(ConfigError, match=f"{option} = "):
        read_card("nmos", card)


@pytest.mark.parametrize("effect", ["dvtp0", "pdits", "fprout", "pvag", "lambda", "vtl", "up", "ud", "a1", "tvoff"])
def test_an_effect_that_the_equations_leave_out_is_refused_by_name(effect: str) -> None:
    read_card("nmos", made_up("nmos", **{effect: 0.0}))
    with pytest.raises(ConfigError, match=f"{effect} = 1e-09"):
        read_card("nmos", made_up("nmos", **{effect: 1e-9}))


def test_an_unknown_parameter_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="does not know the parameter vfb"):
        read_card("nmos", made_up("nmos", vfb=-1.0))
    with pytest.raises(ConfigError, match="does not know the parameter ltoxe"):  # toxe has no binning terms
        read_card("nmos", made_up("nmos", ltoxe=1e-16))


def test_parameters_without_a_usable_default_are_required() -> None:
    for name in ("vth0", "k1", "k2"):
        card = made_up("pmos")
        del card[name]
        with pytest.raises(ConfigError, match=f"parameter {name} is missing"):
            read_card("pmos", card)


def test_only_the_two_transistors_have_cards() -> None:
    with pytest.raises(ConfigError, match="nmos or pmos, not 'npn'"):
        read_card("npn", made_up("nmos"))


def test_other_partitions_of_the_charge_are_refused() -> None:
    read_card("nmos", made_up("nmos", xpart=0.0))
    with pytest.raises(ConfigError, match="xpart = 1"):
        read_card("nmos", made_up("nmos", xpart=1.0))


def test_defaults_follow_other_parameters_and_their_binning_terms() -> None:
    card = made_up("nmos", ckappas=0.4, lckappas=1e-8)
    rows = read_card("nmos", {name: value for name, value in card.items() if name not in ("cgso", "dlc")})
    assert rows["ckappad"].tolist() == [0.4, 1e-8, 0.0, 0.0]
    assert rows["dlc"][0] == card["lint"]
    assert rows["cgso"][0] == pytest.approx(card["lint"] * 3.9 * 8.85418e-12 / card["toxe"] - card["cgsl"])


def test_binning_terms_are_added_at_effective_sizes() -> None:
    plain = device("nmos", 2e-6, 4e-7, keta=-0.02)
    binned = device("nmos", 2e-6, 4e-7, keta=-0.02, lketa=1e-9, wketa=2e-9, pketa=3e-15)
    length, width = 4e-7 - 2e-8, 2e-6 - 1.6e-8
    assert plain["length"][0] == pytest.approx(length)
    expected = -0.02 + 1e-9 / length + 2e-9 / width + 3e-15 / (length * width)
    assert binned["keta"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lint": 3e-7}, "effective width or length"),
        ({"lpe0": -1e-6}, "lpe0"),
        ({"drout": -1.0}, "drout"),
        ({"u0": -0.1}, "mobility u0"),
        ({"vsat": -1e4}, "vsat"),
        ({"pclm": 0.0}, "pclm"),
        ({"delta": -1.0}, "delta"),
        ({"ngate": 1e26}, "ngate"),
        ({"xj": -1.0}, "xj"),
        ({"lintnoi": 3e-7}, "lintnoi"),
        ({"clc": -1.0}, "clc"),
    ],
)
def test_a_device_that_bsim_refuses_is_refused_with_its_size(changes: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"W = 2 um, L = 0.4 um at 27 C has no model: .*{reason}"):
        device("nmos", **changes)


def test_mobility_may_be_given_in_square_centimetres() -> None:
    found = [device("nmos", u0=u0, pu0=0.0)["u0"][0] for u0 in (0.03, 300.0)]
    assert found[1] == pytest.approx(found[0], rel=1e-12)


def test_a_prepared_device_is_all_finite() -> None:
    for kind in ("nmos", "pmos"):
        record = device(kind)
        assert np.isfinite(record.view(np.float64)).all()
