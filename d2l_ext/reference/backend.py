"""The reference behind the common interface: exact gradients by complex step, and no trainer."""

import numpy as np

from d2l_ext.interface import Backend, Decoding, Model, nest
from d2l_ext.reference.layers import Dropout

STEP = 1e-30  # no difference is taken, so the step only has to be small


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

    def _forward(self, method, inputs, training, masks):
        self._set_masks(training, masks)
        outputs = getattr(self.module, method)(*inputs)
        return outputs, getattr(self.module, "attention_weights", None)

    def _set_masks(self, training, masks):
        self.module.train(training)
        for path, module in self.module.modules():
            if isinstance(module, Dropout):
                given = masks is not None and path in masks
                module.given = masks[path].astype(self.dtype) if given else None

    def _dropout_layers(self, inputs):
        layers = {p: m for p, m in self.module.modules() if isinstance(m, Dropout)}
        for layer in layers.values():
            layer.asked = None
        self._forward("forward", inputs, True, None)
        self.module.train(False)
        return {p: (m.rate, m.asked) for p, m in layers.items() if m.asked is not None}

    def _vjp(self, inputs, cotangent, training, masks):
        self._set_masks(training, masks)
        outputs = self.module(*inputs)
        real = self._read()
        self._write({name: _complex(value) for name, value in real.items()})
        try:
            gradients = {
                name: _gradient(lambda: self.module(*inputs), getattr(owner, slot), cotangent)
                for name, owner, slot in list(self.module.slots())
            }
        finally:
            self._write(real)
        input_gradients = _input_gradients(self.module, inputs, cotangent)
        self.module(*inputs)  # so that the attention weights kept are real again
        return outputs, gradients, input_gradients


def _complex(x):
    return x.astype(np.result_type(x, np.complex64)) if x.dtype.kind == "f" else x


def _gradient(run, x, cotangent):
    """Gradient of the outputs' product with the cotangent, by one complex step per entry of x."""
    gradient = np.zeros(x.shape, x.real.dtype)
    flat, result = x.reshape(-1), gradient.reshape(-1)
    for i in range(flat.size):
        start = flat[i]
        flat[i] = start + 1j * STEP
        result[i] = _inner(run(), cotangent) / STEP
        flat[i] = start
    return gradient


def _inner(outputs, cotangent):
    """Imaginary part of the sum of outputs times cotangents; a None is zero."""
    if cotangent is None or outputs is None:
        return 0.0
    if isinstance(cotangent, (tuple, list)):
        return sum(_inner(o, c) for o, c in zip(outputs, cotangent, strict=True))
    return float((np.asarray(outputs).imag * cotangent).sum(dtype=cotangent.dtype))


def _input_gradients(function, inputs, cotangent):
    inputs = nest(_complex, inputs)

    def gradient(x):
        if x.dtype.kind != "c":
            return None
        return _gradient(lambda: function(*inputs), x, cotangent)

    return nest(gradient, inputs)


class ReferenceDecoding(Decoding):
    """Decoding with the reference."""

    def _start(self, inputs):
        module = self.model.module
        module.train(False)
        lens = inputs[1] if len(inputs) > 1 else None
        return module.decoder.init_state(module.encoder(*inputs), lens)

    def _advance(self, tokens, state, k):
        decoder = self.model.module.decoder
        logits, state = decoder(tokens, state)
        shifted = logits[:, 0] - logits[:, 0].max(axis=-1, keepdims=True)
        log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        ids = np.argsort(-log_probs, axis=-1, kind="stable")[:, :k]
        weights = getattr(decoder, "attention_weights", None)
        return np.take_along_axis(log_probs, ids, axis=-1), ids, weights, state

    def _select(self, state, rows):
        return self.model.module.decoder.select(state, rows)


class ReferenceBackend(Backend):
    """Plain NumPy."""

    name, version = "reference", f"numpy {np.__version__}"
    _model, _decoding = ReferenceModel, ReferenceDecoding

    def trainer(self, model, lr, max_norm=None, pad=None, **options):
        """The reference has no trainer: always a NotImplementedError."""
        raise NotImplementedError("the reference backend computes gradients but does not train")

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`, by complex step."""
        gradients = _input_gradients(function, inputs, cotangent)
        return function(*nest(np.asarray, inputs)), gradients

    def _array(self, x):
        return x.copy()

    def _numpy(self, y):
        return np.asarray(y)


BACKEND = ReferenceBackend()
