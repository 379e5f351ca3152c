"""Arithmetic in bfloat16 and float16, on NumPy, which lacks the first.

A `Rounding` array rounds whatever is computed from it, operation by operation, as code does that
has no wider precision inside. So a `Formula` shows what its errors would be without one.
"""

import dataclasses
from typing import Any

import numpy as np

from d2l_ext.porting.known.piece import Piece

LARGEST = {"bfloat16": float.fromhex("0x1.fep127"), "float16": 65504.0}
DIGITS = {"bfloat16": 8, "float16": 11}  # of the significand, the first one included
LEAST = {"bfloat16": -126, "float16": -14}  # exponent of the smallest number with all digits


def rounded(x: np.ndarray, precision: str) -> np.ndarray:
    """Return the nearest numbers that a precision has, ties to even; the dtype stays.

    Args:
        x: floats.
        precision: "bfloat16" or "float16".
    """
    with np.errstate(over="ignore", invalid="ignore"):
        _, exponent = np.frexp(x)  # x = m * 2^exponent, m in [1/2, 1)
        step = np.maximum(exponent, LEAST[precision] + 1) - DIGITS[precision]
        y = np.ldexp(np.rint(np.ldexp(x, -step)), step)
        return np.where(np.abs(y) > LARGEST[precision], np.sign(x) * np.inf, y).astype(x.dtype)


def holds(x: np.ndarray, precision: str) -> bool:
    """Whether all numbers of an array are in a precision."""
    return bool(np.array_equal(rounded(x, precision), x, equal_nan=True))


class Rounding(np.ndarray):
    """An array of which every operation's result is rounded to `precision`; sums are once."""

    precision: str = "bfloat16"

    def __array_finalize__(self, source: Any) -> None:
        self.precision = getattr(source, "precision", self.precision)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if "out" in options:  # which `mean` divides in
            options["out"] = tuple(map(_plain, options["out"]))
        return self._kept(getattr(ufunc, method)(*map(_plain, inputs), **options))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._kept(super().__array_function__(function, types, args, kwargs))

    def _kept(self, y: Any) -> Any:
        if not isinstance(y, (np.ndarray, np.floating)) or y.dtype.kind != "f":
            return y
        return rounding(np.asarray(y), self.precision)


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Rounding) else x


def rounding(x: np.ndarray, precision: str) -> Rounding:
    """Return an array as a `Rounding` one, rounded itself."""
    y = rounded(x.view(np.ndarray), precision).view(Rounding)
    y.precision = precision
    return y


def without_island(piece: Piece, precision: str) -> Piece:
    """Return a piece of which every formula is computed in a precision throughout."""

    def low(arrays):
        return [rounding(x, precision) if x.dtype.kind == "f" else x for x in arrays]

    return dataclasses.replace(piece, sources=low(piece.sources))
