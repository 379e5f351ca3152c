"""Cases that nobody wrote: any class, sizes, masks and magnitudes, told by name.

A generated case is wholly described by its name, such as
``generated/GRU/sizes=2,mask=lengths,scale=30,dropout=0``, so that a failure that a random search
found is reproduced by that name alone, also with ``python -m d2l_ext compare --cases NAME``.
Sizes come from a dozen fixed tuples, since compiled code has to be compiled for each.
"""

import dataclasses

import numpy as np
from numpy.random import Generator

from d2l_ext import checks
from d2l_ext.agreement.cases.case import Case, normal
from d2l_ext.agreement.cases.drawing import MASKS, RATE, function, ids, lengths, module, qkv
from d2l_ext.nested import Nested

# batch, queries, keys, query size, value size: ones, odd sizes, one query, few and many keys.
SIZES = (
    (1, 1, 1, 1, 1),
    (2, 1, 5, 3, 4),
    (3, 2, 1, 4, 5),
    (2, 3, 4, 1, 5),
    (1, 4, 3, 5, 2),
    (5, 2, 7, 3, 1),
    (2, 7, 3, 6, 5),
    (3, 5, 17, 2, 4),
    (7, 1, 2, 5, 3),
    (2, 3, 65, 4, 1),
    (4, 9, 5, 11, 2),
    (1, 2, 33, 7, 3),
)
KINDS = (
    "masked_softmax",
    "sequence_mask",
    "masked_loss",
    "attention",
    "DotProductAttention",
    "AdditiveAttention",
    "CosineAttention",
    "BilinearAttention",
    "GaussianAttention",
    "MultiHeadAttention",
    "GRU",
    "LSTM",
)
SCALES = ("1e-4", "1", "30", "1e4")
HOW = ("none", *MASKS)
ARGUMENTS = {
    "AdditiveAttention": {"num_hiddens": 6},
    "MultiHeadAttention": {"num_hiddens": 6, "num_heads": 3},
}


def name(kind: str, sizes: int, mask: str, scale: str, dropout: bool) -> str:
    """Return the name of a generated case.

    Args:
        kind: one of `KINDS`.
        sizes: number of a tuple of `SIZES`.
        mask: one of `HOW`.
        scale: one of `SCALES`: how large scores or inputs are.
        dropout: whether it acts.
    """
    return f"generated/{kind}/sizes={sizes},mask={mask},scale={scale},dropout={int(dropout)}"


def case(name: str) -> Case:
    """Return the case of a name.

    Raises:
        ValueError: it is no name of a generated case.
    """
    try:
        _, kind, text = name.split("/")
        given = dict(part.split("=") for part in text.split(","))
        sizes = SIZES[int(given["sizes"])]
        mask, scale, dropout = given["mask"], given["scale"], given["dropout"] == "1"
    except (ValueError, KeyError, IndexError):
        raise ValueError(f"case: got {name!r}, which is no name of a generated case") from None
    checks.choice("kind", kind, KINDS)
    checks.choice("mask", mask, HOW)
    checks.choice("scale", scale, SCALES)
    scale = np.float32(scale)
    if kind in BUILDERS:
        found = BUILDERS[kind](name, sizes, mask, scale)
    elif kind in ("GRU", "LSTM"):
        found = _recurrent(name, kind, sizes, mask, scale, dropout)
    else:
        found = _pooling(name, kind, sizes, mask, scale, dropout)
    return dataclasses.replace(found, saturates=scale > 1)


def _masked(rng: Generator, mask: str, shape: tuple[int, ...]) -> tuple[Nested, ...]:
    return () if mask == "none" else MASKS[mask](rng, shape)


def _masked_softmax(name: str, sizes: tuple[int, ...], mask: str, scale: np.float32) -> Case:
    shape = sizes[:3]
    return Case(
        name,
        function("masked_softmax"),
        lambda rng: (scale * normal(rng, *shape), *_masked(rng, mask, shape)),
    )


def _sequence_mask(name: str, sizes: tuple[int, ...], mask: str, scale: np.float32) -> Case:
    batch, _, steps, size, _ = sizes
    return Case(
        name,
        function("sequence_mask", value=float(scale)),
        lambda rng: (normal(rng, batch, steps, size), rng.integers(0, steps + 1, batch)),
    )


def _masked_loss(name: str, sizes: tuple[int, ...], mask: str, scale: np.float32) -> Case:
    batch, steps, vocab_size = sizes[:3]
    return Case(
        name,
        function("masked_loss", pad=None if mask == "none" else 0),
        lambda rng: (
            scale * normal(rng, batch, steps, vocab_size),
            ids(rng, vocab_size, batch, steps),
        ),
    )


def _attention(name: str, sizes: tuple[int, ...], mask: str, scale: np.float32) -> Case:
    batch, queries, keys, size, value_size = sizes

    def draw(rng):
        q, k, v = qkv(rng, batch, queries, keys, size, size, value_size)
        allowed = None if mask == "none" else rng.random((batch, queries, keys)) < 0.5
        return scale * q, k, v, allowed, None

    return Case(name, function("attention"), draw)


BUILDERS = {
    "masked_softmax": _masked_softmax,
    "sequence_mask": _sequence_mask,
    "masked_loss": _masked_loss,
    "attention": _attention,
}


def _pooling(
    name: str, kind: str, sizes: tuple[int, ...], mask: str, scale: np.float32, dropout: bool
) -> Case:
    batch, queries, keys, size, value_size = sizes

    def draw(rng):
        q, k, v = qkv(rng, batch, queries, keys, size, size, value_size)
        return scale * q, k, v, *_masked(rng, mask, (batch, queries, keys))

    target = module(kind, dropout=RATE, **ARGUMENTS.get(kind, {}))
    return Case(name, target, draw, training=dropout)


def _recurrent(
    name: str, kind: str, sizes: tuple[int, ...], mask: str, scale: np.float32, dropout: bool
) -> Case:
    batch, layers, steps, size, hiddens = sizes
    layers, steps = min(layers, 3), min(steps, 9)

    def draw(rng):
        H = [normal(rng, layers, batch, hiddens) for _ in range(2)]
        H_c = None if mask == "none" else H[0] if kind == "GRU" else tuple(H)
        lens = None if mask in ("none", "mask") else lengths(rng, batch, steps, least=0)
        return scale * normal(rng, steps, batch, size), H_c, lens

    return Case(name, module(kind, size, hiddens, layers, RATE), draw, training=dropout)
