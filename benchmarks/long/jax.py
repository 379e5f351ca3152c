"""JAX's own attention, which on the CPU makes the whole matrix too."""

import jax
from jax import numpy as jnp

from benchmarks.long import arrays


def own(size):
    """Return a function that calls `jax.nn.dot_product_attention`."""
    given = [jnp.asarray(x)[:, :, None] for x in arrays(size)]  # one head
    call = jax.jit(lambda *a: jax.nn.dot_product_attention(*a, is_causal=True))
    return lambda: call(*given).block_until_ready()
