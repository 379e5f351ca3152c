"""Models that nobody here wrote, and what is planted in them: BERT, GPT-2, T5 and Mistral.

``python tests/pretrained.py [FAMILY ...] [--framework TF|Flax] [--only NAME,...]`` plants one thing
after the other and prints, as a Markdown table, which place and which cause `locate` names.

transformers' models in TensorFlow (tf_keras) and in Flax are right, and PyTorch's are their ports.
transformers 4.57 is the last version that has all three.
"""

import argparse
import copy
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from d2l_ext.porting import locate

SMALL = {"vocab_size": 50, "attn_implementation": "eager"}
FAMILIES = {
    "Bert": SMALL
    | {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
    },
    "GPT2": SMALL | {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20},
    "T5": SMALL
    | {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-gelu",
    },
    "Mistral": SMALL
    | {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "max_position_embeddings": 32,  # Flax makes a mask of all
        "sliding_window": 64,  # TensorFlow's model has none, and Flax's is longer by one
    },
}
NEEDS = {"TF": "tf_keras", "Flax": "flax"}
RNG = np.random.default_rng(0)
MASKS = {"full": np.ones((2, 7), int), "padded": np.array([[1] * 7, [1] * 4 + [0] * 3])}
IDS, TARGETS = RNG.integers(1, 50, (2, 7)), RNG.integers(1, 50, (2, 5))


def weights(family, **settings):
    """Return PyTorch's model with drawn weights, which tell a layer that is left out."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family] | settings)
    model = getattr(transformers, f"{family}Model")(config).eval()
    for name, p in model.named_parameters():
        nn.init.normal_(p, std=0.3)
        if p.ndim == 1 and name.endswith("weight"):
            p.data += 1
    return model


def pair(family, framework, dtype, **settings):
    """Return a model in another framework, read from PyTorch's files, and PyTorch's."""
    port = weights(family, **settings)
    load = getattr(transformers, f"{framework}{family}Model").from_pretrained
    with tempfile.TemporaryDirectory() as folder:
        port.save_pretrained(folder)
        if framework == "TF":
            _set_floatx(dtype)
            return load(folder, from_pt=True), port.to(getattr(torch, dtype))
        import jax

        jax.config.update("jax_enable_x64", True)
        _let_t5_clip(jax.numpy)
        model = load(folder, from_pt=True, dtype=getattr(jax.numpy, dtype))
    model.params = jax.tree.map(lambda x: jax.numpy.asarray(np.asarray(x, dtype)), model.params)
    return model, port.to(getattr(torch, dtype))


def _set_floatx(dtype):
    """Say which precision Keras 2 is to compute in: its models ask for it while they run."""
    import tf_keras

    tf_keras.backend.set_floatx(dtype)


def _let_t5_clip(jnp):
    """Let `jnp.clip` take `a_max`, which Flax's T5 calls it with and JAX has given up."""
    clip = jnp.clip
    if not hasattr(clip, "takes_a_max"):
        jnp.clip = lambda x, *args, a_max=None, **options: clip(
            x, *args, **options | ({} if a_max is None else {"max": a_max})
        )
        jnp.clip.takes_a_max = True


def called(family, framework="", mask="padded"):
    """The inputs of a model by their names, as a user writes them."""
    inputs = {"input_ids": IDS, "attention_mask": MASKS[mask]}
    if family == "T5":
        inputs["decoder_input_ids"] = TARGETS
    # Flax's models have no such option: they make caches in a call of its own.
    without_cache = {} if family == "Bert" or framework == "Flax" else {"use_cache": False}
    return inputs | without_cache


def located(models, family, framework, mask="padded", **options):
    """Compare a model with its port, PyTorch's."""
    model, port = models
    if framework == "TF":
        _set_floatx(model.dtype)
    inputs = {"options_a": called(family, framework, mask), "options_b": called(family, mask=mask)}
    return locate(model, port, **inputs, **options)


# Ways to change a module.


def then(module, after):
    """Let something happen to what a module gives."""
    call = module.forward
    module.forward = lambda *args, **options: after(call(*args, **options))


def first(module, before):
    """Let something happen to what a module takes first."""
    call = module.forward
    module.forward = lambda x, *args, **options: call(before(x), *args, **options)


def given(module, name, change):
    """Let a module take something else for one keyword."""
    call = module.forward
    module.forward = lambda *args, **options: call(*args, **options | {name: change(options[name])})


