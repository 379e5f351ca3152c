"""PyTorch behind the common interface."""

import warnings

import numpy as np
import torch

from d2l_ext.interface import BETA1, BETA2, EPSILON, Backend, Decoding, Model, Trainer
from d2l_ext.nested import leaves, nest
from d2l_ext.torch import products
from d2l_ext.torch.decoding import TokenStep
from d2l_ext.torch.layers import Dropout
from d2l_ext.torch.seq2seq import masked_loss
from d2l_ext.torch.transformer import TransformerDecoder


def forked_generator():
    """Return a context in which the user's random numbers are left alone."""
    return torch.random.fork_rng(devices=[])


class TorchModel(Model):
    """A `torch.nn.Module` with the common initial parameters."""

    _prepared = None  # mode and whether weights are kept, where no masks are given

    def _build(self, inputs):
        self.module.to(self.backend.device, getattr(torch, self.dtype))
        if inputs:
            with torch.no_grad(), forked_generator(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Lazy modules", UserWarning)
                self.module.eval()(*inputs)  # creates the lazy weights
            self.module.to(getattr(torch, self.dtype))

    def _read(self):
        return {k: self.backend.numpy(v).copy() for k, v in self.module.state_dict().items()}

    def _write(self, params):
        self.module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in params.items()})

    def prepare(self, training, masks, keep_weights):
        """Set the mode and the dropout masks of the next forward pass, unless they are set."""
        wanted = training, keep_weights
        if masks is None and self.module.training == training and self._prepared == wanted:
            return
        self._prepared = wanted if masks is None else None
        self.module.train(training)
        for path, module in self.module.named_modules():
            if isinstance(module, Dropout):
                given = None if masks is None else masks.get(path)
                module.given = None if given is None else self.cast(given)
            if hasattr(module, "keep_weights"):
                module.keep_weights = keep_weights

    def _cast(self, x):
        return x.to(torch.bfloat16) if self.dtype == "bfloat16" and x.is_floating_point() else x

    def _forward(self, method, inputs, training, masks):
        self.prepare(training, masks, keep_weights=True)
        with torch.no_grad():
            outputs = getattr(self.module, method)(*inputs)
        return outputs, getattr(self.module, "attention_weights", None)

    def _dropout_layers(self, inputs):
        layers = {p: m for p, m in self.module.named_modules() if isinstance(m, Dropout)}
        for layer in layers.values():
            layer.asked = None
        with forked_generator():  # the masks that are drawn are not used
            self._forward("forward", inputs, True, None)
        return {p: (m.rate, m.asked) for p, m in layers.items() if m.asked is not None}

    def _vjp(self, inputs, cotangent, training, masks):
        self.prepare(training, masks, keep_weights=True)
        params = dict(self.module.named_parameters())
        outputs, gradients, input_gradients = _vjp(
            self.module, inputs, cotangent, list(params.values())
        )
        named = dict(zip(params, gradients, strict=True))
        return outputs, {k: self.backend.numpy(g) for k, g in named.items()}, input_gradients


def _vjp(function, inputs, cotangent, params=()):
    inputs = nest(lambda x: x.requires_grad_() if x.is_floating_point() else x, inputs)
    outputs = function(*inputs)
    pairs = list(_pairs(outputs, cotangent))
    wrt = [*params, *(x for x in leaves(inputs) if x.requires_grad)]
    gradients = torch.autograd.grad(
        [y for y, _ in pairs],
        wrt,
        [torch.from_numpy(np.array(c)).to(y) for y, c in pairs],
        allow_unused=True,
        materialize_grads=True,
    )
    rest = iter(gradients[len(params) :])
    input_gradients = nest(lambda x: BACKEND.numpy(next(rest)) if x.requires_grad else None, inputs)
    return BACKEND.numpy(outputs), gradients[: len(params)], input_gradients


def _pairs(outputs, cotangent):
    """Yield the outputs that depend on something differentiable, with their cotangents."""
    if outputs is None or cotangent is None:
        return
    if isinstance(outputs, (tuple, list)):
        for output, c in zip(outputs, cotangent, strict=True):
            yield from _pairs(output, c)
    elif outputs.requires_grad:
        yield outputs, cotangent


