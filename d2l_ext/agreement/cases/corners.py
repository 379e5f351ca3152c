"""Corners by rule: every class and function at the edges of what its inputs may be.

Which corners a case has follows from the signature of what it runs: the reference's annotations say
which inputs are numbers, ids, valid lengths and masks, and which axes they share. So a class that
is added has its corners without a line here. Each corner changes the inputs of a case of the
catalogue, its base; ``corners/BASE/CORNER`` is its name, as ``python -m d2l_ext compare --cases``
takes it. ``python -m d2l_ext.agreement.cases.corners`` prints which corners there are of what.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from d2l_ext import reference
from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.catalogue import catalogue
from d2l_ext.agreement.cases.job import bound, flat
from d2l_ext.nested import nest

ROOT = "corners"
# The axes that are the caller's: the others are sizes of a module's layers.
FREE = ("batch", "num_steps", "source_steps", "num_queries", "num_keys", "num_preds")
LENGTHS = ("valid_lens", "enc_valid_lens")
LIMITS = ("num_keys", "source_steps", "num_steps")  # the axis that lengths are counted along
POSITIONS = ("positions", "offset", "pred_positions", "segments", "chosen")
FAR = 10_000  # a position
LARGEST = "largest numbers"


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a class or function.

    Attributes:
        name: of the argument.
        axes: the names of its axes.
        optional: whether it may be None.
    """

    name: str
    axes: tuple[str, ...]
    optional: bool


# Given the inputs by name and what they are; changes the inputs, or returns False: there is no such
# corner.
Change = Callable[[dict[str, Any], dict[str, Input]], bool]


def inputs(case: Case) -> dict[str, Input]:
    """Return what the inputs of a case are, by the reference's signature."""
    target = case.target
    called = getattr(reference, case.subject)
    function = called if "function" in target else called.forward
    hints, found = typing.get_type_hints(function), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self" and name not in target.get("options", {}):
            parts = typing.get_args(hints.get(name)) or (hints.get(name),)
            shapes = (getattr(part, "dim_str", None) for part in parts)
            axes = next((tuple(shape.split()) for shape in shapes if shape is not None), ())
            optional = parameter.default is None or type(None) in parts
            found[name] = Input(name, axes, optional)
    return found


