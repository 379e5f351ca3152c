"""Looking into a PyTorch module."""

import contextlib
import copy

import numpy as np
import torch
from torch import nn

from d2l_ext.porting.probe import PROJECTIONS, Probe, not_an_optimizer, watching
from d2l_ext.torch.backend import BACKEND
from d2l_ext.torch.layers import Dropout

KINDS = (
    ("linear", nn.Linear),
    ("embedding", nn.Embedding),
    ("norm", nn.LayerNorm),
    ("dropout", (nn.Dropout, Dropout)),
)


class TorchProbe(Probe):
    """A `torch.nn.Module`, in the mode that it is in: ``module.train()`` is the caller's choice."""

    _differentiates = False

    def _prepare(self, model):
        model.prepare(False, None, keep_weights=True)
        return model.module

    def _run(self, inputs):
        with torch.set_grad_enabled(self._differentiates):
            self.module(*inputs, **self.options)

    def _pull(self, run, starts):
        self._differentiates = True
        try:
            with torch.enable_grad():
                starts = [x.detach().requires_grad_() for x in starts]
                ends = run([x.clone() for x in starts])  # which the module may change in place
        finally:
            self._differentiates = False
        params = [p for p in self.module.parameters() if p.requires_grad]

        def pull(cotangents):
            # One number: given gradients, `grad` would load PyTorch's compiler, for seconds.
            with torch.enable_grad():
                inner = [
                    (y * self._like(c, y)).sum()
                    for y, c in zip(ends, cotangents, strict=True)
                    if c is not None and y.requires_grad
                ]
            if not inner:
                return [None] * len(starts), {}
            found = torch.autograd.grad(
                sum(inner), [*starts, *params], retain_graph=True, allow_unused=True
            )
            by_param = zip(map(id, params), found[len(starts) :], strict=True)
            return found[: len(starts)], dict(by_param)

        return pull

    def _steps(self, optimizer, gradient, count):
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise not_an_optimizer(optimizer, "a torch.optim.Optimizer")
        module, optimizer = _copied(self.module, optimizer)
        pairs = list(zip(self.module.parameters(), module.parameters(), strict=True))
        for number in range(count):
            for before, after in pairs:
                drawn = gradient(number, self._numpy(before))
                after.grad = self._like(drawn, after) if after.requires_grad else None
            optimizer.step()
            yield {id(before): after.detach().clone() for before, after in pairs}

    @contextlib.contextmanager
    def _watching(self):
        """As of most columns; a Transformer's layers could not be seen in its faster path."""
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with watching(self, nn.Module):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(before)

    def _layers(self):
        return self.module.named_modules()

    def _dtypes(self):
        return (str(p.dtype).removeprefix("torch.") for p in self.module.parameters())

    def _read(self, path, module):
        if isinstance(module, nn.MultiheadAttention) and module.bias_k is None:
            return "attention", self._attention(module)
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        own = {
            k: self._value(p)
            for k, p in module.named_parameters(recurse=False)
            if self._instead is None or p.requires_grad
        }
        if isinstance(module, nn.RNNCellBase):
            own = {f"{name}_l0": value for name, value in own.items()}
        return kind, own

    def _attention(self, module):
        """Take queries, keys and values apart, which are one matrix unless their sizes differ."""
        own = {
            name: self._value(p)
            for name, p in module.named_parameters()
            if self._instead is None or p.requires_grad
        }
        found = {}
        for leaf in ("weight", "bias"):
            whole, last = own.get(f"in_proj_{leaf}"), own.get(f"out_proj.{leaf}")
            thirds = [own.get(f"{name}_proj_{leaf}") for name in "qkv"]
            parts = [*(thirds if whole is None else np.split(whole, 3)), last]
            found |= {
                f"{name}.{leaf}": x
                for name, x in zip(PROJECTIONS, parts, strict=True)
                if x is not None
            }
        return found

    def _value(self, parameter):
        if self._instead is None:
            return self._numpy(parameter)
        gradient = self._instead.get(id(parameter))
        return self._numpy(torch.zeros_like(parameter) if gradient is None else gradient)

    def _is_array(self, x):
        return isinstance(x, torch.Tensor)

    def _array(self, x):
        return BACKEND.array(x)

    def _like(self, array, old):
        return self._array(array).to(old.dtype)

    def _to_bfloat16(self, x):
        return x.to(torch.bfloat16)

    def _numpy(self, x):
        return BACKEND.numpy(x).copy()


def _copied(module, optimizer):
    """Copy a module and its optimiser; PyTorch's own copy of one loses attributes of subclasses."""
    parts = {name: x for name, x in vars(optimizer).items() if name != "step"}  # of a schedule
    module, parts = copy.deepcopy((module, parts))
    other = type(optimizer).__new__(type(optimizer))
    vars(other).update(parts)
    return module, other


PROBE = TorchProbe
