"""Values that nest: arrays in tuples and lists of any depth, with None where there is none."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

# Of arrays of a framework or of NumPy; a single array nests in nothing.
Nested: TypeAlias = Any


def nest(function: Callable[..., Any], *values: Nested) -> Nested:
    """Apply a function to corresponding leaves of nested tuples and lists; None stays None."""
    first = values[0]
    if first is None:
        return None
    if isinstance(first, (tuple, list)):
        return type(first)(nest(function, *items) for items in zip(*values, strict=True))
    return function(*values)


def leaves(value: Nested) -> list[Any]:
    """List the leaves of nested tuples and lists, without the None."""
    if value is None:
        return []
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def stacked(values: Nested) -> Nested:
    """Make one array of each list of arrays that have one shape (steps, or blocks)."""
    if not isinstance(values, (tuple, list)):
        return values
    items = [stacked(item) for item in values]
    if all(isinstance(x, np.ndarray) for x in items) and len({x.shape for x in items}) == 1:
        return np.stack(items)
    return items
