"""The catalogue: cases of every public class and function of every chapter.

Sizes in a case are pairwise different where the class allows it, or a wrong axis would pass.
"""

import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from d2l_ext import reference
from d2l_ext.agreement.cases.case import Case, normal
from d2l_ext.agreement.cases.drawing import (
    MASKS,
    RATE,
    DrawMask,
    Shape,
    function,
    ids,
    lengths,
    module,
    one_empty,
    qkv,
)
from d2l_ext.agreement.cases.half import in_half_precision
from d2l_ext.agreement.cases.modern import modern
from d2l_ext.agreement.cases.paths import paths
from d2l_ext.config import describe
from d2l_ext.reference.scoring import SCORING


@functools.cache
def catalogue() -> Mapping[str, Case]:
    """Return ``{name: case}``; made once, since thousands of modules are made to describe it."""
    cases = [*masking(), *loss(), *scoring(), *recurrent(), *encoders(), *translators()]
    cases += [*multihead(), *positional(), *transformer(), *modern(), *paths()]
    return types.MappingProxyType({case.name: case for case in in_half_precision(cases)})


@functools.cache
def sample() -> Mapping[str, Case]:
    """Return a few cases of every class and function, which are done in a minute or two."""
    return types.MappingProxyType(
        {
            name: case
            for name, case in catalogue().items()
            if name.rpartition("/")[2] in SAMPLE and not any(part in name for part in NOT_IN_SAMPLE)
        }
    )


SAMPLE = (
    "mask and lengths",
    "empty rows",
    "rank 2",
    "padding_mask",
    "causal_mask",
    "pad",
    "mask and dropout",
    "state, lengths",
    "dropout",
    "dropout, bias",
    "relu",
    "gelu",
    "odd",
    "epsilon",
    "halves",
    "6 heads",
    "permutation",
    "swiglu",
    "gelu_tanh",
    "two",
    "ragged",
    "mask of keys, causal",
    "recurrent",
    "chunked",
    "state",
    "one key head",
    "dropout, bias",
    "dropout, GPT-2",
    "dropout, Mistral",
    "Mixtral",
    "normalised embedding",
    "oblong",
)
NOT_IN_SAMPLE = (
    "unscaled",
    "GPTBlock/dropout",
    "GPT/Mixtral",
    "after Bidirectional",
    "LuongDecoder dot",
    "LuongDecoder scaled_dot",
    "LuongDecoder cosine",
    "LuongDecoder gaussian",
    "LuongDecoder additive",
)


def _no_mask(rng: Generator, shape: Shape) -> tuple[Any, ...]:
    return ()


def masking() -> Iterator[Case]:
    """Masks, and the softmax that respects them."""
    yield _masked_softmax("all", _no_mask)
    for how, draw_mask in MASKS.items():
        yield _masked_softmax(how, draw_mask)
    yield _masked_softmax("large scores", MASKS["lengths"], scale=1e4)
    yield Case(
        "masking/masked_softmax/mask of rank 4",
        function("masked_softmax"),
        lambda rng: (normal(rng, 2, 3, 4, 5), None, rng.random((2, 1, 4, 5)) < 0.6),
    )
    yield _sequence_mask("rank 2", (3, 5), 0)
    yield _sequence_mask("rank 4", (2, 5, 3, 4), -1.5)
    yield Case(
        "masking/padding_mask", function("padding_mask", pad=1), lambda rng: (ids(rng, 3, 2, 5),)
    )
    yield Case("masking/causal_mask", function("causal_mask", num_steps=4), lambda rng: ())


def _masked_softmax(how: str, draw_mask: DrawMask, scale: float = 1) -> Case:
    shape = (2, 3, 5)
    return Case(
        f"masking/masked_softmax/{how}",
        function("masked_softmax"),
        lambda rng: (np.float32(scale) * normal(rng, *shape), *draw_mask(rng, shape)),
    )


def _sequence_mask(how: str, shape: Shape, value: float) -> Case:
    return Case(
        f"masking/sequence_mask/{how}",
        function("sequence_mask", value=value),
        lambda rng: (normal(rng, *shape), lengths(rng, shape[0], shape[1], least=0)),
    )


