"""Positions that enter as the distance of query and key: T5's buckets."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.porting.arrays import LEFT_OUT
from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece, distinct

DIRECTIONS = ("both directions", "those before")
FARTHEST = 128  # from here on, all distances have one bucket


def buckets(shape: tuple[int, ...], count: int, position: str, direction: str) -> np.ndarray:
    """Return T5's bucket of each query and key, (queries, keys).

    Half of the buckets are for one distance each, the others for ranges that grow as its logarithm;
    where keys after a query count, too, each direction has half of them. One query alone is the
    last step, after those in a cache.

    Args:
        shape: the numbers of queries and of keys.
        count: of the buckets.
        position: "from 1" if keys are counted so and queries from 0, "from 0", or "from -1".
        direction: one of `DIRECTIONS`.
    """
    num_queries, num_keys = shape
    past = num_keys - 1 if num_queries == 1 else 0
    queries = past + np.arange(num_queries)[:, None]
    distance = np.arange(num_keys) - queries + int(position.split()[1])
    first = np.zeros_like(distance)
    if direction == "both directions":
        count //= 2
        first = np.where(distance > 0, count, 0)
        distance = np.abs(distance)
    else:
        distance = np.maximum(-distance, 0)
    exact = count // 2
    growth = np.log(np.maximum(distance, 1) / exact) / math.log(FARTHEST / exact)
    large = np.minimum(exact + (growth * (count - exact)).astype(int), count - 1)
    return first + np.where(distance < exact, distance, large)


def _bucket_ids(piece: Piece) -> Iterator[dict[str, Any]]:
    if piece.a.dtype.kind in "iu" and piece.a.ndim == 2:
        yield from ({"count": count} for count in (32, 16, 64))


@formula(_bucket_ids, position=("from 0", "from 1", "from 2"), direction_of_bias=DIRECTIONS)
def bucket_ids(piece: Piece, count: int, position: str, direction_of_bias: str) -> np.ndarray:
    """The buckets themselves, which a table is to be read at."""
    return buckets(piece.a.shape, count, position, direction_of_bias)


def tables_of_buckets(piece: Piece, heads: int) -> list[np.ndarray]:
    """List the parameters that may have a row for each bucket: two each way, at least."""
    own = distinct(p for own in piece.parameters for p in own.values() if p.ndim == 2)
    return [p.astype(np.float64) for p in own if p.shape[1] == heads and len(p) >= 4]


def _position_bias(piece: Piece) -> Iterator[dict[str, Any]]:
    if piece.a.ndim == 4 and piece.a.dtype.kind == "f":
        yield from ({"table": p} for p in tables_of_buckets(piece, piece.a.shape[1]))


@formula(_position_bias, position=("from 0", "from 1", "from 2"), direction_of_bias=DIRECTIONS)
def position_bias(
    piece: Piece, table: np.ndarray, position: str, direction_of_bias: str
) -> np.ndarray:
    """What a table of buckets adds to scores, (batch, heads, queries, keys), and a mask with it."""
    ids = buckets(piece.a.shape[-2:], len(table), position, direction_of_bias)
    y = np.broadcast_to(table[ids].transpose(2, 0, 1), piece.a.shape)
    return np.where(piece.a <= LEFT_OUT, piece.a, y)
