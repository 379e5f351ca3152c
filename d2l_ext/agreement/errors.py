"""How far an answer is from the exact one, and whether that is within the budget.

The error of a tensor is max |a - b| / max |b|, b being exact. There is no tolerance here.
"""

import dataclasses
import math

import numpy as np

from d2l_ext.agreement.exact import ZERO


@dataclasses.dataclass(frozen=True)
class Error:
    """The error of one tensor.

    Attributes:
        quantity, tensor: which.
        size: max |a - b| / max |b|; infinite where the two can't be compared.
        reason: why it is infinite, or "".
    """

    quantity: str
    tensor: str
    size: float
    reason: str = ""

    def __str__(self):
        return f"{self.quantity} {self.tensor}: {self.reason or f'error {self.size:.1e}'}"


def error(a, b, scale=None):
    """Return the error of `a`, and why it is infinite, or "".

    Args:
        a: the answer.
        b: the exact array.
        scale: what the error is relative to; by default max |b|.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return math.inf, f"has shape {a.shape}, must be {b.shape}"
    if a.size == 0:
        return 0.0, ""
    if a.dtype.kind not in "f":
        return (0.0, "") if np.array_equal(a, b) else (math.inf, "differs")
    finite = np.isfinite(b)
    if not (np.isfinite(a) == finite).all() or not np.array_equal(
        a[~finite], b[~finite], equal_nan=True
    ):
        return math.inf, "is not finite where it should be, or the other way round"
    difference = np.abs(a[finite].astype(np.longdouble) - b[finite]).max(initial=0)
    scale = np.abs(b[finite]).max(initial=0) if scale is None else scale
    if difference < np.finfo(a.dtype).tiny:  # what this precision holds only as a subnormal, or 0
        return 0.0, ""
    return (float(difference / scale), "") if scale else (math.inf, "must be zero")


def errors(results, exact, dtype=None):
    """Compare everything that a job gave with what it should give.

    Args:
        results: ``{quantity: {tensor: array}}``, as from a backend.
        exact: the same, exact; None is not compared.
        dtype: what floating results must be, or None.

    Returns:
        A list of `Error`.
    """
    found = []
    for quantity, tensors in exact.items():
        given = results.get(quantity, {})
        found += [
            Error(quantity, name, math.inf, "is unknown") for name in given if name not in tensors
        ]
        scale = _common_scale(quantity, exact)
        for name, b in tensors.items():
            if name not in given:
                found.append(Error(quantity, name, math.inf, "is missing"))
            elif b is not None:
                found.append(Error(quantity, name, *_judge(given[name], b, scale, dtype)))
    return found


GRADIENTS = ("gradients", "input gradients")


def _common_scale(quantity, exact):
    """Return the model's largest gradient, the scale of those that are zero."""
    if quantity not in GRADIENTS:
        return None
    return max(
        (np.abs(b).max(initial=0) for q in GRADIENTS for b in exact.get(q, {}).values()), default=0
    )


def _judge(a, b, scale, dtype):
    if dtype is not None and a.dtype.kind == "f" and a.dtype != dtype:
        return math.inf, f"has dtype {a.dtype}, must be {dtype}"
    zero = scale is not None and np.abs(b).max(initial=0) <= ZERO * scale
    return error(a, b, scale if zero else None)
