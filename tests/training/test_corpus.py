"""The bundled corpus: its size, its French, and that word order differs in it.

The rules here are written anew, as regular expressions and word lists of their own, so that an
error of the grammar is not repeated in its test.
"""

import re
from collections import Counter

import pytest

from d2l_ext.data import TranslationData, load_pairs, preprocess, tokenize
from d2l_ext.data.sources import BUNDLED
from tools.corpus import corpus, english, french, lexicon

PAIRS = load_pairs()
ENGLISH = [en for en, _ in PAIRS]
FRENCH = [fr for _, fr in PAIRS]

# Before these a vowel is not elided: h aspiré, and two words that count as if they had one.
ASPIRATED = "hache|haricot|harpe|haut|hibou|huit|héros|oui|onze"
VOWEL = f"(?!{ASPIRATED})(?:[aàâeéèêiîoôuûœh]|y\\b)"
FEMININE = (
    "voiture|maison|table|chaise|lampe|clé|pomme|poire|pêche|tomate|soupe|salade|tarte|lettre|"
    "robe|chemise|jupe|veste|montre|boîte|valise|photo|hache|tasse|bouteille|porte|fenêtre|tour|"
    "vache|souris|chèvre|poule|femme|fille|reine|mère|sœur|tante|cousine|gare|plage|piscine|"
    "banque|boulangerie|bibliothèque|cuisine"
)
MASCULINE = (
    "livre|journal|poème|message|roman|chapeau|manteau|pull|vélo|bateau|camion|train|sac|"
    "parapluie|téléphone|couteau|miroir|cadeau|crayon|jouet|verre|bol|lit|fauteuil|bureau|"
    "château|chat|chien|cheval|lapin|hibou|canard|garçon|professeur|médecin|boulanger|voisin|"
    "touriste|héros|serveur|père|frère|fils|mari|marché|parc|musée|restaurant|théâtre|gâteau"
)

ADVERB = "(pas |jamais |déjà )?"

FORBIDDEN = {
    "elision missing": rf"(?<![\w-])(je|me|te|se|le|la|de|ne|que|jusque) {VOWEL}",
    "elision before h aspiré": rf"\b(l|d|n|j|qu)'({ASPIRATED})",
    "no contraction": r"(?<![\w-])(à|de) les? ",
    "si il": r"\bsi ils?\b",
    "ma before a vowel": rf"\b(ma|ta|sa) {VOWEL}",
    "ce before a vowel": rf"(?<!-)\bce {VOWEL}",
    "cet before a consonant": rf"\bcet (?!{VOWEL})",
    "beau before a vowel": rf"\b(un|le|ce|mon|ton|son) (beau|nouveau|vieux) {VOWEL}",
    "bel before a consonant": rf"\b(bel|nouvel|vieil) (?!{VOWEL})",
    "masculine with a feminine noun": (
        rf"\b(un|le|ce|mon|ton|son|du|au|quel) (?!tour\b)({FEMININE})\b"
    ),
    "feminine with a masculine noun": rf"\b(une|la|cette|ma|ta|sa|quelle) ({MASCULINE})\b",
    "adjective before a feminine noun": rf"\b(beau|vieux|nouveau|petit|grand|bon)s? ({FEMININE})\b",
    "adjective before a masculine noun": (
        rf"\b(belle|vieille|nouvelle|petite|grande|bonne)s? ({MASCULINE})\b"
    ),
    "adjective after a feminine noun": (
        rf"\b({FEMININE}) (blanc|vert|bleu|noir|poli|gentil|froid|chaud|délicieux|mûr|cher)\b"
    ),
    "adjective after a masculine noun": (
        rf"\b({MASCULINE}) (blanche|verte|bleue|noire|polie|gentille|froide|chaude|chère)\b"
    ),
    "no plural after a number": (
        rf"\b(deux|trois|cinq|les|ces|mes) (?!souris)({FEMININE}|chat|chien|livre)\b"
    ),
    # "elle s'est cassé la jambe": the object comes after, nothing agrees.
    "participle of elle": rf"\belle (n')?(est|s'est) {ADVERB}\w+[éiu]\b(?! (le|la|les) )",
    "participle of elles": rf"\belles (ne )?(se )?sont {ADVERB}(?!plus|aussi)\w+[éiu]s?\b(?! les )",
    "participle of ils": rf"\bils (ne )?(se )?sont {ADVERB}\w+([éiu]|ées?|ues?)\b(?! les )",
    "participle of il": rf"\bil (n')?est {ADVERB}\w+(ées?|és)\b",
    "participle after avoir": r"(?<!que )\b(elle|elles) (n')?(a|ont) (pas )?\w+(ée|és|ées)\b",
    "verb of ils": r"\bils? (suis|es|êtes|sommes|ai|as|avez|vas|allez)\b",
    "article doubled": r"\b(le|la|les|un|une|des) (le|la|les|un|une|des)\b",
    "partitive after a negation": r"\bne? \w+ (pas|jamais|plus) (du|des) (pain|lait|riz|thé|vin)\b",
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_no_sentence_breaks_the_rule(rule):
    pattern = re.compile(FORBIDDEN[rule], re.IGNORECASE)
    assert [fr for fr in FRENCH if pattern.search(fr)] == []


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("elision missing", "Je ai faim."),
        ("elision missing", "Parce que il dort."),
        ("elision before h aspiré", "L'héros dort."),
        ("no contraction", "Il va à le marché."),
        ("ma before a vowel", "C'est ma amie."),
        ("ce before a vowel", "Je vois ce homme."),
        ("beau before a vowel", "Un beau homme."),
        ("masculine with a feminine noun", "Un petit porte le voiture."),
        ("adjective after a feminine noun", "Une robe blanc."),
        ("no plural after a number", "Deux pomme."),
        ("participle of elle", "Elle est parti."),
        ("participle of elles", "Elles ne sont pas venus."),
        ("participle of ils", "Ils sont venu."),
        ("participle after avoir", "Elle a mangée."),
    ],
)
def test_the_rules_find_errors(rule, sentence):
    assert re.search(FORBIDDEN[rule], sentence, re.IGNORECASE)


