"""MXNet behind the common interface."""

import contextlib
import functools
import math

import mxnet as mx
import numpy
from mxnet import autograd, npx
from mxnet import np as mnp

from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer
from d2l_ext.mxnet.layers import Dropout
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
        """Set the dropout masks of the next forward pass."""
        for path, block in blocks(self.module):
            if isinstance(block, Dropout):
                given = None if masks is None else masks.get(path)
                block.given = None if given is None else self.cast(given)
            if hasattr(block, "keep_weights"):
                block.keep_weights = keep_weights

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
    """The training step, eager."""

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._params = model._params()
        self._m, self._v = (
            {k: mnp.zeros_like(p.data()) for k, p in self._params.items()} for _ in range(2)
        )

    def _step(self, inputs, labels, masks, correction1, correction2):
        self.model.prepare(masks, keep_weights=False)
        clear_gradients(self._params.values())
        with autograd.record():
            loss = masked_loss(self.model.module(*inputs), labels, self.pad)
        loss.backward()
        self._adam(correction1, correction2)
        return loss.item()

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
        return masked_loss(self.model.module(*inputs), labels, self.pad).item()

    def _moments(self):
        return tuple({k: x.asnumpy() for k, x in moment.items()} for moment in (self._m, self._v))

    def _set_moments(self, m, v):
        self._m = {k: self.model.backend.array(m[k]) for k in self._params}
        self._v = {k: self.model.backend.array(v[k]) for k in self._params}


def square(x):
    """Return the product of an array with itself, by the operator that is fast at it."""
    flat = x.as_nd_ndarray().reshape(-1)
    return mx.nd.dot(flat, flat).as_np_ndarray()


class Graph:
    """A function of nested arrays that becomes one operator, which Python calls once.

    Its first call is recorded as for a gradient, and what was recorded is the graph. Its variables
    are the function's inputs, the parameters and the constants, told by their names. Other arrays,
    which the function makes itself, are not in the record; such a function stays as it is.

    Args:
        function: takes nested arrays, returns nested arrays.
        arrays: what else it uses, parameters and constants; their values may change in place.
    """

    def __init__(self, function, arrays):
        self.function, self.arrays = function, list(arrays)
        self.recorded, self.operator = False, None

    def __call__(self, *inputs):
        """Run the function."""
        if not self.recorded:
            return self._record(inputs)
        if self.operator is None:
            return self.function(*inputs)
        given = leaves(inputs)
        variables = self._variables(given)
        computed = iter(self.operator(*(variables[place] for place in self.places)))
        return nest(lambda i: next(computed) if i == COMPUTED else given[i], self.outputs)

    def _variables(self, inputs):
        """List what may be a variable of the graph."""
        return [*self.arrays, *inputs]

    def _record(self, inputs):
        inputs = nest(lambda x: x.detach(), inputs)
        for x in leaves(inputs):
            x.attach_grad("null")
        with autograd.record(train_mode=False):
            outputs = self.function(*inputs)
        self.recorded = True
        self._build(leaves(inputs), outputs)
        return nest(lambda y: y.detach(), outputs)

    def _build(self, inputs, outputs):
        number = {id(x): i for i, x in enumerate(inputs)}  # an output may be an input as it is
        self.outputs = nest(lambda y: number.get(id(y), COMPUTED), outputs)
        computed = [autograd.get_symbol(y) for y in leaves(outputs) if id(y) not in number]
        graph = mx.sym.Group(computed).as_np_ndarray()
        place = {name(x): i for i, x in enumerate(self._variables(inputs))}
        if place.keys() >= set(graph.list_inputs()):
            self.places = [place[name] for name in graph.list_inputs()]
            self.operator = mx.nd.CachedOp(graph)


COMPUTED = (
    -1
)  # in the place of an input's number: an output of a `Graph` that is none of its inputs


def name(x):
    """Return an array's name in a recorded graph."""
    return autograd.get_symbol(x).name


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
            tables = [b.P for _, b in blocks(decoder) if isinstance(b, PositionalEncoding)]
            params = [param.data() for param in decoder.collect_params().values()]
            graphs[key] = Graph(functools.partial(best_tokens, decoder, k), [*tables, *params])
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
