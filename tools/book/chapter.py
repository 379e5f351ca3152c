"""Chapters: Markdown with running cells and quoted definitions, and the notebooks made of them.

A chapter is plain Markdown with five kinds of fenced blocks:

* ``{setup}``, once, where the library is first needed: imports; the notebook adds the backend, and
  what its cells use of it,
* ``{definition} row name ...``: definitions, quoted from the column or, where the row starts with a
  slash, from a file that all frameworks share (`quote`),
* ``{code-cell}``: code that runs, the same in all frameworks,
* ``{figure} name``: a diagram (`tools.book.diagrams`) with its caption,
* ``{table} name``: a caption, an empty line, and a table, or `contrasts.HERE` for the one in which
  the frameworks stand side by side, or `seeds.HERE` for the one in which chapter 3's models do.

A running cell may start with ``:tags: [...]``. A framework's name leaves the cell to that one.
``measured`` marks output that is a measurement of this framework (a rounding error, a time).
Neither is compared by `crosscheck`.

The front matter has, where they are needed, ``quick: {variable: value}``, the numbers of a quick
run, and ``extras: {module: extra}`` and ``bare: {module: requirement}``, what a notebook that is
opened alone installs beside its framework (`alone`).
"""

import base64
import hashlib
import re
from dataclasses import dataclass

import nbformat
import yaml

from d2l_ext.interface import COLUMNS
from tools.book import alone, contrasts, diagrams, labels, quote, seeds

ROOT = quote.ROOT
CHAPTERS = labels.CHAPTERS
NOTEBOOKS = ROOT / "notebooks"
TITLES = alone.TITLES
INSTALLS = "installs"  # the tag of the cell that installs what is missing

_BLOCK = re.compile(
    r"^```\{(setup|definition|code-cell|figure|table)\}([^\n]*)\n(.*?)^```\n", re.M | re.S
)
_TAGS = re.compile(r"\A:tags: \[([^\]]*)\]\n+")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_HEADING = re.compile(r"^(?=#{1,3} )", re.M)
_CHAPTER_LINK = re.compile(r"\]\((\d\d-[\w-]+)\.md(#[\w-]+)?\)")
_PAGE_LINK = re.compile(r"\]\(([a-z-]+\.md)\)")


@dataclass(frozen=True)
class Cell:
    """A block of a chapter: its kind ("markdown" or a fence's name), argument, tags and text."""

    kind: str
    argument: str
    tags: tuple
    text: str

    @property
    def is_code(self):
        """Whether the notebooks run it."""
        return self.kind in ("setup", "definition", "code-cell")

    @property
    def quoted(self):
        """The (row, name) pairs of a definition block."""
        row, *names = self.argument.split()
        return [(row, name) for name in names]

    @property
    def frameworks(self):
        """The frameworks that have this cell."""
        return tuple(name for name in COLUMNS if name in self.tags) or COLUMNS


class Chapter:
    """A chapter of the book.

    Attributes:
        name: the file's name without its ending, such as "01-masked-softmax".
        cells: a list of `Cell`.
        labels: ``{label: Label}`` of its figures, tables and formulas.
        quick: ``{variable: value}``, smaller numbers for a quick run.
        needs: what it needs beside a framework (`alone.Needs`).
    """

    def __init__(self, path):
        text = path.read_text(encoding="utf-8")
        self.name = path.stem
        self.labels = labels.of(self.name, text)
        front = _FRONT_MATTER.match(text)
        settings = yaml.safe_load(front[1]) if front else {}
        self.quick = settings.get("quick", {})
        self.needs = alone.Needs(settings.get("extras", {}), settings.get("bare", {}))
        self.cells = list(_cells(text[front.end() :] if front else text))

    def notebook(self, backend, quick=False):
        """Return the framework's notebook, not executed.

        Args:
            backend: the column.
            quick: whether the numbers in ``quick`` replace the chapter's.
        """
        cells = [
            _cell("markdown", alone.introduction(backend), None),
            _cell("code", alone.cell(backend, self.needs), None, (INSTALLS,)),
        ]
        for number, cell in enumerate(self.cells):
            if backend not in cell.frameworks:
                continue
            kind = "code" if cell.is_code else "markdown"
            for source in filter(None, self._sources(cell, backend)):
                if quick and kind == "code":
                    source = _replaced(source, self.quick)
                cells.append(_cell(kind, source, number, cell.tags))
                if cell.kind == "figure":
                    cells[-1].attachments = _attachments(cell.argument)
        _give_ids(cells)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
        return nbformat.v4.new_notebook(cells=cells, metadata=metadata)

    def _sources(self, cell, backend):
        """Return the source of each notebook cell that a block becomes."""
        if not cell.is_code:
            text = labels.resolved(self.captioned(cell), self.name, self.labels, page=False)
            text = _PAGE_LINK.sub(r"](../../chapters/\1)", text)
            return [_CHAPTER_LINK.sub(r"](\1.ipynb\2)", text)]
        if cell.kind == "definition":
            return [
                part for row, name in cell.quoted for part in quote.definition(backend, row, name)
            ]
        if cell.kind == "setup":
            return [f'{cell.text}\n\nbe = d2l_ext.backend("{backend}")', self._imports(backend)]
        return [cell.text]

    def captioned(self, cell):
        """Return the Markdown of a block that is not code, as a notebook has it."""
        if cell.kind == "markdown":
            return cell.text
        label = f"{cell.kind[:3]}-{cell.argument}"
        caption, rest = parted(cell)
        parts = [f'<a id="{label}"></a>', f"**{self.labels[label].text}.** {caption}"]
        if cell.kind == "figure":
            diagram = diagrams.DIAGRAMS[cell.argument]
            parts.insert(1, f"![{diagram.alt}](attachment:{cell.argument}.svg)")
        return "\n\n".join(filter(None, [*parts, rest]))

    def _imports(self, backend):
        """Return the imports of what the cells use of the column and do not define themselves."""
        cells = [c for c in self.cells if backend in c.frameworks and c.is_code]
        quoted = [pair for c in cells if c.kind == "definition" for pair in c.quoted]
        defined = {name for _, name in quoted}
        running = [c.text for c in cells if c.kind != "definition"]
        assigned = set().union(*map(quote.assigned_names, running))
        wanted = {"__init__": set().union(*map(quote.free_names, running)) - defined - assigned}
        for row, name in quoted:
            names = set().union(*map(quote.free_names, quote.definition(backend, row, name)))
            wanted.setdefault(row, set()).update(names - defined)
        (setup,) = (cell.text for cell in self.cells if cell.kind == "setup")
        known = {name: None for name in assigned} | quote.meanings(setup)
        return quote.imports(backend, wanted, known)


