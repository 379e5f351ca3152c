"""Every branch of a column is walked by a case, or it is said why not."""

import subprocess
import sys
from pathlib import Path

import pytest
from left import FILES, LEFT

import d2l_ext

PACKAGE = Path(d2l_ext.__file__).parent
TOOL = Path(__file__).parents[1] / "branches.py"


@pytest.mark.slow
@pytest.mark.parametrize("column", LEFT)
def test_every_branch_is_walked_or_explained(column):
    """In a process of its own, since what is done while the column loads counts as well."""
    if column not in d2l_ext.installed():
        pytest.skip(f"{column} is not installed")
    run = subprocess.run([sys.executable, TOOL, column], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("column", LEFT)
def test_what_is_explained_is_still_there(column):
    for name in LEFT[column]:
        file, _, jump = name.partition(": ")
        here, there = jump.rsplit(" -> ", 1)
        text = (PACKAGE / column / f"{file}.py").read_text()
        lines = {line.strip() for line in text.splitlines()}
        assert here in lines, name
        assert there in lines | {"the end"}, name


def test_files_that_are_left_out_are_there():
    for file in FILES:
        assert any((PACKAGE / column / f"{file}.py").exists() for column in d2l_ext.COLUMNS)
