"""The cross-check: the four frameworks' outputs of every running cell, compared.

Text must be equal, and numbers up to the digits that are printed: two numbers with d decimals may
differ by one and a half units of the last one, so that a value on the edge between two roundings
does not count. Pictures, SVG, must have the same parts: words, curves with as many points, maps
with as many cells; places may differ by what nobody sees, and colours by a step of a colour map.
"""

import base64
import io
import re

import numpy as np
from PIL import Image

STEP = 4  # of 255: a step of a colour map
NEAR = 0.5  # of a point, of which an inch has 72
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", re.I)
# Parts of an SVG: a map's colours, a colour, and names that Matplotlib makes of what is drawn.
RASTER = re.compile(r"data:image/png;base64,\s*([^\"]+)")
COLOUR = re.compile(r"#([0-9a-f]{6})\b")
HASHED = re.compile(r"\b(?:image|\w)[0-9a-f]{10}\b")


def disagreements(notebooks):
    """Compare executed notebooks of one chapter.

    Args:
        notebooks: ``{name: notebook}``, the first of which the others are compared with.

    Returns:
        A list of messages; empty where all agree.
    """
    outputs = {name: comparable(notebook) for name, notebook in notebooks.items()}
    first, *others = outputs
    messages = []
    for other in others:
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
    """Return what a cell printed and drew: ("text", str) or ("picture", SVG)."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            found.append(("text", output.text))
        elif "image/svg+xml" in data:
            found.append(("picture", data["image/svg+xml"]))
        elif "text/plain" in data:
            found.append(("text", data["text/plain"] + "\n"))
    return found


def same(a, b):
    """Whether two cells' results agree."""
    return len(a) == len(b) and all(
        kind == other and SAME[kind](x, y) for (kind, x), (other, y) in zip(a, b, strict=True)
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


def same_picture(a, b):
    """Whether two pictures, SVG, look the same."""
    if a == b:
        return True
    maps, colours, rest = zip(*map(_parts, (a, b)), strict=True)
    numbers = [np.array(NUMBER.findall(text), float) for text in rest]
    words = [NUMBER.sub("#", text).split() for text in rest]
    return (
        words[0] == words[1]
        and all(x.shape == y.shape for x, y in zip(*maps, strict=False))
        and [len(found) for found in (maps[0], colours[0])] == [len(maps[1]), len(colours[1])]
        and all(_far(x, y) <= STEP for x, y in zip(*maps, strict=True))
        and _far(*map(np.array, colours)) <= STEP
        and _far(*numbers) <= NEAR
    )


def _parts(svg):
    """Return the maps (height, width, 4) of an SVG, its colours (red, green, blue) and the rest."""
    maps = [_opened(data) for data in RASTER.findall(svg)]
    svg = RASTER.sub("", svg)
    colours = [tuple(bytes.fromhex(colour)) for colour in COLOUR.findall(svg)]
    return maps, colours, HASHED.sub("", COLOUR.sub("", svg))


def _far(x, y):
    return np.abs(x.astype(float) - y.astype(float)).max(initial=0)


def _opened(data):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


SAME = {"text": same_text, "picture": same_picture}


def _shown(found):
    return "".join(value if kind == "text" else "<picture>\n" for kind, value in found)