def loss() -> Iterator[Case]:
    """The masked loss."""
    yield _masked_loss("pad", pad=0)
    yield _masked_loss("every label", pad=None)
    yield _masked_loss("large logits", pad=2, scale=100)
    yield Case(
        "seq2seq/masked_loss/no real token",
        function("masked_loss", pad=2),
        lambda rng: (normal(rng, 3, 4, 5), np.full((3, 4), 2)),
    )


def _masked_loss(how: str, pad: int | None, scale: float = 1) -> Case:
    return Case(
        f"seq2seq/masked_loss/{how}",
        function("masked_loss", pad=pad),
        lambda rng: (np.float32(scale) * normal(rng, 3, 4, 5), ids(rng, 5, 3, 4)),
    )


def scoring() -> Iterator[Case]:
    """The function `attention` and the five classes."""
    yield _attention("all")
    yield _attention("mask", mask=True)
    yield _attention("mask and dropout", mask=True, drop=True)
    yield Case(
        "scoring/attention/rank 3",
        function("attention"),
        lambda rng: (*qkv(rng, 2, 3, 5, 4, 4, 7), rng.random((2, 1, 5)) < 0.7, None),
    )
    for name, arguments, key_size in (
        ("DotProductAttention", {}, 4),
        ("DotProductAttention", {"scaled": False}, 4),
        ("AdditiveAttention", {"num_hiddens": 8}, 6),
        ("CosineAttention", {}, 4),
        ("BilinearAttention", {}, 6),
        ("GaussianAttention", {"width": 1.5}, 4),
    ):
        label = name if "scaled" not in arguments else f"{name} unscaled"
        yield from _pooling(f"scoring/{label}", name, arguments, (2, 3, 5, 4, key_size, 7))
    yield Case(
        "scoring/CosineAttention/zero vectors",
        module("CosineAttention", 0),
        lambda rng: (np.zeros((2, 3, 4), np.float32), *qkv(rng, 2, 3, 5, 4, 4, 7)[1:]),
    )


def _attention(how: str, mask: bool = False, drop: bool = False) -> Case:
    def draw(rng: Generator) -> tuple[Any, ...]:
        heads = normal(rng, 2, 3, 4, 6), normal(rng, 2, 3, 5, 6), normal(rng, 2, 3, 5, 7)
        kept = (rng.random((2, 3, 4, 5)) < 0.6) / np.float32(0.6)
        return *heads, rng.random((2, 1, 4, 5)) < 0.7 if mask else None, kept if drop else None

    return Case(f"scoring/attention/{how}", function("attention"), draw)


def _pooling(
    label: str, name: str, arguments: dict[str, Any], sizes: tuple[int, ...]
) -> Iterator[Case]:
    """Cases of a class that is called with queries, keys, values, lengths and mask."""

    def case(how, draw_mask=_no_mask, rate=0.0, training=False, sizes=sizes):
        return Case(
            f"{label}/{how}",
            module(name, dropout=rate, **arguments),
            lambda rng: (*qkv(rng, *sizes), *draw_mask(rng, sizes[:3])),
            training=training,
        )

    yield case("all")
    for how, draw_mask in MASKS.items():
        yield case(how, draw_mask)
    yield case("dropout", MASKS["lengths"], RATE, training=True)
    yield case("dropout in evaluation", MASKS["lengths"], RATE)
    yield case("one query, one key", sizes=(sizes[0], 1, 1, *sizes[3:]))


def recurrent() -> Iterator[Case]:
    """GRU and LSTM."""
    for name in ("GRU", "LSTM"):
        yield _recurrent(name, "one layer", 1)
        yield _recurrent(name, "three layers", 3)
        yield _recurrent(name, "lengths", 2, lens=True)
        yield _recurrent(name, "state", 2, state=True)
        yield _recurrent(name, "state, lengths", 2, RATE, state=True, lens=True)
        yield _recurrent(name, "dropout", 3, RATE, lens=True)


def _recurrent(
    name: str, how: str, layers: int, rate: float = 0, state: bool = False, lens: bool = False
) -> Case:
    steps, batch, size, hiddens = 6, 3, 4, 5

    def draw(rng: Generator) -> tuple[Any, ...]:
        H = [normal(rng, layers, batch, hiddens) for _ in range(2)]
        H_c = None if not state else H[0] if name == "GRU" else tuple(H)
        X = normal(rng, steps, batch, size)
        return X, H_c, lengths(rng, batch, steps) if lens else None

    return Case(
        f"recurrent/{name}/{how}",
        module(name, size, hiddens, layers, rate),
        draw,
        training=how == "dropout",
    )


