"""JAX behind the common interface.

Everything is a pure function of its arrays, compiled once per module, method and shapes. Compiled
code sees no values, so what depends on values is checked before.
"""

import functools
import itertools

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer, decoder_of
from d2l_ext.jax.layers import Dropout, spec, widened
from d2l_ext.jax.seq2seq import masked_loss

jax.config.update("jax_enable_x64", True)

# Flax's names of leaves, where they are not PyTorch's.
_LEAVES = {"kernel": "weight", "embedding": "weight"}


def _canonical(path):
    """Turn a path in a module into PyTorch's; blocks have names there, and numbers in a list."""
    *owners, leaf = [f"block{key}" if isinstance(key, int) else key for key in path]
    return ".".join((*owners, _LEAVES.get(leaf, leaf)))


def from_numpy(x, dtype=None):
    """Copy an array to JAX; nothing is compiled, as `jnp.array` would for every new shape."""
    return jax.device_put(np.array(x, dtype))


def to_numpy(x):
    """Copy an array to NumPy, which has no bfloat16."""
    return np.array(x, np.float32 if x.dtype == jnp.bfloat16 else None)


def canonical(params):
    """Return ``{canonical name: ndarray}`` of ``{path: array}``."""
    return {_canonical(path): _transposed(path, to_numpy(x)) for path, x in params.items()}


def native(params, like):
    """Undo `canonical`, with the dtypes of the given arrays."""
    return {
        path: from_numpy(_transposed(path, params[_canonical(path)]), old.dtype)
        for path, old in like.items()
    }


def _transposed(path, x):
    """Transpose the matrix of a `Linear`, which is the other way round than PyTorch's."""
    return np.ascontiguousarray(x.T) if path[-1] == "kernel" else x


class Structure:
    """A module without its parameters, for which functions are compiled.

    Equal modules have one and the same: they share what is compiled, and it is found fast.
    """

    def __init__(self, graphdef):
        self.graphdef = graphdef

    def merge(self, params):
        """Return a module with parameters ``{path: array}``."""
        return nnx.merge(self.graphdef, nnx.from_flat_state(params))


structure = functools.cache(Structure)


def parts(module):
    """List the modules in a module, and itself, with their canonical paths."""
    found = [(path, x) for path, x in nnx.iter_graph(module) if isinstance(x, nnx.Module)]
    return [(_canonical(path) if path else "", part) for path, part in found]


def prepare(module, masks=None, key=None):
    """Set the dropout masks, or the key to draw them with, and forget the last call."""
    for number, (path, part) in enumerate(parts(module)):
        if isinstance(part, Dropout):
            part.given = None if masks is None else masks.get(path)
            part.key = None if key is None else jax.random.fold_in(key, number)
            part.asked = None
        for name in {"attention_weights", "_attention_weights"} & vars(part).keys():
            setattr(part, name, None)


def call(module, inputs, training=False, masks=None, draw=0):
    """Call a module; return its outputs and its attention weights, or None."""
    prepare(module, masks, jax.random.key(draw) if training and masks is None else None)
    outputs = module(*inputs, training=training)
    return outputs, getattr(module, "attention_weights", None)


def run(structure, params, inputs, training=False, masks=None, draw=0):
    """Merge and `call` a module."""
    return call(structure.merge(params), inputs, training, masks, draw)


def vjp(function, params, inputs, cotangent):
    """Return outputs, parameter gradients and input gradients of ``function(params, inputs)``."""

    def inner(params, inputs):
        outputs = function(params, inputs)
        return _inner(outputs, cotangent), outputs

    grad = jax.value_and_grad(inner, argnums=(0, 1), has_aux=True, allow_int=True)
    (_, outputs), (gradients, input_gradients) = grad(params, inputs)
    real = jax.tree.map(lambda g: None if g.dtype == jax.dtypes.float0 else g, input_gradients)
    return outputs, gradients, real


def _inner(outputs, cotangent):
    """Sum of outputs times cotangents; a None is zero."""
    if outputs is None or cotangent is None:
        return 0.0
    if isinstance(outputs, (tuple, list)):
        return sum(_inner(y, c) for y, c in zip(outputs, cotangent, strict=True))
    if not jnp.issubdtype(outputs.dtype, jnp.inexact):
        return 0.0
    return (outputs * jnp.asarray(cotangent, outputs.dtype)).sum()


