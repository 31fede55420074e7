"""exp and log from additions, multiplications and one division: no branches, no tables, no library.

The compiler turns a loop over several transistors into vector instructions only if nothing in it is called; and what is
made of the five exact operations of IEEE arithmetic gives the same digits on every machine. Errors are about one unit
in the last place at most (a test compares with 40 digits).
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

from zsgym.simulators.physics.compiling import inlined

# ln 2 in two parts: the first has 40 bits, so that its product with an exponent is exact.
_LN2_HIGH = 0.6931471805592082
_LN2_LOW = 7.371002565167799e-13
_PER_LN2 = 1.4426950408889634
_ROUND = 6755399441055744.0
"""1.5 * 2^52: a number added to it is rounded to an integer, which then stands in the lowest bits."""
_ROUND_BITS = 0x4338000000000000
_ROOT_HALF_BITS = 0x3FE6A09E00000000
"""The bits of a number just below the root of 1/2."""
_EXPONENT = -(1 << 52)
"""Sign and exponent of a number's bits."""


def _reinterpreted(taken: Any, given: Any) -> Any:
    """A function that takes the 64 bits of a number for another type."""

    def reinterpret(context: Any, number: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(given))

        return given(taken), generate

    return intrinsic(reinterpret)


_bits = _reinterpreted(types.float64, types.int64)
_number = _reinterpreted(types.int64, types.float64)


@inlined
def exp(x: float) -> float:
    """e^x, for x between -708 and 709; beyond, the value at the nearer end."""
    if x < -708.0:
        x = -708.0
    if x > 709.0:
        x = 709.0
    shifted = x * _PER_LN2 + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    # The series of e^r - 1 - r over r^2, in pairs, so that the products do not wait for each other.
    r2 = r * r
    r4 = r2 * r2
    low = (1.0 / 2.0 + r * (1.0 / 6.0)) + r2 * (1.0 / 24.0 + r * (1.0 / 120.0))
    middle = (1.0 / 720.0 + r * (1.0 / 5040.0)) + r2 * (1.0 / 40320.0 + r * (1.0 / 362880.0))
    high = (1.0 / 3628800.0 + r * (1.0 / 39916800.0)) + r2 * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
    y = 1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))
    scaled: float = _number(_bits(y) + (_bits(shifted) << 52))
    return scaled


@inlined
def log(x: float) -> float:
    """Natural logarithm of a positive normal number; anything else gives a meaningless number."""
    bits = _bits(x)
    above = bits - _ROOT_HALF_BITS
    k = _number((above >> 52) + _ROUND_BITS) - _ROUND
    f = _number(bits - (above & _EXPONENT)) - 1.0  # x = 2^k (1 + f), with 1 + f between the roots of 1/2 and of 2
    s = f / (2.0 + f)
    # log(1 + f) = 2 artanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...), and 2 s = f - s f.
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = (2.0 / 3.0 + z * (2.0 / 5.0)) + z2 * (2.0 / 7.0 + z * (2.0 / 9.0))
    middle = (2.0 / 11.0 + z * (2.0 / 13.0)) + z2 * (2.0 / 15.0 + z * (2.0 / 17.0))
    high = (2.0 / 19.0 + z * (2.0 / 21.0)) + z2 * (2.0 / 23.0)
    total: float = k * _LN2_HIGH + (k * _LN2_LOW + (f - s * (f - z * (low + z4 * (middle + z4 * high)))))
    return total
