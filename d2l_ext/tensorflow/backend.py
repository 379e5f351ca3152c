"""TensorFlow behind the common interface.

Forward passes and gradients run eagerly; the training step is one compiled function, and so is a
step of decoding. Compiled code sees no values, so what depends on values is checked before.
"""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from d2l_ext import checks
from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer, decoder_of
from d2l_ext.nested import leaves, nest
from d2l_ext.tensorflow.layers import Dropout, spec
from d2l_ext.tensorflow.seq2seq import masked_loss

# Keras's names, where they are not PyTorch's. A dense layer keeps W transposed.
_NAMES = {
    keras.layers.Dense: {"weight": "kernel", "bias": "bias"},
    keras.layers.Embedding: {"weight": "embeddings"},
    keras.layers.LayerNormalization: {"weight": "gamma", "bias": "beta"},
}


def layers(layer, prefix=""):
    """Yield ``(canonical path, layer)`` for a layer and all below it.

    Attributes are walked, because two of Keras's own paths can be the same.
    """
    yield prefix, layer
    attributes = {k: v for k, v in vars(layer).items() if k != "config" and not k.startswith("_")}
    for name, value in attributes.items():
        children = value if isinstance(value, dict) else {"": value}
        for key, child in children.items():
            if isinstance(child, keras.Layer):
                path = ".".join(filter(None, (prefix, name, key)))
                yield from layers(child, path)


def variables(layer):
    """Yield ``(canonical name, variable, whether it is the transpose)`` of all parameters."""
    for path, owner in layers(layer):
        names = next((names for kind, names in _NAMES.items() if isinstance(owner, kind)), None)
        if names is None:
            names = {k: k for k, v in vars(owner).items() if isinstance(v, keras.Variable)}
        for name, attribute in names.items():
            variable = getattr(owner, attribute) if owner.built else None
            if variable is not None:
                yield f"{path}.{name}".lstrip("."), variable.value, attribute == "kernel"


class TensorFlowModel(Model):
    """A Keras layer with the common initial parameters."""

    def _build(self, inputs):
        for _, layer in layers(self.module):
            layer.dtype_policy = self.dtype
        if inputs:
            self.module(*inputs)  # creates the weights
        self._slots = list(variables(self.module))
        self.variables = [variable for _, variable, _ in self._slots]
        for name, variable, _ in self._slots:
            if variable.dtype.name != self.dtype:
                raise ValueError(f"{name}: got dtype {variable.dtype.name}, must be {self.dtype}")

    def canonical(self, tensors):
        """Return ``{canonical name: array}`` of tensors that belong to the variables."""
        return {
            name: np.ascontiguousarray(x.T) if transposed else x
            for (name, _, transposed), x in zip(self._slots, BACKEND.numpy(tensors), strict=True)
        }

    def native(self, arrays):
        """Undo `canonical`, to NumPy."""
        return [
            arrays[name].T if transposed else arrays[name] for name, _, transposed in self._slots
        ]

    def _read(self):
        return self.canonical(self.variables)

    def _write(self, params):
        assign(self.variables, self.native(params))

    @contextlib.contextmanager
    def given(self, masks):
        """Give the dropout layers their masks for one forward pass; None lets them draw."""
        dropouts = [(p, layer) for p, layer in layers(self.module) if isinstance(layer, Dropout)]
        try:
            for path, layer in dropouts:
                mask = None if masks is None else masks.get(path)
                layer.given = None if mask is None else tf.cast(mask, self.dtype)
            yield dropouts
        finally:
            for _, layer in dropouts:
                layer.given = None

    def _cast(self, x):
        return tf.cast(x, self.dtype) if x.dtype.is_floating else x

    def _forward(self, method, inputs, training, masks):
        if method != "forward":
            return getattr(self.module, method)(*inputs), None
        with self.given(masks):
            outputs = self.module(*inputs, training=training)
        return outputs, getattr(self.module, "attention_weights", None)

    def _dropout_layers(self, inputs):
        with self.given(None) as dropouts:
            for _, layer in dropouts:
                layer.asked = None
            self.module(*inputs, training=True)
        return {p: (layer.rate, layer.asked) for p, layer in dropouts if layer.asked is not None}

    def _vjp(self, inputs, cotangent, training, masks):
        with self.given(masks):
            function = functools.partial(self.module, training=training)
            outputs, gradients, input_gradients = vjp(function, inputs, cotangent, self.variables)
        return outputs, self.canonical(gradients), input_gradients

    @functools.cached_property
    def first_state(self):
        """`first_state`, compiled."""
        return compiled(functools.partial(first_state, self.module))

    @functools.cached_property
    def best_tokens(self):
        """`best_tokens`, compiled."""
        return compiled(functools.partial(best_tokens, decoder_of(self.module)))


