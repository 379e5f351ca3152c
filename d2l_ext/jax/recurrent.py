"""GRU and LSTM, in PyTorch's parametrisation: two bias vectors, gates r, z, n and i, f, g, o.

Padding after the end of a sequence changes no state: outputs there are zero, and the final state
is that of the last real step. The input's part of the gates does not depend on the recurrence, so
that one product computes it for all steps.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import Bool, Float, Shaped

from d2l_ext import checks
from d2l_ext.jax.layers import Array, Dropout, Module, matrix, parameter, product, spec
from d2l_ext.nested import leaves

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
    size = h.shape[-1]
    h_gates = h @ weight_hh.T + bias_hh
    r, z = jnp.split(jax.nn.sigmoid(gates[:, : 2 * size] + h_gates[:, : 2 * size]), 2, axis=-1)
    n = jnp.tanh(gates[:, 2 * size :] + r * h_gates[:, 2 * size :])
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
    i, f, g, o = jnp.split(gates + h @ weight_hh.T + bias_hh, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


class Stack(Module):
    """Recurrent layers one on the other, with dropout between them; the parameters of `nn.GRU`.

    Subclasses give the step, the number of gates and the number of state arrays. A state is, per
    layer, a tuple of arrays (batch, num_hiddens).
    """

    step = None
    num_gates = None
    num_states = None
    directions = ("",)

    def __init__(self, num_inputs: int, num_hiddens: int, num_layers: int, dropout: float = 0):
        self.num_inputs, self.num_hiddens, self.num_layers = num_inputs, num_hiddens, num_layers
        rows = self.num_gates * num_hiddens
        for layer in range(num_layers):
            size = num_hiddens * len(self.directions) if layer else num_inputs
            for direction in self.directions:
                setattr(self, f"weight_ih_l{layer}{direction}", matrix(rows, size))
                setattr(self, f"weight_hh_l{layer}{direction}", matrix(rows, num_hiddens))
                for name in ("bias_ih", "bias_hh"):
                    setattr(self, f"{name}_l{layer}{direction}", parameter(np.zeros(rows)))
            if layer:
                setattr(self, f"dropout_l{layer}", Dropout(dropout))

    def layer_weights(self, layer: int, direction: str = "") -> list:
        """Return W_ih, W_hh, b_ih, b_hh of a layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{name}_l{layer}{direction}")[...] for name in names]

    def masks(self, num_steps: int, like: Float[Array, "... batch size"], training: bool) -> list:
        """Return the dropout mask of each layer's input, or None; the first layer has none.

        Shape (num_steps, batch, num_hiddens times the number of directions).
        """
        shape = (num_steps, like.shape[-2], self.num_hiddens * len(self.directions))
        return [
            getattr(self, f"dropout_l{layer}").mask(shape, like, training) if layer else None
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
                gates = x @ weight_ih.T + bias_ih
            new.append(self.step(gates, state, weight_hh, bias_hh))
        return new

    def __call__(
        self,
        X: Float[Array, "num_steps batch num_inputs"],
        states: list | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], list]:
        """Run over whole sequences, layer by layer.

        Args:
            states: the initial state, or None for zeros.
            training: whether dropout acts.

        Returns:
            Outputs, zero after the end, and the final state.
        """
        dtype = jnp.result_type(X, self.layer_weights(0)[0])
        zeros = (jnp.zeros((X.shape[1], self.num_hiddens), dtype),) * self.num_states
        alive = alive_steps(valid_lens, X.shape[0])
        finals = []
        for layer, mask in enumerate(self.masks(X.shape[0], X, training)):
            X = X if mask is None else X * mask
            outputs = []
            for direction in self.directions:
                state = zeros if states is None else states[len(finals)]
                output, final = self.scan(X, state, alive, layer, direction)
                outputs.append(output)
                finals.append(final)
            X = outputs[0] if len(outputs) == 1 else jnp.concatenate(outputs, axis=-1)
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
        all_gates = product(X, weight_ih.T) + bias_ih  # (num_steps, batch, gates * num_hiddens)

        def step(state, inputs):
            gates, alive = inputs
            new = self.step(gates, state, weight_hh, bias_hh)
            if alive is not None:  # a sequence that has ended keeps its state
                new = tuple(jnp.where(alive, n, o) for n, o in zip(new, state, strict=True))
            return new, new[0]

        reverse = direction == "_reverse"
        state, output = loop(step, state, (all_gates, alive), reverse)
        return (output if alive is None else jnp.where(alive, output, 0)), state


def loop(step: Callable, state: Any, inputs: Any, reverse: bool = False) -> tuple[Any, Any]:
    """`jax.lax.scan` that keeps of each step, for the backward pass, the matrix products only.

    The rest is cheap to compute again, and larger: an additive score is a sum over features of the
    size of all keys, so that memory would grow with the product of source and target length.
    """
    policy = jax.checkpoint_policies.dots_saveable
    step = jax.checkpoint(step, prevent_cse=False, policy=policy)
    return jax.lax.scan(step, state, inputs, reverse=reverse)


def alive_steps(
    valid_lens: Shaped[Array, " batch"] | None, num_steps: int
) -> Bool[Array, "num_steps batch 1"] | None:
    """Return which steps are real, boolean (num_steps, batch, 1), or None if all are."""
    if valid_lens is None:
        return None
    return (jnp.arange(num_steps)[:, None] < valid_lens)[:, :, None]


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
    joined = tuple(jnp.stack(arrays) for arrays in zip(*states, strict=True))
    return joined if len(joined) > 1 else joined[0]


def unstack_states(state: HiddenState) -> list:
    """Undo `stack_states`."""
    arrays = state if isinstance(state, (tuple, list)) else (state,)
    return list(zip(*arrays, strict=True))


class _Recurrent(Module):
    """What `GRU` and `LSTM` share."""

    stack = None

    def __init__(self, num_inputs: int, num_hiddens: int, num_layers: int, dropout: float = 0):
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

    def __call__(
        self,
        inputs: Float[Array, "num_steps batch num_inputs"],
        H_c: HiddenState | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> tuple[Float[Array, "num_steps batch num_hiddens"], HiddenState]:
        """Run over whole sequences.

        Args:
            H_c: the initial state; None is zeros.
            valid_lens: outputs after the end are zero and the state is the last real one.
            training: whether dropout acts.

        Returns:
            Outputs and the final state.
        """
        self.check(inputs, H_c, valid_lens)
        states = None if H_c is None else unstack_states(H_c)
        outputs, states = self.rnn(inputs, states, valid_lens, training)
        return outputs, stack_states(states)


class GRU(_Recurrent):
    """Stacked gated recurrent units, as `torch.nn.GRU`."""

    stack = GRUStack


class LSTM(_Recurrent):
    """Stacked long short-term memory, as `torch.nn.LSTM`."""

    stack = LSTMStack
