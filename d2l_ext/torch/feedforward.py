"""The position-wise network of a block, plain or gated."""

from functools import partial

from jaxtyping import Float
from torch import nn
from torch.nn import functional as F

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.torch.layers import Array

GATES = {"swiglu": F.silu, "geglu": F.gelu}
ACTIVATIONS = {
    **GATES,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


class FeedForward(Configured, nn.Module):
    """The same network at every position: down(f(gate(x)) * up(x)), or down(f(up(x))).

    "swiglu" and "geglu" are gated, by f = SiLU or GELU, and without biases (Shazeer, 2020). "gelu"
    with the error function, "gelu_tanh", its approximation, and "relu" are not; they have biases.
    """

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "swiglu"):
        super().__init__()
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        gated = activation in GATES
        self.activation = ACTIVATIONS[activation]
        self.gate = nn.Linear(num_hiddens, ffn_num_hiddens, bias=False) if gated else None
        self.up = nn.Linear(num_hiddens, ffn_num_hiddens, bias=not gated)
        self.down = nn.Linear(ffn_num_hiddens, num_hiddens, bias=not gated)

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        if self.gate is None:
            return self.down(self.activation(self.up(X)))
        return self.down(self.activation(self.gate(X)) * self.up(X))
