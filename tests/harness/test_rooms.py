"""The rooms of `agreement` know only those before them: a case's way never turns back."""

import ast
from pathlib import Path

import pytest

import d2l_ext

FOLDER = Path(d2l_ext.__file__).parent / "agreement"
ORDER = ["cases", "running", "judging", "spread", "comparison", "reporting"]


def imported(path):
    """Yield the rooms that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("d2l_ext.agreement."):
            yield node.module.split(".")[2]


@pytest.mark.parametrize("place", range(len(ORDER)), ids=ORDER)
def test_a_room_knows_only_those_before_it(place):
    room = FOLDER / ORDER[place]
    files = list(room.glob("*.py")) if room.is_dir() else [room.with_suffix(".py")]
    assert files
    for path in files:
        assert set(imported(path)) <= {*ORDER[: place + 1]}, path.name
