"""The places of two models: what each is off, and the differences among them."""

import dataclasses
import math
import textwrap

from d2l_ext.agreement.reporting.table import number
from d2l_ext.porting.rails import Place

WIDTH = 88  # of what is printed


@dataclasses.dataclass(frozen=True)
class Row:
    """One piece of the two models.

    Attributes:
        place: the layer's name in the first model, or "x → y" for what stands between two layers.
        counterpart: the layer's name in the second model.
        kind: of the layer in the first model.
        error: of this piece alone; infinite where the two can't be compared.
        budget: the largest error that rounding explains.
        free: the error at this place when nothing is put back: what it adds up to.
        dtype: the lower of the two models' precisions there.
        gradient: the error of the gradient by what is here, in all code that uses it, or None.
        gradient_budget: the largest such error that rounding explains.
    """

    place: str
    counterpart: str
    kind: str
    error: float
    budget: float
    free: float
    dtype: str | None
    gradient: float | None = None
    gradient_budget: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether the error is within the budget."""
        return self.error <= self.budget

    @property
    def all_agrees(self) -> bool:
        """Whether the error is within the budget, and so is the gradient's."""
        return self.ratio <= 1 and (self.gradient_ratio or 0) <= 1

    @property
    def ratio(self) -> float:
        """The error over its budget."""
        return _ratio(self.error, self.budget)

    @property
    def gradient_ratio(self) -> float | None:
        """The same of the gradient, or None."""
        if self.gradient is None or self.gradient_budget is None:
            return None
        return _ratio(self.gradient, self.gradient_budget)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A place where the two models differ.

    Attributes:
        place, error, budget: as in `Row`.
        cause: the name of the known difference that makes the two equal, or "unknown".
        explanation: what each side does.
        at: the place by the number of the first model's call and its side; None where it is a
            parameter.
        backward: whether it is the gradients that differ, and not the values.
    """

    place: str
    error: float
    budget: float
    cause: str
    explanation: str
    at: Place | None = None
    backward: bool = False

    def __str__(self) -> str:
        what = "gradient, error" if self.backward else "error"
        first = f"{self.place}: {self.cause} ({what} {self.error:.1e}, budget {self.budget:.1e})"
        return f"{first}\n{folded(self.explanation)}"


def folded(text: str) -> str:
    """Return a text in lines that are set in, short enough for the book's page."""
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def brief(ratio: float) -> str:
    """Return a ratio in at most five characters."""
    if 99 < ratio < math.inf:
        return f"{ratio:.0e}".replace("e+0", "e").replace("e+", "e")
    return number(ratio) if ratio >= 0.01 else "0"


def _ratio(error: float, budget: float) -> float:
    """Return an error over its budget; infinite where it is not finite or nothing is allowed."""
    if math.isnan(error) or (budget == 0 and error > 0):
        return math.inf
    return error / budget if budget else 0.0
