"""A mixture of experts: of several networks, each position is sent to a few."""

import numpy as np
from jaxtyping import Int

from d2l_ext import checks
from d2l_ext.reference.feedforward import FeedForward
from d2l_ext.reference.layers import Array, Float, Linear, Module, spec
from d2l_ext.reference.masking import unchecked_masked_softmax


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
        self.k = k
        self.router = Linear(num_experts, bias=False)
        self.experts = {
            f"expert{i}": FeedForward(num_hiddens, ffn_num_hiddens, activation)
            for i in range(num_experts)
        }

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
        probabilities = unchecked_masked_softmax(scores)
        chosen = np.argsort(-scores.real, axis=-1, kind="stable")[..., : self.k]
        shares = np.take_along_axis(probabilities, chosen, axis=-1)
        return shares / shares.sum(axis=-1, keepdims=True), chosen, probabilities

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        shares, chosen, _ = self.route(X)
        output = np.zeros_like(X)
        for i, expert in enumerate(self.experts.values()):
            share = (shares * (chosen == i)).sum(axis=-1, keepdims=True)  # (..., 1)
            output = output + share * expert(X)
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
    asked = chosen.reshape(-1, 1) == np.arange(num_experts)  # (positions * k, num_experts)
    often = asked.mean(axis=0) * chosen.shape[-1]
    mean = probabilities.reshape(-1, num_experts).mean(axis=-2)
    return num_experts * (often.astype(probabilities.real.dtype) * mean).sum()
