"""The book's diagrams, by the names that chapters call them."""

import dataclasses
from collections.abc import Callable

from tools.book.diagrams import basics, modern, parallel, porting, recurrent, transformer
from tools.book.diagrams.drawing import Drawing


@dataclasses.dataclass(frozen=True)
class Diagram:
    """A picture and the words that stand for it.

    Attributes:
        draw: returns the picture.
        alt: what it shows, for those who don't see it.
    """

    draw: Callable[[], Drawing]
    alt: str

    def svg(self, style: bool = True) -> str:
        """Return it as SVG, as `Drawing.svg` does."""
        return self.draw().svg(self.alt, style)


def _diagrams(*modules):
    """Return ``{name: Diagram}`` of the public functions of modules; docstrings are the words."""
    return {
        name.replace("_", "-"): Diagram(function, " ".join(function.__doc__.split()))
        for module in modules
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__ and name[0] != "_"
    }


DIAGRAMS = _diagrams(basics, recurrent, transformer, modern, parallel, porting)
