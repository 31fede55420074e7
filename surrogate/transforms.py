"""Metric scales: each target is regressed on the scale on which its distribution is closest to symmetric.

The scale is chosen from the data (valid training rows only): as it is, logarithmic for positive heavy-tailed metrics,
or asinh for heavy-tailed ones that change sign; then centred and divided by the standard deviation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Kind = Literal["identity", "log10", "asinh"]
Scale = Callable[[FloatArray], FloatArray]

CLIP = 6.0
"""Normalised targets beyond this many standard deviations are clipped, so that no single row rules the squared loss."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One target's scale: normalised = (f(value / unit) - center) / spread."""

    kind: Kind
    unit: float
    center: float
    spread: float

    def normalise(self, values: FloatArray) -> FloatArray:
        """Physical values to normalised ones; NaN, and what a logarithm is not defined for, become NaN."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = _FORWARD[self.kind](values / self.unit)
        normalised = (np.where(np.isfinite(scaled), scaled, np.nan) - self.center) / self.spread
        return np.clip(normalised, -CLIP, CLIP)

    def restore(self, normalised: FloatArray) -> FloatArray:
        """Normalised values to physical ones."""
        return np.asarray(_INVERSE[self.kind](normalised * self.spread + self.center) * self.unit)


_FORWARD: dict[Kind, Scale] = {"identity": np.positive, "log10": np.log10, "asinh": np.arcsinh}
_INVERSE: dict[Kind, Scale] = {"identity": np.positive, "log10": lambda x: 10.0**x, "asinh": np.sinh}


def fit_transform(values: FloatArray) -> Transform:
    """The scale with the smallest skewness among those that the values allow.

    :param values: (n,) finite physical values of valid training rows.
    """
    unit = float(np.median(np.abs(values))) or 1.0
    kinds: list[Kind] = ["identity"]
    if (values > 0.0).all():
        kinds.append("log10")
    elif _excess_kurtosis(values) > 3.0:
        kinds.append("asinh")
    best = min(kinds, key=lambda kind: _asymmetry(_FORWARD[kind](values / unit)))
    scaled = _FORWARD[best](values / unit)
    return Transform(best, unit, float(scaled.mean()), float(scaled.std()) or 1.0)


def _asymmetry(values: FloatArray) -> float:
    """Absolute skewness plus a little of the excess kurtosis, so that symmetric heavy tails count as well."""
    z = (values - values.mean()) / (values.std() or 1.0)
    return float(abs((z**3).mean()) + 0.1 * abs(_excess_kurtosis(values)))


def _excess_kurtosis(values: FloatArray) -> float:
    z = (values - values.mean()) / (values.std() or 1.0)
    return float((z**4).mean() - 3.0)
