"""The page of findings: its scripts print what it says, and each row has one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[2] / "findings"
PAGE = (FINDINGS / "README.md").read_text()
BLOCKS = dict(re.findall(r"^\$ python (\w+\.py)\n(.*?)\n(?=\n|```)", PAGE, re.M | re.S))
NUMBER = re.compile(r"(?<![\w.])(?:\d+(?:\.\d+)?(?:e[-+]\d+)?|nan)(?![\w.])")
ROUNDING = 1e-4


def test_every_row_has_a_script_that_is_short_and_whose_output_is_shown():
    rows = re.findall(r"^\| (\d+) \|.*\| \[(\w+\.py)\]\((\w+\.py)\) \|$", PAGE, re.M)
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(name == link for _, name, link in rows)
    scripts = {path.name: path.read_text().count("\n") for path in FINDINGS.glob("*.py")}
    assert {name for _, name, _ in rows} == scripts.keys() == BLOCKS.keys()
    assert max(scripts.values()) <= 30


def sizes(text):
    """Return whether each number is beyond rounding; weights that stay random give any."""
    return [x == "nan" or float(x) > ROUNDING for x in NUMBER.findall(text)]


@pytest.mark.slow
@pytest.mark.parametrize("script", BLOCKS)
def test_a_script_prints_what_the_page_says(script):
    for package in ("torch", "transformers", "tf_keras", "flax"):
        pytest.importorskip(package)
    command = [sys.executable, script]
    found = subprocess.run(command, cwd=FINDINGS, capture_output=True, text=True, check=True)
    lines, wanted = found.stdout.splitlines(), BLOCKS[script].splitlines()
    assert len(lines) == len(wanted), found.stdout
    for line, like in zip(lines, wanted, strict=True):
        assert NUMBER.sub("", line) == NUMBER.sub("", like)
        assert sizes(line) == sizes(like), (line, like)
