"""Embeddings of tokens, positions and token types in one piece of code, as in BERT."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece

AHEAD = 2  # rows of a table of positions that an offset may reach beyond the last step


def _tables(piece: Piece) -> Iterator[dict[str, Any]]:
    if piece.a.ndim != 3:
        return
    num_steps, size = piece.a.shape[1:]
    tokens = [ids for ids in piece.integers(2) if ids.shape == piece.a.shape[:2]]
    for own in piece.parameters:
        tables = [p for p in own.values() if p.ndim == 2 and p.shape[1] == size]
        for words, steps in itertools.permutations(tables, 2):
            if len(steps) < num_steps + AHEAD:
                continue
            others = [p for p in tables if p is not words and p is not steps and len(p) > 1]
            for ids, types in itertools.product(tokens, [None, *others]):
                if ids.max(initial=0) >= len(words):
                    continue
                # With a cache there is one step, after any number of others.
                for past in range(len(steps) - AHEAD) if num_steps == 1 else (0,):
                    given = {"ids": ids, "words": words, "steps": steps, "types": types}
                    yield given | {"past": past}


@formula(
    _tables,
    position=("from 0", "from 1", "from 2"),
    positions=("added", "missing"),
    embedding_scale=("1", "sqrt(d)"),
    token_types=("0", "1", "missing"),
)
def summed(
    piece: Piece,
    ids: np.ndarray,
    words: np.ndarray,
    steps: np.ndarray,
    types: np.ndarray | None,
    past: int,
    position: str,
    positions: str,
    embedding_scale: str,
    token_types: str,
) -> np.ndarray | None:
    """The sum of a token's row, its position's and its type's, each in a table of its own."""
    if types is None and token_types != "0":
        return None
    start = past + int(position.split()[1])
    y = words[ids].astype(np.float64)
    if embedding_scale == "sqrt(d)":
        y = y * math.sqrt(words.shape[1])
    if positions == "added":
        y = y + steps[start : start + ids.shape[1]]
    return y if types is None or token_types == "missing" else y + types[int(token_types)]
