"""The kinds of sentences: each function yields (English, French) pairs of one construction.

They yield every combination that makes sense, or a sample where there are too many, with "." "?"
or "!" at the end and without capitals; `corpus` chooses among them.
"""

import random

from tools.corpus import english, french, lexicon, patterns
from tools.corpus.lexicon import (
    ACTION,
    ACTIONS,
    FAMILY,
    KINDS,
    MOVES,
    NAMES,
    NATURE,
    PEOPLE,
    PRONOUNS,
    STATES,
    TRANSITIVE,
    Verb,
    verb,
)
from tools.corpus.phrases import fill, noun_phrase, partitive, person

RELATIVES = [person(noun, "je") for noun in FAMILY]
STRANGERS = [person(noun) for noun in PEOPLE]
SUBJECTS = PRONOUNS + NAMES + RELATIVES[:8] + STRANGERS[:6]
YOU = [subject for subject in PRONOUNS if subject.en == "you" and subject.gender == "m"]
ASKED = [subject for subject in PRONOUNS if subject.person not in (0, 3)]

# The tenses of the two languages that say the same.
TENSES = [
    ("progressive", "present"),
    ("past", "past"),
    ("near", "near"),
    ("was_doing", "imperfect"),
    ("used_to", "imperfect"),
    ("just", "recent"),
    ("can", "pouvoir"),
    ("must", "devoir"),
    ("want", "vouloir"),
]
# What one does not say of an action: "she is understanding", "he wants to cry".
UNSAID = {("understand", tense) for tense in ("progressive", "was_doing")}
UNSAID |= {(base, tense) for base in ("cry", "lie", "dream") for tense in ("can", "must", "want")}
NEGATED = [
    ("present", "present", "never"),
    ("present", "present", "anymore"),
    ("progressive", "present", "not"),
    ("past", "past", "not"),
    ("perfect", "past", "never"),
    ("near", "near", "not"),
    ("can", "pouvoir", "not"),
    ("want", "vouloir", "not"),
]


def _sample(count, *choices):
    """`count` combinations of one element of each list, the same ones every time."""
    generator = random.Random(1)
    for _ in range(count):
        # random() is what Python promises to keep, unlike the methods built on it.
        yield tuple(options[int(generator.random() * len(options))] for options in choices)


def _named(names):
    """The actions called by their English names."""
    return [ACTION[name.replace("_", " ")] for name in names.split()]


def _both(subject, word, en_tense, fr_tense, negation="", adverbs=("", ""), tails=("", "")):
    """The clause in both languages, with a full stop."""
    en = english.clause(subject, word, en_tense, negation, adverbs[0], tails[0])
    fr = french.clause(subject, word.fr, fr_tense, negation, "", adverbs[1], tails[1])
    return en + ".", fr + "."


def states():
    """I'm tired. She was sick. They aren't ready."""
    for subject in SUBJECTS:
        for quality in STATES:
            form = french.adjective(quality.fr, subject.gender, subject.plural)
            now = french.present("être", subject.person)
            then = french.imperfect("être", subject.person)
            fr = subject.fr
            yield (
                f"{english.subject_be(subject)} {quality.en}.",
                french.join(fr, now, form) + ".",
            )
            yield (
                f"{english.subject_be(subject, negated=True)} {quality.en}.",
                french.join(fr, "ne", now, "pas", form) + ".",
            )
            yield (
                f"{subject.en} {english.be(subject, past=True)} {quality.en}.",
                french.join(fr, then, form) + ".",
            )


def actions():
    """He is sleeping. We left. She is going to sing."""
    for subject in SUBJECTS:
        for word in ACTIONS:
            for tense in TENSES:
                if (word.base, tense[0]) not in UNSAID:
                    yield _both(subject, word, *tense)


def short_actions():
    """I slept. She left. They fell."""
    for subject in PRONOUNS + NAMES:
        for word in ACTIONS + MOVES:
            yield _both(subject, word, "past", "past")


def negated_actions():
    """He never laughs. I don't work anymore. She hasn't come."""
    for subject in SUBJECTS:
        for word in ACTIONS:
            for en_tense, fr_tense, negation in NEGATED:
                if (word.base, en_tense) not in UNSAID:
                    yield _both(subject, word, en_tense, fr_tense, negation)


ADVERBS = [("often", "souvent"), ("always", "toujours"), ("rarely", "rarement")]


def habits():
    """She often sings. My uncle always laughs."""
    for subject in SUBJECTS:
        for word in ACTIONS[:22]:
            for adverbs in ADVERBS:
                yield _both(subject, word, "present", "present", adverbs=adverbs)
    for subject in SUBJECTS:
        for word in _named("eat drink leave win sleep play"):
            yield _both(subject, word, "perfect", "past", adverbs=("already", "déjà"))


def nothing_and_nobody():
    """I didn't see anyone. She doesn't eat anything."""
    things = _transitive("see buy read write eat find forget hear")
    people = _transitive("see help hear")
    for negation, rows in (("nothing", things), ("nobody", people)):
        for subject in SUBJECTS:
            for word, _ in rows:
                for tenses in (("present", "present"), ("past", "past"), ("near", "near")):
                    yield _both(subject, word, *tenses, negation)


