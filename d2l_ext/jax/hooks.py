"""Looking into a Flax module, given as ``(module, variables)`` or ``module.bind(variables)``."""

import jax
import numpy as np
from flax import linen as nn
from jax import numpy as jnp

from d2l_ext.jax.layers import Dropout, LayerNorm
from d2l_ext.porting.probe import Probe

KINDS = (
    ("linear", nn.Dense),
    ("embedding", nn.Embed),
    ("norm", (nn.LayerNorm, LayerNorm)),
    ("dropout", (nn.Dropout, Dropout)),
)
NAMES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}


class JaxProbe(Probe):
    """A linen module with its variables."""

    def __init__(self, module, inputs, options=None):
        if isinstance(module, tuple):
            module = module[0].bind(module[1])
        super().__init__(module, inputs, options)

    def _prepare(self, model):
        return model.module.bind({"params": model.params})

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

        return nn.intercept_methods(watched)

    def _layers(self):
        return ()  # a linen module has its layers only while it runs

    def _dtypes(self):
        leaves = jax.tree.leaves(self.module.variables.get("params", {}))
        return (jnp.asarray(leaf).dtype.name for leaf in leaves)

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        if isinstance(module, nn.RNN):
            return kind, self._recurrent(module.cell)
        params = module.variables.get("params", {})
        own = {k: np.array(v) for k, v in params.items() if not hasattr(v, "items")}
        if kind == "linear":
            own["kernel"] = own["kernel"].T
        known = kind in ("linear", "embedding", "norm")
        return kind, {NAMES.get(k, k) if known else k: v for k, v in own.items()}

    def _recurrent(self, cell):
        """Put the gates' kernels and biases one below the other, as PyTorch does."""
        gates = {nn.GRUCell: "rzn", nn.LSTMCell: "ifgo", nn.OptimizedLSTMCell: "ifgo"}.get(
            type(cell), ""
        )
        params, own = cell.variables["params"], {}
        for side, name in (("i", "ih"), ("h", "hh")) if gates else ():
            layers = [params[side + gate] for gate in gates]
            zeros = np.zeros(layers[0]["kernel"].shape[1])
            biases = [np.array(layer.get("bias", zeros)) for layer in layers]
            own[f"weight_{name}_l0"] = np.concatenate([np.array(p["kernel"]).T for p in layers])
            own[f"bias_{name}_l0"] = np.concatenate(biases).astype(layers[0]["kernel"].dtype)
        return own

    def _is_array(self, x):
        return isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)

    def _array(self, x):
        return jnp.asarray(x)

    def _like(self, array, old):
        return jnp.asarray(array, old.dtype)

    def _numpy(self, x):
        return np.array(x.astype("float32") if x.dtype == jnp.bfloat16 else x)


PROBE = JaxProbe
