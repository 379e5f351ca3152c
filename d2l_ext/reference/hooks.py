"""Looking into a module of the reference."""

import numpy as np

from d2l_ext.porting.probe import Probe, not_an_optimizer, watching
from d2l_ext.reference.layers import Dropout, Embedding, Linear, Module
from d2l_ext.reference.normalization import LayerNorm
from d2l_ext.reference.tangent import Tangent, gradient, value_of

KINDS = (("linear", Linear), ("embedding", Embedding), ("norm", LayerNorm), ("dropout", Dropout))


class ReferenceProbe(Probe):
    """A module in plain NumPy."""

    def _prepare(self, model):
        model.module.train(False)
        return model.module

    def _run(self, inputs):
        self.module(*inputs, **self.options)

    def _pull(self, run, starts):
        slots = list(self.module.slots())
        params = [getattr(owner, slot) for _, owner, slot in slots]

        def write(values):
            for (_, owner, slot), value in zip(slots, values, strict=True):
                setattr(owner, slot, value)

        def pull(cotangents):
            def inner(values):
                write(values[1])
                pairs = zip(run(values[0]), cotangents, strict=True)
                return sum((y * c).sum() for y, c in pairs if c is not None)

            try:
                by_start, by_param = gradient(inner, (starts, params))
            finally:
                write(params)
            owners = [(id(owner), slot) for _, owner, slot in slots]
            return by_start, dict(zip(owners, by_param, strict=True))

        return pull

    def _steps(self, optimizer, gradient, count):
        raise not_an_optimizer(optimizer, "None: the reference's optimisers belong to its trainer")

    def _watching(self):
        return watching(self, Module)

    def _layers(self):
        return self.module.modules()

    def _dtypes(self):
        return (getattr(owner, slot).dtype.name for _, owner, slot in self.module.slots())

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        if self._instead is not None:
            return kind, {name: self._instead[id(module), name] for name in module._names}
        return kind, {name: self._numpy(getattr(module, name)) for name in module._names}

    def _is_array(self, x):
        return isinstance(x, (np.ndarray, Tangent))

    def _array(self, x):
        return x.copy()

    def _numpy(self, x):
        return value_of(x).copy()


PROBE = ReferenceProbe
