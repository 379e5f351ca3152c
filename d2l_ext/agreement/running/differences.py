"""Where the frameworks differ: what each does unless told otherwise, and what it cannot do.

Everything is measured when the report is made, in the process and with the versions that the
frameworks run in: each column's ``defaults.py`` calls its framework's own layers and operators.

A `Default` is what the columns set to one common value. A `Limit` is what no setting mends, so that
the column has to go around it.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Default:
    """A default that differs.

    Attributes:
        name: what.
        measure: ``measure(defaults)`` returns a number or a word.
    """

    name: str
    measure: Callable


@dataclasses.dataclass(frozen=True)
class Limit:
    """A limit of a framework.

    Attributes:
        backend: whose.
        name: its key in ``limits()`` of the column's ``defaults.py``.
        size: the relative error that was measured; infinite if it fails.
        cause: in words.
        link: the operator.
        instead: what the column does.
    """

    backend: str
    name: str
    size: float
    cause: str
    link: str
    instead: str

    def holds(self, size):
        """Whether a measured size is of the recorded order."""
        return size == self.size if math.isinf(self.size) else 0.5 < size / self.size < 2


def _epsilon(defaults):
    """Solve y = x / sqrt(variance + epsilon) for epsilon."""
    x = np.float32(1e-3)
    y = defaults.layer_norm(np.array([[x, -x]], np.float32))[0, 0]
    return float(f"{float(x) ** 2 / float(y) ** 2 - float(x) ** 2:.1g}")


def _far_from_zero(defaults):
    """Return the layer norm's error for rows of mean 1e4 in float32."""
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 32))).astype(np.float32)
    exact = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    exact /= np.sqrt((exact**2).mean(axis=1, keepdims=True) + _epsilon(defaults))
    return float(np.abs(defaults.layer_norm(x) - exact).max())


GATES = {0.5: "z", 0.75: "n", 0.25: "r"}  # the state after a step, if this gate's bias is large


def _gates(defaults):
    """Tell the gates from what a large bias of each does to the state 1/2."""
    states = [defaults.gru(bias) for bias in 20 * np.eye(3, dtype=np.float32)]
    return ", ".join(GATES.get(round(state, 3), "?") for state in states)


def _empty_row(defaults):
    row = defaults.softmax(np.full((1, 3), -np.inf, np.float32))
    return "NaN" if np.isnan(row).all() else "0" if (row == 0).all() else str(row)


def _reduction(defaults):
    """Name how the default loss of two samples, log 2 and log 4, is reduced."""
    loss = defaults.cross_entropy(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 0]))
    if np.size(loss) == 2:
        return "none"
    return "mean" if np.isclose(loss, np.log(8) / 2, rtol=1e-5) else "sum"


def _clipped_norm(defaults):
    """Return by how much the norm of a clipped gradient misses the limit."""
    try:
        gradient = defaults.clipped(np.array([3.0, 4.0]), 1.0)
    except Exception:  # of whatever type: that it fails is what is measured
        return "fails"
    missing = abs(1 - float(np.sqrt((gradient**2).sum())))
    return 0.0 if missing < 1e-15 else missing


def _unknown_token(defaults):
    try:
        row = np.asarray(defaults.lookup(7, 3)).ravel()
    except Exception:  # as above
        return "error"
    return "NaN" if np.isnan(row).all() else f"row {row[0]:g}"


def _layout(defaults):
    shape = defaults.dense(3, 5)[0].shape
    return {(5, 3): "(out, in)", (3, 5): "(in, out)"}[tuple(shape)]


def _rms_epsilon(defaults):
    """Solve y = x / sqrt(x^2 + epsilon) for epsilon."""
    x = 1e-3
    y = float(defaults.rms_norm(np.full((1, 2), x, np.float32))[0, 0])
    return float(f"{x**2 / y**2 - x**2:.1g}")


def _heads(defaults):
    """Tell where the heads stand in (batch, heads, steps, size): mean values over the others."""
    v = np.arange(6.0, dtype=np.float32).reshape(1, 2, 3, 1)
    zeros = np.zeros_like(v)
    means = defaults.fused(zeros, zeros, v)
    return {1: "after the steps", 2: "before the steps"}[
        next(axis for axis in (1, 2) if np.allclose(means, v.mean(axis, keepdims=True)))
    ]


def _fused_mask(defaults):
    v = np.arange(2.0, dtype=np.float32).reshape(1, 2, 1, 1)
    if _heads(defaults) == "before the steps":
        v = v.swapaxes(1, 2)
    zeros, mask = np.zeros_like(v), np.array([[True, False], [True, False]])
    seen = defaults.fused(zeros, zeros, v, mask).ravel()[0]
    return {0.0: "attend", 1.0: "ignore"}[float(seen)]


def _layer_mask(defaults):
    """Tell whether the second of two steps, where the mask is False, has a say in the first."""
    x = np.random.default_rng(0).standard_normal((1, 2, 4)).astype(np.float32)
    other, mask = x.copy(), np.array([[True, False], [True, False]])
    other[0, 1] += 1
    same = np.allclose(*(defaults.attention_layer(y, mask)[0, 0] for y in (x, other)))
    return "attend" if same else "ignore"


