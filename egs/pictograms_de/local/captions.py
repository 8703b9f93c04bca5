"""German captions of a scene, as five people might say them; i2s.corpus.pictograms_grammar is the English model.

Every choice below is a table of (words, weight). Words are spelt as in a book, nouns with their capitals, for the voice
that reads them out; there are no signs between them.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from i2s.corpus.pictograms_grammar import CAPTIONS, Choices
from i2s.corpus.pictograms_scene import KINDS, WALLS, Group, Scene

SHORTEST, LONGEST = 5, 14  # words
Cases = tuple[str, str, str]  # nominative, dative, accusative: {a}, {a3} and {a4} of the sentences below


class Noun(NamedTuple):
    """Gender (m, f, n) and plural; `weak` ones (der Junge) have the plural's form in the other cases, too."""

    gender: str
    plural: str
    weak: bool = False


NOUNS = {
    "Auto": Noun("n", "Autos"),
    "Baum": Noun("m", "Bäume"),
    "Boot": Noun("n", "Boote"),
    "Fahrrad": Noun("n", "Fahrräder"),
    "Fisch": Noun("m", "Fische"),
    "Flugzeug": Noun("n", "Flugzeuge"),
    "Frosch": Noun("m", "Frösche"),
    "Haus": Noun("n", "Häuser"),
    "Hubschrauber": Noun("m", "Hubschrauber"),
    "Hund": Noun("m", "Hunde"),
    "Junge": Noun("m", "Jungen", weak=True),
    "Katze": Noun("f", "Katzen"),
    "Kirche": Noun("f", "Kirchen"),
    "Kröte": Noun("f", "Kröten"),
    "Kuh": Noun("f", "Kühe"),
    "Kätzchen": Noun("n", "Kätzchen"),
    "Laster": Noun("m", "Laster"),
    "Lastwagen": Noun("m", "Lastwagen"),
    "Läufer": Noun("m", "Läufer"),
    "Mann": Noun("m", "Männer"),
    "Mond": Noun("m", "Monde"),
    "Person": Noun("f", "Personen"),
    "Pferd": Noun("n", "Pferde"),
    "Pony": Noun("n", "Ponys"),
    "Radfahrer": Noun("m", "Radfahrer"),
    "Rakete": Noun("f", "Raketen"),
    "Raumschiff": Noun("n", "Raumschiffe"),
    "Regenwolke": Noun("f", "Regenwolken"),
    "Schneemann": Noun("m", "Schneemänner"),
    "Schwimmer": Noun("m", "Schwimmer"),
    "Segelboot": Noun("n", "Segelboote"),
    "Skifahrer": Noun("m", "Skifahrer"),
    "Sonne": Noun("f", "Sonnen"),
    "Spinne": Noun("f", "Spinnen"),
    "Tanne": Noun("f", "Tannen"),
    "Taube": Noun("f", "Tauben"),
    "Vogel": Noun("m", "Vögel"),
    "Welpe": Noun("m", "Welpen", weak=True),
    "Wolke": Noun("f", "Wolken"),
    "Zelt": Noun("n", "Zelte"),
}
NAMES: dict[str, Choices] = {
    "dog": {"Hund": 5, "Welpe": 1},
    "cat": {"Katze": 5, "Kätzchen": 1},
    "horse": {"Pferd": 5, "Pony": 1},
    "cow": {"Kuh": 1},
    "frog": {"Frosch": 8, "Kröte": 1},
    "spider": {"Spinne": 1},
    "fish": {"Fisch": 1},
    "bird": {"Vogel": 5, "Taube": 1},
    "car": {"Auto": 1},
    "truck": {"Lastwagen": 5, "Laster": 1},
    "bike": {"Fahrrad": 1},
    "boat": {"Boot": 2, "Segelboot": 3},
    "plane": {"Flugzeug": 1},
    "helicopter": {"Hubschrauber": 1},
    "rocket": {"Rakete": 4, "Raumschiff": 1},
    "house": {"Haus": 1},
    "church": {"Kirche": 1},
    "tent": {"Zelt": 1},
    "tree": {"Baum": 4, "Tanne": 1},
    "person": {"Mann": 3, "Person": 3, "Junge": 1},
    "runner": {"Läufer": 1},
    "cyclist": {"Radfahrer": 1},
    "skier": {"Skifahrer": 1},
    "swimmer": {"Schwimmer": 1},
    "sun": {"Sonne": 1},
    "moon": {"Mond": 1},
    "cloud": {"Regenwolke": 2, "Wolke": 2},
    "snowman": {"Schneemann": 1},
}
VERBS: dict[str, Choices] = {
    "dog": {"steht": 3, "läuft": 1},
    "cat": {"sitzt": 4, "steht": 1},
    "horse": {"steht": 3, "läuft": 1},
    "cow": {"steht": 3, "frisst": 1},
    "frog": {"sitzt": 4, "hockt": 1},
    "spider": {"krabbelt": 3, "sitzt": 1},
    "fish": {"schwimmt": 1},
    "bird": {"fliegt": 1},
    "car": {"fährt": 1, "parkt": 2},
    "truck": {"fährt": 1, "parkt": 2},
    "bike": {"steht": 1},
    "boat": {"segelt": 3, "schwimmt": 1},
    "plane": {"fliegt": 1},
    "helicopter": {"fliegt": 3, "schwebt": 1},
    "rocket": {"fliegt": 1},
    "house": {"steht": 1},
    "church": {"steht": 1},
    "tent": {"steht": 1},
    "tree": {"steht": 2, "wächst": 1},
    "runner": {"läuft": 3, "rennt": 2},
    "cyclist": {"fährt Fahrrad": 3, "fährt Rad": 1},
    "skier": {"fährt Ski": 1},
    "swimmer": {"schwimmt": 1},
    "sun": {"scheint": 1},
    "moon": {"scheint": 2, "leuchtet": 1},
    "cloud": {"schwebt": 2, "hängt": 1},
    "snowman": {"steht": 1},
}
SEVERAL = {
    "fliegt": "fliegen",
    "frisst": "fressen",
    "fährt": "fahren",
    "hockt": "hocken",
    "hängt": "hängen",
    "ist": "sind",
    "krabbelt": "krabbeln",
    "leuchtet": "leuchten",
    "läuft": "laufen",
    "parkt": "parken",
    "rennt": "rennen",
    "scheint": "scheinen",
    "schwebt": "schweben",
    "schwimmt": "schwimmen",
    "segelt": "segeln",
    "sitzt": "sitzen",
    "steht": "stehen",
    "wächst": "wachsen",
}
COLOURS = {"red": "rot", "yellow": "gelb", "green": "grün", "blue": "blau", "black": "schwarz", "white": "weiß"}
SIZES: dict[str, Choices] = {
    "small": {"klein": 5, "winzig": 1},
    "medium": {"": 1},
    "big": {"groß": 5, "riesig": 1},
}
COUNTS: dict[int, Choices] = {2: {"zwei": 1}, 3: {"drei": 7, "ein paar": 1, "mehrere": 1}}
PLACES: dict[str, Choices] = {
    "meadow": {"auf der Wiese": 4, "auf einer grünen Wiese": 3, "im Gras": 2},
    "snow": {"im Schnee": 5, "im Winter": 1},
    "desert": {"in der Wüste": 4, "im Sand": 2},
    "street": {"auf der Straße": 5, "auf einer Straße": 1},
    "night": {"bei Nacht": 3, "in der Nacht": 3, "im Dunkeln": 2, "unter den Sternen": 1},
    "sunset": {"bei Sonnenuntergang": 4, "am Abend": 2, "im Abendrot": 1},
    "sea": {"auf dem Wasser": 3, "auf dem Meer": 3},
    "sky": {"am Himmel": 4, "am blauen Himmel": 3, "in der Luft": 1, "hoch am Himmel": 1},
    "grey wall": {"auf grauem Hintergrund": 4, "vor einer grauen Wand": 2},
    "pink wall": {"auf rosa Hintergrund": 4, "vor einer rosa Wand": 2},
    "yellow wall": {"auf gelbem Hintergrund": 4, "vor einer gelben Wand": 2},
}
# Something may be in the water, or in the air over the ground, rather than on it.
IN_WATER: dict[str, Choices] = {"sea": {"im Wasser": 3, "im Meer": 3}}
OVER: dict[str, Choices] = {
    "meadow": {"über der Wiese": 4, "über einer grünen Wiese": 3},
    "snow": {"über dem Schnee": 1},
    "desert": {"über der Wüste": 1},
    "street": {"über der Straße": 1},
    "sea": {"über dem Wasser": 3, "über dem Meer": 3},
}
# {v} and {is} agree with a, {bv} and {bis} with b. What else belongs to {v} ends the sentence: fährt ... Fahrrad.
ALONE: Choices = {
    "{a} {v} {p}": 7,
    "{p} {v} {a}": 4,
    "{a} {p}": 3,
    "da {is} {a} {p}": 1,
    "hier {v} {a} {p}": 1,
    "man sieht {a4} {p}": 2,
    "ich sehe {a4} {p}": 1,
    "auf dem Bild {is} {a} {p}": 1,
    "ein Bild von {a3} {p}": 2,
}
RELATED: dict[str, Choices] = {
    "left of": {
        "{a} {v} neben {b3} {p}": 5,
        "{p} {v} {a} neben {b3}": 2,
        "{a} neben {b3} {p}": 2,
        "{a} {v} links von {b3} {p}": 3,
        "{a} links von {b3} {p}": 1,
        "{b} {bv} rechts von {a3} {p}": 2,
        "links {is} {a} und rechts {bis} {b}": 1,
        "{a} und {b} {p}": 2,
        "da {is} {a} neben {b3} {p}": 1,
        "man sieht {a4} neben {b3} {p}": 1,
        "ich sehe {a4} und {b4} {p}": 1,
    },
    "above": {
        "{a} {v} über {b3} {p}": 6,
        "über {b3} {p} {v} {a}": 3,
        "{a} über {b3} {p}": 2,
        "unter {a3} {bv} {b} {p}": 2,
        "{b} {p} unter {a3}": 1,
        "da {is} {a} über {b3} {p}": 1,
        "man sieht {a4} über {b3} {p}": 1,
        "ich sehe {a4} über {b3} {p}": 1,
    },
    "in front of": {
        "{a} {v} vor {b3} {p}": 6,
        "vor {b3} {v} {a} {p}": 3,
        "{a} vor {b3} {p}": 2,
        "hinter {a3} {bv} {b} {p}": 2,
        "{b} hinter {a3} {p}": 1,
        "da {is} {a} vor {b3} {p}": 1,
        "man sieht {a4} vor {b3} {p}": 1,
        "ich sehe {a4} vor {b3} {p}": 1,
    },
}

