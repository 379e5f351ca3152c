"""The cross-check: the four frameworks' outputs of every running cell, compared.

Text must be equal, and numbers up to the digits that are printed: two numbers with d decimals may
differ by one and a half units of the last one, so that a value on the edge between two roundings
does not count. Pictures must be equal but for a step of a colour map and single pixels at edges.
"""

import base64
import io
import re

import numpy as np
from PIL import Image

from d2l_ext.interface import COLUMNS

VISIBLE = 4  # of 255: more than a step of a colour map, or than one pixel of a block
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", re.I)


def disagreements(notebooks):
    """Compare executed notebooks of one chapter.

    Args:
        notebooks: ``{backend: notebook}``.

    Returns:
        A list of messages; empty where all agree.
    """
    backends = [name for name in COLUMNS if name in notebooks]
    outputs = {name: comparable(notebooks[name]) for name in backends}
    first = backends[0]
    messages = []
    for other in backends[1:]:
        for number, (source, mine) in outputs[first].items():
            theirs = outputs[other][number][1]
            if not same(mine, theirs):
                messages.append(
                    f"{first} and {other} differ in:\n{source}\n"
                    f"--- {first}\n{_shown(mine)}\n--- {other}\n{_shown(theirs)}"
                )
    return messages


def comparable(notebook):
    """Return ``{block: (source, outputs)}`` of the cells that all frameworks share."""
    return {
        cell.metadata.block: (cell.source, results(cell))
        for cell in notebook.cells
        if cell.cell_type == "code" and not cell.metadata.get("tags")
    }


def results(cell):
    """Return what a cell printed and drew: a list of ("text", str) and ("image", base64)."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            found.append(("text", output.text))
        elif "image/png" in data:
            found.append(("image", data["image/png"]))
        elif "text/plain" in data:
            found.append(("text", data["text/plain"] + "\n"))
    return found


def same(a, b):
    """Whether two cells' results agree."""
    return len(a) == len(b) and all(
        kind == other and (same_text(x, y) if kind == "text" else same_image(x, y))
        for (kind, x), (other, y) in zip(a, b, strict=True)
    )


def same_text(a, b):
    """Whether two texts are equal, numbers up to one and a half units of the last digit."""
    # Arrays are padded with spaces to the width of their numbers' signs.
    words = [" ".join(NUMBER.sub(" # ", text).split()) for text in (a, b)]
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=False)
    return words[0] == words[1] and all(x == y or _close(x, y) for x, y in pairs)


def _close(x, y):
    unit = min(_last_unit(x), _last_unit(y))
    difference = abs(float(x) - float(y))
    return difference == 0 or (unit < 1 and difference <= 1.5 * unit)


def _last_unit(number):
    digits, _, exponent = number.lower().partition("e")
    decimals = len(digits.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if "." in digits else 1.0


def same_image(a, b):
    """Whether two pictures have one size and no block of 8 x 8 pixels differs visibly."""
    if a == b:
        return True
    x, y = (np.asarray(_opened(picture), float) for picture in (a, b))
    return x.shape == y.shape and _block_means(np.abs(x - y).max(axis=-1)).max() <= VISIBLE


def _block_means(x, size=8):
    """Return the means of blocks of (height, width), zeros being added to fill the last ones."""
    height, width = x.shape
    x = np.pad(x, ((0, -height % size), (0, -width % size)))
    blocks = x.reshape(len(x) // size, size, -1, size)  # (rows, size, columns, size)
    return blocks.mean(axis=(1, 3))


def _opened(picture):
    return Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")


def _shown(found):
    return "".join(value if kind == "text" else "<picture>\n" for kind, value in found)
