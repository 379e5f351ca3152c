"""Exact derivatives of the NumPy reference, in many directions at once (forward mode).

A complex step (`complex_step`) gives the derivative in one direction for one run of the reference,
and a model has as many directions as parameters. A `Tangent` does in one run what many complex
steps do: it carries a value and, on a leading axis, its derivative in each direction, and every
NumPy function that the reference uses carries both on. The arithmetic is the same, in whatever
precision, long double included; `tests/harness/test_tangent.py` holds it against the complex step.

    value' of f(x) = f_x x'        value' of f(x, y) = f_x x' + f_y y'
"""

from collections.abc import Callable
from typing import Any, SupportsIndex

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from scipy import special

from d2l_ext.nested import Nested, leaves, nest
from d2l_ext.reference.layers import Array, Float, erf

DIRECTIONS = 512  # at once: few enough for memory and cache, many enough for NumPy

# Local derivatives of one-argument functions, from the argument x and the result y.
UNARY = {
    np.negative: lambda x, y: -np.ones_like(x),
    np.tanh: lambda x, y: 1 - y * y,
    np.exp: lambda x, y: y,
    np.log: lambda x, y: 1 / x,
    np.sqrt: lambda x, y: 0.5 / y,
    special.erf: lambda x, y: 2 / np.sqrt(4 * np.arctan(np.ones_like(x))) * np.exp(-x * x),
}
# The same of two-argument functions: by the first and by the second argument.
BINARY = {
    np.add: (lambda a, b, y: 1, lambda a, b, y: 1),
    np.subtract: (lambda a, b, y: 1, lambda a, b, y: -1),
    np.multiply: (lambda a, b, y: b, lambda a, b, y: a),
    np.divide: (lambda a, b, y: 1 / b, lambda a, b, y: -y / b),
}
COMPARISONS = {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal}


class Tangent(NDArrayOperatorsMixin):
    """An array and its derivatives.

    Args:
        value: an array of any shape.
        tangent: the derivatives in some consecutive directions; in all
            others they are zero.
        first: the number of the first of these directions.
    """

    def __init__(
        self,
        value: Float[Array, "*shape"],
        tangent: Float[Array, " directions *shape"],
        first: SupportsIndex = 0,
    ):
        self.value, self.tangent, self.first = value, tangent, first

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    # The reference branches on the real part, which of a complex step is the value.
    real = property(lambda self: self.value)
    T = property(lambda self: self.transpose())

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        # For the reference's checks, which look at shapes and values.
        return np.asarray(self.value, dtype)

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        return self._with(self.value[key], self.tangent[(slice(None), *key)])

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if method != "__call__" or options:
            return NotImplemented
        values = [value_of(x) for x in inputs]
        # SciPy has no long double; the reference has.
        result = erf(*values) if ufunc is special.erf else ufunc(*values)
        if ufunc in COMPARISONS:
            return result
        return _sum(result, _partial_derivatives(ufunc, inputs, values, result))

    def __array_function__(self, function, types, args, options):
        if function not in FUNCTIONS:
            return NotImplemented
        return FUNCTIONS[function](*args, **options)

    def sum(self, axis: int | tuple | None = None, keepdims: bool = False) -> "Tangent":
        """As `np.sum`."""
        return self._reduced(np.sum, axis, keepdims)

    def mean(self, axis: int | tuple | None = None, keepdims: bool = False) -> "Tangent":
        """As `np.mean`."""
        return self._reduced(np.mean, axis, keepdims)

    def _reduced(self, function, axis, keepdims):
        # Counted from the last, an axis has the same number with the derivatives' axis in front.
        axis = tuple(range(-self.ndim, 0)) if axis is None else axis
        assert np.max(axis, initial=-1) < 0, "axes are counted from the last"
        return self._with(*(function(x, axis=axis, keepdims=keepdims) for x in self._both()))

    def reshape(self, *shape: int | tuple) -> "Tangent":
        """As `np.reshape`."""
        value = self.value.reshape(*shape)
        return self._with(value, self.tangent.reshape(len(self.tangent), *value.shape))

    def transpose(self, *axes: SupportsIndex) -> "Tangent":
        """As `np.transpose`."""
        axes = axes or tuple(reversed(range(self.ndim)))
        tangent = self.tangent.transpose(0, *(axis + 1 for axis in axes))
        return self._with(self.value.transpose(*axes), tangent)

    def _with(self, value, tangent):
        return Tangent(value, tangent, self.first)

    def _both(self):
        return self.value, self.tangent

    def aligned(self, ndim: int) -> Float[Array, "directions ..."]:
        """Return the derivatives with as many axes as a result of ``ndim`` axes needs."""
        return self.tangent.reshape(len(self.tangent), *(1,) * (ndim - self.ndim), *self.shape)


def gradient(function: Callable[[Nested], Float[Array, ""]], values: Nested) -> Nested:
    """Differentiate a scalar function of nested arrays.

    Args:
        function: takes the values, in which some arrays are a `Tangent`, and returns a scalar.
        values: arrays, nested; each entry of a floating one is a direction of its own.

    Returns:
        The gradient, nested like the values; what is not floating gets None.
    """
    floats = nest(_floating, values)
    starts = np.cumsum([0, *(x.size for x in leaves(floats))])
    found = np.zeros(starts[-1], np.longdouble)  # holds every precision
    for low in range(0, len(found), DIRECTIONS):
        scalar = function(_variables(values, starts, low, low + DIRECTIONS))
        if isinstance(scalar, Tangent):
            found[scalar.first : scalar.first + len(scalar.tangent)] = scalar.tangent
    parts = iter(np.split(found, starts[1:-1]))
    return nest(lambda x: next(parts).reshape(x.shape).astype(x.dtype), floats)


