"""The derivative generator on small functions, and the equations' derivatives against differences of 60 digits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.zsgym.physics.cards import device
from zsgym.simulators.physics import derivatives, derive
from zsgym.simulators.physics.derive import ROOTS, SOURCE, TARGET, DerivationError, generate

SMALL = """
LIMIT = 2.0

@compiled
def clipped(z: float) -> float:
    if z < LIMIT:
        return z * z
    return 4.0 * z - 4.0

@section
def mixed(p: Device, x: float, y: float) -> tuple[float, float]:
    product = x * y
    return product / (1.0 + y), sqrt(product + p.offset)

@compiled
def both(x: float, y: float) -> tuple[float, float]:
    return exp(x - y), x - 2.0 * y

@compiled
def whole(p: Device, x: float, y: float, z: float) -> Outputs:
    a, b = mixed(p, x, y)
    c, d = both(a, z)
    if c > 1.0:
        e = log(c) * x
        a = a + 1.0
    elif y > 3.0:
        e = 1.0
    else:
        e = c ** 1.5 - clipped(y + z)
    unused = exp(e) * a
    return Outputs(unused, e, a * d + b)
"""
Functions = dict[str, Callable[..., Any]]


def as_written(source: str) -> Functions:
    """The functions of a source, uncompiled."""
    names: dict[str, Any] = {name: lambda function: function for name in ("compiled", "section")}
    names |= {"Outputs": lambda *results: results, "Device": Any, "hold": lambda value: value}
    names |= {"exp": math.exp, "log": math.log, "sqrt": math.sqrt}
    exec(source, names)
    return names


def generated(source: str, monkeypatch: pytest.MonkeyPatch, *roots: Any) -> Functions:
    """What the generator makes of it, uncompiled."""
    monkeypatch.setattr(derive, "ROOTS", roots)
    text = generate(source)
    names = as_written(source)
    names["inlined"] = names["compiled"]
    exec(re.sub(r"^from .*\n", "", text, flags=re.MULTILINE), names)
    return names


@given(x=st.floats(0.3, 3.0), y=st.floats(0.3, 4.0), z=st.floats(-1.0, 2.0))
@settings(max_examples=100)
def test_derivatives_through_branches_sections_and_calls(x: float, y: float, z: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = generated(SMALL, patch, ("d_whole", "whole", ("x", "y", "z"), ()))["d_whole"]
    whole, p = as_written(SMALL)["whole"], SimpleNamespace(offset=0.25)
    result = np.array(made(p, x, y, z))
    assert result[:3].tolist() == pytest.approx(whole(p, x, y, z), rel=1e-12)
    for column, direction in enumerate(np.eye(3) * 1e-7):
        ahead, behind = (np.array(whole(p, *(np.array([x, y, z]) + s * direction))) for s in (1.0, -1.0))
        if np.max(np.abs(ahead - behind)) < 1e-2:  # not across a jump of a
            assert result[3 + column :: 3] == pytest.approx((ahead - behind) / 2e-7, rel=1e-5, abs=1e-5)


def test_only_the_wanted_outputs_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SMALL.replace("a * d + b)", "d)")
    made = generated(source, monkeypatch, ("d_whole", "whole", ("x",), ("d",)))
    assert len(made["d_whole"](SimpleNamespace(offset=0.25), 1.0, 1.0, 0.5)) == 2
    assert "unused" not in generate(source)
    assert "log" not in generate(source).split("def d_whole")[1]


def test_what_is_held_has_no_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "@compiled\ndef f(x: float, y: float) -> float:\n    a = x * y\n    return a - hold(a) + hold(x * x) * y\n"
    made = generated(source, monkeypatch, ("d_f", "f", ("x", "y"), ()))
    assert made["d_f"](3.0, 5.0) == (45.0, 5.0, 12.0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    while x > 0.0:\n        x = x - 1.0\n    return x", "this statement"),
        ("    return x if x > 0.0 else -x", "this expression"),
        ("    return sin(x)", "the derivative of sin is not known"),
        ("    return 2.0 ** x", "exponent"),
        ("    a, b = x\n    return a", "this target"),
    ],
)
def test_what_is_not_understood_is_an_error(body: str, reason: str) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DerivationError, match=reason):
        generated(f"@compiled\ndef f(x: float) -> float:\n{body}\n", patch, ("d_f", "f", ("x",), ()))


def test_the_file_of_derivatives_belongs_to_the_equations() -> None:
    assert TARGET.read_text() == generate(SOURCE.read_text()), "run python -m zsgym.simulators.physics.derive"


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "TARGET", tmp_path / "derivatives.py")
    derive.main()
    assert (tmp_path / "derivatives.py").read_text() == TARGET.read_text()


def in_high_precision() -> Functions:
    """The equations in mpmath's numbers."""
    names = {name: getattr(mpmath, name) for name in ("exp", "log", "sqrt")}
    text = re.sub(r"^from (math|zsgym).*\n", "", SOURCE.read_text(), flags=re.MULTILINE)
    space: dict[str, Any] = {"Device": Any, **names}
    space |= {name: lambda function: function for name in ("compiled", "section", "hold")}
    exec(text, space)
    return space


