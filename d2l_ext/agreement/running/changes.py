"""Nothing changes that should not: what a column is given, and a model's parameters.

A tensor that a column writes into is somebody else's: a batch that is used again, a state that
another hypothesis goes on from.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from d2l_ext.agreement.cases.job import flat
from d2l_ext.interface import Arrays, Model
from d2l_ext.nested import Nested, nest

NOTHING = "nothing"
Value = TypeVar("Value")


def watched(
    model: Model, do: Callable[[], Value], trains: bool = False
) -> tuple[Value, np.ndarray]:
    """Do something with a model, and see what changes that should not.

    Args:
        model: a `Model`.
        do: called without arguments.
        trains: whether its parameters are to change.

    Returns:
        What `do` returns, and what has changed, in words: arrays that the column was given
        meanwhile (inputs, states, labels, tokens, masks), numbered in the order in which they were
        made for it, and parameters.
    """
    given: list[tuple[Nested, Arrays]] = []

    def note(arrays: Nested) -> None:
        given.append((arrays, _copies(model, arrays)))

    before = {} if trains else model.parameters()
    model.on_cast = note
    try:
        value = do()
    finally:
        model.on_cast = None
    found = [
        f"parameter {name}" for name in differing(before, {} if trains else model.parameters())
    ]
    for number, (arrays, were) in enumerate(given):
        found += [f"argument {number}.{path}" for path in differing(were, _copies(model, arrays))]
    return value, in_words(found)


def in_words(found: list[str]) -> np.ndarray:
    """Return what has changed as an array, which is compared as it is."""
    return np.array(", ".join(found) or NOTHING)


def differing(before: Arrays, after: Arrays) -> list[str]:
    """Return the names of the arrays that are not what they were; NaN is NaN."""
    return [
        name
        for name, x in before.items()
        if not np.array_equal(x, after[name], equal_nan=x.dtype.kind == "f")
    ]


def _copies(model: Model, arrays: Nested) -> Arrays:
    return flat(nest(np.array, model.backend.numpy(arrays)))  # some share a tensor's memory
