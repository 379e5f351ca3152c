"""Steps of two optimisers compared: each has the same parameters and is given the same gradients.

A gradient is drawn from its parameter, number by number, so that it is the same in every layout.
Its sizes go from 1e-8 to 1: what an optimiser does to small ones shows where its epsilon stands.
What an optimiser may be off follows from the way that a parameter goes: a rounding unit of the
parameter, and of Adam's 1 - beta^t, which is small in the first steps.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.agreement.judging.budget import unit
from d2l_ext.porting.arrays import lowest_dtype
from d2l_ext.porting.comparison import allowed
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.optimizers import Fit, explain_steps, way_error
from d2l_ext.porting.pairing import Transform
from d2l_ext.porting.places import Difference, Row
from d2l_ext.porting.rails import Side

STEPS = 3
Fits: TypeAlias = tuple[Fit, Fit]
CANCELLED = 1e3  # 1 / (1 - beta), by which rounding grows in a first step


def drawn(step: int, parameter: np.ndarray) -> np.ndarray:
    """Return the gradient of a parameter in a step."""
    x = parameter.astype(np.float64)
    return np.cos(3 * x + step) * 10 ** (-4 * (1 + np.cos(37 * x + 2 * step)))


def compare_steps(
    sides: tuple[Side, Side],
    optimizers: tuple[Any, Any],
    mapping: Mapping[str, tuple[str, Transform]],
) -> tuple[list[Row], list[Difference], list[Difference]]:
    """Compare steps.

    Args:
        sides: the two models.
        optimizers: of each.
        mapping: of the parameters, those that are equal.

    Returns:
        A `Row` for each parameter, a `Difference` for each cause, and the same for what is exact in
        float32 only.
    """
    after_a, after_b = (
        side.probe.steps(optimizer, drawn, STEPS)
        for side, optimizer in zip(sides, optimizers, strict=True)
    )
    before = sides[0].parameters
    rows, found = [], []
    for name, (target, transform) in mapping.items():
        if name not in after_a[0] or target not in after_b[0]:
            continue
        weights = transform(before[name])
        a, b = [transform(one[name]) for one in after_a], [one[target] for one in after_b]
        dtype = lowest_dtype([*a, *b]) or "float32"
        size = way_error(weights, b, a)
        row = Row(name, target, "parameter", size, _budget(weights, a, dtype), size, dtype)
        rows.append(row)
        if not row.agrees:
            found.append(_Update(row, weights, a, b))
    differences = _by_cause(found)
    limits = [one for one in differences if one.cause == CAUSES["limit"][0]]
    return rows, [one for one in differences if one not in limits], limits


def _budget(weights: np.ndarray, a: Sequence[np.ndarray], dtype: str) -> float:
    way = max(float(np.abs(x - weights).max(initial=0)) for x in a)
    own = float(np.abs(weights).max(initial=0)) / way if way else 0.0
    return allowed(dtype, [unit(dtype) * max(own, CANCELLED)])


@dataclasses.dataclass(frozen=True, eq=False)
class _Update:
    """A parameter that two optimisers move differently: before, and after each step."""

    row: Row
    weights: np.ndarray
    a: list[np.ndarray]
    b: list[np.ndarray]

    @property
    def coarse(self) -> float:
        """The budget if something is kept in float32: Keras and MXNet do so with their betas."""
        return _budget(self.weights, self.a, "float32")

    def explained(self, known: Fits | None = None) -> tuple[Cause, Fits | None] | None:
        gradients = [drawn(step, self.weights) for step in range(STEPS)]
        for budget in (self.row.budget, self.coarse):
            found = explain_steps(self.weights, gradients, self.a, self.b, budget, known)
            if found is not None:
                return found
            if self.row.dtype != "float64" or self.row.error <= self.coarse:
                return None
        return None


def _by_cause(updates: Sequence[_Update]) -> list[Difference]:
    """Explain them; those that have the same explanation are one difference."""
    rest, differences = list(updates), []
    while rest:
        # The one with the most numbers says the most.
        first = max(rest, key=lambda one: len(np.unique(one.weights)))
        cause, fits = first.explained() or (_unexplained(first), None)
        same = [
            one
            for one in rest
            if one is first
            or (one.explained(fits) or (_unexplained(one), None))[0].name == cause.name
        ]
        names = [one.row.place for one in same]
        where = f" {len(names)} parameters: {', '.join(names[:4])}{', ...' * (len(names) > 4)}."
        differences.append(
            Difference(
                f"step of {names[0]}",
                first.row.error,
                first.row.budget,
                cause.name,
                cause.explanation + where * (len(names) > 1),
            )
        )
        rest = [one for one in rest if one not in same]
    return differences


def _unexplained(update: _Update) -> Cause:
    limit = update.row.dtype == "float64" and update.row.error <= update.coarse
    return Cause(*CAUSES["limit" if limit else "unknown"], update.row.error)
