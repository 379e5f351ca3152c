"""Layer norm and root mean square norm in every column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ["LayerNorm", "RMSNorm"]


def build(be, name, size=6, dtype="float64", **options):
    module = getattr(be.api, name)(size, **options)
    model = be.model(module, draw(0, 2, size), dtype=dtype)
    rng = np.random.default_rng(1)
    model.load_parameters({k: rng.standard_normal(v) for k, v in model.shapes().items()})
    return model


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_both_are_the_formula(be):
    X = draw(0, 2, 3, 6)
    layer, rms = (build(be, name, eps=0.1) for name in NAMES)
    p = layer.parameters()
    wanted = (X - X.mean(-1, keepdims=True)) / np.sqrt(X.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(layer(X), wanted * p["weight"] + p["bias"], rtol=1e-12, atol=1e-13)
    wanted = X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1) * rms.parameters()["weight"]
    np.testing.assert_allclose(rms(X), wanted, rtol=1e-12, atol=1e-13)


def test_parameters_and_epsilons(be):
    assert build(be, "LayerNorm").shapes() == {"weight": (6,), "bias": (6,)}
    assert build(be, "RMSNorm").shapes() == {"weight": (6,)}
    # The epsilon decides where the input is as small as its root.
    X = np.full((1, 6), 1e-3)
    rms = build(be, "RMSNorm")
    wanted = rms.parameters()["weight"] / np.sqrt(2)
    np.testing.assert_allclose(rms(X)[0], wanted, rtol=1e-12)
    X[:, ::2] = -1e-3
    layer = build(be, "LayerNorm")
    p = layer.parameters()
    wanted = X[0] / np.sqrt(1e-6 + 1e-5) * p["weight"] + p["bias"]
    np.testing.assert_allclose(layer(X)[0], wanted, rtol=1e-12)


@given(seed=st.integers(0, 999), scale=st.sampled_from([1e-2, 3.0, 1e4]))
@settings(max_examples=5)
def test_what_each_does_not_see(be, seed, scale):
    """Neither sees a positive scale; layer norm does not see a shift either."""
    X = draw(seed, 2, 6)
    for name in NAMES:
        model = build(be, name, eps=0.0)
        np.testing.assert_allclose(model(scale * X), model(X), rtol=1e-10, atol=1e-12)
        shifted = np.abs(model(X + 1) - model(X)).max()
        assert shifted < 1e-12 if name == "LayerNorm" else shifted > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_equals_torchs_own(be, name):
    torch = pytest.importorskip("torch")
    model, X, cotangent = build(be, name), draw(2, 2, 3, 6), draw(3, 2, 3, 6)
    eps = {"LayerNorm": 1e-5, "RMSNorm": 1e-6}[name]
    peer = getattr(torch.nn, name)(6, eps=eps).double()
    peer.load_state_dict({k: torch.from_numpy(v) for k, v in model.parameters().items()})
    x = torch.from_numpy(X).requires_grad_()
    wanted = peer(x)
    wanted.backward(torch.from_numpy(cotangent))
    output, gradients, (by_x,) = model.vjp((X,), cotangent)
    np.testing.assert_allclose(output, wanted.detach(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(by_x, x.grad, rtol=1e-11, atol=1e-12)
    for key, p in peer.named_parameters():
        np.testing.assert_allclose(gradients[key], p.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_statistics_of_half_precision_are_taken_in_float32(be, name, dtype):
    """The squares of 1,000 exceed float16, and their sum loses its digits in bfloat16."""
    if dtype not in be.dtypes:
        pytest.skip(f"{be.name} has no {dtype}")
    X = np.where(draw(4, 3, 512) > 0, 1000.0, -992.0)  # which both dtypes hold
    unit = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    module = getattr(be.api, name)(512)
    model = be.model(module, X, dtype=dtype)  # weight 1, bias 0
    centred = X - X.mean(-1, keepdims=True) if name == "LayerNorm" else X
    wanted = centred / np.sqrt((centred**2).mean(-1, keepdims=True))
    np.testing.assert_allclose(model(X), wanted, rtol=3 * unit)
