"""Looking into a PyTorch module."""

import torch
from torch import nn

from d2l_ext.porting.probe import Probe, watching
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

    def _prepare(self, model):
        model.prepare(False, None, keep_weights=True)
        return model.module

    def _run(self, inputs):
        with torch.no_grad():
            self.module(*inputs, **self.options)

    def _watching(self):
        return watching(self, nn.Module)

    def _layers(self):
        return self.module.named_modules()

    def _dtypes(self):
        return (str(p.dtype).removeprefix("torch.") for p in self.module.parameters())

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        own = {k: self._numpy(p) for k, p in module.named_parameters(recurse=False)}
        if isinstance(module, nn.RNNCellBase):
            own = {f"{name}_l0": value for name, value in own.items()}
        return kind, own

    def _is_array(self, x):
        return isinstance(x, torch.Tensor)

    def _array(self, x):
        return BACKEND.array(x)

    def _like(self, array, old):
        return self._array(array).to(old.dtype)

    def _numpy(self, x):
        return BACKEND.numpy(x).copy()


PROBE = TorchProbe
