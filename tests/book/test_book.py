"""The book: notebooks in step with chapters and library, frameworks that agree, no error shown."""

import ast
import base64
import contextlib
import importlib.util
import re

import nbformat
import numpy as np
import pytest

import d2l_ext
from d2l_ext.plotting import SHARP, Picture

if importlib.util.find_spec("nbclient") is None:
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from tools.book import chapter as chapter_module
from tools.book import crosscheck, diagrams, page, quote
from tools.book.chapter import Chapter, chapters, notebook_path, out_of_step, unchanged
from tools.book.execute import kernel

CHAPTERS = {chapter.name: chapter for chapter in chapters()}


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return CHAPTERS[request.param]


@pytest.mark.parametrize("name", d2l_ext.COLUMNS)
def test_notebook_is_in_step_and_has_no_error(chapter, name):
    assert out_of_step(chapter, name) is None


def test_frameworks_print_the_same(chapter):
    notebooks = {
        name: nbformat.read(notebook_path(chapter, name), as_version=4) for name in d2l_ext.COLUMNS
    }
    assert crosscheck.disagreements(notebooks) == []


def is_one_function(source):
    """Whether a cell is a function, or a class with a single method."""
    body = ast.parse(source).body
    if isinstance(body[0], ast.ClassDef):
        body = body[0].body
    return len(body) == 1 and isinstance(body[0], ast.FunctionDef)


@pytest.mark.parametrize("name", d2l_ext.COLUMNS)
def test_cells_are_short(chapter, name):
    """At most 25 lines, and 31 in a function, which is never cut; the two above are its place."""
    for cell in chapter.notebook(name).cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            most = 31 if is_one_function(cell.source) else quote.MAX_LINES
            assert len(lines) <= most + 2, cell.source


def test_notebooks_name_no_place_on_a_machine_and_are_small():
    paths = list(chapter_module.NOTEBOOKS.rglob("*.ipynb"))
    assert sum(path.stat().st_size for path in paths) < 15e6
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert str(chapter_module.ROOT) not in text and "/home/" not in text, path
        assert "site-packages" not in text, path


@pytest.mark.parametrize("name", d2l_ext.COLUMNS)
def test_the_idea_comes_before_the_library(chapter, name):
    """Nothing is taken from the library before it, in at most 20 lines a cell, and shown uncut."""
    _, *cells = [c.source for c in chapter.notebook(name).cells if c.cell_type == "code"]
    first = next(i for i, source in enumerate(cells) if "d2l_ext.backend(" in source)
    if chapter.name[:2] not in ("00", "18"):  # which are about the library
        assert first > 0
    for source in cells[:first]:
        modules = [line for line in source.splitlines() if "d2l_ext" in line]
        assert all(line.startswith("import d2l_ext.mxnet ") for line in modules)
        assert len([line for line in source.splitlines() if line.strip()]) <= 20
    assert not any("# continued" in source for source in cells)


def test_a_picture_that_is_drawn_is_shown(chapter):
    """A cell shows its last expression, so that a picture drawn before it is lost."""
    for cell in chapter.cells:
        if cell.kind == "code-cell":
            *before, _ = ast.parse(cell.text).body
            calls = [s.value for s in before if isinstance(s, ast.Expr)]
            drawn = {ast.unparse(c.func) for c in calls if isinstance(c, ast.Call)}
            assert not drawn & page.DRAWN.keys(), cell.text


def test_a_figure_s_change_is_noticed(monkeypatch):
    chapter = CHAPTERS["01-masked-softmax"]
    assert out_of_step(chapter, "torch") is None
    monkeypatch.setattr(diagrams.drawing, "SIZE", 15)
    monkeypatch.setitem(diagrams.drawing.LIGHT, "ink", "#000000")
    assert "out of step" in out_of_step(chapter, "torch")


