"""Cases of what has been added to attention since the Transformer: normalisation to experts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator

from d2l_ext.agreement.cases.case import Case, normal
from d2l_ext.agreement.cases.drawing import RATE, function, ids, lengths, module


def modern() -> Iterator[Case]:
    """All of them."""
    yield from normalization()
    yield from rotary()
    yield from feedforward()
    yield from experts()
    yield from blockwise()
    yield from linear()
    yield from gpt()
    yield from bert()
    yield from vision()


def normalization() -> Iterator[Case]:
    """Layer norm and root mean square norm."""
    for name in ("LayerNorm", "RMSNorm"):
        yield _norm(name, "all")
        yield _norm(name, "far from zero", shift=30)
        yield _norm(name, "small", scale=1e-3)
        yield _norm(name, "epsilon", scale=1e-1, eps=1e-2)


def _norm(name: str, how: str, shift: float = 0, scale: float = 1, **options: Any) -> Case:
    return Case(
        f"normalization/{name}/{how}",
        module(name, 5, **options),
        lambda rng: (np.float32(scale) * (normal(rng, 2, 3, 5) + np.float32(shift)),),
    )


def rotary() -> Iterator[Case]:
    """Rotary positions and linear biases."""
    yield _rotate("halves", 6)
    yield _rotate("pairs", 6, layout="pairs")
    yield _rotate("another base", 8, base=500.0)
    yield _rotate("far", 4, first=100_000)
    yield Case("rotary/permutation", function("permutation", size=8), lambda rng: ())
    for heads in (4, 6):
        yield Case(
            f"rotary/alibi/{heads} heads",
            function("alibi", num_heads=heads, num_queries=3, num_keys=5),
            lambda rng: (),
        )


def _rotate(how: str, size: int, first: int = 0, **options: Any) -> Case:
    return Case(
        f"rotary/rotate/{how}",
        function("rotate", **options),
        lambda rng: (normal(rng, 2, 3, 5, size), first + rng.integers(0, 50, (2, 1, 5))),
    )


def feedforward() -> Iterator[Case]:
    """The position-wise network with each activation."""
    for activation in ("swiglu", "geglu", "gelu", "gelu_tanh", "relu"):
        yield Case(
            f"feedforward/FeedForward/{activation}",
            module("FeedForward", 4, 6, activation),
            lambda rng: (normal(rng, 2, 3, 4),),
        )


def experts() -> Iterator[Case]:
    """Mixtures of experts, and the loss that balances them."""
    for how, k, activation in (("one", 1, "swiglu"), ("two", 2, "gelu"), ("all", 3, "geglu")):
        yield Case(
            f"moe/MixtureOfExperts/{how}",
            module("MixtureOfExperts", 4, 6, 3, k, activation),
            lambda rng: (normal(rng, 2, 5, 4),),
        )
    yield Case(  # of more than three, which PyTorch's topk leaves in their order
        "moe/MixtureOfExperts/ties",
        module("MixtureOfExperts", 4, 6, 5, 2, "gelu"),
        lambda rng: (normal(rng, 2, 3, 4) * (rng.random((2, 3, 1)) < 0.5),),
    )
    yield Case("moe/load_balancing_loss/two", function("load_balancing_loss"), _routed)


def _routed(rng: Generator) -> tuple[Any, ...]:
    probabilities = rng.dirichlet(np.ones(4), (3, 5)).astype(np.float32)
    return probabilities, np.argsort(-probabilities, axis=-1)[..., :2]


def blockwise() -> Iterator[Case]:
    """Attention without its matrix."""
    yield Case(
        "blockwise/online_softmax/ragged",
        function("online_softmax"),
        lambda rng: ([normal(rng, 2, 3, n) for n in (4, 1, 5)],),
    )
    yield Case(
        "blockwise/online_softmax/one",
        function("online_softmax"),
        lambda rng: ([normal(rng, 2, 3, 4)],),
    )
    yield _blockwise("all", block_size=3)
    yield _blockwise("mask", mask=(2, 1, 4, 7), block_size=2)
    yield _blockwise("causal", causal=True, block_size=3)
    yield _blockwise("mask of keys, causal", mask=(1, 7), causal=True, block_size=4)
    yield _blockwise("mask, causal", mask=(4, 7), causal=True, block_size=2)
    yield _blockwise("one block", mask=(4, 7), block_size=64)
    yield _blockwise("empty rows", mask=(4, 1), block_size=3)


def _blockwise(how: str, mask: tuple[int, ...] | None = None, **options: Any) -> Case:
    def draw(rng: Generator) -> tuple[Any, ...]:
        qkv = normal(rng, 2, 3, 4, 6), normal(rng, 2, 3, 7, 6), normal(rng, 2, 3, 7, 5)
        if mask is None:
            return qkv
        allowed = rng.random(mask) < 0.6
        allowed.flat[0] = True
        return *qkv, allowed

    return Case(
        f"blockwise/blockwise_attention/{how}", function("blockwise_attention", **options), draw
    )


def linear() -> Iterator[Case]:
    """Linear attention in its three forms."""
    for form in ("parallel", "recurrent", "chunked"):
        yield Case(
            f"linear/LinearAttention/{form}",
            module("LinearAttention", 6, 2, form, chunk_size=2, use_bias=form == "chunked"),
            lambda rng: (normal(rng, 3, 5, 6),),
        )
    yield Case(  # three chunks, the last one short
        "linear/LinearAttention/state",
        module("LinearAttention", 8, 2, "chunked", chunk_size=2),
        lambda rng: (normal(rng, 3, 5, 8), np.abs(normal(rng, 3, 2, 4, 5))),
    )


def gpt() -> Iterator[Case]:
    """Grouped queries, the block and the language model."""
    for how, options in ATTENTIONS.items():
        yield Case(
            f"gpt/GroupedQueryAttention/{how}",
            module("GroupedQueryAttention", **({"num_kv_heads": 2} | HEADS | options)),
            lambda rng: (normal(rng, 2, 5, 12),),
            training="dropout" in how,
        )
    for how, options in GPTS.items():
        options = {"num_kv_heads": 3, "dropout": RATE, "ffn_num_hiddens": 7} | HEADS | options
        yield Case(
            f"gpt/GPTBlock/{how}",
            module("GPTBlock", **options),
            lambda rng: (normal(rng, 2, 5, 12),),
            training="dropout" in how,
            first_output=True,
        )
    for how, options in (GPTS | OUTPUTS).items():
        options = {"num_kv_heads": 1, "dropout": RATE} | options
        yield Case(
            f"gpt/GPT/{how}",
            module("GPT", 9, 8, 7, 2, num_blks=2, max_len=10, **options),
            lambda rng: (ids(rng, 9, 3, 6),),
            training="dropout" in how,
            translates=True,
            max_norm=0.5 if "dropout" in how else None,
            walk=LONGER if how == "ALiBi, sinks" else (),
        )


# A prompt that a rolling cache does not hold, its sinks in it.
LONGER = (("feed", 5), ("rows", 4), ("feed", 1), ("feed", 2))
HEADS: dict[str, Any] = {"num_hiddens": 12, "num_heads": 6}
ATTENTIONS: dict[str, dict[str, Any]] = {
    "rotary": {},
    "ALiBi": {"position": "alibi"},
    "window": {"window": 2, "base": 100.0},
    "sinks": {"position": None, "window": 2, "num_sinks": 1},
    "ALiBi, sinks": {"position": "alibi", "window": 3, "num_sinks": 1},
    "one key head": {"num_kv_heads": 1},
    "as many key heads": {"num_kv_heads": 6},
    "dropout, bias": {"use_bias": True, "dropout": RATE},
}
GPTS: dict[str, dict[str, Any]] = {
    "Llama": {},
    "dropout, GPT-2": {"position": "learned", "norm": "layer", "activation": "gelu_tanh"},
    "dropout, Mistral": {"window": 3, "num_sinks": 1, "use_bias": True},
    "Mixtral": {"num_experts": 3, "window": 4, "eps": 1e-3},
    "ALiBi, GEGLU": {"position": "alibi", "activation": "geglu"},
}
OUTPUTS: dict[str, dict[str, Any]] = {
    "ALiBi, GEGLU": GPTS["ALiBi, GEGLU"] | {"norm": "layer", "tie_weights": False},
    "ALiBi, sinks": {"position": "alibi", "window": 2, "num_sinks": 2},
    "dropout, own output layer": {"tie_weights": False, "norm": "layer", "activation": "gelu"},
}


def bert() -> Iterator[Case]:
    """The encoder that reads both ways, and the prediction of hidden words."""
    for how, options in BERTS.items():
        yield Case(
            f"bert/BERTEncoder/{how}",
            module("BERTEncoder", 11, 12, 7, 3, num_blks=2, max_len=9, **options),
            _segments_and_lengths if "lengths" in how else lambda rng: (ids(rng, 11, 2, 5),),
            training=options["dropout"] > 0,
        )
        yield Case(
            f"bert/BERTMaskLM/{how}",
            module("BERTMaskLM", 11, 12, 7, 3, num_blks=1, max_len=9, **options),
            lambda rng: (*_segments_and_lengths(rng), rng.integers(0, 5, (2, 4))),
            training=options["dropout"] > 0,
            trains=True,
            max_norm=0.5,
        )
    for activation, eps in (("relu", 1e-5), ("gelu", 1e-2)):
        yield Case(
            f"bert/MaskLM/{activation}",
            module("MaskLM", 9, 7, activation, eps),
            lambda rng: (normal(rng, 2, 5, 6), rng.integers(0, 5, (2, 4))),
        )


def _segments_and_lengths(rng: Generator) -> tuple[Any, ...]:
    return ids(rng, 11, 2, 5), ids(rng, 2, 2, 5), lengths(rng, 2, 5)


BERTS: dict[str, dict[str, Any]] = {
    "lengths": {"dropout": 0.0},
    "lengths, dropout": {"dropout": RATE},
    "normalised embedding": {
        "dropout": RATE,
        "activation": "gelu",
        "norm_embedding": True,
        "eps": 1e-1,  # a smaller one lets rounding grow in two steps of Adam
    },
}


def vision() -> Iterator[Case]:
    """Images as sequences of patches."""
    for how, patch in (("square", 2), ("oblong", (3, 2))):
        yield Case(
            f"vision/PatchEmbedding/{how}",
            module("PatchEmbedding", (6, 8), patch, 5),
            lambda rng: (normal(rng, 2, 3, 6, 8),),
        )
    for how, rate in (("all", 0.0), ("dropout", RATE)):
        yield Case(
            f"vision/ViTMLP/{how}",
            module("ViTMLP", 7, 5, rate),
            lambda rng: (normal(rng, 2, 3, 4),),
            training=rate > 0,
        )
        yield Case(
            f"vision/ViTBlock/{how}",
            module("ViTBlock", 12, 12, 7, 3, rate, eps=1e-3),
            lambda rng: (normal(rng, 2, 5, 12), lengths(rng, 2, 5)),
            training=rate > 0,
        )
        yield Case(
            f"vision/ViT/{how}{', bias' if rate else ''}",
            module("ViT", (6, 8), (3, 4), 12, 7, 3, 2, rate, rate / 2, rate > 0, 5, 1e-3),
            lambda rng: (normal(rng, 4, 3, 6, 8),),
            training=rate > 0,
            trains=True,
        )
