"""Closed-loop stability from small-signal data: does a rational fit of the response have a right-half-plane pole?

The AAA algorithm (Nakatsukasa, Sete, Trefethen, SIAM J. Sci. Comput. 40, 2018) fits the sampled closed-loop response by
a rational function in barycentric form, to near machine precision and in a few milliseconds; its poles are the
natural modes of the closed loop. Unlike a phase margin this cannot be deceived by a wrapped phase, by several
unity-gain crossings or by an open loop that is itself unstable.
"""

import warnings

import numpy as np
import numpy.typing as npt

_FIT_TOLERANCE = 1e-7  # of the largest magnitude; the AC data are good to about 1e-9
_MAX_TERMS = 60
_MIN_RESIDUE = 1e-5
"""A pole counts when its residue, relative to its distance from the origin and to the peak response, exceeds this:
smaller ones are numerical pole-zero pairs (Froissart doublets)."""
_CONJUGATE_TOLERANCE = 0.5
"""A circuit is real, so its poles are real or come in conjugate pairs. A fit to noisy samples now and then ends with a
lone pole by the imaginary axis near the lowest frequency, whose conjugate is missing by twice its magnitude; weak real
poles come out up to a few tenths of their magnitude off the real axis."""


def closed_loop_poles(
    frequency: npt.NDArray[np.float64], response: npt.NDArray[np.complex128]
) -> npt.NDArray[np.complex128]:
    """Significant poles of a closed-loop response.

    :param frequency: (n,) Hz. :param response: (n,) output over input at these frequencies.
    :return: poles in rad/s. Those beyond the highest frequency are dropped: the sweep does not see them, and a response
        that is flat at its top (the feedthrough of a large input pair) makes a fit put poles there at will.
    """
    from scipy.interpolate import AAA  # imported when needed: it takes longer than all else

    scale = 2.0 * np.pi * 1e6  # keeps the fit near unit magnitude; the physics happens around 1 MHz
    s = 2j * np.pi * frequency / scale
    # Mirrored samples make the fit real-symmetric, as the circuit is.
    points = np.concatenate([s, s.conj()])
    values = np.concatenate([response, response.conj()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fit = AAA(points, values, rtol=_FIT_TOLERANCE, max_terms=_MAX_TERMS)
        poles, residues = fit.poles(), fit.residues()
    weight = np.abs(residues) / np.maximum(np.abs(poles), 1e-12) / np.abs(response).max()
    to_conjugate = np.min(np.abs(poles[:, None] - poles.conj()[None, :]), axis=1, initial=np.inf)
    significant = (
        (weight > _MIN_RESIDUE)
        & (to_conjugate < _CONJUGATE_TOLERANCE * np.abs(poles))
        & (np.abs(poles) <= np.abs(s[-1]))
    )
    return np.asarray(poles[significant] * scale, np.complex128)


def rightmost_pole(frequency: npt.NDArray[np.float64], response: npt.NDArray[np.complex128]) -> float:
    """Largest real part, in rad/s, of the significant closed-loop poles; positive means unstable.

    A response without any significant pole (a constant) gives minus infinity.
    """
    poles = closed_loop_poles(frequency, response)
    return float(poles.real.max()) if poles.size else float("-inf")
