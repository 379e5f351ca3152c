"""Two graphs side by side in the terminal: what is wrong, and where it stands in the model."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rich.table import Table

from d2l_ext.porting.graph import Box, Node
from d2l_ext.porting.places import Row, brief

SHOWN = 3  # layers that agree, one after the other; more of them are a line
Line: TypeAlias = tuple[Sequence[str], str | None]  # entries, style


def side_by_side(graph: Node) -> Table:
    """Draw a graph; of what agrees, nothing inside is shown."""
    table = Table(box=None, pad_edge=False, caption="errors over their budgets: up to 1 agrees")
    for title in (f"A: {_title(graph.a)}", f"B: {_title(graph.b)}"):
        table.add_column(title, overflow="fold")
    for title in ("values", "gradients"):
        table.add_column(title, justify="right")
    for entries, style in _lines(graph, None, None, ""):
        table.add_row(*entries, style=style)
    return table


def _lines(node: Node, a: Box | None, b: Box | None, indent: str) -> Iterator[Line]:
    names = [
        "" if box is None else indent + box.name(inside)
        for box, inside in ((node.a, a), (node.b, b))
    ]
    if node.before is not None and not node.before.all_agrees:
        yield (f"{indent}→ before {names[0].strip()}", "", *_ratios(node.before)), "bold red"
    if node.agrees:
        values, gradients = node.worst
        yield (*names, *map(_text, (values, gradients) if node.rows else (None, None))), None
        return
    wrong = node.after is not None and not node.after.all_agrees
    yield (*names, *_ratios(node.after)), "bold red" if wrong else None
    for agree, run in itertools.groupby(node.inner, lambda one: one.agrees):
        some = list(run)
        few = len(some) <= SHOWN or not agree
        for one in some if few else some[: SHOWN - 1]:
            yield from _lines(one, node.a, node.b, indent + "  ")
        if not few:
            yield (f"{indent}  ⋮ {len(some) - SHOWN} that agree", "", "", ""), "dim"
            yield from _lines(some[-1], node.a, node.b, indent + "  ")


def _title(box: Box | None) -> str:
    return "" if box is None else box.kind


def _ratios(row: Row | None) -> tuple[str, str]:
    return ("", "") if row is None else (_text(row.ratio), _text(row.gradient_ratio))


def _text(ratio: float | None) -> str:
    return "" if ratio is None else brief(ratio)
