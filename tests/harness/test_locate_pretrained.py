"""Models that nobody here wrote: transformers' BERT, GPT-2, T5 and Mistral, as they come.

Those in TensorFlow (tf_keras) and in Flax are ports of PyTorch's; then PyTorch's are ports of
theirs, with one thing planted. `transformers` 4.57 is the last version that has all three.
"""

import copy
import importlib.util

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
MASK = np.array([[1] * 7, [1] * 4 + [0] * 3])
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


def loaded(family, framework, folder):
    """Return a model in the other framework, read from PyTorch's files."""
    load = getattr(transformers, f"{framework}{family}Model").from_pretrained
    return load(folder, from_pt=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A function that gives a model and its port; each is built once."""
    made = {}

    def pair(family, framework):
        if importlib.util.find_spec(NEEDS[framework]) is None:
            pytest.skip(f"{NEEDS[framework]} is not installed")
        if (family, framework) not in made:
            port, folder = weights(family), tmp_path_factory.mktemp(family)
            port.save_pretrained(folder)
            made[family, framework] = loaded(family, framework, folder), port
        return made[family, framework]

    return pair


def called(family, framework=""):
    """The inputs of a model by their names, as a user writes them."""
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    if family == "T5":
        inputs["decoder_input_ids"] = TARGETS
    # Flax's models have no such option: they make caches in a call of its own.
    without_cache = {} if family == "Bert" or framework == "Flax" else {"use_cache": False}
    return inputs | without_cache


# Flax's T5 has code that today's JAX does not run.
RIGHT = [(family, "TF") for family in FAMILIES] + [
    (family, "Flax") for family in ("Bert", "GPT2", "Mistral")
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "framework"), RIGHT)
def test_nothing_is_found_in_a_port_that_is_right(pairs, family, framework):
    port, model = pairs(family, framework)
    options = {"options_a": called(family), "options_b": called(family, framework)}
    found = locate(model, port, **options, backward=False)
    assert found.differences == [], found
    assert found.unmapped == ([], [])
    assert len(found.rows) >= 50


def then(module, after):
    """Let something happen to what a module gives."""
    call = module.forward
    module.forward = lambda *args, **options: after(call(*args, **options))


def first(module, before):
    """Let something happen to what a module takes first."""
    call = module.forward
    module.forward = lambda x, *args, **options: call(before(x), *args, **options)


def transposed(layer):
    layer.weight.data = layer.weight.data.T.clone()


PLANTED = {
    "Bert": {
        "epsilon": (
            lambda m: setattr(m.encoder.layer[1].output.LayerNorm, "eps", 1e-5),
            "output.LayerNorm",
            "layer-norm epsilon",
        ),
        "GELU": (
            lambda m: setattr(
                m.encoder.layer[0].intermediate, "intermediate_act_fn", nn.GELU("tanh")
            ),
            "layer.0.intermediate",
            "GELU form",
        ),
    },
    "GPT2": {
        "GELU": (lambda m: setattr(m.h[0].mlp, "act", nn.GELU()), "h.0.mlp.c_fc", "GELU form"),
        "position": (lambda m: first(m.wpe, lambda ids: ids + 1), "wpe", "token ids off by one"),
        "embedding": (lambda m: then(m.wte, lambda X: 4 * X), "wte", "embedding scale sqrt(d)"),
        "dropout": (lambda m: m.h[0].mlp.dropout.train(), "h.0.mlp.dropout", "dropout left on"),
        "transposed": (
            lambda m: transposed(m.h[1].attn.c_proj),
            "h.1.attn.c_proj",
            "transposed kernel",
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
        "dropout": (
            lambda m: m.encoder.block[0].layer[0].dropout.train(),
            "encoder.block.0.layer.0.dropout",
            "dropout left on",
        ),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in PLANTED for name in PLANTED[family]]
)
def test_what_is_planted_is_one_place_with_its_cause(pairs, family, name):
    plant, place, cause = PLANTED[family][name]
    model, port = pairs(family, "TF")
    port = copy.deepcopy(port)
    plant(port)
    options = {"options_a": called(family, "TF"), "options_b": called(family)}
    (found,) = locate(model, port, **options, backward=False).differences
    assert place in found.place
    assert found.cause == cause
