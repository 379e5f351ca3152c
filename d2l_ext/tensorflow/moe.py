"""A mixture of experts: of several networks, each position is sent to a few."""

import tensorflow as tf
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.tensorflow.feedforward import FeedForward
from d2l_ext.tensorflow.layers import Array, Layer, dense, spec, widened
from d2l_ext.tensorflow.masking import softmax


class MixtureOfExperts(Layer):
    """The k most probable experts, averaged: sum_e p_e expert_e(x) / sum_e p_e (Mixtral, 2024).

    The router's probabilities p are the softmax of W x. Of experts that score the same, the lower
    number comes first.

    Every expert sees all positions, and what was not asked for counts zero times: how many ask an
    expert depends on values, and compiled code needs shapes.
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
        self.router = dense(num_experts, bias=False)
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
        probabilities = softmax(scores)
        chosen = tf.math.top_k(scores, self.k).indices  # of equal scores, the lower index first
        shares = tf.gather(probabilities, chosen, batch_dims=len(X.shape) - 1)
        return shares / tf.reduce_sum(shares, axis=-1, keepdims=True), chosen, probabilities

    def call(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        shares, chosen, _ = self.route(X)
        output = tf.zeros_like(X)
        for i, expert in enumerate(self.experts.values()):
            asked = tf.where(chosen == i, shares, tf.zeros_like(shares))
            output += tf.reduce_sum(asked, axis=-1, keepdims=True) * expert(X)
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
    asked = tf.one_hot(chosen, num_experts, dtype=wide.dtype)  # (..., k, num_experts)
    often = tf.reduce_mean(tf.reshape(asked, (-1, num_experts)), axis=0) * chosen.shape[-1]
    mean = tf.reduce_mean(tf.reshape(wide, (-1, num_experts)), axis=0)
    return tf.cast(num_experts * tf.reduce_sum(often * mean), probabilities.dtype)