def _transitive(names):
    return [row for row in TRANSITIVE if row[0].base.replace(" ", "_") in names.split()]


def _objects(kinds):
    """Noun phrases (English, French), with and without an adjective, for the kinds of things."""
    for kind in kinds:
        nouns, qualities = KINDS[kind]
        for index, noun in enumerate(nouns):
            yield noun_phrase(noun, "the")
            yield noun_phrase(noun, "this")
            quality = qualities[index % len(qualities)]
            other = qualities[(2 * index + 1) % len(qualities)]
            yield noun_phrase(noun, "a", adjective=quality)
            yield noun_phrase(noun, "a", adjective=other)
            yield noun_phrase(noun, "the", adjective=other)
            yield noun_phrase(noun, "two", plural=True, adjective=quality)


ACTS = [*TENSES[:3], ("can", "pouvoir"), ("want", "vouloir")]


# What happens to one rather than being done, and is told of the past.
EVENTS = ("see", "hear", "forget", "lose", "find", "break")


def acts():
    """She bought a red dress. They're looking for a small house."""
    rows = [(word, thing) for word, kinds in TRANSITIVE for thing in _objects(kinds)]
    for subject, (word, tails), tense in _sample(6000, SUBJECTS, rows, ACTS):
        if word.base in EVENTS:
            tense = ("past", "past")
        if word.base == "know":
            tense = ("present", "present")
        yield _both(subject, word, *tense, tails=tails)


def negated_acts():
    """He didn't find the key."""
    rows = [(word, noun) for word, kinds in TRANSITIVE for noun in _nouns(kinds)]
    for subject, (word, noun) in _sample(2000, SUBJECTS, rows):
        if word.base != "know":
            yield _both(subject, word, "past", "past", "not", tails=noun_phrase(noun))


def _nouns(kinds):
    return [noun for kind in kinds for noun in KINDS[kind][0]]


def possessions():
    """I lost my key. He washed his shirt. They sold their house."""
    bases = "lose forget wash sell find hide clean"
    for subject in PRONOUNS:
        for word, kinds in TRANSITIVE:
            if word.base not in bases.split():
                continue
            for noun in _nouns(kind for kind in kinds if kind in ("clothes", "things", "owned")):
                tails = noun_phrase(noun, subject.fr)
                yield _both(subject, word, "past", "past", tails=tails)
                if word.base not in EVENTS:
                    yield _both(subject, word, "near", "near", tails=tails)


CLITIC_VERBS = [row[0] for row in TRANSITIVE if "people" in row[1] and row[0].base != "draw"]
CLITIC_VERBS += [
    verb("love", "aimer"),
    verb("follow", "suivre"),
    verb("invite", "inviter"),
    verb("wait_for waited_for", "attendre"),
    verb("thank", "remercier"),
    verb("call", "appeler"),
]
# English object, French clitic, its person, gender and number for agreement.
OBJECTS = [
    ("me", "me", 0, ("m", False)),
    ("me", "me", 0, ("f", False)),
    ("you", "te", 1, ("m", False)),
    ("you", "te", 1, ("f", False)),
    ("you", "vous", 4, ("m", True)),
    ("him", "le", 2, ("m", False)),
    ("her", "la", 2, ("f", False)),
    ("us", "nous", 3, ("m", True)),
    ("them", "les", 5, ("m", True)),
    ("them", "les", 5, ("f", True)),
]


def _same_side(subject, number):
    """Whether subject and object are both the speaker, or both the one spoken to."""
    sides = {0: "speaker", 3: "speaker", 1: "hearer", 4: "hearer"}
    return number in sides and sides[number] == sides.get(subject.person)


def clitics():
    """I see him. She helped us. They are going to invite you."""
    tenses = [("past", "past"), ("can", "pouvoir"), ("near", "near"), ("want", "vouloir")]
    tenses += [("present", "present")] * 3
    choices = SUBJECTS, CLITIC_VERBS, OBJECTS, tenses, ("", "", "not")
    for subject, word, (en, clitic, number, agree), tense, negation in _sample(6000, *choices):
        if word.base in ("know", "love", "hear", "see"):
            tense = ("present", "present")
        if not _same_side(subject, number):
            fr = french.clause(subject, word.fr, tense[1], negation, clitic, agree=agree)
            yield english.clause(subject, word, tense[0], negation, tail=en) + ".", fr + "."


_LENT = [noun for noun in lexicon.THINGS if noun.en not in ("gift", "photo", "mirror")]
_LENT += lexicon.READING[:1] + lexicon.CLOTHES
_GIVEN = lexicon.THINGS + lexicon.READING + lexicon.CLOTHES
GIVING = [
    (verb("give gave given", "donner"), _GIVEN),
    (verb("show showed shown", "montrer"), _GIVEN),
    (verb("bring brought", "apporter"), _GIVEN),
    (verb("sell sold", "vendre"), _LENT),
    (verb("lend lent", "prêter"), _LENT),
]
RECEIVERS = [
    ("me", "me", 0),
    ("you", "te", 1),
    ("him", "lui", 2),
    ("her", "lui", 2),
    ("us", "nous", 3),
    ("you", "vous", 4),
    ("them", "leur", 5),
]


