"""A mixture of experts: of several networks, each position is sent to a few."""

import torch
from jaxtyping import Float, Int
from torch import nn
from torch.nn import functional as F

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.torch.feedforward import FeedForward
from d2l_ext.torch.layers import Array, spec, widened


class MixtureOfExperts(Configured, nn.Module):
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
        super().__init__()
        checks.experts(num_experts, k)
        self.k = k
        self.router = nn.Linear(num_hiddens, num_experts, bias=False)
        self.experts = nn.ModuleDict(
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
        probabilities = scores.softmax(dim=-1)
        # `topk` would order ties as it likes.
        chosen = scores.sort(dim=-1, descending=True, stable=True).indices[..., : self.k]
        shares = probabilities.gather(-1, chosen)
        return shares / shares.sum(dim=-1, keepdim=True), chosen, probabilities

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        shares, chosen, _ = (x.flatten(0, -2) for x in self.route(X))  # (positions, k)
        positions, output = X.flatten(0, -2), torch.zeros_like(X).flatten(0, -2)
        for i, expert in enumerate(self.experts.values()):
            rows, rank = torch.where(chosen == i)  # who asks this expert, and as which of its k
            answers = shares[rows, rank, None] * expert(positions[rows])
            output.index_add_(0, rows, answers)
        return output.view_as(X)


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
    asked = F.one_hot(chosen.long(), num_experts).flatten(0, -2).to(wide)
    often = asked.mean(dim=0) * chosen.shape[-1]
    mean = wide.flatten(0, -2).mean(dim=0)
    return (num_experts * (often * mean).sum()).to(probabilities.dtype)
