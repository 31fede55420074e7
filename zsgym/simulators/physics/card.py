"""A transistor's model card as numbers: which parameters the equations use, their defaults, and what is refused.

The equations cover one combination of BSIM4's options, that of the SKY130 cards. A card with another option, or with an
effect that the equations leave out, is refused by the name of its parameter: what is ignored silently is a different
transistor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.base.errors import ConfigError

EPS_VACUUM = 8.85418e-12
"""In F/m, with the digits of BSIM4."""

POLARITY = {"nmos": 1.0, "pmos": -1.0}

Given = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a card.

    default: a number, the name of another parameter whose value (with its binning terms) is taken, or a function of the
    card; None if the card must state it. binned: whether terms in 1/L, 1/W and 1/LW are added (`lvth0`, `wvth0`,
    `pvth0`).
    """

    default: float | str | Callable[[Given], float] | None
    binned: bool = False


def _by_kind(nmos: float, pmos: float) -> Callable[[Given], float]:
    return lambda card: nmos if card["polarity"] > 0.0 else pmos


def _oxide(card: Given) -> float:
    """Oxide capacitance of the electrical thickness, in F/m^2."""
    return card["epsrox"] * EPS_VACUUM / card["toxe"]


def _overlap(bias_dependent: str) -> Callable[[Given], float]:
    def default(card: Given) -> float:
        if card["dlc"] > 0.0:
            return card["dlc"] * _oxide(card) - card[bias_dependent]
        return 0.6 * card["xj"] * _oxide(card)

    return default


def _fringe(card: Given) -> float:
    return 2.0 * card["epsrox"] * EPS_VACUUM / 3.141592654 * math.log(1.0 + 4e-7 / card["toxe"])


def _plain(**defaults: float | str | Callable[[Given], float] | None) -> dict[str, Parameter]:
    return {name: Parameter(default) for name, default in defaults.items()}


def _binned(**defaults: float | str | Callable[[Given], float] | None) -> dict[str, Parameter]:
    return {name: Parameter(default, binned=True) for name, default in defaults.items()}


_TERMS = ("", "l", "w", "wl")
_SIZE = {f"{letter}{term}": 0.0 for letter in "lw" for term in ("l", "w", "wl")}
_SIZE_CV = {f"{name}c": 0.0 for name in _SIZE}
_SIZE_POWERS = {"lln": 1.0, "lwn": 1.0, "wln": 1.0, "wwn": 1.0}

PARAMETERS: dict[str, Parameter] = (
    {"polarity": Parameter(None)}
    # Process and geometry
    | _plain(tnom=27.0, toxe=3e-9, toxm="toxe", dtox=0.0, epsrox=3.9, lint=0.0, wint=0.0, dlc="lint", dwc="wint")
    | _plain(dwj="dwc", xl=0.0, xw=0.0, **_SIZE, **_SIZE_CV, **_SIZE_POWERS)
    | _binned(xj=1.5e-7, ndep=1.7e17, nsd=1e20, ngate=0.0, phin=0.0)
    # Threshold
    | _binned(vth0=None, k1=None, k2=None, k3=80.0, k3b=0.0, w0=2.5e-6, lpe0=1.74e-7, lpeb=0.0)
    | _binned(dvt0=2.2, dvt1=0.53, dvt2=-0.032, dvt0w=0.0, dvt1w=5.3e6, dvt2w=-0.032)
    | _binned(drout=0.56, dsub="drout", eta0=0.08, etab=-0.07, vbm=-3.0, kt1=-0.11, kt1l=0.0, kt2=0.022)
    | _binned(nfactor=1.0, cit=0.0, cdsc=2.4e-4, cdscb=0.0, cdscd=0.0, voff=-0.08, minv=0.0)
    | _plain(voffl=0.0)
    # Mobility, resistance, saturation
    | _binned(u0=_by_kind(0.067, 0.025), ute=-1.5, ua=1e-9, ua1=1e-9, ub=1e-19, ub1=-1e-18, uc=-4.65e-11, uc1=-5.6e-11)
    | _binned(vsat=8e4, at=3.3e4, rdsw=200.0, prt=0.0, wr=1.0, prwg=1.0, prwb=0.0, dwg=0.0, dwb=0.0)
    | _plain(rdswmin=0.0, rsh=0.0)
    | _binned(a0=1.0, ags=0.0, a2=1.0, b0=0.0, b1=0.0, keta=-0.047, delta=0.01)
    # Output conductance, substrate current, gate-induced leakage
    | _binned(pclm=1.3, pdiblc1=0.39, pdiblc2=0.0086, pdiblcb=0.0, pscbe1=4.24e8, pscbe2=1e-5)
    | _binned(alpha0=0.0, alpha1=0.0, beta0=0.0, agidl=0.0, bgidl=2.3e9, cgidl=0.5, egidl=0.8)
    # Charges
    | _binned(noff=1.0, voffcv=0.0, acde=1.0, moin=15.0, clc=1e-7, cle=0.6, cgsl=0.0, cgdl=0.0, cf=_fringe)
    | _binned(ckappas=0.6, ckappad="ckappas")
    | _plain(cgso=_overlap("cgsl"), cgdo=_overlap("cgdl"), cgbo=lambda card: 2.0 * card["dwc"] * _oxide(card))
    # Junctions and the body network
    | _plain(njs=1.0, jss=1e-4, jsws=0.0, jswgs=0.0, xtis=3.0, ijthsfwd=0.1, tcj=0.0, tpb=0.0, tcjsw=0.0, tpbsw=0.0)
    | _plain(cjs=5e-4, mjs=0.5, pbs=1.0, cjsws=5e-10, mjsws=0.33, pbsws=1.0)
    | _plain(cjswgs="cjsws", mjswgs="mjsws", pbswgs="pbsws", tcjswg=0.0, tpbswg=0.0)
    | _plain(njd="njs", jsd="jss", jswd="jsws", jswgd="jswgs", xtid="xtis", ijthdfwd="ijthsfwd")
    | _plain(cjd="cjs", mjd="mjs", pbd="pbs", cjswd="cjsws", mjswd="mjsws", pbswd="pbsws")
    | _plain(cjswgd="cjswgs", mjswgd="mjswgs", pbswgd="pbswgs")
    | _plain(rbpb=50.0, rbpd=50.0, rbps=50.0, rbsb=50.0, rbdb=50.0, gbmin=1e-12)
    # Noise
    | _plain(tnoia=1.5, tnoib=3.5, rnoia=0.577, rnoib=0.5164, em=4.1e7, ef=1.0, lintnoi=0.0)
    | _plain(noia=_by_kind(6.25e41, 6.188e40), noib=_by_kind(3.125e26, 1.5e25), noic=8.75e9)
)
"""Every parameter that the equations read, in the order of `CARD`."""