def test_a_notebook_carries_its_figures():
    cells = CHAPTERS["02-attention-scoring"].notebook("jax").cells
    for cell in cells:
        named = re.findall(r"\(attachment:([\w-]+)\.svg\)", cell.source)
        carried = {f"{name}.svg" for name in named}
        assert cell.get("attachments", {}).keys() == carried
        for name in named:
            kept = base64.b64decode(cell.attachments[f"{name}.svg"]["image/svg+xml"])
            assert kept.decode() == diagrams.DIAGRAMS[name].svg()
    assert any(cell.get("attachments") for cell in cells)


def changed_chapter(folder, old, new):
    """A chapter with another text."""
    text = (chapter_module.CHAPTERS / "01-masked-softmax.md").read_text(encoding="utf-8")
    assert old in text
    path = folder / "01-masked-softmax.md"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return Chapter(path)


def test_a_change_of_the_text_alone_runs_nothing(tmp_path):
    chapter = changed_chapter(tmp_path, "By hand", "By heart")
    fresh = chapter.notebook("jax")
    assert unchanged(chapter, "jax", fresh)
    kept = nbformat.read(notebook_path(chapter, "jax"), as_version=4)
    outputs = [c.outputs for c in kept.cells if c.cell_type == "code"]
    assert [c.outputs for c in fresh.cells if c.cell_type == "code"] == outputs
    assert any(outputs)


def test_a_change_of_the_code_runs_it_again(tmp_path):
    chapter = changed_chapter(tmp_path, "scores + 1000.0", "scores + 1001.0")
    fresh = chapter.notebook("jax")
    assert not unchanged(chapter, "jax", fresh)
    assert not any(c.get("outputs") for c in fresh.cells)


def test_a_change_of_a_definition_is_noticed(monkeypatch):
    original = quote.definition

    def changed(backend, row, name):
        return [part.replace("softmax", "hardmax") for part in original(backend, row, name)]

    assert out_of_step(CHAPTERS["01-masked-softmax"], "torch") is None
    monkeypatch.setattr(quote, "definition", changed)
    assert "out of step" in out_of_step(CHAPTERS["01-masked-softmax"], "torch")


def test_a_change_of_a_chapter_is_noticed(tmp_path):
    chapter = changed_chapter(tmp_path, "By hand", "By heart")
    assert "out of step" in out_of_step(chapter, "jax")


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        ("loss 0.123", "loss 0.124", True),  # 0.1235 rounded down and up
        ("loss 0.123", "loss 0.125", False),
        ("1.0e-03", "1.1e-03", True),
        ("[1. 2.]", "[1.     2.    ]", True),
        ("[0. 1.]", "[-0. 1.]", True),
        ("4 tokens", "5 tokens", False),
        ("il est", "elle est", False),
        ("nan", "0.0", False),
        ("1 2", "1 2 3", False),
    ],
)
def test_crosscheck_of_text(a, b, agree):
    assert crosscheck.same_text(a, b) == agree


def drawn(curve=(1.0, 0.5, 0.25), weights=((0.25, 0.75), (0.5, 0.5)), colour="#0072B2", word="a"):
    """A picture with a curve and a map, SVG."""
    picture = Picture(figsize=(4, 2))
    left, right = picture.subplots(1, 2)
    left.plot(curve, color=colour)
    left.set_xlabel(word)
    right.imshow(np.array(weights), vmin=0, vmax=1, cmap="Blues", **SHARP)
    return picture._repr_svg_()


