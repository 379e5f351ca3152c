"""What all columns agree on, where frameworks differ unless told otherwise.

`d2l_ext.agreement.running.differences` puts it beside what the frameworks' own layers and
operators do.
"""

import math

import numpy as np

from d2l_ext import randomness
from d2l_ext.interface import BETA1, BETA2, EPSILON
from d2l_ext.reference import layers, masking, normalization, recurrent, scoring, seq2seq


def layer_norm(x):
    """Return the layer norm of (rows, size)."""
    layer = normalization.LayerNorm(x.shape[-1])
    layer.weight = np.ones_like(x[0])
    return layer(x)


def gelu(x):
    """Return GELU."""
    return layers.gelu(x)


def softmax(x):
    """Return the softmax over the last axis, scores of -inf being masked."""
    return masking.masked_softmax(np.where(np.isinf(x), 0, x)[None], mask=~np.isinf(x)[None])[0]


def cross_entropy(logits, labels):
    """Return the loss."""
    return np.asarray(seq2seq.masked_loss(logits[None], labels[None], None))


def adam(gradient, lr):
    """Return by how much Adam's first step moves a parameter."""
    m, v = (1 - BETA1) * gradient / (1 - BETA1), (1 - BETA2) * gradient**2 / (1 - BETA2)
    return -lr * m / (math.sqrt(v) + EPSILON)


def clipped(gradient, max_norm):
    """Return a gradient clipped by its global norm."""
    return gradient * (max_norm / np.sqrt((gradient**2).sum()))


def _start(name, *shape):
    return randomness.initial_parameters({name: shape}, seed=0)[name]


def dense(num_inputs, num_outputs):
    """Return the initial weight and bias of a dense layer."""
    return _start("dense.weight", num_outputs, num_inputs), _start("dense.bias", num_outputs)


def embedding(vocab_size, size):
    """Return the initial weight of an embedding."""
    return _start("embedding.weight", vocab_size, size)


def lookup(token, vocab_size):
    """Return what an embedding with rows 0, 1, 2, ... gives for a token."""
    encoder = seq2seq.Seq2SeqEncoder(vocab_size, 1, 1, 1)
    return encoder(np.array([[token]]))


def _gru():
    layer = recurrent.GRU(1, 1, 1)
    layer(np.zeros((1, 1, 1)))
    return layer, {name: (owner, slot) for name, owner, slot in layer.slots()}


def gru(bias):
    """Return the state of one GRU unit after a step without input, from 1/2 and zero weights.

    Args:
        bias: of its gates (3,), in the common order.
    """
    layer, slots = _gru()
    for name, (owner, slot) in slots.items():
        value = np.zeros_like(getattr(owner, slot))
        setattr(owner, slot, bias if name.endswith("bias_ih_l0") else value)
    return layer(np.zeros((1, 1, 1)), np.full((1, 1, 1), 0.5))[0].item()


def gru_biases():
    """Return how many biases a GRU unit has."""
    return sum(getattr(owner, slot).size for n, (owner, slot) in _gru()[1].items() if "bias" in n)


def forget_bias():
    """Return the initial bias of an LSTM's forget gate, averaged over 256 units."""
    return sum(_start(f"rnn.bias_{side}_l0", 1024)[256:512].mean().item() for side in ("ih", "hh"))


def rms_norm(x):
    """Return the RMS norm of (rows, size)."""
    layer = normalization.RMSNorm(x.shape[-1])
    layer.weight = np.ones_like(x[0])
    return layer(x)


def fused(q, k, v, mask=None):
    """Return the attention of arrays with four axes, under a mask (queries, keys)."""
    return scoring.attention(q, k, v, mask)[0]


def limits():
    """Return ``{finding: size}``: nothing, since the reference is the measure."""
    return {}