_run = jax.jit(run, static_argnames=("structure", "training"))


@functools.partial(jax.jit, static_argnames=("structure", "training"))
def _vjp(structure, params, inputs, cotangent, training, masks, draw):
    def function(params, inputs):
        return run(structure, params, inputs, training, masks, draw)[0]

    return vjp(function, params, inputs, cotangent)


def _not_half(x):
    return widened(x) if jnp.issubdtype(x.dtype, jnp.floating) else x


class JaxModel(Model):
    """An NNX module, split into its structure and its parameters ``{path: array}``.

    ``module`` knows the shapes of its parameters only; `merged` returns one that can be called.
    """

    def merged(self):
        """Return a module with the present parameters."""
        return self.structure.merge(self.params)

    def check(self, inputs):
        """Check concrete inputs, which compiled code does not see."""
        if hasattr(self.module, "check"):
            self.module.check(*inputs)

    def _build(self, inputs):
        def create(module, inputs):
            if inputs:
                # Creates the lazy weights; all are float32 still.
                module(*jax.tree.map(_not_half, inputs))
            prepare(module)
            return module

        self.check(inputs)
        self.draws = itertools.count(self.seed)  # seeds of JAX's own dropout
        self.module = nnx.eval_shape(create, self.module, inputs)
        graphdef, state = nnx.split(self.module)
        self.structure = structure(graphdef)
        dtype = jnp.dtype(self.dtype)
        self.params = {p: np.zeros(x.shape, dtype) for p, x in nnx.to_flat_state(state)}

    def _cast(self, x):
        return x.astype(self.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    def _read(self):
        return canonical(self.params)

    def _write(self, params):
        self.params = native(params, self.params)

    def _forward(self, method, inputs, training, masks):
        if method == "forward":
            self.check(inputs)
            return _run(self.structure, self.params, inputs, training, masks, next(self.draws))
        return getattr(self.merged(), method)(*inputs), None

    def _dropout_layers(self, inputs):
        self.check(inputs)
        layers = {}

        def record(params, inputs):
            module = self.structure.merge(params)
            call(module, inputs, training=True)
            found = [(path, part) for path, part in parts(module) if isinstance(part, Dropout)]
            layers.update({p: (layer.rate, layer.asked) for p, layer in found if layer.asked})

        jax.eval_shape(record, self.params, inputs)
        return layers

    def _vjp(self, inputs, cotangent, training, masks):
        self.check(inputs)
        draw = next(self.draws)
        outputs, gradients, input_gradients = _vjp(
            self.structure, self.params, inputs, cotangent, training, masks, draw
        )
        numpy = self.backend.numpy
        return numpy(outputs), canonical(gradients), numpy(input_gradients)


def _loss(structure, params, inputs, labels, pad, training=False, masks=None, draw=0):
    logits, _ = run(structure, params, inputs, training, masks, draw)
    return masked_loss(logits, labels, pad)


_evaluate = jax.jit(_loss, static_argnames=("structure", "pad", "training"))


@functools.partial(jax.jit, static_argnames=("structure", "pad"), donate_argnames="state")
def _train(structure, pad, state, inputs, labels, masks, draw, max_norm, rate, correction):
    """One step of Adam: the loss, and the parameters and moments that replace the old ones."""
    params, _, _ = state

    def loss_of(params):
        return _loss(structure, params, inputs, labels, pad, True, masks, draw)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    return loss, _adam(state, gradients, max_norm, rate, correction)


def _adam(state, gradients, max_norm, rate, correction):
    """Clip; return the parameters and moments after the step."""
    params, m, v = state
    gradients = _clip(gradients, max_norm)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)

    def update(p, m, v):
        return p - rate * m / (jnp.sqrt(v / correction) + EPSILON)

    return jax.tree.map(update, params, m, v), m, v


def _clip(gradients, max_norm):
    """Scale by max_norm / norm where the global norm exceeds max_norm."""
    if max_norm is None:
        return gradients
    norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(gradients)))
    scale = jnp.where(norm > max_norm, max_norm / norm, 1)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), gradients)