CARD = np.dtype([(name, np.float64) for name in PARAMETERS])
"""One row of a card's numbers; a card is four rows: base value, and terms in 1/L, 1/W and 1/LW."""

_OPTIONS = {
    "level": (54.0, None), "version": (4.5, None), "binunit": (2.0, 1.0), "mobmod": (0.0, 0.0), "capmod": (2.0, 2.0),
    "rdsmod": (0.0, 0.0), "igcmod": (0.0, 0.0), "igbmod": (0.0, 0.0), "diomod": (1.0, 1.0), "permod": (1.0, 1.0),
    "geomod": (0.0, 0.0), "rgatemod": (0.0, 0.0), "rbodymod": (1.0, 0.0), "tempmod": (0.0, 0.0),
    "acnqsmod": (0.0, 0.0), "trnqsmod": (0.0, 0.0), "fnoimod": (1.0, 1.0), "tnoimod": (1.0, 0.0),
}  # fmt: skip
"""Option -> the value that the equations need, and the simulator's default (None: the card must state it)."""

_OFF = ("dvtp0", "pdits", "fprout", "pvag", "lambda", "vtl", "up", "ud", "a1", "tvoff")
"""Effects that the equations leave out: a card must state 0, or nothing."""

_WITHOUT_EFFECT = """
    rshg dvtp1 lp eu xn rsw rdw rdwmin rswmin pditsl pditsd lc toxref dlcig aigbacc bigbacc cigbacc nigbacc aigbinv
    bigbinv cigbinv eigbinv nigbinv aigc bigc cigc aigsd bigsd cigsd nigc poxedge pigcd ntox vfbsdoff xpart vfbcv
    xrcrg1 xrcrg2 ntnoi af kf dmcg dmdg dmcgt xgw xgl ngcon ijthsrev bvs xjbvs tvfbsdoff saref sbref kvth0 lkvth0
    wkvth0 pkvth0 llodvth wlodvth wlod stk2 lodk2 lodeta0 ku0 lku0 wku0 pku0 tku0 llodku0 wlodku0 kvsat steta0
"""
"""Parameters of effects that the options or the absent stress data (sa, sb, sd) switch off."""


def read_card(kind: str, given: Given, *, name: str = "model card") -> NDArray[Any]:
    """The numbers of a card.

    :param kind: nmos or pmos. :param given: lower-case parameter name -> value, as on the `.model` line.
    :param name: what errors call the card.
    :return: (4,) array of `CARD`: base values, and binning terms in 1/L, 1/W, 1/LW (metres).
    :raises ConfigError: an option, effect or parameter outside the equations, by its name, or one that is missing.
    """
    if kind not in POLARITY:
        raise ConfigError(f"{name}: transistors are nmos or pmos, not {kind!r}")
    for option, (wanted, default) in _OPTIONS.items():
        value = given.get(option, default)
        if value != wanted and not (option == "level" and value == 14.0):
            raise ConfigError(f"{name}: {option} = {_text(value)}, but the physics backend covers only {wanted:g}")
    for effect in _OFF:
        if given.get(effect, 0.0) != 0.0:
            raise ConfigError(f"{name}: {effect} = {given[effect]:g}, but the physics backend covers only 0")
    if given.get("xpart", 0.0) >= 0.5:
        raise ConfigError(
            f"{name}: xpart = {given['xpart']:g} is not modelled; only the 40/60 partition (below 0.5) is"
        )

    rows = np.zeros(4, dtype=CARD)
    rows["polarity"][0] = POLARITY[kind]
    base: dict[str, float] = {"polarity": POLARITY[kind]}
    used = {"polarity"}
    for parameter, spec in PARAMETERS.items():
        if parameter == "polarity":
            continue
        if parameter in given:
            rows[parameter][0] = given[parameter]
            if spec.binned:
                rows[parameter][1:] = [given.get(f"{letter}{parameter}", 0.0) for letter in "lwp"]
        elif isinstance(spec.default, str):
            rows[parameter] = rows[spec.default]
        elif spec.default is None:
            raise ConfigError(f"{name}: parameter {parameter} is missing")
        else:
            rows[parameter][0] = spec.default(base) if callable(spec.default) else spec.default
        base[parameter] = float(rows[parameter][0])
        used |= {parameter, *(f"{letter}{parameter}" for letter in "lwp" if spec.binned)}
    unknown = sorted(given.keys() - used - _OPTIONS.keys() - set(_OFF) - set(_WITHOUT_EFFECT.split()))
    if unknown:
        raise ConfigError(f"{name}: the physics backend does not know the parameter {unknown[0]}")
    return rows


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:g}"
