"""Where the gradients of two models differ, although their values don't.

Both models stand on the first one's rails, and there their graphs are cut: each piece between two
cuts has gradients by what was put in before it and by parameters, and nothing is carried on from
the pieces after it. Gradients start from the same drawn numbers wherever something came up. All
pieces are differentiated together; only where a gradient is beyond its budget, halves of them are,
and halves of those, which tells the piece that is wrong. A gradient's budget is made as a value's
is (`locate`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from d2l_ext import randomness
from d2l_ext.agreement.judging.error import A_FEW, error
from d2l_ext.porting.arrays import lowest_dtype, reshaped
from d2l_ext.porting.known.gradients import Pulled
from d2l_ext.porting.pairing import Transform
from d2l_ext.porting.rails import Call, Noise, Place, Rails, Side, Spot

Item: TypeAlias = Spot | str  # what a gradient is by: an array of the first model, or a parameter


@dataclasses.dataclass(frozen=True)
class Measured:
    """The error of one gradient, relative to its size, and the largest that rounding explains."""

    error: float
    budget: float

    @property
    def agrees(self) -> bool:
        """Whether the error is within the budget."""
        return self.error <= self.budget


class _Pulling:
    """One side on rails, and the way back through it; all arrays are laid out as the first's."""

    def __init__(self, side: Side, rails: Mapping[int, Call], noise: Noise = lambda x: x):
        self._side, self._rails = side, rails
        self._wanted = {call.number: call for call in rails.values()}
        self.ends = side.run(Rails(rails)).ends
        self._pull = side.probe.pullback(lambda: Rails(rails, noise), side.inputs)

    def value(self, spot: Spot) -> np.ndarray:
        """Return the first model's array."""
        number, side, index = spot
        return self._wanted[number].arrays(side)[index]

    def pull(self, cotangents: Mapping[Spot, np.ndarray]) -> dict[Item, np.ndarray]:
        """Return the gradients by what was put in and by the parameters."""
        laid = [
            reshaped(cotangents[spot], end.shape, like=self.value(spot))
            if spot in cotangents
            else None
            for spot, end in self.ends.items()
        ]
        by_start, by_name = self._pull(laid)
        found: dict[Item, np.ndarray] = {}
        for spot, gradient in zip(self.ends, by_start, strict=True):
            value = self.value(spot)
            if gradient.size == value.size:  # else it is once for a batch here, and the sum of all
                found[spot] = reshaped(gradient, value.shape, like=value)
        return found | by_name

    def numeric(
        self, cotangents: Mapping[Spot, np.ndarray], spot: Spot, direction: np.ndarray
    ) -> float:
        """Return the derivative in a direction by central differences: no gradient is involved."""
        x = self.value(spot)
        step = float(np.finfo(x.dtype).eps ** (1 / 3) * (np.abs(x).max(initial=0) or 1))

        def inner(sign):
            moved = {spot: (sign * step * direction).astype(x.dtype)}
            ends = self._side.run(Rails(self._rails, moved=moved)).ends
            return sum(
                float((reshaped(ends[k].astype(np.float64), c.shape, like=ends[k]) * c).sum())
                for k, c in cotangents.items()
            )

        return (inner(1) - inner(-1)) / (2 * step)