def giving():
    """She gave me a book. We showed them the photo."""
    rows = [(word, noun) for word, nouns in GIVING for noun in nouns]
    choices = SUBJECTS, rows, RECEIVERS, ("the", "a", "this"), (("past", "past"), ("near", "near"))
    for subject, (word, noun), (en, clitic, number), determiner, tense in _sample(4000, *choices):
        if _same_side(subject, number):
            continue
        thing = noun_phrase(noun, determiner)
        en_clause = english.clause(subject, word, tense[0], tail=f"{en} {thing[0]}")
        fr = french.clause(subject, word.fr, tense[1], clitics=clitic, tail=thing[1])
        yield en_clause + ".", fr + "."


def giving_it():
    """The letter? I gave it to her."""
    rows = [(word, noun) for word, nouns in GIVING for noun in nouns]
    choices = PRONOUNS, rows, RECEIVERS, (False, False, True)
    for subject, (word, noun), (en, clitic, number), plural in _sample(3000, *choices):
        if _same_side(subject, number):
            continue
        thing = noun_phrase(noun, "the", plural)
        it = "them" if plural else "it"
        le = "les" if plural else "la" if noun.gender == "f" else "le"
        # "me le" but "le lui": a third person comes second.
        both = f"{le} {clitic}" if number in (2, 5) else f"{clitic} {le}"
        agree = (noun.gender, plural)
        fr = french.clause(subject, word.fr, "past", clitics=both, agree=agree)
        en_clause = english.clause(subject, word, "past", tail=f"{it} to {en}")
        yield f"{thing[0]}? {en_clause}.", f"{thing[1]} ? {fr}."


REFLEXIVES = [
    (verb("get_up got_up got_up", "lever"), ("early", "tôt"), True),
    (verb("get_up got_up got_up", "lever"), ("late", "tard"), True),
    (verb("wash", "laver"), ("{own} hands", "les mains"), False),
    (verb("brush", "brosser"), ("{own} teeth", "les dents"), False),
    (verb("hurry hurried", "dépêcher"), ("", ""), True),
    (verb("rest", "reposer"), ("", ""), True),
    (verb("fall_asleep fell_asleep fallen_asleep", "endormir"), ("", ""), True),
    (
        verb("take_a_walk took_a_walk taken_a_walk", "promener"),
        ("in the park", "dans le parc"),
        True,
    ),
    (verb("sit_down sat_down sat_down", "asseoir"), ("", ""), True),
    (verb("have_fun had_fun had_fun", "amuser"), ("", ""), True),
]


def reflexives():
    """He gets up early. She washed her hands. We are going to rest."""
    tenses = [("past", "past"), ("near", "near"), ("must", "devoir"), ("present", "present")]
    for subject in SUBJECTS:
        pronoun = subject.fr if subject in PRONOUNS else "elle" if subject.gender == "f" else "il"
        for word, (tail_en, tail_fr), agrees in REFLEXIVES:
            tail_en = tail_en.format(own=lexicon.POSSESSIVE_EN[pronoun])
            for en_tense, fr_tense in tenses:
                if en_tense == "present" and not tail_en:
                    continue
                for negation in ("", "not"):
                    if en_tense == "must" and (negation or word.fr in ("endormir", "amuser")):
                        continue
                    agree = None if agrees else ("m", False)
                    yield (
                        english.clause(subject, word, en_tense, negation, tail=tail_en) + ".",
                        french.clause(
                            subject,
                            word.fr,
                            fr_tense,
                            negation,
                            tail=tail_fr,
                            reflexive=True,
                            agree=agree,
                        )
                        + ".",
                    )


def orders():
    """Close the door! Don't touch that lamp. Let's sell the car."""
    bases = "buy sell read eat open close wash draw look_at choose hide take clean"
    for word, kinds in _transitive(bases):
        for noun in _nouns(kinds):
            for determiner in ("the", "this"):
                en, fr = noun_phrase(noun, determiner)
                for number in (1, 4):
                    order = french.imperative(word.fr, number)
                    yield f"{word.base} {en}.", french.join(order, fr) + "."
                    yield f"don't {word.base} {en}!", french.join("ne", order, "pas", fr) + " !"
                together = french.imperative(word.fr, 3)
                yield f"let's {word.base} {en}.", french.join(together, fr) + "."


def orders_with_pronouns():
    """Give me the key. The book? Show it to them!"""
    for word, nouns in GIVING:
        for en, clitic in (("me", "moi"), ("him", "lui"), ("us", "nous"), ("them", "leur")):
            for noun in nouns:
                thing = noun_phrase(noun)
                for number in (1, 4):
                    order = french.imperative(word.fr, number)
                    yield f"{word.base} {en} {thing[0]}.", f"{order}-{clitic} {thing[1]}."
                    le = "la" if noun.gender == "f" else "le"
                    yield (
                        f"{thing[0]}? {word.base} it to {en}!",
                        f"{thing[1]} ? {order}-{le}-{clitic} !",
                    )


