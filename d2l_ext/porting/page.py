"""What `locate` found as one page: both graphs side by side, coloured, with the explanations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from d2l_ext.agreement.reporting.table import SHADES
from d2l_ext.files import replacing
from d2l_ext.porting.graph import Node
from d2l_ext.porting.places import Difference, Row, brief
from d2l_ext.templates import templates

LINES = 150  # that are open at the beginning, beside those around what is wrong
TEMPLATES = templates("d2l_ext.porting")


class Found(Protocol):
    """What a page is made of: a `Located`."""

    rows: Sequence[Row]
    differences: Sequence[Difference]
    limits: Sequence[Difference]
    unmapped: tuple[list[str], list[str]]
    graph: Node
    updates: Sequence[Row]


def write(found: Found, path: str | Path) -> None:
    """Write the page."""
    with replacing(path) as file:
        file.write(text(found).encode())


def text(found: Found) -> str:
    """Return the page as HTML."""
    rows = {
        f"{node.number}-{side}": _facts(node, row)
        for node in found.graph.walk()
        for side, row in (("in", node.before), ("out", node.after))
        if row is not None
    }
    template = TEMPLATES.get_template("page.html.jinja")
    return template.render(
        found=found,
        facts=json.dumps(rows, ensure_ascii=False).replace("<", "\\u003c"),
        depth=_open_to(found.graph),
        shade=_shade,
        brief=brief,
    )


def _facts(node: Node, row: Row) -> dict[str, Any]:
    """Return what is said of a place when it is chosen."""
    facts: dict[str, Any] = {
        "place": row.place,
        "in B": row.counterpart,
        "kind": row.kind,
        "error": f"{row.error:.1e} of {row.budget:.1e}, in {row.dtype or 'whole numbers'}",
        "adds up to": f"{row.free:.1e}",
    }
    if row.gradient is not None:
        facts["gradient"] = f"{row.gradient:.1e} of {row.gradient_budget:.1e}"
    for name, box in (("A", node.a), ("B", node.b)):
        if box is not None:
            facts[f"{name} gives"] = ", ".join(map(str, box.shapes))
            facts[f"{name} takes"] = ", ".join(box.takes)
    return {name: value for name, value in facts.items() if value}


def _open_to(graph: Node) -> int:
    """Return how many levels can be in view without the page having too many lines."""
    level, lines, depth = [graph], 0, 0
    while level and lines + len(level) <= LINES:
        lines, depth = lines + len(level), depth + 1
        level = [one for node in level for one in node.inner]
    return depth


def _shade(ratio: float | None) -> str:
    """Return the class of a mark, from far within the budget to far beyond it."""
    if ratio is None:
        return "none"
    shade = next((i for i, limit in enumerate((*SHADES, 100.0)) if ratio <= limit), len(SHADES) + 1)
    return f"shade{shade}"
