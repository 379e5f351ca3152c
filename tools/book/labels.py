"""Numbers of figures, tables and formulas, and links to them.

A chapter names them: ```` ```{figure} name ````, ```` ```{table} name ```` and, after a formula,
``$$ (eq-name)``. A link is written ``[](#fig-name)``, ``[](#tab-name)`` or ``[](#eq-name)``, in any
chapter, and reads "Figure 2.1", "Table 2.1" or "(2.1)".
"""

import functools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

CHAPTERS = Path(__file__).parents[2] / "chapters"
_LABELLED = re.compile(r"^```\{(figure|table)\} ([\w-]+)|\$\$ \((eq)-([\w-]+)\)$", re.M)
_FORMULA = re.compile(r"\$\$([^$]+)\$\$ \((eq-[\w-]+)\)$", re.M)
_LINK = re.compile(r"\[\]\(#((?:fig|tab|eq)-[\w-]+)\)")
_KINDS = {"figure": ("fig", "Figure {}"), "table": ("tab", "Table {}"), "eq": ("eq", "({})")}


@dataclass(frozen=True)
class Label:
    """Something that has a number.

    Attributes:
        chapter: the name of its chapter.
        text: how it is called, such as "Figure 2.1".
    """

    chapter: str
    text: str


def of(chapter: str, text: str) -> dict[str, Label]:
    """Return ``{label: Label}`` of a chapter's text, numbered in their order.

    Raises:
        ValueError: a label occurs twice.
    """
    counts, found = Counter(), {}
    for match in _LABELLED.finditer(text):
        kind, name = match[1] or match[3], match[2] or match[4]
        start, called = _KINDS[kind]
        counts[kind] += 1
        label = f"{start}-{name}"
        if label in found:
            raise ValueError(f"{chapter}: {label} occurs twice")
        found[label] = Label(chapter, called.format(f"{int(chapter[:2])}.{counts[kind]}"))
    return found


@functools.cache
def everywhere() -> dict[str, Label]:
    """Return the labels of all chapters.

    Raises:
        ValueError: two chapters have one label.
    """
    found = {}
    for path in sorted(CHAPTERS.glob("[0-9][0-9]-*.md")):
        here = of(path.stem, path.read_text(encoding="utf-8"))
        if twice := sorted(found.keys() & here.keys()):
            raise ValueError(f"{path.stem}: {', '.join(twice)} stands in another chapter too")
        found |= here
    return found


def resolved(text: str, chapter: str, own: dict[str, Label], page: bool) -> str:
    """Give the formulas of a text their numbers, and the links their words.

    Args:
        text: Markdown.
        chapter: the name of its chapter.
        own: labels of this chapter.
        page: whether it is for the web page, where labels are known on all pages; in a notebook
            another chapter's is a link to the notebook.

    Raises:
        ValueError: a link to nothing.
    """
    known = everywhere() | own

    def link(match):
        if match[1] not in known:
            raise ValueError(f"{chapter}: there is no {match[1]}")
        label = known[match[1]]
        file = "" if page or label.chapter == chapter else f"{label.chapter}.ipynb"
        return f"[{label.text}]({file}#{match[1]})"

    def formula(match):
        body, label = match[1], match[2]
        numbered = f"$${body.rstrip()} \\tag{{{own[label].text[1:-1]}}}$$"
        return f"({label})=\n{numbered}" if page else numbered

    return _LINK.sub(link, _FORMULA.sub(formula, text))