def compiled(function):
    """Compile a function to a graph; after a few calls of different sizes, for any size."""
    return tf.function(function, autograph=False, reduce_retracing=True)


def _is_news(record):
    """Return whether a warning is not that of retracing, for trainers.

    Each compiles its own step, once. TensorFlow counts by the code, and takes five trainers for
    one that compiles five times.
    """
    text = record.getMessage()
    return not ("tf.function retracing" in text and "Trainer." in text)


tf.get_logger().addFilter(_is_news)


def assign(variables, values):
    """Set variables one by one."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(tf.cast(value, variable.dtype))


def vjp(function, inputs, cotangent, variables=()):
    """Return outputs, gradients of the variables as tensors, and input gradients."""
    with tf.GradientTape() as tape:
        floats = [x for x in leaves(inputs) if x.dtype.is_floating]
        tape.watch(floats)
        outputs = function(*inputs)
    pairs = list(_pairs(outputs, cotangent))
    gradients = dense_gradients(
        tape, [y for y, _ in pairs], [*variables, *floats], [tf.cast(c, y.dtype) for y, c in pairs]
    )
    rest = iter(gradients[len(variables) :])
    input_gradients = nest(lambda x: next(rest) if x.dtype.is_floating else None, inputs)
    return BACKEND.numpy(outputs), gradients[: len(variables)], BACKEND.numpy(input_gradients)


def _pairs(outputs, cotangent):
    """Yield the floating outputs with their cotangents."""
    if outputs is None or cotangent is None:
        return
    if isinstance(outputs, (tuple, list)):
        for output, c in zip(outputs, cotangent, strict=True):
            yield from _pairs(output, c)
    elif outputs.dtype.is_floating:
        yield outputs, cotangent


def dense_gradients(tape, targets, sources, cotangents=None):
    """Return gradients, zero where there is none; that of an embedding comes as sparse rows."""
    gradients = tape.gradient(targets, sources, cotangents, unconnected_gradients="zero")
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


class TensorFlowTrainer(Trainer):
    """The training step as one graph; learning rate and step count are inputs of it."""

    compiles = (True, False)

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._m = [tf.Variable(tf.zeros_like(p)) for p in model.variables]
        self._v = [tf.Variable(tf.zeros_like(p)) for p in model.variables]
        self._train = tf.function(self._update, autograph=False, jit_compile=self.compile)
        self._evaluate = tf.function(self._compute, autograph=False)

    def _check(self, inputs, labels):
        if hasattr(self.model.module, "check"):
            self.model.module.check(*inputs)
        checks.labels(spec(labels), decoder_of(self.model.module).config)

    def _compute(self, inputs, labels, training=False):
        return masked_loss(self.model.module(*inputs, training=training), labels, self.pad)

    def _step(self, inputs, labels, masks, correction1, correction2):
        self._check(inputs, labels)
        rates = tf.constant([self.lr / correction1, correction2], self.model.dtype)
        return self._train(inputs, labels, masks, rates)

    def _update(self, inputs, labels, masks, rates):
        """One step of Adam on all variables; `rates` has the step size and v's correction."""
        with tf.GradientTape() as tape, self.model.given(masks):
            loss = self._compute(inputs, labels, training=True)
        self._adam(dense_gradients(tape, loss, self.model.variables), rates)
        return loss

    def _adam(self, gradients, rates):
        """Clip, and update parameters and moments."""
        gradients = self._clip(gradients)
        for p, m, v, g in zip(self.model.variables, self._m, self._v, gradients, strict=True):
            m.assign_add((1 - BETA1) * (g - m))
            v.assign(BETA2 * v + (1 - BETA2) * g * g)
            p.assign_sub(rates[0] * m / (tf.sqrt(v / rates[1]) + EPSILON))

    def _clip(self, gradients):
        """Scale by max_norm / norm where the global norm exceeds max_norm."""
        if self.max_norm is None:
            return gradients
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(g * g) for g in gradients]))
        scale = tf.where(norm > self.max_norm, self.max_norm / norm, tf.ones_like(norm))
        return [g * scale for g in gradients]

    def _loss(self, inputs, labels):
        self._check(inputs, labels)
        return self._evaluate(inputs, labels)

    def _moments(self):
        return self.model.canonical(self._m), self.model.canonical(self._v)

    def _set_moments(self, m, v):
        assign(self._m, self.model.native(m))
        assign(self._v, self.model.native(v))


