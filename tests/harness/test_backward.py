"""`locate` names a gradient that is wrong although all values are right, and its cause."""

import copy
import math

import numpy as np
import pytest

import d2l_ext
from d2l_ext.porting import locate

torch = pytest.importorskip("torch")
from halved import Halved  # noqa: E402 - after importorskip
from torch import nn  # noqa: E402

X = np.random.default_rng(0).standard_normal((2, 5, 6))
NAMES = ("W_q", "W_k", "W_v", "W_o", "fc", "out")
TOKENS = np.random.default_rng(1).integers(0, 7, (2, 5))


def attention(q, k, v):
    return (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


class Block(nn.Module):
    """Attention and two layers; what stands between them are attributes."""

    def __init__(self):
        super().__init__()
        self.W_q, self.W_k, self.W_v, self.W_o = (nn.Linear(6, 6) for _ in range(4))
        self.fc, self.out = nn.Linear(6, 6), nn.Linear(6, 6)
        self.keys, self.function, self.last = lambda Y: Y, torch.tanh, lambda Y: Y

    def forward(self, X):
        X = X + self.W_o(attention(self.W_q(X), self.keys(self.W_k(X)), self.W_v(X)))
        return self.out(self.last(self.fc(self.function(X))))


class Straight(torch.autograd.Function):
    """Rounds, and lets the gradient through."""

    @staticmethod
    def forward(ctx, X):
        return (X * 4).round() / 4

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Cubed(torch.autograd.Function):
    """x^3, with the derivative of x^2."""

    @staticmethod
    def forward(ctx, X):
        ctx.save_for_backward(X)
        return X**3

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2 * ctx.saved_tensors[0]


MASK = np.random.default_rng(2).random((2, 5, 6)) < 0.7


class Recomputed(torch.autograd.Function):
    """Dropout that draws again on the way back."""

    @staticmethod
    def forward(ctx, X):
        return X * torch.from_numpy(MASK) / 0.7

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.from_numpy(np.roll(MASK, 1)) / 0.7


def half_stopped(Y):
    """As keys that are detached in an array that has queries and values beside them."""
    return torch.cat([Y[..., :3], Y[..., 3:].detach()], dim=-1)


def round_(Y):
    return (Y * 4).round() / 4


@pytest.fixture
def block():
    torch.manual_seed(0)
    return Block().double()


@pytest.mark.parametrize(
    ("attribute", "right", "wrong", "place", "cause", "words"),
    [
        ("keys", None, lambda Y: Y.detach(), "W_v → W_o", "gradient stopped", "outputs of W_k"),
        ("last", None, half_stopped, "fc → out", "gradient stopped", "a part of the numbers"),
        ("last", round_, Straight.apply, "fc → out", "straight-through", "B, by the outp"),
        ("last", Straight.apply, round_, "fc → out", "straight-through", "A, by the outp"),
        ("last", None, Halved.apply, "fc → out", "scaled gradient", "B: 0.5 times"),
        ("last", lambda Y: Y**3, Cubed.apply, "fc → out", "custom gradient", "B, by the"),
        (
            "last",
            lambda Y: Y * torch.from_numpy(MASK) / 0.7,
            Recomputed.apply,
            "fc → out",
            "dropout mask not reused",
            "B, by the outputs of fc",
        ),
    ],
    ids=["detached", "half", "through", "not through", "halved", "custom", "dropout"],
)
def test_a_wrong_gradient_is_one_place_with_its_cause(
    block, attribute, right, wrong, place, cause, words
):
    a = block
    if right is not None:
        setattr(a, attribute, right)
    b = copy.deepcopy(a)
    setattr(b, attribute, wrong)
    assert not locate(a, b, X, backward=False).differences
    (found,) = locate(a, b, X).differences
    assert (found.place, found.backward) == (place, True), found
    assert found.cause.startswith(cause), found
    assert words in found.explanation
    assert found.error > 1e6 * found.budget


def test_a_part_that_is_stopped_inside_a_layer_shows_in_its_weights(block):
    """Its inputs have a gradient from the other part, which is none of the known ones."""
    b = copy.deepcopy(block)
    forward = b.fc.forward
    b.fc.forward = lambda X: half_stopped(forward(X))
    (found,) = locate(block, b, X).differences
    assert (found.place, found.cause, found.backward) == ("fc", "gradient stopped", True), found
    assert "in a part of the numbers, by fc." in found.explanation


def test_every_place_of_a_wrong_piece_shows_it_and_no_other(block):
    b = copy.deepcopy(block)
    b.keys = lambda Y: Y.detach()
    found = locate(block, b, X)
    beyond = [row.place for row in found.rows if (row.gradient or 0) > (row.gradient_budget or 1)]
    assert beyond == ["W_k"]  # that is where the keys' gradient ends
    assert all(row.agrees for row in found.rows)


class Tied(nn.Module):
    """A language model whose last layer has the embedding's weights."""

    def __init__(self, copied=False):
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.inner = nn.Linear(6, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embedding.weight
        if copied:
            self.head.weight = nn.Parameter(self.embedding.weight.detach().clone())

    def forward(self, tokens):
        return self.head(self.inner(self.embedding(tokens)).tanh())


def test_tied_weights_that_are_counted_once():
    torch.manual_seed(0)
    a, b = Tied().double(), Tied(copied=True).double()
    b.load_state_dict(a.state_dict())
    (found, *_) = locate(a, b, TOKENS).differences
    assert found.cause == "tied weights counted once"
    assert found.backward
    assert not locate(a, copy.deepcopy(a), TOKENS).differences


def test_float32_tells_a_wrong_gradient_from_rounding(block):
    a = block.float()
    b = copy.deepcopy(a)
    assert not locate(a, b, X).differences
    b.last = Halved.apply
    assert locate(a, b, X).cause == "scaled gradient"


def test_a_gradient_that_is_not_a_number():
    class Root(nn.Module):
        def __init__(self, safe):
            super().__init__()
            self.first, self.safe = nn.Linear(6, 6), safe

        def forward(self, X):
            Y = self.first(X)
            inner = torch.where(Y > 0, Y, 1.0) if self.safe else Y
            return torch.where(Y > 0, inner.sqrt(), 0.0)

    torch.manual_seed(0)
    a, b = Root(True).double(), Root(False).double()
    b.load_state_dict(a.state_dict())
    found = locate(a, b, X)
    assert (found.place, found.cause) == ("the model", "gradient not finite")


def jax_port(weights, stop):
    import jax
    from flax import nnx

    class Port(nnx.Module):
        def __init__(self):
            for name in NAMES:
                layer = nnx.Linear(6, 6, param_dtype="float64", rngs=nnx.Rngs(0))
                layer.kernel = nnx.Param(jax.numpy.asarray(weights[f"{name}.weight"].T))
                layer.bias = nnx.Param(jax.numpy.asarray(weights[f"{name}.bias"]))
                setattr(self, name, layer)

        def __call__(self, X):
            k = self.W_k(X)
            k = jax.lax.stop_gradient(k) if stop else k
            scores = self.W_q(X) @ k.swapaxes(1, 2) / math.sqrt(6)
            X = X + self.W_o(jax.nn.softmax(scores) @ self.W_v(X))
            return self.out(self.fc(jax.numpy.tanh(X)))

    return Port()


def tensorflow_port(weights, stop):
    import keras
    import tensorflow as tf

    class Port(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            for name in NAMES:
                layer = keras.layers.Dense(6, dtype="float64")
                layer.build((None, 6))
                layer.set_weights([weights[f"{name}.weight"].T, weights[f"{name}.bias"]])
                setattr(self, name, layer)

        def call(self, X):
            k = self.W_k(X)
            k = tf.stop_gradient(k) if stop else k
            scores = self.W_q(X) @ tf.transpose(k, (0, 2, 1)) / math.sqrt(6)
            X = X + self.W_o(tf.nn.softmax(scores) @ self.W_v(X))
            return self.out(self.fc(tf.tanh(X)))

    return Port()


def mxnet_port(weights, stop):
    from mxnet import np as xp
    from mxnet import npx
    from mxnet.gluon import Block, nn

    class Port(Block):
        def __init__(self):
            super().__init__()
            for name in NAMES:
                layer = nn.Dense(6, flatten=False, in_units=6)
                layer.initialize()
                layer.cast("float64")
                layer.weight.set_data(xp.array(weights[f"{name}.weight"], dtype="float64"))
                layer.bias.set_data(xp.array(weights[f"{name}.bias"], dtype="float64"))
                setattr(self, name, layer)

        def forward(self, X):
            k = self.W_k(X)
            k = k.detach() if stop else k
            scores = xp.matmul(self.W_q(X), k.swapaxes(1, 2)) / math.sqrt(6)
            X = X + self.W_o(xp.matmul(npx.softmax(scores), self.W_v(X)))
            return self.out(self.fc(xp.tanh(X)))

    return Port()


PORTS = {"jax": jax_port, "tensorflow": tensorflow_port, "mxnet": mxnet_port}


@pytest.mark.parametrize("framework", PORTS)
def test_detached_keys_in_a_port(block, framework):
    if framework not in d2l_ext.installed():
        pytest.skip(f"{framework} is not installed")
    d2l_ext.backend(framework)
    weights = {k: v.numpy() for k, v in block.state_dict().items()}
    for stop in (False, True):
        found = locate(block, PORTS[framework](weights, stop), X).differences
        expected = [("W_v → W_o", "gradient stopped")] if stop else []
        assert [(one.place, one.cause) for one in found] == expected, found


def test_models_keep_their_gradients(block):
    block(torch.from_numpy(X)).sum().backward()
    before = block.out.weight.grad.clone()
    locate(block, copy.deepcopy(block), X)
    assert (block.out.weight.grad == before).all()
    assert torch.is_grad_enabled()
