"""Models that nobody here wrote: transformers' BERT, GPT-2, T5 and Mistral, as they come.

The models in TensorFlow (tf_keras) and in Flax are right; PyTorch's are their ports, right ones
and such with one thing planted. `transformers` 4.57 is the last version that has all three.
"""

import copy
import importlib.util
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch import nn  # noqa: E402 - after importorskip, as what follows

from d2l_ext.porting import locate  # noqa: E402

SMALL = {"vocab_size": 50, "attn_implementation": "eager"}
BERT = SMALL | {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
GPT2 = SMALL | {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20}
T5 = SMALL | {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
MISTRAL = SMALL | {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "sliding_window": 64,  # transformers' TensorFlow model has none, and Flax's is longer by one
}
FAMILIES = {"Bert": BERT, "GPT2": GPT2, "T5": T5, "Mistral": MISTRAL}
NEEDS = {"TF": "tf_keras", "Flax": "flax"}
RNG = np.random.default_rng(0)
MASKS = {"full": np.ones((2, 7), int), "padded": np.array([[1] * 7, [1] * 4 + [0] * 3])}
IDS, TARGETS = RNG.integers(1, 50, (2, 7)), RNG.integers(1, 50, (2, 5))


def weights(family):
    """Return PyTorch's model with drawn weights, which tell a layer that is left out."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    model = getattr(transformers, f"{family}Model")(config).eval()
    for name, p in model.named_parameters():
        nn.init.normal_(p, std=0.3)
        if p.ndim == 1 and name.endswith("weight"):
            p.data += 1
    return model


def loaded(family, framework, dtype, folder):
    """Return a model in the other framework, read from PyTorch's files."""
    load = getattr(transformers, f"{framework}{family}Model").from_pretrained
    if framework == "TF":
        import tf_keras

        tf_keras.backend.set_floatx(dtype)
        return load(folder, from_pt=True)
    import jax

    jax.config.update("jax_enable_x64", True)
    clip = jax.numpy.clip
    if family == "T5":  # its code has a name that JAX has given up
        jax.numpy.clip = lambda x, a_max: clip(x, max=a_max)
    model = load(folder, from_pt=True, dtype=getattr(jax.numpy, dtype))
    model.params = jax.tree.map(lambda x: jax.numpy.asarray(np.asarray(x, dtype)), model.params)
    return model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A function that gives a model and its port; each is built once."""
    made = {}

    def pair(family, framework, dtype):
        if importlib.util.find_spec(NEEDS[framework]) is None:
            pytest.skip(f"{NEEDS[framework]} is not installed")
        if (family, framework, dtype) not in made:
            port, folder = weights(family), tmp_path_factory.mktemp(family)
            port.save_pretrained(folder)
            model = loaded(family, framework, dtype, folder)
            made[family, framework, dtype] = model, port.to(getattr(torch, dtype))
        return made[family, framework, dtype]

    return pair


def located(pair, family, framework, mask="padded", port=None, backward=False):
    """What a user writes: the inputs by their names, and the call."""
    inputs = {"input_ids": IDS, "attention_mask": MASKS[mask]}
    if family == "T5":
        inputs["decoder_input_ids"] = TARGETS
    # Flax's models have no such option: they make caches in a call of its own.
    options = {} if family == "Bert" else {"use_cache": False}
    return locate(
        pair[0],
        pair[1] if port is None else port,
        options_a=inputs | ({} if framework == "Flax" else options),
        options_b=inputs | options,
        backward=backward,
    )


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_found_in_a_port_that_is_right(pairs, family, framework, dtype, mask):
    found = located(pairs(family, framework, dtype), family, framework, mask)
    assert found.differences == [], found
    assert found.unmapped == ([], [])
    assert len(found.rows) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_port_that_is_right_agree(pairs, family, framework):
    found = located(pairs(family, framework, "float32"), family, framework, backward=True)
    assert found.differences == [], found
    assert sum(row.gradient is not None for row in found.rows) > 30


def then(module, after):
    """Let something happen to what a module gives."""
    call = module.forward
    module.forward = lambda *args, **options: after(call(*args, **options))


def first(module, before):
    """Let something happen to what a module takes first."""
    call = module.forward
    module.forward = lambda x, *args, **options: call(before(x), *args, **options)


def without_mask(module):
    call = module.forward
    module.forward = lambda X, attention_mask=None, **options: call(
        X, attention_mask=None, **options
    )


def transposed(layer):
    layer.weight.data = layer.weight.data.T.clone()


def detached_keys(X):
    q, k, v = X.chunk(3, dim=-1)
    return torch.cat([q, k.detach(), v], dim=-1)


def bert_embeddings_scaled(model):
    then(model.embeddings.word_embeddings, lambda X: 4 * X)


def window(model):
    """A window of four, which the other one does not have."""
    model.config.sliding_window = 4


def mistral(model, i):
    return model.layers[i]


PLANTED = {
    "Bert": {
        "epsilon": (
            lambda m: setattr(m.encoder.layer[1].output.LayerNorm, "eps", 1e-5),
            "layer.1.output.LayerNorm",
            "layer-norm epsilon",
        ),
        "GELU": (
            lambda m: setattr(
                m.encoder.layer[0].intermediate, "intermediate_act_fn", nn.GELU("tanh")
            ),
            "layer.0.intermediate",
            "GELU form",
        ),
        "mask": (
            lambda m: without_mask(m.encoder.layer[1].attention.self),
            "layer.1.attention.self",
            "padding not masked",
        ),
        "position": (
            lambda m: first(m.embeddings.position_embeddings, lambda ids: ids + 1),
            "embeddings",
            "position offset",
        ),
        "scale": (bert_embeddings_scaled, "embeddings", "embedding scale sqrt(d)"),
        "dropout": (
            lambda m: m.encoder.layer[0].attention.output.dropout.train(),
            "layer.0.attention.output.dropout",
            "dropout left on",
        ),
        "transposed": (
            lambda m: transposed(m.encoder.layer[1].attention.self.query),
            "layer.1.attention.self.query",
            "transposed kernel",
        ),
        "bias": (
            lambda m: m.encoder.layer[1].output.dense.bias.data.zero_(),
            "layer.1.output.dense",
            "missing bias",
        ),
        "activation": (
            lambda m: setattr(m.encoder.layer[0].intermediate, "intermediate_act_fn", nn.ReLU()),
            "layer.0.intermediate",
            "activation",
        ),
        "detached": (
            lambda m: then(m.encoder.layer[1].attention.self.key, torch.Tensor.detach),
            "layer.1.attention.self.key",
            "gradient stopped",
        ),
    },
    "GPT2": {
        "epsilon": (lambda m: setattr(m.h[1].ln_2, "eps", 1e-6), "h.1.ln_2", "layer-norm epsilon"),
        "GELU": (lambda m: setattr(m.h[0].mlp, "act", nn.GELU()), "h.0.mlp.c_fc", "GELU form"),
        "mask": (lambda m: without_mask(m.h[1].attn), "h.1.attn", "padding not masked"),
        "causal": (lambda m: m.h[1].attn.bias.fill_(True), "h.1.attn", "causal mask"),
        "position": (lambda m: first(m.wpe, lambda ids: ids + 1), "wpe", "token ids off by one"),
        "scale": (
            lambda m: setattr(m.h[0].attn, "scale_attn_weights", False),
            "h.0.attn",
            "attention scale 1 / sqrt(d)",
        ),
        "embedding": (lambda m: then(m.wte, lambda X: 4 * X), "wte", "embedding scale sqrt(d)"),
        "dropout": (lambda m: m.h[0].mlp.dropout.train(), "h.0.mlp.dropout", "dropout left on"),
        "transposed": (
            lambda m: transposed(m.h[1].attn.c_proj),
            "h.1.attn.c_proj",
            "transposed kernel",
        ),
        "detached": (
            lambda m: then(m.h[1].attn.c_attn, detached_keys),
            "h.1.attn.c_attn",
            "gradient stopped",
        ),
    },
    "T5": {
        "epsilon": (
            lambda m: setattr(m.encoder.block[1].layer[1].layer_norm, "variance_epsilon", 1e-5),
            "encoder.block.1.layer.1.layer_norm",
            "RMS-norm epsilon",
        ),
        "GELU": (
            lambda m: setattr(m.encoder.block[0].layer[1].DenseReluDense, "act", nn.GELU()),
            "encoder.block.0.layer.1.DenseReluDense",
            "activation",
        ),
        "scale": (
            lambda m: then(m.encoder.block[1].layer[0].SelfAttention.q, lambda X: X / math.sqrt(8)),
            "encoder.block.1.layer.0.SelfAttention.q",
            "scale",
        ),
        "dropout": (
            lambda m: m.encoder.block[0].layer[0].dropout.train(),
            "encoder.block.0.layer.0.dropout",
            "dropout left on",
        ),
        "transposed": (
            lambda m: transposed(m.decoder.block[1].layer[0].SelfAttention.k),
            "decoder.block.1.layer.0.SelfAttention.k",
            "transposed kernel",
        ),
        "detached": (
            lambda m: then(m.decoder.block[1].layer[1].EncDecAttention.k, torch.Tensor.detach),
            "decoder.block.1.layer.1.EncDecAttention.k",
            "gradient stopped",
        ),
        "embedding": (
            lambda m: then(m.encoder.embed_tokens, lambda X: 4 * X),
            "embed_tokens",
            "embedding scale sqrt(d)",
        ),
    },
    "Mistral": {
        "epsilon": (
            lambda m: setattr(m.layers[1].post_attention_layernorm, "variance_epsilon", 1e-5),
            "layers.1.post_attention_layernorm",
            "RMS-norm epsilon",
        ),
        "activation": (
            lambda m: setattr(m.layers[0].mlp, "act_fn", nn.GELU()),
            "layers.0.mlp",
            "activation",
        ),
        "window": (window, "layers.0.self_attn", "attention window"),
        "scale": (
            lambda m: setattr(m.layers[0].self_attn, "scaling", 1 / 4),
            "layers.0.self_attn",
            "attention scale 1 / sqrt(d)",
        ),
        "dropout": (
            lambda m: then(m.layers[0].mlp.down_proj, nn.Dropout(0.3)),
            "layers.0.mlp.down_proj",
            "dropout left on",
        ),
        "transposed": (
            lambda m: transposed(m.layers[1].self_attn.q_proj),
            "layers.1.self_attn.q_proj",
            "transposed kernel",
        ),
        "detached": (
            lambda m: then(m.layers[1].self_attn.k_proj, torch.Tensor.detach),
            "layers.1.self_attn.k_proj",
            "gradient stopped",
        ),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in PLANTED for name in PLANTED[family]]
)
def test_what_is_planted_is_named(pairs, family, framework, name):
    plant, place, cause = PLANTED[family][name]
    pair = pairs(family, framework, "float32")
    port = copy.deepcopy(pair[1])
    plant(port)
    backward = name == "detached"
    found = located(pair, family, framework, port=port, backward=backward)
    assert found.differences, "nothing is found"
    one = found.differences[0]
    assert place in one.place, found
    assert one.cause == cause, found
    assert one.backward == backward
