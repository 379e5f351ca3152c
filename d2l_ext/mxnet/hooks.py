"""Looking into a Gluon block."""

import contextlib
import copy

import mxnet as mx
import numpy
from mxnet import autograd, gluon
from mxnet.gluon import Block, nn, rnn

from d2l_ext.mxnet.layers import Dropout
from d2l_ext.mxnet.normalization import LayerNorm
from d2l_ext.porting.probe import Probe, not_an_optimizer, replaced, watching

KINDS = (
    ("linear", nn.Dense),
    ("embedding", nn.Embedding),
    ("norm", (nn.LayerNorm, LayerNorm)),
    ("dropout", (nn.Dropout, Dropout)),
)
NAMES = {"gamma": "weight", "beta": "bias"}


class MXNetProbe(Probe):
    """A Gluon block; dropout acts within ``autograd.train_mode()``: the caller's choice."""

    def _prepare(self, model):
        model.prepare(None, keep_weights=True)
        return model.module

    def _run(self, inputs):
        self.module(*inputs, **self.options)

    def _pull(self, run, starts):
        starts = [x.copy() for x in starts]
        for x in starts:
            x.attach_grad()
        with autograd.record(train_mode=autograd.is_training()):
            # MXNet refuses to go back from what has no graph: a zero gives it one.
            ends = [y + _zeros(y) for y in run(starts)]
        params = [p for p in self.module.collect_params().values() if p.grad_req != "null"]
        kept = [p.grad().copy() for p in params]

        def pull(cotangents):
            for gradient in [x.grad for x in starts] + [p.grad() for p in params]:
                gradient[:] = 0
            pairs = [(y, c) for y, c in zip(ends, cotangents, strict=True) if c is not None]
            heads, cotangents = [y for y, _ in pairs], [self._like(c, y) for y, c in pairs]
            autograd.backward(heads, cotangents, retain_graph=True)
            found = [x.grad.copy() for x in starts]
            by_param = {id(p): p.grad().asnumpy() for p in params}
            for p, before in zip(params, kept, strict=True):
                p.grad()[:] = before
            return found, by_param

        return pull

    def _steps(self, optimizer, gradient, count):
        if not isinstance(optimizer, gluon.Trainer):
            raise not_an_optimizer(optimizer, "a gluon.Trainer")
        params = [p for p in optimizer._params if p.grad_req != "null"]
        update = mx.optimizer.get_updater(copy.deepcopy(optimizer.optimizer))
        before = [p.data().asnumpy() for p in params]
        after = [p.data().copy() for p in params]
        rest = {id(p): p.data().asnumpy() for p in self.module.collect_params().values()}
        for number in range(count):
            for i, x in enumerate(before):
                update(i, self._array(gradient(number, x).astype(x.dtype)), after[i])
            moved = {id(p): x.asnumpy() for p, x in zip(params, after, strict=True)}
            yield rest | moved

    @contextlib.contextmanager
    def _watching(self):
        """As `Probe._watching`; inside a graph, layers could not be seen, so none is used."""
        blocks = [block for _, block in self._layers() if getattr(block, "_active", False)]
        with contextlib.ExitStack() as stack:
            for block in blocks:
                stack.enter_context(replaced(block, "_active", False))
            stack.enter_context(watching(self, Block))
            yield

    def _call(self, path, module, call, args, kwargs):
        """As `Probe._call`; an activation inside a dense layer comes after it."""
        activation = getattr(module, "act", None)
        if not isinstance(module, nn.Dense) or activation is None:
            return super()._call(path, module, call, args, kwargs)
        vars(module)["act"] = None  # Gluon would not let a block be replaced by anything else
        try:
            output = super()._call(path, module, call, args, kwargs)
        finally:
            vars(module)["act"] = activation
        return activation(output)

    def _layers(self, block=None, path=""):
        block = self.module if block is None else block
        yield path, block
        for name, child in block._children.items():
            yield from self._layers(child, f"{path}.{name}" if path else name)

    def _dtypes(self):
        return (numpy.dtype(p.dtype).name for p in self.module.collect_params().values())

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        own = {name: self._value(p) for name, p in module._reg_params.items()}
        if isinstance(module, (rnn.GRU, rnn.LSTM, rnn.GRUCell, rnn.LSTMCell)):
            return kind, {_recurrent(name): value for name, value in own.items()}
        return kind, {NAMES.get(k, k) if kind == "norm" else k: v for k, v in own.items()}

    def _value(self, parameter):
        if self._instead is None:
            return parameter.data().asnumpy()
        return self._instead.get(id(parameter), numpy.zeros(parameter.shape))

    def _like(self, array, old):
        return self._array(array.astype(old.dtype))

    def _is_array(self, x):
        return isinstance(x, mx.nd.NDArray)

    def _array(self, x):
        create = mx.np.array if mx.util.is_np_array() else mx.nd.array
        return create(x, dtype=x.dtype)

    def _numpy(self, x):
        return x.asnumpy()


def _zeros(x):
    """Return zeros that gradients go back to."""
    zeros = x * 0
    zeros.attach_grad()
    return zeros


def _recurrent(name):
    """Turn l0_i2h_weight, or a cell's i2h_weight, into weight_ih_l0."""
    *layer, side, what = name.split("_")
    layer = layer[0] if layer else "l0"
    reverse = "_reverse" if layer[0] == "r" else ""
    return f"{what}_{side[0]}h_l{layer[1:]}{reverse}"


PROBE = MXNetProbe
