"""The numbers that the text quotes are those that the cells print, or follow from what it says."""

import importlib.util
import math
import re

import nbformat
import pytest

import d2l_ext

if importlib.util.find_spec("nbclient") is None:
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from tools.book import seeds
from tools.book.chapter import CHAPTERS as CHAPTERS_FOLDER
from tools.book.chapter import ROOT, chapters, notebook_path

CHAPTERS = {chapter.name: chapter for chapter in chapters()}
DECIMAL = re.compile(r"(?<![\w.])\d+\.\d{2,}(?![\w.]*\w)")  # two decimals and more; no versions
COUNT = re.compile(r"\b\d+ of \d+\b")
NUMBER = re.compile(r"\d+\.\d+(?:e-?\d+)?|\d+")
CODE = re.compile(r"`[^`]*`")


def prose(chapter):
    """The text of a chapter, its captions too, without code, tables and references."""
    texts = [cell.text for cell in chapter.cells if cell.kind in ("markdown", "figure")]
    return "\n".join(CODE.sub("", text) for text in texts if not text.startswith("## References"))


def printed(chapter):
    """What the chapter's cells print, in every framework, and what its tables have."""
    outputs = [chapter.captioned(cell) for cell in chapter.cells if cell.kind == "table"]
    for name in d2l_ext.COLUMNS:
        for cell in nbformat.read(notebook_path(chapter, name), as_version=4).cells:
            for output in cell.get("outputs", ()):
                outputs.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(outputs)


def rounded(value, number):
    """A value with as many decimals as a number has that is written out."""
    return f"{value:.{len(number.partition('.')[2])}f}"


# What follows from numbers that stand beside it: {chapter: {number: how}}.
WORKED = {
    "00-how-to-read": {"0.4113": "0.1948 + 0.2165"},
    "01-masked-softmax": {"0.27": "1 / (1 + e)", "0.73": "e / (1 + e)"},
    "02-attention-scoring": {
        "7.39": "exp(2)",
        "2.72": "e",
        "0.37": "exp(-1)",
        "11.48": "exp(2) + 1 + e + exp(-1)",
        "0.64": "exp(2) / (exp(2) + 1 + e + exp(-1))",
        "1.41": "sqrt(2)",
        "0.71": "1 / sqrt(2)",
    },
    "03-sequence-to-sequence": {
        "0.0316": "sqrt(0.001)",
        "0.70": "sqrt(6 / 8) * (3 / 7) ** 0.25",
    },
    "07-transformer": {"0.933": "0.9 + 0.1 / 3", "0.033": "0.1 / 3"},
    "08-decoding": {"1.28": "(9 / 6) ** 0.6", "1.59": "(13 / 6) ** 0.6"},
    "09-todays-block": {"3.5355": "sqrt((9 + 16) / 2)"},
}
# What somebody chose, and what exercises find, which ask for a change of the cells.
GIVEN = {
    "03-sequence-to-sequence": ("0.999", "6 of 8", "3 of 7"),
    "07-transformer": ("0.01",),
    "09-todays-block": ("0.001",),
    "17-porting": ("0.001", "1.001"),
}
# What findings/README.md has.
FOUND = {"17-porting": ("0.33",)}
# What another chapter prints.
ELSEWHERE = {
    "04-bahdanau": {"0.382": "03-sequence-to-sequence"},
    "07-transformer": {"0.517": "04-bahdanau"},
}
TRIED = {
    "04-bahdanau": ("0.37", "0.50", "0.36", "0.48", "0.38"),
    "07-transformer": ("0.3391", "0.2645", "0.3564", "0.3001", "0.009", "0.03"),
    "09-todays-block": ("0.18",),
}


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return CHAPTERS[request.param]


def unprinted(text, output):
    """The numbers of a text that its output does not have, as often rounded as the text does."""
    values = [float(value) for value in NUMBER.findall(output)]
    missing = {n for n in DECIMAL.findall(text) if n not in {rounded(v, n) for v in values}}
    return missing | {c for c in COUNT.findall(text) if not re.search(rf"\b{c}\b", output)}


def test_what_the_text_quotes_is_printed_or_worked_out(chapter):
    text, name = prose(chapter), chapter.name
    tables = (WORKED, GIVEN, TRIED, ELSEWHERE, FOUND)
    known = {number for table in tables for number in table.get(name, ())}
    assert unprinted(text, printed(chapter)) <= known
    assert known <= {*DECIMAL.findall(text), *COUNT.findall(text)}  # nothing that is gone


def test_a_number_that_no_cell_prints_is_found():
    output = "share 0.4612\ntranslated exactly: 44 of 64"
    assert not unprinted("a share of 0.46, or 0.461, and 44 of 64 sentences; chapter 2.1", output)
    assert unprinted("a share of 0.47 and 4 of 64 sentences", output) == {"0.47", "4 of 64"}


@pytest.mark.parametrize("name", WORKED)
def test_what_is_worked_out_is_right(name):
    names = {"e": math.e, "exp": math.exp, "sqrt": math.sqrt}
    for number, how in WORKED[name].items():
        assert rounded(eval(how, {"__builtins__": {}}, names), number) == number, how


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_elsewhere_is_in_the_findings(name):
    """Also what the chapter shows of a script's output."""
    found = (ROOT / "findings" / "README.md").read_text(encoding="utf-8")
    text = (CHAPTERS_FOLDER / f"{name}.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^(\w+Model) +(\{.*?\}) +([\d.]+) +as PyTorch's (\{.*?\}): +(\S+)$", text, re.M
    )
    assert len(lines) == 3
    for model, own, error, other, rest in lines:
        assert f"{model} {own} {error} as PyTorch's {other}: {rest}\n" in found
    for number in FOUND[name]:
        assert number in NUMBER.findall(found)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_another_chapter_prints_is_printed_there(name):
    for number, where in ELSEWHERE[name].items():
        assert number in NUMBER.findall(printed(CHAPTERS[where]))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("03-sequence-to-sequence", "one vector"),
        ("04-bahdanau", "attention, source read in both directions"),
    ],
)
def test_the_table_of_seeds_begins_with_what_the_chapters_print(name, model):
    output, runs = printed(CHAPTERS[name]), seeds.kept()[model]
    assert f"mean BLEU {runs['bleu'][0]:.3f}" in output
    assert f"translated exactly: {runs['exact'][0]} of " in output
    assert len(runs["bleu"]) == len(runs["exact"]) == len(seeds.SEEDS)


def test_the_translator_keeps_what_the_book_promises():
    """Chapter 4's translates half of the new sentences exactly."""
    output = printed(CHAPTERS["04-bahdanau"])
    assert int(re.findall(r"translated exactly: (\d+) of 64", output)[-1]) >= 32
