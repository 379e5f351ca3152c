"""Looking into a module of any framework: what goes into each layer and what comes out.

A `Probe` runs a module and calls a `Visitor` before and after each layer, with NumPy arrays. What
the visitor returns takes their place, so that a layer can be given other inputs, or the rest of the
module other outputs. Each column's ``hooks.py`` says how its framework's layers are called, found
and read; everything else is written here, once.

Layers that every framework has get one description: parameters as `torch.nn` has them. A layer's
parameters are described as the framework means them: a Keras GRU's update gate comes second here,
because Keras reads it from the first columns of its kernel. Multi-head attention is described as
four dense layers, whether a framework keeps the first three in one matrix or has an axis for heads.
"""

import contextlib
import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.interface import Arrays, Model, Module, Tensor
from d2l_ext.porting.cuts import Cuts, Pull, Pullback

# Layers that are known by their kind; what they call inside is not looked at.
KNOWN = ("linear", "embedding", "norm", "gru", "lstm", "attention", "dropout")
PROJECTIONS = ("query", "key", "value", "out")  # of multi-head attention


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a module.

    Attributes:
        path: its name in the module, "" for the module itself.
        kind: one of `KNOWN`, else the name of its class.
        parameters: its own, ``{name: array}``; of known kinds as `torch.nn` has them.
    """

    path: str
    kind: str
    parameters: Arrays

    @property
    def named(self) -> Arrays:
        """The parameters by their names in the module."""
        return {f"{self.path}.{name}".lstrip("."): x for name, x in self.parameters.items()}

    def __str__(self) -> str:
        return self.path or "the model"


class Visitor:
    """Sees the arrays that go into and come out of each layer, and may replace them."""

    def enter(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        """See a layer's inputs; return arrays for their place, or None."""

    def leave(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        """See a layer's outputs; return arrays for their place, or None."""


Look: TypeAlias = Callable[[Layer, list[np.ndarray]], "list[np.ndarray] | None"]
# ``gradient(number of the step, parameter)``, number by number, so that it fits any layout.
Gradient: TypeAlias = Callable[[int, np.ndarray], np.ndarray]


class Probe(ABC):
    """A module that can be looked into while it runs.

    Args:
        module: the framework's own, or a `Model` (which is put in evaluation mode).
        inputs: example inputs, NumPy.
        options: keyword arguments of the call; NumPy arrays among them are inputs, too.
    """

    def __init__(self, module: Any, inputs: Sequence[Any], options: dict[str, Any] | None = None):
        self.options, self._keywords = {}, options or {}
        self.module = self._prepare(module) if isinstance(module, Model) else module
        self._visitor, self._closed = Visitor(), False
        self._cuts = Cuts()
        self._seen: dict[str, Any] = {}  # the layers that were called
        self._instead: Any = None  # what `_read` is to read in the place of parameters
        self._start(inputs)  # creates lazy weights
        self._paths = {id(layer): path for path, layer in self._layers() if layer is not None}

    def run(self, visitor: Visitor, inputs: Sequence[Any]) -> None:
        """Run the module on NumPy inputs, floats cast to the dtype of its parameters."""
        self._visitor, self._closed = visitor, False
        self._cuts = Cuts()
        with self._watching():
            self._start(inputs)

    def pullback(self, visitor: Callable[[], Visitor], inputs: Sequence[Any]) -> Pullback:
        """Run the module on a visitor's values, and return how gradients go back through it.

        Wherever a float is put in the place of another, the graph is cut: gradients begin at what
        had come up there and end at what was put in. So each piece between two cuts has its own.

        Args:
            visitor: makes one that puts in the same values each time.
            inputs: as of `run`.
        """
        self.run(visitor(), inputs)
        starts = self._cuts.starts

        def run(starts):
            self._visitor, self._closed = visitor(), False
            self._cuts = Cuts(starts)
            with self._watching():
                self._start(inputs)
            return self._cuts.ends

        pull = self._pull(run, starts)

        def pulled(cotangents):
            by_start, instead = pull(cotangents)
            by_name = self._named(instead)
            zeros = (np.zeros_like(self._numpy(x)) for x in starts)
            pairs = zip(by_start, zeros, strict=True)
            return [zero if g is None else self._numpy(g) for g, zero in pairs], by_name

        return pulled

    def steps(self, optimizer: Any, gradient: Gradient, count: int) -> list[Arrays]:
        """Let an optimiser take steps; the module and the optimiser stay as they are.

        Args:
            optimizer: the framework's own.
            gradient: ``gradient(number of the step, parameter)`` of each parameter as it is before
                the first step.
            count: the number of steps.

        Returns:
            ``{name: array}`` of the parameters that can be trained, after each step.

        Raises:
            TypeError: it is no optimiser of this framework.
        """
        return [self._named(after) for after in self._steps(optimizer, gradient, count)]

    def _named(self, instead: Any) -> Arrays:
        """Return ``{name of a parameter: array}`` of what is there instead of parameters."""
        self._instead = instead
        try:
            return {
                name: x
                for path, module in self._seen.items()
                for name, x in self._describe(path, module).named.items()
            }
        finally:
            self._instead = None

    @property
    def held(self) -> list[np.ndarray]:
        """The arrays in containers among the options, as NumPy."""
        containers = [x for x in self.options.values() if opened(x) is not None]
        return [self._numpy(x) for x in self._leaves(containers)]

    @property
    def float_dtype(self) -> str | None:
        """The dtype of the module's first parameter that is a float, or None."""
        return next((name for name in self._dtypes() if "float" in name), None)

    def _start(self, inputs: Sequence[Any]) -> None:
        """Run the module on NumPy inputs, positional and by keyword."""
        arrays = {k: x for k, x in self._keywords.items() if isinstance(x, np.ndarray)}
        given = dict(zip(arrays, self._given(list(arrays.values())), strict=True))
        rest = {k: x for k, x in self._keywords.items() if k not in arrays}
        self.options = copy.deepcopy(rest) | given  # a call may fill a cache that it is given
        self._run(self._given(inputs))

    def _given(self, inputs: Sequence[Any]) -> list[Any]:
        dtype = self.float_dtype

        def cast(x):
            x = np.asarray(x)
            if dtype is None or x.dtype.kind != "f":
                return self._array(x)
            if dtype == "bfloat16":  # which NumPy does not have
                return self._to_bfloat16(self._array(x.astype("float32")))
            return self._array(x.astype(dtype))

        return [None if x is None else cast(x) for x in inputs]

    def _call(
        self,
        path: str | None,
        module: Any,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Call a layer between the visitor's two looks at it."""
        if path is None or self._closed or not self._leaves((args, kwargs)):
            return call(*args, **kwargs)
        self._seen[path] = module
        layer = self._describe(path, module)
        args, kwargs = self._shown((args, kwargs), layer, self._visitor.enter)
        self._closed = layer.kind in KNOWN
        try:
            output = call(*args, **kwargs)
        finally:
            self._closed = False
        return self._shown(output, layer, self._visitor.leave)

    def _describe(self, path: str, module: Any) -> Layer:
        kind, parameters = self._read(path, module)
        if "weight_hh_l0" in parameters:
            rows, size = parameters["weight_hh_l0"].shape
            kind = {3: "gru", 4: "lstm"}.get(rows // size, kind)
        return Layer(path, kind, parameters)

    def _shown(self, tree: Any, layer: Layer, look: Look) -> Any:
        """Show the arrays in nested containers to a visitor, and put in what it returns.

        An array that stands there several times is one, as queries, keys and values often are:
        other code hands it over once, and it has one gradient.
        """
        leaves = list({id(x): x for x in self._leaves(tree)}.values())
        arrays = [self._numpy(x) for x in leaves]
        new = look(layer, arrays)
        if new is None:
            return tree
        instead = {
            id(x): x if after is before else self._put(after.astype(before.dtype), x)
            for x, before, after in zip(leaves, arrays, new, strict=True)
        }
        return self._exchange(tree, instead)

    def _put(self, new: np.ndarray, old: Tensor) -> Tensor:
        """Return what goes on in the place of a framework array."""
        x = self._like(new, old)
        return self._cuts.at(old, x) if new.dtype.kind == "f" else x

    def _leaves(self, tree: Any) -> list[Tensor]:
        if (container := opened(tree)) is not None:
            return [leaf for item in container[0] for leaf in self._leaves(item)]
        return [tree] if self._is_array(tree) else []

    def _exchange(self, tree: Any, new: Mapping[int, Tensor]) -> Any:
        """Put framework arrays in the place of those in a tree, found by their identity."""
        if (container := opened(tree)) is not None:
            items, like = container
            exchanged = [self._exchange(item, new) for item in items]
            same = all(x is y for x, y in zip(items, exchanged, strict=True))
            return tree if same else like(exchanged)
        return new[id(tree)] if self._is_array(tree) else tree

    def _like(self, array: np.ndarray, old: Tensor) -> Tensor:
        """Turn NumPy into a framework array of another one's dtype."""
        return self._array(array)

    def _to_bfloat16(self, x: Tensor) -> Tensor:
        """Round a float32 array of the framework."""
        raise TypeError("dtype: got bfloat16, which this framework has no layers in")

    @abstractmethod
    def _prepare(self, model: Model) -> Module:
        """Return a `Model`'s module, in evaluation mode."""

    @abstractmethod
    def _run(self, inputs: list[Any]) -> None:
        """Call the module on framework arrays; None stands where an input is left out."""

    @abstractmethod
    def _pull(self, run: Callable[[list[Tensor]], list[Tensor]], starts: list[Tensor]) -> Pull:
        """Run with gradients in view, and return how they go back.

        Args:
            run: runs the module with framework arrays put in at the cuts, and returns what had come
                up there.
            starts: the framework arrays to be put in.

        Returns:
            ``pull(cotangents)``, see `Pull`.
        """

    @abstractmethod
    def _steps(self, optimizer: Any, gradient: Gradient, count: int) -> Iterator[Any]:
        """Yield what `_read` is to read after each step, see `steps`."""

    @abstractmethod
    def _watching(self) -> AbstractContextManager[None]:
        """Return a context manager within which layers are called by `_call`."""

    @abstractmethod
    def _layers(self) -> Iterable[tuple[str, Any]]:
        """Yield ``(path, layer)`` of all layers."""

    @abstractmethod
    def _dtypes(self) -> Iterable[str]:
        """Yield the names of the dtypes of the module's parameters."""

    @abstractmethod
    def _read(self, path: str, module: Any) -> tuple[str, Arrays]:
        """Return a layer's kind and its own parameters, or what is `_instead` of them, as NumPy."""

    @abstractmethod
    def _is_array(self, x: Any) -> bool:
        """Whether something is a framework array with values."""

    @abstractmethod
    def _array(self, x: np.ndarray) -> Tensor:
        """Copy a NumPy array to the framework, dtype kept."""

    @abstractmethod
    def _numpy(self, x: Tensor) -> np.ndarray:
        """Copy a framework array to NumPy; bfloat16 becomes float32."""


def opened(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]] | None:
    """Return what is in a container and how one of its kind is made of other items; else None.

    Containers are tuples, named or not, lists, dictionaries and dataclasses, such as the outputs of
    Hugging Face's models.
    """
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree) if field.init]
        items = [getattr(tree, name) for name in names]
        return items, lambda new: dataclasses.replace(tree, **dict(zip(names, new, strict=True)))
    kind: Any = type(tree)
    if isinstance(tree, Mapping):
        return list(tree.values()), lambda new: kind(zip(tree, new, strict=True))
    if isinstance(tree, (tuple, list)):
        named = hasattr(tree, "_fields")
        return list(tree), lambda new: kind(*new) if named else kind(new)
    return None


