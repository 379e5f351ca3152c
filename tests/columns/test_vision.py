"""The vision Transformer in every column: PyTorch's own layers beside ours, and its symmetries."""

import numpy as np
import pytest
import torch_peer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

BATCH, SIZE, HEADS, BLOCKS, CLASSES, EPS = 3, 12, 3, 2, 5, 1e-2
# Image and patch, channels: 2 rows of 4 patches, and 3 of 3.
OBLONG, SQUARE = ((6, 8), (3, 2), 3), (6, 2, 1)
ROWS = arrays(int, BATCH, elements=st.integers(0, BATCH - 1))
# Layers of PyTorch's block, and ours.
NAMES = {"linear1": "mlp.dense1", "linear2": "mlp.dense2", "norm1": "ln1", "norm2": "ln2"}


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def images(sizes=OBLONG, seed=0):
    image, _, channels = sizes
    height, width = (image, image) if isinstance(image, int) else image
    return draw(seed, BATCH, channels, height, width)


def ready(be, module, *inputs):
    """A model whose parameters are all random: biases and scales count too."""
    model = be.model(module, *inputs, dtype="float64")
    shapes, rng = sorted(model.shapes().items()), np.random.default_rng(1)
    model.load_parameters({name: 0.5 * rng.standard_normal(shape) for name, shape in shapes})
    return model


_models = {}


def vit(be, sizes=OBLONG, use_bias=True):
    """A model, the same one for the same options, with the parameters that it had at first."""
    key = be.name, sizes, use_bias
    if key not in _models:
        options = 0.3, 0.2, use_bias, CLASSES, EPS
        module = be.api.ViT(*sizes[:2], SIZE, 10, HEADS, BLOCKS, *options)
        model = ready(be, module, images(sizes))
        _models[key] = model, model.parameters()
    model, parameters = _models[key]
    model.load_parameters(parameters)
    return model


def torchs(p, X, prefix="conv"):
    """What PyTorch's convolution makes of images, with the weights of ours."""
    import torch

    weight, bias = (torch.from_numpy(p[f"{prefix}.{leaf}"]) for leaf in ("weight", "bias"))
    conv = torch.nn.Conv2d(X.shape[1], *weight.shape[:1], weight.shape[2:], weight.shape[2:])
    conv.double().load_state_dict({"weight": weight, "bias": bias})
    return conv, conv(X).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("sizes", [OBLONG, SQUARE], ids=["oblong", "square"])
