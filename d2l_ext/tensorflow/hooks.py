"""Looking into a layer or model of Keras, of version 3 or, as tf_keras, of version 2."""

import sys

import keras
import numpy as np
import tensorflow as tf

from d2l_ext.porting.probe import (
    PROJECTIONS,
    Probe,
    not_an_optimizer,
    replaced,
    watching,
    without_heads,
)
from d2l_ext.tensorflow.layers import Dropout

NAMES = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}
# Where PyTorch's gates stand in Keras's kernels: z, r, h and i, f, c, o.
GATES = {"GRU": (1, 0, 2), "LSTM": (0, 1, 2, 3)}


class TensorFlowProbe(Probe):
    """A Keras layer; with several inputs, a functional model takes them as a list."""

    def __init__(self, module, inputs, options=None):
        owners = {cls.__module__.partition(".")[0] for cls in type(module).__mro__}
        self._keras = sys.modules["tf_keras"] if "tf_keras" in owners else keras
        layers = self._keras.layers
        self._kinds = {
            "linear": layers.Dense,
            "embedding": layers.Embedding,
            "norm": layers.LayerNormalization,
            "dropout": (layers.Dropout, Dropout),
        }
        super().__init__(module, inputs, options)

    def _prepare(self, model):
        return model.module

    def _run(self, inputs):
        functional = isinstance(self.module, self._made_of_layers)
        args = [inputs] if functional and len(inputs) > 1 else inputs
        self.module(*args, **self.options)

    @property
    def _made_of_layers(self):
        """The classes of models that are not written as a call."""
        models = (
            self._keras.src.models if self._keras is keras else self._keras.src.engine.functional
        )
        return self._keras.Sequential, models.Functional

    def _pull(self, run, starts):
        variables = [_tensor(weight) for weight in self.module.trainable_variables]
        with tf.GradientTape(persistent=True) as tape:
            for x in starts:
                tape.watch(x)
            ends = run(starts)

        def pull(cotangents):
            pairs = [
                (y, self._like(c, y))
                for y, c in zip(ends, cotangents, strict=True)
                if c is not None
            ]
            found = tape.gradient(
                [y for y, _ in pairs],
                [*starts, *variables],
                output_gradients=[c for _, c in pairs],
            )
            dense = [None if g is None else tf.convert_to_tensor(g) for g in found]
            by_variable = zip(map(id, variables), dense[len(starts) :], strict=True)
            return dense[: len(starts)], dict(by_variable)

        return pull

    def _steps(self, optimizer, gradient, count):
        if not isinstance(optimizer, self._keras.optimizers.Optimizer):
            name = self._keras.__name__
            raise not_an_optimizer(optimizer, f"a {name}.optimizers.Optimizer")
        optimizer = type(optimizer).from_config(optimizer.get_config())
        variables = self.module.trainable_variables
        before = [self._numpy(tf.convert_to_tensor(_tensor(v))) for v in variables]
        try:
            for number in range(count):
                drawn = [self._array(gradient(number, x).astype(x.dtype)) for x in before]
                optimizer.apply_gradients(zip(drawn, variables, strict=True))
                yield {id(_tensor(v)): tf.identity(_tensor(v)) for v in variables}
        finally:
            for variable, value in zip(variables, before, strict=True):
                variable.assign(value)

    def _watching(self):
        return watching(self, self._keras.layers.Layer)

    def _call(self, path, module, call, args, kwargs):
        """As `Probe._call`; an activation inside a dense layer comes after it."""
        activation = getattr(module, "activation", None)
        if not isinstance(module, self._keras.layers.Dense) or activation is None:
            return super()._call(path, module, call, args, kwargs)
        with replaced(module, "activation", None):
            output = super()._call(path, module, call, args, kwargs)
        return activation(output)

    def _layers(self, layer=None, path=""):
        layer = self.module if layer is None else layer
        yield path, layer
        for name, child in self._children(layer):
            yield from self._layers(child, f"{path}.{name}" if path else name)

    def _children(self, layer):
        """Yield ``(name, layer)`` of the layers directly inside."""
        if isinstance(layer, self._made_of_layers):
            yield from ((child.name, child) for child in layer.layers)
            return
        kind = self._keras.layers.Layer
        for name, value in vars(layer).items():
            if isinstance(value, kind):
                yield name, value
            elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
                items = value.items() if isinstance(value, dict) else enumerate(value)
                yield from ((f"{name}.{k}", v) for k, v in items if isinstance(v, kind))

    def _dtypes(self):
        return (tf.as_dtype(weight.dtype).name for weight in self.module.weights)

    def _read(self, path, module):
        kinds = (k for k, cls in self._kinds.items() if isinstance(module, cls))
        kind = next(kinds, type(module).__name__)
        for name, order in GATES.items():
            if isinstance(module, getattr(self._keras.layers, name)):
                return kind, self._recurrent(module.cell, order)
        if isinstance(module, self._keras.layers.MultiHeadAttention) and not getattr(
            module, "_use_gate", False
        ):
            return "attention", self._attention(module)
        own = {
            k: self._value(v)
            for k, v in vars(module).items()
            if isinstance(v, (keras.Variable, tf.Variable))
            and tf.as_dtype(v.dtype).is_floating  # no counters
            and (self._instead is None or v.trainable)
        }
        own = {name.removeprefix("_"): value for name, value in own.items()}
        known = kind in ("linear", "embedding", "norm")
        if kind == "linear":
            own["kernel"] = own["kernel"].T
        return kind, {NAMES.get(k, k) if known else k: v for k, v in own.items()}

    def _attention(self, module):
        parts = {}
        for name in PROJECTIONS:
            layer = getattr(module, f"_{'output' if name == 'out' else name}_dense")
            parts[name] = {
                leaf: self._value(v)
                for leaf in ("kernel", "bias")
                if (v := getattr(layer, leaf)) is not None
                and (self._instead is None or v.trainable)
            }
        return without_heads(parts)

    def _recurrent(self, cell, order):
        def rows(columns):  # (..., gates * units) to PyTorch's (gates * units, ...)
            gates = np.split(columns, len(order), axis=-1)
            return np.concatenate([gates[i] for i in order], axis=-1).T

        kernels = {"weight_ih_l0": cell.kernel, "weight_hh_l0": cell.recurrent_kernel}
        own = {name: rows(self._value(kernel)) for name, kernel in kernels.items()}
        if cell.use_bias:
            bias = np.atleast_2d(self._value(cell.bias))
            own |= {f"bias_{n}_l0": rows(b) for n, b in zip(("ih", "hh"), bias, strict=False)}
        return own

    def _value(self, variable):
        if self._instead is None:
            return self._numpy(tf.convert_to_tensor(_tensor(variable)))
        gradient = self._instead.get(id(_tensor(variable)))
        return np.zeros(variable.shape) if gradient is None else self._numpy(gradient)

    def _is_array(self, x):
        return isinstance(x, tf.Tensor) and not tf.is_symbolic_tensor(x)

    def _array(self, x):
        return tf.convert_to_tensor(x)

    def _like(self, array, old):
        return tf.cast(array, old.dtype)

    def _to_bfloat16(self, x):
        return tf.cast(x, tf.bfloat16)

    def _numpy(self, x):
        return (tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x).numpy()


def _tensor(variable):
    """Return what TensorFlow differentiates by: Keras 3 has a variable around it."""
    return variable.value if isinstance(variable, keras.Variable) else variable


PROBE = TensorFlowProbe
