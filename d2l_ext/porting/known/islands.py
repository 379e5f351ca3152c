"""Formulas that a low precision spoils, unless they are computed in a wider one inside."""

import itertools

import numpy as np

from d2l_ext.porting.known.attention import attention, multihead
from d2l_ext.porting.known.between import pooling, softmax
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.explain import ErrorOf, Fit
from d2l_ext.porting.known.layers import layer_norm, rms_norm
from d2l_ext.porting.known.loss import cross_entropy
from d2l_ext.porting.known.piece import Piece
from d2l_ext.porting.known.precision import without_island

AS_LARGE = 1.5  # what order operations have, and so how errors add up, is the model's own choice
ISLANDS = {
    "norm": (layer_norm, rms_norm),
    "softmax": (softmax, attention, multihead),
    "loss": (cross_entropy,),
    "mean": (pooling,),
}


def missing_island(fit: Fit, piece: Piece, precision: str, error: ErrorOf) -> Cause | None:
    """Return the cause that a formula with every operation rounded is as far off, or None.

    Args:
        fit: the formula that gives what the first model computed.
        piece: a `Piece`; its `a` is exact, its `b` in the precision.
        precision: "bfloat16" or "float16".
        error: ``error(x, y)`` gives the size of the difference of two arrays.
    """
    name = next((name for name, formulas in ISLANDS.items() if fit.formula in formulas), None)
    if name is None:
        return None
    low = without_island(piece, precision)
    given = next(itertools.islice(fit.formula.givens(low), fit.number, None), None)
    y = None if given is None else fit.formula.compute(low, **given, **fit.choice)
    if y is None:
        return None
    y = np.asarray(y)
    if error(piece.b, piece.a) > AS_LARGE * error(y, piece.a):
        return None
    title, sentence = CAUSES["island"]
    return Cause(f"{title} ({name})", sentence, error(y, piece.b))