_TOGETHER = "sing dance eat play travel come stay walk swim run work cook read laugh drink wait"
_NOW = "leave work eat come read write go_out come_back cook"
_FORBIDDEN = "cry laugh shout lie wait run smile leave drink swim go_out work play sing stay"


def actions_ordered():
    """Sing with us. Don't cry. Let's leave now."""
    now = ("now", "maintenant")
    for names, tails in (
        (_TOGETHER, [("with us", "avec nous"), ("with me", "avec moi"), ("here", "ici")]),
        (_NOW, [now]),
    ):
        for word in _named(names):
            for tail in tails:
                for number in (1, 4):
                    order = french.imperative(word.fr, number)
                    yield f"{word.base} {tail[0]}.", f"{order} {tail[1]}."
    for word in _named(_NOW):
        if word.base not in ("come", "come back"):
            yield f"let's {word.base} now.", f"{french.imperative(word.fr, 3)} maintenant."
    for word in _named(_FORBIDDEN):
        for number in (1, 4):
            order = french.imperative(word.fr, number)
            yield f"don't {word.base}!", french.join("ne", order, "pas") + " !"
            yield f"don't {word.base} here.", french.join("ne", order, "pas ici") + "."


def partitives():
    """I drink coffee. She doesn't eat any meat. We bought some bread."""
    eat = verb("eat ate eaten", "manger"), lexicon.FOOD
    drink = verb("drink drank drunk", "boire"), lexicon.DRINKS
    buy = verb("buy bought", "acheter"), lexicon.FOOD + lexicon.DRINKS
    for subject in SUBJECTS:
        for word, nouns in (eat, drink, buy):
            for noun in nouns:
                some, none = partitive(noun), partitive(noun, negated=True)
                for tenses in (("past", "past"), ("near", "near"), ("want", "vouloir")):
                    yield _both(subject, word, *tenses, tails=some)
                    yield _both(subject, word, *tenses, "not", tails=none)
                if word.base != "buy":
                    bare = noun.en, none[1]
                    yield _both(subject, word, "present", "present", "never", tails=bare)
                    yield _both(
                        subject, word, "present", "present", "", ADVERBS[0], (noun.en, some[1])
                    )


def comparisons():
    """My brother is taller than my sister. The train is faster than the car."""
    degrees = [
        ("taller than", "plus", "grand"),
        ("younger than", "plus", "jeune"),
        ("richer than", "plus", "riche"),
        ("kinder than", "plus", "gentil"),
        ("more polite than", "plus", "poli"),
        ("less shy than", "moins", "timide"),
        ("less worried than", "moins", "inquiet"),
        ("as tired as", "aussi", "fatigué"),
        ("as happy as", "aussi", "heureux"),
        ("as brave as", "aussi", "courageux"),
    ]
    people = PRONOUNS + NAMES + RELATIVES
    stressed = {"je": "moi", "tu": "toi", "il": "lui", "ils": "eux"}
    accusative = {"I": "me", "he": "him", "she": "her", "we": "us", "they": "them"}
    for one in people:
        for other in people:
            if one.en == other.en or one.person == other.person != 2:
                continue
            if {one.person, other.person} in ({0, 3}, {1, 4}):
                continue
            for than, degree, word in degrees:
                form = french.adjective(word, one.gender, one.plural)
                fr = french.join(
                    one.fr,
                    french.present("être", one.person),
                    degree,
                    form,
                    "que",
                    stressed.get(other.fr, other.fr),
                )
                en_other = accusative.get(other.en, other.en)
                yield f"{english.subject_be(one)} {than} {en_other}.", fr + "."


def questions():
    """Does she work? Are you going to leave? by inversion and with est-ce que."""
    tenses = [
        ("present", "present"),
        ("past", "past"),
        ("near", "near"),
        ("progressive", "present"),
        ("want", "vouloir"),
        ("can", "pouvoir"),
    ]
    for subject in ASKED:
        for word in ACTIONS[:-1]:
            for en_tense, fr_tense in tenses:
                if (word.base, en_tense) in UNSAID:
                    continue
                en = english.question(subject, word, en_tense) + "?"
                yield en, french.inverted(subject, word.fr, fr_tense) + " ?"
                plain = french.clause(subject, word.fr, fr_tense)
                yield en, french.join("est-ce que", plain) + " ?"


def object_questions():
    """Did you see the cat? Do they want to buy this house?"""
    tenses = [("past", "past"), ("near", "near"), ("want", "vouloir")]
    rows = [(word, noun) for word, kinds in TRANSITIVE for noun in _nouns(kinds)]
    for subject, (word, noun), determiner, tense in _sample(
        2000, ASKED, rows, ("the", "this"), tenses
    ):
        if word.base == "know":
            continue
        if word.base in EVENTS:
            tense = ("past", "past")
        tails = noun_phrase(noun, determiner)
        en = english.question(subject, word, tense[0], tails[0]) + "?"
        yield en, french.inverted(subject, word.fr, tense[1], tail=tails[1]) + " ?"
        plain = french.clause(subject, word.fr, tense[1], tail=tails[1])
        yield en, french.join("est-ce que", plain) + " ?"


