"""Bugs to plant, and how: a column is imported again with one small change in its source.

A `Bug` replaces one piece of one file. It must be reported by a case of its topic, or the harness
would not notice it in a port either.
"""

import contextlib
import dataclasses
import importlib
import importlib.machinery
import json
import sys
from pathlib import Path

from planted_modern import MODERN
from shared import solved

import d2l_ext
from d2l_ext.agreement.judging.verdict import verdicts

PACKAGE = Path(d2l_ext.__file__).parent


@dataclasses.dataclass(frozen=True)
class Bug:
    """A change that makes one column wrong.

    Attributes:
        name: what is wrong.
        column, file: where.
        old, new: the change; `old` occurs once.
        cases: beginnings of the names of the cases of its topic, the cheapest first.
    """

    name: str
    column: str
    file: str
    old: str
    new: str
    cases: tuple

    @property
    def id(self):
        """Column and name, to find it again."""
        return f"{self.column}: {self.name}"

    @property
    def path(self):
        """The file that it changes."""
        return PACKAGE / self.column / f"{self.file}.py"

    def applied(self):
        """Return the file's text with the bug."""
        text = self.path.read_text()
        assert text.count(self.old) == 1, f"{self.id}: occurs {text.count(self.old)} times"
        return text.replace(self.old, self.new)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from text instead of its file."""

    def __init__(self, name, path, text):
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname):
        return compile(self._text, self.path, "exec")


class _Finder:
    def __init__(self, name, path, text):
        self._name, self._path, self._text = name, path, text

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        loader = _Loader(name, str(self._path), self._text)
        return importlib.machinery.ModuleSpec(name, loader, origin=str(self._path))


@contextlib.contextmanager
def planted(column, file, text):
    """Import a column again, one of its files with another text; yields its backend.

    Everything of the column is new, caches of compiled code included. Afterwards the column is
    the old one.
    """
    package = f"d2l_ext.{column}"
    old = _take_out(package)
    finder = _Finder(f"{package}.{file}", PACKAGE / column / f"{file}.py", text)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module(f"{package}.backend").BACKEND
    finally:
        sys.meta_path.remove(finder)
        _take_out(package)
        sys.modules.update(old)
        if package in old:
            setattr(d2l_ext, column, old[package])


def _take_out(package):
    """Remove a package's modules from the loaded ones, and return them."""
    names = [n for n in sys.modules if n == package or n.startswith(package + ".")]
    return {name: sys.modules.pop(name) for name in names}


def failure(name, backend, dtype):
    """Return what a case says that a backend fails, or None."""
    try:
        found = verdicts(solved(name), backend, dtype)
    except Exception as error:  # a bug may well end in one
        return f"{name}: {type(error).__name__}: {error}"
    return next((str(v) for v in found if not v.agrees), None)


def _bugs(column, *rows):
    return [
        Bug(name, column, file, old, new, tuple(cases)) for name, file, old, new, *cases in rows
    ]


SOFTMAX = ("masking/masked_softmax/",)
DOT = ("scoring/DotProductAttention/",)
ADDITIVE = ("scoring/AdditiveAttention/",)
GRU = ("recurrent/GRU/",)
LSTM = ("recurrent/LSTM/",)
BAHDANAU = ("bahdanau/Seq2SeqAttentionDecoder/",)
LUONG = ("bahdanau/LuongDecoder bilinear/",)
HEADS = ("multihead/",)
TRANSFORMER = ("transformer/TransformerDecoder/",)
STEPS = ("seq2seq/Seq2SeqDecoder/lengths", "seq2seq/Seq2SeqDecoder/all")