@pytest.mark.parametrize(
    ("changed", "agree"),
    [
        ({}, True),
        ({"curve": (1.0, 0.5 + 1e-12, 0.25)}, True),
        ({"curve": (1.0, 0.503, 0.25)}, True),  # a third of a point
        ({"curve": (1.0, 0.52, 0.25)}, False),
        ({"curve": (1.0, 0.5, 0.25, 0.25)}, False),
        ({"weights": ((0.251, 0.749), (0.5, 0.5))}, True),  # a step of the colour map
        ({"weights": ((0.3, 0.7), (0.5, 0.5))}, False),
        ({"weights": ((0.25, 0.75, 0.5), (0.5, 0.5, 0.5))}, False),
        ({"colour": "#0073B2"}, True),
        ({"colour": "#E69F00"}, False),
        ({"word": "b"}, False),
    ],
)
def test_crosscheck_of_pictures(changed, agree):
    assert crosscheck.same_picture(drawn(), drawn(**changed)) == agree


def test_a_long_class_continues_as_its_own_subclass():
    parts = quote.definition("torch", "scoring", "Attention")
    assert len(parts) == 2
    assert parts[1].startswith(
        "# d2l_ext/torch/scoring.py\nclass Attention(Attention):  # continued\n"
    )
    with pytest.raises(ValueError, match="defines no"):
        quote.definition("torch", "scoring", "Nothing")


A, B, C = (letter * 37 for letter in "abc")
SOURCE = f"""
def short(self, X: Float[Array, "batch n"], *rest: int, eps: float = 1e-5, **more) -> None:
    pass

def one_line_of_arguments({A}: int, {B}: str = "relu") -> None:
    pass

def a_line_each({A}: int, {B}, {C}: int) -> None:
    pass
"""
PLAIN = [
    "def short(self, X, *rest, eps=1e-5, **more):",
    f'def one_line_of_arguments(\n    {A}, {B}="relu"\n):',
    f"def a_line_each(\n    {A},\n    {B},\n    {C},\n):",
]


def test_a_quick_run_replaces_numbers_also_within_a_class():
    source = "num_epochs = 5\nclass Data:\n    pad, num_batches = None, 100\n    x = num_epochs"
    found = chapter_module._replaced(source, {"num_epochs": 1, "pad, num_batches": [None, 3]})
    assert found.splitlines()[:3] == [
        "num_epochs = 1",
        "class Data:",
        "    pad, num_batches = [None, 3]",
    ]


def test_quotations_leave_annotations_out(monkeypatch):
    tree = ast.parse(SOURCE)
    monkeypatch.setattr(quote, "_parsed", lambda place: (tree, SOURCE.splitlines()))
    for node, plain in zip(tree.body, PLAIN, strict=True):
        (cell,) = quote.definition("torch", "scoring", node.name)
        assert cell == f"# d2l_ext/torch/scoring.py\n{plain}\n    pass"


@pytest.fixture(scope="module")
def kernels():
    """``{framework: run}``: a process each, so that each framework is loaded once."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(kernel(quick=True)) for name in d2l_ext.installed()}


# Two frameworks for each chapter in the quick tests, all others by turns with the first; for a
# chapter that trains or compares for long one that does not compile, by turns; none for that which
# starts and kills processes.
LONG = ("02", "03", "04", "07", "08", "10", "13", "14", "15", "17")
PROCESSES = "16"
SOME = {
    chapter: d2l_ext.COLUMNS[i % 2 : i % 2 + 1]
    if chapter.startswith(LONG)
    else (d2l_ext.COLUMNS[0], d2l_ext.COLUMNS[1 + i % 3])
    for i, chapter in enumerate(CHAPTERS)
    if not chapter.startswith(PROCESSES)
}


@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_quick_run(chapter, kernels, every):
    """Every cell runs in the frameworks, with smaller numbers, and all print the same."""
    if chapter.name not in SOME and not every:
        pytest.skip("starts and kills processes, which takes its time: with the slow tests")
    runs = {name: run for name, run in kernels.items() if every or name in SOME[chapter.name]}
    notebooks = {name: run(chapter.notebook(name, quick=True)) for name, run in runs.items()}
    for notebook in notebooks.values():
        for cell in notebook.cells:
            assert not any(output.get("name") == "stderr" for output in cell.get("outputs", []))
    assert crosscheck.disagreements(notebooks) == []