def _channels(defaults):
    shape = defaults.convolution(np.zeros((1, 6, 7, 8), np.float32)).shape
    return {1: "first", 3: "last"}[shape.index(2)]


def _edge(defaults):
    shape = defaults.convolution(np.zeros((1, 7, 7, 7), np.float32)).shape
    return "adds zeros" if 7 in shape else "leaves out"


def _writing(defaults):
    write = defaults.write
    try:
        write(np.zeros(2, np.float32))
    except Exception:  # as above
        return "a new array"
    return "in place"


DEFAULTS = [
    Default("layer norm, epsilon", _epsilon),
    Default("layer norm, error at mean 1e4 in float32", _far_from_zero),
    Default("GELU(1)", lambda d: float(d.gelu(np.ones(1, np.float32))[0])),
    Default("softmax of a row of -inf", _empty_row),
    Default("cross-entropy, reduction", _reduction),
    Default("Adam, first step at g = 1e-6, lr = 0.005", lambda d: float(d.adam(1e-6, 0.005))),
    Default("clipped to norm 1, what is missing", _clipped_norm),
    Default("GRU, order of the gates", _gates),
    Default("GRU, biases per unit", lambda d: d.gru_biases()),
    Default(
        "LSTM, initial bias of the forget gate", lambda d: abs(round(float(d.forget_bias()), 1))
    ),
    Default("dense layer, weight", _layout),
    Default(
        "dense layer 300 to 200, std of the start", lambda d: float(d.dense(300, 200)[0].std())
    ),
    Default("dense layer, std of the bias", lambda d: float(d.dense(300, 200)[1].std())),
    Default("embedding 5000 x 64, std of the start", lambda d: float(d.embedding(5000, 64).std())),
    Default("token id beyond the vocabulary", _unknown_token),
    Default("RMSNorm, epsilon", _rms_epsilon),
    Default("True in a mask, attention layer", _layer_mask),
    Default("True in a mask, fused attention", _fused_mask),
    Default("heads, in fused attention", _heads),
    Default("an image's channels", _channels),
    Default("a convolution at the edge", _edge),
    Default("writing into an array", _writing),
]
NONE = "–"  # what has no layer or operator of the kind

MXNET = "https://github.com/apache/mxnet/blob/1.9.1/src/operator/"
TANH = (
    "tanh",
    8e-16,
    "XLA computes it by a rational function, which is off by 3.6 rounding units; PyTorch's by 0.6",
    "https://github.com/openxla/xla/blob/main/xla/service/llvm_ir/math_ops.cc",
    "gradients through saturated gates are judged at the size of their terms",
)
LIMITS = [
    Limit(
        "mxnet",
        "derivative of erf",
        3e-8,
        "the derivative's factor 2 / sqrt(pi) is a float32 constant",
        MXNET + "mshadow_op.h",
        "gelu takes erf along its tangent",
    ),
    Limit(
        "mxnet",
        "GELU",
        9.6e-8,
        "its constants are float32",
        MXNET + "mshadow_op.h",
        "gelu is written with erf",
    ),
    Limit(
        "mxnet",
        "epsilon of the layer norm",
        1.3e-8,
        "epsilon is a float32 parameter of the operator",
        MXNET + "nn/layer_norm-inl.h",
        "LayerNorm scales its input instead",
    ),
    Limit(
        "mxnet",
        "gradient of where",
        1.0,
        "with a scalar the gradient goes to the wrong branch",
        "https://github.com/apache/mxnet/issues/17893",
        "where takes two arrays",
    ),
    Limit(
        "mxnet",
        "lengths of the GRU",
        0.75,
        "use_sequence_length is ignored on the CPU",
        MXNET + "rnn-inl.h",
        "steps after the end keep the state by a mask",
    ),
    Limit("jax", *TANH),
    Limit("tensorflow", *TANH),
    Limit(
        "tensorflow",
        "scale of MultiHeadAttention",
        1.8e-8,
        "1 / sqrt(d) is rounded to float32, in a float64 layer too",
        "https://github.com/keras-team/keras/blob/master/keras/src/layers/attention/"
        "multi_head_attention.py",
        "attention divides by sqrt(d) in the scores' precision",
    ),
    Limit(
        "tensorflow",
        "global norm with an embedding",
        0.23,
        "the rows of a token that occurs twice are squared before they are added",
        "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/python/ops/clip_ops.py",
        "the trainer makes gradients dense first",
    ),
]


def measured(defaults):
    """Measure one framework.

    Args:
        defaults: a column's module ``defaults``.

    Returns:
        ``{"defaults": {default: value}, "limits": {limit: size}}``; what fails is described.
    """
    found = {}
    for default in DEFAULTS:
        try:
            found[default.name] = default.measure(defaults)
        except AttributeError:  # the module has no such function
            found[default.name] = NONE
        except Exception as error:  # of another version of the framework: the report shows it
            found[default.name] = f"fails ({type(error).__name__}: {error})"
    return {"defaults": found, "limits": defaults.limits()}
