"""The common interface: what a backend provides to code that must not know the framework.

The trainer loop, the harness, the notebooks and the command line use nothing else. NumPy arrays go
in and come out; what is between is the framework's. The maths is in the columns, once for each
framework; this file holds what is the same for all of them, and each column's ``backend.py``
subclasses `Backend`, `Model`, `Trainer` and `Decoding` with a few short hooks (names starting with
an underscore). A hook is given framework arrays and gives framework arrays back (`Tensor`), unless
its docstring speaks of NumPy.

Rules:

* Parameters have PyTorch's state-dict names, layouts and gate order, whatever the framework.
* Floating inputs of a model are cast to its dtype, integers and booleans are left alone. NumPy has
  no bfloat16: such a model's arrays are float32 on NumPy's side, which holds every bfloat16.
* Tuples, lists and None nest.
* Dropout acts only with ``training=True``. Its masks are drawn in NumPy (`randomness`), unless the
  framework's own generator is asked for with ``dropout="own"``.
"""

import importlib
import importlib.util
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypedDict

import numpy as np
from jaxtyping import Float, Int

from d2l_ext import checks, randomness
from d2l_ext.nested import Nested, nest, stacked

if TYPE_CHECKING:
    from d2l_ext.parallel.group import Group

COLUMNS = ("torch", "mxnet", "jax", "tensorflow")
BACKENDS = (*COLUMNS, "reference")
_NEEDS = {
    "torch": ("torch",),
    "mxnet": ("mxnet",),
    "jax": ("jax", "flax"),
    "tensorflow": ("tensorflow", "keras"),
    "reference": (),
}

Tensor: TypeAlias = Any  # an array of the framework
Module: TypeAlias = Any  # a module of the column: a layer or a whole model
Arrays: TypeAlias = dict[str, np.ndarray]  # by canonical name, or by canonical path
Masks: TypeAlias = Mapping[str, np.ndarray] | None  # by canonical path; None: the framework draws
Batch: TypeAlias = Sequence[Any]  # a model's inputs and, last, the labels

# Adam's constants (Kingma and Ba, 2015): beta1, beta2 and epsilon, outside the square root.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def backend(name: str) -> "Backend":
    """Return a framework's backend.

    Args:
        name: "torch", "mxnet", "jax", "tensorflow" or "reference" (plain NumPy; exact and slow).

    Raises:
        ValueError: unknown name.
        ImportError: the framework is not installed; the message names the extra to install.
    """
    checks.choice("backend", name, BACKENDS)
    missing = _missing(name)
    if missing:
        raise ImportError(
            f"the {name} backend needs {' and '.join(missing)}: install it with  {install(name)}"
        )
    return importlib.import_module(f"d2l_ext.{name}.backend").BACKEND


def install(name: str) -> str:
    """Return the command that installs a framework."""
    if name == "mxnet" and sys.version_info >= (3, 13):  # whose NumPy MXNet's metadata refuse
        return "pip install 'd2l-ext[mxnet]' && pip install --no-deps mxnet==1.9.1"
    return f"pip install 'd2l-ext[{name}]'"


def installed() -> tuple[str, ...]:
    """Return the names of the frameworks that are installed, in the columns' order."""
    return tuple(name for name in COLUMNS if not _missing(name))


def _missing(name: str) -> list[str]:
    return [package for package in _NEEDS[name] if importlib.util.find_spec(package) is None]


def decoder_of(module: Module) -> Module:
    """Return the part of a module that decodes; a language model is all decoder."""
    return getattr(module, "decoder", module)


