"""Which words of the bundled corpus translate each other, as the grammar's lexicon says."""

import pytest

from d2l_ext.data import load_pairs, preprocess, tokenize
from d2l_ext.data.sources import ALIGNMENTS, load_alignments
from tools.corpus.__main__ import alignments
from tools.corpus.alignment import FORMS, links

ALL = load_alignments()


def words(source, target):
    """The pairs of words that are linked."""
    ours, theirs = tokenize(preprocess(source)), tokenize(preprocess(target))
    return [(ours[i], theirs[j]) for i, j in links(source, target)]


EXAMPLES = [
    (
        "I bought a red car.",
        "J'ai acheté une voiture rouge.",
        "bought-acheté red-rouge car-voiture",
    ),
    ("The orange is ripe.", "L'orange est mûre.", "orange-l'orange ripe-mûre"),
    ("Paul sells two old books.", "Paul vend deux vieux livres.", "paul-paul sells-vend two-deux"),
    ("She is beautiful.", "Elle est belle.", "beautiful-belle"),
    ("I didn't see anything.", "Je n'ai rien vu.", "see-vu"),
    ("What is it?", "Qu'est-ce que c'est ?", ""),
]


@pytest.mark.parametrize(("source", "target", "expected"), EXAMPLES)
def test_words_of_one_entry_are_linked(source, target, expected):
    expected = [tuple(link.split("-")) for link in expected.split()]
    assert words(source, target)[: len(expected) or None] == expected


def test_a_word_that_could_be_two_has_no_link():
    assert words("A cat and a cat.", "Un chat et un chat.") == []
    assert ("big", "grand") not in words("A big, tall boy.", "Un grand garçon.")


def test_every_link_is_of_the_lexicon_and_no_word_has_two():
    assert len(ALL) == len(load_pairs())
    for (source, target), found in ALL.items():
        ours, theirs = tokenize(preprocess(source)), tokenize(preprocess(target))
        assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found)
        assert all(theirs[j].rpartition("'")[2] in FORMS[ours[i]] for i, j in found)


def test_order_differs_between_the_languages():
    """An adjective after its noun crosses the noun's link."""
    crossing = [
        pair
        for pair, found in ALL.items()
        if any(i < k and j > m for i, j in found for k, m in found)
    ]
    assert len(crossing) > 100
    assert sum(map(len, ALL.values())) > 6000


def test_the_shipped_file_is_what_the_lexicon_says():
    assert ALIGNMENTS.read_text(encoding="utf-8") == alignments(load_pairs())