def parted(cell):
    """Return the caption of a figure or a table, and what stands below it."""
    caption, _, rest = cell.text.partition("\n\n")
    for source in (contrasts, seeds):
        if source.HERE in rest:
            rest = rest.replace(source.HERE, source.table(source.kept()))
    return caption, rest


def chapters(numbers=()):
    """Return the chapters with these numbers, or all of them, in their order."""
    found = [Chapter(path) for path in sorted(CHAPTERS.glob("[0-9][0-9]-*.md"))]
    return [c for c in found if not numbers or int(c.name[:2]) in numbers]


def notebook_path(chapter, backend):
    """Return where a chapter's notebook is kept."""
    return NOTEBOOKS / backend / f"{chapter.name}.ipynb"


def out_of_step(chapter, backend):
    """Return what is wrong with a notebook that is kept, or None.

    It must have exactly the cells that the chapter and the column give now, each of those that run
    executed without an error.
    """
    path = notebook_path(chapter, backend)
    if not path.exists():
        return f"{path.relative_to(ROOT)} is missing"
    kept, fresh = nbformat.read(path, as_version=4), chapter.notebook(backend)
    where = path.relative_to(ROOT)
    if _parts(kept) != _parts(fresh):
        ids = {c.id for c in kept.cells} ^ {c.id for c in fresh.cells}
        return f"{where} is out of step with its chapter or the library: cells {sorted(ids)}"
    for cell in running(kept):
        if cell.execution_count is None:
            return f"{where}: cell {cell.id} was not executed"
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"{where}: cell {cell.id} raised {output.ename}"
            if output.get("name") == "stderr":
                return f"{where}: cell {cell.id} wrote to stderr: {output.text[:200]}"
    return None


def unchanged(chapter, backend, fresh):
    """Give a fresh notebook the outputs of the one that is kept; return whether it could.

    It can where all cells that run are the same: then only the text has changed.
    """
    path = notebook_path(chapter, backend)
    if not path.exists():
        return False
    kept, cells = running(nbformat.read(path, as_version=4)), running(fresh)
    if [c.source for c in kept] != [c.source for c in cells]:
        return False
    for cell, old in zip(cells, kept, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return True


def running(notebook):
    """Return the cells that are run: all code but what installs, since here all is installed."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and INSTALLS not in cell.metadata.get("tags", ())
    ]


def _parts(notebook):
    """Return what a chapter and the library determine of a notebook."""
    return [(c.source, c.get("attachments")) for c in notebook.cells]


def _attachments(name):
    """Return a diagram as a notebook's cell carries it."""
    svg = base64.b64encode(diagrams.DIAGRAMS[name].svg().encode()).decode()
    return {f"{name}.svg": {"image/svg+xml": svg}}


def _cells(text):
    end = 0
    for block in _BLOCK.finditer(text):
        yield from _markdown(text[end : block.start()])
        kind, argument, body = block.groups()
        tags = _TAGS.match(body)
        if tags:
            body = body[tags.end() :]
        names = tuple(tag.strip() for tag in tags[1].split(",")) if tags else ()
        yield Cell(kind, argument.strip(), names, body.strip("\n"))
        end = block.end()
    yield from _markdown(text[end:])


def _markdown(text):
    for section in _HEADING.split(text):
        if section.strip():
            yield Cell("markdown", "", (), section.strip("\n"))


def _cell(kind, source, number, tags=()):
    new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
    metadata = {} if number is None else {"block": number}
    if tags:
        metadata["tags"] = list(tags)
    return new(source, metadata=metadata)


def _give_ids(cells):
    """Name each cell by its text, so that a change elsewhere does not change the name."""
    taken = set()
    for cell in cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()
        name = next(digest[i : i + 8] for i in range(56) if digest[i : i + 8] not in taken)
        taken.add(name)
        cell.id = name


def _replaced(source, values):
    for name, value in values.items():
        line = rf"^( *){re.escape(name)} = .*$"
        source = re.sub(line, rf"\g<1>{name} = {value!r}", source, flags=re.M)
    return source
