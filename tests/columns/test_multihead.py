"""Multi-head attention in every column, against the layers that others wrote."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = dict(num_hiddens=6, num_heads=3, dropout=0.2)


def draw(seed, batch=2, queries=4, keys=5, sizes=(7, 8, 9)):
    rng = np.random.default_rng(seed)
    return tuple(
        rng.standard_normal((batch, n, size))
        for n, size in zip((queries, keys, keys), sizes, strict=True)
    )


def build(be, inputs, bias=False, **sizes):
    module = be.api.MultiHeadAttention(**(SIZES | sizes), bias=bias)
    model = be.model(module, *inputs, dtype="float64")
    rng = np.random.default_rng(1)
    model.load_parameters({k: rng.standard_normal(v) for k, v in model.shapes().items()})
    return model


@pytest.fixture(scope="module")
def model(any_backend):
    """A float64 model with queries, keys and values of different sizes in each column."""
    return build(any_backend, draw(0))


def test_heads_are_attentions_side_by_side(model):
    """Each head alone, from the definition."""
    queries, keys, values = draw(1)
    lens = np.array([3, 5])
    output = model(queries, keys, values, lens)
    p, heads = model.parameters(), []
    for i in range(3):
        rows = slice(2 * i, 2 * i + 2)
        q = queries @ p["W_q.weight"][rows].T
        k = keys @ p["W_k.weight"][rows].T
        v = values @ p["W_v.weight"][rows].T
        exps = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(2))
        exps *= np.arange(5) < lens[:, None, None]
        weights = exps / exps.sum(-1, keepdims=True)
        np.testing.assert_allclose(
            model.attention_weights.reshape(2, 3, 4, 5)[:, i], weights, rtol=1e-11, atol=1e-15
        )
        heads.append(weights @ v)
    wanted = np.concatenate(heads, -1) @ p["W_o.weight"].T
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-13)


@given(seed=st.integers(0, 999), junk=st.sampled_from([0.0, 1e3, -1e20]))
@settings(max_examples=4)
def test_padding_never_matters(model, seed, junk):
    queries, keys, values = draw(seed)
    lens = np.array([[1, 2, 3, 4], [4, 4, 0, 1]])
    output = model(queries, keys, values, lens)
    keys[:, 4], values[:, 4] = junk, junk
    np.testing.assert_array_equal(model(queries, keys, values, lens), output)
    mask = np.arange(5) < lens[:, :, None]
    np.testing.assert_array_equal(model(queries, keys, values, None, mask), output)
    assert (output[1, 2] == 0).all()  # no key: no value, and here no bias


@given(seed=st.integers(0, 999))
@settings(max_examples=4)
def test_permuting_the_pairs_permutes_the_weights(model, seed):
    queries, keys, values = draw(seed)
    order = np.random.default_rng(seed).permutation(5)
    output, weights = model(queries, keys, values), model.attention_weights
    assert weights.shape == (6, 4, 5)
    np.testing.assert_allclose(model(queries, keys[:, order], values[:, order]), output, rtol=1e-10)
    np.testing.assert_allclose(model.attention_weights, weights[:, :, order], rtol=1e-10)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 4, 5), (2, 1, 5), (2, 4, 5)])
def test_a_mask_broadcasts_and_is_the_same_for_all_heads(model, shape):
    inputs = draw(2)
    mask = np.random.default_rng(3).random(shape) < 0.6
    model(*inputs, None, mask)
    weights = model.attention_weights.reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(
        weights > 0, np.broadcast_to(np.broadcast_to(mask, (2, 4, 5))[:, None], weights.shape)
    )


def torch_peer(model, size):
    """`torch.nn.MultiheadAttention` with the weights of a model with biases."""
    torch = pytest.importorskip("torch")
    peer = torch.nn.MultiheadAttention(size, 3, batch_first=True).double()
    p = {k: torch.from_numpy(v) for k, v in model.parameters().items()}
    names = ("W_q", "W_k", "W_v")
    peer.load_state_dict(
        {
            "in_proj_weight": torch.cat([p[f"{n}.weight"] for n in names]),
            "in_proj_bias": torch.cat([p[f"{n}.bias"] for n in names]),
            "out_proj.weight": p["W_o.weight"],
            "out_proj.bias": p["W_o.bias"],
        }
    )
    return peer


def self_attention(any_backend):
    # Heads of size 4: Keras rounds 1 / sqrt(size) to float32 also in float64, which 1 / 2 survives.
    inputs = draw(4, queries=5, sizes=(12, 12, 12))
    mask = np.random.default_rng(5).random((2, 5, 5)) < 0.6
    mask[:, :, 0] = True
    model = build(any_backend, inputs, bias=True, num_hiddens=12)
    return model, inputs, mask, model(*inputs, None, mask)


def test_equals_torchs_own(any_backend):
    import torch

    model, inputs, mask, output = self_attention(any_backend)
    wanted, weights = torch_peer(model, 12)(
        *map(torch.from_numpy, inputs),
        attn_mask=torch.from_numpy(~mask).repeat_interleave(3, 0),  # True means leave out there
        average_attn_weights=False,
    )
    np.testing.assert_allclose(output, wanted.detach().numpy(), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(
        model.attention_weights, weights.detach().numpy().reshape(6, 5, 5), rtol=1e-11, atol=1e-15
    )


def test_equals_keras_own(any_backend):
    keras = pytest.importorskip("keras")
    model, inputs, mask, output = self_attention(any_backend)
    p = model.parameters()
    peer = keras.layers.MultiHeadAttention(3, 4, dtype="float64")
    peer.build(*[x.shape for x in (inputs[0], inputs[2], inputs[1])])  # query, value, key
    weights = []
    for name in ("W_q", "W_k", "W_v"):
        weights += [p[f"{name}.weight"].T.reshape(12, 3, 4), p[f"{name}.bias"].reshape(3, 4)]
    peer.set_weights([*weights, p["W_o.weight"].T.reshape(3, 4, 12), p["W_o.bias"]])
    query, key, value = inputs
    wanted, scores = peer(query, value, key=key, attention_mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(
        model.attention_weights, np.reshape(scores, (6, 5, 5)), rtol=1e-11, atol=1e-15
    )


def test_equals_flax_own(any_backend):
    pytest.importorskip("flax")
    import jax
    from flax import linen

    model, inputs, mask, output = self_attention(any_backend)
    p = model.parameters()
    names = {"query": "W_q", "key": "W_k", "value": "W_v"}
    params = {
        theirs: {
            "kernel": p[f"{ours}.weight"].T.reshape(12, 3, 4),
            "bias": p[f"{ours}.bias"].reshape(3, 4),
        }
        for theirs, ours in names.items()
    }
    params["out"] = {"kernel": p["W_o.weight"].T.reshape(3, 4, 12), "bias": p["W_o.bias"]}
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        peer = linen.MultiHeadDotProductAttention(3, dtype="float64", param_dtype="float64")
        wanted = np.asarray(peer.apply({"params": params}, *inputs, mask=mask[:, None]))
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-13)


def test_d2l_weights_give_d2l_outputs(any_backend, d2l_torch):
    import torch

    inputs, lens = draw(7), np.array([3, 2])
    peer = d2l_torch.MultiHeadAttention(6, 3, 0.2).double().eval()
    with torch.no_grad():
        wanted = peer(*map(torch.from_numpy, (*inputs, lens))).numpy()
    model = any_backend.model(any_backend.api.MultiHeadAttention(**SIZES), *inputs, dtype="float64")
    model.load_parameters({k: v.numpy() for k, v in peer.state_dict().items()})
    np.testing.assert_allclose(model(*inputs, lens), wanted, rtol=1e-12, atol=1e-14)


def test_heads_must_divide_the_size(any_backend):
    message = "num_hiddens: got 6, must be a positive multiple of 4"
    with pytest.raises(ValueError, match=message):
        module = any_backend.api.MultiHeadAttention(6, 4, 0)
        any_backend.model(module, *draw(0))


pytest_plugins = ["d2l_peer"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("mask_shape", [None, (5, 7), (1, 5, 7), (3, 1, 7)])
def test_fused_kernel_equals_the_explicit_version(dtype, mask_shape):
    torch = pytest.importorskip("torch")
    from d2l_ext.torch import MultiHeadAttention

    rng = np.random.default_rng(0)
    layer = MultiHeadAttention(8, 2, dropout=0.5).eval()
    layer.to(getattr(torch, dtype))
    queries, keys = (
        torch.from_numpy(rng.standard_normal((3, n, 4)).astype(dtype)).requires_grad_()
        for n in (5, 7)
    )
    lens = torch.tensor([0, 2, 7])  # the first sentence has no key to attend to
    mask = None if mask_shape is None else torch.from_numpy(rng.random(mask_shape) < 0.6)
    found = []
    for layer.attention.keep_weights in (True, False):
        output = layer(queries, keys, keys, lens, mask)
        wrt = [queries, keys, *layer.parameters()]
        found.append([output, *torch.autograd.grad((output**2).sum(), wrt)])
    assert layer.attention_weights is None
    assert not found[1][0][0].any()
    tolerance = 64 * np.finfo(dtype).eps
    for explicit, fused in zip(*found, strict=True):
        scale = explicit.abs().max()
        assert (fused - explicit).abs().max() <= tolerance * scale