def asking_words():
    """Why are you crying? When did she leave? Where does he work?"""
    rows = [
        ("why", "pourquoi", "cry laugh lie leave shout smile wait run come_back"),
        ("when", "quand", "leave come come_back win go_out"),
        ("where", "où", "work sleep eat swim run play wait"),
        ("how", "comment", "travel come win come_back"),
    ]
    for en_word, fr_word, bases in rows:
        for word in ACTIONS:
            if word.base.replace(" ", "_") not in bases.split():
                continue
            for subject in ASKED:
                for en_tense, fr_tense in (("progressive", "present"), ("past", "past")):
                    if en_tense == "progressive" and en_word in ("when", "how"):
                        continue
                    en = f"{en_word} {english.question(subject, word, en_tense)}?"
                    asked = french.inverted(subject, word.fr, fr_tense)
                    yield en, french.join(fr_word, asked) + " ?"
                    if en_tense == "past":
                        plain = french.clause(subject, word.fr, fr_tense)
                        yield en, french.join(fr_word, "est-ce que", plain) + " ?"


def negated_questions():
    """Why doesn't she eat? Why didn't you come?"""
    names = "eat sleep work come leave sing dance listen stay write wait understand drink play read"
    for word in _named(names):
        for subject in ASKED:
            present = french.hyphenated(french.present(word.fr, subject.person), subject)
            yield (
                f"why {english.do(subject)}n't {subject.en} {word.base}?",
                french.join("pourquoi ne", present, "pas") + " ?",
            )
            helper = french.auxiliary(word.fr)
            agree = (subject.gender, subject.plural) if helper == "être" else ("m", False)
            past = french.hyphenated(french.present(helper, subject.person), subject)
            yield (
                f"why didn't {subject.en} {word.base}?",
                french.join("pourquoi ne", past, "pas", french.participle(word.fr, *agree)) + " ?",
            )


def going():
    """I'm going to the market. She comes back from the station. We live near the church."""
    live = verb("live", "habiter")
    work = verb("work", "travailler")
    come = Verb("come back", "came back", "come back", "revenir")
    go = Verb("go", "went", "gone", "aller")
    walk = verb("walk", "marcher")
    for subject in SUBJECTS:
        for noun in lexicon.PLACES:
            en, fr = noun_phrase(noun)
            to, of = (f"to {en}", f"à {fr}"), (f"from {en}", f"de {fr}")
            yield _both(subject, go, "progressive", "present", tails=to)
            yield _both(subject, go, "past", "past", tails=to)
            yield _both(subject, go, "want", "vouloir", tails=to)
            yield _both(subject, go, "present", "present", "never", tails=to)
            yield _both(subject, come, "progressive", "present", tails=of)
            yield _both(subject, come, "past", "past", tails=of)
            near = f"near {en}", f"près de {fr}"
            yield _both(subject, live, "present", "present", tails=near)
            yield _both(subject, live, "used_to", "imperfect", tails=near)
            yield _both(subject, work, "present", "present", tails=near)
            yield _both(subject, walk, "past", "past", tails=(f"as far as {en}", f"jusque {to[1]}"))


# English name, and "in" and "from" as the country's gender and number ask.
COUNTRIES = [
    ("France", "en France", "de France"),
    ("Spain", "en Espagne", "de Espagne"),
    ("Italy", "en Italie", "de Italie"),
    ("Germany", "en Allemagne", "de Allemagne"),
    ("Canada", "au Canada", "du Canada"),
    ("Japan", "au Japon", "du Japon"),
    ("Portugal", "au Portugal", "du Portugal"),
    ("Morocco", "au Maroc", "du Maroc"),
    ("the United States", "aux États-Unis", "des États-Unis"),
    ("Paris", "à Paris", "de Paris"),
    ("Lyon", "à Lyon", "de Lyon"),
]


def countries():
    """He lives in Canada. She comes from Spain. They're going to Japan."""
    live, work = verb("live", "habiter"), verb("work", "travailler")
    go = Verb("go", "went", "gone", "aller")
    come = Verb("come", "came", "come", "venir")
    for subject in SUBJECTS:
        for name, there, from_there in COUNTRIES:
            inside = f"in {name}", there
            yield _both(subject, live, "present", "present", tails=inside)
            yield _both(subject, live, "used_to", "imperfect", tails=inside)
            yield _both(subject, live, "present", "present", "anymore", tails=inside)
            yield _both(subject, work, "present", "present", tails=inside)
            yield _both(subject, go, "past", "past", tails=(f"to {name}", there))
            yield _both(subject, go, "progressive", "present", tails=(f"to {name}", there))
            yield _both(subject, come, "present", "present", tails=(f"from {name}", from_there))


_NOT_ONES_OWN = ("castle", "tower", "building")


