"""Recurrent layers."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.layers import of_kind
from d2l_ext.porting.known.piece import Piece
from d2l_ext.reference.layers import sigmoid


def _recurrent(kind: str) -> Callable[[Piece], Iterator[dict[str, Any]]]:
    def givens(piece):
        for given in of_kind(kind)(piece):
            if "weight_hh_l0" in given["own"] and given["x"].ndim == 3:
                yield given | {"lens": None}
                yield from (given | {"lens": lens} for lens in piece.lengths())

    return givens


RECURRENT = {
    "recurrent_bias": ("both", "the input's only", "the hidden state's only", "none"),
    "recurrent_kernel": ("as they are", "W_hh transposed", "W_ih transposed", "both transposed"),
    "layout": ("time first", "batch first"),
    "steps": ("all", "up to the valid length"),
    "direction": ("forward", "backward"),
}


@formula(
    _recurrent("gru"),
    gru_gates=tuple(", ".join(order) for order in itertools.permutations("rzn")),
    reset=("after the product", "before the product"),
    update=("(1 - z) n + z h", "(1 - z) h + z n"),
    hidden_bias=("on all gates", "on n only"),
    **RECURRENT,
)
def gru(
    piece: Piece,
    x: np.ndarray,
    own: Arrays,
    lens: np.ndarray | None,
    gru_gates: str,
    reset: str,
    update: str,
    hidden_bias: str,
    **options: str,
) -> np.ndarray | None:
    """Stacked GRU; the rows of its weights are read in some order of gates."""
    at = gru_gates.split(", ").index
    if hidden_bias == "on n only":
        own = {k: _on_last_gate(v) if k.startswith("bias_hh") else v for k, v in own.items()}

    def step(x, state, W, b):
        (h,) = state
        size = h.shape[-1]
        rows = {gate: slice(at(gate) * size, (at(gate) + 1) * size) for gate in "rzn"}

        def hidden(gate, h):
            return h @ W[rows[gate]].T + b[rows[gate]]

        r = sigmoid(x[:, rows["r"]] + hidden("r", h))
        z = sigmoid(x[:, rows["z"]] + hidden("z", h))
        after = reset == "after the product"
        n = np.tanh(x[:, rows["n"]] + (r * hidden("n", h) if after else hidden("n", r * h)))
        return ((1 - z) * n + z * h if update == "(1 - z) n + z h" else (1 - z) * h + z * n,)

    return _run_recurrent(piece, step, 1, x, own, lens, **options)


def _on_last_gate(bias: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(bias)) < 2 * len(bias) // 3, 0, bias)


@formula(
    _recurrent("lstm"),
    lstm_gates=tuple(", ".join(order) for order in itertools.permutations("ifgo")),
    forget_bias=("as it is", "plus one"),
    **RECURRENT,
)
def lstm(
    piece: Piece,
    x: np.ndarray,
    own: Arrays,
    lens: np.ndarray | None,
    lstm_gates: str,
    forget_bias: str,
    **options: str,
) -> np.ndarray | None:
    """Stacked LSTM; the rows of its weights are read in some order of gates."""
    at = lstm_gates.split(", ").index

    def step(x, state, W, b):
        h, c = state
        gates = np.split(x + h @ W.T + b, 4, axis=-1)
        i, f, g, o = (gates[at(gate)] for gate in "ifgo")
        c = sigmoid(f + (forget_bias == "plus one")) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    return _run_recurrent(piece, step, 2, x, own, lens, **options)


def _run_recurrent(
    piece: Piece,
    step: Callable[..., tuple[np.ndarray, ...]],
    num_states: int,
    x: np.ndarray,
    own: Arrays,
    lens: np.ndarray | None,
    recurrent_bias: str,
    recurrent_kernel: str,
    layout: str,
    steps: str,
    direction: str,
) -> np.ndarray | None:
    """Run a step over time, layer by layer; return outputs or final state, whichever is wanted."""
    x = x.astype(np.float64)
    x = x.swapaxes(0, 1) if layout == "batch first" else x  # (num_steps, batch, num_inputs)
    alive = np.ones(x.shape[:2], bool)
    if steps == "up to the valid length":
        if lens is None or len(lens) != x.shape[1]:
            return None
        alive = np.arange(len(x))[:, None] < lens
    state, outputs, none = (x[0],) * num_states, x, np.asarray(0.0)  # of a stack of no layers
    for layer in itertools.count():
        if f"weight_hh_l{layer}" not in own:
            break
        W_ih, W_hh, b_ih, b_hh = (
            own.get(f"{name}_l{layer}", none)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        size = W_hh.shape[1]
        if recurrent_kernel in ("W_ih transposed", "both transposed"):
            if W_ih.shape[1] != size:
                return None
            W_ih = _each_transposed(W_ih)
        if recurrent_kernel in ("W_hh transposed", "both transposed"):
            W_hh = _each_transposed(W_hh)
        b_ih, b_hh = np.broadcast_to(b_ih, len(W_ih)), np.broadcast_to(b_hh, len(W_ih))
        b_ih = b_ih * (recurrent_bias in ("both", "the input's only"))
        b_hh = b_hh * (recurrent_bias in ("both", "the hidden state's only"))
        gates = x @ W_ih.T + b_ih
        state, outputs = (
            (np.zeros((x.shape[1], size)),) * num_states,
            np.zeros((*x.shape[:2], size)),
        )
        for t in range(len(x)) if direction == "forward" else reversed(range(len(x))):
            new = step(gates[t], state, W_hh, b_hh)
            now = alive[t][:, None]
            state = tuple(np.where(now, n, o) for n, o in zip(new, state, strict=True))
            outputs[t] = np.where(now, new[0], 0)
        x = outputs
    outputs = outputs.swapaxes(0, 1) if layout == "batch first" else outputs
    return outputs if piece.a.shape == outputs.shape else state[0].reshape(-1, *state[0].shape)


def _each_transposed(W: np.ndarray) -> np.ndarray:
    """Transpose each gate's square block."""
    size = W.shape[1]
    return W.reshape(-1, size, size).swapaxes(1, 2).reshape(W.shape)
