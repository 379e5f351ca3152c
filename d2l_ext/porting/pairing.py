"""Parameters and layers of two models that correspond."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.porting.arrays import corresponding, largest_error, reshaped
from d2l_ext.porting.probe import KNOWN
from d2l_ext.porting.rails import Call, Recorded

ALIKE = 1e-2  # as near as rows are in any precision
Transform: TypeAlias = Callable[[np.ndarray], np.ndarray]  # turns a parameter of a into that of b


def propose(a: Arrays, b: Arrays) -> dict[str, str]:
    """Propose a mapping of parameters by names, values and shapes.

    Those come first whose names end in the same parts, at least two of them, the longest first:
    ``encoder.0.query.weight`` is ``bert.encoder.0.query.weight``. Then those that have the same
    values, and what is left in order, each to the next that has the same last part of its name,
    or else the same shape.

    Args:
        a: ``{name: array}``, as from `parameters`.
        b: the same of the other model.

    Returns:
        ``{name in a: name in b}``; what fits nothing is left out.
    """
    parts = {name: name.split(".") for name in (*a, *b)}
    longest = max(map(len, parts.values()), default=0)

    def end_alike(count):
        return lambda x, y: parts[x][-count:] == parts[y][-count:]

    mapping = {name: name for name in a if name in b and _shapes_fit(a[name], b[name])}
    for same in (
        *map(end_alike, range(longest, 1, -1)),
        lambda x, y: _values_fit(a[x], b[y]),
        end_alike(1),
        lambda x, y: True,
    ):
        taken = set(mapping.values())
        for name in a:
            if name in mapping:
                continue
            fits = (n for n in b if n not in taken and same(name, n) and _shapes_fit(a[name], b[n]))
            if (fit := next(fits, None)) is not None:
                mapping[name] = fit
                taken.add(fit)
    return mapping


def _shapes_fit(x: np.ndarray, y: np.ndarray) -> bool:
    return y.shape in (x.shape, x.shape[::-1]) or _long(x) == _long(y)


def _long(x: np.ndarray) -> list[int]:
    """List the axes of more than one number."""
    return [n for n in x.shape if n > 1]


def _values_fit(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two parameters have the same numbers, which are not all one."""
    if not _shapes_fit(x, y) or x.size < 2 or (x == x.flat[0]).all():
        return False
    return np.allclose(_turned(x, y.shape), y, rtol=1e-6)


def _turned(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in a shape that fits: the same, that of its transpose, or with axes of 1."""
    if x.shape == shape:
        return x
    return x.T if x.T.shape == shape else x.reshape(shape)


def complete(
    mapping: Mapping[str, str | tuple[str, Transform]], own_a: Arrays, own_b: Arrays
) -> dict[str, tuple[str, Transform]]:
    """Return ``{name: (name, transform)}``; unknown names are a ValueError."""
    full = {
        name: target if isinstance(target, tuple) else (target, None)
        for name, target in mapping.items()
    }
    wrong = [name for name in full if name not in own_a]
    wrong += [name for name, _ in full.values() if name not in own_b]
    if wrong:
        raise ValueError(f"mapping: no parameter is called {', '.join(wrong)}")

    return {
        name: (target, transform or (lambda x, shape=own_b[target].shape: _turned(x, shape)))
        for name, (target, transform) in full.items()
    }


def pair_calls(a: Recorded, b: Recorded, mapping: Mapping[str, str]) -> list[tuple[Call, Call]]:
    """Pair the calls of two sides: the best alignment of the two sequences that keeps their order.

    A pair of calls is kept only if the pairs inside the one are inside the other.
    """
    owned_a = [[mapping.get(name, "") for name in a.owned(x)] for x in a.calls]
    counted_a, counted_b = map(Counter, owned_a), [Counter(b.owned(y)) for y in b.calls]
    taken = set(mapping.values())
    score = np.array(
        [
            [
                _likeness(x, y, own, other) or _untied(x, y, taken.isdisjoint(other))
                for y, other in zip(b.calls, counted_b, strict=True)
            ]
            for x, own in zip(a.calls, counted_a, strict=True)
        ]
    )
    n, m = score.shape
    best = np.zeros((n + 1, m + 1))
    for i in reversed(range(n)):
        for j in reversed(range(m)):
            together = score[i, j] + best[i + 1, j + 1] if score[i, j] else 0
            best[i, j] = max(together, best[i + 1, j], best[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if score[i, j] and best[i, j] == score[i, j] + best[i + 1, j + 1]:
            pairs.append((a.calls[i], b.calls[j]))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    pairs = [(x, y) for x, y in pairs if not _look_up_alike(x, y)]
    while True:
        kept = [(x, y) for x, y in pairs if all(x.contains(u) == y.contains(v) for u, v in pairs)]
        if len(kept) == len(pairs):
            return pairs
        pairs = kept


def _look_up_alike(x: Call, y: Call) -> bool:
    """Whether two tables are read by ids that mean other things, and their rows may still be right.

    One model adds an offset to positions before its table and the other inside, say; or one looks
    up all steps, of which it takes the last, and the other that one. What is computed from the rows
    is compared then.
    """
    if x.layer.kind != "embedding" or y.layer.kind != "embedding" or not x.inputs or not y.inputs:
        return False
    ids = corresponding(x.inputs, y.inputs)
    if not ids:
        return True
    same = all(
        np.array_equal(x.inputs[i], reshaped(y.inputs[j], x.inputs[i].shape)) for i, j in ids
    )
    return not same and largest_error(x.outputs, y.outputs) < ALIKE


def _untied(x: Call, y: Call, is_unmapped: bool) -> float:
    """Return how much a layer without counterpart looks like one whose weights are used again."""
    shapes = [{name: p.shape for name, p in call.layer.parameters.items()} for call in (x, y)]
    alike = x.layer.kind == y.layer.kind in KNOWN and shapes[0] == shapes[1] != {}
    return 0.5 if alike and is_unmapped else 0


def _likeness(x: Call, y: Call, owned_a: Counter[str], owned_b: Counter[str]) -> float:
    """Return how much two calls look like calls of one layer; 0 means that they can't be.

    Args:
        x, y: the calls.
        owned_a: how often each parameter of the second model is used in the first call, "" being
            those that it doesn't have.
        owned_b: the same of the second call.
    """
    if (x.number == 0) != (y.number == 0):
        return 0
    if x.number == y.number == 0:
        return 100
    known = {x.layer.kind, y.layer.kind}.intersection(KNOWN)
    if bool(owned_a) != bool(owned_b) or len(known) > 1:
        return 0
    alike = 0.5 * (x.layer.kind == y.layer.kind) + 0.25 * (x.layer.path == y.layer.path)
    if not owned_a:
        return alike + bool(corresponding(x.outputs, y.outputs)) * (
            len(x.inputs) == len(y.inputs) > 1 or alike > 0
        )
    common = sum(min(count, owned_b[name]) for name, count in owned_a.items())
    largest = max(owned_a.total(), owned_b.total())
    # A bias may be missing, but not most of the layer.
    if 2 * common <= largest - 1 or not common:
        return 0
    return alike + 4 * common / largest