# By gender, as Cases: the article, and what an adjective ends in behind it; in the plural behind any number.
DEFINITE: dict[str, Cases] = {"m": ("der", "dem", "den"), "f": ("die", "der", "die"), "n": ("das", "dem", "das")}
INDEFINITE: dict[str, Cases] = {
    "m": ("ein", "einem", "einen"),
    "f": ("eine", "einer", "eine"),
    "n": ("ein", "einem", "ein"),
}
ENDINGS: dict[str, Cases] = {"m": ("er", "en", "en"), "f": ("e", "en", "e"), "n": ("es", "en", "es")}
PLURAL_ENDINGS: Cases = ("e", "en", "e")
NUMBERS_IN_DATIVE = {"mehrere": "mehreren"}


def write_captions(scene: Scene, rng: random.Random) -> list[str]:
    """Five different captions of 5 to 14 words, each by another person with habits of their own."""
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        caption = _Person(scene, rng).caption()
        if SHORTEST <= len(caption.split()) <= LONGEST and caption not in captions:
            captions.append(caption)
    return captions


def decline(name: str) -> tuple[Cases, Cases]:
    """A noun in its cases, in the singular and in the plural."""
    noun = NOUNS[name]
    other = noun.plural if noun.weak else name
    # The dative plural ends in n, but behind an s: den Autos.
    many = noun.plural if noun.plural[-1] in "ns" else noun.plural + "n"
    return (name, other, other), (noun.plural, many, noun.plural)


