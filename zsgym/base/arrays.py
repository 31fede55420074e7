"""Arrays whose rows come out the same to the bit in a batch and alone."""

import numpy as np
from numpy.typing import NDArray


def rowwise(function: np.ufunc, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A function of every element of (..., m) values, applied to one row (m,) at a time.

    numpy's exp and log may round differently with the length of an array, and a batch must give exactly what its rows
    give one by one.
    """
    result = np.empty_like(values)
    rows = zip(values.reshape(-1, values.shape[-1]), result.reshape(-1, values.shape[-1]), strict=True)
    for row, out in rows:
        function(row, out=out)
    return result
