"""French word forms: elision, contraction, agreement and conjugation.

Persons are numbered 0 to 5: je, tu, il/elle, nous, vous, ils/elles.
"""

_VOWELS = "aàâeéèêëiîïoôœuùû"
# Words whose first letter counts as a consonant: "le héros", "la hache", "le onze".
_NO_ELISION = (
    "hache",
    "haricot",
    "harpe",
    "haut",
    "hibou",
    "huit",
    "héros",
    "onze",
    "oui",
    "yaourt",
)
_ELIDED = {"je", "me", "te", "se", "le", "la", "de", "ne", "que", "jusque"}
_CONTRACTED = {
    ("à", "le"): "au",
    ("à", "les"): "aux",
    ("de", "le"): "du",
    ("de", "les"): "des",
}


def begins_with_vowel(word):
    """Whether `word` is spoken with a vowel first, as "ami", "homme", "y" and not "héros"."""
    word = word.lower()
    if word.startswith(_NO_ELISION):
        return False
    return word == "y" or word[0] in _VOWELS + "h"


def join(*parts):
    """Join words and phrases to one text, with elision and contraction; empty parts vanish."""
    words = " ".join(part for part in parts if part).split()
    out = []
    for word in reversed(words):
        follower = out[-1] if out else ""
        if word in _ELIDED and follower and begins_with_vowel(follower):
            out[-1] = f"{word[:-1]}'{follower}"
        elif word == "si" and follower in ("il", "ils"):
            out[-1] = f"s'{follower}"
        elif (word, follower) in _CONTRACTED:
            out[-1] = _CONTRACTED[word, follower]
        else:
            out.append(word)
    return " ".join(reversed(out))


# Adjectives and nouns

_FEMININES = {
    "beau": "belle",
    "blanc": "blanche",
    "bon": "bonne",
    "cher": "chère",
    "doux": "douce",
    "frais": "fraîche",
    "gentil": "gentille",
    "gros": "grosse",
    "inquiet": "inquiète",
    "jaloux": "jalouse",
    "long": "longue",
    "léger": "légère",
    "neuf": "neuve",
    "nouveau": "nouvelle",
    "quel": "quelle",
    "vieux": "vieille",
}
_BEFORE_VOWEL = {"beau": "bel", "nouveau": "nouvel", "vieux": "vieil"}


def adjective(word, gender, plural=False, follower=""):
    """The form of the adjective `word` (masculine singular) that agrees.

    `follower` is the word after it, if that is its noun: "un vieil homme". An expression of
    several words ("en retard") does not change.
    """
    if " " in word:
        return word
    if gender == "f":
        return _feminine(word) + ("s" if plural else "")
    if not plural and follower and begins_with_vowel(follower):
        return _BEFORE_VOWEL.get(word, word)
    return plural_of(word) if plural else word


def _feminine(word):
    if word in _FEMININES:
        return _FEMININES[word]
    if word.endswith("eux"):
        return word[:-1] + "se"
    if word.endswith("if"):
        return word[:-1] + "ve"
    return word if word.endswith("e") else word + "e"


def plural_of(word):
    """The regular plural of a noun or a masculine adjective."""
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith("al"):
        return word[:-1] + "ux"
    return word + ("x" if word.endswith(("eau", "hibou")) else "s")


# Verbs

_IRREGULAR = {
    # infinitive: (present of the six persons, past participle)
    "aller": ("vais vas va allons allez vont", "allé"),
    "apprendre": ("apprends apprends apprend apprenons apprenez apprennent", "appris"),
    "asseoir": ("assieds assieds assied asseyons asseyez asseyent", "assis"),
    "avoir": ("ai as a avons avez ont", "eu"),
    "boire": ("bois bois boit buvons buvez boivent", "bu"),
    "comprendre": ("comprends comprends comprend comprenons comprenez comprennent", "compris"),
    "conduire": ("conduis conduis conduit conduisons conduisez conduisent", "conduit"),
    "connaître": ("connais connais connaît connaissons connaissez connaissent", "connu"),
    "courir": ("cours cours court courons courez courent", "couru"),
    "croire": ("crois crois croit croyons croyez croient", "cru"),
    "devoir": ("dois dois doit devons devez doivent", "dû"),
    "dire": ("dis dis dit disons dites disent", "dit"),
    "dormir": ("dors dors dort dormons dormez dorment", "dormi"),
    "endormir": ("endors endors endort endormons endormez endorment", "endormi"),
    "faire": ("fais fais fait faisons faites font", "fait"),
    "lire": ("lis lis lit lisons lisez lisent", "lu"),
    "mentir": ("mens mens ment mentons mentez mentent", "menti"),
    "mettre": ("mets mets met mettons mettez mettent", "mis"),
    "offrir": ("offre offres offre offrons offrez offrent", "offert"),
    "ouvrir": ("ouvre ouvres ouvre ouvrons ouvrez ouvrent", "ouvert"),
    "partir": ("pars pars part partons partez partent", "parti"),
    "plaire": ("plais plais plaît plaisons plaisez plaisent", "plu"),
    "pouvoir": ("peux peux peut pouvons pouvez peuvent", "pu"),
    "prendre": ("prends prends prend prenons prenez prennent", "pris"),
    "revenir": ("reviens reviens revient revenons revenez reviennent", "revenu"),
    "rire": ("ris ris rit rions riez rient", "ri"),
    "savoir": ("sais sais sait savons savez savent", "su"),
    "sortir": ("sors sors sort sortons sortez sortent", "sorti"),
    "sourire": ("souris souris sourit sourions souriez sourient", "souri"),
    "suivre": ("suis suis suit suivons suivez suivent", "suivi"),
    "venir": ("viens viens vient venons venez viennent", "venu"),
    "voir": ("vois vois voit voyons voyez voient", "vu"),
    "vouloir": ("veux veux veut voulons voulez veulent", "voulu"),
    "écrire": ("écris écris écrit écrivons écrivez écrivent", "écrit"),
    "être": ("suis es est sommes êtes sont", "été"),
}
# The stem of -er verbs before a silent ending: "j'achète", but "nous achetons".
_STRESSED = {
    "acheter": "achèt",
    "appeler": "appell",
    "essayer": "essai",
    "espérer": "espèr",
    "jeter": "jett",
    "lever": "lèv",
    "nettoyer": "nettoi",
    "promener": "promèn",
    "préférer": "préfèr",
    "répéter": "répèt",
}
_WITH_ETRE = {
    *("aller", "arriver", "descendre", "entrer", "monter", "partir", "rentrer", "rester"),
    *("revenir", "sortir", "tomber", "venir"),
}