def without_heads(parts: Mapping[str, Arrays]) -> Arrays:
    """Return the parameters of multi-head attention as four dense layers of `torch.nn` have them.

    Args:
        parts: of each of `PROJECTIONS`, ``{"kernel": array, "bias": array}``, kernels with an axis
            for heads: (inputs, heads, size) and, of the last, (heads, size, outputs).
    """
    found = {}
    for name, own in parts.items():
        for leaf, x in own.items():
            if leaf == "bias":
                found[f"{name}.bias"] = x.reshape(-1)
            else:
                shape = (-1, x.shape[-1]) if name == "out" else (len(x), -1)
                found[f"{name}.weight"] = x.reshape(shape).T
    return found


def not_an_optimizer(optimizer: Any, wanted: str) -> TypeError:
    """Return the error of something that is no optimiser of a framework."""
    return TypeError(f"optimizers: got {type(optimizer).__name__}, must be {wanted}")


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for the time of a ``with`` block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def watching(probe: Probe, owner: type) -> AbstractContextManager[None]:
    """Let the instances of a class be called by a probe; the `_watching` of most columns."""
    call = owner.__call__

    def watched(module, *args, **kwargs):
        path = probe._paths.get(id(module))
        return probe._call(path, module, lambda *a, **k: call(module, *a, **k), args, kwargs)

    return replaced(owner, "__call__", watched)