class Backend(ABC):
    """A framework behind the common interface.

    Attributes:
        name: "torch", "mxnet", "jax", "tensorflow" or "reference".
        version: the framework's version.
        api: the column, a module with the public classes and functions.
        dtypes: names of the floating dtypes that its models take.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")

    # The column's own classes, of which `model`, `trainer` and `Model.decoding` make one.
    _model: ClassVar[type["Model"]]
    _trainer: ClassVar[type["Trainer"]]
    _decoding: ClassVar[type["Decoding"]]

    @property
    def api(self) -> ModuleType:
        """The column: ``backend("jax").api`` is ``d2l_ext.jax``."""
        return importlib.import_module(f"d2l_ext.{self.name}")

    def array(self, x: Nested) -> Nested:
        """Turn NumPy into framework arrays, dtype kept; tuples, lists and None nest."""
        return nest(lambda leaf: self._array(np.asarray(leaf)), x)

    def numpy(self, y: Nested) -> Nested:
        """Turn framework arrays into NumPy, dtype kept; tuples, lists and None nest."""
        return nest(self._numpy, y)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the framework sees: "cpu", then "gpu:0", "gpu:1" and so on."""
        return ("cpu", *(f"gpu:{number}" for number in range(len(self._gpus()))))

    def use(self, device: str) -> None:
        """Compute on a device from now on; models that are there already stay where they are.

        Args:
            device: one of `devices`; "gpu" is the first.

        Raises:
            ValueError: the framework does not see it; the message says what it sees.
        """
        wanted = "gpu:0" if device == "gpu" else device
        if wanted not in self.devices:
            raise ValueError(
                f"device: got {device!r}, but {self.name} {self.version} sees"
                f" {', '.join(self.devices)} only"
            )
        self._use(None if wanted == "cpu" else self._gpus()[int(wanted.removeprefix("gpu:"))])

    def _gpus(self) -> Sequence[Any]:
        """The GPUs that the framework sees, as it names them."""
        return ()

    def _use(self, gpu: Any) -> None:  # noqa: B027 - without GPUs there is nothing to choose
        """Compute on one of `_gpus`, or on the CPU if it is None."""

    def eagerly(self, wanted: bool = True) -> AbstractContextManager[None]:
        """Return a context in which functions run as they stand, or, not wanted, are compiled.

        Only TensorFlow has both for the same function, and takes seconds to compile the smallest;
        the others do in it what they always do.
        """
        return nullcontext()

    def forget(self) -> None:  # noqa: B027 - most frameworks have nothing to drop
        """Drop what has been compiled and is in no model: a process can hold only so much of it."""

    def model(
        self, module: Module, *inputs: Nested, seed: int = 0, dtype: str = "float32"
    ) -> "Model":
        """Make a chapter module ready, with the common initial parameters.

        Args:
            module: a module of this column.
            *inputs: example inputs (NumPy), from which the sizes of lazy weights follow.
            seed: seed of the initial parameters and of dropout.
            dtype: one of ``dtypes``.

        Raises:
            ValueError: a dtype that the framework does not have on the CPU, or bad inputs.
        """
        checks.choice(f"dtype ({self.name})", dtype, self.dtypes)
        return self._model(self, module, inputs, seed, dtype)

    def trainer(
        self,
        model: "Model",
        lr: float,
        max_norm: float | None = None,
        pad: int | None = None,
        compile: bool | None = None,
        group: "Group | None" = None,
    ) -> "Trainer":
        """Return a `Trainer` that minimises the masked loss of a model; arguments as there.

        With a group, from `join`, it does so with the trainers of the other processes: each
        is given the whole of every batch and takes its share (`parallel.trainer.SharedTrainer`).
        """
        if group is None:
            return self._trainer(model, lr, max_norm, pad, compile)
        return self._parallel.SHARED_TRAINER(model, lr, max_norm, pad, compile, group=group)

    def join(self, rank: int, addresses: Sequence[str], **options: Any) -> "Group":
        """Meet the other processes of a run; before the framework has computed anything.

        Args:
            rank: this process's number, from 0.
            addresses: ``"host:port"`` of every process.
            **options: of `parallel.Group`.

        Returns:
            A `parallel.Group`, for `trainer`.
        """
        return self._parallel.GROUP(rank, addresses, **options)

    @property
    def _parallel(self) -> ModuleType:
        """The column's engine, which is loaded when it is needed."""
        return importlib.import_module(f"d2l_ext.{self.name}.parallel")

    @abstractmethod
    def vjp(
        self, function: Callable[..., Nested], inputs: Nested, cotangent: Nested
    ) -> tuple[Nested, Nested]:
        """Vector-Jacobian product of a function of framework arrays.

        Args:
            function: called with framework arrays, returns framework arrays, nested.
            inputs: NumPy arrays, nested; floating ones are differentiated.
            cotangent: NumPy arrays that mirror the outputs; None is zero.

        Returns:
            The outputs and the input gradients, as NumPy; integer inputs get None.
        """

    @abstractmethod
    def _array(self, x: np.ndarray) -> Tensor:
        """Copy a NumPy array of any shape to the framework, dtype kept."""

    @abstractmethod
    def _numpy(self, y: Tensor) -> np.ndarray:
        """Turn a framework array of any shape into NumPy, dtype kept; bfloat16 becomes float32."""


