"""A mixture of experts: of several networks, each position is sent to a few."""

import numpy
from jaxtyping import Float, Int
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.feedforward import FeedForward
from d2l_ext.mxnet.layers import Array, blocks, matmul, spec


class MixtureOfExperts(Configured, nn.Block):
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
        self.router = nn.Dense(num_experts, use_bias=False, flatten=False, in_units=num_hiddens)
        experts = [
            FeedForward(num_hiddens, ffn_num_hiddens, activation) for _ in range(num_experts)
        ]
        self.experts = blocks(experts, name="expert")

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
        probabilities = npx.softmax(scores, axis=-1)
        # MXNet's `argsort` and `topk` order ties as they like.
        order = numpy.argsort(-scores.asnumpy(), axis=-1, kind="stable")
        chosen = mnp.array(order[..., : self.k], dtype="int64")
        picks = npx.one_hot(chosen, scores.shape[-1], dtype=X.dtype)  # (..., k, num_experts)
        shares = mnp.squeeze(matmul(picks, mnp.expand_dims(probabilities, -1)), -1)
        return shares / shares.sum(axis=-1, keepdims=True), chosen, probabilities

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape; no expert computes what it is not asked."""
        shares, chosen, _ = self.route(X)
        positions, chosen = X.reshape(-1, X.shape[-1]), chosen.asnumpy().reshape(-1)
        asked = [numpy.flatnonzero(chosen == i) for i in range(len(self.experts))]
        answers = mnp.concatenate(
            [
                expert(mnp.take(positions, mnp.array(places // self.k, dtype="int64"), axis=0))
                for expert, places in zip(self.experts, asked, strict=True)
                if len(places)
            ]
        )  # (positions * k, num_hiddens), by experts
        back = mnp.array(numpy.argsort(numpy.concatenate(asked)), dtype="int64")
        answers = mnp.take(answers, back, axis=0).reshape(-1, self.k, X.shape[-1])
        return npx.batch_dot(shares.reshape(-1, 1, self.k), answers).reshape(X.shape)


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
    asked = npx.one_hot(chosen.reshape(-1), num_experts, dtype=probabilities.dtype)
    often = asked.mean(axis=0) * chosen.shape[-1]
    mean = probabilities.reshape(-1, num_experts).mean(axis=0)
    return num_experts * (often * mean).sum()