def test_every_negation_has_two_parts():
    negated = [fr for fr in FRENCH if re.search(r"(?<![\w-])(ne |n')", fr, re.IGNORECASE)]
    assert len(negated) > 400
    second = re.compile(r"\b(pas|jamais|plus|rien|personne)\b", re.IGNORECASE)
    assert [fr for fr in negated if not second.search(fr)] == []


def test_it_and_its_noun_have_one_gender():
    """The pronoun after "parce que" and "mais" is that of the noun the sentence begins with."""
    pattern = re.compile(r"^(?:le|la|l'|les) ?([\w-]+) .*(?:parce qu'|mais )(ils?|elles?)\b", re.I)
    found = [match for match in map(pattern.search, FRENCH) if match]
    wrong = []
    for match in found:
        noun, pronoun = match[1].lower(), match[2]
        if re.fullmatch(f"({FEMININE})s?", noun) and pronoun.startswith("il"):
            wrong.append(match[0])
        if re.fullmatch(f"({MASCULINE})[sx]?", noun) and pronoun.startswith("elle"):
            wrong.append(match[0])
    assert wrong == []
    assert {match[2] for match in found} == {"il", "elle", "ils", "elles"}
    assert len(found) > 80


def test_it_is_large_and_distinct():
    assert len(PAIRS) >= 3000
    assert len({(preprocess(en), preprocess(fr)) for en, fr in PAIRS}) == len(PAIRS)


def test_the_shipped_file_is_what_the_grammar_writes():
    expected = "".join(f"{en}\t{fr}\n" for en, fr in corpus.build())
    assert BUNDLED.read_bytes() == expected.encode()


def test_sentences_have_two_to_twelve_words():
    for pair in PAIRS:
        for side in pair:
            assert 2 <= corpus.count_words(side) <= 12, pair


