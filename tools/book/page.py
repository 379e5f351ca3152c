"""The web page: each chapter once, with what differs between the frameworks in tabs."""

import ast
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from tools.book import alone, diagrams, labels, reference, slim
from tools.book.chapter import CHAPTERS, NOTEBOOKS, ROOT, TITLES, parted
from tools.book.crosscheck import results
from tools.book.diagrams import drawing

BUILD = ROOT / "book" / "_build"
STATIC = Path(__file__).with_name("static")
PAGES = ("coming-from", "glossary")  # pages that have nothing to run
SAME = "The same in all four frameworks."
RUN = """\
<p class="run">Run it: <a href="{file}" download>download the {title} notebook</a>,
or <a href="{launch}">open it in Colab</a>.</p>"""
# What functions of `d2l_ext.plotting` draw, for those who don't see it.
DRAWN = {
    "attention_grid": "Attention maps side by side",
    "attention_map": "Attention map",
    "loss_curves": "Curves",
    "mask_map": "Map of a mask",
    "positional_encoding": "Positional encoding, as curves and as a map",
    "show_heatmaps": "Heat maps",
}


def build(chapters, notebooks, folder=BUILD, with_reference=True):
    """Build the site and return the path of its first page.

    Args:
        chapters: a list of `Chapter`.
        notebooks: ``{chapter name: {backend: executed notebook}}``.
        folder: where it goes; what was there is lost.
        with_reference: whether it has the reference of all names, which takes most of the time.
    """
    source, html = folder / "source", folder / "html"
    shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    index = (CHAPTERS / "index.md").read_text(encoding="utf-8")
    listed = [*(chapter.name for chapter in chapters), *PAGES]
    names = "\n".join([*listed, *["reference/index"] * with_reference])
    (source / "index.md").write_text(
        f"{index}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n", encoding="utf-8"
    )
    for chapter in chapters:
        text = _Page(chapter, notebooks[chapter.name], source).text()
        (source / f"{chapter.name}.md").write_text(text, encoding="utf-8")
    for name in PAGES:
        text = (CHAPTERS / f"{name}.md").read_text(encoding="utf-8")
        text = labels.resolved(text, name, {}, page=True)
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    if with_reference:
        write_reference(source)
    run_sphinx(source, html)
    slim.slim(html)
    shutil.copytree(NOTEBOOKS, html / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return html / "index.html"


def write_reference(source):
    """Write the pages of the reference into a folder of the source."""
    folder = source / "reference"
    folder.mkdir()
    for name, text in reference.pages().items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def run_sphinx(source, target):
    """Make a web site of a folder of MyST Markdown."""
    shutil.copy(Path(__file__).with_name("sphinx_conf.py"), source / "conf.py")
    shutil.copytree(STATIC, source / "_static")
    (source / "_static" / "figures.css").write_text(drawing.page_style(), encoding="utf-8")
    (source / "_static" / "icons.css").touch()  # for `slim` to fill
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    if subprocess.run([*command, source, target], cwd=ROOT).returncode:
        raise SystemExit("sphinx failed")


class _Page:
    """One chapter as MyST Markdown for Sphinx, with the notebooks' outputs in it."""

    def __init__(self, chapter, notebooks, folder):
        self.chapter, self.notebooks, self.folder = chapter, notebooks, folder
        self.pictures = 0

    def text(self):
        # Cells of one framework each that follow each other stand side by side.
        numbered = enumerate(self.chapter.cells)
        groups = groupby(numbered, key=lambda item: "own" if _own(item[1]) else item[0])
        title, *rest = "\n\n".join(self._block(dict(group)) for _, group in groups).split("\n", 1)
        return "\n".join([title, f"\n{run_it(self.chapter.name)}\n", *rest, ""])

    def _block(self, blocks):
        """Return a group of the chapter's blocks, ``{number: cell}``, as it stands on the page."""
        first = next(iter(blocks.values()))
        if not first.is_code:
            return labels.resolved(
                self._text(first), self.chapter.name, self.chapter.labels, page=True
            )
        per = {b: self._cells(b, blocks) for b in self.notebooks}
        per = {b: cells for b, cells in per.items() if cells}
        sources = {b: tuple(cell.source for cell in cells) for b, cells in per.items()}
        alike = len(per) == len(self.notebooks) and len(set(sources.values())) == 1
        if not alike:
            return _tabs({b: self._shown(cells) for b, cells in per.items()})
        (cell, *more), *_ = per.values()
        if more:  # a long definition that all frameworks share
            return self._shown([cell, *more])
        code, first = _code(cell.source), results(cell)
        if all(results(cells[0]) == first for cells in per.values()):
            return code + self._output(cell, note=True)
        return code + "\n\n" + _tabs({b: self._output(cells[0]) for b, cells in per.items()})

    def _text(self, cell):
        """Return a block that is not code, as MyST Markdown."""
        if cell.kind == "markdown":
            return cell.text
        label = f"{cell.kind[:3]}-{cell.argument}"
        caption, rest = parted(cell)
        caption = f":::{{container}} caption\n**{self.chapter.labels[label].text}.** {caption}\n:::"
        if cell.kind == "table":
            return f"({label})=\n{caption}\n\n{rest}"
        svg = diagrams.DIAGRAMS[cell.argument].svg(style=False)
        figure = _raw(f'<figure id="{label}">{svg}')  # Sphinx gives raw HTML no anchor itself
        return f"({label})=\n{figure}\n\n{caption}\n\n{_raw('</figure>')}"

    def _shown(self, cells):
        """Return cells of one framework with their outputs."""
        return "\n\n".join(_code(cell.source) + self._output(cell) for cell in cells)

    def _cells(self, backend, numbers):
        cells = self.notebooks[backend].cells
        return [c for c in cells if c.metadata.get("block") in numbers]

    def _output(self, cell, note=False):
        parts = []
        for kind, value in results(cell):
            parts.append(
                _printed(value) if kind == "text" else self._picture(value, alt(cell.source))
            )
        if note and parts:
            parts.append(f":::{{container}} same\n{SAME}\n:::")
        return "".join(f"\n\n{part}" for part in parts)

    def _picture(self, svg, words):
        self.pictures += 1
        name = f"{self.chapter.name}-{self.pictures}.svg"
        (self.folder / name).write_text(svg, encoding="utf-8")
        return f"```{{image}} {name}\n:alt: {words}\n:class: output\n```"


def run_it(name):
    """Return the links with which a reader runs a chapter, a panel for each framework."""
    return _tabs({b: _raw(RUN.format(title=TITLES[b], **_places(b, name))) for b in TITLES})


def _places(backend, name):
    return {"file": f"notebooks/{backend}/{name}.ipynb", "launch": alone.launch(backend, name)}


def alt(source):
    """Return what a cell's picture shows: the kind, and the words that the call has."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Name) and call.func.id in DRAWN:
            constants = [x.value for x in ast.walk(call) if isinstance(x, ast.Constant)]
            words = [x for x in constants if isinstance(x, str) and x.strip()]
            return ": ".join(filter(None, (DRAWN[call.func.id], ", ".join(words))))
    return "The picture that the code above draws"


def _own(cell):
    return cell.kind == "code-cell" and len(cell.frameworks) == 1


def _raw(html):
    return f"```{{raw}} html\n{html}\n```"


def _code(source):
    return f"````{{code-block}} python\n{source}\n````"


def _printed(text):
    text = text.rstrip("\n")
    return f"````{{code-block}} none\n:class: output\n\n{text}\n````"


def _tabs(contents):
    if len(contents) == 1:  # what one framework alone has is always shown
        ((backend, content),) = contents.items()
        return f"::::{{container}} only {backend}\n{content}\n::::"
    panels = "\n\n".join(
        f"::::{{container}} framework {backend}\n{content}\n::::"
        for backend, content in contents.items()
    )
    return f":::::{{container}} frameworks\n{panels}\n:::::"
