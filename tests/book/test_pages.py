"""Pages without code: names that they promise exist, and every chapter can be found."""

import re

import pytest

import d2l_ext.reference
from tools.book.chapter import CHAPTERS, ROOT, chapters
from tools.book.page import PAGES, alt


def rows(text):
    """The cells of the tables of a page."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_to_chapters_and_pages(name):
    text = (CHAPTERS / f"{name}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([\w-]+\.md)\)", text):
        assert (CHAPTERS / target).exists(), target


def test_names_here_exist():
    """Each class in a column "here"."""
    text = (CHAPTERS / "coming-from.md").read_text(encoding="utf-8")
    known, header, found = set(d2l_ext.reference.__all__), [], 0
    for row in rows(text):
        if "here" in row:
            header = row
            continue
        for name in re.findall(r"`([A-Z]\w+)", row[header.index("here")]):
            assert name in known, name
            found += 1
    assert found > 25


def test_the_glossary_is_in_order_and_in_two_languages():
    words = rows((CHAPTERS / "glossary.md").read_text(encoding="utf-8"))[1:]
    assert [row[0].lower() for row in words] == sorted(row[0].lower() for row in words)
    for row in words:
        assert re.search(r"[\u4e00-\u9fff]|BLEU|Transformer", row[1]), row
        assert re.fullmatch(r"\[\d+\]\([\w-]+\.md\)", row[3]), row


@pytest.mark.parametrize("place", ["README.md", "chapters/index.md"])
def test_every_chapter_is_listed(place):
    text = (ROOT / place).read_text(encoding="utf-8")
    for chapter in chapters():
        assert f"{chapter.name}.md)" in text, chapter.name


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('loss_curves({"training loss": x.losses})', "Curves: training loss"),
        ("x = 1\nattention_map(w, a, b)", "Attention map"),
        ("if x:\n    p = mask_map(m, title='causal')\np", "Map of a mask: causal"),
        ("picture", "The picture that the code above draws"),
    ],
)
def test_words_for_a_picture(source, words):
    assert alt(source) == words
