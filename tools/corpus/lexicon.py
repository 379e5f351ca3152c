"""The words of the corpus: nouns by kind, adjectives, verbs and subjects, in both languages."""

import dataclasses

from tools.corpus import french


@dataclasses.dataclass(frozen=True)
class Noun:
    """A noun in both languages; `gender` is "m" or "f"."""

    en: str
    fr: str
    gender: str
    en_plural: str
    fr_plural: str


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb: three English forms, the French infinitive."""

    base: str
    past: str
    participle: str
    fr: str


@dataclasses.dataclass(frozen=True)
class Adjective:
    """An adjective; `first` if it stands before its noun in French."""

    en: str
    fr: str
    first: bool = False


@dataclasses.dataclass(frozen=True)
class Subject:
    """Who does it: `person` is the French one (0 to 5), vous being 4 also for one person."""

    en: str
    fr: str
    person: int
    gender: str

    @property
    def plural(self):
        return self.person >= 3


def _nouns(table):
    """Nouns from lines "english = french gender"; "/" gives an irregular plural."""
    return [_noun(*(part.strip() for part in line.split("="))) for line in table.split(";")]


def _noun(en, fr):
    fr, gender = fr.rsplit(" ", 1)
    en, _, en_plural = en.partition("/")
    fr, _, fr_plural = fr.partition("/")
    return Noun(en, fr, gender, en_plural or _english_plural(en), fr_plural or french.plural_of(fr))


def _english_plural(en):
    if en.endswith("y") and en[-2] not in "aeou":
        return en[:-1] + "ies"
    return en + ("es" if en.endswith(("s", "sh", "ch", "x")) else "s")


PEOPLE = _nouns(
    "man/men = homme m; woman/women = femme f; boy = garçon m; girl = fille f;"
    "child/children = enfant m; teacher = professeur m; doctor = médecin m; baker = boulanger m;"
    "nurse = infirmière f; neighbor = voisin m; student = étudiant m; actress = actrice f;"
    "tourist = touriste m; hero/heroes = héros m; queen = reine f; waiter = serveur m"
)
FAMILY = _nouns(
    "mother = mère f; father = père m; brother = frère m; sister = sœur f; uncle = oncle m;"
    "aunt = tante f; son = fils m; daughter = fille f; grandmother = grand-mère/grands-mères f;"
    "grandfather = grand-père/grands-pères m; cousin = cousine f; friend = ami m;"
    "friend = amie f; husband = mari m"
)
ANIMALS = _nouns(
    "cat = chat m; dog = chien m; horse = cheval m; bird = oiseau m; cow = vache f;"
    "mouse/mice = souris f; rabbit = lapin m; owl = hibou m; donkey = âne m; goat = chèvre f;"
    "duck = canard m; hen = poule f"
)
FRUIT = _nouns(
    "apple = pomme f; orange = orange f; pear = poire f; tomato/tomatoes = tomate f;"
    "peach = pêche f; lemon = citron m; apricot = abricot m"
)
DISHES = _nouns(
    "soup = soupe f; salad = salade f; cake = gâteau m; omelet = omelette f; pie = tarte f;"
    "sandwich = sandwich m"
)
FOOD = _nouns(
    "bread = pain m; cheese = fromage m; meat = viande f; fish = poisson m; rice = riz m;"
    "butter = beurre m; chocolate = chocolat m; jam = confiture f; honey = miel m"
)
DRINKS = _nouns(
    "water = eau f; milk = lait m; coffee = café m; tea = thé m; wine = vin m; beer = bière f;"
    "lemonade = limonade f"
)
READING = _nouns(
    "book = livre m; letter = lettre f; newspaper = journal m; story = histoire f;"
    "poem = poème m; article = article m; message = message m; novel = roman m"
)
CLOTHES = _nouns(
    "dress = robe f; shirt = chemise f; hat = chapeau m; coat = manteau m; skirt = jupe f;"
    "jacket = veste f; sweater = pull m; scarf/scarves = écharpe f; watch = montre f"
)
VEHICLES = _nouns(
    "car = voiture f; bike = vélo m; boat = bateau m; truck = camion m; plane = avion m;"
    "train = train m"
)
THINGS = _nouns(
    "key = clé f; bag = sac m; umbrella = parapluie m; phone = téléphone m; lamp = lampe f;"
    "computer = ordinateur m; knife/knives = couteau m; box = boîte f; mirror = miroir m;"
    "clock = horloge f; gift = cadeau m; tool = outil m; pencil = crayon m; ax/axes = hache f;"
    "suitcase = valise f; photo = photo f; toy = jouet m"
)
DISHWARE = _nouns(
    "glass = verre m; cup = tasse f; plate = assiette f; bottle = bouteille f; bowl = bol m"
)
FURNITURE = _nouns(
    "table = table f; chair = chaise f; bed = lit m; armchair = fauteuil m; desk = bureau m;"
    "wardrobe = armoire f"
)
OPENINGS = _nouns("door = porte f; window = fenêtre f; box = boîte f; suitcase = valise f")
BUILDINGS = _nouns(
    "house = maison f; apartment = appartement m; building = immeuble m; castle = château m;"
    "tower = tour f"
)
PLACES = _nouns(
    "market = marché m; station = gare f; school = école f; hospital = hôpital m;"
    "hotel = hôtel m; beach = plage f; park = parc m; church = église f; museum = musée m;"
    "bakery = boulangerie f; library = bibliothèque f; restaurant = restaurant m;"
    "airport = aéroport m; swimming pool = piscine f; bank = banque f; theater = théâtre m"
)
ROOMS = _nouns(
    "kitchen = cuisine f; garden = jardin m; bedroom = chambre f; office = bureau m;"
    "bathroom = salle de bains f; yard = cour f"
)

COLORS = [
    Adjective("red", "rouge"),
    Adjective("blue", "bleu"),
    Adjective("green", "vert"),
    Adjective("white", "blanc"),
    Adjective("black", "noir"),
    Adjective("yellow", "jaune"),
]
LOOKS = [
    Adjective("big", "grand", True),
    Adjective("small", "petit", True),
    Adjective("beautiful", "beau", True),
    Adjective("new", "nouveau", True),
    Adjective("old", "vieux", True),
    Adjective("expensive", "cher"),
    Adjective("strange", "étrange"),
]
TASTES = [
    Adjective("good", "bon", True),
    Adjective("cold", "froid"),
    Adjective("hot", "chaud"),
    Adjective("delicious", "délicieux"),
]
RIPENESS = [
    Adjective("ripe", "mûr"),
    Adjective("green", "vert"),
    Adjective("small", "petit", True),
    Adjective("beautiful", "beau", True),
    Adjective("sweet", "sucré"),
]
INTEREST = [
    Adjective("interesting", "intéressant"),
    Adjective("long", "long", True),
    Adjective("short", "court"),
    Adjective("sad", "triste"),
    Adjective("funny", "drôle"),
    Adjective("old", "vieux", True),
    Adjective("good", "bon", True),
]
NATURE = [
    Adjective("young", "jeune", True),
    Adjective("old", "vieux", True),
    Adjective("kind", "gentil"),
    Adjective("happy", "heureux"),
    Adjective("polite", "poli"),
    Adjective("intelligent", "intelligent"),
    Adjective("shy", "timide"),
    Adjective("brave", "courageux"),
    Adjective("famous", "célèbre"),
    Adjective("rich", "riche"),
    Adjective("tall", "grand", True),
]
ANIMAL_NATURE = [
    Adjective("small", "petit", True),
    Adjective("big", "gros", True),
    Adjective("old", "vieux", True),
    Adjective("young", "jeune", True),
    Adjective("white", "blanc"),
    Adjective("black", "noir"),
    Adjective("beautiful", "beau", True),
]
STATES = [
    *NATURE,
    Adjective("tired", "fatigué"),
    Adjective("sick", "malade"),
    Adjective("sad", "triste"),
    Adjective("ready", "prêt"),
    Adjective("alone", "seul"),
    Adjective("busy", "occupé"),
    Adjective("worried", "inquiet"),
    Adjective("jealous", "jaloux"),
    Adjective("serious", "sérieux"),
    Adjective("funny", "drôle"),
    Adjective("late", "en retard"),
    Adjective("angry", "en colère"),
    Adjective("strong", "fort"),
    Adjective("married", "marié"),
    Adjective("lazy", "paresseux"),
    Adjective("surprised", "surpris"),
    Adjective("free", "libre"),
]

# What a noun of a kind can be, and what "a ..." of the kind may look like.
KINDS = {
    "people": (PEOPLE, NATURE),
    "animals": (ANIMALS, ANIMAL_NATURE),
    "fruit": (FRUIT, RIPENESS),
    "dishes": (DISHES, TASTES),
    "reading": (READING, INTEREST),
    "texts": ([noun for noun in READING if noun.en != "newspaper"], INTEREST),
    "clothes": (CLOTHES, COLORS + LOOKS),
    "vehicles": (VEHICLES, COLORS + LOOKS),
    "owned": (VEHICLES[:4], COLORS + LOOKS),
    "things": (THINGS, LOOKS),
    "dishware": (DISHWARE, LOOKS[:4] + COLORS[:4]),
    "furniture": (FURNITURE, LOOKS + COLORS[:2]),
    "openings": (OPENINGS, COLORS + LOOKS[:2]),
    "buildings": (BUILDINGS, LOOKS + COLORS[3:4]),
}


def verb(forms, fr):
    """A verb from "eat ate eaten" or "look_for looked_for"; a regular one needs only its base."""
    words = [form.replace("_", " ") for form in forms.split()]
    if len(words) == 1:
        words.append(_regular_past(words[0]))
    base, past, *rest = words
    return Verb(base, past, rest[0] if rest else past, fr)


def _regular_past(base):
    if base.endswith("y") and base[-2] not in "aeou":
        return base[:-1] + "ied"
    return base + ("d" if base.endswith("e") else "ed")


ACTIONS = [
    verb(*row)
    for row in [
        ("sleep slept", "dormir"),
        ("work", "travailler"),
        ("sing sang sung", "chanter"),
        ("dance", "danser"),
        ("run ran run", "courir"),
        ("swim swam swum", "nager"),
        ("laugh", "rire"),
        ("smile", "sourire"),
        ("cry", "pleurer"),
        ("wait", "attendre"),
        ("eat ate eaten", "manger"),
        ("drink drank drunk", "boire"),
        ("cook", "cuisiner"),
        ("read read", "lire"),
        ("write wrote written", "écrire"),
        ("walk", "marcher"),
        ("play", "jouer"),
        ("travel", "voyager"),
        ("shout", "crier"),
        ("dream", "rêver"),
        ("listen", "écouter"),
        ("win won", "gagner"),
        ("lie lied", "mentir"),
        ("leave left", "partir"),
        ("come came come", "venir"),
        ("stay", "rester"),
        ("go_out went_out gone_out", "sortir"),
        ("come_back came_back come_back", "revenir"),
        ("understand understood", "comprendre"),
    ]
]
MOVES = [
    verb(*row)
    for row in [
        ("arrive", "arriver"),
        ("fall fell fallen", "tomber"),
        ("come_in came_in come_in", "entrer"),
        ("go_home went_home gone_home", "rentrer"),
    ]
]
ACTION = {action.base: action for action in ACTIONS + MOVES}

# Transitive verbs and the kinds of things they are done to.
TRANSITIVE = [
    (verb(forms, fr), kinds.split())
    for forms, fr, kinds in [
        ("see saw seen", "voir", "people animals vehicles buildings things"),
        ("buy bought", "acheter", "clothes owned things fruit dishware furniture reading"),
        ("sell sold", "vendre", "clothes owned things furniture buildings fruit"),
        ("read read", "lire", "reading"),
        ("write wrote written", "écrire", "texts"),
        ("eat ate eaten", "manger", "fruit dishes"),
        ("wear wore worn", "porter", "clothes"),
        ("lose lost", "perdre", "clothes things"),
        ("find found", "trouver", "things clothes animals"),
        ("open", "ouvrir", "openings"),
        ("close", "fermer", "openings"),
        ("wash", "laver", "clothes dishware owned"),
        ("draw drew drawn", "dessiner", "animals buildings people"),
        ("help", "aider", "people"),
        ("look_for looked_for", "chercher", "people animals things clothes"),
        ("look_at looked_at", "regarder", "people animals buildings vehicles"),
        ("listen_to listened_to", "écouter", "people"),
        ("hear heard", "entendre", "people animals vehicles"),
        ("choose chose chosen", "choisir", "clothes dishes things"),
        ("break broke broken", "casser", "dishware furniture"),
        ("hide hid hidden", "cacher", "things dishware"),
        ("forget forgot forgotten", "oublier", "things clothes reading"),
        ("take took taken", "prendre", "things clothes owned"),
        ("clean", "nettoyer", "furniture dishware openings"),
        ("prepare", "préparer", "dishes"),
        ("know knew known", "connaître", "people"),
    ]
]

PRONOUNS = [
    Subject(*row)
    for row in [
        ("I", "je", 0, "m"),
        ("I", "je", 0, "f"),
        ("you", "tu", 1, "m"),
        ("you", "tu", 1, "f"),
        ("he", "il", 2, "m"),
        ("she", "elle", 2, "f"),
        ("we", "nous", 3, "m"),
        ("you", "vous", 4, "m"),
        ("they", "ils", 5, "m"),
        ("they", "elles", 5, "f"),
    ]
]
NAMES = [
    Subject("Paul", "Paul", 2, "m"),
    Subject("Marie", "Marie", 2, "f"),
    Subject("Alice", "Alice", 2, "f"),
    Subject("Karim", "Karim", 2, "m"),
]
POSSESSIVE_EN = {"je": "my", "tu": "your", "il": "his", "elle": "her", "nous": "our"}
POSSESSIVE_EN |= {"vous": "your", "ils": "their", "elles": "their"}
COUNTS = {"two": "deux", "three": "trois", "five": "cinq"}
