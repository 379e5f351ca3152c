"""The catalogue: cases of every public class and function of every chapter.

Sizes in a case are pairwise different where the class allows it, or a wrong axis would pass.
"""

import numpy as np

from d2l_ext import reference
from d2l_ext.agreement.cases.case import Case, normal
from d2l_ext.config import describe
from d2l_ext.reference.scoring import SCORING

RATE = 0.3  # of dropout


def function(name, **options):
    """Target: a function of the column, with the arguments that are no arrays."""
    return {"function": name, "options": options}


def module(name, *arguments, **options):
    """Target: an instance of a class of the column."""
    return describe(getattr(reference, name)(*arguments, **options))


def catalogue():
    """Return ``{name: case}``."""
    cases = [*masking(), *loss(), *scoring(), *recurrent(), *encoders(), *translators()]
    cases += [*multihead(), *positional(), *transformer()]
    return {case.name: case for case in cases}


def sample():
    """Return a few cases of every class and function, which are done in a minute or two."""
    return {
        name: case
        for name, case in catalogue().items()
        if name.rpartition("/")[2] in SAMPLE and not any(part in name for part in NOT_IN_SAMPLE)
    }


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
)
NOT_IN_SAMPLE = (
    "unscaled",
    "after Bidirectional",
    "LuongDecoder dot",
    "LuongDecoder scaled_dot",
    "LuongDecoder cosine",
    "LuongDecoder gaussian",
    "LuongDecoder additive",
)


def masking():
    """Masks, and the softmax that respects them."""
    shape = (2, 3, 5)

    def softmax(how, draw, scale=1):
        draw_all = lambda rng: (scale * normal(rng, *shape), *draw(rng))  # noqa: E731
        return Case(f"masking/masked_softmax/{how}", function("masked_softmax"), draw_all)

    yield softmax("all", lambda rng: ())
    for how, draw in MASKS.items():
        yield softmax(how, lambda rng, draw=draw: draw(rng, shape))
    yield softmax("large scores", lambda rng: (lengths(rng, 2, 5),), scale=np.float32(1e4))
    yield Case(
        "masking/masked_softmax/mask of rank 4",
        function("masked_softmax"),
        lambda rng: (normal(rng, 2, 3, 4, 5), None, rng.random((2, 1, 4, 5)) < 0.6),
    )
    for how, size, value in (("rank 2", (3, 5), 0), ("rank 4", (2, 5, 3, 4), -1.5)):
        yield Case(
            f"masking/sequence_mask/{how}",
            function("sequence_mask", value=value),
            lambda rng, size=size: (normal(rng, *size), lengths(rng, size[0], size[1], least=0)),
        )
    yield Case(
        "masking/padding_mask", function("padding_mask", pad=1), lambda rng: (ids(rng, 3, 2, 5),)
    )
    yield Case("masking/causal_mask", function("causal_mask", num_steps=4), lambda rng: ())


def loss():
    """The masked loss."""
    for how, pad, scale in (("pad", 1, 1), ("every label", None, 1), ("large logits", 2, 100)):
        yield Case(
            f"seq2seq/masked_loss/{how}",
            function("masked_loss", pad=pad),
            lambda rng, scale=scale: (np.float32(scale) * normal(rng, 3, 4, 5), ids(rng, 5, 3, 4)),
        )
    yield Case(
        "seq2seq/masked_loss/no real token",
        function("masked_loss", pad=2),
        lambda rng: (normal(rng, 3, 4, 5), np.full((3, 4), 2)),
    )


def scoring():
    """The function `attention` and the five classes."""
    for how, mask, drop in (
        ("all", False, False),
        ("mask", True, False),
        ("mask and dropout", True, True),
    ):

        def draw(rng, mask=mask, drop=drop):
            heads = normal(rng, 2, 3, 4, 6), normal(rng, 2, 3, 5, 6), normal(rng, 2, 3, 5, 7)
            kept = (rng.random((2, 3, 4, 5)) < 0.6) / np.float32(0.6)
            return *heads, rng.random((2, 1, 4, 5)) < 0.7 if mask else None, kept if drop else None

        yield Case(f"scoring/attention/{how}", function("attention"), draw)
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


