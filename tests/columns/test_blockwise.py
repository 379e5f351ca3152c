"""Attention without its matrix in every column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)  # queries, keys, values


def draw(seed, shapes=SHAPES, scale=1.0):
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.standard_normal(shape) for shape in shapes)


def blockwise(be, inputs, mask=None, cotangent=None, **options):
    """Output, and input gradients if there is a cotangent."""
    mask = be.array(mask)

    def function(*inputs):
        return be.api.blockwise_attention(*inputs, mask, **options)

    if cotangent is None:
        return be.numpy(function(*be.array(inputs)))
    return be.vjp(function, inputs, cotangent)


def full(be, inputs, mask, cotangent):
    """The same of `attention`, which holds all weights."""
    mask = be.array(mask)
    return be.vjp(lambda *inputs: be.api.attention(*inputs, mask)[0], inputs, cotangent)


def assert_equal(found, wanted, scale=1.0):
    """Compare outputs and gradients; what cancels leaves the rounding of numbers of a scale."""
    (output, gradients), (wanted, by_inputs) = found, wanted
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-12)
    for gradient, by_input in zip(gradients, by_inputs, strict=True):
        np.testing.assert_allclose(gradient, by_input, rtol=1e-10, atol=1e-11 * scale)


@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=6)
def test_online_softmax_is_softmax(be, seed, sizes):
    blocks = [5 * x for x in draw(seed, [(2, 3, size) for size in sizes])]
    weights = be.numpy(be.api.online_softmax(be.array(blocks)))
    assert [w.shape for w in weights] == [x.shape for x in blocks]
    exps = np.exp(np.concatenate(blocks, -1))
    wanted = exps / exps.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(weights, -1), wanted, rtol=1e-12)


def test_online_softmax_of_growing_and_of_huge_scores(be):
    blocks = [np.array([[-1e4, -1e4]]), np.array([[1e4]]), np.array([[1e4, 0.0]])]
    weights = be.numpy(be.api.online_softmax(be.array(blocks)))
    np.testing.assert_array_equal(np.concatenate(weights, -1), [[0, 0, 0.5, 0.5, 0]])
    masked = [np.array([[-np.inf, -np.inf], [-np.inf, 1.0]]), np.array([[-np.inf], [1.0]])]
    weights = be.numpy(be.api.online_softmax(be.array(masked)))
    np.testing.assert_array_equal(np.concatenate(weights, -1), [[0, 0, 0], [0, 0.5, 0.5]])


def test_online_softmaxs_gradient(be):
    blocks, cotangent = draw(0, [(2, 3), (2, 4)]), draw(1, [(2, 3), (2, 4)])
    weights, gradients = be.vjp(
        lambda *blocks: be.api.online_softmax(list(blocks)), blocks, list(cotangent)
    )
    w, c = np.concatenate(weights, -1), np.concatenate(cotangent, -1)
    wanted = w * (c - (w * c).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.concatenate(gradients, -1), wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("block_size", [1, 2, 3, 6, 7, 8, 64])
def test_every_block_size_gives_the_full_result(be, block_size, causal):
    inputs, (cotangent,) = draw(0), draw(1, [(2, 3, 5, 6)])
    mask = np.tri(5, 7, 2, dtype=bool) if causal else None  # the queries are the last of the keys
    found = blockwise(be, inputs, None, cotangent, causal=causal, block_size=block_size)
    assert_equal(found, full(be, inputs, mask, cotangent))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (5, 1), (3, 5, 7), (2, 1, 5, 7), (2, 3, 1, 7)])
@given(seed=st.integers(0, 999), block_size=st.integers(1, 8))
@settings(max_examples=2)
def test_masks_give_the_full_result(be, shape, causal, seed, block_size):
    inputs, (cotangent,) = draw(seed), draw(seed + 1, [(2, 3, 5, 6)])
    mask = np.random.default_rng(seed).random(shape) < 0.6
    both = mask & np.tri(5, 7, 2, dtype=bool) if causal else mask
    found = blockwise(be, inputs, mask, cotangent, causal=causal, block_size=block_size)
    assert_equal(found, full(be, inputs, both, cotangent))


@pytest.mark.parametrize("block_size", [2, 64])
def test_a_query_without_a_key_gives_zero_and_has_a_zero_gradient(be, block_size):
    inputs, (cotangent,) = draw(0), draw(1, [(2, 3, 5, 6)])
    mask = np.ones((5, 7), bool)
    mask[2] = False
    output, (by_query, by_key, by_value) = blockwise(
        be, inputs, mask, cotangent, block_size=block_size
    )
    assert not output[:, :, 2].any() and not by_query[:, :, 2].any()
    assert all(np.isfinite(x).all() for x in (output, by_query, by_key, by_value))
    nothing = blockwise(be, inputs, np.zeros((5, 7), bool), cotangent, block_size=block_size)
    assert not any(x.any() for x in (nothing[0], *nothing[1]))


def test_more_queries_than_keys_leave_the_first_without_any(be):
    """Causally: the queries are the last of the keys, so two stand before the first key."""
    inputs, (cotangent,) = draw(0, [(4, 3), (2, 3), (2, 5)]), draw(1, [(4, 5)])
    mask = np.tri(4, 2, -2, dtype=bool)
    found = blockwise(be, inputs, None, cotangent, causal=True, block_size=1)
    assert_equal(found, full(be, inputs, mask, cotangent))
    assert not found[0][:2].any()


def test_huge_scores_do_not_overflow(be):
    inputs, (cotangent,) = draw(0, scale=100.0), draw(1, [(2, 3, 5, 6)])
    found = blockwise(be, inputs, None, cotangent, block_size=2)
    assert_equal(found, full(be, inputs, None, cotangent), scale=100.0)


def test_key_heads_broadcast(be):
    shapes = (2, 3, 5, 4), (2, 1, 7, 4), (1, 7, 6)
    inputs, (cotangent,) = draw(0, shapes), draw(1, [(2, 3, 5, 6)])
    found = blockwise(be, inputs, None, cotangent, causal=True, block_size=3)
    assert_equal(found, full(be, inputs, np.tri(5, 7, 2, dtype=bool), cotangent))
    assert [g.shape for g in found[1]] == list(shapes)


def test_equals_torchs_own(be):
    torch = pytest.importorskip("torch")
    inputs, (cotangent,) = draw(0, [(2, 3, 9, 4)] * 3), draw(1, [(2, 3, 9, 4)])
    q, k, v = (torch.from_numpy(x).requires_grad_() for x in inputs)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    wanted.backward(torch.from_numpy(cotangent))
    found = blockwise(be, inputs, None, cotangent, causal=True, block_size=4)
    assert_equal(found, (wanted.detach().numpy(), [x.grad.numpy() for x in (q, k, v)]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(be, dtype):
    if dtype not in be.dtypes or be.name != "torch":
        pytest.skip("arrays of half precision come from the framework")
    import torch

    inputs = [torch.from_numpy(x).to(getattr(torch, dtype)) for x in draw(0, [(512, 8)] * 3)]
    output = be.api.blockwise_attention(*inputs, block_size=4)
    assert output.dtype == inputs[0].dtype
    wanted = be.api.attention(*(x.double() for x in inputs))[0]
    unit = torch.finfo(output.dtype).eps / 2
    assert (output.double() - wanted).abs().max() <= 1.01 * unit * wanted.abs().max()


def test_torch_keeps_no_block_for_the_gradient():
    """What is saved for the backward pass grows with the number of keys, not with its square."""
    torch = pytest.importorskip("torch")
    from d2l_ext.torch import blockwise_attention

    def saved(num_steps):
        sizes = []
        pack = lambda x: sizes.append(x.numel()) or x  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            inputs = [torch.randn(num_steps, 4, requires_grad=True) for _ in range(3)]
            blockwise_attention(*inputs, causal=True, block_size=8).sum()
        return sum(sizes)

    assert saved(512) <= 2 * saved(256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(block_size=0), "block_size: got 0, must be positive"),
        (dict(mask=np.ones((4, 7), bool)), r"mask: got shape \(4, 7\), must broadcast to \(2, 3,"),
        (dict(mask=np.ones((5, 7))), "mask: got dtype float64, must be bool"),
    ],
)
def test_what_does_not_fit_is_the_same_error_everywhere(be, options, message):
    with pytest.raises(ValueError, match=message):
        blockwise(be, draw(0), **options)
