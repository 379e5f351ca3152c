"""PyTorch's large linear layers by oneDNN: the same numbers, in training steps only."""

import numpy as np
import pytest

import d2l_ext

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402 - where PyTorch is installed

from d2l_ext.torch import products  # noqa: E402

BE = d2l_ext.backend("torch")
LARGE = 64, 256, 300  # rows, inputs, outputs
ONEDNN = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN"
)


def layer(shape=LARGE, dtype="float32", bias=True, seed=0):
    """Return what a linear layer takes, with gradients, and a cotangent."""
    rng = np.random.default_rng(seed)
    *rows, d, n = shape
    arrays = rng.standard_normal((*rows, d)), rng.standard_normal((n, d)), rng.standard_normal(n)
    tensors = [torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True) for a in arrays]
    cotangent = torch.tensor(rng.standard_normal((*rows, n)), dtype=getattr(torch, dtype))
    return tensors if bias else tensors[:2], cotangent


def computed(args, cotangent):
    """Return a linear layer's output and gradients in NumPy."""
    output = F.linear(*args)
    gradients = torch.autograd.grad(output, args, cotangent)
    return [x.detach().float().numpy() for x in (output, *gradients)]


@ONEDNN
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [LARGE, (4, 16, 256, 300), (16, 3, 4, 512, 256)])
def test_values_and_gradients_are_those_of_the_product(shape, bias):
    args, cotangent = layer(shape, bias=bias)
    exact = computed(*layer(shape, "float64", bias))
    with products.OneDNN():
        found = computed(args, cotangent)
    assert not all(map(np.array_equal, found, computed(args, cotangent)))  # it is another library
    for a, b in zip(found, exact, strict=True):
        assert np.abs(a - b).max() < 3e-6 * np.abs(b).max()


@ONEDNN
def test_an_input_may_be_a_transposed_view():
    (x, weight, bias), cotangent = layer()
    plain = computed((x, weight, bias), cotangent)
    with products.OneDNN():
        turned = x.detach().mT.contiguous().mT.requires_grad_()
        for a, b in zip(computed((turned, weight, bias), cotangent), plain, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((63, 256, 300), "float32"),
        ((64, 255, 257), "float32"),
        ((0, 256, 300), "float32"),
        (LARGE, "float64"),
        (LARGE, "bfloat16"),
    ],
)
def test_other_layers_are_left_alone(shape, dtype):
    args, cotangent = layer(shape, dtype)
    plain = computed(args, cotangent)
    with products.OneDNN():
        for a, b in zip(computed(args, cotangent), plain, strict=True):
            np.testing.assert_array_equal(a, b)


def trained(monkeypatch, pays, dtype="float32", num_hiddens=160):
    """Return a GRU translator's loss and parameters after two steps."""
    monkeypatch.setattr(products, "pays", lambda: pays)
    api, rng = BE.api, np.random.default_rng(1)
    args = 11, num_hiddens, num_hiddens, 1
    parts = api.Seq2SeqEncoder(*args), api.Seq2SeqAttentionDecoder(*args)
    src, tgt = rng.integers(3, 11, (64, 3)), rng.integers(3, 11, (64, 3))
    lens = rng.integers(1, 4, 64)
    model = BE.model(api.EncoderDecoder(*parts), src, tgt, lens, dtype=dtype)
    trainer = BE.trainer(model, lr=0.01, max_norm=1.0, pad=0)
    losses = [trainer.step((src, tgt, lens, tgt)) for _ in range(2)]
    return losses, model.parameters()


@ONEDNN
def test_a_large_model_trains_the_same(monkeypatch):
    losses, params = trained(monkeypatch, True)
    plain_losses, plain = trained(monkeypatch, False)
    assert any(not np.array_equal(params[k], plain[k]) for k in plain)
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-6)
    for name in plain:  # Adam's first steps are near lr whatever the gradient: the sign of a zero
        assert np.abs(params[name] - plain[name]).mean() < 1e-5


@pytest.mark.parametrize(("dtype", "num_hiddens"), [("float32", 8), ("float64", 160)])
def test_small_models_and_other_precisions_stay_with_mkl(monkeypatch, dtype, num_hiddens):
    monkeypatch.setattr(products.OneDNN, "__enter__", None)  # would fail
    trained(monkeypatch, True, dtype, num_hiddens)


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        (None, "AVX512", False),
    ],
)
def test_it_pays_where_mkl_leaves_avx512_alone(monkeypatch, tmp_path, vendor, capability, expected):
    if vendor:
        (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(products, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert products.pays() is expected
