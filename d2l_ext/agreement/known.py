"""The known differences between frameworks, as formulas with options, in NumPy.

A `Formula` is what a piece of a model may compute; each of its options is one known difference. For
the same inputs and parameters, one choice of options gives what the first model computed and
another what the second did: the options in which the two choices differ are the cause, shown by the
numbers and not guessed from names. A `Relation` needs no formula: it says how the second array
follows from the first.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np

from d2l_ext.reference.layers import gelu, relu, sigmoid
from d2l_ext.tables import sinusoids

CHANGES_A = 2  # options in which the first model may differ from the usual
CHANGES_B = 3  # options in which the second may differ from the first


@dataclasses.dataclass
class Piece:
    """A piece of a model that the two sides compute differently.

    Attributes:
        kind: of the layer, as in `probe.Layer`, or "" for what stands between layers.
        sources: the arrays that it is computed from: a layer's inputs, or what the layers before
            gave, the latest first.
        context: the inputs of the model and of the layers around, where masks and lengths are.
        parameters: the layer's parameters on each side, ``[{name: array}, ...]``.
        a, b: what the two sides computed.
    """

    kind: str
    sources: list
    context: list
    parameters: list
    a: np.ndarray
    b: np.ndarray

    def floats(self):
        """List the sources that are floats, as float64."""
        return [x.astype(np.float64) for x in self.sources if x.dtype.kind == "f"]

    def integers(self, ndim):
        """List the integer arrays of so many axes, among sources and context."""
        found = [x for x in self.sources + self.context if x.dtype.kind in "iu" and x.ndim == ndim]
        return distinct(found)

    def lengths(self):
        """List the arrays that may be valid lengths (batch,); floats with whole numbers too."""
        arrays = [x for x in self.sources + self.context if x.ndim == 1 and x.dtype.kind in "iuf"]
        return distinct([x for x in arrays if (x >= 0).all() and (x == x.astype(int)).all()])


def distinct(arrays):
    """List arrays without repetition."""
    found = []
    for x in arrays:
        if not any(x.shape == y.shape and (x == y).all() for y in found):
            found.append(x)
    return found


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula with options.

    Attributes:
        compute: ``compute(piece, **given, **choice)`` returns an array, or None where it can't be.
        givens: ``givens(piece)`` yields what both sides have in common, dictionaries.
        options: ``{name: values}``, the usual value first.
    """

    compute: Callable
    givens: Callable
    options: dict

    def choices(self, start, changes):
        """Yield the choices that differ from a given one in so many options."""
        for names in itertools.combinations(self.options, changes):
            others = ([v for v in self.options[name] if v != start[name]] for name in names)
            for values in itertools.product(*others):
                yield start | dict(zip(names, values, strict=True))


FORMULAS, RELATIONS = [], []


def formula(givens, **options):
    """Register a formula."""

    def register(compute):
        FORMULAS.append(Formula(compute, givens, options))
        return compute

    return register


def relation(cause):
    """Register a relation: ``relate(piece, a, b)`` yields ``(detail, what b would be)``."""

    def register(relate):
        RELATIONS.append((cause, relate))
        return relate

    return register


# ---- layers -------------------------------------------------------------------------------------


def _layer(kind):
    def givens(piece):
        for own in piece.parameters if piece.kind == kind else ():
            own = {name: value.astype(np.float64) for name, value in own.items()}
            yield {"x": piece.sources[0], "own": own}

    return givens


