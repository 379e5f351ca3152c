"""The model written straight from its formulas in Flax NNX, without checks or caches' options."""

import jax
import numpy as np
import optax
from flax import nnx
from jax import numpy as jnp


def _turn(X, positions):
    """Rotary embedding of (batch, num_steps, num_heads, size)."""
    rates = 10000.0 ** (-jnp.arange(0, X.shape[-1], 2) / X.shape[-1])
    angles = (positions[:, None] * rates)[:, None].astype(X.dtype)  # (num_steps, 1, size / 2)
    x, y = jnp.split(X, 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate((x * cos - y * sin, x * sin + y * cos), axis=-1)


class Block(nnx.Module):
    """Attention and a gated network, each on normalised input and added to it."""

    def __init__(self, size, rngs):
        d = size.num_hiddens // size.num_heads

        def dense(m, n):
            return nnx.Linear(m, n, use_bias=False, rngs=rngs)

        self.heads, self.kv_heads = size.num_heads, size.num_kv_heads
        self.norm1 = nnx.RMSNorm(size.num_hiddens, rngs=rngs)
        self.norm2 = nnx.RMSNorm(size.num_hiddens, rngs=rngs)
        self.q, self.o = (dense(size.num_hiddens, size.num_hiddens) for _ in "qo")
        self.k, self.v = (dense(size.num_hiddens, d * size.num_kv_heads) for _ in "kv")
        self.gate, self.up = (dense(size.num_hiddens, size.ffn_num_hiddens) for _ in "gu")
        self.down = dense(size.ffn_num_hiddens, size.num_hiddens)

    def __call__(self, X, cache=None, position=0):
        """Map (batch, num_steps, num_hiddens) to the same shape, and extend a cache of keys."""
        batch, num_steps, _ = X.shape
        Z, steps = self.norm1(X), position + jnp.arange(num_steps)
        queries = _turn(self.q(Z).reshape(batch, num_steps, self.heads, -1), steps)
        keys = _turn(self.k(Z).reshape(batch, num_steps, self.kv_heads, -1), steps)
        values = self.v(Z).reshape(batch, num_steps, self.kv_heads, -1)
        if cache is not None:
            keys, values = cache = [
                jax.lax.dynamic_update_slice_in_dim(old, new, position, axis=1)
                for old, new in zip(cache, (keys, values), strict=True)
            ]
        mask = jnp.arange(keys.shape[1]) <= steps[:, None]
        Y = jax.nn.dot_product_attention(queries, keys, values, mask=mask[None, None])
        X = X + self.o(Y.reshape(X.shape))
        Z = self.norm2(X)
        return X + self.down(jax.nn.silu(self.gate(Z)) * self.up(Z)), cache


class Model(nnx.Module):
    """Embedding, blocks, a last normalisation, logits by the embedding."""

    def __init__(self, size):
        rngs = nnx.Rngs(0)
        self.embedding = nnx.Embed(size.vocab_size, size.num_hiddens, rngs=rngs)
        self.blks = nnx.List([Block(size, rngs) for _ in range(size.num_blks)])
        self.norm = nnx.RMSNorm(size.num_hiddens, rngs=rngs)

    def __call__(self, ids, caches=None, position=0):
        """Map ids (batch, num_steps) to logits (batch, num_steps, vocab_size)."""
        X, new = self.embedding(ids), []
        for blk, cache in zip(self.blks, caches or [None] * len(self.blks), strict=True):
            X, cache = blk(X, cache, position)
            new.append(cache)
        return self.embedding.attend(self.norm(X)), new


def step(size):
    """Return a function that does one training step."""
    model = Model(size)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.001))
    optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)
    ids, labels = map(jnp.asarray, size.tokens())

    def loss_of(model, ids, labels):
        losses = optax.softmax_cross_entropy_with_integer_labels(model(ids)[0], labels)
        return losses.mean()

    @nnx.jit
    def update(model, optimizer, ids, labels):
        loss, gradients = nnx.value_and_grad(loss_of)(model, ids, labels)
        optimizer.update(model, gradients)
        return loss

    return lambda: update(model, optimizer, ids, labels).block_until_ready()


def generate(size):
    """Return a function that goes on with a batch of prompts, always by the most likely token."""
    definition, state = nnx.split(Model(size))
    prompts, d = size.prompts(), size.num_hiddens // size.num_heads
    shape = size.batch, prompts.shape[1] + size.num_tokens, size.num_kv_heads, d

    @jax.jit
    def advance(state, ids, caches, position):
        logits, caches = nnx.merge(definition, state)(ids, caches, position)
        return logits[:, -1].argmax(axis=-1)[:, None], caches

    def run():
        ids, position, found = prompts, 0, []
        caches = [[jnp.zeros(shape, np.float32)] * 2 for _ in range(size.num_blks)]
        for _ in range(size.num_tokens):
            width = ids.shape[1]
            ids, caches = advance(state, ids, caches, position)
            position += width
            found.append(np.asarray(ids))  # as a reader of the text needs it

    return run
