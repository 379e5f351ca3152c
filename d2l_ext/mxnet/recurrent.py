"""GRU and LSTM, in PyTorch's parametrisation: two bias vectors, gates r, z, n and i, f, g, o.

Padding after the end of a sequence changes no state: outputs there are zero, and the final state
is that of the last real step. The input's part of the gates does not depend on the recurrence, so
that one product computes it for all steps. The weights are cut into one matrix for each gate, once,
rather than the gates at every step: in MXNet the backward pass of a cut is slow.
"""

from collections.abc import Sequence
from typing import TypeAlias

from jaxtyping import Float, Shaped
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, Dropout, linear, pieces, sigmoid, spec, tanh, unstack, where
from d2l_ext.mxnet.masking import steps_below
from d2l_ext.nested import leaves

# Of all layers: H of a GRU, (H, C) of an LSTM.
HiddenState: TypeAlias = (
    Float[Array, "num_layers batch num_hiddens"]
    | tuple[Float[Array, "num_layers batch num_hiddens"], ...]
)


def gru_step(
    gates: Sequence[Float[Array, "batch num_hiddens"]],
    state: tuple[Float[Array, "batch num_hiddens"], ...],
    weight_hh: Sequence[Float[Array, "num_hiddens num_hiddens"]],
    bias_hh: Sequence[Float[Array, " num_hiddens"]],
) -> tuple[Float[Array, "batch num_hiddens"], ...]:
    """One step of a gated recurrent unit (Cho et al., 2014, with the reset gate after W_hn).

    r = s(x_r + W_hr h + b_hr)    z = s(x_z + W_hz h + b_hz)
    n = tanh(x_n + r * (W_hn h + b_hn))    h' = (1 - z) * n + z * h

    Args:
        gates: the input's part W_ih x + b_ih, for r, z and n.
        state: ``(h,)``.
        weight_hh, bias_hh: for each gate.

    Returns:
        The new ``(h,)``.
    """
    (h,) = state
    x_r, x_z, x_n = gates
    h_r, h_z, h_n = linears(h, weight_hh, bias_hh)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (n + z * (h - n),)


def lstm_step(
    gates: Sequence[Float[Array, "batch num_hiddens"]],
    state: tuple[Float[Array, "batch num_hiddens"], ...],
    weight_hh: Sequence[Float[Array, "num_hiddens num_hiddens"]],
    bias_hh: Sequence[Float[Array, " num_hiddens"]],
) -> tuple[Float[Array, "batch num_hiddens"], ...]:
    """One step of a long short-term memory (Hochreiter and Schmidhuber, 1997, with forget gate).

    i, f, o = s(x + W_h h + b_h), each its own part    g = tanh(x_g + W_hg h + b_hg)
    c' = f * c + i * g    h' = o * tanh(c')

    Args:
        gates: the input's part W_ih x + b_ih, for i, f, g and o.
        state: ``(h, c)``.
        weight_hh, bias_hh: for each gate.

    Returns:
        The new ``(h, c)``.
    """
    h, c = state
    parts = zip(gates, linears(h, weight_hh, bias_hh), strict=True)
    i, f, g, o = (x + y for x, y in parts)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def linears(
    X: Float[Array, "*batch num_inputs"],
    weights: Sequence[Float[Array, "num_hiddens num_inputs"]],
    biases: Sequence[Float[Array, " num_hiddens"]],
) -> list[Float[Array, "*batch num_hiddens"]]:
    """Return X W^T + b for each gate."""
    return [linear(X, weight, bias) for weight, bias in zip(weights, biases, strict=True)]