class Backward:
    """The gradients of both sides.

    Args:
        sides: the two.
        rails: of each, ``{number of its call: the first side's call}``.
        mapping: ``{name in a: (name in b, transform)}`` of the parameters, those that are equal.
        noises: functions that move what is put in by a rounding unit.
        allowed: ``allowed(dtype, errors under noise)`` gives a budget.
        left_out: places whose values differ already.
    """

    def __init__(
        self,
        sides: tuple[Side, Side],
        rails: tuple[Mapping[int, Call], Mapping[int, Call]],
        mapping: Mapping[str, tuple[str, Transform]],
        noises: Sequence[Noise],
        allowed: Callable[[str, Sequence[float]], float],
        left_out: Iterable[Place],
    ):
        self._mapping = mapping
        self._a, self._b = (_Pulling(side, r) for side, r in zip(sides, rails, strict=True))
        left_out = set(left_out)
        rng = randomness.generator(0, "locate backward")
        self._cotangents = {
            spot: rng.standard_normal(end.shape)
            for spot, end in self._a.ends.items()
            if spot in self._b.ends
            and end.size == self._b.ends[spot].size
            and spot[:2] not in left_out
        }
        self._noisy = [
            _Pulling(sides[0], rails[0], noise).pull(self._cotangents) for noise in noises
        ]
        self._allowed = allowed
        wanted, given = self._both(self._cotangents)
        largest = max((np.abs(x).max(initial=0) for x in wanted.values()), default=0.0)
        self._scales = {
            item: _scale(x, largest * A_FEW**2 * np.finfo(x.dtype).eps, largest)
            for item, x in wanted.items()
        }
        self.measured = {item: self._measure(item, wanted, given) for item in wanted}

    def _both(
        self, cotangents: Mapping[Spot, np.ndarray]
    ) -> tuple[dict[Item, np.ndarray], dict[Item, np.ndarray]]:
        """Return both sides' gradients, by the first one's names."""
        a, b = self._a.pull(cotangents), self._b.pull(cotangents)
        wanted, given = {}, {}
        for item, x in a.items():
            if isinstance(item, str):
                if item not in self._mapping or self._mapping[item][0] not in b:
                    continue
                target, transform = self._mapping[item]
                # As a transform turns the first's parameters into the second's, so it does here.
                wanted[item], given[item] = transform(x), b[target]
            elif item in b:
                wanted[item], given[item] = x, b[item]
        return wanted, given

    def _measure(
        self, item: Item, wanted: Mapping[Item, np.ndarray], given: Mapping[Item, np.ndarray]
    ) -> Measured:
        a, b = wanted[item], given[item]
        dtype = lowest_dtype([a, b]) or "float32"
        own = lowest_dtype([a]) or dtype
        ratio = np.finfo(dtype).eps / np.finfo(own).eps
        transform = self._mapping[item][1] if isinstance(item, str) else lambda x: x
        moved = [
            error(transform(noisy[item]), a, self._scales[item])[0] * ratio for noisy in self._noisy
        ]
        return Measured(
            error(b, a, self._scales[item])[0], self._allowed(dtype, [float(x) for x in moved])
        )

    def wrong(self, places: Sequence[Place]) -> list[tuple[Place, list[Pulled]]]:
        """List the pieces whose gradients are wrong, in the order of computation.

        Args:
            places: where pieces end, in order.

        Returns:
            Each with its gradients that are wrong, those by arrays before those by parameters, the
            one that is farthest off first.
        """
        suspects = [item for item, one in self.measured.items() if not one.agrees]
        with_ends = {spot[:2] for spot in self._cotangents}
        some = [place for place in places if place in with_ends]
        return list(self._wrong(some, suspects)) if suspects else []

    def _wrong(
        self, places: Sequence[Place], suspects: Sequence[Item]
    ) -> Iterator[tuple[Place, list[Pulled]]]:
        """Yield the pieces that are wrong: halves are taken apart where one of theirs is."""
        cotangents = {k: c for k, c in self._cotangents.items() if k[:2] in places}
        wanted, given = self._both(cotangents)
        errors = {
            item: error(given[item], wanted[item], self._scales[item])[0] for item in suspects
        }
        beyond = [item for item in suspects if errors[item] > self.measured[item].budget]
        if not beyond:
            return
        if len(places) > 1:
            middle = len(places) // 2
            for half in (places[:middle], places[middle:]):
                yield from self._wrong(half, beyond)
            return
        beyond.sort(key=lambda item: (isinstance(item, str), -errors[item]))
        yield (
            places[0],
            [self._pulled(item, cotangents, wanted, given, errors[item]) for item in beyond],
        )

    def _pulled(
        self,
        item: Item,
        cotangents: Mapping[Spot, np.ndarray],
        wanted: Mapping[Item, np.ndarray],
        given: Mapping[Item, np.ndarray],
        size: float,
    ) -> Pulled:
        a, b = wanted[item], given[item]
        honest = [True, True]
        if not isinstance(item, str):
            direction = randomness.generator(1, "locate backward").standard_normal(a.shape)
            honest = [
                _close(side.numeric(cotangents, item, direction), (x * direction).sum(), a, b)
                for side, x in ((self._a, a), (self._b, b))
            ]
        return Pulled(
            item, a, b, list(cotangents.values()), honest, size, self.measured[item].budget
        )


def _scale(x: np.ndarray, zero: float, largest: float) -> float:
    """Return what a gradient's error is relative to: the largest one, where terms cancel."""
    size = float(np.abs(x[np.isfinite(x)]).max(initial=0))
    return size if size > zero else float(largest)


def _close(numeric: float, analytic: float, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a derivative by differences is that of a gradient, to a percent of its size."""
    return abs(numeric - analytic) <= 0.01 * float(max(np.linalg.norm(a), np.linalg.norm(b)))
