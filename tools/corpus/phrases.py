"""Noun phrases, and patterns whose words agree with a noun."""

import re

from tools.corpus import english, french, lexicon

_ARTICLES = {"the": "le la les", "a": "un une des", "this": "ce cette ces"}
_OWNED = {"je": "mon ma mes", "tu": "ton ta tes", "il": "son sa ses", "elle": "son sa ses"}
_OWNED |= {"nous": "notre notre nos", "vous": "votre votre vos"}
_OWNED |= {"ils": "leur leur leurs", "elles": "leur leur leurs"}


def noun_phrase(noun, determiner="the", plural=False, adjective=None):
    """(English, French) of a determiner, an adjective or None, and a noun.

    `determiner` is "the", "a", "this", a number of `lexicon.COUNTS`, or the French pronoun of the
    owner ("je" for my); "" stands for none.
    """
    en = noun.en_plural if plural else noun.en
    fr = noun.fr_plural if plural else noun.fr
    first = adjective is not None and adjective.first
    if adjective is not None:
        form = french.adjective(adjective.fr, noun.gender, plural, fr if first else "")
        fr = f"{form} {fr}" if first else f"{fr} {form}"
        en = f"{adjective.en} {en}"
    return (
        english.join(_determiner_en(determiner, plural, en), en),
        french.join(_determiner_fr(determiner, noun.gender, plural, fr, first), fr),
    )


def _determiner_en(determiner, plural, rest):
    if determiner == "a":
        return "some" if plural else english.article(rest)
    if determiner == "this":
        return "these" if plural else "this"
    return lexicon.POSSESSIVE_EN.get(determiner, determiner)


def _determiner_fr(determiner, gender, plural, rest, adjective_first):
    if not determiner or determiner in lexicon.COUNTS:
        return lexicon.COUNTS.get(determiner, "")
    if determiner == "a" and plural and adjective_first:
        return "de"  # "de belles maisons", not "des belles maisons"
    masculine, feminine, many = {**_ARTICLES, **_OWNED}[determiner].split()
    if plural:
        return many
    if french.begins_with_vowel(rest):
        if determiner == "this" and gender == "m":
            return "cet"
        if determiner in _OWNED:
            return masculine  # "mon amie", "son ancienne maison"
    return feminine if gender == "f" else masculine


def partitive(noun, negated=False):
    """(English, French) of an amount: "some bread", "du pain"; negated "any bread", "de pain"."""
    if negated:
        return f"any {noun.en}", french.join("de", noun.fr)
    return f"some {noun.en}", french.join("de", "la" if noun.gender == "f" else "le", noun.fr)


def person(noun, determiner="the"):
    """The noun as the subject of a clause."""
    return lexicon.Subject(*noun_phrase(noun, determiner), 2, noun.gender)


# Patterns. In both languages {the}, {a}, {this}, {my}, {his}, {two} stand for the noun with that
# determiner. In English {it} and {them} are its pronouns and [is], [was], [has], ... agree
# with it; in French {il} and {le} are its pronouns, any other word in braces is an adjective or
# participle that agrees, [être] a verb in the présent and [être*] in the imparfait.

_PHRASES = {"the": "the", "a": "a", "this": "this", "my": "je", "his": "il", "two": "two"}
_MANY = {"is": "are", "was": "were", "has": "have", "does": "do", "runs": "run", "works": "work"}


def fill(pattern_en, pattern_fr, noun, plural=False):
    """The pair that the two patterns make with `noun`."""
    return _fill_en(pattern_en, noun, plural), _fill_fr(pattern_fr, noun, plural)


def _fill_en(pattern, noun, plural):
    def word(match):
        key = match[1]
        if key in _PHRASES:
            return noun_phrase(noun, _PHRASES[key], plural or key == "two")[0]
        return {"it": "they", "them": "them"}[key] if plural else "it"

    text = re.sub(r"\{(.+?)\}", word, pattern)
    return re.sub(r"\[(.+?)\]", lambda match: _MANY[match[1]] if plural else match[1], text)


def _fill_fr(pattern, noun, plural):
    def word(match):
        key = match[1]
        if key in _PHRASES:
            return noun_phrase(noun, _PHRASES[key], plural or key == "two")[1]
        if key in ("il", "le"):
            forms = {"il": "il elle ils elles", "le": "le la les les"}[key].split()
            return forms[(noun.gender == "f") + 2 * plural]
        return french.adjective(key, noun.gender, plural)

    def verb(match):
        form = french.imperfect if match[1].endswith("*") else french.present
        return form(match[1].strip("*"), 5 if plural else 2)

    text = re.sub(r"\{(.+?)\}", word, pattern)
    return french.join(re.sub(r"\[(.+?)\]", verb, text))
