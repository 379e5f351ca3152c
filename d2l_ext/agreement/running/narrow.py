"""Narrow integers: ids, lengths and positions in four bytes give what they give in eight."""

from collections.abc import Callable
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import flat
from d2l_ext.agreement.running import changes
from d2l_ext.interface import Arrays
from d2l_ext.nested import Nested, nest

NARROW = "int32"  # which TensorFlow and JAX have where PyTorch and NumPy have int64


def differing(call: Callable[..., Nested], inputs: Nested, outputs: Arrays) -> list[str]:
    """Return in words what is not the same when integers are `NARROW`.

    Args:
        call: what has given the outputs.
        inputs: of the call, with integers of another dtype.
        outputs: flat.
    """

    def narrowed(x: Any) -> np.ndarray:
        x = np.asarray(x)
        fits = x.dtype.kind == "i" and np.array_equal(x, x.astype(NARROW))
        return x.astype(NARROW) if fits else x

    try:
        found = flat(call(*nest(narrowed, inputs)))
    except (ValueError, TypeError, IndexError) as error:
        return [f"refused: {error}"]
    return changes.differing(outputs, found)
