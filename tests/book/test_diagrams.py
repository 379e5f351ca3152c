"""The book's diagrams: well formed, small, in both colours, and each in one chapter."""

import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from tools.book import labels
from tools.book.diagrams import DIAGRAMS, drawing
from tools.book.diagrams.drawing import Drawing

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=DIAGRAMS)
def diagram(request):
    return DIAGRAMS[request.param]


def numbers(text):
    return [float(x) for x in re.findall(r"-?[\d.]+", text)]


def test_a_diagram_is_well_formed_and_says_what_it_shows(diagram):
    root = ElementTree.fromstring(diagram.svg())
    assert root.get("role") == "img" and root.get("aria-label") == diagram.alt
    assert len(diagram.alt) > 60
    assert float(root.get("width")) <= drawing.WIDEST
    assert len(diagram.svg()) < 20_000


def test_nothing_is_outside_of_the_picture(diagram):
    root = ElementTree.fromstring(diagram.svg())
    width, height = float(root.get("width")), float(root.get("height"))
    for part in root.iter():
        if part.tag == f"{SVG}rect":
            x, y = float(part.get("x", 0)), float(part.get("y", 0))
            assert 0 <= x <= x + float(part.get("width")) <= width
            assert 0 <= y <= y + float(part.get("height")) <= height
        elif "points" in part.attrib:
            points = numbers(part.get("points"))
            assert all(0 <= x <= width for x in points[::2])
            assert all(0 <= y <= height for y in points[1::2])
        elif part.tag == f"{SVG}text":
            text = "".join(part.itertext()).replace("\u200b", "")
            wide = 0.55 * float(part.get("font-size")) * len(text)  # a letter, on the average
            before = {"start": 0, "middle": wide / 2, "end": wide}[part.get("text-anchor")]
            x = float(part.get("x")) - before
            assert -2 <= x and x + wide <= width + 12, text
            assert 4 <= float(part.get("y")) <= height, text


def test_colours_are_those_of_both_palettes(diagram):
    assert drawing.LIGHT.keys() == drawing.DARK.keys()
    classes = set(re.findall(r'class="([\w-]+)"', diagram.svg())) - {"diagram"}
    ruled = set(re.findall(r"\.([\w-]+) \{", drawing.RULES))
    assert classes <= ruled
    assert set(re.findall(r"var\(--([\w-]+)\)", drawing.RULES)) <= drawing.LIGHT.keys()


def test_colours_can_be_told_apart():
    """Letters on paper, boxes and shades have a contrast of at least 4.5 (WCAG AA), lines of 3."""

    def parts(colour):
        return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]

    def shaded(palette, weight):
        both = zip(parts(palette["blue"]), parts(palette["box"]), strict=True)
        mixed = (drawing.SHADE * weight * a + (1 - drawing.SHADE * weight) * b for a, b in both)
        return "#" + "".join(f"{round(255 * part):02x}" for part in mixed)

    def luminance(colour):
        linear = [
            x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a, b):
        dark, light = sorted((luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)

    for palette in (drawing.LIGHT, drawing.DARK):
        for weight in (0.1, 0.5, 1):
            assert contrast(palette["ink"], shaded(palette, weight)) >= 4.5
        for ground in ("paper", "box", "pale-blue", "pale-red"):
            assert contrast(palette["ink"], palette[ground]) >= 4.5
        for letters in ("soft", "blue", "red"):
            assert contrast(palette[letters], palette["paper"]) >= 4.5
        assert contrast(palette["edge"], palette["paper"]) >= 3


def test_every_diagram_stands_in_one_chapter():
    stand = Counter(name for name in labels.everywhere() if name.startswith("fig-"))
    assert stand == Counter(f"fig-{name}" for name in DIAGRAMS)
    assert len(DIAGRAMS) >= 20


def test_a_drawing_is_not_too_wide_for_a_phone():
    with pytest.raises(ValueError, match="width: got 500, must be positive and at most 460"):
        Drawing(500, 100)


def test_subscripts_and_signs_are_written_as_such():
    d = Drawing(100, 50)
    d.text(50, 20, "k_1 < q_{12}\n& K^T")
    root = ElementTree.fromstring(d.svg("text"))
    lines = ["".join(x.itertext()).replace("\u200b", "") for x in root.iter(f"{SVG}text")]
    assert lines == ["k1 < q12", "& KT"]
    small = [x for x in root.iter(f"{SVG}tspan") if x.text != "\u200b"]
    assert [x.text for x in small] == ["1", "12", "T"]
    assert [float(x.get("dy")) > 0 for x in small] == [True, True, False]  # y runs downwards


def test_an_arrow_ends_where_it_is_told():
    d = Drawing(100, 50)
    d.arrow((10, 10), (60, 10))
    (head,) = ElementTree.fromstring(d.svg("an arrow")).iter(f"{SVG}polygon")
    assert numbers(head.get("points"))[:2] == [60, 10]


def test_the_page_s_style_has_the_dark_colours_for_a_dark_page():
    light, dark = drawing.page_style().splitlines()[:2]
    assert drawing.LIGHT["ink"] in light and drawing.DARK["ink"] in dark
    assert dark.startswith('html[data-theme="dark"] svg.diagram {')
