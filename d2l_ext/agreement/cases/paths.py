"""Cases of paths that users take and few examples do.

Decoding with beams that widen and narrow, prompts that are read at once, caches that grow, states
that come from somewhere else; optimiser steps late in a run, with another batch each; arguments
away from their defaults; numbers that are large, and sequences of which nothing is left.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from d2l_ext import reference
from d2l_ext.agreement.cases.case import Case, Schedule, normal
from d2l_ext.agreement.cases.drawing import RATE, function, ids, lengths, module, one_empty, qkv
from d2l_ext.config import describe

# The learning rate changes; moments of 700 steps move what has no gradient in a batch.
LATE = Schedule((0.01, 0.02, 0.005), num_steps=700)
ANOTHER_BATCH = Schedule((0.01, 0.01, 0.003))  # the second knows ids that the first does not
BEAMS = (
    *(("feed", 1), ("rows", 3), ("rewind", 0), ("feed", 1)),
    *(("rows", 7), ("feed", 2), ("feed", 1), ("rows", 2), ("feed", 1)),
)
FEW_BEST = (*BEAMS[:-1], ("best", 1), ("feed", 1))
LONG = (  # room is for 32
    *(("feed", 1), ("rows", 20), ("feed", 3)),
    *(*(("feed", 1),) * 30, ("rows", 2), ("feed", 1)),
)
PROMPTS = (
    *(("score", 3), ("feed", 2), ("rows", 5), ("feed", 1), ("score", 2), ("rewind", 0)),
    *(("score", 4), ("feed", 1), ("rows", 2), ("feed", 30), ("feed", 3)),
)
FILLING = (
    ("score", 6),  # without room, which comes when the window has rolled
    ("rows", 4),
    ("score", 1),
    ("score", 2),
    ("feed", 4),
    ("feed", 1),
    ("rows", 5),
    ("feed", 3),
    ("feed", 2),
    ("rows", 1),
    ("feed", 33),
)
# Decoder, encoder and the decoder's further arguments.
RECURRENT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "seq2seq/Seq2SeqDecoder": ("Seq2SeqDecoder", "Seq2SeqEncoder", {}),
    "seq2seq/LSTMDecoder": ("LSTMDecoder", "LSTMEncoder", {}),
    "bahdanau/Seq2SeqAttentionDecoder": (
        "Seq2SeqAttentionDecoder",
        "BidirectionalEncoder",
        {},
    ),
    "bahdanau/LSTMAttentionDecoder": ("LSTMAttentionDecoder", "LSTMEncoder", {}),
    "bahdanau/LuongDecoder": ("LuongDecoder", "Seq2SeqEncoder", {"attention": "bilinear"}),
}


def paths() -> Iterator[Case]:
    """All of them."""
    yield from beams()
    yield from own_states()
    yield from prompts()
    yield from options()
    yield from far_out()
    yield from evaluated()


def beams() -> Iterator[Case]:
    """Translators of three layers: token by token, in beams, and trained late in a run."""
    for label, (decoder, encoder, options) in RECURRENT.items():
        yield _translator(f"{label}/beams", encoder, decoder, options, BEAMS, LATE)
    yield _translator(
        "seq2seq/Seq2SeqDecoder/another batch",
        *("Seq2SeqEncoder", "Seq2SeqDecoder", {}, FEW_BEST, ANOTHER_BATCH),
        layers=1,
        max_norm=0.5,
    )
    pair = reference.EncoderDecoder(
        reference.Seq2SeqEncoder(7, 3, 4, 1), reference.Seq2SeqDecoder(8, 3, 4, 1)
    )
    yield Case(  # the next batch is fed its own tokens at other steps
        "seq2seq/Seq2SeqDecoder/other own tokens",
        describe(pair),
        lambda rng: (
            ids(rng, 7, 2, 4),
            ids(rng, 8, 2, 5),
            one_empty(rng, 2, 4),
            rng.random(5) < 0.5,
        ),
        trains=True,
        schedule=LATE,
    )
    sizes = 6, 7, 3, 1, 0.0  # num_hiddens, ffn_num_hiddens, num_heads, num_blks, dropout
    pair = reference.EncoderDecoder(
        reference.TransformerEncoder(9, *sizes, max_len=38),
        reference.TransformerDecoder(8, *sizes, max_len=38),
    )
    yield Case(
        "transformer/TransformerDecoder/beams",
        describe(pair),
        lambda rng: (ids(rng, 9, 4, 5), ids(rng, 8, 4, 3), one_empty(rng, 4, 5)),
        translates=True,
        schedule=LATE,
        walk=LONG,
        keep_weights=True,
    )


def _translator(
    name: str,
    encoder: str,
    decoder: str,
    options: dict[str, Any],
    walk: tuple[tuple[str, int], ...],
    schedule: Schedule,
    layers: int = 3,
    max_norm: float | None = None,
) -> Case:
    pair = reference.EncoderDecoder(
        getattr(reference, encoder)(11, 3, 4, layers),
        getattr(reference, decoder)(12, 3, 4, layers, **options),
    )
    return Case(
        name,
        describe(pair),
        lambda rng: (ids(rng, 11, 3, 4), ids(rng, 12, 3, 2), one_empty(rng, 3, 4)),
        translates=True,
        max_norm=max_norm,
        schedule=schedule,
        walk=walk,
        keep_weights="Attention" in decoder,  # the others decode as they do for no one who looks
    )


def own_states() -> Iterator[Case]:
    """Decoders that go on from a state which the caller has made, as D2L's are."""
    for name, hidden in (
        ("Seq2SeqAttentionDecoder", lambda rng: normal(rng, 3, 2, 4)),
        ("LSTMAttentionDecoder", lambda rng: (normal(rng, 3, 2, 4), normal(rng, 3, 2, 4))),
        ("LuongDecoder", lambda rng: normal(rng, 3, 2, 4)),
    ):
        yield Case(
            f"bahdanau/{name}/state",
            module(name, 8, 7, 4, 3, RATE),
            lambda rng, hidden=hidden: (
                ids(rng, 8, 2, 3),
                [normal(rng, 2, 5, 4), hidden(rng), lengths(rng, 2, 5)],
            ),
            first_output=True,
        )
    yield Case(
        "seq2seq/Seq2SeqDecoder/state",
        module("Seq2SeqDecoder", 8, 7, 4, 3, RATE),
        lambda rng: (
            ids(rng, 8, 2, 3),
            [normal(rng, 5, 2, 4), normal(rng, 3, 2, 4), normal(rng, 2, 4)],
        ),
        first_output=True,
    )
    yield Case(
        "seq2seq/LSTMDecoder/state",
        module("LSTMDecoder", 8, 7, 4, 3, RATE),
        lambda rng: (
            ids(rng, 8, 2, 3),
            [normal(rng, 5, 2, 4), (normal(rng, 3, 2, 4), normal(rng, 3, 2, 4))],
        ),
        first_output=True,
    )
    yield Case(
        "transformer/TransformerDecoder/state",
        module("TransformerDecoder", 8, 6, 7, 3, 2, RATE, max_len=9),
        lambda rng: (
            ids(rng, 8, 4, 2),
            [normal(rng, 4, 5, 6), lengths(rng, 4, 5), [_past(rng, 12, 3, 2) for _ in range(2)]],
        ),
        first_output=True,
    )
    for how, options, held, position in (
        ("state", {}, 5, 5),
        ("state, window", {"window": 3, "num_sinks": 1}, 3, 4097),
    ):
        yield Case(
            f"gpt/GPT/{how}",
            module("GPT", 9, 8, 7, 4, 2, num_blks=2, **options),
            lambda rng, held=held, position=position: (
                ids(rng, 9, 3, 4),
                [[_past(rng, 3, 2, held, 2) for _ in range(2)], np.array(position)],
            ),
        )


