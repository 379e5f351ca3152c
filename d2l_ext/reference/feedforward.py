"""The position-wise network of a block, plain or gated."""

from d2l_ext import checks
from d2l_ext.reference.layers import Array, Float, Linear, Module, gelu, gelu_tanh, relu, silu

GATES = {"swiglu": silu, "geglu": gelu}
ACTIVATIONS = {**GATES, "gelu": gelu, "gelu_tanh": gelu_tanh, "relu": relu}


class FeedForward(Module):
    """The same network at every position: down(f(gate(x)) * up(x)), or down(f(up(x))).

    "swiglu" and "geglu" are gated, by f = SiLU or GELU, and without biases (Shazeer, 2020). "gelu"
    with the error function, "gelu_tanh", its approximation, and "relu" are not; they have biases.
    """

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "swiglu"):
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        gated = activation in GATES
        self.activation = ACTIVATIONS[activation]
        self.gate = Linear(ffn_num_hiddens, bias=False) if gated else None
        self.up = Linear(ffn_num_hiddens, bias=not gated)
        self.down = Linear(num_hiddens, bias=not gated)

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        if self.gate is None:
            return self.down(self.activation(self.up(X)))
        return self.down(self.activation(self.gate(X)) * self.up(X))
