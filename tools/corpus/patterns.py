"""Patterns of sentences about a noun of a certain kind; `phrases` says what the brackets mean."""

from tools.corpus.lexicon import FAMILY, KINDS, PLACES

NOUNS = {kind: nouns for kind, (nouns, _) in KINDS.items()}
NOUNS |= {"family": FAMILY, "places": PLACES}


def _named(kind, names):
    return [noun for noun in NOUNS[kind] if noun.en in names.split()]


NOUNS["runners"] = _named("animals", "cat dog horse rabbit donkey goat cow mouse")
NOUNS["trains"] = _named("vehicles", "boat plane train")
NOUNS["heavy"] = _named("things", "bag computer box mirror suitcase clock")
NOUNS["workers"] = _named("people", "man woman teacher doctor baker nurse student actress waiter")
# Nouns that no sentence here uses in the plural: "my fathers", "the banks are far from here".
SINGULAR_ONLY = [*PLACES, *_named("family", "mother father husband")]
# (kinds, English, French)
DESCRIPTIONS = [
    ("clothes owned furniture buildings", "{this} [is] expensive.", "{this} [être] {cher}."),
    ("clothes owned things", "{the} [is] not new.", "{the} ne [être] pas {neuf}."),
    ("clothes owned buildings", "{the} [is] white.", "{the} [être] {blanc}."),
    ("clothes owned", "[is] {the} blue?", "est-ce que {the} [être] {bleu} ?"),
    ("fruit", "{the} [is] not ripe.", "{the} ne [être] pas {mûr}."),
    ("fruit", "{this} [is] green.", "{this} [être] {vert}."),
    ("fruit", "I like {the} that [is] ripe.", "j'aime {the} qui [être] {mûr}."),
    ("dishes", "{the} [is] delicious.", "{the} [être] {délicieux}."),
    ("dishes", "{the} [was] too salty.", "{the} [être*] trop {salé}."),
    ("reading", "{this} [is] interesting.", "{this} [être] {intéressant}."),
    ("reading", "{the} [is] too long.", "{the} [être] trop {long}."),
    ("things clothes", "where [is] {my}?", "où [être] {my} ?"),
    ("things clothes", "{the} [is] on the table.", "{the} [être] sur la table."),
    ("things clothes", "{my} [is] in the wardrobe.", "{my} [être] dans l'armoire."),
    ("animals", "{the} [is] sleeping in the garden.", "{the} [dormir] dans le jardin."),
    ("animals", "{the} [was] hungry.", "{the} [avoir*] faim."),
    ("animals", "{my} [is] afraid of thunder.", "{my} [avoir] peur du tonnerre."),
    ("openings", "{the} [is] closed.", "{the} [être] {fermé}."),
    ("openings", "[is] {the} open?", "est-ce que {the} [être] {ouvert} ?"),
    ("openings", "{the} [was] not closed.", "{the} ne [être*] pas {fermé}."),
    ("places", "how do I get to {the}?", "comment est-ce que je vais à {the} ?"),
    ("places", "{the} [is] closed today.", "{the} [être] {fermé} aujourd'hui."),
    ("places", "{the} [is] far from here.", "{the} [être] loin d'ici."),
    ("places", "there is {a} near the church.", "il y a {a} près de l'église."),
    ("family", "{my} [is] not at home.", "{my} ne [être] pas à la maison."),
    ("family", "{his} [is] very kind.", "{his} [être] très {gentil}."),
    ("family", "where [does] {my} live?", "où [habiter] {my} ?"),
    ("family", "I don't know {his}.", "je ne connais pas {his}."),
    ("family", "{my} [is] never late.", "{my} ne [être] jamais en retard."),
    ("vehicles", "{the} [was] late.", "{the} [être*] en retard."),
    ("dishware", "{the} [is] empty.", "{the} [être] {vide}."),
    ("dishware", "{this} [is] broken.", "{this} [être] {cassé}."),
    ("dishware", "{the} [is] clean.", "{the} [être] {propre}."),
]