class _Person:
    """Says one caption: decides first what to leave out, then how to say the rest."""

    def __init__(self, scene: Scene, rng: random.Random):
        self.scene, self.rng = scene, rng
        self.says_size = rng.random() < 0.6
        # Of a pair there is enough to say.
        self.says_place = scene.relation is None or rng.random() < 0.5
        # On a wall nothing drives or sits: it is just there.
        self.says_verb = scene.place not in WALLS and rng.random() < 0.9

    def caption(self) -> str:
        first, last = self.scene.groups[0], self.scene.groups[-1]
        # Some look at one thing only.
        alone = self.scene.relation is None or self.rng.random() < 0.1
        form = self.pick(ALONE if alone else RELATED[str(self.scene.relation)])
        does = "{v}" in form and self.says_verb
        verb, _, rest = self.verb(first, does).partition(" ")
        a, b = self.thing(first, does), self.thing(last, False)
        has_place = self.says_place or alone or form.startswith("{p}")
        sentence = f"{form} {rest}".format(
            **{"a": a[0], "a3": a[1], "a4": a[2], "b": b[0], "b3": b[1], "b4": b[2]},
            **{"v": verb, "is": self.verb(first, False), "bis": self.verb(last, False)},
            bv=self.verb(last, self.says_verb and KINDS[last.kind].family != "person"),
            p=self.pick(self.places((first,) if alone else self.scene.groups)) if has_place else "",
        )
        return " ".join(sentence.split())

    def pick(self, table: Choices) -> str:
        return self.rng.choices(list(table), list(table.values()))[0]

    def verb(self, group: Group, does: bool) -> str:
        """What the group does, or that it is there."""
        verb, _, rest = (self.pick(VERBS[group.kind]) if does else "ist").partition(" ")
        return f"{SEVERAL[verb] if group.count > 1 else verb} {rest}".strip()

    def places(self, said: tuple[Group, ...]) -> Choices:
        place = self.scene.place
        if all(KINDS[group.kind].habitat == "air" for group in said):
            return OVER.get(place, PLACES[place])
        if any(group.kind in ("fish", "swimmer") for group in said):
            return IN_WATER.get(place, PLACES[place])
        return PLACES[place]

    def thing(self, group: Group, does: bool) -> Cases:
        """Number, size, colour and name, as in "zwei kleine rote Hunde" or "ein Mann in Rot", in all cases."""
        family = KINDS[group.kind].family
        # "ein Mann in Rot läuft", but "ein Läufer in Rot": a name that says what somebody does needs no verb.
        name = self.pick(NAMES["person" if family == "person" and does else group.kind])
        gender = NOUNS[name].gender
        singular, plural = decline(name)
        only = group.kind in ("sun", "moon")
        if only and self.rng.random() < 0.75:
            return _join(DEFINITE[gender], singular)
        # Snowmen and clouds have the colour that everybody expects.
        likely = 1.0 if only else 0.2 if family == "weather" else 0.8
        colour = COLOURS[group.colour] if self.rng.random() < likely else ""
        tail = f"in {colour.capitalize()}" if colour and family == "person" else ""
        adjectives = [self.pick(SIZES[group.size]) if self.says_size else "", "" if tail else colour]
        if group.count == 1:
            numbers, endings, names = INDEFINITE[gender], ENDINGS[gender], singular
        else:
            number = self.pick(COUNTS[group.count])
            numbers, endings, names = (number, NUMBERS_IN_DATIVE.get(number, number), number), PLURAL_ENDINGS, plural
        described = [tuple(adjective + ending for ending in endings) for adjective in adjectives if adjective]
        return _join(numbers, *described, names, (tail,) * 3)


def _join(*words: tuple[str, ...]) -> Cases:
    """Phrases in all cases, from their words in all cases."""
    nominative, dative, accusative = (" ".join(" ".join(case).split()) for case in zip(*words, strict=True))
    return nominative, dative, accusative