def nouns_of_nouns():
    """The teacher's car is blue. My sister's house is old."""
    owners = RELATIVES + STRANGERS[:10] + NAMES
    for owner in owners:
        for kind in ("clothes", "owned", "buildings"):
            nouns, qualities = KINDS[kind]
            for noun in nouns:
                if noun.en in _NOT_ONES_OWN or (
                    noun.en in ("dress", "skirt") and owner.gender == "m"
                ):
                    continue
                for quality in qualities:
                    # "une nouvelle robe", but "sa robe est neuve".
                    new = "neuf" if quality.en == "new" else quality.fr
                    form = french.adjective(new, noun.gender)
                    fr = french.join("le" if noun.gender == "m" else "la", noun.fr)
                    yield (
                        f"{owner.en}'s {noun.en} is {quality.en}.",
                        french.join(fr, "de", owner.fr, "est", form) + ".",
                    )


def there_is():
    """There is a cat under the table. There are two books on the chair. There isn't any bread."""
    spots = [("on", "sur"), ("under", "sous"), ("in front of", "devant"), ("behind", "derrière")]
    things = [*lexicon.THINGS, *lexicon.DISHWARE, *lexicon.READING[:3], *lexicon.FRUIT]
    for place in lexicon.FURNITURE:
        where = noun_phrase(place)
        for en, fr in spots:
            for noun in things if en == "on" else lexicon.ANIMALS[:2] + lexicon.ANIMALS[5:7]:
                one = noun_phrase(noun, "a")
                tail = f"{en} {where[0]}", f"{fr} {where[1]}"
                yield (
                    f"there is {one[0]} {tail[0]}.",
                    french.join("il y a", one[1], tail[1]) + ".",
                )
                for count in lexicon.COUNTS:
                    many = noun_phrase(noun, count, plural=True)
                    yield (
                        f"there are {many[0]} {tail[0]}.",
                        french.join("il y a", many[1], tail[1]) + ".",
                    )
    for noun in lexicon.FOOD + lexicon.DRINKS:
        for place in lexicon.ROOMS[:1]:
            where = noun_phrase(place)
            some, none = partitive(noun), partitive(noun, negated=True)
            yield f"there is {some[0]} in {where[0]}.", f"il y a {some[1]} dans {where[1]}."
            yield (
                f"there isn't any {noun.en} in {where[0]}.",
                french.join("il ne y a pas", none[1], "dans", where[1]) + ".",
            )
        yield f"is there any {noun.en}?", f"y a-t-il {partitive(noun)[1]} ?"
        yield f"there isn't any {noun.en} left.", french.join("il ne y a plus de", noun.fr) + "."


CHILDREN = [relative for relative in RELATIVES if relative.en[3:] in ("son", "daughter", "cousin")]
HAVING = [
    ("hungry", "faim"),
    ("thirsty", "soif"),
    ("cold", "froid"),
    ("hot", "chaud"),
    ("afraid", "peur"),
    ("right", "raison"),
    ("wrong", "tort"),
    ("sleepy", "sommeil"),
    ("lucky", "de la chance"),
    ("ashamed", "honte"),
]


def having():
    """I'm hungry. She wasn't afraid. Are you cold? My son is ten years old."""
    for subject in SUBJECTS:
        now = french.present("avoir", subject.person)
        then = french.imperfect("avoir", subject.person)
        for en, fr in HAVING:
            yield f"{english.subject_be(subject)} {en}.", french.join(subject.fr, now, fr) + "."
            yield (
                f"{subject.en} {english.be(subject, past=True)} {en}.",
                french.join(subject.fr, then, fr) + ".",
            )
            yield (
                f"{english.subject_be(subject, negated=True)} {en}.",
                french.join(subject.fr, "ne", now, "pas", fr.replace("de la", "de")) + ".",
            )
            if subject in ASKED:
                yield (
                    f"{english.be(subject)} {subject.en} {en}?",
                    f"{french.hyphenated(now, subject)} {fr} ?",
                )
        if subject not in PRONOUNS + NAMES + CHILDREN:
            continue
        for en, fr in (("ten", "dix"), ("twelve", "douze"), ("twenty", "vingt")):
            yield (
                f"{english.subject_be(subject)} {en} years old.",
                french.join(subject.fr, now, fr, "ans") + ".",
            )


PAINS = [
    ("head", "la tête", "hurts"),
    ("back", "le dos", "hurts"),
    ("stomach", "le ventre", "hurts"),
    ("foot", "le pied", "hurts"),
    ("arm", "le bras", "hurts"),
    ("teeth", "les dents", "hurt"),
    ("eyes", "les yeux", "hurt"),
]


def pains():
    """My head hurts. His teeth hurt. - J'ai mal à la tête. Il a mal aux dents."""
    for subject in PRONOUNS[:6]:
        for en, fr, hurts in PAINS:
            have = french.present("avoir", subject.person)
            yield (
                f"{lexicon.POSSESSIVE_EN[subject.fr]} {en} {hurts}.",
                french.join(subject.fr, have, "mal à", fr) + ".",
            )