class TorchTrainer(Trainer):
    """The training step, eager; or with forward pass and loss compiled by `torch.compile`."""

    compiles = (False, True)

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None):
        super().__init__(model, lr, max_norm, pad, compile)
        self._params = dict(model.module.named_parameters())
        self._m = {k: torch.zeros_like(p) for k, p in self._params.items()}
        self._v = {k: torch.zeros_like(p) for k, p in self._params.items()}
        self._loss_of = torch.compile(self._compute) if self.compile else self._fast
        self._products = products.fast(self._params.values())

    def _compute(self, inputs, labels):
        return masked_loss(self.model.module(*inputs), labels, self.pad)

    def _fast(self, inputs, labels):
        with self._products:
            return self._compute(inputs, labels)

    def _step(self, inputs, labels, masks, correction1, correction2):
        self.model.prepare(True, masks, keep_weights=False)
        params = list(self._params.values())
        loss = self._loss_of(inputs, labels)
        gradients = list(
            torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True)
        )
        with torch.no_grad():
            self._clip(gradients)
            self._update(params, gradients)
        return loss.detach()

    def _clip(self, gradients):
        """Scale by max_norm / norm where the global norm exceeds max_norm."""
        if self.max_norm is None:
            return
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if norm > self.max_norm:
            torch._foreach_mul_(gradients, self.max_norm / norm)

    def _update(self, params, gradients):
        """Adam, in place, in one pass over the arrays; the kernel corrects the moments itself."""
        m, v = list(self._m.values()), list(self._v.values())
        steps = [torch.tensor(self.num_steps + 1.0, device=params[0].device)] * len(params)
        constants = {"lr": self.lr, "beta1": BETA1, "beta2": BETA2, "eps": EPSILON}
        unused = {"weight_decay": 0, "amsgrad": False, "maximize": False}
        torch._fused_adam_(params, gradients, m, v, [], steps, **constants, **unused)

    def _loss(self, inputs, labels):
        self.model.prepare(False, None, keep_weights=False)
        with torch.no_grad():
            return self._fast(inputs, labels)

    def _moments(self):
        return tuple(
            {k: self.model.backend.numpy(x).copy() for k, x in moment.items()}
            for moment in (self._m, self._v)
        )

    def _set_moments(self, m, v):
        self._m = {k: self.model.cast(m[k]) for k in self._params}
        self._v = {k: self.model.cast(v[k]) for k in self._params}


class TorchDecoding(Decoding):
    """Decoding in PyTorch; a Transformer that keeps no weights has a `TokenStep`."""

    def _start(self, inputs):
        self.model.prepare(False, None, self.keep_weights)
        module, lens = self.model.module, inputs[1] if len(inputs) > 1 else None
        with torch.inference_mode():
            self._next = self.decoder
            if self.decoder is module:
                return module.init_state(*inputs)
            state = module.decoder.init_state(module.encoder(*inputs), lens)
            if not isinstance(self.decoder, TransformerDecoder) or self.keep_weights:
                return state
            self._next = TokenStep(self.decoder)
            return self._next.prepare(state)

    def _advance(self, tokens, state, k):
        decoder = self.decoder
        self.model.prepare(False, None, self.keep_weights)  # the model may have been called since
        with torch.inference_mode():
            state = decoder.reserve(state, tokens.shape[1], least=32)
            logits, state = self._next(tokens, state)
            log_probs, ids = logits[:, -1].log_softmax(dim=-1).topk(k, dim=-1)
        weights = getattr(decoder, "attention_weights", None) if self.keep_weights else None
        return log_probs, ids, weights, state

    def _take_rows(self, state, rows):
        if self._next is self.decoder:  # its rows may be written to by `score`, too
            return self.decoder.take_rows(state, rows)
        with torch.inference_mode():
            return self._next.take_rows(state, rows)


class TorchBackend(Backend):
    """PyTorch."""

    name, version = "torch", torch.__version__
    dtypes = ("float32", "float64", "bfloat16", "float16")
    _model, _trainer, _decoding = TorchModel, TorchTrainer, TorchDecoding
    device = torch.device("cpu")

    def _gpus(self):
        return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]

    def _use(self, gpu):
        self.device = torch.device("cpu") if gpu is None else gpu
        torch.set_default_device(gpu)

    def vjp(self, function, inputs, cotangent):
        """As `Backend.vjp`."""
        outputs, _, gradients = _vjp(function, self.array(inputs), cotangent)
        return outputs, gradients

    def _array(self, x):
        return torch.from_numpy(x.copy()).to(self.device)

    def _numpy(self, y):
        return (y.float() if y.dtype == torch.bfloat16 else y).detach().cpu().numpy()


BACKEND = TorchBackend()
