"""Looking into a module of the reference."""

import numpy as np

from d2l_ext.porting.probe import Probe, watching
from d2l_ext.reference.layers import Dropout, Embedding, Linear, Module
from d2l_ext.reference.normalization import LayerNorm

KINDS = (("linear", Linear), ("embedding", Embedding), ("norm", LayerNorm), ("dropout", Dropout))


class ReferenceProbe(Probe):
    """A module in plain NumPy."""

    def _prepare(self, model):
        model.module.train(False)
        return model.module

    def _run(self, inputs):
        self.module(*inputs, **self.options)

    def _watching(self):
        return watching(self, Module)

    def _layers(self):
        return self.module.modules()

    def _dtypes(self):
        return (getattr(owner, slot).dtype.name for _, owner, slot in self.module.slots())

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        return kind, {name: getattr(module, name).copy() for name in module._names}

    def _is_array(self, x):
        return isinstance(x, np.ndarray)

    def _array(self, x):
        return x.copy()

    def _numpy(self, x):
        return x.copy()


PROBE = ReferenceProbe
