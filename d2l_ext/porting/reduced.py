"""A port in bfloat16 or float16, judged by the errors that a trusted model has there.

Three models stand on the same rails: the first one in double precision, which is exact; the same
model in the port's precision in a framework that is trusted; and the port. The rails are the first
model's values, rounded to that precision, so that what goes into a piece is the same in all three
and what comes out differs by the piece's own rounding alone. This is repeated with values that are
moved a few rounding units, as often as it takes to tell a port that rounds more from one that was
unlucky. With e and t the port's and the trusted model's errors, and r that of rounding the exact
result once, a piece is right if, over all draws,

    mean |e|^2 <= LIMIT^2 mean max(|t|^2, 2 |r|^2)

to within some standard errors. Two roundings are always allowed, since right code may round on its
way; of a dense layer those of the product and of its sum with the bias, or both in turn: rounded
sums of what is rounded may lie half-way between two numbers, and err more. Multi-head attention,
which has one product after the other inside, may round four times. The ratio is a little
tighter than the 1.2 by which Neuron's tests of equivalence judge whole models, |port - exact| /
|bfloat16 - exact|, as a piece has fewer operations whose order is free.

So what changes values by less than their rounding is not seen: the form of GELU, an epsilon of 1e-6
for 1e-5. Those show in float32 and float64.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from d2l_ext import randomness
from d2l_ext.porting.arrays import corresponding, is_mask, reshaped
from d2l_ext.porting.comparison import Comparison, allowed, place_between
from d2l_ext.porting.known.causes import CAUSES, Cause
from d2l_ext.porting.known.explain import explain
from d2l_ext.porting.known.islands import missing_island
from d2l_ext.porting.known.precision import DIGITS, holds, rounded
from d2l_ext.porting.pairing import Transform
from d2l_ext.porting.places import Difference, Row
from d2l_ext.porting.rails import Call, Place, Rails, Side
from d2l_ext.porting.result import Located

LIMIT = 1.1
STANDARD_ERRORS = 3
# Draws: of all, as long as a piece looks wrong but may be unlucky, and as long as only chance
# explains its error.
FEW, SEVERAL, MANY = 6, 48, 192
GROSS = 8  # an error of so many times its limit is not bad luck
MOVED = 4  # rounding units: enough for every operation to round another way

Seen = Mapping[tuple[int, str], list[np.ndarray]]


@dataclasses.dataclass
class Errors:
    """The squared errors of one array, a number for each draw.

    Attributes:
        port, trusted: of the two, and in `trusted` that of rounding the exact array once.
        size: the exact array's squared norm.
    """

    port: list[float] = dataclasses.field(default_factory=list)
    trusted: list[float] = dataclasses.field(default_factory=list)
    size: list[float] = dataclasses.field(default_factory=list)

    def add(
        self,
        exact: np.ndarray,
        trusted: np.ndarray,
        port: np.ndarray,
        precision: str,
        bias: np.ndarray | None = None,
        twice: float = 1.0,
    ) -> None:
        """Enter one draw; `twice` is how often two roundings are always allowed."""
        if exact.dtype.kind != "f":  # whole numbers are not rounded
            self.port.append(0.0 if np.array_equal(port, exact) else math.inf)
            self.trusted.append(0.0)
            self.size.append(1.0)
            return
        product = exact if bias is None else exact - bias
        # What overflows in the trusted model, too, is no mistake of the port.
        counted = np.isfinite(exact) & np.isfinite(trusted)
        exact, trusted, port, product = (
            x[counted].astype(np.float64) for x in (exact, trusted, port, product)
        )
        self.port.append(_square(port - exact))
        self.size.append(_square(exact))
        if holds(trusted, precision):
            least = twice * sum(_square(rounded(x, precision) - x) for x in (product, exact))
            in_turn = rounded(rounded(product, precision) + (exact - product), precision)
            least = max(least, _square(in_turn - exact))
        else:  # it comes out of an island
            least = allowed("float32") ** 2 * self.size[-1]
        self.trusted.append(max(_square(trusted - exact), least))

    @property
    def error(self) -> float:
        """The port's error, relative to the exact array's size."""
        return self._relative(float(np.mean(self.port)))

    @property
    def limit(self) -> float:
        """What the error may be, if chance had no part in it."""
        return self._relative(LIMIT**2 * float(np.mean(self.trusted)))

    @property
    def budget(self) -> float:
        """The largest error that chance explains."""
        port, trusted = np.array(self.port), np.array(self.trusted)
        if not np.isfinite(port).all():
            return self.limit
        spread = (port - LIMIT**2 * trusted).std(ddof=1) / math.sqrt(len(port))
        square = LIMIT**2 * trusted.mean() + STANDARD_ERRORS * spread
        return self._relative(float(square))

    @property
    def undecided(self) -> bool:
        """Whether more draws may tell bad luck from a mistake."""
        if not self.port or self.error <= self.limit or not math.isfinite(self.error):
            return False
        return self.error <= max(GROSS * self.limit, self.budget)

    @property
    def unlucky(self) -> bool:
        """Whether the error is beyond what it may be, and chance explains it still."""
        return bool(self.port) and self.limit < self.error <= self.budget

    def _relative(self, square: float) -> float:
        size = float(np.mean(self.size))
        if square == 0:
            return 0.0
        return math.sqrt(square / size) if size else math.inf


def _square(x: np.ndarray) -> float:
    return float((x**2).sum())


def distance(y: np.ndarray, wanted: np.ndarray) -> float:
    """Return |y - wanted| / |wanted|, in the Euclidean norm."""
    errors = Errors([_square(y - wanted)], [], [_square(wanted)])
    return errors.error if math.isfinite(errors.port[0]) else math.inf


class Reduced(Comparison[Side]):
    """A port in a low precision.

    Args:
        a: the model in double precision.
        trusted: the same in the port's precision, with the same parameters.
        b: the port.
        mapping: as of `locate`.
    """

    def __init__(
        self,
        a: Side,
        trusted: Side,
        b: Side,
        mapping: Mapping[str, str | tuple[str, Transform]] | None,
    ):
        super().__init__(a, b, mapping)
        if trusted.precision not in DIGITS:
            raise ValueError(
                f"trusted: got a model in {trusted.precision}, must be in {' or '.join(DIGITS)}"
            )
        self.precision: str = trusted.precision
        self._trusted, self._partner = trusted, Comparison(a, trusted, None).partner
        self._both = [x for x, _ in self.pairs if x.number in self._partner]
        self._free = {place: self._errors_free(place) for place in self._places_of_both()}
        for call in a.calls:
            call.inputs, call.outputs = self._rounded(call.inputs), self._rounded(call.outputs)
        rng = randomness.generator(0, "locate reduced")
        self._measured: dict[Place, list[Errors]] = {}
        self.exact, self.on_b = self._draw({call.number: call for call in self._both})
        self._again = self._run(b, self.partner, {call.number: call for call in self._both})
        draws = 1
        for enough in (FEW, 2 * FEW, 4 * FEW, SEVERAL, 2 * SEVERAL, MANY):
            for _ in range(enough - draws):
                self._draw(self._moved(rng))
            draws = enough
            measured = [one for errors in self._measured.values() for one in errors]
            if not any(one.undecided if draws < SEVERAL else one.unlucky for one in measured):
                break

    def result(self) -> Located:
        """Judge each place."""
        rows, found = {}, []
        for x, side, before in self.places():
            if (x.number, side) not in self._measured:
                continue
            at = x.number, side
            row = rows[at] = self._row(x, side, place_between(x, side, before))
            if not row.agrees and not self.met_before(self._deviations_at(x, side)):
                cause = self._cause(x, side, row)
                found.append(
                    Difference(row.place, row.error, row.budget, cause.name, cause.explanation, at)
                )
        return self.located(rows, found)

    def _places_of_both(self) -> list[Place]:
        return [(call.number, side) for call in self._both for side in ("in", "out")]

    def _rounded(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [rounded(x, self.precision) if _moves(x) else x for x in arrays]

    def _moved(self, rng: np.random.Generator) -> dict[int, Call]:
        """Return the rails with every float moved a few rounding units."""
        reach = MOVED * 2.0 ** (1 - DIGITS[self.precision])

        def moved(arrays):
            return self._rounded(
                [
                    x * (1 + reach * rng.uniform(-1, 1, x.shape)).astype(x.dtype)
                    if _moves(x)
                    else x
                    for x in arrays
                ]
            )

        return {
            call.number: dataclasses.replace(
                call, inputs=moved(call.inputs), outputs=moved(call.outputs)
            )
            for call in self._both
        }

    def _run(self, side: Side, partner: Mapping[int, Call], rails: Mapping[int, Call]) -> Seen:
        return side.run(Rails({partner[n].number: call for n, call in rails.items()})).seen

    def _draw(self, rails: Mapping[int, Call]) -> tuple[Seen, Seen]:
        """Run all three; enter the errors, and return what is exact and what the port computed."""
        exact = self.a.run(Rails(rails)).seen
        trusted = self._run(self._trusted, self._partner, rails)
        port = self._run(self.b, self.partner, rails)
        for number, side in self._places_of_both():
            wanted = exact[number, side]
            by_index = _by_index(wanted, trusted[self._partner[number].number, side])
            given = _by_index(wanted, port[self.partner[number].number, side])
            errors = self._measured.setdefault((number, side), [Errors() for _ in wanted])
            for i, x in enumerate(wanted):
                if i in by_index and i in given and not is_mask(x):
                    bias, twice = self._roundings(number) if side == "out" else (None, 1)
                    errors[i].add(x, by_index[i], given[i], self.precision, bias, twice)
        return exact, port

    def _roundings(self, number: int) -> tuple[np.ndarray | None, int]:
        """Return a dense layer's bias, and how often a layer may round twice."""
        layer = self.a.calls[number].layer
        bias = layer.parameters.get("bias") if layer.kind == "linear" else None
        return bias, 2 if layer.kind == "attention" else 1

    def _errors_free(self, place: Place) -> float:
        """Return the error of a place when nothing is put back."""
        number, side = place
        wanted = self.a.calls[number].arrays(side)
        given = _by_index(wanted, self.partner[number].arrays(side))
        return max(
            (distance(y, wanted[i]) for i, y in given.items() if _moves(wanted[i])), default=0.0
        )

    def _worst(self, x: Call, side: str) -> tuple[int, Errors]:
        """Return the array of a place that is farthest beyond what it may be."""
        errors = {i: one for i, one in enumerate(self._measured[x.number, side]) if one.port}
        if not errors:
            return 0, Errors([0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
        return max(errors.items(), key=lambda item: _ratio(item[1]))

    def _row(self, x: Call, side: str, place: str) -> Row:
        y, (_, worst) = self.partner[x.number], self._worst(x, side)
        kind = "" if side == "in" else x.layer.kind
        free = self._free[x.number, side]
        return Row(place, str(y.layer), kind, worst.error, worst.budget, free, self.precision)

    def _pair_at(self, x: Call, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact array that is worst met and the port's, both of the first draw."""
        i, _ = self._worst(x, side)
        wanted = self.exact[x.number, side]
        given = _by_index(wanted, self.on_b[self.partner[x.number].number, side])
        return wanted[i], given[i]

    def _deviations_at(self, x: Call, side: str) -> list[np.ndarray]:
        wanted, given = self._pair_at(x, side)
        return [given - wanted]

    def _cause(self, x: Call, side: str, row: Row) -> Cause:
        wanted, given = self._pair_at(x, side)
        if self._is_unsteady(x, side):
            title, sentence = CAUSES["dropout"]
            return Cause(title, f"B: two calls differ. {sentence}", row.error)
        if not np.isfinite(given[np.isfinite(wanted)]).all():
            return Cause(*CAUSES["overflow"], row.error)
        piece = self.piece(x, side, wanted, given)

        def island(fit):
            return missing_island(fit, piece, self.precision, distance)

        return (
            explain(piece, distance, row.budget, allowed("float32"), also=island)
            or self.other_parameters(x, side, row, 2.0 ** -DIGITS[self.precision])
            or Cause(*CAUSES["unknown"], row.error)
        )

    def _is_unsteady(self, x: Call, side: str) -> bool:
        """Whether the port's values are not the same in a second run on the same rails."""
        number = self.partner[x.number].number
        pairs = zip(self.on_b[number, side], self._again[number, side], strict=True)
        return any(not np.array_equal(one, other, equal_nan=True) for one, other in pairs)


def _ratio(errors: Errors) -> float:
    """Return how far an error is beyond what it may be."""
    if errors.budget:
        return errors.error / errors.budget
    return math.inf if errors.error else 0.0


def _moves(x: np.ndarray) -> bool:
    """Whether an array has numbers that are rounded: neither a mask nor ids that are floats."""
    return x.dtype.kind == "f" and not is_mask(x) and not (x == np.round(x)).all()


def _by_index(wanted: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Return the arrays that correspond to wanted ones, in their layouts, by their index."""
    return {i: reshaped(given[j], wanted[i].shape) for i, j in corresponding(wanted, given)}