def _pooling(label, name, arguments, sizes):
    """Cases of a class that is called with queries, keys, values, lengths and mask."""

    def case(how, draw=lambda rng: (), rate=0.0, training=False, sizes=sizes):
        return Case(
            f"{label}/{how}",
            module(name, dropout=rate, **arguments),
            lambda rng: (*qkv(rng, *sizes), *draw(rng)),
            training=training,
        )

    batch, queries, keys = sizes[:3]
    yield case("all")
    for how, draw in MASKS.items():
        yield case(how, lambda rng, draw=draw: draw(rng, (batch, queries, keys)))
    one_lens = lambda rng: (lengths(rng, batch, keys),)  # noqa: E731
    yield case("dropout", one_lens, RATE, training=True)
    yield case("dropout in evaluation", one_lens, RATE)
    yield case("one query, one key", sizes=(batch, 1, 1, *sizes[3:]))


def recurrent():
    """GRU and LSTM."""
    for name in ("GRU", "LSTM"):

        def draw(rng, layers=2, state=False, lens=False, name=name):
            steps, batch, size, hiddens = 6, 3, 4, 5
            H = [normal(rng, layers, batch, hiddens) for _ in range(2)]
            H_c = None if not state else H[0] if name == "GRU" else tuple(H)
            return (
                normal(rng, steps, batch, size),
                H_c,
                lengths(rng, batch, steps) if lens else None,
            )

        for how, layers, rate, options in (
            ("one layer", 1, 0, {}),
            ("three layers", 3, 0, {}),
            ("lengths", 2, 0, {"lens": True}),
            ("state", 2, 0, {"state": True}),
            ("state, lengths", 2, RATE, {"state": True, "lens": True}),
            ("dropout", 3, RATE, {"lens": True}),
        ):
            yield Case(
                f"recurrent/{name}/{how}",
                module(name, 4, 5, layers, rate),
                lambda rng, layers=layers, options=options, draw=draw: draw(rng, layers, **options),
                training=how == "dropout",
            )


def encoders():
    """The recurrent encoders on their own."""
    for name in ("Seq2SeqEncoder", "LSTMEncoder", "BidirectionalEncoder"):
        for how, layers, lens in (("all", 1, False), ("lengths", 2, True), ("dropout", 3, True)):
            yield Case(
                f"seq2seq/{name}/{how}",
                module(name, 9, 7, 4, layers, RATE),
                lambda rng, lens=lens: (ids(rng, 9, 3, 6), lengths(rng, 3, 6) if lens else None),
                training=how == "dropout",
            )