@formula(
    _layer("norm"),
    epsilon=(1e-5, 1e-6, 1e-3, 1e-12, 0.0),
    variance=("divided by n", "divided by n - 1"),
    norm_bias=("added", "missing"),
)
def layer_norm(piece, x, own, epsilon, variance, norm_bias):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias."""
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    count = x.shape[-1] - (variance == "divided by n - 1")
    deviation = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count + epsilon)
    y = centred / deviation * own.get("weight", 1)
    return y + own.get("bias", 0) if norm_bias == "added" else y


def _linear(piece):
    for given in _layer("linear")(piece):
        yield {"x": given["x"], "W": given["own"]["weight"], "b": given["own"].get("bias")}
    for own in piece.parameters if piece.kind != "linear" else ():
        matrices = [p for p in own.values() if p.ndim == 2]
        vectors = [p for p in own.values() if p.ndim == 1]
        if len(matrices) == 1 and len(vectors) <= 1:
            for x in piece.floats()[:1]:
                yield {"x": x, "W": matrices[0], "b": vectors[0] if vectors else None}


@formula(_linear, kernel=("x W^T", "x W"), bias=("added", "missing"))
def linear(piece, x, W, b, kernel, bias):
    """Return x W^T + b."""
    W = W.T if kernel == "x W^T" else W
    if x.shape[-1] != len(W):
        return None
    y = x.astype(np.float64) @ W.astype(np.float64)
    return y if b is None or bias == "missing" else y + b


@formula(
    _layer("embedding"),
    embedding_scale=("1", "sqrt(d)"),
    ids=("as they are", "plus one", "minus one"),
)
def embedding(piece, x, own, embedding_scale, ids):
    """Rows of a table."""
    table = own["weight"]
    shift = {"as they are": 0, "plus one": 1, "minus one": -1}[ids]
    y = table[np.clip(x.astype(int) + shift, 0, len(table) - 1)]
    return y * math.sqrt(table.shape[1]) if embedding_scale == "sqrt(d)" else y


def _recurrent(kind):
    def givens(piece):
        for given in _layer(kind)(piece):
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
def gru(piece, x, own, lens, gru_gates, reset, update, hidden_bias, **options):
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


def _on_last_gate(bias):
    return np.where(np.arange(len(bias)) < 2 * len(bias) // 3, 0, bias)


@formula(
    _recurrent("lstm"),
    lstm_gates=tuple(", ".join(order) for order in itertools.permutations("ifgo")),
    forget_bias=("as it is", "plus one"),
    **RECURRENT,
)
def lstm(piece, x, own, lens, lstm_gates, forget_bias, **options):
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
    piece,
    step,
    num_states,
    x,
    own,
    lens,
    recurrent_bias,
    recurrent_kernel,
    layout,
    steps,
    direction,
):
    """Run a step over time, layer by layer; return outputs or final state, whichever is wanted."""
    x = x.astype(np.float64)
    x = x.swapaxes(0, 1) if layout == "batch first" else x  # (num_steps, batch, num_inputs)
    alive = np.ones(x.shape[:2], bool)
    if steps == "up to the valid length":
        if lens is None or len(lens) != x.shape[1]:
            return None
        alive = np.arange(len(x))[:, None] < lens
    for layer in itertools.count():
        if f"weight_hh_l{layer}" not in own:
            break
        W_ih, W_hh, b_ih, b_hh = (
            own.get(f"{name}_l{layer}", np.zeros(1))
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


def _each_transposed(W):
    """Transpose each gate's square block."""
    size = W.shape[1]
    return W.reshape(-1, size, size).swapaxes(1, 2).reshape(W.shape)


# ---- between layers, and in layers without parameters --------------------------------------------

