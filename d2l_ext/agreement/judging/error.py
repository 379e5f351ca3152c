"""How far an answer is from the exact one, and whether that is within the budget.

The error of a tensor is max |a - b| / max |b|, b being exact. There is no tolerance here.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

# ``{quantity: {tensor: array or None}}``: what a job should give; None is not compared.
Answer: TypeAlias = dict[str, dict[str, Any]]

# A gradient smaller than this, relative to the model's largest, is zero: what long double shows of
# it is its own rounding.
ZERO = 2.0**-53


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

    def __str__(self) -> str:
        return f"{self.quantity} {self.tensor}: {self.reason or f'error {self.size:.1e}'}"


def error(a: ArrayLike, b: ArrayLike, scale: float | None = None) -> tuple[float, str]:
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


def worst_element(a: ArrayLike, b: ArrayLike) -> str:
    """Say where `a` is farthest from the exact `b`, and both values there; "" of other shapes.

    A value that is not finite where the other one is, or not the same, is farther than any.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.size == 0:
        return ""
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        differs = a != b
    else:
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            differs = np.abs(a.astype(np.longdouble) - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        differs = np.where(same, 0, np.where(np.isfinite(differs), differs, np.inf))
    place = np.unravel_index(np.argmax(differs), a.shape)
    where = f"at [{', '.join(map(str, place))}] it is " if place else "it is "
    return f"{where}{_written(a[place], a.dtype)}, must be {_written(b[place], a.dtype)}"


DIGITS = {2: 5, 4: 9}  # by bytes; of larger numbers 17 are enough


def _written(value: Any, dtype: np.dtype) -> str:
    """Write a number with the digits that tell it from its neighbours in a precision."""
    if dtype.kind != "f":
        return str(value)
    return f"{value:.{DIGITS.get(dtype.itemsize, 17)}g}"


def errors(
    results: Mapping[str, Mapping[str, np.ndarray]],
    exact: Answer,
    dtype: str,
    term: float = 0.0,
    saturates: bool = False,
) -> list[Error]:
    """Compare everything that a job gave with what it should give.

    Args:
        results: ``{quantity: {tensor: array}}``, as from a backend.
        exact: the same, exact; None is not compared.
        dtype: what floating results must be.
        term: how large the terms are that gradients are sums of (`Job.largest_term`).
        saturates: whether the terms are expected to cancel (`Case.saturates`).

    Returns:
        A list of `Error`.
    """
    found = []
    for quantity, tensors in exact.items():
        given = results.get(quantity, {})
        found += [
            Error(quantity, name, math.inf, "is unknown") for name in given if name not in tensors
        ]
        source = max(_largest_gradient(exact), term) if quantity in GRADIENTS else 0.0
        nearly = source * (1.0 if saturates else NEARLY)
        for name, b in tensors.items():
            if name not in given:
                found.append(Error(quantity, name, math.inf, "is missing"))
            elif b is not None:
                found.append(Error(quantity, name, *_judge(given[name], b, source, nearly, dtype)))
    return found


GRADIENTS = ("gradients", "input gradients")
NEARLY = 1e-3  # of the terms' size is left where they nearly cancel
A_FEW = 8  # rounding units


def _largest_gradient(exact: Answer) -> float:
    return max((_largest(b) for q in GRADIENTS for b in exact.get(q, {}).values()), default=0.0)


def _largest(b: np.ndarray) -> float:
    return np.abs(b[np.isfinite(b)]).max(initial=0) if b.dtype.kind == "f" else 0.0


def _judge(
    a: np.ndarray, b: np.ndarray, source: float, nearly: float, dtype: str
) -> tuple[float, str]:
    """Return the error of a tensor and why it is infinite.

    A gradient is a sum of terms as large as `source`, the largest gradient or a cotangent times an
    input. Where they cancel altogether, that is the scale; where what is left is at most `nearly`,
    it is for an error of a few rounding units of it: the terms are known no better.
    """
    wanted = np.dtype(dtype) if b.dtype.kind == "f" else b.dtype
    if "f" in (a.dtype.kind, wanted.kind) and a.dtype != wanted:
        return math.inf, f"has dtype {a.dtype}, must be {wanted}"
    largest = _largest(b)
    if largest <= ZERO * source:
        return error(a, b, source)
    if largest <= nearly:
        size, reason = error(a, b, source)
        if size <= A_FEW * np.finfo(dtype).eps:
            return size, reason
    return error(a, b)
