"""A model that nobody here wrote: Hugging Face's BERT in Flax, and the same in PyTorch as its port.

Its layers are called in another order in the two, its inputs are ids of three kinds, lengths and
masks of another form in each, and its outputs are dataclasses.
"""

import copy

import numpy as np
import pytest

pytest.importorskip("jax")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch import nn  # noqa: E402 - after importorskip, as what follows

import d2l_ext  # noqa: E402
from d2l_ext.porting import locate  # noqa: E402

IDS = np.random.default_rng(0).integers(1, 50, (2, 7))
KINDS, POSITIONS = np.zeros((2, 7), int), np.tile(np.arange(7), (2, 1))
PADDED = np.array([[1] * 7, [1] * 4 + [0] * 3])
CONFIG = transformers.BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=20,
    attn_implementation="eager",
)


@pytest.fixture(scope="module", params=["float64", pytest.param("float32", marks=pytest.mark.slow)])
def pair(request, tmp_path_factory):
    """The model in Flax, (module, variables), and in PyTorch."""
    torch.manual_seed(0)
    port, folder = transformers.BertModel(CONFIG).eval(), tmp_path_factory.mktemp("bert")
    port.save_pretrained(folder)
    model = transformers.FlaxBertModel.from_pretrained(folder, from_pt=True)
    module = model.module.clone(dtype=request.param)
    cast = d2l_ext.backend("jax").array  # in double precision too
    params = _cast(model.params, lambda x: cast(np.asarray(x, request.param)))
    return (module, {"params": params}), port.to(getattr(torch, request.param))


def _cast(tree, cast):
    return {k: _cast(v, cast) if isinstance(v, dict) else cast(v) for k, v in tree.items()}


def located(pair, port, attended, backward=False):
    inputs = IDS, attended, KINDS, POSITIONS
    return locate(pair[0], port, *inputs, None, inputs_b=inputs, backward=backward)


@pytest.mark.parametrize("attended", [np.ones_like(PADDED), PADDED], ids=["full", "padded"])
def test_nothing_is_found_in_a_port_that_is_right(pair, attended):
    found = located(pair, pair[1], attended)
    assert len(found.rows) > 70
    assert found.differences == [], found


@pytest.mark.slow
def test_gradients_of_a_port_that_is_right_agree(pair):
    found = located(pair, pair[1], PADDED, backward=True)
    assert found.differences == [], found
    assert sum(row.gradient is not None for row in found.rows) > 60


@pytest.mark.slow
def test_detached_keys_are_named(pair):
    port = copy.deepcopy(pair[1])
    key = port.encoder.layer[1].attention.self.key
    call = key.forward
    key.forward = lambda X: call(X).detach()
    (found,) = located(pair, port, PADDED, backward=True).differences
    assert (found.cause, found.backward) == ("gradient stopped", True)
    assert found.place == "encoder.layer.1.attention.self.key"


def epsilon(port):
    port.encoder.layer[1].output.LayerNorm.eps = 1e-5


def gelu(port):
    port.encoder.layer[0].intermediate.intermediate_act_fn = nn.GELU(approximate="tanh")


def no_mask(port):
    attention = port.encoder.layer[1].attention.self
    call = attention.forward
    attention.forward = lambda X, attention_mask=None, **options: call(X, None, **options)


def position(port):
    embedding = port.embeddings.position_embeddings
    call = embedding.forward
    embedding.forward = lambda ids: call(ids + 1)


def dropout(port):
    port.encoder.layer[0].attention.output.dropout.train()


@pytest.mark.parametrize(
    ("plant", "place", "cause"),
    [
        (epsilon, "encoder.layer.1.output.LayerNorm", "layer-norm epsilon"),
        (gelu, "encoder.layer.0.intermediate", "GELU form"),
        (no_mask, "encoder.layer.1.attention.self", "padding not masked"),
        (
            position,
            "embeddings.token_type_embeddings → embeddings.LayerNorm",
            "position offset",
        ),
        (dropout, "encoder.layer.0.attention.output.dropout", "dropout left on"),
    ],
)
def test_a_planted_difference_is_one_place_with_its_cause(pair, plant, place, cause):
    port = copy.deepcopy(pair[1])
    plant(port)
    (found,) = located(pair, port, PADDED).differences
    assert (found.place, found.cause) == (place, cause)
