"""GRU and LSTM, in PyTorch's parametrisation: two bias vectors, gates r, z, n and i, f, g, o.

Padding after the end of a sequence changes no state: outputs there are zero, and the final state
is that of the last real step. The input's part of the gates does not depend on the recurrence, so
that one product computes it for all steps.
"""

from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Shaped
from torch import nn
from torch.nn import functional as F

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.nested import leaves
from d2l_ext.torch.layers import Array, Dropout, spec

# Of all layers: H of a GRU, (H, C) of an LSTM.
HiddenState: TypeAlias = (
    Float[Array, "num_layers batch num_hiddens"]
    | tuple[Float[Array, "num_layers batch num_hiddens"], ...]
)


def gru_step(
    gates: Float[Array, "batch gates"],
    state: tuple[Float[Array, "batch num_hiddens"], ...],
    weight_hh: Float[Array, "gates num_hiddens"],
    bias_hh: Float[Array, " gates"],
) -> tuple[Float[Array, "batch num_hiddens"], ...]:
    """One step of a gated recurrent unit (Cho et al., 2014, with the reset gate after W_hn).

    r = s(x_r + W_hr h + b_hr)    z = s(x_z + W_hz h + b_hz)
    n = tanh(x_n + r * (W_hn h + b_hn))    h' = (1 - z) * n + z * h

    Args:
        gates: the input's part W_ih x + b_ih, in the order r, z, n.
        state: ``(h,)``.

    Returns:
        The new ``(h,)``.
    """
    (h,) = state
    sizes = 2 * h.shape[-1], h.shape[-1]
    x_rz, x_n = gates.split(sizes, dim=-1)
    h_rz, h_n = F.linear(h, weight_hh, bias_hh).split(sizes, dim=-1)
    r, z = torch.sigmoid(x_rz + h_rz).chunk(2, dim=-1)
    n = torch.tanh(x_n + r * h_n)
    return (n + z * (h - n),)


