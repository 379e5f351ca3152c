"""Looking into a Flax module: of NNX, or of Linen.

A Linen module is given as ``(module, variables)`` or as ``module.bind(variables)``.
"""

import contextlib
import functools

import jax
import numpy as np
import optax
from flax import linen, nnx
from jax import lax
from jax import numpy as jnp

from d2l_ext.jax.backend import parts
from d2l_ext.jax.layers import Dropout, Embedding, Linear
from d2l_ext.jax.normalization import LayerNorm
from d2l_ext.porting.probe import (
    PROJECTIONS,
    Probe,
    not_an_optimizer,
    replaced,
    watching,
    without_heads,
)

KINDS = (
    ("linear", (linen.Dense, nnx.Linear, Linear)),
    ("embedding", (linen.Embed, nnx.Embed, Embedding)),
    ("norm", (linen.LayerNorm, nnx.LayerNorm, LayerNorm)),
    ("dropout", (linen.Dropout, nnx.Dropout, Dropout)),
)
NAMES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}
ATTENTION = (linen.MultiHeadDotProductAttention, nnx.MultiHeadAttention)
GATES = {linen.GRUCell: "rzn", linen.LSTMCell: "ifgo", linen.OptimizedLSTMCell: "ifgo"}


class _Probe(Probe):
    """What both have in common."""

    _params = None  # by which gradients are taken, while they are

    def _read(self, path, module):
        kind = next((k for k, cls in KINDS if isinstance(module, cls)), type(module).__name__)
        if isinstance(module, (linen.RNN, nnx.RNN)):
            return kind, self._recurrent(module.cell)
        if isinstance(module, ATTENTION) and not module.normalize_qk:
            parts = {name: self._part(module, name) for name in PROJECTIONS}
            return "attention", without_heads(
                {name: {k: self._numpy(x) for k, x in own.items()} for name, own in parts.items()}
            )
        own = {name: self._numpy(x) for name, x in self._own(module).items()}
        if kind == "linear":
            own["kernel"] = own["kernel"].T
        known = kind in ("linear", "embedding", "norm", "RMSNorm")
        return kind, {NAMES.get(k, k) if known else k: v for k, v in own.items()}

    def _recurrent(self, cell):
        """Put the gates' kernels and biases one below the other, as PyTorch does."""
        own = {}
        for side, name in (("i", "ih"), ("h", "hh")):
            if gates := self._gates(cell, side):
                kernels = [self._numpy(gate["kernel"]).T for gate in gates]
                own[f"weight_{name}_l0"] = np.concatenate(kernels)
                if self._instead is not None and any("bias" not in gate for gate in gates):
                    continue  # a bias that is not there is zero, but has no gradient
                biases = [
                    self._numpy(gate["bias"]) if "bias" in gate else np.zeros(len(k))
                    for gate, k in zip(gates, kernels, strict=True)
                ]
                own[f"bias_{name}_l0"] = np.concatenate(biases).astype(kernels[0].dtype)
        return own

    def _pull(self, run, starts):
        def ends(starts, params):
            self._params = params
            try:
                return run(starts)
            finally:
                self._params = None

        values, pull = jax.vjp(ends, starts, self._trainable())

        def pulled(cotangents):
            full = [
                jnp.zeros(y.shape, y.dtype) if c is None else jnp.asarray(c, y.dtype)
                for y, c in zip(values, cotangents, strict=True)
            ]
            return pull(full)

        return pulled

    def _steps(self, optimizer, gradient, count):
        """Take steps; the parameters are a tree, which an optimiser of Optax takes as it is."""
        rule = getattr(optimizer, "tx", optimizer)  # of nnx.Optimizer
        if not isinstance(rule, optax.GradientTransformation):
            raise not_an_optimizer(optimizer, "of Optax, or an nnx.Optimizer")
        start = params = self._trainable()
        state = rule.init(params)
        for number in range(count):
            gradients = jax.tree.map(
                lambda p, number=number: jnp.asarray(gradient(number, self._numpy(p)), p.dtype),
                start,
            )
            updates, state = rule.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
            yield self._as_read(params)

    def _as_read(self, params):
        """Return a tree of parameters in the form in which `_read` finds them."""
        return params

    def _is_array(self, x):
        # What is traced for its gradient has a value, what is traced to be compiled has none.
        return isinstance(x, jax.Array) and not isinstance(lax.stop_gradient(x), jax.core.Tracer)

    def _array(self, x):
        return jnp.asarray(x)

    def _like(self, array, old):
        return jnp.asarray(array, old.dtype)

    def _to_bfloat16(self, x):
        return x.astype(jnp.bfloat16)

    def _numpy(self, x):
        x = lax.stop_gradient(x)
        return np.array(x.astype("float32") if x.dtype == jnp.bfloat16 else x)