# Decoder, encoder and the decoder's further arguments.
PAIRS = {
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


def translators():
    """Encoder and decoder: outputs, gradients, optimiser steps and decoding."""
    for label, (decoder, encoder, options) in PAIRS.items():
        for how, layers, lens, coins, max_norm in (
            ("all", 1, False, None, None),
            ("lengths", 2, True, None, 0.5),
            ("own tokens", 1, True, (True, False, True, False, False), None),
            ("dropout", 2, True, None, 0.5),
            ("dropout, own tokens", 2, True, (True, False, False, True, False), 1e4),
        ):
            of_all_scores = "Luong" not in label or "bilinear" in label
            if not of_all_scores and how not in ("lengths", "dropout"):
                continue  # what the score has no part in
            pair = reference.EncoderDecoder(
                getattr(reference, encoder)(9, 7, 4, layers, RATE),
                getattr(reference, decoder)(8, 10, 4, layers, RATE, **options),
            )
            yield Case(
                f"{label}/{how}",
                describe(pair),
                lambda rng, lens=lens, coins=coins: (
                    ids(rng, 9, 3, 6),
                    ids(rng, 8, 3, 5),
                    lengths(rng, 3, 6) if lens else None,
                    None if coins is None else np.array(coins),
                ),
                training=how.startswith("dropout"),
                translates=True,
                max_norm=max_norm,
                pad=None if how == "all" else 1,
            )


def multihead():
    """Multi-head attention."""
    sizes = (2, 7, 5, 6, 8, 9)
    for bias in (False, True):
        label = "multihead/MultiHeadAttention" + (" with bias" if bias else "")
        arguments = {"num_hiddens": 12, "num_heads": 3, "bias": bias}
        yield from _pooling(label, "MultiHeadAttention", arguments, sizes)


def positional():
    """Sinusoidal and learned positions."""
    for name in ("PositionalEncoding", "LearnedPositionalEncoding"):
        for how, size in (("even", 6), ("odd", 7), ("dropout", 6)):
            yield Case(
                f"positional/{name}/{how}",
                module(name, size, RATE, max_len=5),
                lambda rng, size=size: (normal(rng, 2, 4, size),),
                training=how == "dropout",
            )


def transformer():
    """The Transformer and its parts."""
    for activation in ("relu", "gelu"):
        yield Case(
            f"transformer/PositionWiseFFN/{activation}",
            module("PositionWiseFFN", 5, 6, activation),
            lambda rng: (normal(rng, 2, 3, 4),),
        )
    for how, shift, scale in (("all", 0, 1), ("far from zero", 30, 1), ("small", 0, 1e-3)):
        yield Case(
            f"transformer/AddNorm/{how}",
            module("AddNorm", 4, RATE),
            lambda rng, shift=shift, scale=scale: (
                np.float32(scale) * (normal(rng, 2, 3, 4) + np.float32(shift)),
                np.float32(scale) * normal(rng, 2, 3, 4),
            ),
        )
    yield Case(
        "transformer/AddNorm/dropout",
        module("AddNorm", 4, RATE),
        lambda rng: (normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)),
        training=True,
    )
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
            lambda rng: (ids(rng, 9, 4, 5), ids(rng, 8, 4, 3), lengths(rng, 4, 5)),
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


def _transformers(options):
    sizes = 6, 7, 3, 2, RATE  # num_hiddens, ffn_num_hiddens, num_heads, num_blks, dropout
    return reference.EncoderDecoder(
        reference.TransformerEncoder(9, *sizes, max_len=8, **options),
        reference.TransformerDecoder(8, *sizes, max_len=8, **options),
    )


TRANSFORMERS = {
    "post": {},
    "pre, gelu": {"norm": "pre", "activation": "gelu"},
    "dropout, bias": {"use_bias": True},
    "dropout, pre": {"norm": "pre"},
}


def ids(rng, vocab_size, *shape):
    """Draw token ids."""
    return rng.integers(0, vocab_size, shape)


def lengths(rng, batch, limit, least=1):
    """Draw valid lengths, one of them the whole length and one shorter."""
    lens = rng.integers(min(least, limit - 1), limit, batch)
    lens[rng.integers(batch)] = limit
    return lens


def qkv(rng, batch, num_queries, num_keys, query_size, key_size, value_size):
    """Draw queries, keys and values."""
    return (
        normal(rng, batch, num_queries, query_size),
        normal(rng, batch, num_keys, key_size),
        normal(rng, batch, num_keys, value_size),
    )


def _some_empty(rng, shape):
    batch, _, num_keys = shape
    return rng.permuted(([0, min(2, num_keys)] + [num_keys] * batch)[:batch])


def _empty_row(rng, shape):
    mask = rng.random(shape) < 0.6
    mask[-1, 0] = False
    return mask


# Valid lengths and mask, by shape (batch, num_queries, num_keys).
MASKS = {
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