class JaxTrainer(Trainer):
    """The training step, compiled as a whole; learning rate and step count are inputs of it."""

    compiles = (True,)

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._m = jax.tree.map(np.zeros_like, model.params)
        self._v = jax.tree.map(np.zeros_like, model.params)

    def _check(self, inputs, labels):
        self.model.check(inputs)
        checks.labels(spec(labels), decoder_of(self.model.module).config)

    def _step(self, inputs, labels, masks, correction1, correction2):
        self._check(inputs, labels)
        model, rate = self.model, self.lr / correction1
        state, draw = (model.params, self._m, self._v), next(model.draws)
        loss, (model.params, self._m, self._v) = _train(
            *(model.structure, self.pad, state, inputs, labels),
            *(masks, draw, self.max_norm, rate, correction2),
        )
        return loss

    def _loss(self, inputs, labels):
        self._check(inputs, labels)
        return _evaluate(self.model.structure, self.model.params, inputs, labels, self.pad)

    def _moments(self):
        return canonical(self._m), canonical(self._v)

    def _set_moments(self, m, v):
        self._m, self._v = native(m, self.model.params), native(v, self.model.params)


@functools.partial(jax.jit, static_argnames="structure")
def _start(structure, params, inputs):
    model = structure.merge(params)
    return model.decoder.init_state(model.encoder(*inputs), *inputs[1:])


@functools.partial(jax.jit, static_argnames=("structure", "k"), donate_argnames="state")
def _advance(structure, params, tokens, state, k):
    (logits, state), weights = call(decoder_of(structure.merge(params)), (tokens, state))
    log_probs = jax.nn.log_softmax(logits[:, -1])
    return log_probs, jax.lax.top_k(log_probs, k), weights, state


@functools.partial(jax.jit, static_argnames="structure")
def _take_rows(structure, params, state, rows):
    return decoder_of(structure.merge(params)).take_rows(state, rows)


class JaxDecoding(Decoding):
    """Decoding in JAX, one compiled call per token; it fills the state's caches in place."""

    def _start(self, inputs):
        if self.decoder is self.model.module:
            return self.model.merged().init_state(*inputs)
        self.model.module.encoder.check(*inputs)
        return _start(self.model.structure, self.model.params, inputs)

    def _advance(self, tokens, state, k):
        model, decoder = self.model, self.decoder
        state = decoder.reserve(state, tokens.shape[1], least=32)
        decoder.check(tokens, state)
        found = _advance(model.structure, model.params, tokens, state, k)
        self._log_probs, (best, ids), weights, state = found
        return best, ids, weights, state

    def _all(self, tokens, before):  # the state before is used up
        return self.model.backend.numpy(jax.lax.top_k(self._log_probs, self.vocab_size))

    @property
    def attention_weights(self):
        """As `Decoding.attention_weights`; recurrent decoders here have one array for all."""
        weights = super().attention_weights
        return list(weights) if isinstance(weights, np.ndarray) else weights

    def _take_rows(self, state, rows):
        return _take_rows(self.model.structure, self.model.params, state, rows)


class JaxBackend(Backend):
    """JAX with Flax NNX."""

    name, version = "jax", jax.__version__
    dtypes = ("float32", "float64", "bfloat16", "float16")
    _model, _trainer, _decoding = JaxModel, JaxTrainer, JaxDecoding

    def _gpus(self):
        return [device for device in jax.devices() if device.platform == "gpu"]

    def _use(self, gpu):
        jax.config.update("jax_default_device", jax.devices("cpu")[0] if gpu is None else gpu)
        if gpu is not None:
            jax.config.update("jax_default_matmul_precision", "highest")  # no TF32

    def forget(self):
        """As `Backend.forget`; after some thousand functions LLVM has no more memory maps."""
        jax.clear_caches()

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`."""
        outputs, _, gradients = vjp(
            lambda _, inputs: function(*inputs), {}, self.array(inputs), cotangent
        )
        return self.numpy(outputs), self.numpy(gradients)

    _array, _numpy = staticmethod(from_numpy), staticmethod(to_numpy)


BACKEND = JaxBackend()
