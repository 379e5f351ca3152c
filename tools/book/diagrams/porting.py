"""Pictures of chapter 17: a port on rails, what errors are without them, and two distances.

A function's docstring is the picture's alternative text.
"""

from tools.book.diagrams.drawing import Drawing

LAYERS = "norm", "attention", "norm", "dense"


def rails() -> Drawing:
    """Above, the original: four layers in a row, each gives its values to the next. Below, the
    port: no layer gets what the one before has computed; each gets the original's values instead,
    by an arrow from above. What it makes of them is compared with the original's. The second
    layer's is another, all others are equal.
    """
    d, width, gap = Drawing(456, 232), 76, 30
    wrong = 1
    d.text(34, 12, "original", "start", "soft", 12)
    d.text(34, 112, "port", "start", "soft", 12)
    for i, name in enumerate(LAYERS):
        x = 34 + i * (width + gap)
        d.arrow((x - gap + (4 if i else 0), 42), (x, 42))
        d.box(x, 26, width, 32, name, size=13)
        d.arrow((x - gap / 2, 42), (x - gap / 2, 142), (x, 142), kind="blue-line")
        d.dot(x - gap / 2, 42, 3.5, "blue")
        d.box(x, 126, width, 32, name, "red-box" if i == wrong else "box", 13)
        d.arrow(
            (x + width / 2, 158), (x + width / 2, 184), kind="red-line" if i == wrong else "line"
        )
        d.text(
            x + width / 2,
            196,
            "≠" if i == wrong else "=",
            kind="red" if i == wrong else "ink",
            size=18,
            bold=i == wrong,
        )
    d.arrow((34 + 4 * width + 3 * gap, 42), (454, 42))
    d.text(230, 222, "blue: the original's values, put in before each layer", kind="soft", size=12)
    return d


def carried_on() -> Drawing:
    """Eight places of two models in order, of which the port has a mistake in the third and in the
    sixth. Left alone, all places from the third on are wrong. On rails, the third and the sixth
    are.
    """
    d, side, places = Drawing(456, 132), 38, 8
    mistakes = 2, 5
    for row, (name, wrong) in enumerate(
        (("left alone", range(mistakes[0], places)), ("on rails", mistakes))
    ):
        y = 26 + 50 * row
        d.text(94, y + side / 2, name, "end", size=13)
        for i in range(places):
            x = 104 + 43 * i
            kind = "red-box" if i in wrong else "blue-box"
            d.box(x, y, side, side, "≠" if i in wrong else "=", kind, 16)
    for i in mistakes:
        d.text(104 + 43 * i + side / 2, 12, "mistake", kind="red", size=12)
    d.arrow((104, 122), (442, 122))
    return d


def two_distances() -> Drawing:
    """A point, the exact result, and a circle around it. On a smaller circle lies the trusted
    model, at the distance t. A right port lies on the other side, no farther away. A wrong port
    lies outside of the larger circle, at the distance e.
    """
    d, x, y = Drawing(456, 210), 150, 106
    d.arc(x, y, 70, 0, 360, "line")
    d.arc(x, y, 88, 0, 360, "blue-line")
    d.line((x, y), (x + 49.5, y - 49.5), kind="line")
    d.text(x + 18, y - 33, "t", size=14)
    d.dot(x + 49.5, y - 49.5, 5, "blue")
    d.text(x + 84, y - 78, "trusted, in bfloat16", "start", "blue", 13)
    d.line((x, y), (x + 160, y + 40), kind="red-line")
    d.text(x + 100, y + 13, "e", kind="red", size=14)
    d.dot(x + 160, y + 40, 5, "red")
    d.text(x + 172, y + 40, "a wrong port", "start", "red", 13)
    d.dot(x - 40, y + 44, 5, "blue")
    d.text(58, y + 68, "a right\nport", "end", "blue", 13)
    d.dot(x, y, 5, "ink")
    d.text(x - 10, y - 12, "exact", "end", size=13)
    d.text(x + 96, y - 16, "1.1 t", "start", "soft", 13)
    return d
