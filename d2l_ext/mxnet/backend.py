"""MXNet behind the common interface."""

import contextlib
import functools
import math

import mxnet as mx
import numpy
from mxnet import autograd, npx
from mxnet import np as mnp

from d2l_ext import checks
from d2l_ext.interface import (
    BETA1,
    BETA2,
    EPSILON,
    Backend,
    Decoding,
    Model,
    Trainer,
    decoder_of,
)
from d2l_ext.mxnet.graph import Graph, LossGraph
from d2l_ext.mxnet.layers import Dropout, spec
from d2l_ext.mxnet.positional import PositionalEncoding
from d2l_ext.mxnet.seq2seq import masked_loss
from d2l_ext.nested import leaves, nest

# MXNet has no other dtypes; integers of other sizes become int64.
DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool")


class MXNetModel(Model):
    """A Gluon block with the common initial parameters."""

    def _build(self, inputs):
        self.graphs = {}  # of decoding
        # Gluon finds the sizes of lazy weights in float32 only, so the dtype is set afterwards.
        self.module.cast("float32")
        self.module.initialize(force_reinit=True)
        if inputs:
            self.module(*nest(lambda x: x.astype("float32") if is_floating(x) else x, inputs))
        self.module.cast(self.dtype)

    def _params(self):
        return self.module._collect_params_with_prefix()  # as `save_parameters` names them

    def _read(self):
        return {name: param.data().asnumpy() for name, param in self._params().items()}

    def _write(self, params):
        for name, param in self._params().items():
            param.set_data(self.backend.array(params[name]))

    def prepare(self, masks, keep_weights):
        """Set the dropout masks of the next forward pass, and return them."""
        given = []
        for path, block in blocks(self.module):
            if isinstance(block, Dropout):
                mask = None if masks is None else masks.get(path)
                block.given = None if mask is None else self.cast(mask)
                given.append(block.given)
            if hasattr(block, "keep_weights"):
                block.keep_weights = keep_weights
        return given

    def _forward(self, method, inputs, training, masks):
        self.prepare(masks, keep_weights=True)
        with autograd.train_mode() if training else autograd.predict_mode():
            outputs = getattr(self.module, method)(*inputs)
        return outputs, getattr(self.module, "attention_weights", None)

    def _dropout_layers(self, inputs):
        layers = {path: block for path, block in blocks(self.module) if isinstance(block, Dropout)}
        for layer in layers.values():
            layer.asked = None
        self._forward("forward", inputs, True, None)
        return {p: (layer.rate, layer.asked) for p, layer in layers.items() if layer.asked}

    def _vjp(self, inputs, cotangent, training, masks):
        self.prepare(masks, keep_weights=True)
        params = self._params()
        outputs, input_gradients = vjp(self.module, inputs, cotangent, params.values(), training)
        return outputs, {k: p.grad().asnumpy() for k, p in params.items()}, input_gradients


def blocks(block, path=""):
    """Yield ``(path, block)`` for a block and all below it."""
    yield path, block
    for name, child in block._children.items():
        yield from blocks(child, f"{path}.{name}" if path else name)


def constants(block):
    """List what a graph of a block uses besides its inputs: tables and parameters."""
    tables = [b.P for _, b in blocks(block) if isinstance(b, PositionalEncoding)]
    return [*tables, *(param.data() for param in block.collect_params().values())]


def is_floating(x):
    """Return whether an array holds floating-point numbers."""
    return numpy.issubdtype(x.dtype, numpy.floating)


def clear_gradients(params):
    """Set gradients to zero: a backward pass leaves those of unused parameters as they were."""
    gradients = [param.grad().as_nd_ndarray() for param in params]
    if gradients:
        mx.nd.reset_arrays(*gradients, num_arrays=len(gradients))


