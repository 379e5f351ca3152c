"""Looking into a Flax module: of NNX, or of Linen.

A Linen module is given as ``(module, variables)`` or as ``module.bind(variables)``.
"""

import contextlib

import jax
import numpy as np
from flax import linen, nnx
from jax import numpy as jnp

from d2l_ext.jax.backend import parts
from d2l_ext.jax.layers import Dropout, Embedding, Linear
from d2l_ext.jax.normalization import LayerNorm
from d2l_ext.porting.probe import Probe, watching

KINDS = (
    ("linear", (linen.Dense, nnx.Linear, Linear)),
    ("embedding", (linen.Embed, nnx.Embed, Embedding)),
    ("norm", (linen.LayerNorm, nnx.LayerNorm, LayerNorm)),
    ("dropout", (linen.Dropout, nnx.Dropout, Dropout)),
)
NAMES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}
GATES = {linen.GRUCell: "rzn", linen.LSTMCell: "ifgo", linen.OptimizedLSTMCell: "ifgo"}


class _Probe(Probe):
    """What both have in common."""

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        if isinstance(module, (linen.RNN, nnx.RNN)):
            return kind, self._recurrent(module.cell)
        own = {name: np.array(x) for name, x in self._own(module).items()}
        if kind == "linear":
            own["kernel"] = own["kernel"].T
        known = kind in ("linear", "embedding", "norm", "RMSNorm")
        return kind, {NAMES.get(k, k) if known else k: v for k, v in own.items()}

    def _recurrent(self, cell):
        """Put the gates' kernels and biases one below the other, as PyTorch does."""
        own = {}
        for side, name in (("i", "ih"), ("h", "hh")):
            if gates := self._gates(cell, side):
                kernels = [np.array(gate["kernel"]).T for gate in gates]
                biases = [
                    gate.get("bias", np.zeros(len(k)))
                    for gate, k in zip(gates, kernels, strict=True)
                ]
                own[f"weight_{name}_l0"] = np.concatenate(kernels)
                own[f"bias_{name}_l0"] = np.concatenate(biases).astype(kernels[0].dtype)
        return own

    def _is_array(self, x):
        return isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)

    def _array(self, x):
        return jnp.asarray(x)

    def _like(self, array, old):
        return jnp.asarray(array, old.dtype)

    def _numpy(self, x):
        return np.array(x.astype("float32") if x.dtype == jnp.bfloat16 else x)


class NNXProbe(_Probe):
    """An NNX module, in the mode that it is in: ``module.train()`` is the caller's choice."""

    def _prepare(self, model):
        return model.merged()

    def _run(self, inputs):
        self.module(*inputs, **self.options)

    @contextlib.contextmanager
    def _watching(self):
        # Modules have no call in common: each class that defines one is watched.
        classes = [cls for _, part in parts(self.module) for cls in type(part).__mro__]
        with contextlib.ExitStack() as stack:
            for cls in dict.fromkeys(classes):
                if issubclass(cls, nnx.Module) and "__call__" in vars(cls):
                    stack.enter_context(watching(self, cls))
            yield

    def _layers(self):
        return parts(self.module)

    def _dtypes(self):
        return (x.dtype.name for x in jax.tree.leaves(nnx.state(self.module, nnx.Param)))

    def _own(self, module):
        return {k: v[...] for k, v in vars(module).items() if isinstance(v, nnx.Param)}

    def _gates(self, cell, side):
        if type(cell) is nnx.LSTMCell:
            names = [side + gate for gate in "ifgo"]
            return [self._own(getattr(cell, "if_" if name == "if" else name)) for name in names]
        # The others have one layer for all gates, in PyTorch's order.
        one = type(cell) in (nnx.GRUCell, nnx.OptimizedLSTMCell)
        return [self._own(getattr(cell, f"dense_{side}"))] if one else []


class LinenProbe(_Probe):
    """A Linen module with its variables."""

    def __init__(self, module, inputs, options=None):
        if isinstance(module, tuple):
            module = module[0].bind(module[1])
        super().__init__(module, inputs, options)

    def _prepare(self, model):
        raise NotImplementedError("models of this column are NNX modules")

    def _run(self, inputs):
        # A module that is bound once would name its compact layers anew in a second call.
        module, variables = self.module.unbind()
        rngs = {name: rng.as_jax_rng() for name, rng in self.module.scope.rngs.items()}
        module.apply(variables, *inputs, rngs=rngs, **self.options)

    def _watching(self):
        def watched(call, args, kwargs, context):
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            path = ".".join(context.module.path)
            return self._call(path, context.module, call, args, kwargs)

        return linen.intercept_methods(watched)

    def _layers(self):
        return ()  # a Linen module has its layers only while it runs

    def _dtypes(self):
        leaves = jax.tree.leaves(self.module.variables.get("params", {}))
        return (jnp.asarray(leaf).dtype.name for leaf in leaves)

    def _own(self, module):
        params = module.variables.get("params", {})
        return {k: v for k, v in params.items() if not hasattr(v, "items")}

    def _gates(self, cell, side):
        params = cell.variables["params"]
        return [params[side + gate] for gate in GATES.get(type(cell), "")]


def PROBE(module, inputs, options=None):
    """Return the probe that fits a module."""
    linen_module = isinstance(module, (tuple, linen.Module))
    return (LinenProbe if linen_module else NNXProbe)(module, inputs, options)
