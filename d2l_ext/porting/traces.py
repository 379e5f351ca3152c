"""Two traces compared: where the second leaves the first, and why."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from d2l_ext.agreement.judging.error import error
from d2l_ext.porting.arrays import corresponding, largest_error, lowest_dtype, reshaped
from d2l_ext.porting.comparison import Comparison, allowed, place_between
from d2l_ext.porting.known.causes import CAUSES
from d2l_ext.porting.pairing import Transform
from d2l_ext.porting.places import Difference, Row
from d2l_ext.porting.rails import Call, Place, Spot
from d2l_ext.porting.result import Located
from d2l_ext.porting.trace import Trace, read


def locate_traces(
    a: str | Path,
    b: str | Path,
    mapping: Mapping[str, str | tuple[str, Transform]] | None = None,
) -> Located:
    """Find where a trace leaves another one.

    Nothing can be put back in a file: from the first place on, what differs is carried on. So one
    place is named, the first in the order of computation, and `Located.rows` has all. The same goes
    for what an operator computes in float32 only, of which the first place is in `Located.limits`.
    Gradients are compared where values agree everywhere and all layers have the same names.

    Args:
        a: the file that is right.
        b: the file to be judged.
        mapping: as of `locate`.

    Raises:
        ValueError: a file is no trace, or cut off.
        FileNotFoundError: there is none.
    """
    return _OfTraces(read(a), read(b), mapping).result()


class _OfTraces(Comparison[Trace]):
    """Both sides as they were written."""

    def __init__(
        self, a: Trace, b: Trace, mapping: Mapping[str, str | tuple[str, Transform]] | None
    ):
        super().__init__(a, b, mapping)
        self.on_b = {(y.number, side): y.arrays(side) for y in b.calls for side in ("in", "out")}
        # What gradients start from is drawn by the places' names.
        paths = [[call.layer.path for call in one.calls] for one in (a, b)]
        self.have_gradients = paths[0] == paths[1]

    def result(self) -> Located:
        """Compare everything that both have."""
        rows, found, limits = {}, [], []
        for x, side, before in self.places():
            at = x.number, side
            row = rows[at] = self._row(x, side, place_between(x, side, before))
            if not found and not row.agrees:
                cause = self.explained(x, side, row)
                one = Difference(
                    row.place, row.error, row.budget, cause.name, cause.explanation, at
                )
                (limits if one.cause == CAUSES["limit"][0] else found).append(one)
        if not limits:
            found = found or self._gradients_beyond(rows)
        return self.located(rows, found, limits[:1])

    def _row(self, x: Call, side: str, place: str) -> Row:
        y = self.partner[x.number]
        wanted, given = x.arrays(side), y.arrays(side)
        dtype = lowest_dtype([*wanted, *given])
        moved = [self.a.rounding[x.number, side], self.b.rounding[y.number, side]]
        size = largest_error(wanted, given)
        budget = allowed(dtype, [m for m in moved if math.isfinite(m)]) if dtype else 0.0
        kind = "" if side == "in" else x.layer.kind
        gradient = gradient_budget = None
        if self.have_gradients:
            for i, j in corresponding(wanted, given):
                spots = (x.number, side, i), (y.number, side, j)
                if (measured := self._gradient(*spots, wanted[i])) is not None and (
                    gradient is None or measured[0] > gradient
                ):
                    gradient, gradient_budget = measured
        return Row(place, str(y.layer), kind, size, budget, size, dtype, gradient, gradient_budget)

    def _gradient(
        self, item_a: Spot | str, item_b: Spot | str, value: np.ndarray
    ) -> tuple[float, float] | None:
        """Return the error of a gradient and its budget; None where one of the two has none."""
        if item_a not in self.a.gradients or item_b not in self.b.gradients:
            return None
        wanted, given = self.a.gradients[item_a], self.b.gradients[item_b]
        moved = [self.a.gradient_rounding[item_a], self.b.gradient_rounding[item_b]]
        size = error(reshaped(given, wanted.shape, like=value), wanted)[0]
        budget = allowed(given.dtype.name, [m for m in moved if math.isfinite(m)])
        return size, budget

    def _gradients_beyond(self, rows: Mapping[Place, Row]) -> list[Difference]:
        """List the first place whose gradient is beyond its budget, or else the parameter."""
        sizes: list[tuple[str, float | None, float | None, Place | None]] = [
            (row.place, row.gradient, row.gradient_budget, at) for at, row in rows.items()
        ]
        for name, target in self.names.items():
            value = self.a.parameters[name]
            if (
                self.have_gradients
                and (measured := self._gradient(name, target, value)) is not None
            ):
                sizes.append((name, *measured, None))
        for place, size, budget, at in sizes:
            if size is not None and budget is not None and not size <= budget:
                words = f"The gradient by what is at {place} is another one, values are the same."
                return [Difference(place, size, budget, "unknown", words, at, backward=True)]
        return []
