"""A mixture of experts: of several networks, each position is sent to a few.

How many positions come to an expert is known when the router has been computed, but shapes in
compiled code must be known before. So every expert is computed at every position here, and has a
share of zero where it was not chosen: the same numbers as PyTorch's column, at the cost of all
experts.
"""

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.jax.feedforward import FeedForward
from d2l_ext.jax.layers import Array, Linear, Module, spec, widened
from d2l_ext.jax.masking import softmax


class MixtureOfExperts(Module):
    """The k most probable experts, averaged: sum_e p_e expert_e(x) / sum_e p_e (Mixtral, 2024).

    The router's probabilities p are the softmax of W x. Of experts that score the same, the lower
    number comes first.
    """

    def __init__(
        self,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_experts: int,
        k: int,
        activation: str = "swiglu",
    ):
        checks.experts(num_experts, k)
        self.k, self.num_experts = k, num_experts
        self.router = Linear(num_hiddens, num_experts, bias=False)
        self.experts = nnx.Dict(
            {
                f"expert{i}": FeedForward(num_hiddens, ffn_num_hiddens, activation)
                for i in range(num_experts)
            }
        )

    def route(
        self, X: Float[Array, "*batch num_hiddens"]
    ) -> tuple[
        Float[Array, "*batch k"], Int[Array, "*batch k"], Float[Array, "*batch num_experts"]
    ]:
        """Choose the experts of each position.

        Args:
            X: (..., num_hiddens).

        Returns:
            The chosen experts' shares (..., k), which sum to 1; their numbers (..., k), the most
            probable first; the probabilities of all experts (..., num_experts).
        """
        scores = self.router(X)
        probabilities = softmax(scores)
        chosen = jnp.argsort(-scores, axis=-1, stable=True)[..., : self.k]
        shares = jnp.take_along_axis(probabilities, chosen, axis=-1)
        return shares / shares.sum(axis=-1, keepdims=True), chosen, probabilities

    def __call__(
        self, X: Float[Array, "*batch num_hiddens"], training: bool = False
    ) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape; nothing depends on ``training``."""
        shares, chosen, _ = self.route(X)
        output = jnp.zeros_like(X)
        for i in range(self.num_experts):  # NNX orders the names like words: expert10, expert2
            share = shares.sum(axis=-1, keepdims=True, where=chosen == i)  # (..., 1)
            output = output + share * self.experts[f"expert{i}"](X)
        return output


def load_balancing_loss(
    probabilities: Float[Array, "*batch num_experts"], chosen: Int[Array, "*batch k"]
) -> Float[Array, ""]:
    """Loss that is least when all experts are asked equally often: E sum_e f_e P_e.

    f_e is how often expert e is among the chosen ones, per position, and P_e its mean probability
    (Fedus et al., 2022, for k = 1; for larger k as in Mixtral: k when balanced). Only P has a
    gradient.

    Args:
        probabilities: (..., num_experts), from `MixtureOfExperts.route`.
        chosen: (..., k), from there too.

    Returns:
        A number ().

    Raises:
        ValueError: an expert that there is not.
    """
    checks.chosen(spec(probabilities), spec(chosen))
    num_experts = probabilities.shape[-1]
    wide = widened(probabilities)
    asked = jax.nn.one_hot(chosen, num_experts, dtype=wide.dtype)
    often = asked.reshape(-1, num_experts).mean(axis=0) * chosen.shape[-1]
    mean = wide.reshape(-1, num_experts).mean(axis=0)
    return (num_experts * (often * mean).sum()).astype(probabilities.dtype)