def vjp(function, inputs, cotangent, params=(), training=False):
    """Differentiate the sum of outputs times cotangents; parameters keep their gradients."""
    wanted = [x for x in leaves(inputs) if is_floating(x)]
    for x in wanted:
        x.attach_grad()
    clear_gradients(params)
    total = mnp.zeros(())
    total.attach_grad()  # so that there is something to differentiate, whatever the outputs are
    with autograd.record(train_mode=training):
        outputs = function(*nest(lambda x: x, inputs))  # a state may be changed: not this one
        for y, c in pairs(outputs, cotangent):
            total = total + (y * mnp.array(c, dtype=y.dtype)).sum()
    total.backward()
    gradients = nest(lambda x: x.grad.asnumpy() if is_floating(x) else None, inputs)
    return BACKEND.numpy(outputs), gradients


def pairs(outputs, cotangent):
    """Yield the floating outputs with their cotangents; a None is zero."""
    if outputs is None or cotangent is None:
        return
    if isinstance(outputs, (tuple, list)):
        for output, c in zip(outputs, cotangent, strict=True):
            yield from pairs(output, c)
    elif is_floating(outputs):
        yield outputs, cotangent


class MXNetTrainer(Trainer):
    """The training step; compiled, the loss and its gradients are one operator for each shape."""

    compiles = (True, False)

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._params, self._graphs = model._params(), {}
        self._m, self._v = (
            {k: mnp.zeros_like(p.data()) for k, p in self._params.items()} for _ in range(2)
        )

    def _step(self, inputs, labels, masks, correction1, correction2):
        clear_gradients(self._params.values())
        with autograd.record():
            loss = self._training_loss(inputs, labels, masks)
        loss.backward()
        self._adam(correction1, correction2)
        return loss.item()

    def _training_loss(self, inputs, labels, masks):
        given = self.model.prepare(masks, keep_weights=False)
        if not self.compile:
            return self._masked_loss(inputs, labels)
        graph = self._graph(inputs, labels, given)
        if graph.operator is not None:  # otherwise the model checks, as it runs
            self._check(inputs, labels)
        return graph(inputs, labels, given)

    def _masked_loss(self, inputs, labels, given=None):
        """Return the loss; what masks are ``given`` is set in the model already."""
        return masked_loss(self.model.module(*inputs), labels, self.pad)

    def _check(self, inputs, labels):
        """Check what a graph does not."""
        if hasattr(self.model.module, "check"):
            self.model.module.check(*inputs)
        checks.labels(spec(labels), decoder_of(self.model.module).config)

    def _graph(self, *inputs):
        """Return the graph of the loss of such inputs; the first one keeps its memory."""
        key = repr(nest(lambda x: (x.shape, x.dtype), inputs))
        if key not in self._graphs:
            known, static = constants(self.model.module), not self._graphs
            self._graphs[key] = LossGraph(self._masked_loss, known, static)
        return self._graphs[key]

    def _adam(self, correction1, correction2):
        """Clip the gradients, and update parameters and moments."""
        self._clip()
        for name, param in self._params.items():
            self._update(name, param, correction1, correction2)

    def _clip(self):
        """Scale by max_norm / norm where the global norm exceeds max_norm."""
        if self.max_norm is None:
            return
        gradients = [param.grad() for param in self._params.values()]
        norm = math.sqrt(sum(square(g) for g in gradients).item())
        if norm > self.max_norm:
            for g in gradients:
                g *= self.max_norm / norm

    def _update(self, name, param, correction1, correction2):
        """Adam, in place."""
        p, g, m, v = param.data(), param.grad(), self._m[name], self._v[name]
        v += (1 - BETA2) * (g * g - v)
        if self.model.dtype == "float32":
            self._move((p, g, m, v), correction1, correction2)
        else:
            m += (1 - BETA1) * (g - m)
            p -= (self.lr / correction1) * m / (mnp.sqrt(v / correction2) + EPSILON)

    def _move(self, arrays, correction1, correction2):
        """Update parameters and m by one operator, in which numbers are float32.

        Its 1 - beta2 would be off by 1.3e-5, so it is told to leave v as it is.
        """
        root = math.sqrt(correction2)
        p, g, m, v = (x.as_nd_ndarray() for x in arrays)
        lr, epsilon = self.lr / correction1 * root, EPSILON * root
        mx.nd.adam_update(p, g, m, v, lr=lr, beta1=BETA1, beta2=1, epsilon=epsilon, out=p)

    def _loss(self, inputs, labels):
        self.model.prepare(None, keep_weights=False)
        return self._masked_loss(inputs, labels).item()

    def _moments(self):
        return tuple({k: x.asnumpy() for k, x in moment.items()} for moment in (self._m, self._v))

    def _set_moments(self, m, v):
        self._m = {k: self.model.backend.array(m[k]) for k in self._params}
        self._v = {k: self.model.backend.array(v[k]) for k in self._params}