@pytest.fixture(scope="module")
def precise() -> Functions:
    return in_high_precision()


def exact(p: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: mpmath.mpf(float(p[name])) for name in p.dtype.names})


@given(
    kind=st.sampled_from(["nmos", "pmos"]),
    width=st.floats(4e-7, 5e-5),
    length=st.floats(1.5e-7, 2e-5),
    celsius=st.floats(-40.0, 125.0),
    v_gs=st.floats(-0.5, 2.0),
    v_ds=st.floats(1e-3, 2.0),
    v_bs=st.floats(-1.5, 0.5),
)
@settings(max_examples=40)
def test_channel_derivatives_are_exact(
    precise: Functions, kind: str, width: float, length: float, celsius: float, v_gs: float, v_ds: float, v_bs: float
) -> None:
    p = device(kind, width, length, celsius)[0]
    outputs = next(root[3] for root in ROOTS if root[0] == "channel_all")
    result = derivatives.channel_all(p, v_gs, v_ds, v_bs)
    assert result[:2] + result[5:11] == pytest.approx(derivatives.channel_current(p, v_gs, v_ds, v_bs), rel=1e-13)
    with mpmath.workdps(60):
        step = mpmath.mpf("1e-25")
        numbers = exact(p)

        def at(*bias: Any) -> list[Any]:
            values = precise["channel"](numbers, *bias)
            return [getattr(values, name) for name in outputs]

        bias = [mpmath.mpf(v) for v in (v_gs, v_ds, v_bs)]
        values = at(*bias)
        for column in range(3):
            ahead, behind = (
                at(*(v + sign * step if place == column else v for place, v in enumerate(bias))) for sign in (1, -1)
            )
            slopes = [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
            for place, (value, slope) in enumerate(zip(values, slopes, strict=True)):
                found = result[5 + 3 * place + column]
                scale = max(abs(float(slope)), 1e-3 * abs(float(value)))
                rounding = 1e-22 if outputs[place][0] == "i" else 1e-28  # of ln(1 + exp(x)) far below threshold
                assert abs(found - float(slope)) <= 1e-9 * scale + rounding, (outputs[place], column)


@given(v_g=st.floats(-2.0, 1.0), v_ds=st.floats(-2.0, 2.0), v_db=st.floats(-1.0, 2.0), v=st.floats(-2.0, 1.5))
@settings(max_examples=60)
def test_derivatives_around_the_channel_are_exact(
    precise: Functions, v_g: float, v_ds: float, v_db: float, v: float
) -> None:
    p = device("pmos")[0]
    cases = [
        (derivatives.leakage(p, v_g, v_ds, v_db), "gate_induced_leakage", (exact(p), v_g, v_ds, v_db), (1, 2, 3)),
        (derivatives.overlap(v, 1e-16, 2e-16, 0.6), "overlap_charge", (v, 1e-16, 2e-16, 0.6), (0,)),
        (derivatives.junction(v, 1e-14, 0.03, 0.9), "junction_current", (v, 1e-14, 0.03, 0.9), (0,)),
    ]
    if v < 0.0:
        reverse = (v, 1e-16, 0.9, 0.6)
        cases.append((derivatives.reverse_junction(*reverse), "reverse_charge", reverse, (0,)))
    with mpmath.workdps(60):
        for result, name, arguments, by in cases:
            numbers = [mpmath.mpf(a) if isinstance(a, float) else a for a in arguments]
            assert result[0] == pytest.approx(float(precise[name](*numbers)), rel=1e-11, abs=1e-30)
            for place, column in enumerate(by):
                ahead, behind = list(numbers), list(numbers)
                ahead[column] += mpmath.mpf("1e-25")
                behind[column] -= mpmath.mpf("1e-25")
                slope = (precise[name](*ahead) - precise[name](*behind)) / mpmath.mpf("2e-25")
                assert result[1 + place] == pytest.approx(float(slope), rel=1e-10, abs=1e-26)