def within(module, owner, name, other):
    """Let a module's code find another function: ``other(the one that was there)``."""
    call = module.forward

    def forward(*args, **options):
        before = getattr(owner, name)
        setattr(owner, name, other(before))
        try:
            return call(*args, **options)
        finally:
            setattr(owner, name, before)

    module.forward = forward


def transposed(layer):
    layer.weight.data = layer.weight.data.T.clone()


def low_norm(norm, X):
    X = X - X.mean(-1, keepdim=True)
    return X / ((X * X).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def low_rms(norm, X):
    root = ((X * X).mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
    return X / root * norm.weight


def unwide(norm, low):
    norm.forward = lambda X: low(norm, X)


class Unscaled(int):
    """The size of a head, whose square root is 1."""

    def __float__(self):
        return 1.0


def without_scale(attention):
    attention.attention_head_size = Unscaled(attention.attention_head_size)


def band(mask, last):
    """Leave out all keys but those before a query and itself, the last so many."""
    steps = torch.arange(mask.shape[-1])
    distance = steps[:, None] - steps
    out = (distance < 0) | (distance >= last)
    lowest = torch.finfo(mask.dtype).min
    return mask.expand(*mask.shape[:2], len(steps), -1).masked_fill(out, lowest)


def causal_bias(bias):
    """Let a query of T5's encoder see no later key: the position bias has the mask in it."""
    later = torch.ones(bias.shape[-2:], dtype=torch.bool).triu(1)
    return bias.masked_fill(later, torch.finfo(bias.dtype).min)


def detached_keys(X):
    q, k, v = X.chunk(3, dim=-1)
    return torch.cat([q, k.detach(), v], dim=-1)


def keys_after(before):
    """Return a rotation that counts keys from 1, and queries from 0."""

    def rotate(q, k, cos, sin, *args, **options):
        c, s = cos[:, 1:2], sin[:, 1:2]  # of one step
        cos_k, sin_k = cos * c - sin * s, sin * c + cos * s
        q, _ = before(q, k, cos, sin, *args, **options)
        return q, before(k, k, cos_k, sin_k, *args, **options)[1]

    return rotate


def other_bias(attention):
    """Let T5 take each key for the next one when it looks for its bucket."""
    buckets = attention._relative_position_bucket
    attention._relative_position_bucket = lambda x, **options: buckets(x + 1, **options)


def untied(model):
    """Give the decoder of T5 embeddings of its own, which were not copied."""
    table = copy.deepcopy(model.decoder.embed_tokens)
    nn.init.normal_(table.weight)
    model.decoder.embed_tokens = table


def mistral_rotation(attention):
    code = sys.modules[type(attention).__module__]
    within(attention, code, "apply_rotary_pos_emb", keys_after)


def without_padding(mask):
    """Give every sequence the mask of the first, which has no padding."""
    return mask[:1].expand(mask.shape)


@dataclasses.dataclass(frozen=True)
class Planted:
    """A difference.

    Attributes:
        plant: changes PyTorch's model.
        place: what the name of the place has in it.
        cause: what it is called.
        backward: whether values stay as they are, and gradients don't.
        reduced: whether it shows in bfloat16 only.
    """

    plant: Callable[[Any], object]
    place: str
    cause: str
    backward: bool = False
    reduced: bool = False


PLANTED = {
    "Bert": {
        "epsilon": Planted(
            lambda m: setattr(m.encoder.layer[1].output.LayerNorm, "eps", 1e-5),
            "layer.1.output.LayerNorm",
            "layer-norm epsilon",
        ),
        "GELU form": Planted(
            lambda m: setattr(
                m.encoder.layer[0].intermediate, "intermediate_act_fn", nn.GELU("tanh")
            ),
            "layer.0.intermediate",
            "GELU form",
        ),
        "mask left out": Planted(
            lambda m: given(m.encoder.layer[1].attention.self, "attention_mask", without_padding),
            "layer.1.attention.self",
            "padding not masked",
        ),
        "position offset": Planted(
            lambda m: first(m.embeddings.position_embeddings, lambda ids: ids + 1),
            "embeddings",
            "position offset",
        ),
        "causal mask": Planted(
            lambda m: given(
                m.encoder.layer[1].attention.self, "attention_mask", lambda x: band(x, 99)
            ),
            "layer.1.attention.self",
            "causal mask",
        ),
        "scale": Planted(
            lambda m: without_scale(m.encoder.layer[0].attention.self),
            "layer.0.attention.self",
            "attention scale 1 / sqrt(d)",
        ),
        "dropout on": Planted(
            lambda m: m.encoder.layer[0].attention.output.dropout.train(),
            "layer.0.attention.output.dropout",
            "dropout left on",
        ),
        "transposed": Planted(
            lambda m: transposed(m.encoder.layer[1].attention.self.query),
            "layer.1.attention.self.query",
            "transposed kernel",
        ),
        "detached keys": Planted(
            lambda m: then(m.encoder.layer[1].attention.self.key, torch.Tensor.detach),
            "layer.1.attention.self.key",
            "gradient stopped",
            backward=True,
        ),
        "float32 island": Planted(
            lambda m: unwide(m.encoder.layer[0].output.LayerNorm, low_norm),
            "layer.0.output.LayerNorm",
            "float32 island missing (norm)",
            reduced=True,
        ),
    },
    "GPT2": {
        "epsilon": Planted(
            lambda m: setattr(m.h[1].ln_2, "eps", 1e-3), "h.1.ln_2", "layer-norm epsilon"
        ),
        "GELU form": Planted(
            lambda m: setattr(m.h[0].mlp, "act", nn.GELU()), "h.0.mlp.c_fc", "GELU form"
        ),
        "mask left out": Planted(
            lambda m: given(m.h[1].attn, "attention_mask", without_padding),
            "h.1.attn",
            "padding not masked",
        ),
        "position offset": Planted(
            lambda m: first(m.wpe, lambda ids: ids + 1), "wpe", "position offset"
        ),
        "window": Planted(lambda m: m.h[1].attn.bias.triu_(-3), "h.1.attn", "attention window"),
        "scale": Planted(
            lambda m: setattr(m.h[0].attn, "scale_attn_weights", False),
            "h.0.attn",
            "attention scale 1 / sqrt(d)",
        ),
        "dropout on": Planted(
            lambda m: m.h[0].mlp.dropout.train(), "h.0.mlp.dropout", "dropout left on"
        ),
        "transposed": Planted(
            lambda m: transposed(m.h[1].attn.c_proj), "h.1.attn.c_proj", "transposed kernel"
        ),
        "detached keys": Planted(
            lambda m: then(m.h[1].attn.c_attn, detached_keys),
            "h.1.attn.c_attn",
            "gradient stopped",
            backward=True,
        ),
        "float32 island": Planted(
            lambda m: unwide(m.h[1].ln_2, low_norm),
            "h.1.ln_2",
            "float32 island missing (norm)",
            reduced=True,
        ),
    },
    "T5": {
        "epsilon": Planted(
            lambda m: setattr(m.encoder.block[1].layer[1].layer_norm, "variance_epsilon", 1e-3),
            "encoder.block.1.layer.1.layer_norm",
            "RMS-norm epsilon",
        ),
        "GELU form": Planted(
            lambda m: setattr(m.encoder.block[0].layer[1].DenseReluDense, "act", nn.GELU()),
            "encoder.block.0.layer.1.DenseReluDense",
            "GELU form",
        ),
        "mask left out": Planted(
            lambda m: given(
                m.decoder.block[1].layer[1].EncDecAttention, "position_bias", torch.zeros_like
            ),
            "decoder.block.1.layer.1.EncDecAttention",
            "padding not masked",
        ),
        "position offset": Planted(
            lambda m: other_bias(m.encoder.block[0].layer[0].SelfAttention),
            "encoder.block.0.layer.0.SelfAttention",
            "position offset",
        ),
        "causal mask": Planted(
            lambda m: given(
                m.encoder.block[1].layer[0].SelfAttention, "position_bias", causal_bias
            ),
            "encoder.block.1.layer.0.SelfAttention",
            "causal mask",
        ),
        "scale": Planted(
            lambda m: then(m.encoder.block[1].layer[0].SelfAttention.q, lambda X: X / 8**0.5),
            "encoder.block.1.layer.0.SelfAttention.q",
            "scale",
        ),
        "dropout on": Planted(
            lambda m: m.encoder.block[0].layer[0].dropout.train(),
            "encoder.block.0.layer.0.dropout",
            "dropout left on",
        ),
        "untied": Planted(untied, "decoder.embed_tokens", "other parameter values"),
        "detached keys": Planted(
            lambda m: then(m.decoder.block[1].layer[1].EncDecAttention.k, torch.Tensor.detach),
            "decoder.block.1.layer.1.EncDecAttention.k",
            "gradient stopped",
            backward=True,
        ),
        "float32 island": Planted(
            lambda m: unwide(m.encoder.block[1].layer[0].layer_norm, low_rms),
            "encoder.block.1.layer.0.layer_norm",
            "float32 island missing (norm)",
            reduced=True,
        ),
    },
    "Mistral": {
        "epsilon": Planted(
            lambda m: setattr(m.layers[1].post_attention_layernorm, "variance_epsilon", 1e-3),
            "layers.1.post_attention_layernorm",
            "RMS-norm epsilon",
        ),
        "activation": Planted(
            lambda m: setattr(m.layers[0].mlp, "act_fn", nn.GELU()), "layers.0.mlp", "activation"
        ),
        "mask left out": Planted(
            lambda m: given(m.layers[0].self_attn, "attention_mask", without_padding),
            "layers.0.self_attn",
            "padding not masked",
        ),
        "position offset": Planted(
            lambda m: mistral_rotation(m.layers[0].self_attn),
            "layers.0.self_attn",
            "position offset",
        ),
        "window": Planted(
            lambda m: given(m.layers[0].self_attn, "attention_mask", lambda x: band(x, 4)),
            "layers.0.self_attn",
            "attention window",
        ),
        "scale": Planted(
            lambda m: setattr(m.layers[0].self_attn, "scaling", 1 / 4),
            "layers.0.self_attn",
            "attention scale 1 / sqrt(d)",
        ),
        "dropout on": Planted(
            lambda m: then(m.layers[0].mlp.down_proj, nn.Dropout(0.3)),
            "layers.0.mlp.down_proj",
            "dropout left on",
        ),
        "transposed": Planted(
            lambda m: transposed(m.layers[1].self_attn.q_proj),
            "layers.1.self_attn.q_proj",
            "transposed kernel",
        ),
        "detached keys": Planted(
            lambda m: then(m.layers[1].self_attn.k_proj, torch.Tensor.detach),
            "layers.1.self_attn.k_proj",
            "gradient stopped",
            backward=True,
        ),
        "float32 island": Planted(
            lambda m: unwide(m.layers[0].input_layernorm, low_rms),
            "layers.0.input_layernorm",
            "float32 island missing (norm)",
            reduced=True,
        ),
    },
}


def find(models, family, framework, name):
    """Plant something in PyTorch's model, and return what `locate` finds."""
    planted, (model, right) = PLANTED[family][name], models
    port = copy.deepcopy(right)
    planted.plant(port)
    if not planted.reduced:
        return located((model, port), family, framework, backward=planted.backward)
    low = {"trusted": copy.deepcopy(right).bfloat16()}
    return located((model, port.bfloat16()), family, framework, **low)


def hits(planted, found):
    """Return whether the first difference has the place, in either model, and the cause."""
    if not found.differences:
        return False, False
    one = found.differences[0]
    names = [one.place, *(row.counterpart for row in found.rows if row.place == one.place)]
    return any(planted.place in name for name in names), one.cause == planted.cause


def main(families, frameworks, only, dtype):
    """Print a table of what is named."""
    print("| model | port of | planted | place | cause | places | named as | s |")
    print("|---|---|---|---|---|---|---|---|")
    for framework in frameworks:
        for family in families:
            models = pair(family, framework, dtype)
            for name, planted in PLANTED[family].items():
                if only and name not in only:
                    continue
                start = time.perf_counter()
                found = find(models, family, framework, name)
                place, cause = ("✓" if hit else "✗" for hit in hits(planted, found))
                named = [f"{one.place}: {one.cause}" for one in found.differences[:2]]
                cells = place, cause, str(len(found.differences)), "; ".join(named) or "nothing"
                seconds = f"{time.perf_counter() - start:.0f}"
                print("|", " | ".join((family, framework, name, *cells, seconds)), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", nargs="*", default=list(PLANTED), metavar="FAMILY")
    parser.add_argument("--framework", nargs="*", default=list(NEEDS))
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    main(options.family, options.framework, options.only, options.dtype)
