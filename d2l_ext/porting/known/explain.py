"""Which known difference makes the two sides of a piece equal."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.porting.known.attention import attention, multihead
from d2l_ext.porting.known.between import activation, gated, pooling, positional, softmax
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.embeddings import summed
from d2l_ext.porting.known.formula import Formula
from d2l_ext.porting.known.layers import embedding, layer_norm, linear, positions, rms_norm
from d2l_ext.porting.known.loss import cross_entropy
from d2l_ext.porting.known.piece import Piece
from d2l_ext.porting.known.recurrent import gru, lstm
from d2l_ext.porting.known.relations import RELATIONS
from d2l_ext.porting.known.relative import bucket_ids, position_bias

Choice: TypeAlias = dict[str, Any]  # of a value for each of a formula's options
ErrorOf: TypeAlias = Callable[[np.ndarray, np.ndarray], float]

CHANGES_A = 2  # options in which the first model may differ from the usual
CHANGES_B = 3  # options in which the second may differ from the first

# In the order in which they are tried.
FORMULAS = (
    *(layer_norm, rms_norm, linear, positions, embedding, gru, lstm, multihead),
    *(bucket_ids, position_bias),
    *(activation, gated, softmax, cross_entropy, positional, summed, attention, pooling),
)


@dataclasses.dataclass(frozen=True)
class Fit:
    """A formula that gives what the first model computed.

    Attributes:
        formula, choice: which, and with which options.
        number, given: from which of its givens.
        error: what is left.
    """

    formula: Formula
    choice: Choice
    number: int
    given: dict[str, Any]
    error: float


def explain(
    piece: Piece,
    error: ErrorOf,
    budget: float,
    budget_a: float | None = None,
    also: Callable[[Fit], Cause | None] = lambda fit: None,
) -> Cause | None:
    """Find the known difference that fits.

    Args:
        piece: a `Piece`.
        error: ``error(x, y)`` gives the size of the difference of two arrays.
        budget: the largest error that counts as none.
        budget_a: the same for the first model, if it computes in a higher precision.
        also: what else may be the cause, where a formula gives what the first model computed.

    Returns:
        A `Cause`, or None.
    """
    # What leaves most of the difference is no cause, though it may bring it below the budget.
    allowed = budget if budget_a is None else budget_a
    budget = min(budget, error(piece.b, piece.a) / 2)
    for fit in _fits(piece, error, allowed):
        cause = _difference(fit, piece, error, budget) or also(fit)
        if cause is not None:
            return cause
    for name, relate in RELATIONS.items():
        for a, b, sides in ((piece.a, piece.b, "B"), (piece.b, piece.a, "A")):
            for detail, y in relate(piece, a, b):
                if error(y, b) <= budget:
                    title, sentence = CAUSES[name]
                    return Cause(title, f"{sides}: {detail}. {sentence}", error(y, b))
    return None


def _fits(piece: Piece, error: ErrorOf, budget: float) -> Iterator[Fit]:
    """Yield what gives `a`, those that change the fewest of the usual options first."""
    found = set()
    for changes, one in itertools.product(range(CHANGES_A + 1), FORMULAS):
        usual = {name: values[0] for name, values in one.options.items()}
        for number, given in enumerate(one.givens(piece)):
            if (id(one), number) in found:
                continue
            best = _closest(one, piece, given, piece.a, usual, changes, error, budget)
            if best is not None:
                found.add((id(one), number))
                yield Fit(one, best[1], number, given, best[0])


def _difference(fit: Fit, piece: Piece, error: ErrorOf, budget: float) -> Cause | None:
    """Return the cause that other options of the same formula give `b`, the fewest, or None."""
    for changes in range(CHANGES_B + 1):
        best = _closest(fit.formula, piece, fit.given, piece.b, fit.choice, changes, error, budget)
        if best is not None:
            return _cause(fit.choice, best[1], max(fit.error, best[0])) if changes else None
    return None


def _closest(
    one: Formula,
    piece: Piece,
    given: dict[str, Any],
    wanted: np.ndarray,
    start: Choice,
    changes: int,
    error: ErrorOf,
    budget: float,
) -> tuple[float, Choice] | None:
    """Return the best of the choices that fit with so many changes, its error first, or None."""
    fits = []
    for choice in one.choices(start, changes):
        y = one.compute(piece, **given, **choice)
        if y is not None and y.shape == wanted.shape:
            left = error(y, wanted)
            fits += [(left, choice)] if left <= budget else []
    return min(fits, key=lambda fit: fit[0]) if fits else None


def _cause(a: Choice, b: Choice, left: float) -> Cause:
    changed = [name for name in a if a[name] != b[name]]
    names, sentences, details = [], [], []
    for name in changed:
        key = _key(name, a[name], b[name])
        title, sentence = CAUSES[key]
        names += [title] if title not in names else []
        sentences += [sentence] if sentence not in sentences else []
        details.append(f"{name.replace('_', ' ')}: A {a[name]}, B {b[name]}")
    return Cause(" and ".join(names), f"{'; '.join(details)}. {' '.join(sentences)}", left)


def _key(name: str, a: Any, b: Any) -> str:
    """Return what `CAUSES` calls two values of an option."""
    if name == "activation" and "GELU" in a and "GELU" in b:
        return "gelu"
    if name == "causal" and "the last" in f"{a} {b}" and "no" not in (a, b):
        return "window"
    return name
