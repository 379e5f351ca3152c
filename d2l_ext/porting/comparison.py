"""Two models side by side: which calls correspond, and what explains a place where they differ."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from d2l_ext.agreement.judging.budget import FACTOR, LEAST, unit
from d2l_ext.agreement.judging.error import error
from d2l_ext.interface import Arrays
from d2l_ext.porting.arrays import corresponding, differs, relative_error, reshaped
from d2l_ext.porting.graph import side_by_side
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.explain import explain
from d2l_ext.porting.known.piece import Piece, distinct
from d2l_ext.porting.pairing import Transform, complete, pair_calls, propose
from d2l_ext.porting.places import Difference, Row
from d2l_ext.porting.probe import KNOWN
from d2l_ext.porting.rails import Call, Place, Recorded
from d2l_ext.porting.result import Located

NEARBY = 8  # arrays of earlier layers that a piece may be computed from


R = TypeVar("R", bound=Recorded)


class Comparison(Generic[R]):
    """Two models whose parameters and calls are paired.

    Attributes:
        a, b: the two.
        mapping: ``{name in a: (name in b, transform)}``.
        parameter_errors: ``{(name in a, name in b): error}``.
        pairs, partner: calls that correspond; ``{number of a's call: b's call}``.
        on_b: what the second one computed, ``{(number of its call, side): arrays}``.
    """

    on_b: Mapping[tuple[int, str], list[np.ndarray]]

    def __init__(self, a: R, b: R, mapping: Mapping[str, str | tuple[str, Transform]] | None):
        self.a, self.b = a, b
        own_a, own_b = a.parameters, b.parameters
        self.mapping = complete(propose(own_a, own_b) if mapping is None else mapping, own_a, own_b)
        self.parameter_errors = {
            (name, target): error(own_b[target], transform(own_a[name]))[0]
            for name, (target, transform) in self.mapping.items()
        }
        self.names = {name: target for name, (target, _) in self.mapping.items()}
        self.pairs = pair_calls(a, b, self.names)
        self.partner = {x.number: y for x, y in self.pairs}
        self._deviations: list[np.ndarray] = []

    @property
    def unmapped(self) -> tuple[list[str], list[str]]:
        """The names of parameters without a counterpart, of both."""
        return (
            [name for name in self.a.parameters if name not in self.names],
            [name for name in self.b.parameters if name not in self.names.values()],
        )

    def places(self) -> Iterator[tuple[Call, str, Call | None]]:
        """Yield the paired calls' inputs and outputs in order, and the array that came before."""
        before = None
        for call, side in self.a.record.events:
            if call.number in self.partner:
                yield call, side, before
                before = call

    def located(
        self,
        rows: Mapping[Place, Row],
        differences: Sequence[Difference],
        limits: Sequence[Difference] = (),
        updates: Sequence[Row] = (),
    ) -> Located:
        """Return what was found."""
        graph = side_by_side(self.a, self.b, self.partner, rows)
        found = list(rows.values()), differences, limits, self.parameter_errors, self.unmapped
        return Located(*found, graph, updates)

    def explained(self, x: Call, side: str, row: Row) -> Cause:
        y = self.partner[x.number]
        wanted, given = x.arrays(side), self.on_b[y.number, side]
        matches = corresponding(wanted, given)
        if not matches:
            shapes = [[array.shape for array in arrays] for arrays in (wanted, given)]
            return Cause(
                "unknown", f"A has arrays of shapes {shapes[0]}, B {shapes[1]}.", row.error
            )
        i, j = next(m for m in matches if differs(wanted[m[0]], given[m[1]], row.budget))
        piece = self.piece(x, side, wanted[i], given[j])
        coarse = allowed("float32")
        cause = explain(piece, relative_error, row.budget) or self.other_parameters(
            x, side, row, allowed(row.dtype) if row.dtype else 0.0
        )
        if cause is None and row.dtype == "float64":
            if row.error <= coarse:
                return Cause(*CAUSES["limit"], row.error)
            cause = explain(piece, relative_error, coarse)
        return cause or Cause(*CAUSES["unknown"], row.error)

    def piece(self, x: Call, side: str, wanted: np.ndarray, given: np.ndarray) -> Piece:
        """Return what is known about a place where one array is another than it should be."""
        own = [x.layer.parameters, self.partner[x.number].layer.parameters]
        if side == "in":
            around = self._around(x)[1:]
            own = [call.layer.parameters for call in around]
            own += [self._of_children(self.a, call) for call in around[:1]]
            others = [self.partner[call.number] for call in around if call.number in self.partner]
            own += [self._of_children(self.b, call) for call in others[:1]]
        return Piece(
            x.layer.kind if side == "out" else "",
            x.inputs if side == "out" and x.end == x.number + 1 else self._nearby(x, side),
            [array for call in self._around(x) for array in call.inputs] + self.a.held,
            own,
            wanted,
            reshaped(given, wanted.shape),
        )

    def met_before(self, deviations: Sequence[np.ndarray]) -> bool:
        """Whether deviations showed before: code between layers uses an array again."""
        known = bool(deviations) and all(
            any(
                new.shape == old.shape and relative_error(old, new) < 1e-6
                for old in self._deviations
            )
            for new in deviations
        )
        self._deviations += deviations
        return known

    def other_parameters(self, x: Call, side: str, row: Row, least: float) -> Cause | None:
        """Return the cause that the layer's parameters are further apart than `least`, or None."""
        owners = [x] if side == "out" else self._around(x)[1:]
        own = {name for call in owners for name in call.layer.named}
        wrong = [
            f"{name} (error {size:.1e})"
            for (name, _), size in self.parameter_errors.items()
            if name in own and size > least
        ]
        if not wrong and side == "out":  # of a layer that is paired though its weights are not
            other = self.partner[x.number].layer
            wrong = [
                f"{x.layer}.{name} (error {size:.1e}), in the other model {other}.{name}"
                for name, p in x.layer.parameters.items()
                if name in other.parameters
                and (size := error(other.parameters[name], p)[0]) > least
            ]
        if not wrong:
            return None
        title, sentence = CAUSES["parameters"]
        return Cause(title, f"{', '.join(wrong)}. {sentence}", row.error)

    def _around(self, x: Call) -> list[Call]:
        """List a call and those that it is inside of, the innermost first."""
        return [call for call in reversed(self.a.calls) if call.contains(x)]

    @staticmethod
    def _of_children(side: R, x: Call) -> Arrays:
        """Return the parameters of the layers directly inside, such as tables that are added up.

        A table may be read by a layer that takes no arrays, and is seen in one of the models only.
        """
        found: Arrays = {}
        number = x.number + 1
        while number < x.end:
            found |= side.calls[number].layer.named
            number = side.calls[number].end
        return found

    def _nearby(self, x: Call, side: str) -> list[np.ndarray]:
        """List the arrays that came up before a place, the latest first.

        What a layer without a partner gives is among them: where two products are multiplied, and
        the models compute them in another order, only one of them has a partner.
        """
        events = self.a.record.events
        end = events.index((x, side))
        found = []
        for call, s in reversed(events[:end]):
            product = s == "out" and call.layer.kind in KNOWN and call.layer.parameters
            if call.number in self.partner or product:
                found += call.arrays(s)
        return distinct(found)[:NEARBY]


def place_between(x: Call, side: str, left: Call | None) -> str:
    """Name the place where something goes into or comes out of a call."""
    return str(x.layer) if side == "out" or left is None else f"{left.layer} → {x.layer}"


def allowed(dtype: str, moved: Sequence[float] = ()) -> float:
    """Return the budget of a precision, given how far rounding moves the result."""
    return max([LEAST[dtype] * unit(dtype), *(FACTOR * size for size in moved)])