def _past(rng: Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return normal(rng, *shape), normal(rng, *shape)


def prompts() -> Iterator[Case]:
    """Language models that read several tokens at once, try others, and need more room."""
    for how, heads, options, walk in (  # heads of two numbers turn alike, whatever the base
        ("prompts", (2, 1), {"base": 100.0}, PROMPTS),
        ("prompts, window", (4, 2), {"window": 4, "num_sinks": 1, "eps": 1e-1}, FILLING),
        ("prompts, wide window", (4, 2), {"window": 34, "num_sinks": 1, "eps": 1e-1}, FILLING),
        ("prompts, window of one", (1, 1), {"window": 1}, FILLING),
    ):
        yield Case(
            f"gpt/GPT/{how}",
            module("GPT", 9, 8, 5, *heads, num_blks=2, **options),
            lambda rng: (ids(rng, 9, 3, 4),),
            translates=True,
            schedule=LATE,
            walk=walk,
        )


def options() -> Iterator[Case]:
    """Arguments away from their defaults, and inputs of another rank."""
    yield Case(
        "vision/ViTMLP/own masks",
        module("ViTMLP", 20, 20, RATE),
        lambda rng: (normal(rng, 1, 3),),
        training=True,
        draws=True,
    )
    yield Case(
        "gpt/GPT/own masks",
        module("GPT", 6, 4, 3, 1, 1, num_blks=1, dropout=RATE),
        lambda rng: (ids(rng, 6, 2, 3),),
        training=True,
        trains=True,
        schedule=LATE,
        draws=True,
    )
    yield Case(  # some of which a batch does not ask, and of which the eleventh follows the second
        "gpt/GPT/eleven experts",
        module("GPT", 6, 4, 3, 1, 1, num_blks=1, num_experts=11),
        lambda rng: (ids(rng, 6, 2, 3),),
        trains=True,
        pad=None,  # what is asked has a gradient
        schedule=LATE,
    )
    yield Case(
        "transformer/AddNorm/epsilon",
        module("AddNorm", 4, 0.0, 1e-2),
        lambda rng: (0.1 * normal(rng, 2, 3, 4), 0.1 * normal(rng, 2, 3, 4)),
    )
    yield Case(
        "transformer/TransformerEncoderBlock/epsilon",
        module("TransformerEncoderBlock", 6, 7, 3, 0.0, norm="pre", eps=1e-2),
        lambda rng: (0.1 * normal(rng, 4, 5, 6), None),
    )
    yield Case(
        "gpt/GPTBlock/options",
        module("GPTBlock", 12, 7, 6, 2, 0.0, None, "layer", use_bias=False, eps=1e-2, base=50.0),
        lambda rng: (0.1 * normal(rng, 2, 5, 12),),
        first_output=True,
    )
    yield Case(  # of which the eleventh comes after the second
        "bert/BERTEncoder/eleven blocks",
        module("BERTEncoder", 7, 6, 5, 2, 11, 0.0, 3),
        lambda rng: (ids(rng, 7, 2, 3),),
    )
    for name, max_len in (("PositionalEncoding", 5000), ("LearnedPositionalEncoding", 9)):
        yield Case(
            f"positional/{name}/offset",
            module(name, 6, RATE, max_len=max_len),
            lambda rng, max_len=max_len: (normal(rng, 2, 4, 6), np.array(max_len - 4)),
        )
    yield Case(
        "blockwise/blockwise_attention/one matrix",
        function("blockwise_attention", causal=True, block_size=3),
        lambda rng: (normal(rng, 4, 6), normal(rng, 7, 6), normal(rng, 7, 5)),
    )
    for how, mask, causal in (  # fewer than most others have
        ("two keys", (1, 2), False),
        ("two queries", (2, 1), False),
        ("two queries, causal", (2, 1), True),
    ):
        yield Case(
            f"blockwise/blockwise_attention/{how}",
            function("blockwise_attention", causal=causal, block_size=1),
            lambda rng, mask=mask: (
                *(normal(rng, 3, 2, 6), normal(rng, 3, 2, 6), normal(rng, 3, 2, 5)),
                rng.permuted(np.array([True, False])).reshape(mask),
            ),
        )
    yield Case(
        "seq2seq/masked_loss/rank 2",
        function("masked_loss", pad=1),
        lambda rng: (normal(rng, 6, 5), ids(rng, 5, 6)),
    )
    for name, arguments in (("MultiHeadAttention", (12, 3)), ("AdditiveAttention", (8,))):
        yield Case(
            f"{'multihead' if name.startswith('Multi') else 'scoring'}/{name}/mask of rank 2",
            module(name, *arguments, 0.0),
            lambda rng: (*qkv(rng, 2, 7, 5, 6, 8, 9), None, rng.random((7, 5)) < 0.7),
        )
    yield Case(
        "bert/BERTEncoder/no segments",
        module("BERTEncoder", 11, 6, 7, 3, 1, 0.0, 9),
        lambda rng: (ids(rng, 11, 3, 5), None, one_empty(rng, 3, 5)),
    )


def far_out() -> Iterator[Case]:
    """Numbers so large that a masked score is not the smallest, or a likelihood no number."""
    million = np.float32(1e7)
    yield Case(
        "masking/masked_softmax/scores beyond a million",
        function("masked_softmax"),
        lambda rng: (million * normal(rng, 2, 3, 5), lengths(rng, 2, 5)),
    )
    for name, arguments in (("DotProductAttention", ()), ("MultiHeadAttention", (12, 3))):
        yield Case(
            f"{'multihead' if name.startswith('Multi') else 'scoring'}/{name}/far out",
            module(name, *arguments, dropout=0.0),
            lambda rng: (*(million * x for x in qkv(rng, 2, 3, 5, 4, 4, 7)[:1]), *_keys(rng)),
            saturates=True,
        )
    yield Case(
        "blockwise/blockwise_attention/far out",
        function("blockwise_attention", block_size=3),
        lambda rng: (  # every other query has scores far below zero only
            million * np.array([[1], [-1], [1], [-1]], "float32") * abs(normal(rng, 2, 3, 4, 6)),
            abs(normal(rng, 2, 3, 7, 6)),
            normal(rng, 2, 3, 7, 5),
            rng.random((1, 7)) < 0.6,
        ),
        saturates=True,
    )
    yield Case(
        "blockwise/online_softmax/far from zero",
        function("online_softmax"),
        lambda rng: (
            [normal(rng, 2, 3, n) + np.array([[-1000], [0], [1000]], "float32") for n in (3, 2)],
        ),
    )
    yield Case(  # features of which the exponential, that is not used, would be infinite
        "linear/LinearAttention/far out",
        module("LinearAttention", 16, 1, "chunked", chunk_size=2),
        lambda rng: (np.float32(3000) * normal(rng, 3, 5, 16), abs(normal(rng, 3, 1, 16, 17))),
        saturates=True,
    )
    yield Case(  # heads of one feature, of which quotients count, however small they are
        "linear/LinearAttention/far below zero",
        module("LinearAttention", 5, 5, "recurrent"),
        lambda rng: (np.float32(12) * normal(rng, 2, 4, 5),),
    )
    yield Case(  # of most of which no precision holds a feature
        "linear/LinearAttention/no weight left",
        module("LinearAttention", 2, 1, "recurrent"),
        lambda rng: (np.float32(1e8) * normal(rng, 3, 4, 2),),
        saturates=True,
    )
    yield Case(
        "seq2seq/masked_loss/unlikely labels",
        function("masked_loss", pad=1),
        lambda rng: (np.float32(3000) * normal(rng, 3, 4, 5), ids(rng, 5, 3, 4)),
        saturates=True,
    )
    yield Case(
        "seq2seq/LSTMDecoder/unlikely tokens",
        describe(
            reference.EncoderDecoder(
                reference.LSTMEncoder(9, 3, 4, 1), reference.LSTMDecoder(8, 3, 4, 1)
            )
        ),
        lambda rng: (ids(rng, 9, 3, 4), ids(rng, 8, 3, 2), lengths(rng, 3, 4)),
        translates=True,
        schedule=LATE,  # whose moments keep Adam from dividing a gradient's rounding by itself
        saturates=True,
        logits=3000,
    )


def _keys(rng: Generator) -> tuple[Any, ...]:
    return normal(rng, 2, 5, 4), normal(rng, 2, 5, 7), lengths(rng, 2, 5)


def evaluated() -> Iterator[Case]:
    """Modules that would drop in training and do not here."""
    sizes = 6, 7, 3, 1, RATE  # num_hiddens, ffn_num_hiddens, num_heads, num_blks, dropout
    yield Case(
        "gpt/GroupedQueryAttention/dropout in evaluation",
        module("GroupedQueryAttention", 6, 3, 1, RATE),
        lambda rng: (normal(rng, 2, 5, 6),),
    )
    yield Case(
        "bert/BERTEncoder/dropout in evaluation",
        module("BERTEncoder", 11, *sizes, 9, norm_embedding=True, eps=1e-2),
        lambda rng: (ids(rng, 11, 2, 5),),
    )
    yield Case(
        "bert/BERTMaskLM/dropout in evaluation",
        module("BERTMaskLM", 11, *sizes, 9),
        lambda rng: (ids(rng, 11, 2, 5), ids(rng, 2, 2, 5), None, rng.integers(0, 5, (2, 3))),
    )
    yield Case(
        "vision/ViTMLP/dropout in evaluation",
        module("ViTMLP", 7, 5, RATE),
        lambda rng: (normal(rng, 2, 3, 4),),
    )
    yield Case(
        "vision/ViTBlock/dropout in evaluation, bias",
        module("ViTBlock", 6, 6, 7, 3, RATE, use_bias=True),
        lambda rng: (normal(rng, 2, 5, 6), None),
    )
    yield Case(
        "vision/ViT/dropout in evaluation",
        module("ViT", (4, 9), (2, 3), 6, 7, 3, 1, RATE, RATE, num_classes=5),
        lambda rng: (normal(rng, 2, 3, 4, 9),),
    )