REFERRING = [
    (
        "runners",
        "{the} [is] tired because {it} ran a lot.",
        "{the} [être] {fatigué} parce que {il} [avoir] beaucoup couru.",
    ),
    (
        "animals",
        "{the} [is] happy because {it} [has] eaten.",
        "{the} [être] {content} parce que {il} [avoir] mangé.",
    ),
    (
        "animals",
        "{the} [is] sad because {it} [is] alone.",
        "{the} [être] {triste} parce que {il} [être] {seul}.",
    ),
    (
        "animals",
        "{the} hid because {it} [was] afraid.",
        "{the} se [être] {caché} parce que {il} [avoir*] peur.",
    ),
    (
        "runners",
        "{my} [is] old, but {it} still [runs] fast.",
        "{my} [être] {vieux}, mais {il} [courir] encore vite.",
    ),
    (
        "clothes",
        "{the} [is] beautiful, but {it} [is] too expensive.",
        "{the} [être] {beau}, mais {il} [être] trop {cher}.",
    ),
    (
        "clothes",
        "{the} [is] dirty because {it} fell.",
        "{the} [être] {sale} parce que {il} [être] {tombé}.",
    ),
    (
        "clothes furniture",
        "I bought {the} because {it} [was] beautiful.",
        "j'ai acheté {the} parce que {il} [être*] {beau}.",
    ),
    (
        "clothes",
        "I like {the}, but {it} [is] too big.",
        "j'aime {the}, mais {il} [être] trop {grand}.",
    ),
    (
        "owned buildings",
        "{the} [is] cheap because {it} [is] old.",
        "{the} ne [être] pas {cher} parce que {il} [être] {vieux}.",
    ),
    (
        "owned",
        "{the} [is] expensive because {it} [is] new.",
        "{the} [être] {cher} parce que {il} [être] {neuf}.",
    ),
    (
        "owned heavy",
        "I looked for {the}, but I didn't find {them}.",
        "j'ai cherché {the}, mais je ne {le} ai pas {trouvé}.",
    ),
    (
        "clothes",
        "I don't see {the} because {it} [is] in the wardrobe.",
        "je ne vois pas {the} parce que {il} [être] dans l'armoire.",
    ),
    (
        "things",
        "take {the} and put {them} on the table.",
        "prends {the} et mets-{le} sur la table.",
    ),
    (
        "heavy furniture",
        "{the} [is] too heavy, I can't carry {them}.",
        "{the} [être] trop {lourd}, je ne peux pas {le} porter.",
    ),
    (
        "dishes",
        "{the} [is] good, but {it} [is] too hot.",
        "{the} [être] {bon}, mais {il} [être] trop {chaud}.",
    ),
    (
        "dishes",
        "I didn't eat {the} because {it} [was] cold.",
        "je n'ai pas mangé {the} parce que {il} [être*] {froid}.",
    ),
    (
        "fruit",
        "she washed {the} and ate {them}.",
        "elle a lavé {the} et {le} a {mangé}.",
    ),
    (
        "fruit",
        "don't eat {the}, {it} [is] not ripe.",
        "ne mange pas {the}, {il} ne [être] pas {mûr}.",
    ),
    (
        "reading",
        "{the} [is] long, but {it} [is] interesting.",
        "{the} [être] {long}, mais {il} [être] {intéressant}.",
    ),
    (
        "texts",
        "he wrote {the}, but nobody read {them}.",
        "il a écrit {the}, mais personne ne {le} a {lu}.",
    ),
    (
        "dishware",
        "{the} [is] broken because {it} fell.",
        "{the} [être] {cassé} parce que {il} [être] {tombé}.",
    ),
    (
        "openings",
        "{the} [is] open, close {them}, please.",
        "{the} [être] {ouvert}, ferme-{le}, s'il te plaît.",
    ),
    (
        "buildings",
        "they sold {the} because {it} [was] too small.",
        "ils ont vendu {the} parce que {il} [être*] trop {petit}.",
    ),
    (
        "clothes",
        "she isn't wearing {the} because {it} [is] too short.",
        "elle ne porte pas {the} parce que {il} [être] trop {court}.",
    ),
    (
        "trains",
        "I missed {the} because {it} left early.",
        "j'ai raté {the} parce que {il} [être] {parti} tôt.",
    ),
    (
        "dishware",
        "wash {the} because {it} [is] dirty.",
        "lave {the} parce que {il} [être] {sale}.",
    ),
    (
        "furniture",
        "we sold {the} because {it} [was] too big.",
        "nous avons vendu {the} parce que {il} [être*] trop {grand}.",
    ),
    (
        "animals",
        "I called {the}, but {it} didn't come.",
        "j'ai appelé {the}, mais {il} ne [être] pas {venu}.",
    ),
    (
        "animals",
        "where [is] {the}? I don't see {them}.",
        "où [être] {the} ? Je ne {le} vois pas.",
    ),
    (
        "openings",
        "I closed {the} because {it} [was] open.",
        "j'ai fermé {the} parce que {il} [être*] {ouvert}.",
    ),
    (
        "fruit",
        "{the} [is] small, but {it} [is] very sweet.",
        "{the} [être] {petit}, mais {il} [être] très {sucré}.",
    ),
]

RELATIVE = [
    (
        "clothes owned things",
        "{the} that I bought [is] expensive.",
        "{the} que j'ai {acheté} [être] {cher}.",
    ),
    (
        "texts",
        "{the} that she wrote [is] very beautiful.",
        "{the} que elle a {écrit} [être] très {beau}.",
    ),
    ("reading", "{the} that he read [was] too long.", "{the} que il a {lu} [être*] trop {long}."),
    (
        "clothes",
        "{the} that you are wearing [is] pretty.",
        "{the} que tu portes [être] {joli}.",
    ),
    (
        "fruit dishes",
        "{the} that we ate [was] good.",
        "{the} que nous avons {mangé} [être*] {bon}.",
    ),
    (
        "things clothes",
        "I found {the} that you had lost.",
        "j'ai trouvé {the} que tu avais {perdu}.",
    ),
    (
        "people",
        "{the} who [is] singing [is] very happy.",
        "{the} qui [chanter] [être] très {heureux}.",
    ),
    (
        "people",
        "do you know {the} who [is] waiting in front of the door?",
        "connais-tu {the} qui [attendre] devant la porte ?",
    ),
    ("workers", "I saw {the} who [works] here.", "j'ai vu {the} qui [travailler] ici."),
    ("animals", "{the} that I saw [was] small.", "{the} que j'ai {vu} [être*] {petit}."),
    (
        "animals",
        "the child is looking for {the} that he lost.",
        "l'enfant cherche {the} qu'il a {perdu}.",
    ),
    (
        "buildings",
        "{the} that they sold [is] old.",
        "{the} que ils ont {vendu} [être] {vieux}.",
    ),
    (
        "vehicles",
        "{the} that I took [was] late.",
        "{the} que j'ai {pris} [être*] en retard.",
    ),
    (
        "dishware",
        "{the} that he broke [was] new.",
        "{the} qu'il a {cassé} [être*] {neuf}.",
    ),
]