def missing():
    """I miss you. She misses her mother. - Tu me manques. Sa mère lui manque."""
    clitic_of = {"je": "me", "tu": "te", "il": "lui", "elle": "lui"}
    clitic_of |= {"nous": "nous", "vous": "vous", "ils": "leur", "elles": "leur"}
    miss = verb("miss", "manquer")
    for subject in PRONOUNS:
        clitic = clitic_of[subject.fr]
        for noun in FAMILY:
            en, fr = noun_phrase(noun, subject.fr)
            yield (
                english.clause(subject, miss, "present", tail=en) + ".",
                french.join(fr, clitic, "manque") + ".",
            )
        for other in PRONOUNS:
            if other.person in (0, 1, 3, 4) and not _same_side(subject, other.person):
                if subject.person == other.person:
                    continue
                en_other = {"I": "me", "we": "us"}.get(other.en, "you")
                lacks = french.present("manquer", other.person)
                yield (
                    english.clause(subject, miss, "present", tail=en_other) + ".",
                    french.join(other.fr, clitic, lacks) + ".",
                )


def liking():
    """I like this song. - Cette chanson me plaît. J'aime cette chanson."""
    like = verb("like", "aimer")
    clitic_of = {"je": "me", "tu": "te", "il": "lui", "elle": "lui", "nous": "nous", "ils": "leur"}
    for subject in PRONOUNS:
        for kind in ("clothes", "buildings", "reading", "vehicles"):
            for noun in KINDS[kind][0]:
                en, fr = noun_phrase(noun, "this")
                source = english.clause(subject, like, "present", tail=en) + "."
                yield source, french.clause(subject, "aimer", "present", tail=fr) + "."
                if subject.fr in clitic_of:
                    yield source, french.join(fr, clitic_of[subject.fr], "plaît") + "."
                yield (
                    english.clause(subject, like, "present", "not", tail=en) + ".",
                    french.clause(subject, "aimer", "present", "not", tail=fr) + ".",
                )


def playing():
    """He plays the piano. We play football. - Il joue du piano. Nous jouons au football."""
    play = verb("play", "jouer")
    for subject in SUBJECTS:
        for en, fr in (
            ("the piano", "de le piano"),
            ("the guitar", "de la guitare"),
            ("the violin", "de le violon"),
            ("the harp", "de la harpe"),
            ("soccer", "à le football"),
            ("tennis", "à le tennis"),
            ("cards", "à les cartes"),
            ("chess", "à les échecs"),
        ):
            yield _both(subject, play, "present", "present", tails=(en, fr))
            yield _both(subject, play, "near", "near", tails=(en, fr))
            yield _both(subject, play, "present", "present", "anymore", tails=(en, fr))
            yield _both(subject, play, "present", "present", "never", tails=(en, fr))


PROFESSIONS = [
    ("doctor", "médecin", "médecin"),
    ("baker", "boulanger", "boulangère"),
    ("nurse", "infirmier", "infirmière"),
    ("student", "étudiant", "étudiante"),
    ("lawyer", "avocat", "avocate"),
    ("musician", "musicien", "musicienne"),
    ("cook", "cuisinier", "cuisinière"),
    ("journalist", "journaliste", "journaliste"),
    ("actor", "acteur", "actrice"),
]


def professions():
    """She is a baker. My brother wants to be a doctor. No article in French."""
    one = [subject for subject in SUBJECTS if not subject.plural and subject not in STRANGERS]
    for subject in one:
        for en, masculine, feminine in PROFESSIONS:
            if (en, subject.gender) == ("actor", "f"):
                en = "actress"
            work = feminine if subject.gender == "f" else masculine
            now = french.present("être", subject.person)
            named = f"{english.article(en)} {en}"
            yield f"{english.subject_be(subject)} {named}.", f"{subject.fr} {now} {work}."
            yield (
                english.clause(subject, verb("be was been", "être"), "want", tail=named) + ".",
                french.clause(subject, "être", "vouloir", tail=work) + ".",
            )
            yield (
                f"{english.subject_be(subject, negated=True)} {named}.",
                french.join(subject.fr, "ne", now, "pas", work) + ".",
            )


def exclamations():
    """What a beautiful house! How happy she is!"""
    for nouns, qualities in KINDS.values():
        for noun in nouns:
            for quality in qualities:
                if quality in lexicon.COLORS:
                    continue
                for plural in (False, True):
                    en, fr = noun_phrase(noun, "", plural, quality)
                    which = french.adjective("quel", noun.gender, plural)
                    what = "what" if plural else f"what {english.article(en)}"
                    yield f"{what} {en}!", f"{which} {fr} !"
    for subject in PRONOUNS:
        for quality in NATURE[2:8]:
            form = french.adjective(quality.fr, subject.gender, subject.plural)
            now = french.present("être", subject.person)
            yield (
                f"how {quality.en} {subject.en} {english.be(subject)}!",
                french.join("comme", subject.fr, now, form) + " !",
            )