def lstm_step(
    gates: Float[Array, "batch gates"],
    state: tuple[Float[Array, "batch num_hiddens"], ...],
    weight_hh: Float[Array, "gates num_hiddens"],
    bias_hh: Float[Array, " gates"],
) -> tuple[Float[Array, "batch num_hiddens"], ...]:
    """One step of a long short-term memory (Hochreiter and Schmidhuber, 1997, with forget gate).

    i, f, o = s(x + W_h h + b_h), each its own part    g = tanh(x_g + W_hg h + b_hg)
    c' = f * c + i * g    h' = o * tanh(c')

    Args:
        gates: the input's part W_ih x + b_ih, in the order i, f, g, o.
        state: ``(h, c)``.

    Returns:
        The new ``(h, c)``.
    """
    h, c = state
    i, f, g, o = (gates + F.linear(h, weight_hh, bias_hh)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class Stack(Configured, nn.Module):
    """Recurrent layers one on the other, with dropout between them; the parameters of `nn.GRU`.

    Subclasses give the step, the number of gates and the number of state tensors. A state is, per
    layer, a tuple of tensors (batch, num_hiddens).
    """

    step = None
    num_gates = None
    num_states = None
    directions = ("",)

    def __init__(self, num_inputs: int, num_hiddens: int, num_layers: int, dropout: float = 0):
        super().__init__()
        self.num_inputs, self.num_hiddens, self.num_layers = num_inputs, num_hiddens, num_layers
        rows = self.num_gates * num_hiddens
        for layer in range(num_layers):
            size = num_hiddens * len(self.directions) if layer else num_inputs
            for direction in self.directions:
                self._matrix(f"weight_ih_l{layer}{direction}", rows, size)
                self._matrix(f"weight_hh_l{layer}{direction}", rows, num_hiddens)
                for name in ("bias_ih", "bias_hh"):
                    bias = nn.Parameter(torch.zeros(rows))
                    self.register_parameter(f"{name}_l{layer}{direction}", bias)
            if layer:
                self.add_module(f"dropout_l{layer}", Dropout(dropout))

    def _matrix(self, name, rows, columns):
        weight = nn.init.xavier_uniform_(torch.empty(rows, columns))
        self.register_parameter(name, nn.Parameter(weight))

    def layer_weights(self, layer: int, direction: str = "") -> list:
        """Return W_ih, W_hh, b_ih, b_hh of a layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l{layer}{direction}") for name in names]

    def masks(self, num_steps: int, like: Float[Array, "... batch size"]) -> list:
        """Return the dropout mask of each layer's input, or None; the first layer has none.

        Shape (num_steps, batch, num_hiddens times the number of directions).
        """
        shape = (num_steps, like.shape[-2], self.num_hiddens * len(self.directions))
        return [
            getattr(self, f"dropout_l{layer}").mask(shape, like) if layer else None
            for layer in range(self.num_layers)
        ]

    def advance(
        self, gates: Float[Array, "batch gates"], states: list, masks: list, weights: list
    ) -> list:
        """One step of all layers.

        Args:
            gates: the input's part of the first layer's gates.
            states: the state before.
            masks: per layer, the dropout mask of its input (batch, num_hiddens), or None.
            weights: the `layer_weights` of each layer, read once for all steps.

        Returns:
            The new state; the step's output is ``states[-1][0]``.
        """
        new = []
        for layer, state in enumerate(states):
            weight_ih, weight_hh, bias_ih, bias_hh = weights[layer]
            if layer:
                x = new[-1][0] if masks[layer] is None else new[-1][0] * masks[layer]
                gates = F.linear(x, weight_ih, bias_ih)
            new.append(self.step(gates, state, weight_hh, bias_hh))
        return new

    def forward(
        self,
        X: Float[Array, "num_steps batch num_inputs"],
        states: list | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], list]:
        """Run over whole sequences, layer by layer.

        Args:
            states: the initial state, or None for zeros.

        Returns:
            Outputs, zero after the end, and the final state.
        """
        zeros = (X.new_zeros(X.shape[1], self.num_hiddens),) * self.num_states
        alive = alive_steps(valid_lens, X.shape[0])
        finals = []
        for layer, mask in enumerate(self.masks(X.shape[0], X)):
            X = X if mask is None else X * mask
            outputs = []
            for direction in self.directions:
                state = zeros if states is None else states[len(finals)]
                output, final = self.scan(X, state, alive, layer, direction)
                outputs.append(output)
                finals.append(final)
            X = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return X, finals

    def scan(
        self,
        X: Float[Array, "num_steps batch size"],
        state: tuple[Float[Array, "batch num_hiddens"], ...],
        alive: Bool[Array, "num_steps batch 1"] | None,
        layer: int,
        direction: str,
    ) -> tuple[
        Float[Array, "num_steps batch num_hiddens"], tuple[Float[Array, "batch num_hiddens"], ...]
    ]:
        """Run one layer over all steps, from the last to the first if the direction is reverse."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.layer_weights(layer, direction)
        gates = F.linear(X, weight_ih, bias_ih).unbind()  # (batch, gates * num_hiddens) per step
        outputs = [None] * len(gates)
        for t in range(len(gates)) if direction == "" else reversed(range(len(gates))):
            new = self.step(gates[t], state, weight_hh, bias_hh)
            if alive is not None:  # a sequence that has ended keeps its state
                new = tuple(torch.where(alive[t], n, o) for n, o in zip(new, state, strict=True))
            state = new
            outputs[t] = state[0]
        output = torch.stack(outputs)
        return (output if alive is None else torch.where(alive, output, 0)), state


def alive_steps(
    valid_lens: Shaped[Array, " batch"] | None, num_steps: int
) -> Bool[Array, "num_steps batch 1"] | None:
    """Return which steps are real, boolean (num_steps, batch, 1), or None if all are."""
    if valid_lens is None:
        return None
    steps = torch.arange(num_steps, device=valid_lens.device)
    return (steps[:, None] < valid_lens)[:, :, None]


class GRUStack(Stack):
    """Layers of gated recurrent units."""

    step, num_gates, num_states = staticmethod(gru_step), 3, 1


class BidirectionalGRUStack(GRUStack):
    """Layers that read the sequence in both directions and put their outputs side by side.

    States are listed layer by layer, forward before reverse.
    """

    directions = ("", "_reverse")


class LSTMStack(Stack):
    """Layers of long short-term memory."""

    step, num_gates, num_states = staticmethod(lstm_step), 4, 2


def stack_states(states: list) -> HiddenState:
    """Stack the layers' states: one tensor (num_layers, batch, num_hiddens), or a tuple of two."""
    joined = tuple(torch.stack(tensors) for tensors in zip(*states, strict=True))
    return joined if len(joined) > 1 else joined[0]


def unstack_states(state: HiddenState) -> list:
    """Undo `stack_states`."""
    tensors = state if isinstance(state, (tuple, list)) else (state,)
    return list(zip(*(tensor.unbind() for tensor in tensors), strict=True))


class _Recurrent(Configured, nn.Module):
    """What `GRU` and `LSTM` share."""

    stack = None

    def __init__(self, num_inputs: int, num_hiddens: int, num_layers: int, dropout: float = 0):
        super().__init__()
        self.rnn = self.stack(num_inputs, num_hiddens, num_layers, dropout)

    def check(
        self,
        inputs: Float[Array, "num_steps batch num_inputs"],
        H_c: HiddenState | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        states = [spec(H) for H in leaves(H_c)]
        checks.recurrent_inputs(spec(inputs), states, spec(valid_lens), **self.config)

    def forward(
        self,
        inputs: Float[Array, "num_steps batch num_inputs"],
        H_c: HiddenState | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], HiddenState]:
        """Run over whole sequences.

        Args:
            H_c: the initial state; None is zeros.
            valid_lens: outputs after the end are zero and the state is the last real one.

        Returns:
            Outputs and the final state.
        """
        self.check(inputs, H_c, valid_lens)
        outputs, states = self.rnn(inputs, None if H_c is None else unstack_states(H_c), valid_lens)
        return outputs, stack_states(states)


class GRU(_Recurrent):
    """Stacked gated recurrent units, as `torch.nn.GRU`."""

    stack = GRUStack


class LSTM(_Recurrent):
    """Stacked long short-term memory, as `torch.nn.LSTM`."""

    stack = LSTMStack