class Model(ABC):
    """A module with its parameters: NumPy in, NumPy out.

    Attributes:
        backend: the `Backend` that made it.
        module: the column's module.
        seed: of the initial parameters and of dropout.
        dtype: name of the dtype of parameters and of floating inputs.
        on_cast: called with whatever `cast` makes for the column, by who watches that it stays as
            it is; None if nobody does.
    """

    def __init__(self, backend: Backend, module: Module, inputs: Nested, seed: int, dtype: str):
        self.backend, self.module, self.seed, self.dtype = backend, module, seed, dtype
        self.on_cast: Callable[[Nested], object] | None = None
        self._layers: dict[str, dict[str, tuple[float, tuple[int, ...]]]] = {}
        self._weights: Nested = None
        self._build(self.cast(inputs))
        tied = getattr(self.module, "tied", ())
        self.load_parameters(randomness.initial_parameters(self.shapes(), seed, tied))

    def __call__(
        self, *inputs: Nested, training: bool = False, dropout: Masks | str = None
    ) -> Nested:
        """Run the module.

        Args:
            *inputs: NumPy arrays, nested.
            training: whether dropout acts.
            dropout: as in `masks`.

        Returns:
            The outputs as NumPy.
        """
        masks = self.masks(inputs, dropout) if training else None
        outputs, weights = self._forward("forward", self.cast(inputs), training, masks)
        self._weights = stacked(self.backend.numpy(weights))
        return self.backend.numpy(outputs)

    def call(self, method: str, *inputs: Nested) -> Nested:
        """Call any other public method of the module, in evaluation mode."""
        outputs, _ = self._forward(method, self.cast(inputs), False, None)
        return self.backend.numpy(outputs)

    @property
    def attention_weights(self) -> Nested:
        """The last call's weights as NumPy.

        (batch, queries, keys) for one attention; heads (batch * heads, queries, keys); recurrent
        decoders (steps, batch, 1, keys); Transformers nest one array per block.
        """
        return self._weights

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return ``{canonical name: shape}``."""
        return {name: value.shape for name, value in self._read().items()}

    def parameters(self) -> Arrays:
        """Return ``{canonical name: ndarray}``; the arrays are copies."""
        return self._read()

    def load_parameters(self, params: Mapping[str, Any]) -> None:
        """Set all parameters.

        Raises:
            ValueError: a missing, unknown or misshapen name; all of them are listed, and nothing
                is changed.
        """
        self._write({k: v.astype(self.numpy_dtype) for k, v in self.matched(params).items()})

    def matched(self, params: Mapping[str, Any]) -> Arrays:
        """Return canonical arrays as they are, or raise a ValueError that lists what is wrong."""
        wanted = self.shapes()
        params = {name: np.asarray(value) for name, value in params.items()}
        wrong = [f"{name} is missing" for name in wanted if name not in params]
        wrong += [f"{name} is unknown" for name in params if name not in wanted]
        wrong += [
            f"{name} has shape {params[name].shape}, must be {shape}"
            for name, shape in wanted.items()
            if name in params and params[name].shape != tuple(shape)
        ]
        if wrong:
            raise ValueError("parameters: " + "; ".join(wrong))
        return params

    def vjp(
        self,
        inputs: Nested,
        cotangent: Nested,
        training: bool = False,
        dropout: Masks | str = None,
    ) -> tuple[Nested, Arrays, Nested]:
        """Vector-Jacobian product of the module.

        Args:
            inputs: a tuple of NumPy arrays, nested.
            cotangent: NumPy arrays that mirror the outputs; None is zero.
            training: whether dropout acts.
            dropout: as in `masks`.

        Returns:
            The outputs; ``{name: gradient}``, zeros for unused parameters; the input gradients,
            nested like the inputs, None for integers.
        """
        masks = self.masks(inputs, dropout) if training else None
        return self._vjp(self.cast(inputs), self._cast_numpy(cotangent), training, masks)

    def masks(self, inputs: Nested, dropout: Masks | str = None, step: int = 0) -> Masks:
        """Return the dropout masks of one forward pass.

        Args:
            inputs: NumPy arrays, nested.
            dropout: None draws the masks from (seed, step, path); a dictionary ``{path: mask}`` is
                used as it is; "own" leaves dropout to the framework's own generator.
            step: the training step.

        Returns:
            ``{canonical path: float32 array}``, or None for the framework's own generator.

        Raises:
            ValueError: a dictionary without a layer that acts: it would drop what it likes.
        """
        if dropout is None:
            return randomness.dropout_masks(self.dropout_layers(*inputs), self.seed, step)
        if isinstance(dropout, str):
            checks.choice("dropout", dropout, ("own",))
            return None
        if missing := sorted(self.dropout_layers(*inputs).keys() - dropout.keys()):
            raise ValueError(f"dropout: got no mask for {', '.join(missing)}")
        return dropout

    def dropout_layers(self, *inputs: Nested) -> dict[str, tuple[float, tuple[int, ...]]]:
        """Return ``{canonical path: (rate, mask shape)}`` of the layers that act on such inputs."""
        key = str(nest(lambda x: np.asarray(x).shape, list(inputs)))
        if key not in self._layers:
            self._layers[key] = self._dropout_layers(self.cast(inputs))
        return self._layers[key]

    @property
    def numpy_dtype(self) -> str:
        """The dtype that the model's floating arrays have in NumPy."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def cast(self, inputs: Nested) -> Nested:
        """Turn NumPy inputs into framework arrays of the model's dtype."""
        arrays = nest(self._cast, self.backend.array(self._cast_numpy(inputs)))
        if self.on_cast is not None:
            self.on_cast(arrays)
        return arrays

    def _cast(self, x: Tensor) -> Tensor:
        """Cast a framework array to a dtype that NumPy does not have, if the model's is one."""
        return x

    def _cast_numpy(self, values: Nested) -> Nested:
        def leaf(x):
            x = np.asarray(x)
            return x.astype(self.numpy_dtype) if np.issubdtype(x.dtype, np.inexact) else x

        return nest(leaf, values)

    def decoding(self, *inputs: Nested, keep_weights: bool = False) -> "Decoding":
        """Return a `Decoding` that produces a batch's translations, or texts, step by step.

        Args:
            *inputs: what the encoder takes: source ids (batch, num_steps) and valid lengths; of a
                language model, the batch size ().
            keep_weights: whether each step's attention weights are kept.
        """
        return self.backend._decoding(self, inputs, keep_weights)

    @abstractmethod
    def _build(self, inputs: Nested) -> None:
        """Create all weights, in the model's dtype; their values do not matter.

        Args:
            inputs: example inputs of the module's forward pass, or () if none are needed.
        """

    @abstractmethod
    def _read(self) -> Arrays:
        """Return all parameters ``{canonical name: array}`` as NumPy copies.

        Names, layouts and the order of gates are PyTorch's: a matrix is (outputs, inputs). The
        dtype is `numpy_dtype`.
        """

    @abstractmethod
    def _write(self, params: Arrays) -> None:
        """Set all parameters from what `_read` returns: the same names, shapes and dtype."""

    @abstractmethod
    def _forward(
        self, method: str, inputs: Nested, training: bool, masks: Masks
    ) -> tuple[Nested, Nested]:
        """Call a method of the module.

        Args:
            method: "forward", or another public method, which is called in evaluation mode.
            inputs: its arguments, nested.
            training: whether dropout acts.
            masks: of dropout in training, NumPy; None leaves it to the framework's own generator.

        Returns:
            The outputs and the module's attention weights, both nested; weights are None where the
            module has none.
        """

    @abstractmethod
    def _vjp(
        self, inputs: Nested, cotangent: Nested, training: bool, masks: Masks
    ) -> tuple[Nested, Arrays, Nested]:
        """As `vjp`; inputs are framework arrays, the cotangent and all results NumPy."""

    @abstractmethod
    def _dropout_layers(self, inputs: Nested) -> dict[str, tuple[float, tuple[int, ...]]]:
        """Return ``{canonical path: (rate, mask shape)}`` of the layers that act on such inputs.

        The mask of a layer that acts inside a loop has time as an axis. Nothing that the user may
        see is changed by asking, neither the last call's weights nor a random state.
        """