HOURS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
HEURES = ["deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
JOURS = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"]


def times():
    """It's three o'clock. She left at half past six. The shop is closed on Sundays."""
    for hour, heure in zip(HOURS, HEURES, strict=True):
        yield f"it's {hour} o'clock.", f"il est {heure} heures."
        yield f"it's half past {hour}.", f"il est {heure} heures et demie."
        yield f"it's a quarter past {hour}.", f"il est {heure} heures et quart."
        yield f"it's a quarter to {hour}.", f"il est {heure} heures moins le quart."
        for subject in SUBJECTS:
            for word in _named("arrive leave go_home"):
                tails = f"at {hour} o'clock", f"à {heure} heures"
                yield _both(subject, word, "past", "past", tails=tails)
                yield _both(subject, word, "near", "near", tails=tails)
    for day, jour in zip(DAYS, JOURS, strict=True):
        yield f"today is {day}.", f"aujourd'hui, nous sommes {jour}."
        yield f"see you on {day}!", f"à {jour} !"
        yield f"is the bank open on {day}s?", f"est-ce que la banque est ouverte le {jour} ?"
        for subject in SUBJECTS:
            for word in _named("leave come come_back"):
                yield _both(subject, word, "near", "near", tails=(f"on {day}", jour))
            yield _both(
                subject,
                ACTION["work"],
                "present",
                "present",
                "never",
                tails=(f"on {day}s", f"le {jour}"),
            )


SINCE = [
    ("two hours", "deux heures"),
    ("three days", "trois jours"),
    ("a week", "une semaine"),
    ("ten years", "dix ans"),
    ("a month", "un mois"),
]


def since():
    """She has been waiting for two hours. - Elle attend depuis deux heures."""
    for subject in SUBJECTS:
        for word in _named("sleep work wait read travel"):
            for en, fr in SINCE:
                if word.base in ("sleep", "wait", "read") and "hours" not in en:
                    continue
                been = f"{subject.en} {english.have(subject)} been {english.gerund(word.base)}"
                yield (
                    f"{been} for {en}.",
                    french.clause(subject, word.fr, "present", tail=f"depuis {fr}") + ".",
                )


def reports():
    """I think that she is tired. He says that they left. We know he is going to win."""
    verbs = [
        (verb("think thought", "croire"), ""),
        (verb("know knew known", "savoir"), ""),
        (verb("say said", "dire"), "that"),
        (verb("hope", "espérer"), "that"),
    ]
    tenses = [("progressive", "present"), ("past", "past"), ("near", "near")]
    others = PRONOUNS + NAMES[2:] + RELATIVES[:4]
    choices = PRONOUNS + NAMES[:2], verbs, others, ACTIONS[:-1], tenses
    for one, (word, that), other, act, tense in _sample(4000, *choices):
        if word.base == "hope":
            tense = ("near", "near")
        en = english.join(that, english.clause(other, act, tense[0]))
        fr = french.join("que", french.clause(other, act.fr, tense[1]))
        yield _both(one, word, "present", "present", tails=(en, fr))


def reasons():
    """She is crying because she lost. They stayed because they were tired."""
    now, before = ("progressive", "present"), ("past", "past")
    for subject in PRONOUNS + NAMES + RELATIVES + STRANGERS:
        again = _pronoun_of(subject)
        for head, tense, quality in (
            ("stay", before, lexicon.Adjective("tired", "fatigué")),
            ("leave", before, lexicon.Adjective("sick", "malade")),
            ("come back", before, lexicon.Adjective("worried", "inquiet")),
        ):
            form = french.adjective(quality.fr, again.gender, again.plural)
            was = french.imperfect("être", again.person)
            en = f"because {again.en} {english.be(again, past=True)} {quality.en}"
            fr = french.join("parce que", again.fr, was, form)
            yield _both(subject, ACTION[head], *tense, tails=(en, fr))
        for head, tense, cause, adverbs in (
            ("cry", now, verb("lose lost", "perdre"), ("", "")),
            ("laugh", now, ACTION["win"], ("", "")),
            ("sleep", now, ACTION["work"], ("a lot", "beaucoup")),
        ):
            en = english.clause(again, cause, "past", tail=adverbs[0])
            fr = french.clause(again, cause.fr, "past", adverb=adverbs[1])
            tails = f"because {en}", french.join("parce que", fr)
            yield _both(subject, ACTION[head], *tense, tails=tails)


def _pronoun_of(subject):
    if subject in PRONOUNS:
        return subject
    return PRONOUNS[4] if subject.gender == "m" else PRONOUNS[5]


def descriptions():
    """Patterns about a thing: The apples are red. Where is my key?"""
    yield from _filled(patterns.DESCRIPTIONS)


def referring():
    """Patterns with a pronoun for a thing in the same sentence: The cat ... because it ..."""
    yield from _filled(patterns.REFERRING)


def relative_clauses():
    """Patterns with qui and que: The book that I bought is long."""
    yield from _filled(patterns.RELATIVE)


def _filled(rows):
    for kinds, en, fr in rows:
        for kind in kinds.split():
            for noun in patterns.NOUNS[kind]:
                yield fill(en, fr, noun)
                if "{a}" not in en and noun not in patterns.SINGULAR_ONLY:
                    yield fill(en, fr, noun, plural=True)
