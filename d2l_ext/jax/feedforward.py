"""The position-wise network of a block, plain or gated."""

from functools import partial

from flax import nnx
from jaxtyping import Float

from d2l_ext import checks
from d2l_ext.jax.layers import Array, Linear, Module

gelu = partial(nnx.gelu, approximate=False)
GATES = {"swiglu": nnx.silu, "geglu": gelu}
ACTIVATIONS = {
    **GATES,
    "gelu": gelu,
    "gelu_tanh": partial(nnx.gelu, approximate=True),
    "relu": nnx.relu,
}


class FeedForward(Module):
    """The same network at every position: down(f(gate(x)) * up(x)), or down(f(up(x))).

    "swiglu" and "geglu" are gated, by f = SiLU or GELU, and without biases (Shazeer, 2020). "gelu"
    with the error function, "gelu_tanh", its approximation, and "relu" are not; they have biases.
    """

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "swiglu"):
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        gated = activation in GATES
        self.activation = ACTIVATIONS[activation]
        self.gate = Linear(num_hiddens, ffn_num_hiddens, bias=False) if gated else None
        self.up = Linear(num_hiddens, ffn_num_hiddens, bias=not gated)
        self.down = Linear(ffn_num_hiddens, num_hiddens, bias=not gated)

    def __call__(
        self, X: Float[Array, "*batch num_hiddens"], training: bool = False
    ) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape; nothing depends on ``training``."""
        if self.gate is None:
            return self.down(self.activation(self.up(X)))
        return self.down(self.activation(self.gate(X)) * self.up(X))