class State(TypedDict):
    """What a `Trainer` keeps between steps: Adam's moments are by canonical name."""

    num_steps: int
    m: Arrays
    v: Arrays


class Trainer(ABC):
    """Adam on the masked loss, with clipping by global norm.

    The step (loss, backward, clipping, update) runs in the framework. With g the gradient, scaled
    by max_norm / ||g|| where the norm over all parameters exceeds max_norm, and t from 1:

        m = beta1 m + (1 - beta1) g        v = beta2 v + (1 - beta2) g^2
        p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    Args:
        model: a `Model` of an `EncoderDecoder`.
        lr: learning rate; the attribute may be changed between steps.
        max_norm: largest global norm of the gradient, or None for no clipping.
        pad: the target id that does not count in the loss; None counts every label.
        compile: whether the step is compiled, which takes some seconds for each shape of a batch:
            by `torch.compile` in PyTorch (False by default), by XLA in JAX (always) and TensorFlow
            (True by default; False leaves it to TensorFlow's own graph). In MXNet it takes no time:
            loss and gradients become one operator (True by default), but where a model decides by
            its numbers what it does. The reference cannot. None is the default.

    Attributes:
        compiles: the values that ``compile`` may have in this framework, the default first.
        num_steps: how many steps were done.

    Raises:
        ValueError: a number that is not positive, or a ``compile`` that the framework cannot do.
    """

    compiles: ClassVar[tuple[bool, ...]] = (False,)

    def __init__(
        self,
        model: Model,
        lr: float,
        max_norm: float | None = None,
        pad: int | None = None,
        compile: bool | None = None,
    ):
        if not (math.isfinite(lr) and lr > 0):
            raise ValueError(f"lr: got {lr}, must be a positive number")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm: got {max_norm}, must be a positive number or None")
        checks.choice(f"compile ({model.backend.name})", compile, (None, *self.compiles))
        self.model, self.lr, self.max_norm, self.pad = model, lr, max_norm, pad
        self.compile = self.compiles[0] if compile is None else compile
        self.num_steps = 0

    def step(self, batch: Batch, dropout: Masks | str = None) -> float:
        """Do one training step.

        Args:
            batch: the model's inputs and, last, the labels (batch, num_steps), as NumPy; D2L's
                order is ``(src, tgt_in, src_valid_len, tgt_out)``.
            dropout: as in `Model.masks`; by default drawn from (model seed, step, path).

        Returns:
            The loss before the update, a float (of the reference in long double, one of NumPy's).
        """
        *inputs, labels = batch
        masks = self.model.masks(inputs, dropout, self.num_steps)
        t = self.num_steps + 1
        loss = self._step(
            self.model.cast(inputs), self.model.cast(labels), masks, 1 - BETA1**t, 1 - BETA2**t
        )
        self.num_steps = t
        return self._number(loss)

    def loss(self, batch: Batch) -> float:
        """Return the masked loss of a batch in evaluation mode; nothing is updated."""
        *inputs, labels = batch
        return self._number(self._loss(self.model.cast(inputs), self.model.cast(labels)))

    def state(self) -> State:
        """Return ``{"num_steps": int, "m": {name: array}, "v": {name: array}}``."""
        m, v = self._moments()
        return {"num_steps": self.num_steps, "m": m, "v": v}

    def load_state(self, state: State) -> None:
        """Set the optimiser's state; names and shapes are checked as for parameters."""
        m, v = self.model.matched(state["m"]), self.model.matched(state["v"])
        self._set_moments(
            *({k: x.astype(self.model.numpy_dtype) for k, x in d.items()} for d in (m, v))
        )
        self.num_steps = int(state["num_steps"])

    def _number(self, loss: Tensor) -> float:
        """Turn a framework's scalar into a float."""
        return float(loss)

    @abstractmethod
    def _step(
        self,
        inputs: Nested,
        labels: Tensor,
        masks: Masks,
        correction1: float,
        correction2: float,
    ) -> Tensor:
        """Do one training step: loss, backward, clipping, update of parameters and moments.

        Args:
            inputs: of the module's forward pass, nested.
            labels: (batch, num_steps).
            masks: as in `Model._forward`.
            correction1, correction2: 1 - beta1^t and 1 - beta2^t.

        Returns:
            The loss before the update, a scalar.
        """

    @abstractmethod
    def _loss(self, inputs: Nested, labels: Tensor) -> Tensor:
        """Return the masked loss in evaluation mode, a scalar; arguments as in `_step`."""

    @abstractmethod
    def _moments(self) -> tuple[Arrays, Arrays]:
        """Return Adam's m and v as NumPy copies, with the names and layouts of `Model._read`."""

    @abstractmethod
    def _set_moments(self, m: Arrays, v: Arrays) -> None:
        """Set Adam's m and v from what `_moments` returns."""


