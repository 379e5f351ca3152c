"""A table, before anybody says how it looks: `terminal` and `html` render the same ones."""

import dataclasses
import math

# The limits of the shades, from far within the budget to its edge; what is beyond has one more.
SHADES = (1e-3, 1e-2, 0.1, 0.5, 1)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes:
        text: what it says.
        tone: "good", "bad", "none" where there is nothing to say, or "".
        tip: more about it, where there is a way to ask.
        shade: how near a budget it is, 0 to 5, the last being beyond; None for no shade.
        link: an address.
    """

    text: str
    tone: str = ""
    tip: str = ""
    shade: int | None = None
    link: str = ""


@dataclasses.dataclass
class Table:
    """A table.

    Attributes:
        title: what it shows.
        text: how it is to be read.
        head: names of the columns; none are shown where all are empty.
        rows: lists of `Cell`; one cell alone in a table of several columns is a heading.
        folded: whether it is shown only when it is asked for.
        records: whether a row is a record of its own, to be read from top to bottom where there is
            no room beside each other.
    """

    title: str
    text: str
    head: list
    rows: list
    folded: bool = False
    records: bool = False

    def is_heading(self, row):
        """Whether a row is a heading of those below it."""
        return len(row) == 1 < len(self.head)


NOTHING = Cell("–", "none")


def tone(agrees):
    """Return the tone of what agrees (True), does not (False), or says nothing (None)."""
    return {True: "good", False: "bad", None: "none"}[agrees]


def ratio_cell(ratio, text=None, tip=""):
    """Return a cell for an error over its budget: 1 is the limit."""
    shade = next((i for i, limit in enumerate(SHADES) if ratio <= limit), len(SHADES))
    return Cell(text or number(ratio), tone(ratio <= 1), tip, shade)


def number(ratio):
    """Return a ratio as text."""
    return "∞" if math.isinf(ratio) else f"{ratio:.2g}"


def beside(error, budget):
    """Return an error beside its budget, as text."""
    return f"{error:.1e} of {budget:.1e}"