class Stack(Configured, nn.Block):
    """Recurrent layers one on the other, dropout between them; parameters as in `torch.nn.GRU`.

    Subclasses give the step, the number of gates and the number of state arrays. A state is, per
    layer, a tuple of arrays (batch, num_hiddens).
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
                suffix = f"_l{layer}{direction}"
                self._parameter(f"weight_ih{suffix}", (rows, size), "xavier")
                self._parameter(f"weight_hh{suffix}", (rows, num_hiddens), "xavier")
                self._parameter(f"bias_ih{suffix}", (rows,), "zeros")
                self._parameter(f"bias_hh{suffix}", (rows,), "zeros")
            if layer:
                setattr(self, f"dropout_l{layer}", Dropout(dropout))

    def _parameter(self, name, shape, init):
        setattr(self, name, self.params.get(name, shape=shape, init=init))

    def layer_weights(self, layer: int, direction: str = "") -> list:
        """Return W_ih, W_hh, b_ih, b_hh of a layer, each a list with one array per gate."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        params = [getattr(self, f"{name}_l{layer}{direction}") for name in names]
        return [pieces(param.data(), self.num_gates) for param in params]

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
        self,
        gates: Sequence[Float[Array, "batch num_hiddens"]],
        states: list,
        masks: list,
        weights: list,
    ) -> list:
        """One step of all layers.

        Args:
            gates: the input's part of the first layer's gates, one by one.
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
                gates = linears(x, weight_ih, bias_ih)
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
        zeros = (mnp.zeros((X.shape[1], self.num_hiddens), dtype=X.dtype),) * self.num_states
        alive = alive_steps(valid_lens, len(X), zeros[0])
        finals = []
        for layer, mask in enumerate(self.masks(len(X), X)):
            X = X if mask is None else X * mask
            outputs = []
            for direction in self.directions:
                state = zeros if states is None else states[len(finals)]
                output, final = self.scan(X, state, alive, layer, direction)
                outputs.append(output)
                finals.append(final)
            X = outputs[0] if len(outputs) == 1 else mnp.concatenate(outputs, axis=-1)
        return X, finals

    def scan(
        self,
        X: Float[Array, "num_steps batch size"],
        state: tuple[Float[Array, "batch num_hiddens"], ...],
        alive: Float[Array, "num_steps batch num_hiddens"] | None,
        layer: int,
        direction: str,
    ) -> tuple[
        Float[Array, "num_steps batch num_hiddens"], tuple[Float[Array, "batch num_hiddens"], ...]
    ]:
        """Run one layer over all steps, from the last to the first if the direction is reverse."""
        weight_ih, weight_hh, bias_ih, bias_hh = self.layer_weights(layer, direction)
        gates = gate_steps(X, weight_ih, bias_ih)
        outputs = [None] * len(gates)
        for t in range(len(gates)) if direction == "" else reversed(range(len(gates))):
            new = self.step(gates[t], state, weight_hh, bias_hh)
            if alive is not None:  # a sequence that has ended keeps its state
                new = tuple(where(alive[t], n, o) for n, o in zip(new, state, strict=True))
            state = new
            outputs[t] = state[0]
        output = mnp.stack(outputs)
        return (output if alive is None else output * alive), state


def gate_steps(
    X: Float[Array, "num_steps batch size"],
    weights: Sequence[Float[Array, "num_hiddens size"]],
    biases: Sequence[Float[Array, " num_hiddens"]],
) -> list[tuple[Float[Array, "batch num_hiddens"], ...]]:
    """Return the input's part of the gates: per step, a tuple with one array per gate."""
    return list(zip(*map(unstack, linears(X, weights, biases)), strict=True))


def alive_steps(
    valid_lens: Shaped[Array, " batch"] | None,
    num_steps: int,
    like: Float[Array, "batch num_hiddens"],
) -> Float[Array, "num_steps batch num_hiddens"] | None:
    """Return which steps are real, 1 or 0, (num_steps, batch, num_hiddens), or None if all are."""
    if valid_lens is None:
        return None
    alive = steps_below(valid_lens, num_steps)
    alive = npx.cast(alive, dtype=like.dtype).T  # MXNet transposes no booleans
    return mnp.broadcast_to(mnp.expand_dims(alive, -1), (num_steps, *like.shape))


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
    """Stack the layers' states: one array (num_layers, batch, num_hiddens), or a tuple of two."""
    joined = tuple(mnp.stack(arrays) for arrays in zip(*states, strict=True))
    return joined if len(joined) > 1 else joined[0]


def unstack_states(state: HiddenState) -> list:
    """Undo `stack_states`."""
    arrays = state if isinstance(state, (tuple, list)) else (state,)
    return list(zip(*map(unstack, arrays), strict=True))


class _Recurrent(Configured, nn.Block):
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
