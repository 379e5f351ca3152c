"""What Flax's, JAX's and Optax's own layers and operators do unless told otherwise.

Nothing of the column is used here: `d2l_ext.agreement.running.differences` puts the four side by
side, with what all columns agree on.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

KEY = jax.random.key(0)


def layer_norm(x):
    """Return the default layer norm of (rows, size)."""
    return np.asarray(linen.LayerNorm().init_with_output(KEY, jnp.asarray(x))[0])


def gelu(x):
    """Return the default GELU."""
    return np.asarray(linen.gelu(jnp.asarray(x)))


def softmax(x):
    """Return the softmax over the last axis."""
    return np.asarray(jax.nn.softmax(jnp.asarray(x)))


def cross_entropy(logits, labels):
    """Return the default loss, reduced or not."""
    return np.asarray(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def adam(gradient, lr):
    """Return by how much Adam's first step moves a parameter."""
    optimizer, p = optax.adam(lr), jnp.zeros(1, "float32")
    updates, _ = optimizer.update(jnp.full(1, gradient, "float32"), optimizer.init(p))
    return float(updates[0])


def clipped(gradient, max_norm):
    """Return a gradient clipped by its global norm."""
    g = jnp.asarray(gradient)
    return np.asarray(optax.clip_by_global_norm(max_norm).update(g, optax.EmptyState())[0])


def dense(num_inputs, num_outputs):
    """Return the initial weight and bias of a dense layer."""
    params = linen.Dense(num_outputs).init(KEY, jnp.zeros((1, num_inputs)))["params"]
    return np.asarray(params["kernel"]), np.asarray(params["bias"])


def embedding(vocab_size, size):
    """Return the initial weight of an embedding."""
    params = linen.Embed(vocab_size, size).init(KEY, jnp.zeros(1, int))["params"]
    return np.asarray(params["embedding"])


def lookup(token, vocab_size):
    """Return what an embedding with rows 0, 1, 2, ... gives for a token."""
    rows = {"params": {"embedding": jnp.arange(float(vocab_size))[:, None]}}
    return np.asarray(linen.Embed(vocab_size, 1).apply(rows, jnp.array([token])))


def _zero_gru():
    x, h = jnp.zeros((1, 1)), jnp.full((1, 1), 0.5)
    return jax.tree.map(jnp.zeros_like, linen.GRUCell(1).init(KEY, h, x)["params"]), x, h


def gru(bias):
    """Return the state of one GRU unit after a step without input, from 1/2 and zero weights.

    Args:
        bias: of its gates (3,), of the layers that each gate has for itself: ir, iz, in.
    """
    params, x, h = _zero_gru()
    for name, b in zip(("ir", "iz", "in"), bias, strict=True):
        params[name]["bias"] = jnp.full(1, b)
    return linen.GRUCell(1).apply({"params": params}, h, x)[0].item()


def gru_biases():
    """Return how many biases a GRU unit has."""
    return sum("bias" in layer for layer in _zero_gru()[0].values())


def forget_bias():
    """Return the initial bias of an LSTM's forget gate, averaged over 256 units."""
    cell, state = linen.LSTMCell(256), (jnp.zeros((1, 256)),) * 2
    return float(cell.init(KEY, state, jnp.zeros((1, 2)))["params"]["hf"]["bias"].mean())


def rms_norm(x):
    """Return the default RMS norm of (rows, size)."""
    return np.asarray(linen.RMSNorm().init_with_output(KEY, jnp.asarray(x))[0])


def fused(q, k, v, mask=None):
    """Return the fused attention of arrays with four axes, under a mask (queries, keys)."""
    mask = None if mask is None else jnp.asarray(mask)[None, None]
    return np.asarray(jax.nn.dot_product_attention(*map(jnp.asarray, (q, k, v)), mask=mask))


def attention_layer(x, mask):
    """Return what the attention layer makes of (1, steps, size) under a mask (steps, steps)."""
    layer = linen.MultiHeadDotProductAttention(1)
    return np.asarray(layer.init_with_output(KEY, x, mask=mask[None, None])[0])


def convolution(image):
    """Return a default convolution by a kernel of 3 of an image, (1, ?, ?, ?), to two channels."""
    return np.asarray(linen.Conv(2, (3, 3)).init_with_output(KEY, jnp.asarray(image))[0])


def write(x):
    """Write 1 to the first element of an array."""
    x = jnp.asarray(x)
    x[0] = 1
    return np.asarray(x)


def limits():
    """Return ``{finding: size}``: what no setting of the framework's own operators mends."""
    x = np.linspace(-20, 20, 4001)
    return {"tanh": float(np.abs(np.asarray(jnp.tanh(x)) - np.tanh(x.astype("longdouble"))).max())}
