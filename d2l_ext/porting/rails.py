"""Models with their layers in view: what their calls were, and a run on another model's values."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from d2l_ext.interface import Arrays, Model
from d2l_ext.porting.arrays import LEFT_OUT, corresponding, is_mask, reshaped
from d2l_ext.porting.probe import Layer, Visitor

Noise: TypeAlias = Callable[[np.ndarray], np.ndarray]
# An array of the first model: the number of a call, its side ("in" or "out"), which of its arrays.
Spot: TypeAlias = tuple[int, str, int]
Place: TypeAlias = tuple[int, str]  # the same, of all arrays there
V = TypeVar("V", bound=Visitor)


@dataclasses.dataclass
class Call:
    """One call of a layer: what went in and came out, and the calls inside (up to ``end``)."""

    layer: Layer
    number: int
    inputs: list[np.ndarray]
    outputs: list[np.ndarray] = dataclasses.field(default_factory=list)
    end: int = 0

    def arrays(self, side: str) -> list[np.ndarray]:
        """Return the inputs ("in") or the outputs ("out")."""
        return self.inputs if side == "in" else self.outputs

    def contains(self, other: "Call") -> bool:
        """Whether another call was made inside of this one."""
        return self.number <= other.number < self.end


class Recorder(Visitor):
    """Keeps every call of every layer, and all arrays in the order in which they came up."""

    def __init__(self):
        self.calls: list[Call] = []
        self.events: list[tuple[Call, str]] = []
        self._open: list[Call] = []

    def enter(self, layer: Layer, arrays: list[np.ndarray]) -> None:
        call = Call(layer, len(self.calls), arrays)
        self.calls.append(call)
        self._open.append(call)
        self.events.append((call, "in"))

    def leave(self, layer: Layer, arrays: list[np.ndarray]) -> None:
        call = self._open.pop()
        call.outputs, call.end = arrays, len(self.calls)
        self.events.append((call, "out"))


class Rails(Visitor):
    """Puts a model onto given values at every call in ``rails``, and notes what it had computed.

    Args:
        rails: ``{number of the call: the first model's call}``.
        noise: a function that is applied to what is put in.
        moved: ``{spot: array}``, what is added to what is put in.

    Attributes:
        seen: what came up, ``{(number of the call, side): arrays}``.
        ends: the floats among it that something was put in for, by their spots.
    """

    def __init__(
        self,
        rails: Mapping[int, Call],
        noise: Noise = lambda x: x,
        moved: Mapping[Spot, np.ndarray] | None = None,
    ):
        self.rails, self.noise, self.moved = rails, noise, moved or {}
        self.seen: dict[tuple[int, str], list[np.ndarray]] = {}
        self.ends: dict[Spot, np.ndarray] = {}
        self._count = 0
        self._open: list[int] = []

    def enter(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        number, self._count = self._count, self._count + 1
        self._open.append(number)
        return self._meet(number, "in", arrays)

    def leave(self, layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        return self._meet(self._open.pop(), "out", arrays)

    def _meet(self, number: int, side: str, arrays: list[np.ndarray]) -> list[np.ndarray] | None:
        if number not in self.rails:
            return None
        self.seen[number, side] = arrays
        call = self.rails[number]
        wanted, new = call.arrays(side), list(arrays)
        for i, j in corresponding(wanted, arrays):
            if is_mask(arrays[j]):
                continue
            spot = (call.number, side, i)
            x = self.noise(wanted[i]) + self.moved.get(spot, 0)
            new[j] = reshaped(x, arrays[j].shape, like=wanted[i])
            if arrays[j].dtype.kind == "f":
                self.ends[spot] = arrays[j]
        return new


class Recorded(Protocol):
    """What a model's run left: a `Side`, which can run again, or a `Trace`, which can't."""

    calls: list[Call]
    record: Recorder

    @property
    def parameters(self) -> Arrays: ...

    @property
    def held(self) -> list[np.ndarray]: ...

    def owned(self, call: Call) -> list[str]: ...


class Side:
    """A model, its inputs and what its calls were."""

    def __init__(self, model: Any, inputs: Sequence[Any], options: dict[str, Any] | None):
        hooks = importlib.import_module(f"d2l_ext.{_framework(model)}.hooks")
        self.probe, self.inputs = hooks.PROBE(model, inputs, options), inputs
        self.record = self.run(Recorder())
        self.calls = self.record.calls

    @property
    def precision(self) -> str | None:
        """The dtype of the model's parameters."""
        return self.probe.float_dtype

    def run(self, visitor: V) -> V:
        """Run with a visitor, and return it."""
        self.probe.run(visitor, self.inputs)
        return visitor

    @property
    def parameters(self) -> Arrays:
        """All parameters of the layers that are called, ``{name: array}``."""
        return {name: x for call in self.calls for name, x in call.layer.named.items()}

    @property
    def held(self) -> list[np.ndarray]:
        """The arrays in containers among the call's options: of a cache, say."""
        return self.probe.held

    def owned(self, call: Call) -> list[str]:
        """List the names of the parameters of a call's layer and of the layers called inside."""
        return [name for x in self.calls[call.number : call.end] for name in x.layer.named]


def _framework(model: Any) -> str:
    """Return the column that a model belongs to, without importing a framework."""
    if isinstance(model, Model):
        return model.backend.name
    module = model[0] if isinstance(model, tuple) else model
    # Flax models of Hugging Face have a module and its parameters, and are none.
    inner = getattr(module, "module", None) if hasattr(module, "params") else None
    columns = {"torch": "torch", "mxnet": "mxnet", "flax": "jax"}
    columns |= dict.fromkeys(("keras", "tf_keras"), "tensorflow")
    for cls in (*type(module).__mro__, *type(inner).__mro__):
        name = cls.__module__
        column = columns.get(name.partition(".")[0])
        column = "reference" if name == "d2l_ext.reference.layers" else column
        if column is not None:
            return column
    raise TypeError(
        f"model: got {type(module).__name__}, must be a torch.nn.Module, a Keras layer, a Gluon"
        " block, an NNX module, a Linen module with its variables, a Flax model of transformers, or"
        " one of Backend.model"
    )


def noise_of(rng: np.random.Generator) -> Noise:
    """Return a function that moves floats by up to one rounding unit."""

    def move(x):
        if x.dtype.kind != "f":
            return x
        factor = 1 + rng.uniform(-1, 1, x.shape) * np.finfo(x.dtype).eps
        # The lowest number, which masks have, can't be moved down.
        return x * np.where(x <= LEFT_OUT, 1, factor).astype(x.dtype)

    return move
