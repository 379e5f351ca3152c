"""JAX behind the common interface.

Everything is a pure function of its arrays, compiled once per module, method and shapes. Compiled
code sees no values, so what depends on values is checked before.
"""

import functools
import itertools

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer
from d2l_ext.jax.layers import Dropout, seen
from d2l_ext.jax.seq2seq import masked_loss

jax.config.update("jax_enable_x64", True)

# Flax's names of leaves, where they are not PyTorch's.
_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}


def _canonical(path):
    """Turn a path of Flax's into PyTorch's; blocks are entries of a dictionary in both."""
    *owners, leaf = path
    return ".".join((*owners, _LEAVES.get(leaf, leaf))).replace("_block", ".block")


def from_numpy(x, dtype=None):
    """Copy an array to JAX; nothing is compiled, as `jnp.array` would for every new shape."""
    return jax.device_put(np.array(x, dtype))


def to_numpy(x):
    """Copy an array to NumPy, which has no bfloat16."""
    return np.array(x, np.float32 if x.dtype == jnp.bfloat16 else None)


def canonical(tree):
    """Return ``{canonical name: ndarray}`` of a parameter tree."""
    flat = {path: to_numpy(x) for path, x in flatten_dict(tree).items()}
    return {_canonical(path): _transposed(path, x) for path, x in flat.items()}


def native(params, like):
    """Undo `canonical`, for a tree like the given one."""
    flat = {
        path: from_numpy(_transposed(path, params[_canonical(path)]), old.dtype)
        for path, old in flatten_dict(like).items()
    }
    return unflatten_dict(flat)


def _transposed(path, x):
    """Transpose the matrix of an `nn.Dense`, which is the other way round than PyTorch's."""
    return np.ascontiguousarray(x.T) if path[-1] == "kernel" else x


def variables(params, masks):
    """Return the collections that a module runs on: parameters and given dropout masks."""
    flat = {
        (*path.replace(".block", "_block").split("."), "mask"): mask
        for path, mask in (masks or {}).items()
    }
    return {"params": params, "masks": unflatten_dict(flat)}


def run(module, params, inputs, training=False, masks=None, draw=0):
    """Run a module; return its outputs and its attention weights, or None."""
    outputs, kept = module.apply(
        variables(params, masks),
        *inputs,
        training=training,
        rngs={"dropout": jax.random.key(draw)},
        mutable="intermediates",
    )
    return outputs, module.attention_weights(kept.get("intermediates", {}))


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


_run = jax.jit(run, static_argnames=("module", "training"))


@functools.partial(jax.jit, static_argnames=("module", "training"))
def _vjp(module, params, inputs, cotangent, training, masks, draw):
    def function(params, inputs):
        return run(module, params, inputs, training, masks, draw)[0]

    return vjp(function, params, inputs, cotangent)


class JaxModel(Model):
    """A linen module with a tree of parameters."""

    def check(self, inputs):
        """Check concrete inputs, which compiled code does not see."""
        if hasattr(self.module, "check"):
            self.module.check(*inputs)

    def _build(self, inputs):
        self.check(inputs)
        self.draws = itertools.count(self.seed)  # seeds of JAX's own dropout
        shapes = jax.eval_shape(lambda: self.module.init(jax.random.key(0), *inputs))
        self.params = jax.tree.map(
            lambda x: np.zeros(x.shape, jnp.dtype(self.dtype)), shapes.get("params", {})
        )

    def _cast(self, x):
        return x.astype(self.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    def _read(self):
        return canonical(self.params)

    def _write(self, params):
        self.params = native(params, self.params)

    def _forward(self, method, inputs, training, masks):
        if method == "forward":
            self.check(inputs)
            return _run(self.module, self.params, inputs, training, masks, next(self.draws))
        return self.module.apply({"params": self.params}, *inputs, method=method), None

    def _dropout_layers(self, inputs):
        self.check(inputs)
        layers = {}

        def record(mask, args, kwargs, context):
            result = mask(*args, **kwargs)
            layer = context.module
            if isinstance(layer, Dropout) and context.method_name == "mask" and result is not None:
                layers[_canonical(layer.path)] = (layer.rate, result.shape)
            return result

        with nn.intercept_methods(record):
            function = functools.partial(run, self.module, training=True)
            jax.eval_shape(function, self.params, inputs)
        return layers

    def _vjp(self, inputs, cotangent, training, masks):
        self.check(inputs)
        draw = next(self.draws)
        outputs, gradients, input_gradients = _vjp(
            self.module, self.params, inputs, cotangent, training, masks, draw
        )
        numpy = self.backend.numpy
        return numpy(outputs), canonical(gradients), numpy(input_gradients)


def _loss(module, params, inputs, labels, pad, training=False, masks=None, draw=0):
    logits, _ = run(module, params, inputs, training, masks, draw)
    return masked_loss(logits, labels, pad)


_evaluate = jax.jit(_loss, static_argnames=("module", "pad", "training"))


@functools.partial(jax.jit, static_argnames=("module", "pad"), donate_argnames="state")
def _train(module, pad, state, inputs, labels, masks, draw, max_norm, rate, correction):
    """One step of Adam: the loss, and the parameters and moments that replace the old ones."""
    params, m, v = state

    def loss_of(params):
        return _loss(module, params, inputs, labels, pad, True, masks, draw)

    loss, gradients = jax.value_and_grad(loss_of)(params)
    gradients = _clip(gradients, max_norm)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)

    def update(p, m, v):
        return p - rate * m / (jnp.sqrt(v / correction) + EPSILON)

    return loss, (jax.tree.map(update, params, m, v), m, v)


