"""JAX: `flax.linen.MultiHeadDotProductAttention`."""

import jax
from flax import linen, nnx
from jax import numpy as jnp

from d2l_ext.jax import MultiHeadAttention


def ours(heads, weights):
    """Return forward and backward of `MultiHeadAttention`, compiled."""
    layer = MultiHeadAttention(heads.num_hiddens, heads.num_heads, dropout=0)
    X, lens = _inputs(heads)
    jax.eval_shape(layer, X, X, X, lens)  # creates the lazy weights
    graphdef, params = nnx.split(layer)

    def call(params, X):
        layer = nnx.merge(graphdef, params)
        return layer(X, X, X, lens), layer.attention_weights

    return _step(call, params, X, weights)


def own(heads, weights):
    """Return forward and backward of Flax's layer, padding masked, compiled."""
    layer = linen.MultiHeadDotProductAttention(
        heads.num_heads, use_bias=False, qkv_features=heads.num_hiddens
    )
    X, lens = _inputs(heads)
    mask = (jnp.arange(heads.num_steps) < lens[:, None])[:, None, None]
    params = layer.init(jax.random.key(2), X)["params"]

    def call(params, X):
        options = {"mask": mask, "sow_weights": weights, "mutable": "intermediates"}
        return layer.apply({"params": params}, X, X, X, **options)

    return _step(call, params, X, weights)


def _inputs(heads):
    shape = heads.batch, heads.num_steps, heads.num_hiddens
    X = jax.random.normal(jax.random.key(0), shape, jnp.float32)
    low, high = heads.num_steps // 2, heads.num_steps + 1
    return X, jax.random.randint(jax.random.key(1), shape[:1], low, high)


def _step(call, params, X, weights):
    @jax.jit
    def gradients(params, X):
        def total(params, X):
            Y, kept = call(params, X)
            return Y.sum(), kept if weights else None

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(params, X)

    return lambda: jax.block_until_ready(gradients(params, X))
