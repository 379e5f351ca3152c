"""How the catalogue's cases draw their inputs, and name what they run."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Int
from numpy.random import Generator

from d2l_ext import reference
from d2l_ext.agreement.cases.case import normal
from d2l_ext.config import describe

Shape: TypeAlias = tuple[int, ...]
# Draws valid lengths, or None and a mask, for scores (batch, num_queries, num_keys).
DrawMask: TypeAlias = Callable[[Generator, Shape], tuple[Any, ...]]

RATE = 0.3  # of dropout


def function(name: str, **options: Any) -> dict[str, Any]:
    """Target: a function of the column, with the arguments that are no arrays."""
    return {"function": name, "options": options}


def module(name: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Target: an instance of a class of the column."""
    return describe(getattr(reference, name)(*arguments, **options))


def ids(rng: Generator, vocab_size: int, *shape: int) -> Int[np.ndarray, "*shape"]:
    """Draw token ids."""
    return rng.integers(0, vocab_size, shape)


def lengths(rng: Generator, batch: int, limit: int, least: int = 1) -> Int[np.ndarray, " batch"]:
    """Draw valid lengths, one of them the whole length and one shorter."""
    lens = rng.integers(min(least, limit - 1), limit, batch)
    lens[rng.integers(batch)] = limit
    return lens


def one_empty(rng: Generator, batch: int, limit: int) -> Int[np.ndarray, " batch"]:
    """Draw valid lengths, the longest and none among them."""
    return rng.permutation([0, limit, *rng.integers(1, limit, batch - 2)])


def qkv(
    rng: Generator,
    batch: int,
    num_queries: int,
    num_keys: int,
    query_size: int,
    key_size: int,
    value_size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw queries, keys and values."""
    return (
        normal(rng, batch, num_queries, query_size),
        normal(rng, batch, num_keys, key_size),
        normal(rng, batch, num_keys, value_size),
    )


def _some_empty(rng: Generator, shape: Shape) -> Int[np.ndarray, " batch"]:
    batch, _, num_keys = shape
    return rng.permuted(([0, min(2, num_keys)] + [num_keys] * batch)[:batch])


def _empty_row(rng: Generator, shape: Shape) -> Bool[np.ndarray, "batch num_queries num_keys"]:
    mask = rng.random(shape) < 0.6
    mask[-1, 0] = False
    return mask


MASKS: dict[str, DrawMask] = {
    "lengths": lambda rng, shape: (lengths(rng, shape[0], shape[2]),),
    "lengths per query": lambda rng, shape: (rng.integers(1, shape[2] + 1, shape[:2]),),
    "mask": lambda rng, shape: (None, rng.random((1, *shape[1:])) < 0.7),
    "mask and lengths": lambda rng, shape: (
        lengths(rng, shape[0], shape[2]),
        rng.random((shape[0], 1, shape[2])) < 0.7,
    ),
    "empty rows": lambda rng, shape: (_some_empty(rng, shape),),
    "empty rows of a mask": lambda rng, shape: (None, _empty_row(rng, shape)),
}