def test_patches_are_torchs_convolution(any_backend, sizes):
    torch = pytest.importorskip("torch")
    X = images(sizes)
    model = ready(any_backend, any_backend.api.PatchEmbedding(*sizes[:2], 7), X)
    peer = torch.from_numpy(X).requires_grad_()
    conv, wanted = torchs(model.parameters(), peer)
    assert wanted.shape == (BATCH, model.module.num_patches, 7)
    cotangent = draw(2, *wanted.shape)
    wanted.backward(torch.from_numpy(cotangent))
    output, gradients, (of_images,) = model.vjp((X,), cotangent)
    np.testing.assert_allclose(output, wanted.detach(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(of_images, peer.grad, rtol=1e-11, atol=1e-12)
    for leaf in ("weight", "bias"):
        wanted = getattr(conv, leaf).grad
        np.testing.assert_allclose(gradients[f"conv.{leaf}"], wanted, rtol=1e-11, atol=1e-12)


def below(p, prefix):
    return {k.removeprefix(prefix): v for k, v in p.items() if k.startswith(prefix)}


def layer(p):
    """PyTorch's block of the kind that the vision Transformer has, with the weights of ours."""
    options = {"activation": "gelu", "norm_first": True, "layer_norm_eps": EPS}
    return torch_peer.encoder_layer(p, NAMES, HEADS, **options)


def torchs_vit(p, X):
    """Logits of the same model made of PyTorch's layers."""
    import torch

    t = {name: torch.from_numpy(value) for name, value in p.items()}
    patches = torchs(p, X, "patch_embedding.conv")[1]
    X = torch.cat([t["cls_token"].expand(BATCH, -1, -1), patches], 1) + t["pos_embedding"]
    for i in range(BLOCKS):
        X = layer(below(p, f"blks.{i}."))(X)
    norm = (SIZE,), t["head.0.weight"], t["head.0.bias"], EPS
    X = torch.nn.functional.layer_norm(X[:, 0], *norm)
    return X @ t["head.1.weight"].T + t["head.1.bias"]


@pytest.mark.parametrize(("sizes", "use_bias"), [(OBLONG, True), (SQUARE, False)])
def test_torchs_layers_with_the_same_weights_compute_the_same(any_backend, sizes, use_bias):
    """Logits, and their gradient with respect to the images, which goes through every layer."""
    torch = pytest.importorskip("torch")
    model, X = vit(any_backend, sizes, use_bias), images(sizes)
    assert ("blks.1.attention.W_q.bias" in model.shapes()) == use_bias
    peer = torch.from_numpy(X).requires_grad_()
    wanted = torchs_vit(model.parameters(), peer)
    cotangent = draw(2, BATCH, CLASSES)
    wanted.backward(torch.from_numpy(cotangent))
    logits, _, (of_images,) = model.vjp((X,), cotangent)
    np.testing.assert_allclose(logits, wanted.detach(), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(of_images, peer.grad, rtol=1e-9, atol=1e-11)


def test_a_block_equals_torchs_own_with_padding_too(any_backend):
    torch = pytest.importorskip("torch")
    X, lens = draw(0, BATCH, 5, SIZE), np.array([5, 3, 1])
    block = any_backend.api.ViTBlock(SIZE, SIZE, 10, HEADS, 0.3, eps=EPS)
    model = ready(any_backend, block, X, lens)
    padding = torch.arange(5) >= torch.from_numpy(lens)[:, None]
    peer = layer(model.parameters())
    wanted = peer(torch.from_numpy(X), src_key_padding_mask=padding).detach()
    np.testing.assert_allclose(model(X, lens), wanted, rtol=1e-10, atol=1e-11)


def reordered(X, order):
    """An image's patches in another order; OBLONG has 2 rows of 4, each (3, 2)."""
    patches = X.reshape(BATCH, 3, 2, 3, 4, 2).swapaxes(3, 4).reshape(BATCH, 3, 8, 3, 2)
    return patches[:, :, order].reshape(BATCH, 3, 2, 4, 3, 2).swapaxes(3, 4).reshape(X.shape)


@given(order=st.permutations(range(8)))
@settings(max_examples=4)
def test_only_the_position_embedding_knows_where_a_patch_is(any_backend, order):
    """In another order, with its rows in that order, patches give the same logits."""
    model, X = vit(any_backend), images()
    logits, moved = model(X), reordered(X, order)
    differs = np.abs(model(moved) - logits).max() > 1e-5
    assert differs == (list(order) != sorted(order))
    p = model.parameters()
    positions = p["pos_embedding"].copy()
    positions[:, 1:] = positions[:, 1:][:, order]  # the class's token stays the first
    model.load_parameters(p | {"pos_embedding": positions})
    np.testing.assert_allclose(model(moved), logits, rtol=1e-10, atol=1e-11)


@given(seed=st.integers(0, 999), rows=ROWS)
@settings(max_examples=4)
def test_images_do_not_see_each_other(any_backend, seed, rows):
    """In another order, and some of them twice in the place of others."""
    model, X = vit(any_backend), images(seed=seed)
    np.testing.assert_allclose(model(X[rows]), model(X)[rows], rtol=1e-10, atol=1e-12)


def test_every_pixel_of_every_channel_matters(any_backend):
    model, X = vit(any_backend), images()
    _, _, (gradient,) = model.vjp((X,), draw(2, BATCH, CLASSES))
    assert gradient.shape == X.shape and (np.abs(gradient) > 1e-9).all()


def test_weights_of_every_block(any_backend):
    """Of the class's token and 8 patches, each to all others."""
    model = vit(any_backend)
    model(images())
    assert model.attention_weights.shape == (BLOCKS, BATCH * HEADS, 9, 9)
    np.testing.assert_allclose(model.attention_weights.sum(-1), 1, rtol=1e-13)
    assert (model.attention_weights > 0).all()


def test_the_class_starts_at_zero_and_positions_at_random(any_backend):
    """The common start; of a convolution, every pixel of every channel counts as an input."""
    be = any_backend
    p = be.model(be.api.ViT(*OBLONG[:2], SIZE, 10, HEADS, 1, 0, 0), images()).parameters()
    assert p["cls_token"].shape == (1, 1, SIZE) and not p["cls_token"].any()
    assert p["pos_embedding"].shape == (1, 9, SIZE)
    assert stats.kstest(p["pos_embedding"].ravel(), "norm").pvalue > 0.01
    weight = p["patch_embedding.conv.weight"]
    assert weight.shape == (SIZE, 3, 3, 2)
    bound = np.sqrt(6 / (SIZE + 3 * 3 * 2))
    assert stats.kstest(weight.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01


def test_dropout_acts_where_it_should(any_backend):
    """Behind the positions, on the attention weights, and behind both layers of each network."""
    model, X = vit(any_backend), images()
    inner = {
        "attention.attention.dropout": (BATCH * HEADS, 9, 9),
        "mlp.dropout1": (BATCH, 9, 10),
        "mlp.dropout2": (BATCH, 9, SIZE),
    }
    assert model.dropout_layers(X) == {"dropout": (0.3, (BATCH, 9, SIZE))} | {
        f"blks.{i}.{name}": (0.2, shape) for i in range(BLOCKS) for name, shape in inner.items()
    }


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (draw(0, 3, 6, 8), "X: got shape (3, 6, 8), must be (batch, channels, height, width)"),
        (draw(0, 3, 3, 8, 6), "X: got shape (3, 3, 8, 6), must have size 6 on axis 2"),
        (draw(0, 3, 3, 6, 10), "X: got shape (3, 3, 6, 10), must have size 8 on axis 3"),
        (np.ones((3, 3, 6, 8), int), "X: got dtype int64, must be a floating dtype"),
    ],
)
def test_bad_images_are_the_same_error_everywhere(any_backend, X, message):
    embedding = ready(any_backend, any_backend.api.PatchEmbedding(*OBLONG[:2], 7), images())
    for model in (vit(any_backend), embedding):
        with pytest.raises(ValueError) as error:
            model(X)
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("image", "patch", "message"),
    [
        (6, 4, "img_size: got 6, must be a positive multiple of 4"),
        ((6, 8), (3, 3), "img_size: got 8, must be a positive multiple of 3"),
        ((5, 8), 4, "img_size: got 5, must be a positive multiple of 4"),
        (0, 2, "img_size: got 0, must be a positive multiple of 2"),
        (6, 0, "img_size: got 6, must be a positive multiple of 0"),
    ],
)
def test_patches_that_do_not_fill_the_image_are_the_same_error_everywhere(
    any_backend, image, patch, message
):
    api = any_backend.api
    for make in (
        lambda: api.PatchEmbedding(image, patch, 7),
        lambda: api.ViT(image, patch, SIZE, 10, HEADS, 1, 0, 0),
    ):
        with pytest.raises(ValueError) as error:
            make()
        assert str(error.value) == message
