"""The table in which the frameworks stand side by side is what each does now."""

import importlib

import nbformat
import pytest

import d2l_ext
from d2l_ext.agreement.running.differences import DEFAULTS, measured

if importlib.util.find_spec("nbclient") is None:
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from tools.book import contrasts
from tools.book.chapter import chapters, notebook_path


def test_what_is_kept_is_what_the_framework_does(any_backend):
    if any_backend.name not in d2l_ext.COLUMNS:
        pytest.skip("the table is about frameworks")
    defaults = importlib.import_module(f"d2l_ext.{any_backend.name}.defaults")
    kept, now = contrasts.kept()[any_backend.name], measured(defaults)["defaults"]
    assert kept.keys() == now.keys() == {default.name for default in DEFAULTS}
    for name, value in kept.items():
        # Starts are drawn, and a clipped norm is a matter of rounding.
        assert now[name] == (value if isinstance(value, str) else pytest.approx(value, rel=0.1))


def test_every_row_has_a_chapter_that_exists():
    assert contrasts.SHOWN.keys() == {default.name for default in DEFAULTS}
    assert set(contrasts.SHOWN.values()) <= {chapter.name for chapter in chapters()}


def test_the_table_has_a_row_for_each_and_a_column_for_each():
    lines = contrasts.table(contrasts.kept()).splitlines()
    assert len(lines) == 2 + len(DEFAULTS)
    assert {line.count("|") for line in lines} == {7}
    (gelu,) = [line for line in lines if line.startswith("| GELU(1) ")]
    assert gelu == "| GELU(1) | 0.8413 | 0.8413 | 0.8412 | 0.8413 | [7](07-transformer.md) |"


@pytest.mark.parametrize("name", d2l_ext.COLUMNS)
def test_every_notebook_has_the_whole_table(name):
    (chapter,) = chapters((18,))
    cells = nbformat.read(notebook_path(chapter, name), as_version=4).cells
    lines = contrasts.table(contrasts.kept()).splitlines()[2:]
    (text,) = [cell.source for cell in cells if "| GRU, order of the gates |" in cell.source]
    assert all(line.rpartition("| [")[0] in text for line in lines)
