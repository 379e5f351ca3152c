"""Drawing with boxes, arrows and cells: small SVG pictures in one style, light and dark.

A file on its own follows the reader's system, by a media query, and brings its paper along; on the
web page the same drawing follows the page (`page_style`). Colours are variables in both.
"""

import math
import re
from html import escape

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "soft": "#57606a",
    "edge": "#7d8590",
    "box": "#eef1f5",
    "blue": "#1d5fa8",
    "pale-blue": "#d3e4f7",
    "red": "#a8440f",
    "pale-red": "#fbdfcc",
}
DARK = {
    "paper": "#14181e",
    "ink": "#e6e8eb",
    "soft": "#a8b0bb",
    "edge": "#7c8794",
    "box": "#262d37",
    "blue": "#82bbf5",
    "pale-blue": "#1f4166",
    "red": "#f2a56d",
    "pale-red": "#5c351c",
}
RULES = """\
svg.diagram text { font-family: system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg.diagram .ink { fill: var(--ink); }
svg.diagram .soft { fill: var(--soft); }
svg.diagram .blue { fill: var(--blue); }
svg.diagram .red { fill: var(--red); }
svg.diagram .paper { fill: var(--paper); }
svg.diagram rect.box, svg.diagram circle.box { fill: var(--box); stroke: var(--edge); }
svg.diagram .blue-box { fill: var(--pale-blue); stroke: var(--blue); }
svg.diagram .red-box { fill: var(--pale-red); stroke: var(--red); }
svg.diagram .frame { fill: none; stroke: var(--edge); stroke-dasharray: 4 3; }
svg.diagram .line { fill: none; stroke: var(--edge); }
svg.diagram .blue-line { fill: none; stroke: var(--blue); }
svg.diagram .red-line { fill: none; stroke: var(--red); }
svg.diagram .line-head { fill: var(--edge); }
svg.diagram .blue-line-head { fill: var(--blue); }
svg.diagram .red-line-head { fill: var(--red); }
"""
SIZE = 14  # of letters; on a phone a picture of 460 is shown at three quarters of its size
WIDEST = 460
HEAD = 7  # length of an arrow's head
SHADE = 0.42  # the most of blue over a box on which a text can still be read

_INDEX = re.compile(r"([_^])(\{[^}]*\}|\w)")


def _variables(selector: str, colours: dict[str, str]) -> str:
    return f"{selector} {{ {' '.join(f'--{k}: {v};' for k, v in colours.items())} }}\n"


def page_style() -> str:
    """Return the style sheet of drawings that stand in the web page."""
    light = _variables("svg.diagram", LIGHT)
    return light + _variables('html[data-theme="dark"] svg.diagram', DARK) + RULES


def _file_style() -> str:
    dark = _variables("svg.diagram", DARK)
    media = f"@media (prefers-color-scheme: dark) {{ {dark.strip()} }}\n"
    return f"<style>{_variables('svg.diagram', LIGHT)}{media}{RULES}</style>"


