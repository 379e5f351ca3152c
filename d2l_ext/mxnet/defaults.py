"""What MXNet's own layers and operators do unless told otherwise.

Nothing of the column is used here: `d2l_ext.agreement.running.differences` puts the four side by
side, with what all columns agree on.
"""

import math

import mxnet as mx
import numpy
from mxnet import autograd, gluon, npx
from mxnet import np as mnp
from scipy import special

from d2l_ext.mxnet.layers import Dropout  # noqa: F401 (prepares NumPy for MXNet)


def _started(block):
    block.initialize()
    return block


def layer_norm(x):
    """Return the default layer norm of (rows, size)."""
    return _started(gluon.nn.LayerNorm(in_channels=x.shape[-1]))(mnp.array(x)).asnumpy()


def gelu(x):
    """Return the default GELU."""
    return _started(gluon.nn.GELU())(mnp.array(x)).asnumpy()


def softmax(x):
    """Return the softmax over the last axis."""
    return npx.softmax(mnp.array(x)).asnumpy()


def cross_entropy(logits, labels):
    """Return the default loss, reduced or not."""
    return gluon.loss.SoftmaxCrossEntropyLoss()(mnp.array(logits), mnp.array(labels)).asnumpy()


def adam(gradient, lr):
    """Return by how much Adam's first step moves a parameter."""
    optimizer, p = mx.optimizer.Adam(learning_rate=lr), mx.nd.zeros(1)
    optimizer.update(0, p, mx.nd.full(1, gradient), optimizer.create_state(0, p))
    return p.asscalar()


def clipped(gradient, max_norm):
    """Return a gradient clipped by its global norm."""
    g = mnp.array(gradient, dtype="float64")
    gluon.utils.clip_global_norm([g], max_norm)
    return g.asnumpy()


def dense(num_inputs, num_outputs):
    """Return the initial weight and bias of a dense layer."""
    layer = _started(gluon.nn.Dense(num_outputs, in_units=num_inputs))
    return layer.weight.data().asnumpy(), layer.bias.data().asnumpy()


def embedding(vocab_size, size):
    """Return the initial weight of an embedding."""
    return _started(gluon.nn.Embedding(vocab_size, size)).weight.data().asnumpy()


def lookup(token, vocab_size):
    """Return what an embedding with rows 0, 1, 2, ... gives for a token."""
    rows = mnp.arange(vocab_size)[:, None]
    found = npx.embedding(mnp.array([token]), rows, input_dim=vocab_size, output_dim=1)
    return found.asnumpy()


def _zero_gru(**options):
    layer = gluon.rnn.GRU(1, input_size=1, **options)
    layer.initialize(mx.init.Zero())
    return layer


def gru(bias):
    """Return the state of one GRU unit after a step without input, from 1/2 and zero weights.

    Args:
        bias: of its gates (3,), in the framework's own order.
    """
    layer = _zero_gru()
    layer.l0_i2h_bias.set_data(mnp.array(bias))
    return layer(mnp.zeros((1, 1, 1)), mnp.full((1, 1, 1), 0.5))[0].item()


def gru_biases():
    """Return how many biases a GRU unit has."""
    layer = _zero_gru()
    return layer.l0_i2h_bias.shape[0] + layer.l0_h2h_bias.shape[0]


def forget_bias():
    """Return the initial bias of an LSTM's forget gate, averaged over 256 units."""
    layer = _started(gluon.rnn.LSTM(256, input_size=2))
    biases = layer.l0_i2h_bias, layer.l0_h2h_bias
    return sum(b.data()[256:512].mean().item() for b in biases)


def convolution(image):
    """Return a default convolution by a kernel of 3 of an image, (1, ?, ?, ?), to two channels."""
    return _started(gluon.nn.Conv2D(2, 3))(mnp.array(image)).asnumpy()


def write(x):
    """Write 1 to the first element of an array."""
    x = mnp.array(x)
    x[0] = 1
    return x.asnumpy()


def limits():
    """Return ``{finding: size}``: what no setting of the framework's own operators mends."""
    x = mnp.linspace(-3, 3, 101, dtype="float64")
    one = x.asnumpy()
    x.attach_grad()
    with autograd.record():
        npx.erf(x).sum().backward()
    slope = 2 / math.sqrt(math.pi) * numpy.exp(-one * one)
    own_gelu = npx.leaky_relu(x, act_type="gelu").asnumpy()
    gelu = one * (1 + special.erf(one / math.sqrt(2))) / 2
    rows = mnp.random.uniform(size=(3, 8), dtype="float64") * 1e-3
    norm = npx.layer_norm(rows, *(f(8, dtype="float64") for f in (mnp.ones, mnp.zeros)), eps=1e-5)
    centred = rows.asnumpy() - rows.asnumpy().mean(axis=1, keepdims=True)
    exact = centred / numpy.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return {
        "derivative of erf": _error(x.grad.asnumpy(), slope),
        "GELU": _error(own_gelu, gelu),
        "epsilon of the layer norm": _error(norm.asnumpy(), exact),
        "gradient of where": _where_gradient(),
        "lengths of the GRU": _ignored_lengths(),
    }


def _where_gradient():
    """Return how much of the gradient of where(mask, x, 0) is lost."""
    x, mask = mnp.ones(4), mnp.array([True, False, True, True])
    x.attach_grad()
    with autograd.record():
        mnp.where(mask, x, 0.0).sum().backward()
    return _error(x.grad.asnumpy(), numpy.array([1.0, 0, 1, 1]))


def _ignored_lengths():
    """Return how far a GRU's state after a sentence of length 1 is from the state it should be."""
    layer = _zero_gru(use_sequence_length=True)
    layer.l0_i2h_bias.set_data(mnp.array([0.0, 0.0, 20.0]))  # the state becomes 1/2, 3/4, ...
    state = [mnp.zeros((1, 1, 1))]
    try:
        _, (state,) = layer(mnp.zeros((3, 1, 1)), state, sequence_length=mnp.array([1.0]))
    except (mx.MXNetError, ValueError, TypeError):
        return math.inf
    return _error(state.asnumpy().ravel(), numpy.array([0.5]))


def _error(a, b):
    return float(numpy.abs(a - b).max() / numpy.abs(b).max())
