"""The bundled corpus, made from the grammar."""

import hashlib
import re
from pathlib import Path

from tools.corpus import sentences

IDIOMS = Path(__file__).with_name("idioms.tsv")

MIN_WORDS, MAX_WORDS = 2, 12

# How many English sentences of each construction.
QUOTAS = {
    sentences.states: 195,
    sentences.short_actions: 120,
    sentences.actions: 180,
    sentences.negated_actions: 150,
    sentences.habits: 45,
    sentences.nothing_and_nobody: 50,
    sentences.acts: 340,
    sentences.negated_acts: 45,
    sentences.possessions: 75,
    sentences.clitics: 180,
    sentences.giving: 90,
    sentences.giving_it: 45,
    sentences.reflexives: 100,
    sentences.orders: 70,
    sentences.orders_with_pronouns: 45,
    sentences.actions_ordered: 45,
    sentences.partitives: 90,
    sentences.comparisons: 75,
    sentences.questions: 80,
    sentences.object_questions: 60,
    sentences.asking_words: 50,
    sentences.negated_questions: 40,
    sentences.going: 90,
    sentences.countries: 60,
    sentences.nouns_of_nouns: 50,
    sentences.there_is: 70,
    sentences.having: 100,
    sentences.pains: 20,
    sentences.missing: 30,
    sentences.liking: 45,
    sentences.playing: 40,
    sentences.professions: 45,
    sentences.exclamations: 60,
    sentences.times: 70,
    sentences.since: 30,
    sentences.reports: 75,
    sentences.reasons: 45,
    sentences.descriptions: 100,
    sentences.referring: 180,
    sentences.relative_clauses: 75,
}


def build():
    """All pairs, the short ones first: a list of (English, French)."""
    pairs = set(_idioms())
    for construction, quota in QUOTAS.items():
        pairs.update(_choose(construction(), quota, construction.__name__))
    return sorted(pairs, key=lambda pair: (len(pair[0]), pair))


def _idioms():
    lines = IDIOMS.read_text(encoding="utf-8").splitlines()
    return [tuple(typeset(side) for side in line.split("\t")) for line in lines]


def _choose(candidates, quota, name):
    """`quota` English sentences with at most two of their translations each.

    The order is that of a hash, which no version of Python or NumPy changes, and in which a new
    candidate leaves the others where they are.
    """
    translations = {}
    for en, fr in candidates:
        en, fr = typeset(en), typeset(fr)
        if all(MIN_WORDS <= count_words(side) <= MAX_WORDS for side in (en, fr)):
            translations.setdefault(en, set()).add(fr)

    def place(text):
        return hashlib.sha256(f"{name}: {text}".encode()).digest()

    for en in sorted(translations, key=place)[:quota]:
        for fr in sorted(translations[en], key=place)[:2]:
            yield en, fr


def typeset(sentence):
    """Capitals at the beginning of sentences, a narrow no-break space before ``!`` and ``?``."""
    sentence = re.sub(r" ([!?])", "\u202f\\1", sentence)
    return re.sub(r"(^|[?!] )(\w)", lambda match: match[1] + match[2].upper(), sentence)


def count_words(sentence):
    """The number of words, where "j'ai", "don't" and "a-t-il" count each of their parts."""
    return len(re.findall(r"\w+", sentence))
