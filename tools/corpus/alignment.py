"""Which words of a pair translate each other, as far as the lexicon says.

The grammar takes nouns, adjectives, verbs, names and numbers from one lexicon of pairs and gives
them their forms. Here it is read backwards: two words are linked where both are forms of one entry
and no other word of the two sentences could be meant. Small words, which have no partner of their
own (*do*, *ne*, *est-ce que*), stay without a link.
"""

from collections import Counter, defaultdict

from d2l_ext.data.text import preprocess, tokenize
from tools.corpus import english, french, lexicon


def links(source: str, target: str) -> list[tuple[int, int]]:
    """Return the (place in the source, place in the target) of words that translate each other.

    Args:
        source, target: sentences, whose words are counted as `d2l_ext.data` makes tokens of them.
    """
    ours, theirs = (tokenize(preprocess(text)) for text in (source, target))
    found = [
        (i, j)
        for i, word in enumerate(ours)
        for j, other in enumerate(theirs)
        if _after_elision(other) in FORMS.get(word, ())
    ]
    of_source, of_target = Counter(i for i, _ in found), Counter(j for _, j in found)
    return [(i, j) for i, j in found if of_source[i] == of_target[j] == 1]


def _after_elision(token: str) -> str:
    """Return the word itself: "l'école" is "école", "j'achète" is "achète"."""
    return token.rpartition("'")[2]


def _nouns():
    for noun in (noun for nouns in _lists(lexicon.Noun) for noun in nouns):
        yield (noun.en, noun.en_plural), (noun.fr, noun.fr_plural)


def _adjectives():
    for adjective in (a for adjectives in _lists(lexicon.Adjective) for a in adjectives):
        forms = {
            french.adjective(adjective.fr, gender, plural, follower)
            for gender in "mf"
            for plural in (False, True)
            for follower in ("", "ami")
        }
        yield (adjective.en,), forms


def _verbs():
    plain = [*lexicon.ACTIONS, *lexicon.MOVES, *(verb for verb, _ in lexicon.TRANSITIVE)]
    for verb in plain:
        base = verb.base.partition(" ")[0]
        ours = (base, english.third_person(base), english.gerund(base), verb.past, verb.participle)
        theirs = {verb.fr, *(french.imperative(verb.fr, person) for person in (1, 3, 4))}
        for person in range(6):
            theirs |= {french.present(verb.fr, person), french.imperfect(verb.fr, person)}
        theirs |= {french.participle(verb.fr, g, many) for g in "mf" for many in (False, True)}
        yield [word.partition(" ")[0] for word in ours], theirs


def _lists(kind):
    """Return the lexicon's lists of words of a kind."""
    values = [value for value in vars(lexicon).values() if isinstance(value, list) and value]
    return [value for value in values if isinstance(value[0], kind)]


def _forms() -> dict[str, set[str]]:
    """Return ``{English form: the French forms that may stand for it}``, words of one token."""
    found = defaultdict(set)
    names = [((name.en,), (name.fr,)) for name in lexicon.NAMES]
    counts = [((en,), (fr,)) for en, fr in lexicon.COUNTS.items()]
    for ours, theirs in [*_nouns(), *_adjectives(), *_verbs(), *names, *counts]:
        for word in ours:
            found[word.lower()] |= {form.lower() for form in theirs if " " not in form}
    return dict(found)


FORMS = _forms()