def encoders() -> Iterator[Case]:
    """The recurrent encoders on their own."""
    for name in ("Seq2SeqEncoder", "LSTMEncoder", "BidirectionalEncoder"):
        yield _encoder(name, "all", 1)
        yield _encoder(name, "lengths", 2, lens=True)
        yield _encoder(name, "dropout", 3, lens=True)


def _encoder(name: str, how: str, layers: int, lens: bool = False) -> Case:
    return Case(
        f"seq2seq/{name}/{how}",
        module(name, 9, 7, 4, layers, RATE),
        lambda rng: (ids(rng, 9, 3, 6), lengths(rng, 3, 6) if lens else None),
        training=how == "dropout",
    )


# Decoder, encoder and the decoder's further arguments.
PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "seq2seq/Seq2SeqDecoder": ("Seq2SeqDecoder", "Seq2SeqEncoder", {}),
    "seq2seq/LSTMDecoder": ("LSTMDecoder", "LSTMEncoder", {}),
    "bahdanau/Seq2SeqAttentionDecoder": ("Seq2SeqAttentionDecoder", "Seq2SeqEncoder", {}),
    "bahdanau/Seq2SeqAttentionDecoder after BidirectionalEncoder": (
        "Seq2SeqAttentionDecoder",
        "BidirectionalEncoder",
        {},
    ),
    "bahdanau/LSTMAttentionDecoder": ("LSTMAttentionDecoder", "LSTMEncoder", {}),
} | {
    f"bahdanau/LuongDecoder {score}": ("LuongDecoder", "Seq2SeqEncoder", {"attention": score})
    for score in SCORING
}


def translators() -> Iterator[Case]:
    """Encoder and decoder: outputs, gradients, optimiser steps and decoding."""
    for label in PAIRS:
        # Of Luong's scores one has all cases; the others those in which the score has a part.
        every = "Luong" not in label or "bilinear" in label
        if every:
            yield _translator(label, "all", 1, pad=None)
        yield _translator(label, "lengths", 2, lens=True, max_norm=0.5)
        if every:
            coins = (True, False, True, False, False)
            yield _translator(label, "own tokens", 1, lens=True, coins=coins)
        yield _translator(label, "dropout", 2, lens=True, max_norm=0.5)
        if every:
            coins = (True, False, False, True, False)
            yield _translator(label, "dropout, own tokens", 3, lens=True, coins=coins, max_norm=1e4)


def _translator(
    label: str,
    how: str,
    layers: int,
    lens: bool = False,
    coins: Sequence[bool] | None = None,
    max_norm: float | None = None,
    pad: int | None = 1,
) -> Case:
    decoder, encoder, options = PAIRS[label]
    pair = reference.EncoderDecoder(
        getattr(reference, encoder)(9, 7, 4, layers, RATE),
        getattr(reference, decoder)(8, 10, 4, layers, RATE, **options),
    )
    return Case(
        f"{label}/{how}",
        describe(pair),
        lambda rng: (
            ids(rng, 9, 3, 6),
            ids(rng, 8, 3, 5),
            lengths(rng, 3, 6) if lens else None,
            None if coins is None else np.array(coins),
        ),
        training=how.startswith("dropout"),
        translates=True,
        max_norm=max_norm,
        pad=pad,
    )


def multihead() -> Iterator[Case]:
    """Multi-head attention."""
    sizes = (2, 7, 5, 6, 8, 9)
    for bias in (False, True):
        label = "multihead/MultiHeadAttention" + (" with bias" if bias else "")
        arguments = {"num_hiddens": 12, "num_heads": 3, "bias": bias}
        yield from _pooling(label, "MultiHeadAttention", arguments, sizes)


def positional() -> Iterator[Case]:
    """Sinusoidal and learned positions."""
    for name in ("PositionalEncoding", "LearnedPositionalEncoding"):
        yield _positional(name, "even", 6)
        yield _positional(name, "odd", 7)
        yield _positional(name, "dropout", 6)