ACTIVATIONS = {
    "identity": lambda x: x,
    "GELU (erf)": gelu,
    "GELU (tanh)": lambda x: (
        x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "GELU (x sigmoid(1.702 x))": lambda x: x * sigmoid(1.702 * x),
    "ReLU": relu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "SiLU": lambda x: x * sigmoid(x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "leaky ReLU (0.01)": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky ReLU (0.2)": lambda x: np.where(x > 0, x, 0.2 * x),
    "leaky ReLU (0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
}


def _same_shape(piece):
    yield from ({"x": x} for x in piece.floats()[:4] if x.shape == piece.a.shape)


@formula(_same_shape, activation=tuple(ACTIVATIONS))
def activation(piece, x, activation):
    """A function of each number."""
    return ACTIVATIONS[activation](x)


@formula(_same_shape, softmax_axis=(-1, -2, -3))
def softmax(piece, x, softmax_axis):
    """exp(x), normalised along one axis."""
    return _softmax(x, softmax_axis) if -softmax_axis <= x.ndim else None


def _softmax(x, axis):
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = x.max(axis=axis, keepdims=True)
        e = np.exp(x - np.where(np.isfinite(largest), largest, 0))
        return e / e.sum(axis=axis, keepdims=True)


def _positions(piece):
    for x in piece.floats()[:4]:
        if x.shape != piece.a.shape or x.ndim < 2:
            continue
        size = x.shape[-1]
        for axis in range(max(0, x.ndim - 3), x.ndim - 1):
            steps = x.shape[axis] + 2
            tables = [sinusoids(steps, size)]
            tables += [
                p
                for own in piece.parameters
                for p in own.values()
                if p.ndim == 2 and len(p) >= steps and p.shape[1] == size
            ]
            yield from ({"x": x, "axis": axis, "table": table} for table in tables)


@formula(
    _positions,
    position=("from 0", "from 1", "from 2"),
    embedding_scale=("1", "sqrt(d)"),
    sinusoids=("sine and cosine in turn", "sines, then cosines"),
    positions=("added", "missing"),
)
def positional(piece, x, axis, table, position, embedding_scale, sinusoids, positions):
    """A scaled vector plus the encoding of its position."""
    y = x * math.sqrt(x.shape[-1]) if embedding_scale == "sqrt(d)" else x
    if sinusoids == "sines, then cosines":
        table = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    start = int(position.split()[1])
    P = table[start : start + x.shape[axis]]
    P = P.reshape([n if i in (axis, x.ndim - 1) else 1 for i, n in enumerate(x.shape)])
    return y + P if positions == "added" else y


def _attention(piece):
    arrays = [x for x in piece.floats() if x.ndim in (3, 4)]
    triples = itertools.permutations(arrays[:4], 3)
    if len(arrays) >= 3:
        triples = itertools.chain([tuple(arrays[:3])], triples)
    for q, k, v in triples:
        if not (q.shape[0] == k.shape[0] == v.shape[0] and q.shape[-1] == k.shape[-1]):
            continue
        if k.shape[:-1] != v.shape[:-1] or piece.a.shape != (*q.shape[:-1], v.shape[-1]):
            continue
        sizes = (1,) if q.ndim == 4 else range(1, min(q.shape[-1], 16) + 1)
        for heads in sizes:
            if q.shape[-1] % heads == 0 and v.shape[-1] % heads == 0:
                for real in _masks(piece, q.shape[0], q.shape[-2], k.shape[-2]):
                    yield {"q": q, "k": k, "v": v, "heads": heads, "real": real}


def _masks(piece, batch, num_queries, num_keys):
    """Yield what may be a mask, True where a key counts, (batch or 1, 1, queries or 1, keys)."""
    yield None
    for lens in piece.lengths():
        if len(lens) == batch:
            yield np.arange(num_keys) < lens[:, None, None, None]
    for x in piece.sources + piece.context:
        if x.dtype.kind == "b" and x.shape[-1] == num_keys:
            yield {
                1: lambda x: x[None, None, None],
                2: lambda x: x[:, None, None] if len(x) == batch else x[None, None],
                3: lambda x: x[:, None],
            }.get(x.ndim, lambda x: x)(x)
    for ids in piece.integers(2):
        if ids.shape == (batch, num_keys):
            yield from ((ids != pad)[:, None, None] for pad in (0, 1) if (ids == pad).any())


@formula(
    _attention,
    mask=("used", "not used"),
    polarity=("True attends", "True is left out"),
    causal=("no", "yes"),
    attention_scale=("1 / sqrt(d)", "none", "1 / d", "1 / sqrt(size of all heads)"),
    attention_axis=("keys", "queries", "heads", "batch"),
    masking=("before the softmax", "after the softmax"),
    empty_row=("zero", "NaN", "uniform"),
)
def attention(
    piece,
    q,
    k,
    v,
    heads,
    real,
    mask,
    polarity,
    causal,
    attention_scale,
    attention_axis,
    masking,
    empty_row,
):
    """softmax(Q K^T / sqrt(d)) V, with heads side by side in the last axis."""

    def split(x):  # (batch, heads, steps, size of a head)
        return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    q, k, v = split(q), split(k), split(v)
    size = q.shape[-1]
    scores = (
        q
        @ k.swapaxes(-2, -1)
        * {
            "1 / sqrt(d)": 1 / math.sqrt(size),
            "none": 1,
            "1 / d": 1 / size,
            "1 / sqrt(size of all heads)": 1 / math.sqrt(size * heads),
        }[attention_scale]
    )
    allowed = np.ones(scores.shape, bool)
    if real is not None and mask == "used":
        allowed = allowed & (real if polarity == "True attends" else ~real)
    if causal == "yes":
        allowed = np.tril(allowed)
    axis = {"keys": -1, "queries": -2, "heads": 1, "batch": 0}[attention_axis]
    if masking == "before the softmax":
        weights = _softmax(np.where(allowed, scores, -np.inf), axis)
        if empty_row != "NaN":
            fill = 0 if empty_row == "zero" else 1 / scores.shape[axis]
            weights = np.where(np.isnan(weights), fill, weights)
    else:
        weights = _softmax(scores, axis) * allowed
    y = weights @ v
    return y if piece.a.ndim == 4 else y.swapaxes(1, 2).reshape(piece.a.shape)


def _pooling(piece):
    for x in piece.floats()[:4]:
        for axis in (0, 1):
            if x.ndim == 3 and piece.a.shape == (x.shape[1 - axis], x.shape[2]):
                steps = np.arange(x.shape[axis])
                x = x.swapaxes(0, 1) if axis == 0 else x  # (batch, steps, size)
                for lens in piece.lengths():
                    if len(lens) == len(x):
                        yield {"x": x, "real": steps < lens[:, None]}
                for ids in piece.integers(2):
                    for tokens in (ids, ids.T):
                        if tokens.shape == x.shape[:2]:
                            yield from ({"x": x, "real": tokens != pad} for pad in (0, 1))


@formula(_pooling, mean=("over the real steps", "over all steps", "real steps divided by all"))
def pooling(piece, x, real, mean):
    """The mean over a sequence."""
    weights = np.ones(real.shape) if mean == "over all steps" else real.astype(float)
    count = weights.sum(axis=1, keepdims=True)
    total = (x * weights[:, :, None]).sum(axis=1)
    return total / (real.shape[1] if mean == "real steps divided by all" else np.maximum(count, 1))


# ---- how the second array follows from the first ------------------------------------------------


@relation("dropout")
def dropped(piece, a, b):
    """Some numbers are zero and the rest is larger by one factor."""
    kept = (b != 0) & (a != 0)
    if kept.any() and not kept.all():
        factor = np.median(b[kept] / a[kept])
        if factor > 1:
            yield f"the rate is about {1 - 1 / factor:.2g}", np.where(b == 0, 0, a * factor)


@relation("scale")
def scaled(piece, a, b):
    """A constant factor that comes from a size."""
    for size in sorted({n for x in (*piece.sources, a) for n in x.shape if n > 1}):
        for word, factor in ((f"sqrt({size})", math.sqrt(size)), (f"{size}", size)):
            yield f"times {word}", a * factor


@relation("padding")
def not_zeroed(piece, a, b):
    """Zero after the end of each sequence on one side only."""
    for lens in piece.lengths():
        for axis in (0, 1):
            if a.ndim < 2 or len(lens) != a.shape[1 - axis]:
                continue
            steps = np.arange(a.shape[axis])
            real = steps < lens[:, None] if axis else (steps < lens[:, None]).T
            real = real.reshape(*real.shape, *(1,) * (a.ndim - 2))
            if not real.all() and (np.where(real, 0, b) == 0).all():
                yield "after the valid lengths", np.where(real, a, 0)


@relation("layout")
def transposed(piece, a, b):
    """The same numbers with two axes exchanged, or read in another order."""
    for i, j in itertools.combinations(range(a.ndim), 2):
        swapped = a.swapaxes(i, j)
        yield f"axes {i} and {j} exchanged", swapped.reshape(a.shape)


@relation("position")
def shifted(piece, a, b):
    """Whole numbers, such as positions or token ids, off by one."""
    if a.dtype.kind in "iu":
        yield "off by one", a + 1


# ---- their names --------------------------------------------------------------------------------

# The name of each option's difference, and a sentence for somebody who meets it.
CAUSES = {
    "epsilon": (
        "layer-norm epsilon",
        "The default is 1e-5 in PyTorch and MXNet, 1e-6 in Flax and 1e-3 in Keras; BERT's is"
        " 1e-12.",
    ),
    "variance": (
        "layer-norm variance",
        "Layer norms divide the sum of squares by n; `std` of PyTorch divides by n - 1.",
    ),
    "kernel": (
        "transposed kernel",
        "PyTorch and MXNet keep a dense weight as (outputs, inputs), Flax and Keras as"
        " (inputs, outputs); a square one fits both ways.",
    ),
    "bias": ("missing bias", "One side adds a bias (not zero) that the other does not have."),
    "norm_bias": ("missing bias", "One side adds a bias (not zero) that the other does not have."),
    "embedding_scale": (
        "embedding scale sqrt(d)",
        "A Transformer multiplies embeddings by the square root of their size (Vaswani et al.,"
        " 2017, section 3.4).",
    ),
    "ids": ("token ids off by one", "One side looks up the next or the previous row of the table."),
    "gru_gates": (
        "GRU gate order",
        "PyTorch, MXNet and NNX stack a GRU's gates as r, z, n; Keras as z, r, h; Linen has a layer"
        " for each.",
    ),
    "reset": (
        "GRU reset gate",
        "cuDNN, PyTorch, MXNet, Flax and Keras's `reset_after=True` apply the reset gate after the"
        " product with the hidden state; Cho et al. (2014) and `reset_after=False` before it.",
    ),
    "update": (
        "GRU update gate",
        "The frameworks keep z of the old state; some papers and books keep 1 - z of it.",
    ),
    "lstm_gates": (
        "LSTM gate order",
        "PyTorch, MXNet and Keras stack an LSTM's gates as i, f, g, o (Keras calls g c); others as"
        " i, f, o, g or i, g, f, o; Flax has a layer for each.",
    ),
    "forget_bias": (
        "LSTM forget bias",
        "Keras starts the forget gate's bias at 1; other code adds 1 in every step.",
    ),
    "recurrent_bias": (
        "missing recurrent bias",
        "PyTorch and MXNet have two biases, for the input's part and the hidden state's; Flax and"
        " Keras have other ones. They may be added up, except on a GRU's n.",
    ),
    "hidden_bias": (
        "missing recurrent bias",
        "Linen's GRU has the hidden state's bias on n only, NNX's on no gate: for r and z, the two"
        " biases of PyTorch and MXNet are to be added up.",
    ),
    "recurrent_kernel": (
        "transposed kernel",
        "Keras and Flax keep recurrent kernels as (inputs, units), PyTorch and MXNet the other way"
        " round; a square one fits both ways.",
    ),
    "layout": (
        "batch first or time first",
        "Recurrent layers take time first in PyTorch and MXNet (unless told otherwise) and the"
        " batch first in Keras and Flax.",
    ),
    "steps": (
        "padding not masked",
        "One side goes on through the padding, the other stops at each sequence's valid length.",
    ),
    "direction": ("direction of time", "One side reads the sequence from its end."),
    "activation": (
        "activation",
        "The two sides apply different functions.",
    ),
    "gelu": (
        "GELU form",
        "PyTorch, MXNet and Keras compute GELU with the error function by default, Flax its tanh"
        " approximation: GELU(1) is 0.84134 or 0.84119.",
    ),
    "softmax_axis": ("softmax axis", "One side normalises along another axis."),
    "attention_axis": ("softmax axis", "One side normalises the scores along another axis."),
    "attention_scale": (
        "attention scale 1 / sqrt(d)",
        "Scaled dot-product attention divides scores by the square root of a head's size.",
    ),
    "mask": (
        "padding not masked",
        "One side attends to keys that the valid lengths or the mask leave out.",
    ),
    "polarity": (
        "mask polarity",
        "True means attend in Flax, Keras and `scaled_dot_product_attention`, and leave out in"
        " PyTorch's `nn.MultiheadAttention` and `key_padding_mask`.",
    ),
    "causal": ("causal mask", "One side lets a step attend to later steps."),
    "empty_row": (
        "a row with no key",
        "The softmax of a row of -inf is NaN; of a large negative number, the same weight for all.",
    ),
    "masking": (
        "mask after the softmax",
        "Masked weights must be left out of the sum that normalises the others.",
    ),
    "position": (
        "position offset",
        "One side counts positions from 0 and the other from 1 or 2.",
    ),
    "positions": ("positional encoding missing", "One side adds no encoding of positions."),
    "sinusoids": (
        "order of sine and cosine",
        "The encoding's sines and cosines stand in turn, or all sines before all cosines.",
    ),
    "mean": ("padding not masked", "One side's mean counts padding."),
    "padding": (
        "padding not masked",
        "One side is zero after the end of each sequence and the other is not.",
    ),
    "dropout": (
        "dropout left on",
        "PyTorch drops after `.train()`, MXNet inside `autograd.record()`, Flax with"
        " `deterministic=False`, Keras with `training=True`.",
    ),
    "scale": ("scale", "One side is the other times a constant."),
    "parameters": (
        "other parameter values",
        "They were not copied, or turned into something that is none of the known differences.",
    ),
    "limit": (
        "float32 inside an operator",
        "The error is of the size of float32's rounding: an operator computes in float32 or has"
        " constants in float32 inside, such as MXNet's layer norm and TensorFlow's GELU.",
    ),
    "precision": (
        "float32 for float64",
        "Keras casts to its policy's dtype and JAX to float32 (unless x64 is on), without a word.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Cause:
    """A known difference that makes the two sides equal.

    Attributes:
        name: its name.
        explanation: what each side does, and a sentence about it.
        error: what is left of the error under it.
    """

    name: str
    explanation: str
    error: float


def explain(piece, error, budget):
    """Find the known difference that fits.

    Args:
        piece: a `Piece`.
        error: ``error(x, y)`` gives the size of the difference of two arrays.
        budget: the largest error that counts as none.

    Returns:
        A `Cause`, or None.
    """
    for changes, one in itertools.product((0, CHANGES_A), FORMULAS):
        for given in one.givens(piece):
            fits = _fits(one, piece, given, changes, error, budget)
            if fits is not None:
                return _cause(*fits)
    for name, relate in RELATIONS:
        for a, b, sides in ((piece.a, piece.b, "B"), (piece.b, piece.a, "A")):
            for detail, y in relate(piece, a, b):
                if error(y, b) <= budget:
                    title, sentence = CAUSES[name]
                    return Cause(title, f"{sides}: {detail}. {sentence}", error(y, b))
    return None


def _fits(one, piece, given, changes, error, budget):
    """Return the choice that gives `a`, the one that gives `b` and the error left, or None."""
    usual = {name: values[0] for name, values in one.options.items()}

    def closest(start, wanted, most):
        """Return the choice that fits with the fewest changes, the best of them, and its error."""
        for changes in range(most + 1):
            fits = []
            for choice in one.choices(start, changes):
                y = one.compute(piece, **given, **choice)
                if y is not None and y.shape == wanted.shape:
                    left = error(y, wanted)
                    fits += [(left, choice)] if left <= budget else []
            if fits:
                return min(fits, key=lambda fit: fit[0])
        return None

    a = closest(usual, piece.a, changes)
    b = a and closest(a[1], piece.b, CHANGES_B)
    if not b or a[1] == b[1]:
        return None
    return a[1], b[1], max(a[0], b[0])


def _cause(a, b, left):
    changed = [name for name in a if a[name] != b[name]]
    names, sentences, details = [], [], []
    for name in changed:
        key = "gelu" if name == "activation" and "GELU" in a[name] and "GELU" in b[name] else name
        title, sentence = CAUSES[key]
        names += [title] if title not in names else []
        sentences += [sentence] if sentence not in sentences else []
        details.append(f"{name.replace('_', ' ')}: A {a[name]}, B {b[name]}")
    return Cause(" and ".join(names), f"{'; '.join(details)}. {' '.join(sentences)}", left)