def test_typography():
    for en, fr in PAIRS:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9' ,.?!]*[.?!]", en), en
        assert re.fullmatch(r"[A-ZÀÇÉÊ][\w' ,.?!\u202f-]*[.?!]", fr), fr
        assert not re.search(r"[^\u202f][?!]|\u202f[^?!]|  | [.,?!]", fr), fr
        assert not re.search(r"  | [.,?!]", en), en
        assert not re.search(r"[.?!] [a-zéà]", en + fr), (en, fr)


def test_the_english_agrees():
    wrong = re.compile(
        r"\b(a [aeio]|an [^aeiouh]|(he|she|it) (don't|have|are|were|am)\b|I (is|are|has|doesn't)\b|"
        r"(they|we|you) (is|was|has|doesn't|isn't)\b|\w+(?<!s)s (is|was) \w+ing\b)",
    )
    assert [
        en for en in ENGLISH if wrong.search(en) and not re.search(r"\b[Dd]oes|\b[Dd]id", en)
    ] == []


def test_several_translations_occur():
    counts = Counter(ENGLISH)
    assert sum(1 for count in counts.values() if count > 1) > 400
    assert len(counts) > 3000


def test_the_beginning_suits_d2ls_setting():
    """The first 640 pairs fit D2L's nine steps, and few of their words are too rare."""
    data = TranslationData(PAIRS)
    assert data.src_valid_len.max() <= 9
    assert (data.tgt_out[:, -1] != data.pad).sum() == 0
    assert 150 < len(data.src_vocab) < 400
    assert 150 < len(data.tgt_vocab) < 400
    assert (data.src == data.src_vocab.unk).sum() < 0.06 * data.src_valid_len.sum()
    lengths = [len(en) for en in ENGLISH]
    assert lengths == sorted(lengths)


def test_there_are_enough_words():
    for side, least in ((ENGLISH, 500), (FRENCH, 800)):
        counts = Counter(token for text in side for token in tokenize(preprocess(text)))
        assert len(counts) >= least
        assert sum(1 for count in counts.values() if count > 1) > 0.6 * len(counts)


# Word order


def test_lengths_differ():
    differing = [
        pair for pair in PAIRS if len({len(tokenize(preprocess(side))) for side in pair}) == 2
    ]
    assert len(differing) > 0.4 * len(PAIRS)


def test_colors_follow_their_noun():
    colors = {"red": "rouge", "blue": "bleu", "green": "vert", "white": "blan", "black": "noir"}
    found = 0
    for en, fr in PAIRS:
        for color, couleur in colors.items():
            if re.search(rf"\b(a|the|two) {color} \w+", en) and couleur in fr:
                found += 1
                assert not re.search(rf"\b(un|une|le|la|les|deux) {couleur}", fr), fr
    assert found > 30


def test_object_pronouns_stand_before_their_verb():
    """The last word of "She helped him." is the second or third of "Elle l'a aidé."."""
    found = 0
    for en, fr in PAIRS:
        if re.search(r"^\w+ (\w+ )?\w+ (him|them)\.$", en) and not re.match("[A-Z]\\w+-", fr):
            found += bool(re.search(r"(^| )(l'|le |les |lui |leur )\w+", fr))
    assert found > 25


def test_subject_and_object_change_places():
    missing = [fr for en, fr in PAIRS if re.search(r"\bmiss(es)? (my|his|her|their|you)\b", en)]
    assert len(missing) > 15
    assert all("manque" in fr for fr in missing)