def present(verb, person):
    """Présent: ``present("finir", 3)`` is "finissons"."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb][0].split()[person]
    stem, group = verb[:-2], verb[-2:]
    if group == "er":
        return _present_er(verb, stem, person)
    endings = {"ir": "is is it issons issez issent", "re": "s s - ons ez ent"}[group]
    return stem + endings.split()[person].strip("-")


def _present_er(verb, stem, person):
    if person in (3, 4):
        if person == 3:
            stem = _soft(stem)
        return stem + ("ons", "ez")[person - 3]
    return _STRESSED.get(verb, stem) + {0: "e", 1: "es", 2: "e", 5: "ent"}[person]


def _soft(stem):
    """The stem before a, o: "nous mangeons", "nous commençons"."""
    if stem.endswith("g"):
        return stem + "e"
    return stem[:-1] + "ç" if stem.endswith("c") else stem


def imperfect(verb, person):
    """Imparfait: ``imperfect("voir", 0)`` is "voyais"."""
    stem = "ét" if verb == "être" else present(verb, 3).removesuffix("ons")
    ending = ["ais", "ais", "ait", "ions", "iez", "aient"][person]
    if verb.endswith("er") and ending.startswith("i"):
        stem = verb[:-2]
    return stem + ending


def participle(verb, gender="m", plural=False):
    """Participe passé, agreeing: ``participle("partir", "f")`` is "partie"."""
    if verb in _IRREGULAR:
        word = _IRREGULAR[verb][1]
    else:
        word = verb[:-2] + {"er": "é", "ir": "i", "re": "u"}[verb[-2:]]
    return adjective(word, gender, plural)


def imperative(verb, person):
    """Impératif of tu (1), nous (3) or vous (4): "mange", "va", "ouvre" without -s."""
    form = present(verb, person)
    return form[:-1] if person == 1 and form.endswith(("es", "vas")) else form


def auxiliary(verb, reflexive=False):
    """The auxiliary of the passé composé, "être" or "avoir"."""
    return "être" if reflexive or verb in _WITH_ETRE else "avoir"


def reflexive_pronoun(person):
    """me, te, se, nous, vous, se."""
    return ["me", "te", "se", "nous", "vous", "se"][person]


# Clauses

_NEGATION = {"not": "pas", "never": "jamais", "anymore": "plus", "nothing": "rien"}


def clause(
    subject, verb, tense, negation="", clitics="", adverb="", tail="", reflexive=False, agree=None
):
    """A clause in which everything has its place.

    `subject` is a `lexicon.Subject`; `tense` is present, imperfect, past (passé composé), near
    (futur proche), recent (venir de), or a modal verb's infinitive. `negation` is "", not, never,
    anymore, nothing or nobody. `clitics` stand before the verb they belong to, `adverb` after the
    conjugated one, `tail` at the end. `agree` is the (gender, plural) of a direct object that
    comes before the verb, with which the participle of "avoir" agrees.
    """
    words = predicate(subject, verb, tense, negation, clitics, adverb, reflexive, agree)
    return join(subject.fr, words, tail)


def predicate(subject, verb, tense, negation, clitics, adverb, reflexive, agree):
    """The clause without its subject and tail."""
    person = subject.person
    if reflexive:
        clitics = f"{reflexive_pronoun(person)} {clitics}"
    ne = "ne" if negation else ""
    second = _NEGATION.get(negation, "")
    nobody = "personne" if negation == "nobody" else ""
    if tense in ("present", "imperfect"):
        form = {"present": present, "imperfect": imperfect}[tense](verb, person)
        return join(ne, clitics, form, second, nobody, adverb)
    if tense == "past":
        helper = auxiliary(verb, reflexive)
        if helper == "être" and agree is None:
            agree = (subject.gender, subject.plural)
        done = participle(verb, *(agree or ("m", False)))
        return join(ne, clitics, present(helper, person), second, adverb, done, nobody)
    modal = {"near": "aller", "recent": "venir"}.get(tense, tense)
    of = "de" if tense == "recent" else ""
    return join(ne, present(modal, person), second, adverb, of, clitics, verb, nobody)


def inverted(subject, verb, tense, tail=""):
    """A question by inversion, for pronouns: "Parle-t-elle français", "Es-tu parti"."""
    head, rest = {"near": "aller"}.get(tense, tense), verb
    if tense == "present":
        head, rest = verb, ""
    if tense == "past":
        head = auxiliary(verb)
        agree = (subject.gender, subject.plural) if head == "être" else ("m", False)
        rest = participle(verb, *agree)
    return join(hyphenated(present(head, subject.person), subject), rest, tail)


def hyphenated(form, subject):
    """The verb form and its pronoun: "a-t-il", "vont-elles"."""
    link = "-t-" if form[-1] in "ae" and subject.person == 2 else "-"
    return form + link + subject.fr