class Decoding(ABC):
    """A batch that is being decoded; the decoder's state stays in the framework.

    Only token ids and the best few log-probabilities cross to the host. Rows are sentences, or
    sentences times beams after `reorder`.
    """

    def __init__(self, model: Model, inputs: Nested, keep_weights: bool):
        self.model, self.keep_weights = model, keep_weights
        self._weights: Nested = None
        self._state = self._start(model.cast(inputs))

    @property
    def decoder(self) -> Module:
        """`decoder_of` the model's module."""
        return decoder_of(self.model.module)

    @property
    def vocab_size(self) -> int:
        """The number of tokens that `step` chooses from."""
        return self.decoder.config["vocab_size"]

    def step(
        self, tokens: Int[np.ndarray, "rows ..."], k: int = 1
    ) -> tuple[Float[np.ndarray, "rows k"], Int[np.ndarray, "rows k"]]:
        """Feed one token per row, or the first few, and say what may follow the last.

        Args:
            tokens: ids (rows,) or (rows, num_steps), NumPy.
            k: how many of the best next tokens to return, at most the vocabulary's size.

        Returns:
            Log-probabilities, in descending order, and ids, as NumPy. Of tokens that are equally
            likely, the lower id comes first.

        Raises:
            FloatingPointError: a log-probability is NaN, because a parameter is not finite.
        """
        tokens = np.asarray(tokens)
        fed = self.model.cast(tokens.reshape(len(tokens), -1))
        before = self._state
        log_probs, ids = self._best(fed, before, min(k + 1, self.vocab_size))
        # Frameworks order ties as they like. One that crosses the limit needs all that take part.
        if k < ids.shape[1] < self.vocab_size and (log_probs[:, k - 1] == log_probs[:, k]).any():
            log_probs, ids = self._all(fed, before)
        falls = log_probs[:, :-1] > log_probs[:, 1:]
        if falls.size and falls.all():  # as nearly always: no ties, and nothing is NaN
            return log_probs[:, :k], ids[:, :k]
        if np.isnan(log_probs).any():
            raise FloatingPointError("the model's log-probabilities are NaN")
        order = np.lexsort((ids, -log_probs))[:, :k]
        return np.take_along_axis(log_probs, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def score(
        self, tokens: Int[np.ndarray, "rows num_steps"]
    ) -> Float[np.ndarray, "rows num_steps vocab"]:
        """Feed tokens to a language model; return the log-probabilities after each of them.

        Other than after `step`, the `state` before stays valid: the text may go on from there too.
        """
        fed, state = self.model.cast(np.asarray(tokens)), self._state
        if self.decoder.config["window"] is None:  # a rolling cache would be filled in place
            state = self.decoder.reserve(state, fed.shape[1], 32)
        (logits, self._state), _ = self.model._forward("forward", (fed, state), False, None)
        logits = self.model.backend.numpy(logits).astype(np.float64)
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))

    @property
    def state(self) -> Nested:
        """What the next call goes on from, opaque; it may be set to one that was here before."""
        return self._state

    @state.setter
    def state(self, state: Nested) -> None:
        self._state = state

    def reorder(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Continue with these rows (indices; repeating and leaving out are allowed).

        The `state` before stays valid.
        """
        self._state = self._take_rows(self._state, self.model.cast(np.asarray(rows)))

    @property
    def attention_weights(self) -> Nested:
        """Weights of the last call as NumPy, if they are kept.

        Of a recurrent decoder one (rows, 1, keys) for each token; Transformers nest one array per
        block.
        """
        return self.model.backend.numpy(self._weights) if self.keep_weights else None

    def _best(
        self, tokens: Tensor, state: Nested, k: int
    ) -> tuple[Float[np.ndarray, "rows k"], Int[np.ndarray, "rows k"]]:
        """Feed tokens (rows, num_steps) and keep what `_advance` returns; the k best are NumPy."""
        log_probs, ids, self._weights, self._state = self._advance(tokens, state, k)
        return self.model.backend.numpy(log_probs), self.model.backend.numpy(ids)

    def _all(
        self, tokens: Tensor, before: Nested
    ) -> tuple[Float[np.ndarray, "rows vocab"], Int[np.ndarray, "rows vocab"]]:
        """Return what `_best` does for the same token and state, of all next tokens.

        A column whose `_advance` uses up the state before writes its own.
        """
        return self._best(tokens, before, self.vocab_size)

    @abstractmethod
    def _start(self, inputs: Nested) -> Nested:
        """Return the decoder's first state, in evaluation mode; where there is an encoder, encode.

        Args:
            inputs: of the encoder: ids (batch, num_steps) and, perhaps, valid lengths (batch,); of
                a language model: the batch size ().
        """

    @abstractmethod
    def _advance(
        self, tokens: Tensor, state: Nested, k: int
    ) -> tuple[Tensor, Tensor, Nested, Nested]:
        """Feed tokens.

        Args:
            tokens: ids (rows, num_steps), of a translation one step.
            state: as `_start`, `_advance` or `_take_rows` returned it; it may be used up.
            k: how many next tokens to return.

        Returns:
            The k largest log-probabilities (rows, k), in descending order; their ids (rows, k); the
            decoder's attention weights, or None where they are not kept; the new state.
        """

    @abstractmethod
    def _take_rows(self, state: Nested, rows: Tensor) -> Nested:
        """Return the state of these rows: indices (new rows,), repeated or left out at will."""
