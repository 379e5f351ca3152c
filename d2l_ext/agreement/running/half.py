"""Half precision: a column in float16 gives what it gives in float32, to the digits that are left.

Both are given the same numbers, which float16 holds, and the same dropout masks. Sums are taken in
float32, and so nothing overflows that fits: where a softmax, a norm or a loss sums in float16, a
long row or a large number shows it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job, bound, flat
from d2l_ext.config import build
from d2l_ext.interface import Arrays, Backend
from d2l_ext.nested import Nested, nest

HALF = "float16"  # which NumPy has, too
UNIT = 2.0**-11  # half the gap between 1 and the next number
# In units of the largest number: of 20 seeds of all that is compared, the largest was 4.0 in a
# function, whose weights are subnormal, and 21 in a module, which has many sums in a row.
ALLOWED = {True: 8, False: 64}


def differing(backend: Backend, job: Job) -> list[str]:
    """Return in words which outputs of a job are not the same in float16 as in float32."""
    if HALF not in backend.dtypes:
        return []
    wide, half = (_outputs(backend, job, dtype) for dtype in ("float32", HALF))
    found = []
    for path, exact in wide.items():
        wanted = np.dtype(HALF) if exact.dtype.kind == "f" else exact.dtype
        if half[path].dtype != wanted:
            found.append(f"{path} is {half[path].dtype}, must be {wanted}")
        elif (units := _error(half[path], exact) / UNIT) > ALLOWED[job.is_function]:
            found.append(f"{path} is off by {units:.3g} units")
    return found


def _outputs(backend: Backend, job: Job, dtype: str) -> Arrays:
    """Return the outputs and attention weights that numbers give which are rounded to float16."""

    def rounded(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return x.astype(HALF).astype(dtype) if x.dtype.kind == "f" else x

    inputs: Sequence[Nested] = nest(rounded, job.half)
    if job.is_function:
        return flat(backend.numpy(bound(backend.api, job.target)(*backend.array(inputs))))
    model = backend.model(build(backend.api, job.target), *inputs, dtype=dtype)
    model.load_parameters({name: rounded(p) for name, p in job.parameters.items()})
    outputs = model(*inputs, training=job.training, dropout=job.masks)
    return flat((job.compared(outputs), model.attention_weights))


def _error(half: np.ndarray, exact: np.ndarray) -> float:
    """Return max |a - b| / max |b|; infinite where only one of the two is finite."""
    finite = np.isfinite(exact)
    if not np.array_equal(np.isfinite(half), finite):
        return np.inf
    difference = np.abs(half[finite].astype(exact.dtype) - exact[finite]).max(initial=0)
    return float(difference / (np.abs(exact[finite]).max(initial=0) or 1))
