"""The reference behind the common interface: an ordinary backend, which also has long double.

Gradients are exact to rounding (`tangent`), at the price of time: they cost as much as the forward
pass times the number of parameters.
"""

import numpy as np

from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer
from d2l_ext.reference.layers import Dropout
from d2l_ext.reference.seq2seq import masked_loss
from d2l_ext.reference.tangent import gradient


class ReferenceModel(Model):
    """A reference module with its parameters."""

    def _build(self, inputs):
        if inputs:
            self.module(*inputs)

    def _read(self):
        return {name: getattr(owner, slot).copy() for name, owner, slot in self.module.slots()}

    def _write(self, params):
        for name, owner, slot in list(self.module.slots()):
            setattr(owner, slot, params[name])

    def prepare(self, training, masks):
        """Set the mode and the dropout masks of the next forward pass."""
        self.module.train(training)
        for path, module in self.module.modules():
            if isinstance(module, Dropout):
                given = masks is not None and path in masks
                module.given = masks[path].astype(self.dtype) if given else None

    def _forward(self, method, inputs, training, masks):
        self.prepare(training, masks)
        outputs = getattr(self.module, method)(*inputs)
        return outputs, getattr(self.module, "attention_weights", None)

    def _dropout_layers(self, inputs):
        layers = {p: m for p, m in self.module.modules() if isinstance(m, Dropout)}
        for layer in layers.values():
            layer.asked = None
        self._forward("forward", inputs, True, None)
        self.module.train(False)
        return {p: (m.rate, m.asked) for p, m in layers.items() if m.asked is not None}

    def gradients(self, function, inputs=()):
        """Differentiate a scalar that the module computes.

        Args:
            function: takes the inputs, runs the module and returns a scalar.
            inputs: arrays, nested.

        Returns:
            ``{name: gradient}``, and the gradient by the inputs, nested like them.
        """
        params = self._read()

        def run(values):
            self._write(dict(zip(params, values[0], strict=True)))
            return function(values[1])

        try:
            by_param, by_input = gradient(run, (list(params.values()), inputs))
        finally:
            self._write(params)
        return dict(zip(params, by_param, strict=True)), by_input

    def _vjp(self, inputs, cotangent, training, masks):
        self.prepare(training, masks)
        by_name, by_input = self.gradients(lambda x: _inner(self.module(*x), cotangent), inputs)
        outputs = self.module(*inputs)  # last, so that the weights that the module keeps are plain
        return outputs, by_name, by_input


def _inner(outputs, cotangent):
    """Sum of outputs times cotangents; a None is zero."""
    return sum((y * c).sum() for y, c in _pairs(outputs, cotangent))


def _pairs(outputs, cotangent):
    """Yield the outputs with their cotangents."""
    if outputs is None or cotangent is None:
        return
    if isinstance(outputs, (tuple, list)):
        for output, c in zip(outputs, cotangent, strict=True):
            yield from _pairs(output, c)
    else:
        yield outputs, cotangent


class ReferenceTrainer(Trainer):
    """The training step, written as its formula."""

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._m = {name: np.zeros_like(p) for name, p in model.parameters().items()}
        self._v = {name: np.zeros_like(p) for name, p in model.parameters().items()}

    def _step(self, inputs, labels, masks, correction1, correction2):
        self.model.prepare(True, masks)
        gradients, _ = self.model.gradients(lambda _: self._compute(inputs, labels))
        loss = self._compute(inputs, labels)
        self._update(self._clipped(gradients), correction1, correction2)
        return loss

    def _update(self, gradients, correction1, correction2):
        """Adam."""
        params = self.model.parameters()
        for name, g in gradients.items():
            self._m[name] = BETA1 * self._m[name] + (1 - BETA1) * g
            self._v[name] = BETA2 * self._v[name] + (1 - BETA2) * g * g
            m, v = self._m[name] / correction1, self._v[name] / correction2
            params[name] = params[name] - self.lr * m / (np.sqrt(v) + EPSILON)
        self.model.load_parameters(params)

    def _compute(self, inputs, labels):
        return masked_loss(self.model.module(*inputs), labels, self.pad)

    def _clipped(self, gradients):
        """Scale by max_norm / norm where the global norm exceeds max_norm."""
        norm = np.sqrt(sum((g * g).sum() for g in gradients.values()))
        if self.max_norm is None or not norm > self.max_norm:
            return gradients
        return {name: g * (self.max_norm / norm) for name, g in gradients.items()}

    def _loss(self, inputs, labels):
        self.model.prepare(False, None)
        return self._compute(inputs, labels)

    def _number(self, loss):
        """A float would cut a long double."""
        return loss if self.model.dtype == "longdouble" else float(loss)

    def _moments(self):
        return tuple({k: x.copy() for k, x in moment.items()} for moment in (self._m, self._v))

    def _set_moments(self, m, v):
        self._m, self._v = m, v


class ReferenceDecoding(Decoding):
    """Decoding with the reference."""

    def _start(self, inputs):
        self.model.prepare(False, None)
        module = self.model.module
        lens = inputs[1] if len(inputs) > 1 else None
        if self.decoder is module:
            return module.init_state(*inputs)
        return module.decoder.init_state(module.encoder(*inputs), lens)

    def _advance(self, tokens, state, k):
        decoder = self.decoder
        self.model.prepare(False, None)  # the model may have been called since
        logits, state = decoder(tokens, state)
        shifted = logits[:, -1] - logits[:, -1].max(axis=-1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        ids = np.argsort(-log_probs, axis=-1, kind="stable")[:, :k]
        weights = getattr(decoder, "attention_weights", None)
        return np.take_along_axis(log_probs, ids, axis=-1), ids, weights, state

    def _take_rows(self, state, rows):
        return self.decoder.take_rows(state, rows)


class ReferenceBackend(Backend):
    """Plain NumPy."""

    name, version = "reference", f"numpy {np.__version__}"
    dtypes = ("float32", "float64", "longdouble")
    _model, _trainer, _decoding = ReferenceModel, ReferenceTrainer, ReferenceDecoding

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`."""
        inputs = self.array(inputs)
        gradients = gradient(lambda x: _inner(function(*x), cotangent), inputs)
        return self.numpy(function(*inputs)), gradients

    def _array(self, x):
        return x.copy()

    def _numpy(self, y):
        return np.asarray(y)


BACKEND = ReferenceBackend()