BUGS = [
    *_bugs(
        "torch",
        (
            "one step too many is kept",
            "masking",
            "torch.arange(X.shape[1], device=X.device) < valid_lens[:, None]",
            "torch.arange(X.shape[1], device=X.device) <= valid_lens[:, None]",
            "masking/sequence_mask/",
        ),
        (
            "the padding is attended to, the rest is not",
            "masking",
            "(tokens != pad)[:, None, :]",
            "(tokens == pad)[:, None, :]",
            "masking/padding_mask",
        ),
        (
            "a step can't see itself",
            "masking",
            "dtype=torch.bool).tril()",
            "dtype=torch.bool).tril(-1)",
            "masking/causal_mask",
        ),
        (
            "lengths and mask combine by or",
            "masking",
            "valid & mask",
            "valid | mask",
            *SOFTMAX,
        ),
        (
            "mask after softmax",
            "masking",
            "torch.where(mask, X, fill).softmax(dim=-1)",
            "X.softmax(dim=-1)",
            *SOFTMAX,
        ),
        (
            "the caller's array is changed",
            "masking",
            "    has_key = mask.any(dim=-1, keepdim=True)\n",
            "    has_key = mask.any(dim=-1, keepdim=True)\n    X.data.masked_fill_(~mask, 0)\n",
            *SOFTMAX,
        ),
        (
            "no scale",
            "scoring",
            "query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])",
            "query @ key.transpose(-2, -1)",
            "scoring/attention/",
        ),
        (
            "weights are shown after dropout",
            "scoring",
            "    return (weights if dropout is None else dropout(weights)) @ value, weights",
            "    weights = weights if dropout is None else dropout(weights)\n"
            "    return weights @ value, weights",
            *DOT,
        ),
        (
            "relu for tanh",
            "scoring",
            "features.tanh_()",
            "features.relu_()",
            *ADDITIVE,
        ),
        (
            "an epsilon under the root",
            "scoring",
            "torch.where(squares > 0, squares, 1).sqrt()",
            "(squares + 1e-6).sqrt()",
            "scoring/CosineAttention/",
        ),
        (
            "a transposed weight",
            "scoring",
            "torch.bmm(queries @ self.W, keys.transpose(1, 2))",
            "torch.bmm(queries @ self.W.mT, keys.transpose(1, 2))",
            *LUONG,
        ),
        (
            "the width is not squared",
            "scoring",
            "(-2 * self.width**2)",
            "(-2 * self.width)",
            "scoring/GaussianAttention/",
        ),
        (
            "gates in Keras's order",
            "recurrent",
            "r, z = torch.sigmoid",
            "z, r = torch.sigmoid",
            *GRU,
        ),
        (
            "the update gate is the wrong way round",
            "recurrent",
            "n + z * (h - n)",
            "h + z * (n - h)",
            *GRU,
        ),
        (
            "no tanh of the cell",
            "recurrent",
            "torch.sigmoid(o) * torch.tanh(c), c",
            "torch.sigmoid(o) * c, c",
            *LSTM,
        ),
        (
            "the state comes after the padding",
            "recurrent",
            "new = tuple(torch.where(alive[t], n, o) for n, o in zip(new, state, strict=True))",
            "pass",
            *GRU,
        ),
        (
            "the reverse direction reads forward",
            "recurrent",
            'if direction == "" else',
            'if direction != "?" else',
            "seq2seq/BidirectionalEncoder/",
        ),
        (
            "directions change places",
            "seq2seq",
            "torch.cat((f, r), dim=-1) for (f,), (r,)",
            "torch.cat((r, f), dim=-1) for (f,), (r,)",
            "seq2seq/BidirectionalEncoder/",
        ),
        (
            "the mean is over the padding too",
            "seq2seq",
            "real.sum().clamp(min=1)",
            "real.numel()",
            "seq2seq/masked_loss/",
        ),
        (
            "the context is the lowest layer's",
            "seq2seq",
            "hidden_state[-1]]",
            "hidden_state[0]]",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "coins the wrong way round",
            "seq2seq",
            "torch.where(forced, dec_X[:, t : t + 1], tokens)",
            "torch.where(forced, tokens, dec_X[:, t : t + 1])",
            "seq2seq/Seq2SeqDecoder/own tokens",
        ),
        (
            "the query is the lowest layer's",
            "bahdanau",
            "query = states[-1][0][:, None]",
            "query = states[0][0][:, None]",
            "bahdanau/Seq2SeqAttentionDecoder/lengths",
        ),
        (
            "the decoder attends to padding",
            "bahdanau",
            "mask = combine_masks(enc_outputs.shape[1], enc_valid_lens)",
            "mask = None",
            "bahdanau/Seq2SeqAttentionDecoder/lengths",
        ),
        (
            "one dropout mask for all steps",
            "bahdanau",
            "None if m is None else m[t]",
            "None if m is None else m[0]",
            "bahdanau/Seq2SeqAttentionDecoder/dropout",
        ),
        (
            "a beam keeps another's state",
            "bahdanau",
            "H[:, rows]",
            "H",
            *BAHDANAU,
        ),
        (
            "heads are interleaved",
            "multihead",
            "X.reshape(*X.shape[:2], self.num_heads, -1)",
            "X.reshape(*X.shape[:2], -1, self.num_heads).mT",
            *HEADS,
        ),
        (
            "the fused kernel gets no mask",
            "multihead",
            "attn_mask=mask",
            "attn_mask=None",
            *TRANSFORMER,
        ),
        (
            "the mask ignores the position",
            "transformer",
            "mask.tril(num_keys - num_steps)",
            "mask.tril()",
            "transformer/TransformerDecoderBlock/",
        ),
        (
            "GELU by tanh",
            "transformer",
            '"gelu": F.gelu',
            '"gelu": lambda X: F.gelu(X, approximate="tanh")',
            "transformer/PositionWiseFFN/",
        ),
        (
            "Flax's layer-norm epsilon",
            "transformer",
            "nn.LayerNorm(norm_shape, eps)",
            "nn.LayerNorm(norm_shape, 1e-6)",
            "transformer/AddNorm/",
        ),
        (
            "positions start at 1",
            "positional",
            "consecutive(self.P, offset, X.shape[1])",
            "consecutive(self.P, offset + 1, X.shape[1])",
            "positional/PositionalEncoding/",
        ),
        (
            "dropout stays on",
            "layers",
            "if not self.training or self.rate == 0",
            "if self.rate == 0",
            *DOT,
        ),
        (
            "dropout does not scale",
            "layers",
            "X if mask is None else X * mask",
            "X if mask is None else X * (mask > 0)",
            *DOT,
        ),
        (
            "no bias correction",
            "backend",
            "self.num_steps + 1.0",
            "1e6",
            *STEPS,
        ),
        (
            "small gradients are clipped, large ones not",
            "backend",
            "if norm > self.max_norm",
            "if norm < self.max_norm",
            *STEPS,
        ),
    ),
    *_bugs(
        "mxnet",
        (
            "one step too many is kept",
            "masking",
            'mnp.arange(num_steps, dtype="int64") < mnp.expand_dims(lens, -1)',
            'mnp.arange(num_steps, dtype="int64") <= mnp.expand_dims(lens, -1)',
            "masking/",
        ),
        (
            "the mask is forgotten beside lengths",
            "masking",
            "return valid if mask is None else valid * mask",
            "return valid",
            *SOFTMAX,
        ),
        (
            "an empty row is uniform",
            "masking",
            "axis=-1) * has_key\n",
            "axis=-1)\n",
            *SOFTMAX,
        ),
        (
            "the value is ignored",
            "masking",
            "mnp.full((1,) * X.ndim, value, dtype=X.dtype)",
            "mnp.full((1,) * X.ndim, 0, dtype=X.dtype)",
            "masking/",
        ),
        (
            "the scale is the number of keys",
            "scoring",
            "scores / math.sqrt(queries.shape[-1]) if",
            "scores / math.sqrt(keys.shape[1]) if",
            *DOT,
        ),
        (
            "every query is the first",
            "scoring",
            "[tanh(repeat(query, keys.shape[1]) + keys) for query in queries]",
            "[tanh(repeat(queries[0], keys.shape[1]) + keys) for query in queries]",
            *ADDITIVE,
        ),
        (
            "the nearest key gets the least",
            "scoring",
            "(-2 * self.width**2)",
            "(2 * self.width**2)",
            "scoring/GaussianAttention/",
        ),
        (
            "no reset gate",
            "recurrent",
            "tanh(x_n + sigmoid(x_r + h_r) * h_n)",
            "tanh(x_n + h_n)",
            *GRU,
        ),
        (
            "two gates change places",
            "recurrent",
            "i, f, g, o = (x + y",
            "f, i, g, o = (x + y",
            *LSTM,
        ),
        (
            "outputs go on after the end",
            "recurrent",
            "(output if alive is None else output * alive)",
            "output",
            *GRU,
        ),
        (
            "no dropout between layers",
            "recurrent",
            "            X = X if mask is None else X * mask\n",
            "",
            "recurrent/GRU/dropout",
        ),
        (
            "each layer starts from the first one's state",
            "recurrent",
            "states[len(finals)]",
            "states[0]",
            *GRU,
        ),
        (
            "only the padding counts in the loss",
            "seq2seq",
            "npx.cast(ids != pad",
            "npx.cast(ids == pad",
            "seq2seq/masked_loss/",
        ),
        (
            "cell and hidden state change places",
            "seq2seq",
            "        enc_outputs, hidden_state = state\n",
            "        enc_outputs, hidden_state = state[0], state[1][::-1]\n",
            "seq2seq/LSTMDecoder/all",
        ),
        (
            "a beam keeps another's mask",
            "bahdanau",
            "pick(mask)",
            "mask",
            "bahdanau/Seq2SeqAttentionDecoder/lengths",
        ),
        (
            "a beam keeps another's keys",
            "bahdanau",
            "pick(keys)",
            "keys",
            *BAHDANAU,
        ),
        (
            "no tanh before the output",
            "bahdanau",
            "tanh(self.W_c(mnp.concatenate((contexts, queries), axis=-1)))",
            "self.W_c(mnp.concatenate((contexts, queries), axis=-1))",
            *LUONG,
        ),
        (
            "query and context change places",
            "bahdanau",
            "mnp.concatenate((contexts, queries), axis=-1)",
            "mnp.concatenate((queries, contexts), axis=-1)",
            *LUONG,
        ),
        (
            "masks and heads do not meet",
            "multihead",
            "mnp.repeat(mask, self.num_heads, axis=0)",
            "mnp.tile(mask, (self.num_heads, 1, 1))",
            *HEADS,
        ),
        (
            "no output projection",
            "multihead",
            "return self.W_o(self.transpose_output(output))",
            "return self.transpose_output(output)",
            *HEADS,
        ),
        (
            "the cache is not advanced",
            "transformer",
            "append(caches[self.i], self.attention1.project(x, x))",
            "caches[self.i] or self.attention1.project(x, x)",
            *TRANSFORMER,
        ),
        (
            "no last layer norm",
            "transformer",
            "return X if self.ln is None else self.ln(X)",
            "return X",
            "transformer/TransformerEncoder/pre, gelu",
        ),
        (
            "no residual",
            "transformer",
            "return self.ln(self.dropout(Y) + X)",
            "return self.ln(self.dropout(Y))",
            "transformer/AddNorm/",
        ),
        (
            "epsilon is rounded to float32",
            "normalization",
            "X = X * math.sqrt(float(numpy.float32(self.eps)) / self.eps)",
            "pass",
            "transformer/AddNorm/",
        ),
        (
            "a gradient alone is wrong",
            "layers",
            "return X * (value + density * (X - x))",
            "return X * value",
            "transformer/PositionWiseFFN/",
        ),
        (
            "the first moment is not corrected",
            "backend",
            "(self.lr / correction1) * m",
            "self.lr * m",
            *STEPS,
        ),
        (
            "the second moment forgets to square",
            "backend",
            "(g * g - v)",
            "(abs(g) - v)",
            *STEPS,
        ),
        (
            "clips by the square of the norm",
            "backend",
            "norm = math.sqrt(sum(square(g) for g in gradients).item())",
            "norm = sum(square(g) for g in gradients).item()",
            *STEPS,
        ),
    ),
    *_bugs(
        "jax",
        (
            "a step sees the future only",
            "masking",
            "jnp.tri(num_steps, dtype=bool)",
            "jnp.tri(num_steps, dtype=bool).T",
            "masking/causal_mask",
        ),
        (
            "softmax over the queries",
            "masking",
            "jax.nn.softmax(widened(X))",
            "jax.nn.softmax(widened(X), axis=-2)",
            *SOFTMAX,
        ),
        (
            "an empty row is not a number",
            "masking",
            "return jnp.where(mask, softmax(jnp.where(mask, X, fill)), 0)",
            "return jax.nn.softmax(jnp.where(mask, X, -jnp.inf))",
            "masking/masked_softmax/empty rows",
        ),
        (
            "no dropout of the weights",
            "scoring",
            "dropout = functools.partial(self.dropout, training=training)",
            "dropout = functools.partial(self.dropout, training=False)",
            "scoring/DotProductAttention/dropout",
        ),
        (
            "keys keep their length",
            "scoring",
            "return unit(keys)",
            "return keys",
            "scoring/CosineAttention/",
        ),
        (
            "a mean for a sum",
            "scoring",
            "(difference * difference).sum(axis=-1)",
            "(difference * difference).mean(axis=-1)",
            "scoring/GaussianAttention/",
        ),
        (
            "the wrong gate resets",
            "recurrent",
            "gates[:, 2 * size :] + r * h_gates",
            "gates[:, 2 * size :] + z * h_gates",
            *GRU,
        ),
        (
            "one bias is missing",
            "recurrent",
            "h_gates = h @ weight_hh.T + bias_hh",
            "h_gates = h @ weight_hh.T + 0 * bias_hh",
            *GRU,
        ),
        (
            "the forget gate's bias starts at 1",
            "recurrent",
            "jax.nn.sigmoid(f) * c",
            "jax.nn.sigmoid(f + 1) * c",
            *LSTM,
        ),
        (
            "a stale hidden state is returned",
            "bahdanau",
            ".swapaxes(0, 1)\n        return logits, [enc_outputs, stack_states(states)",
            ".swapaxes(0, 1)\n        return logits, [enc_outputs, hidden_state",
            "bahdanau/Seq2SeqAttentionDecoder/all",
        ),
        (
            "keys are not projected",
            "bahdanau",
            "self.attention.prepare_keys(enc_outputs)",
            "enc_outputs",
            "bahdanau/LuongDecoder cosine/",
        ),
        (
            "the mean is over the padding too",
            "seq2seq",
            "jnp.maximum(real.sum(), 1)",
            "Y.size",
            "seq2seq/masked_loss/",
        ),
        (
            "the least likely token is fed",
            "seq2seq",
            "Y[:, 0].argmax(axis=-1)",
            "Y[:, 0].argmin(axis=-1)",
            "bahdanau/LuongDecoder bilinear/own tokens",
        ),
        (
            "dropout stays on in evaluation",
            "seq2seq",
            "return self.decoder(dec_X, state, training=training)[0]",
            "return self.decoder(dec_X, state, training=True)[0]",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "the scale of a head is that of all",
            "multihead",
            "scores = inner.score(queries, keys)",
            "scores = inner.score(queries, keys) / self.num_heads**0.5",
            *HEADS,
        ),
        (
            "the decoder sees the future",
            "transformer",
            "steps[:, None] >= jnp.arange(keys.shape[1])",
            "steps[:, None] >= 0 * jnp.arange(keys.shape[1])",
            "transformer/TransformerDecoderBlock/",
        ),
        (
            "every block attends through the first",
            "transformer",
            "self.attention2.attend(x, *projected[self.i], training)",
            "self.attention2.attend(x, *projected[0], training)",
            "transformer/TransformerDecoder/post",
        ),
        (
            "the source's lengths are ignored",
            "transformer",
            "mask = combine_masks(enc_outputs.shape[1], enc_valid_lens)",
            "mask = None",
            "transformer/TransformerDecoderBlock/",
        ),
        (
            "each token stands at position 0",
            "transformer",
            "H = self.pos_encoding(H, position, training=training)",
            "H = self.pos_encoding(H, 0, training=training)",
            "transformer/TransformerDecoder/post",
        ),
        (
            "a variance that cancels",
            "normalization",
            "variance = (centred * centred).mean(axis=-1, keepdims=True)",
            "variance = (wide * wide).mean(axis=-1, keepdims=True)"
            " - wide.mean(axis=-1, keepdims=True) ** 2",
            "transformer/AddNorm/far from zero",
        ),
        (
            "gradients are never clipped",
            "backend",
            "jnp.where(norm > max_norm, max_norm / norm, 1)",
            "jnp.where(norm > max_norm, 1, 1)",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "the moments change rates",
            "backend",
            "BETA1 * m + (1 - BETA1) * g",
            "BETA2 * m + (1 - BETA2) * g",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
    ),
    *_bugs(
        "tensorflow",
        (
            "the padding is kept, the rest replaced",
            "masking",
            "tf.where(keep, X, tf.constant(value, X.dtype))",
            "tf.where(keep, tf.constant(value, X.dtype), X)",
            "masking/sequence_mask/",
        ),
        (
            "lengths are one too long",
            "masking",
            "valid = tf.sequence_mask(valid_lens, num_keys)",
            "valid = tf.sequence_mask(valid_lens + 1, num_keys)",
            *SOFTMAX,
        ),
        (
            "a step sees the future only",
            "masking",
            "tf.bool), -1, 0)",
            "tf.bool), 0, -1)",
            "masking/causal_mask",
        ),
        (
            "an empty row is uniform",
            "masking",
            "return tf.where(mask, softmax(tf.where(mask, X, fill)), zero)",
            "return softmax(tf.where(mask, X, fill))",
            *SOFTMAX,
        ),
        (
            "divided by the size, not its root",
            "scoring",
            "tf.matmul(query, key, transpose_b=True) / math.sqrt(query.shape[-1])",
            "tf.matmul(query, key, transpose_b=True) / query.shape[-1]",
            "scoring/attention/",
        ),
        (
            "keys are subtracted",
            "scoring",
            "tf.tanh(self.W_q(queries)[:, :, None] + keys[:, None])",
            "tf.tanh(self.W_q(queries)[:, :, None] - keys[:, None])",
            *ADDITIVE,
        ),
        (
            "no gradient through the weights",
            "scoring",
            "weights = unchecked_masked_softmax(scores, mask)",
            "weights = tf.stop_gradient(unchecked_masked_softmax(scores, mask))",
            *DOT,
        ),
        (
            "the old state is not left",
            "recurrent",
            "(n + z * (h - n),)",
            "(n + z * h,)",
            *GRU,
        ),
        (
            "the candidate is a gate",
            "recurrent",
            "tf.sigmoid(i) * tf.tanh(g)",
            "tf.sigmoid(i) * tf.sigmoid(g)",
            *LSTM,
        ),
        (
            "the initial state is ignored",
            "recurrent",
            "state = zeros if states is None else states[len(finals)]",
            "state = zeros",
            *GRU,
        ),
        (
            "the reverse direction's last state is its first",
            "recurrent",
            "steps[0 if reverse else -1]",
            "steps[-1]",
            "seq2seq/BidirectionalEncoder/",
        ),
        (
            "all layers share a dropout mask",
            "recurrent",
            'getattr(self, f"dropout_l{layer}").mask(shape, like, training) if layer',
            'getattr(self, "dropout_l1").mask(shape, like, training) if layer',
            "recurrent/GRU/dropout",
        ),
        (
            "two biases are tied",
            "recurrent",
            "gates = linear(X, weight_ih, bias_ih)",
            "gates = linear(X, weight_ih, bias_hh)",
            *GRU,
        ),
        (
            "the loss is an unmasked mean",
            "seq2seq",
            "tf.reduce_sum(losses * real) / tf.maximum(tf.reduce_sum(real), 1)",
            "tf.reduce_mean(losses)",
            "seq2seq/masked_loss/",
        ),
        (
            "the true token is always the first",
            "seq2seq",
            "tf.where(teacher_forcing[t], dec_X[:, t : t + 1], tokens)",
            "tf.where(teacher_forcing[t], dec_X[:, :1], tokens)",
            "seq2seq/Seq2SeqDecoder/own tokens",
        ),
        (
            "the context comes after the padding",
            "seq2seq",
            "hidden_state[-1]]",
            "enc_outputs[-1]]",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "dropout stays on in the encoder",
            "seq2seq",
            "self.encoder(enc_X, enc_valid_lens, training=training)",
            "self.encoder(enc_X, enc_valid_lens, training=True)",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "the decoder attends to padding",
            "bahdanau",
            "mask = combine_masks(tf.shape(enc_outputs)[1], enc_valid_lens)",
            "mask = None",
            "bahdanau/Seq2SeqAttentionDecoder/lengths",
        ),
        (
            "a beam keeps another's keys",
            "bahdanau",
            "pick(keys)",
            "keys",
            "bahdanau/Seq2SeqAttentionDecoder/all",
        ),
        (
            "heads and positions are mixed",
            "multihead",
            "(batch, n, self.num_heads, size // self.num_heads)",
            "(batch, self.num_heads, n, size // self.num_heads)",
            *HEADS,
        ),
        (
            "no dropout of the heads' weights",
            "multihead",
            "functools.partial(inner.dropout, training=training)",
            "functools.partial(inner.dropout, training=False)",
            "multihead/MultiHeadAttention/dropout",
        ),
        (
            "Keras's layer-norm epsilon",
            "normalization",
            "epsilon=eps",
            "epsilon=1e-3",
            "transformer/AddNorm/",
        ),
        (
            "the residual is normalised, too",
            "transformer",
            "return X + self.dropout(sublayer(self.ln(X)), training=training)",
            "return self.ln(X) + self.dropout(sublayer(self.ln(X)), training=training)",
            "transformer/TransformerEncoderBlock/pre, gelu",
        ),
        (
            "the position is not advanced",
            "transformer",
            'position + tf.shape(X, "int64")[1]]',
            "position]",
            "transformer/TransformerDecoder/post",
        ),
        (
            "GELU by tanh",
            "transformer",
            "return 0.5 * X * (1 + tf.math.erf(X / math.sqrt(2)))",
            "return tf.nn.gelu(X, approximate=True)",
            "transformer/PositionWiseFFN/",
        ),
        (
            "clips each tensor by itself",
            "backend",
            "return [g * scale for g in gradients]",
            "return [tf.clip_by_norm(g, self.max_norm) for g in gradients]",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
        (
            "Keras's epsilon in Adam",
            "backend",
            "+ EPSILON)",
            "+ 1e-7)",
            "seq2seq/Seq2SeqDecoder/lengths",
        ),
    ),
]
BUGS += [bug for column, rows in MODERN.items() for bug in _bugs(column, *rows)]
# Written from the columns alone, without a look at the cases. When they were new, cases reported 51
# of the first 60, 29 of the next 40, and 55 of the last 60.
UNSEEN = [
    Bug(**row | {"cases": tuple(row["cases"])})
    for row in json.loads(Path(__file__).with_name("planted_unseen.json").read_text())
]