def first_state(module, *inputs):
    """Encode; return the state that decoding starts from."""
    lens = inputs[1] if len(inputs) > 1 else None
    return module.decoder.init_state(module.encoder(*inputs), lens)


def best_tokens(decoder, tokens, state, k):
    """Feed tokens; return log-probabilities and ids of the k best next ones, and the new state."""
    logits, state = decoder(tokens, state)
    log_probs, ids = tf.math.top_k(tf.nn.log_softmax(logits[:, -1]), k)
    return log_probs, ids, state


class TensorFlowDecoding(Decoding):
    """Decoding in TensorFlow, one compiled call per token, or eager if weights are kept.

    A language model's caches have room, so that their shapes, and the trace, stay for many tokens.
    """

    def _start(self, inputs):
        if self.decoder is self.model.module:
            return self.decoder.init_state(*inputs)
        self.model.module.encoder.check(*inputs)
        return self.model.first_state(*inputs)

    def _advance(self, tokens, state, k):
        decoder = self.decoder
        state = decoder.reserve(state, tokens.shape[1], least=32)
        if self.keep_weights:
            log_probs, ids, state = best_tokens(decoder, tokens, state, k)
            return log_probs, ids, getattr(decoder, "attention_weights", None), state
        decoder.check(tokens, state)
        # As a tensor: a number would be traced again for every beam.
        log_probs, ids, state = self.model.best_tokens(tokens, state, tf.constant(k))
        return log_probs, ids, None, state

    def _take_rows(self, state, rows):
        return self.decoder.take_rows(state, rows)


class TensorFlowBackend(Backend):
    """TensorFlow with Keras 3."""

    name, version = "tensorflow", tf.__version__
    dtypes = ("float32", "float64", "bfloat16", "float16")
    _model, _trainer, _decoding = TensorFlowModel, TensorFlowTrainer, TensorFlowDecoding
    _scope = contextlib.nullcontext()

    def _gpus(self):
        return tf.config.list_logical_devices("GPU")

    def _use(self, gpu):
        self._scope.__exit__(None, None, None)
        self._scope = tf.device("CPU:0" if gpu is None else gpu.name)
        self._scope.__enter__()
        if gpu is not None:
            tf.config.experimental.enable_tensor_float_32_execution(False)

    @contextlib.contextmanager
    def eagerly(self, wanted=True):
        """As `Backend.eagerly`."""
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(wanted)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`."""
        outputs, _, gradients = vjp(function, self.array(inputs), cotangent)
        return outputs, gradients

    def _array(self, x):
        return tf.constant(x.copy())

    def _numpy(self, y):
        y = tf.cast(y, "float32") if y.dtype == "bfloat16" else tf.convert_to_tensor(y)
        return np.asarray(y.numpy())


BACKEND = TensorFlowBackend()
