"""Which known difference makes the two sides of a piece equal."""

import itertools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.porting.known.attention import attention
from d2l_ext.porting.known.between import activation, pooling, positional, softmax
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.formula import Formula
from d2l_ext.porting.known.layers import embedding, layer_norm, linear
from d2l_ext.porting.known.piece import Piece
from d2l_ext.porting.known.recurrent import gru, lstm
from d2l_ext.porting.known.relations import RELATIONS

Choice: TypeAlias = dict[str, Any]  # of a value for each of a formula's options

CHANGES_A = 2  # options in which the first model may differ from the usual
CHANGES_B = 3  # options in which the second may differ from the first

# In the order in which they are tried.
FORMULAS = (
    *(layer_norm, linear, embedding, gru, lstm),
    *(activation, softmax, positional, attention, pooling),
)


def explain(
    piece: Piece, error: Callable[[np.ndarray, np.ndarray], float], budget: float
) -> Cause | None:
    """Find the known difference that fits.

    Args:
        piece: a `Piece`.
        error: ``error(x, y)`` gives the size of the difference of two arrays.
        budget: the largest error that counts as none.

    Returns:
        A `Cause`, or None.
    """
    for changes, one in itertools.product((0, CHANGES_A), FORMULAS):
        for given in one.givens(piece):
            fits = _fits(one, piece, given, changes, error, budget)
            if fits is not None:
                return _cause(*fits)
    for name, relate in RELATIONS.items():
        for a, b, sides in ((piece.a, piece.b, "B"), (piece.b, piece.a, "A")):
            for detail, y in relate(piece, a, b):
                if error(y, b) <= budget:
                    title, sentence = CAUSES[name]
                    return Cause(title, f"{sides}: {detail}. {sentence}", error(y, b))
    return None


def _fits(
    one: Formula,
    piece: Piece,
    given: dict[str, Any],
    changes: int,
    error: Callable[[np.ndarray, np.ndarray], float],
    budget: float,
) -> tuple[Choice, Choice, float] | None:
    """Return the choice that gives `a`, the one that gives `b` and the error left, or None."""
    usual = {name: values[0] for name, values in one.options.items()}

    def closest(start: Choice, wanted: np.ndarray, most: int) -> tuple[float, Choice] | None:
        """Return the choice that fits with the fewest changes, the best of them, and its error."""
        for changes in range(most + 1):
            fits = []
            for choice in one.choices(start, changes):
                y = one.compute(piece, **given, **choice)
                if y is not None and y.shape == wanted.shape:
                    left = error(y, wanted)
                    fits += [(left, choice)] if left <= budget else []
            if fits:
                return min(fits, key=lambda fit: fit[0])
        return None

    a = closest(usual, piece.a, changes)
    b = None if a is None else closest(a[1], piece.b, CHANGES_B)
    if a is None or b is None or a[1] == b[1]:
        return None
    return a[1], b[1], max(a[0], b[0])


def _cause(a: Choice, b: Choice, left: float) -> Cause:
    changed = [name for name in a if a[name] != b[name]]
    names, sentences, details = [], [], []
    for name in changed:
        key = "gelu" if name == "activation" and "GELU" in a[name] and "GELU" in b[name] else name
        title, sentence = CAUSES[key]
        names += [title] if title not in names else []
        sentences += [sentence] if sentence not in sentences else []
        details.append(f"{name.replace('_', ' ')}: A {a[name]}, B {b[name]}")
    return Cause(" and ".join(names), f"{'; '.join(details)}. {' '.join(sentences)}", left)
