"""English word forms, as far as the sentences of the corpus need them."""

_DOUBLED = {"run", "swim", "win", "stop", "get", "sit", "put", "cut", "forget"}
_CONTRACTED_BE = {"am": "'m", "are": "'re", "is": "'s"}
PRONOUNS = {"I", "you", "he", "she", "it", "we", "they"}


def join(*parts):
    """Join words and phrases with spaces; empty parts vanish."""
    return " ".join(part for part in parts if part)


def third_person(base):
    """``third_person("watch")`` is "watches"; a second word stays: "looks for"."""
    word, _, rest = base.partition(" ")
    if word == "have":
        form = "has"
    elif word.endswith(("s", "sh", "ch", "x", "o")):
        form = word + "es"
    elif word.endswith("y") and word[-2] not in "aeou":
        form = word[:-1] + "ies"
    else:
        form = word + "s"
    return join(form, rest)


def gerund(base):
    """``gerund("write")`` is "writing"."""
    word, _, rest = base.partition(" ")
    if word == "lie":
        form = "lying"
    elif word in _DOUBLED:
        form = word + word[-1] + "ing"
    elif word.endswith("e") and not word.endswith("ee"):
        form = word[:-1] + "ing"
    else:
        form = word + "ing"
    return join(form, rest)


def article(phrase):
    """The article, a or an, before `phrase`."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("uni", "use", "one"))
    return "an" if vowel or phrase.startswith(("hour", "honest")) else "a"


def be(subject, past=False):
    """The form of "be": am, are, is, was or were."""
    if past:
        return "was" if subject.person in (0, 2) else "were"
    return {0: "am", 2: "is"}.get(subject.person, "are")


def subject_be(subject, negated=False):
    """The subject and "be", contracted: "I'm", "she isn't", "my sister is"."""
    form = be(subject)
    if negated:
        return f"{subject.en}'m not" if form == "am" else f"{subject.en} {form}n't"
    if subject.en in PRONOUNS:
        return subject.en + _CONTRACTED_BE[form]
    return f"{subject.en} {form}"


def do(subject, past=False):
    """The form of "do": do, does or did."""
    return "did" if past else "does" if subject.person == 2 else "do"


def have(subject):
    """The form of "have": have or has."""
    return "has" if subject.person == 2 else "have"


_OBJECTS = {"nothing": "anything", "nobody": "anyone"}


def clause(subject, verb, tense, negation="", adverb="", tail=""):
    """A clause: `verb` is a `lexicon.Verb`; tense and negation are as the French side has them.

    `tense` is present, progressive, past, perfect, was_doing, used_to, near, just, can, must or
    want; `adverb` stands before the verb that carries the meaning.
    """
    end = join(_OBJECTS.get(negation, ""), tail, "anymore" if negation == "anymore" else "")
    if negation == "never":
        adverb, negation = "never", ""
    return join(_head(subject, verb, tense, bool(negation), adverb), end)


def _head(subject, verb, tense, negated, adverb):
    who = subject.en
    not_ = "n't" if negated else ""
    if tense in ("present", "past"):
        if negated:
            return join(who, do(subject, tense == "past") + not_, adverb, verb.base)
        plain = third_person(verb.base) if subject.person == 2 else verb.base
        return join(who, adverb, verb.past if tense == "past" else plain)
    if tense in ("perfect", "just"):
        just = "just" if tense == "just" else ""
        return join(who, have(subject) + not_, adverb, just, verb.participle)
    if tense == "progressive":
        return join(subject_be(subject, negated), adverb, gerund(verb.base))
    if tense == "was_doing":
        return join(who, be(subject, past=True) + not_, gerund(verb.base))
    if tense == "near":
        return join(subject_be(subject, negated), "going to", verb.base)
    if tense == "used_to":
        return join(who, "used to", verb.base)
    return _modal(subject, verb, tense, negated)


def _modal(subject, verb, tense, negated):
    if tense == "want":
        wants = "wants" if subject.person == 2 else "want"
        head = f"{do(subject)}n't want" if negated else wants
        return join(subject.en, head, "to", verb.base)
    head = {("can", True): "can't", ("must", True): "mustn't"}.get((tense, negated), tense)
    return join(subject.en, head, verb.base)


def question(subject, verb, tense, tail=""):
    """A yes-or-no question, in lower case."""
    if tense in ("present", "past"):
        return join(do(subject, tense == "past"), subject.en, verb.base, tail)
    if tense == "progressive":
        return join(be(subject), subject.en, gerund(verb.base), tail)
    if tense == "near":
        return join(be(subject), subject.en, "going to", verb.base, tail)
    if tense == "want":
        return join(do(subject), subject.en, "want to", verb.base, tail)
    return join(tense, subject.en, verb.base, tail)
