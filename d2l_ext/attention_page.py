"""Attention as a page to look into: tokens on both sides, weights where the mouse is.

One file of HTML with everything in it, which needs no network; a notebook shows it too.
"""

import dataclasses
import html
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from d2l_ext.files import replacing
from d2l_ext.templates import templates

DIGITS = 4  # of a weight
TEMPLATES = templates("d2l_ext")


@dataclasses.dataclass
class AttentionPage:
    """A page of attention weights.

    Attributes:
        weights: (blocks, heads, target tokens, source tokens), each row adds up to 1.
        source: the tokens attended to.
        target: the tokens that attended.
        title: written above.
    """

    weights: Float[np.ndarray, "blocks heads target source"]
    source: Sequence[str]
    target: Sequence[str]
    title: str = "Attention"

    def __post_init__(self) -> None:
        wanted = (len(self.target), len(self.source))
        if self.weights.ndim != 4 or self.weights.shape[2:] != wanted or 0 in self.weights.shape:
            raise ValueError(
                f"weights: got shape {self.weights.shape}, must be (blocks, heads, {wanted[0]},"
                f" {wanted[1]})"
            )

    def text(self) -> str:
        """Return the page as HTML."""
        data = {
            "weights": np.round(self.weights.astype(np.float64), DIGITS).tolist(),
            "source": list(self.source),
            "target": list(self.target),
        }
        # A token may be "</script>": in JSON, < has another form that JavaScript reads as well.
        written = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        blocks, heads = self.weights.shape[:2]
        template = TEMPLATES.get_template("attention_page.html.jinja")
        return template.render(title=self.title, data=written, blocks=blocks, heads=heads)

    def save(self, path: str | Path) -> None:
        """Write the page."""
        with replacing(path) as file:
            file.write(self.text().encode())

    def _repr_html_(self) -> str:
        height = 170 + 26 * max(len(self.source), len(self.target))
        page = html.escape(self.text(), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{height}" style="border:0"></iframe>'