def _clip(gradients, max_norm):
    """Scale by max_norm / norm where the global norm exceeds max_norm."""
    if max_norm is None:
        return gradients
    norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(gradients)))
    scale = jnp.where(norm > max_norm, max_norm / norm, 1)
    return jax.tree.map(lambda g: g * scale.astype(g.dtype), gradients)


class JaxTrainer(Trainer):
    """The training step, compiled as a whole; learning rate and step count are inputs of it."""

    def __init__(self, model, lr, max_norm=None, pad=None):
        super().__init__(model, lr, max_norm, pad)
        self._m = jax.tree.map(np.zeros_like, model.params)
        self._v = jax.tree.map(np.zeros_like, model.params)

    def _check(self, inputs, labels):
        self.model.check(inputs)
        checks.tokens("Y", seen(labels), self.model.module.decoder.config["vocab_size"])

    def _step(self, inputs, labels, masks, correction1, correction2):
        self._check(inputs, labels)
        model, rate = self.model, self.lr / correction1
        state, draw = (model.params, self._m, self._v), next(model.draws)
        loss, (model.params, self._m, self._v) = _train(
            *(model.module, self.pad, state, inputs, labels),
            *(masks, draw, self.max_norm, rate, correction2),
        )
        return loss

    def _loss(self, inputs, labels):
        self._check(inputs, labels)
        return _evaluate(self.model.module, self.model.params, inputs, labels, self.pad)

    def _moments(self):
        return canonical(self._m), canonical(self._v)

    def _set_moments(self, m, v):
        self._m, self._v = native(m, self.model.params), native(v, self.model.params)


@functools.partial(jax.jit, static_argnames="module")
def _start(module, params, inputs):
    enc_outputs = module.encoder.apply({"params": params["encoder"]}, *inputs)
    state = {"params": params["decoder"]}, enc_outputs, *inputs[1:]
    return module.decoder.apply(*state, method="init_state")


@functools.partial(jax.jit, static_argnames=("decoder", "k"), donate_argnames="state")
def _advance(decoder, params, tokens, state, k):
    (logits, state), weights = run(decoder, params, (tokens, state))
    log_probs = jax.nn.log_softmax(logits[:, 0])
    return log_probs, jax.lax.top_k(log_probs, k), weights, state


@functools.partial(jax.jit, static_argnames="decoder")
def _select(decoder, state, rows):
    return decoder.select(state, rows)


class JaxDecoding(Decoding):
    """Decoding in JAX, one compiled call per token; it fills the state's caches in place."""

    def _start(self, inputs):
        self.model.module.encoder.check(*inputs)
        return _start(self.model.module, self.model.params, inputs)

    def _advance(self, tokens, state, k):
        decoder = self.model.module.decoder
        decoder.check(tokens, state)
        state = decoder.reserve(state, 1, least=32)
        params = self.model.params["decoder"]
        self._log_probs, (best, ids), weights, state = _advance(decoder, params, tokens, state, k)
        return best, ids, weights, state

    def _all(self, tokens, before):  # the state before is used up
        return self.model.backend.numpy(jax.lax.top_k(self._log_probs, self.vocab_size))

    def _select(self, state, rows):
        return _select(self.model.module.decoder, state, rows)


class JaxBackend(Backend):
    """JAX with Flax linen."""

    name, version = "jax", jax.__version__
    dtypes = ("float32", "float64", "bfloat16", "float16")
    _model, _trainer, _decoding = JaxModel, JaxTrainer, JaxDecoding

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