def _arrays(values: dict[str, Any], kind: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays among the inputs whose dtype is of a kind, as "f" or "i"."""
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == kind:
            yield name, value


def _cut(axis: str, to: Callable[[int], int]) -> Change:
    """Cut an axis to a smaller size."""

    def change(values: dict[str, Any], known: dict[str, Input]) -> bool:
        cut = False
        for name, value in values.items():
            if not isinstance(value, np.ndarray):
                if axis == "batch" and value is not None:  # a nested state has rows as well
                    return False
                continue
            place = _place(known[name].axes, axis, value.ndim)
            if name in ("mask", "dropout"):  # of scores, or broadcast to them
                values[name] = _cut_mask(value, axis, to)
            elif place is not None:
                cut |= to(value.shape[place]) < value.shape[place]
                values[name] = _first(value, place, to)
            elif "..." in known[name].axes:  # among which this one may be
                return False
        limit = _limit(values, known)
        for name in LENGTHS:
            if values.get(name) is not None and limit is not None:
                values[name] = np.minimum(values[name], limit)
        if values.get("pred_positions") is not None and limit is not None:
            values["pred_positions"] = np.minimum(values["pred_positions"], limit - 1)
        return cut

    return change


def _place(axes: tuple[str, ...], axis: str, ndim: int) -> int | None:
    """Return which axis of an array it is; None if it has no such axis, or others in its place."""
    if axis not in axes:
        return None
    if axes[0].startswith(("...", "*")):  # any number of axes
        return axes.index(axis) - len(axes)
    return axes.index(axis) if len(axes) == ndim else None


def _cut_mask(mask: np.ndarray, axis: str, to: Callable[[int], int]) -> np.ndarray:
    place = {"num_keys": -1, "num_queries": -2, "batch": -3}.get(axis)
    return mask if place is None or mask.ndim < -place else _first(mask, place, to)


def _first(array: np.ndarray, place: int, to: Callable[[int], int]) -> np.ndarray:
    return np.take(array, range(to(array.shape[place])), axis=place)


def _odd(values: dict[str, Any], known: dict[str, Input]) -> bool:
    """Cut all axes that have an even size."""
    found = False
    for axis in FREE:
        tried = dict(values)
        if _cut(axis, lambda size: size - (size % 2 == 0))(tried, known):
            values.update(tried)
            found = True
    return found


def _limit(values: dict[str, Any], known: dict[str, Input]) -> int | None:
    """Return how long a sequence may be: the size of the axis that lengths are counted along."""
    for axis in LIMITS:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                place = _place(known[name].axes, axis, value.ndim)
                if place is not None:
                    return value.shape[place]
    return None


def _lengths(of: Callable[[np.ndarray, int], np.ndarray | None]) -> Change:
    """Put other lengths in their place."""

    def change(values: dict[str, Any], known: dict[str, Input]) -> bool:
        limit, found = _limit(values, known), False
        for name in LENGTHS:
            if values.get(name) is not None and limit is not None:
                values[name] = of(values[name], limit)
                found = known[name].optional or values[name] is not None
        return found

    return change


def _mask(of: Callable[[np.ndarray], np.ndarray | None]) -> Change:
    def change(values: dict[str, Any], known: dict[str, Input]) -> bool:
        if values.get("mask") is None:
            return False
        values["mask"] = of(values["mask"])
        return True

    return change


def _times(factor: float) -> Change:
    """Multiply all numbers."""

    def change(values: dict[str, Any], known: dict[str, Input]) -> bool:
        for name, value in list(_arrays(values, "f")):
            values[name] = np.float32(factor) * value
        return any(_arrays(values, "f"))

    return change


def _largest(values: dict[str, Any], known: dict[str, Input]) -> bool:
    """Multiply all numbers so that the largest is a thousandth of the largest float32.

    What is summed up, with cotangents, stays below it.
    """
    for name, value in list(_arrays(values, "f")):
        factor = np.finfo(np.float32).max / 1000 / np.abs(value).max()
        values[name] = np.float32(factor) * value
    return any(_arrays(values, "f"))


def _ids(of: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(values: dict[str, Any], known: dict[str, Input]) -> bool:
        found = False
        for name, value in list(_arrays(values, "i")):
            if name not in (*LENGTHS, *POSITIONS) and value.ndim:
                values[name], found = of(value), True
        return found

    return change


def _far(values: dict[str, Any], known: dict[str, Input]) -> bool:
    if values.get("positions") is None:
        return False
    values["positions"] = values["positions"] + FAR
    return True


CORNERS: dict[str, Change] = {
    **{f"one of {axis}": _cut(axis, lambda size: 1) for axis in FREE},
    "odd sizes": _odd,
    "lengths 0": _lengths(lambda lens, limit: np.zeros_like(lens)),
    "full lengths": _lengths(lambda lens, limit: np.full_like(lens, limit)),
    "equal lengths": _lengths(lambda lens, limit: np.full_like(lens, max(limit - 1, 1))),
    "no lengths": _lengths(lambda lens, limit: None),
    "empty mask": _mask(np.zeros_like),
    "full mask": _mask(np.ones_like),
    "numbers 1e4": _times(1e4),
    "numbers 1e-4": _times(1e-4),
    LARGEST: _largest,
    "thirds": _times(1 / 3),  # which no precision holds
    "one id": _ids(lambda ids: np.full_like(ids, ids.flat[0])),
    "far positions": _far,
}


def bases() -> dict[str, Case]:
    """Return the cases that corners are made of, one of each class or function with its options.

    The one that is given most, in evaluation.
    """
    found: dict[str, Case] = {}
    for case in catalogue().values():
        label = case.name.rpartition("/")[0]
        if not case.training and (label not in found or _given(case) > _given(found[label])):
            found[label] = case
    return found


def _given(case: Case) -> int:
    return sum(x is not None for x in case.draw_inputs(np.random.default_rng(0)))


def corners() -> dict[str, Case]:
    """Return ``{name: case}`` of every corner that there is."""
    found = {}
    for case in bases().values():
        for how in CORNERS:
            given = _changed(case, how, case.draw_inputs(np.random.default_rng(0)))
            if given is not None and (how != LARGEST or _stays_finite(case, given)):
                found[f"{ROOT}/{case.name}/{how}"] = _corner(case, how)
    return found


def corner(name: str) -> Case:
    """Return the case of a name.

    Raises:
        ValueError: it is no name of a corner.
    """
    base, _, how = name.removeprefix(f"{ROOT}/").rpartition("/")
    if base not in catalogue() or how not in CORNERS:
        raise ValueError(f"case: got {name!r}, which is no name of a corner")
    return _corner(catalogue()[base], how)


def _corner(case: Case, how: str) -> Case:
    def draw(rng: np.random.Generator) -> tuple[Any, ...]:
        changed = _changed(case, how, case.draw_inputs(rng))
        assert changed is not None, f"{case.name} has no corner {how!r}"
        return changed

    return dataclasses.replace(
        case,
        name=f"{ROOT}/{case.name}/{how}",
        draw_inputs=draw,
        translates=False,
        trains=False,
        schedule=None,
        saturates=case.saturates or how in ("numbers 1e4", LARGEST),
    )


def _stays_finite(case: Case, given: tuple[Any, ...]) -> bool:
    """Whether it is a function that does not exceed float32 with such inputs."""
    if "function" not in case.target:
        return False
    arrays = nest(lambda x: x.astype(np.float32) if x.dtype.kind == "f" else x, given)
    with np.errstate(all="ignore"):
        found = flat(bound(reference, case.target)(*arrays)).values()
    return all(np.isfinite(x).all() for x in found)


def _changed(case: Case, how: str, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return inputs with a corner, or None if there is none."""
    known = inputs(case)
    values = dict(zip(known, given, strict=False))
    return tuple(values.values()) if CORNERS[how](values, known) else None


def main() -> None:
    """Print the table of corners and what has them."""
    found, labels = corners(), sorted({case.name for case in bases().values()})
    table = Table("", *CORNERS, title=f"{len(found)} corners")
    for label in labels:
        marks = ("x" if f"{ROOT}/{label}/{how}" in found else "" for how in CORNERS)
        table.add_row(label, *marks)
    Console(width=400).print(table)


if __name__ == "__main__":
    main()