def _positional(name: str, how: str, size: int) -> Case:
    return Case(
        f"positional/{name}/{how}",
        module(name, size, RATE, max_len=5),
        lambda rng: (normal(rng, 2, 4, size),),
        training=how == "dropout",
    )


def transformer() -> Iterator[Case]:
    """The Transformer and its parts."""
    for activation in ("relu", "gelu"):
        yield Case(
            f"transformer/PositionWiseFFN/{activation}",
            module("PositionWiseFFN", 5, 6, activation),
            lambda rng: (normal(rng, 2, 3, 4),),
        )
    yield _add_norm("all")
    yield _add_norm("far from zero", shift=30)
    yield _add_norm("small", scale=1e-3)
    yield _add_norm("dropout")
    for how, options in TRANSFORMERS.items():
        training = "dropout" in how
        block = (6, 7, 3, RATE)  # num_hiddens, ffn_num_hiddens, num_heads, dropout
        yield Case(
            f"transformer/TransformerEncoderBlock/{how}",
            module("TransformerEncoderBlock", *block, **options),
            lambda rng: (normal(rng, 4, 5, 6), lengths(rng, 4, 5)),
            training=training,
        )
        yield Case(
            f"transformer/TransformerDecoderBlock/{how}",
            module("TransformerDecoderBlock", *block, 0, **options),
            lambda rng: (normal(rng, 4, 2, 6), [normal(rng, 4, 5, 6), lengths(rng, 4, 5), [None]]),
            training=training,
            first_output=True,
        )
        yield Case(
            f"transformer/TransformerEncoder/{how}",
            module("TransformerEncoder", 9, *block[:3], 2, RATE, max_len=8, **options),
            lambda rng: (ids(rng, 9, 4, 5), lengths(rng, 4, 5)),
            training=training,
        )
        yield Case(
            f"transformer/TransformerDecoder/{how}",
            describe(_transformers(options)),
            lambda rng, how=how: (
                *(ids(rng, 9, 4, 5), ids(rng, 8, 4, 3)),
                # Where no weights are kept, decoding has its own way with a source of length 0.
                one_empty(rng, 4, 5) if how == "pre, gelu" else lengths(rng, 4, 5),
            ),
            training=training,
            translates=True,
            max_norm=0.5 if training else None,
        )
    yield Case(
        "transformer/TransformerDecoderBlock/past",
        module("TransformerDecoderBlock", 6, 7, 3, RATE, 0),
        lambda rng: (
            normal(rng, 4, 2, 6),
            [normal(rng, 4, 5, 6), lengths(rng, 4, 5), [qkv(rng, 12, 3, 3, 2, 2, 2)[1:]]],
        ),
        first_output=True,
    )
    for how in ("own tokens", "dropout, own tokens"):
        yield Case(
            f"transformer/TransformerDecoder/{how}",
            describe(_transformers({})),
            lambda rng: (
                *(ids(rng, 9, 4, 5), ids(rng, 8, 4, 3), lengths(rng, 4, 5)),
                np.array([True, False, False]),
            ),
            training=how.startswith("dropout"),
            translates=True,
        )


def _add_norm(how: str, shift: float = 0, scale: float = 1) -> Case:
    return Case(
        f"transformer/AddNorm/{how}",
        module("AddNorm", 4, RATE),
        lambda rng: (
            np.float32(scale) * (normal(rng, 2, 3, 4) + np.float32(shift)),
            np.float32(scale) * normal(rng, 2, 3, 4),
        ),
        training=how == "dropout",
    )


def _transformers(options: dict[str, Any]) -> reference.EncoderDecoder:
    sizes = 6, 7, 3, 2, RATE  # num_hiddens, ffn_num_hiddens, num_heads, num_blks, dropout
    return reference.EncoderDecoder(
        reference.TransformerEncoder(9, *sizes, max_len=8, **options),
        reference.TransformerDecoder(8, *sizes, max_len=8, **options),
    )


TRANSFORMERS: dict[str, dict[str, Any]] = {
    "post": {},
    "pre, gelu": {"norm": "pre", "activation": "gelu"},
    "dropout, bias": {"use_bias": True},
    "dropout, pre": {"norm": "pre"},
}