class NNXProbe(_Probe):
    """An NNX module, in the mode that it is in: ``module.train()`` is the caller's choice."""

    def __init__(self, module, inputs, options=None):
        self._merged = {}  # the parts of the copy that a gradient is traced through
        super().__init__(module, inputs, options)

    def _prepare(self, model):
        return model.merged()

    def _run(self, inputs):
        if self._params is None:
            self.module(*inputs, **self.options)
            return
        module = nnx.clone(self.module)
        nnx.update(module, self._params)
        self._merged = {id(part): path for path, part in parts(module)}
        with replaced(self, "_paths", self._merged):
            module(*inputs, **self.options)

    def _pull(self, run, starts):
        pull = super()._pull(run, starts)

        def pulled(cotangents):
            by_start, gradients = pull(cotangents)
            return by_start, self._as_read(gradients)

        return pulled

    def _as_read(self, params):
        module = nnx.clone(self.module)
        nnx.update(module, params)
        return dict(parts(module))

    def _trainable(self):
        return nnx.split(self.module, nnx.Param, ...)[1]

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
        if self._instead is not None:
            module = self._instead[(self._paths | self._merged)[id(module)]]
        return {k: v[...] for k, v in vars(module).items() if isinstance(v, nnx.Param)}

    def _part(self, module, name):
        return self._own(getattr(module, name))

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
        if self._params is not None:
            variables = {**variables, "params": self._params}
        rngs = {name: rng.as_jax_rng() for name, rng in self.module.scope.rngs.items()}
        module.apply(variables, *inputs, rngs=rngs, **self.options)

    def _trainable(self):
        return jax.tree.map(jnp.asarray, self.module.variables.get("params", {}))

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
        return {k: v for k, v in self._tree(module).items() if not hasattr(v, "items")}

    def _part(self, module, name):
        return self._tree(module).get(name, {})

    def _gates(self, cell, side):
        params = self._tree(cell)
        return [params[side + gate] for gate in GATES.get(type(cell), "")]

    def _tree(self, module):
        """Return the parameters of a module, or what is there instead; nested as they are."""
        if self._instead is None:
            return module.variables.get("params", {})
        # A layer that is applied to parameters from elsewhere has no place of its own.
        return functools.reduce(lambda tree, key: tree.get(key, {}), module.path, self._instead)


class PretrainedProbe(LinenProbe):
    """A Flax model of Hugging Face: a Linen module, its parameters and a call of its own."""

    def __init__(self, model, inputs, options=None):
        self._model = model
        super().__init__((model.module, {"params": model.params}), inputs, options)

    def _run(self, inputs):
        params = self._model.params if self._params is None else self._params
        self._model(*inputs, params=params, **self.options)


def PROBE(module, inputs, options=None):
    """Return the probe that fits a module."""
    if hasattr(module, "params") and isinstance(getattr(module, "module", None), linen.Module):
        return PretrainedProbe(module, inputs, options)
    linen_module = isinstance(module, (tuple, linen.Module))
    return (LinenProbe if linen_module else NNXProbe)(module, inputs, options)