# The grammar itself


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["je", "ai"], "j'ai"),
        (["la", "haute", "tour"], "la haute tour"),
        (["le", "homme"], "l'homme"),
        (["le", "héros"], "le héros"),
        (["la", "héroïne"], "l'héroïne"),
        (["à", "le", "marché"], "au marché"),
        (["à", "le", "hôtel"], "à l'hôtel"),
        (["de", "les", "amis"], "des amis"),
        (["de", "le", "hibou"], "du hibou"),
        (["si", "il", "vient"], "s'il vient"),
        (["si", "elle", "vient"], "si elle vient"),
        (["il", "ne", "y", "a", "pas"], "il n'y a pas"),
        (["jusque", "à", "le", "parc"], "jusqu'au parc"),
        (["parce que", "elle", "ne", "le", "aime", "pas"], "parce qu'elle ne l'aime pas"),
    ],
)
def test_join(words, expected):
    assert french.join(*words) == expected


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("parler", "parle parles parle parlons parlez parlent"),
        ("manger", "mange manges mange mangeons mangez mangent"),
        ("commencer", "commence commences commence commençons commencez commencent"),
        ("acheter", "achète achètes achète achetons achetez achètent"),
        ("appeler", "appelle appelles appelle appelons appelez appellent"),
        ("nettoyer", "nettoie nettoies nettoie nettoyons nettoyez nettoient"),
        ("espérer", "espère espères espère espérons espérez espèrent"),
        ("finir", "finis finis finit finissons finissez finissent"),
        ("vendre", "vends vends vend vendons vendez vendent"),
    ],
)
def test_present(verb, forms):
    assert [french.present(verb, person) for person in range(6)] == forms.split()


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("être", "étais étais était étions étiez étaient"),
        ("manger", "mangeais mangeais mangeait mangions mangiez mangeaient"),
        ("commencer", "commençais commençais commençait commencions commenciez commençaient"),
        ("rire", "riais riais riait riions riiez riaient"),
        ("finir", "finissais finissais finissait finissions finissiez finissaient"),
        ("boire", "buvais buvais buvait buvions buviez buvaient"),
    ],
)
def test_imperfect(verb, forms):
    assert [french.imperfect(verb, person) for person in range(6)] == forms.split()


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("vieux", "vieux vieille vieux vieilles"),
        ("beau", "beau belle beaux belles"),
        ("heureux", "heureux heureuse heureux heureuses"),
        ("cher", "cher chère chers chères"),
        ("rouge", "rouge rouge rouges rouges"),
        ("gentil", "gentil gentille gentils gentilles"),
    ],
)
def test_adjectives(word, forms):
    numbers = [("m", False), ("f", False), ("m", True), ("f", True)]
    assert [french.adjective(word, *number) for number in numbers] == forms.split()


def test_adjective_before_a_vowel():
    assert french.adjective("vieux", "m", follower="homme") == "vieil"
    assert french.adjective("vieux", "m", follower="héros") == "vieux"
    assert french.adjective("vieux", "m", plural=True, follower="hommes") == "vieux"
    assert french.adjective("en retard", "f", plural=True) == "en retard"


def test_imperatives():
    words = [(v, french.imperative(v, 1)) for v in ("manger", "aller", "ouvrir", "finir", "vendre")]
    assert dict(words) == {
        "manger": "mange",
        "aller": "va",
        "ouvrir": "ouvre",
        "finir": "finis",
        "vendre": "vends",
    }


def test_clauses():
    she = lexicon.PRONOUNS[5]
    assert french.clause(she, "venir", "past", "not") == "elle n'est pas venue"
    assert french.clause(she, "voir", "past", "nobody") == "elle n'a vu personne"
    assert french.clause(she, "voir", "near", "nothing") == "elle ne va rien voir"
    assert french.clause(she, "lever", "past", reflexive=True) == "elle s'est levée"
    assert french.clause(she, "lever", "pouvoir", "not", reflexive=True) == (
        "elle ne peut pas se lever"
    )
    assert french.clause(she, "donner", "past", clitics="la lui", agree=("f", False)) == (
        "elle la lui a donnée"
    )
    assert french.clause(she, "partir", "recent") == "elle vient de partir"
    assert french.inverted(she, "parler", "present") == "parle-t-elle"
    assert french.inverted(she, "partir", "past") == "est-elle partie"


@pytest.mark.parametrize(
    ("base", "third", "gerund"),
    [
        ("watch", "watches", "watching"),
        ("cry", "cries", "crying"),
        ("play", "plays", "playing"),
        ("run", "runs", "running"),
        ("lie", "lies", "lying"),
        ("go out", "goes out", "going out"),
        ("write", "writes", "writing"),
    ],
)
def test_english_verbs(base, third, gerund):
    assert english.third_person(base) == third
    assert english.gerund(base) == gerund
