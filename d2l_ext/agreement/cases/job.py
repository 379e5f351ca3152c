"""A job: one module or function with all the numbers it needs, as plain data.

The parent draws every array, so that each backend, in its own process and perhaps with its own
NumPy, gets the same ones. All are representable in float32: both precisions start equal.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.nested import Nested


@dataclasses.dataclass
class Job:
    """What a backend is to compute.

    Attributes:
        name: of the case, with the seed.
        target: ``{"function": name, "options": arguments}`` or ``{"class": name, "config":
            arguments}``, as `d2l_ext.config.build` takes it. Within one process the function may
            also be a callable that takes the column and the arrays.
        inputs: arrays, nested.
        parameters: ``{canonical name: array}``.
        training: whether dropout acts in the outputs that are compared.
        layers: the dropout layers that act in training, `described`.
        masks: dropout masks ``{path: array}`` of the outputs that are compared.
        first_output: whether only the first of several outputs is compared.
        saturates, draws: as in `Case`.
        half: inputs in half precision, or None.
        cotangent: arrays that mirror the outputs.
        steps: optimiser steps, ``{"labels", "pad", "lr", "max_norm", "masks": one per step}``, or
            None. Of a `Schedule` there are also "batches", the inputs of each step, beside which
            the labels are a list, "lrs", and "state", which the optimiser goes on from.
        decode: ``{"start": arguments of `Model.decoding`, "tokens": (batch, num_steps), "rows": of
            the batch, "vocab_size"}`` or None: the tokens are fed one by one; after the first the
            state goes on with these rows. Instead of these two it may have a "walk", as `walk`
            returns it, and "keep_weights".
    """

    name: str
    target: dict[str, Any]
    inputs: tuple[Nested, ...]
    parameters: Arrays = dataclasses.field(default_factory=dict)
    training: bool = False
    layers: Arrays = dataclasses.field(default_factory=dict)
    masks: Arrays = dataclasses.field(default_factory=dict)
    first_output: bool = False
    saturates: bool = False
    draws: bool = False
    half: tuple[Nested, ...] | None = None
    cotangent: Nested = None
    steps: dict[str, Any] | None = None
    decode: dict[str, Any] | None = None

    @property
    def is_function(self) -> bool:
        """Whether the target is a function of the column, not a class."""
        return "function" in self.target

    @property
    def largest_term(self) -> float:
        """How large the terms are that a gradient is a sum of: a cotangent times an input.

        Where a softmax saturates the terms that cancel are longer: attention's gradient of a query
        is made of cotangents times values times keys.
        """
        floats = [x for x in flat(self.inputs).values() if x.dtype.kind == "f"]
        sizes = sorted((_largest([x]) for x in floats), reverse=True)[: 2 if self.saturates else 1]
        return _largest(flat(self.cotangent).values()) * math.prod(max(1.0, x) for x in sizes)

    def compared(self, outputs: Nested) -> Nested:
        """Return the outputs that are compared."""
        return outputs[0] if self.first_output else outputs


def _largest(arrays: Iterable[np.ndarray]) -> float:
    return max((np.abs(x[np.isfinite(x)]).max(initial=0) for x in arrays), default=0.0)


def walk(decode: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what is done one after the other to decode.

    Returns:
        Pairs: "feed" and tokens (rows, num_steps), "best" and tokens (of which the few best next
        ones are asked for), "score" and tokens, "rewind" (to the state before the last score or
        rows) and None, "rows" and the rows that it goes on with.
    """
    if "walk" in decode:
        return [(what, array) for what, array in decode["walk"]]
    first, rows = decode["tokens"], decode["rows"]
    rest = first[rows][:, 1:]
    one_by_one = [("feed", rest[:, t : t + 1]) for t in range(rest.shape[1])]
    return [("feed", first[:, :1]), ("rows", rows), *one_by_one]


def described(layers: Mapping[str, tuple[float, tuple[int, ...]]]) -> Arrays:
    """Return `Model.dropout_layers` as arrays of strings, to be compared as they are."""
    return {path: np.array([str(rate), *map(str, shape)]) for path, (rate, shape) in layers.items()}


def first_labels(steps: Mapping[str, Any]) -> np.ndarray:
    """Return the labels of the first step."""
    return steps["labels"][0] if "batches" in steps else steps["labels"]


def bound(api: ModuleType, target: Mapping[str, Any]) -> Callable[..., Nested]:
    """Return a column's function with its options, as a function of arrays alone."""
    name, options = target["function"], target["options"]
    if callable(name):  # a reader's own, which takes the column as its first argument
        return functools.partial(name, api, **options)
    function = getattr(api, name)
    if name == "attention":
        return lambda *inputs: _with_mask_of_dropout(function, *inputs)
    return lambda *inputs: function(*inputs, **options)


def _with_mask_of_dropout(
    attention: Callable[..., Nested], query: Any, key: Any, value: Any, mask: Any, drop: Any
) -> Nested:
    """Call `attention` with a dropout that multiplies by a given array, or with none."""
    return attention(query, key, value, mask, None if drop is None else lambda w: w * drop)


def flat(values: Nested, path: str = "") -> Arrays:
    """Return ``{path: array}`` of nested values, without the None; a single array is "0"."""
    if values is None:
        return {}
    if isinstance(values, (tuple, list)):
        parts = (flat(v, f"{path}.{i}" if path else str(i)) for i, v in enumerate(values))
        return {name: array for part in parts for name, array in part.items()}
    return {path or "0": np.asarray(values)}


def matching(values: Nested, keep: Nested) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs of leaves of two nested values where the second is not None."""
    if keep is None or values is None:
        return
    if isinstance(keep, (tuple, list)):
        for value, k in zip(values, keep, strict=True):
            yield from matching(value, k)
    else:
        yield values, keep
