"""The position-wise network of a block, plain or gated."""

from jaxtyping import Float
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, gelu, gelu_tanh, silu

GATES = {"swiglu": silu, "geglu": gelu}
ACTIVATIONS = {**GATES, "gelu": gelu, "gelu_tanh": gelu_tanh, "relu": npx.relu}


class FeedForward(Configured, nn.Block):
    """The same network at every position: down(f(gate(x)) * up(x)), or down(f(up(x))).

    "swiglu" and "geglu" are gated, by f = SiLU or GELU, and without biases (Shazeer, 2020). "gelu"
    with the error function, "gelu_tanh", its approximation, and "relu" are not; they have biases.
    """

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "swiglu"):
        super().__init__()
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        gated = activation in GATES
        self.activation = ACTIVATIONS[activation]
        inner = dict(use_bias=not gated, flatten=False, in_units=num_hiddens)
        self.gate = nn.Dense(ffn_num_hiddens, **inner) if gated else None
        self.up = nn.Dense(ffn_num_hiddens, **inner)
        outer = inner | dict(in_units=ffn_num_hiddens)
        self.down = nn.Dense(num_hiddens, **outer)

    def forward(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        if self.gate is None:
            return self.down(self.activation(self.up(X)))
        return self.down(self.activation(self.gate(X)) * self.up(X))
