"""What `locate` found: each piece of the two models, and the places where they differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from d2l_ext.porting.graph import Node
from d2l_ext.porting.known.causes import CAUSES
from d2l_ext.porting.page import write
from d2l_ext.porting.places import Difference, Row, folded
from d2l_ext.porting.terminal import side_by_side


class Located:
    """What `locate` found.

    Attributes:
        rows: a `Row` for each piece, in the order of computation.
        differences: a `Difference` for each piece beyond its budget. Each has its own cause, as
            later pieces were computed from the first model's values; a deviation that is met again
            because an array is used twice is listed once. Then come those of gradients, and of
            optimisers.
        limits: a `Difference` for each piece that is exact in float32 only, because an operator of
            the framework is float32 inside: nothing that a port could do about.
        parameters: ``{(name in a, name in b): error}`` of the parameters as they were mapped.
        unmapped: names of parameters that have no counterpart, of a and of b.
        graph: both models side by side.
        updates: a `Row` for each parameter after steps of both optimisers, if they were given.
        place, error, budget, cause, explanation: of the first difference; None if there is none.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        differences: Sequence[Difference],
        limits: Sequence[Difference],
        parameters: Mapping[tuple[str, str], float],
        unmapped: tuple[list[str], list[str]],
        graph: Node,
        updates: Sequence[Row] = (),
    ):
        self.rows, self.differences, self.limits = rows, differences, limits
        self.parameters, self.unmapped = parameters, unmapped
        self.graph, self.updates = graph, updates
        first = differences[0] if differences else None
        self.place = None if first is None else first.place
        self.error = None if first is None else first.error
        self.budget = None if first is None else first.budget
        self.cause = None if first is None else first.cause
        self.explanation = None if first is None else first.explanation

    def __str__(self) -> str:
        steps = f" and the steps of {len(self.updates)} parameters" if self.updates else ""
        none = f"no difference in {len(self.rows)} places{steps}"
        lines = list(map(str, self.differences or [none]))
        if self.limits:
            places = ", ".join(f"{one.place} ({one.error:.1e})" for one in self.limits)
            lines += [f"{CAUSES['limit'][0]}:", folded(places)]
        return "\n".join(lines)

    def page(self, path: str | Path) -> None:
        """Write both models side by side as one page of HTML, which needs no network.

        Raises:
            OSError: that of the system, with the file's name.
        """
        write(self, path)

    def __rich__(self) -> Group:
        return Group(side_by_side(self.graph), "", Text(str(self)))

    def table(self) -> None:
        """Print all places with their errors and budgets."""
        columns = ("place", "in B", "kind", "error", "budget", "adds up to", "gradient", "budget")
        table = Table(*columns, title=str(self))
        for row in (*self.rows, *self.updates):
            sizes = (row.error, row.budget, row.free, row.gradient, row.gradient_budget)
            numbers = ("" if x is None else f"{x:.1e}" for x in sizes)
            style = None if row.all_agrees else "bold red"
            table.add_row(row.place, row.counterpart, row.kind, *numbers, style=style)
        Console().print(table)
