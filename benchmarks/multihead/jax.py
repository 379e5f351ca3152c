"""JAX: `flax.linen.MultiHeadDotProductAttention`."""

import jax
from flax import linen as nn
from jax import numpy as jnp

from d2l_ext.jax import MultiHeadAttention


def ours(heads, weights):
    """Return forward and backward of `MultiHeadAttention`, compiled."""
    layer = MultiHeadAttention(heads.num_hiddens, heads.num_heads, dropout=0)
    X, lens = _inputs(heads)
    return _step(layer, (X, X, X, lens), {}, weights)


def own(heads, weights):
    """Return forward and backward of Flax's layer, padding masked, compiled."""
    layer = nn.MultiHeadDotProductAttention(
        heads.num_heads, use_bias=False, qkv_features=heads.num_hiddens
    )
    X, lens = _inputs(heads)
    mask = (jnp.arange(heads.num_steps) < lens[:, None])[:, None, None]
    return _step(layer, (X, X, X), {"mask": mask, "sow_weights": weights}, weights)


def _inputs(heads):
    shape = heads.batch, heads.num_steps, heads.num_hiddens
    X = jax.random.normal(jax.random.key(0), shape, jnp.float32)
    low, high = heads.num_steps // 2, heads.num_steps + 1
    return X, jax.random.randint(jax.random.key(1), shape[:1], low, high)


def _step(layer, inputs, options, weights):
    X, *rest = inputs
    params = layer.init(jax.random.key(2), X, *rest, **options)["params"]

    @jax.jit
    def gradients(params, X):
        def total(params, X):
            same = [X if x is inputs[0] else x for x in rest]
            Y, kept = layer.apply({"params": params}, X, *same, **options, mutable="intermediates")
            return Y.sum(), kept if weights else None

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, X)

    return lambda: jax.block_until_ready(gradients(params, X))