class Drawing:
    """A picture that grows by calls; y runs downwards, sizes are in pixels.

    Kinds of shapes: "box", "blue-box", "red-box", "frame". Kinds of lines: "line", "blue-line",
    "red-line". Kinds of text: "ink", "soft", "blue", "red". In a text ``x_1`` and ``x_{12}`` are
    subscripts, ``x^T`` and ``x^{12}`` superscripts, and a line break starts a new line.
    """

    def __init__(self, width: float, height: float):
        if not 0 < width <= WIDEST:
            raise ValueError(f"width: got {width}, must be positive and at most {WIDEST}")
        self.width, self.height = width, height
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        text: str = "",
        kind: str = "box",
        size: float = SIZE,
    ) -> None:
        """Draw a rectangle with its upper left corner at (x, y) and a text in its middle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"'
            f' class="{kind}"/>'
        )
        if text:
            self.text(x + width / 2, y + height / 2, text, size=size)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "middle",
        kind: str = "ink",
        size: float = SIZE,
        bold: bool = False,
    ) -> None:
        """Write lines whose middle is at height y; ``anchor`` is start, middle or end."""
        lines = text.split("\n")
        for number, line in enumerate(lines):
            middle = y + (number - (len(lines) - 1) / 2) * size * 1.25
            weight = ' font-weight="600"' if bold else ""
            self._parts.append(
                f'<text x="{x:g}" y="{middle + 0.35 * size:.4g}" font-size="{size:g}"'
                f' text-anchor="{anchor}" class="{kind}"{weight}>{_marked(line, size)}</text>'
            )

    def line(self, *points: tuple[float, float], kind: str = "line", width: float = 1.5) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
        self._parts.append(f'<polyline points="{path}" class="{kind}" stroke-width="{width:g}"/>')

    def arrow(self, *points: tuple[float, float], kind: str = "line", width: float = 1.5) -> None:
        """Draw a line through points with a head at its end."""
        (x0, y0), (x, y) = points[-2:]
        length = math.hypot(x - x0, y - y0)
        u, v = (x - x0) / length, (y - y0) / length  # direction
        bx, by = x - HEAD * u, y - HEAD * v  # where the head begins
        wide = 0.45 * HEAD
        self.line(*points[:-1], (bx, by), kind=kind, width=width)
        head = (x, y), (bx - wide * v, by + wide * u), (bx + wide * v, by - wide * u)
        path = " ".join(f"{a:.5g},{b:.5g}" for a, b in head)
        self._parts.append(f'<polygon points="{path}" class="{kind}-head"/>')

    def dot(self, x: float, y: float, radius: float, kind: str = "ink") -> None:
        """Draw a disc."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="{kind}"/>')

    def arc(self, x: float, y: float, radius: float, start: float, end: float, kind: str) -> None:
        """Draw a part of a circle between two angles, in degrees, against the clock."""
        parts = max(24, round(abs(end - start) / 4))
        angles = [math.radians(start + (end - start) * i / parts) for i in range(parts + 1)]
        points = [(x + radius * math.cos(a), y - radius * math.sin(a)) for a in angles]
        self.line(*points, kind=kind)

    def cells(
        self, x: float, y: float, rows: list[list[float]], side: float, kind: str = "blue"
    ) -> None:
        """Draw a matrix of squares, the darker the larger its numbers between 0 and 1."""
        for i, row in enumerate(rows):
            for j, value in enumerate(row):
                if value:
                    self._parts.append(
                        f'<rect x="{x + j * side:g}" y="{y + i * side:g}" width="{side:g}"'
                        f' height="{side:g}" class="{kind}" fill-opacity="{value:.2g}"/>'
                    )
        right, bottom = x + len(rows[0]) * side, y + len(rows) * side
        for i in range(len(rows) + 1):
            self.line((x, y + i * side), (right, y + i * side), width=0.75)
        for j in range(len(rows[0]) + 1):
            self.line((x + j * side, y), (x + j * side, bottom), width=0.75)

    def shade(self, x: float, y: float, width: float, height: float, weight: float) -> None:
        """Draw a rectangle that is the darker the larger its weight between 0 and 1.

        It stays light enough for a text upon it.
        """
        self.box(x, y, width, height, kind="box")
        if weight:
            self._parts.append(
                f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"'
                f' class="blue" fill-opacity="{SHADE * weight:.2g}"/>'
            )

    def svg(self, alt: str, style: bool = True) -> str:
        """Return the picture; ``alt`` says what it shows, ``style`` brings colours and paper."""
        start = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" role="img"'
            f' width="{self.width:g}" height="{self.height:g}"'
            f' viewBox="0 0 {self.width:g} {self.height:g}" aria-label="{escape(alt)}">'
        )
        paper = f'<rect width="{self.width:g}" height="{self.height:g}" class="paper"/>'
        return start + (_file_style() + paper if style else "") + "".join(self._parts) + "</svg>"


def _marked(line: str, size: float) -> str:
    """Return a line as SVG, with subscripts and superscripts."""
    found, end = [], 0
    for match in _INDEX.finditer(line):
        index = escape(match[2].strip("{}"))
        down, small = (0.25 if match[1] == "_" else -0.35) * size, 0.7 * size
        found.append(
            f'{escape(line[end : match.start()])}<tspan dy="{down:g}" font-size="{small:g}">'
            f'{index}</tspan><tspan dy="{-down:g}">&#8203;</tspan>'
        )
        end = match.end()
    return "".join(found) + escape(line[end:])
