"""What `locate` found: each piece of the two models, and the places where they differ."""

import dataclasses
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from d2l_ext.porting.known.causes import CAUSES


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


@dataclasses.dataclass(frozen=True)
class Difference:
    """A place where the two models differ.

    Attributes:
        place, error, budget: as in `Row`.
        cause: the name of the known difference that makes the two equal, or "unknown".
        explanation: what each side does.
        backward: whether it is the gradients that differ, and not the values.
    """

    place: str
    error: float
    budget: float
    cause: str
    explanation: str
    backward: bool = False

    def __str__(self) -> str:
        what = "gradient, error" if self.backward else "error"
        return (
            f"{self.place}: {self.cause} ({what} {self.error:.1e}, budget {self.budget:.1e})\n"
            f"  {self.explanation}"
        )


class Located:
    """What `locate` found.

    Attributes:
        rows: a `Row` for each piece, in the order of computation.
        differences: a `Difference` for each piece beyond its budget. Each has its own cause, as
            later pieces were computed from the first model's values; a deviation that is met again
            because an array is used twice is listed once. Those of gradients come last.
        limits: a `Difference` for each piece that is exact in float32 only, because an operator of
            the framework is float32 inside: nothing that a port could do about.
        parameters: ``{(name in a, name in b): error}`` of the parameters as they were mapped.
        unmapped: names of parameters that have no counterpart, of a and of b.
        place, error, budget, cause, explanation: of the first difference; None if there is none.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        differences: Sequence[Difference],
        limits: Sequence[Difference],
        parameters: Mapping[tuple[str, str], float],
        unmapped: tuple[list[str], list[str]],
    ):
        self.rows, self.differences, self.limits = rows, differences, limits
        self.parameters, self.unmapped = parameters, unmapped
        first = differences[0] if differences else None
        self.place = None if first is None else first.place
        self.error = None if first is None else first.error
        self.budget = None if first is None else first.budget
        self.cause = None if first is None else first.cause
        self.explanation = None if first is None else first.explanation

    def __str__(self) -> str:
        lines = list(map(str, self.differences or [f"no difference in {len(self.rows)} places"]))
        if self.limits:
            places = ", ".join(f"{one.place} ({one.error:.1e})" for one in self.limits)
            lines.append(f"{CAUSES['limit'][0]}: {places}")
        return "\n".join(lines)

    def __rich__(self) -> Table:
        columns = ("place", "in B", "kind", "error", "budget", "adds up to", "gradient", "budget")
        table = Table(*columns, title=str(self))
        for row in self.rows:
            style = None if row.agrees else "bold red"
            sizes = (row.error, row.budget, row.free, row.gradient, row.gradient_budget)
            numbers = ("" if x is None else f"{x:.1e}" for x in sizes)
            table.add_row(row.place, row.counterpart, row.kind, *numbers, style=style)
        return table

    def table(self) -> None:
        """Print all places with their errors and budgets."""
        Console().print(self)