def _floating(x):
    return x if x.dtype.kind == "f" else None


def _variables(values, starts, low, high):
    """Make variables of those arrays whose directions lie between two, as far as they do."""
    starts = iter(starts)

    def variable(x):
        if x.dtype.kind != "f":
            return x
        first = next(starts)
        begin, end = max(low - first, 0), min(high - first, x.size)
        if begin >= end:
            return x
        tangent = np.eye(end - begin, x.size, begin, x.dtype)
        return Tangent(x, tangent.reshape(-1, *x.shape), first + begin)

    return nest(variable, values)


def value_of(x: Any) -> Any:
    """Return the value of a `Tangent`; anything else is its own."""
    return x.value if isinstance(x, Tangent) else x


def _partial_derivatives(ufunc, inputs, values, result):
    """Yield (first direction, contribution of one input to the derivative)."""
    if ufunc is np.matmul:
        a, b = inputs
        ndim = max(np.ndim(values[0]), np.ndim(values[1]))
        if isinstance(a, Tangent):
            yield a.first, a.aligned(ndim) @ values[1]
        if isinstance(b, Tangent):
            yield b.first, values[0] @ b.aligned(ndim)
    elif ufunc in UNARY:
        yield inputs[0].first, inputs[0].tangent * UNARY[ufunc](values[0], result)
    elif ufunc in BINARY:
        for x, partial in zip(inputs, BINARY[ufunc], strict=True):
            if isinstance(x, Tangent):
                yield x.first, x.aligned(result.ndim) * partial(*values, result)
    else:
        raise NotImplementedError(f"{ufunc.__name__} has no derivative here")


def _sum(result, parts):
    """Make a `Tangent` whose derivative is the sum of parts, each of its own directions."""
    parts = list(parts)
    if len(parts) == 1 and parts[0][1].shape[1:] == result.shape:
        return Tangent(result, parts[0][1], parts[0][0])
    first = min(start for start, _ in parts)
    last = max(start + len(part) for start, part in parts)
    total = np.zeros((last - first, *result.shape), result.dtype)
    for start, part in parts:
        total[start - first : start - first + len(part)] += part
    return Tangent(result, total, first)


def _common(arrays):
    """Return the first direction, and derivatives in the same directions, of several arrays."""
    tangents = [x for x in arrays if isinstance(x, Tangent)]
    first = min(x.first for x in tangents)
    count = max(x.first + len(x.tangent) for x in tangents) - first

    def widened(x):
        whole = np.zeros((count, *np.shape(x)), x.dtype)
        if isinstance(x, Tangent):
            whole[x.first - first : x.first - first + len(x.tangent)] = x.tangent
        return whole

    return first, [widened(x) for x in arrays]


def _where(condition, x, y):
    value = np.where(condition, value_of(x), value_of(y))
    first, tangents = _common([x, y])
    a, b = (t.reshape(len(t), *(1,) * (value.ndim - t.ndim + 1), *t.shape[1:]) for t in tangents)
    return Tangent(value, np.where(condition, a, b), first)


def _joining(function):
    def joined(arrays, axis=0):
        value = function([value_of(x) for x in arrays], axis=axis)
        first, tangents = _common(arrays)
        return Tangent(value, function(tangents, axis=axis % value.ndim + 1), first)

    return joined


def _split(x, sections, axis=0):
    values = np.split(x.value, sections, axis=axis)
    tangents = np.split(x.tangent, sections, axis=axis % x.ndim + 1)
    return [Tangent(v, t, x.first) for v, t in zip(values, tangents, strict=True)]


def _swapaxes(x, a, b):
    axes = list(range(x.ndim))
    axes[a], axes[b] = axes[b], axes[a]
    return x.transpose(*axes)


def _broadcast_to(x, shape):
    tangent = np.broadcast_to(x.aligned(len(shape)), (len(x.tangent), *shape))
    return Tangent(np.broadcast_to(x.value, shape), tangent, x.first)


def _take_along_axis(x, indices, axis):
    along = np.broadcast_to(indices, (len(x.tangent), *indices.shape))
    value = np.take_along_axis(x.value, indices, axis)
    return Tangent(value, np.take_along_axis(x.tangent, along, axis % x.ndim + 1), x.first)


def _clip(x, low, high):
    inside = (x.value >= low) & (x.value <= high)
    return Tangent(np.clip(x.value, low, high), x.tangent * inside, x.first)


FUNCTIONS = {
    np.where: _where,
    np.concatenate: _joining(np.concatenate),
    np.stack: _joining(np.stack),
    np.split: _split,
    np.swapaxes: _swapaxes,
    np.broadcast_to: _broadcast_to,
    np.take_along_axis: _take_along_axis,
    np.clip: _clip,
    np.zeros_like: lambda x: np.zeros_like(x.value),
    np.ones_like: lambda x: np.ones_like(x.value),
    np.iscomplexobj: lambda x: False,
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
}
