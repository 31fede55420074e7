"""Made-up model cards with every effect switched on, so that most tests need neither ngspice nor the PDK."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsgym.simulators.physics.card import read_card
from zsgym.simulators.physics.prepare import GEOMETRY, prepare

OPTIONS = {"level": 54.0, "version": 4.5, "binunit": 2.0, "rbodymod": 1.0, "tnoimod": 1.0}
PROCESS = {"tnom": 30.0, "toxe": 4e-9, "ngate": 1e20, "lint": 1e-8, "wint": 8e-9, "dlc": 5e-9, "dwc": -2e-9}
EFFECTS = {
    "k1": 0.5, "k2": -0.03, "k3": 2.0, "k3b": 0.5, "w0": 1e-7, "lpe0": 1e-7, "lpeb": -3e-8, "dvt0": 2.0, "dvt1": 0.4,
    "dvt0w": -0.5, "dvt1w": 1e6, "cdsc": 1e-4, "cdscb": 1e-4, "cdscd": 1e-3, "cit": 1e-4, "nfactor": 1.4, "minv": 0.1,
    "voffl": 3e-9, "kt1": -0.3, "kt2": -0.03, "lvth0": 1e-8, "pu0": 1e-16, "ags": 0.3, "a2": 0.6, "b0": 1e-7,
    "b1": 1e-8, "keta": -0.02,
    "dwg": -5e-9, "dwb": -1e-8, "prwg": 0.1, "prwb": -0.2, "pclm": 0.3, "pdiblcb": -0.03, "pscbe1": 5e8,
    "alpha0": 1e-8, "alpha1": 0.5, "beta0": 12.0, "agidl": 1e-9, "cgidl": 2.0, "egidl": 0.1, "noff": 2.5,
    "voffcv": -0.1, "acde": 0.6, "moin": 9.0, "cgsl": 3e-11, "cgdl": 2e-11, "cgso": 5e-11, "cgdo": 6e-11, "cgbo": 2e-12,
    "mjswgs": 0.7, "cjswgs": 2e-10, "cjsws": 3e-11, "njs": 1.2, "rsh": 5.0, "ef": 0.9, "lintnoi": -5e-8,
}  # fmt: skip
KINDS = {"nmos": {"vth0": 0.45, "u0": 0.03}, "pmos": {"vth0": -0.5, "u0": 0.009}}


def made_up(kind: str, **changes: float) -> dict[str, float]:
    """Parameters of a card, some of them changed."""
    return OPTIONS | PROCESS | EFFECTS | KINDS[kind] | changes


def device(
    kind: str, width: float = 2e-6, length: float = 4e-7, celsius: float = 27.0, *, m: float = 1.0, nf: float = 1.0,
    reference_ac: bool = False, layout: dict[str, float] | None = None, **changes: float,
) -> NDArray[Any]:  # fmt: skip
    """One prepared device (an array of one record)."""
    geometry = np.zeros(1, dtype=GEOMETRY)
    for name, value in {"w": width, "l": length, "nf": nf, "m": m, "temperature": celsius, **(layout or {})}.items():
        geometry[name] = value
    return prepare([read_card(kind, made_up(kind, **changes))], geometry, reference_ac=reference_ac)