def square(x):
    """Return the product of an array with itself, by the operator that is fast at it."""
    flat = x.as_nd_ndarray().reshape(-1)
    return mx.nd.dot(flat, flat).as_np_ndarray()


class MXNetDecoding(Decoding):
    """Decoding in MXNet, one `Graph` per token; weights can be kept outside of one only.

    A language model decodes without a graph: it fills its caches in place. So do several tokens at
    once: a graph has one step.
    """

    def _start(self, inputs):
        self.model.prepare(None, self.keep_weights)
        module, lens = self.model.module, inputs[1] if len(inputs) > 1 else None
        if self.decoder is module:
            return module.init_state(*inputs)
        return module.decoder.init_state(module.encoder(*inputs), lens)

    def _advance(self, tokens, state, k):
        decoder = self.decoder
        if decoder is self.model.module:
            state = decoder.reserve(state, tokens.shape[1], least=32)
        if self.keep_weights or decoder is self.model.module or tokens.shape[1] > 1:
            log_probs, ids, state = best_tokens(decoder, k, tokens, state)
            return log_probs, ids, getattr(decoder, "attention_weights", None), state
        decoder.check(tokens, state)
        log_probs, ids, state = self._graph(tokens, state, k)(tokens, state)
        return log_probs, ids, None, state

    def _graph(self, tokens, state, k):
        """Return the graph of a step: for a number of rows, and for sentences of any length."""
        decoder, graphs = self.decoder, self.model.graphs
        key = k, len(tokens), repr(nest(lambda x: "array", state))
        if key not in graphs:
            graphs[key] = Graph(functools.partial(best_tokens, decoder, k), constants(decoder))
        return graphs[key]

    def _take_rows(self, state, rows):
        return self.decoder.take_rows(state, rows)


def best_tokens(decoder, k, tokens, state):
    """Decode tokens: the k best next log-probabilities and ids (rows, k), and the new state."""
    logits, state = decoder(tokens, state)
    # A graph, which has one step, can squeeze; it has no shapes to cut by.
    logits = mnp.squeeze(logits, 1) if tokens.shape[1] == 1 else logits[:, -1]
    best, ids = npx.topk(logits, k=k, axis=-1, ret_typ="both", dtype="int64")
    # As in `masked_loss`: log p = x - x_b + log p_b, with b the most likely token.
    log_p = mnp.log(npx.pick(npx.softmax(logits, axis=-1), ids[:, 0], keepdims=True))
    return best - best[:, :1] + log_p, ids, state


class MXNetBackend(Backend):
    """MXNet."""

    name, version = "mxnet", mx.__version__
    _model, _trainer, _decoding = MXNetModel, MXNetTrainer, MXNetDecoding
    _scope = contextlib.nullcontext()

    def _gpus(self):
        return [mx.gpu(number) for number in range(mx.context.num_gpus())]

    def _use(self, gpu):
        self._scope.__exit__(None, None, None)
        self._scope = mx.cpu() if gpu is None else gpu
        self._scope.__enter__()

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`."""
        return vjp(function, self.array(inputs), cotangent)

    def _array(self, x):
        if x.dtype.name in DTYPES:
            return mnp.array(x, dtype=x.dtype.name)
        if numpy.issubdtype(x.dtype, numpy.integer):
            return mnp.array(x, dtype="int64")
        raise ValueError(f"got dtype {x.dtype}, which MXNet does not have")

    def _numpy(self, y):
        return y.asnumpy()


BACKEND = MXNetBackend()
