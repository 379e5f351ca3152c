"""Exact derivatives in one direction at a time: slow, short, and the check of `tangent`.

f(x + ih).imag / h with h = 1e-30 is the derivative of f to rounding, since no difference is taken
(Squire and Trapp, 1998). The reference takes complex arrays everywhere, and branches on the real
part only.
"""

from collections.abc import Callable

import numpy as np

from d2l_ext.nested import Nested, nest
from d2l_ext.reference.layers import Array, Float

STEP = 1e-30  # no difference is taken, so the step only has to be small


def gradient(function: Callable[[Nested], Float[Array, ""]], values: Nested) -> Nested:
    """Differentiate a scalar function of nested arrays, by one run per entry.

    Args and Returns:
        As `tangent.gradient`; the function's arrays are complex.
    """
    values = nest(_complex, values)
    return nest(lambda x: _by(x, lambda: function(values)) if x.dtype.kind == "c" else None, values)


def _complex(x):
    return x.astype(np.result_type(x, np.complex64)) if x.dtype.kind == "f" else x


def _by(x, run):
    """Differentiate a run by an array that it uses, entry by entry."""
    found = np.zeros(x.shape, x.real.dtype)
    for i in np.ndindex(x.shape):
        start = x[i]
        x[i] = start + 1j * STEP
        found[i] = np.imag(run()) / STEP
        x[i] = start
    return found
