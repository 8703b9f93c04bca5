"""Captions of a scene, as five people might say them: other words, another order, more or less detail.

Every choice below is a table of (words, weight). One choice is usually much likelier than the rest, as it is when
people describe a picture, so that the five captions agree on the main words without being the same.
"""

from __future__ import annotations

import random

from i2s.corpus.pictograms_scene import COLOURS, KINDS, WALLS, Group, Scene

CAPTIONS = 5
SHORTEST, LONGEST = 6, 14  # words
Choices = dict[str, float]


NOUNS: dict[str, Choices] = {
    "dog": {"dog": 5, "puppy": 1},
    "cat": {"cat": 5, "kitten": 1},
    "horse": {"horse": 5, "pony": 1},
    "cow": {"cow": 1},
    "frog": {"frog": 8, "toad": 1},
    "spider": {"spider": 1},
    "fish": {"fish": 1},
    "bird": {"bird": 5, "dove": 1},
    "car": {"car": 1},
    "truck": {"truck": 5, "van": 1},
    "bike": {"bike": 3, "bicycle": 2},
    "boat": {"boat": 2, "sailboat": 3},
    "plane": {"plane": 3, "airplane": 2},
    "helicopter": {"helicopter": 1},
    "rocket": {"rocket": 4, "spaceship": 1},
    "house": {"house": 5, "home": 0.5},
    "church": {"church": 1},
    "tent": {"tent": 1},
    "tree": {"tree": 4, "pine tree": 1},
    "person": {"man": 3, "person": 3, "boy": 1},
    "runner": {"runner": 1},
    "cyclist": {"cyclist": 1},
    "skier": {"skier": 1},
    "swimmer": {"swimmer": 1},
    "sun": {"sun": 1},
    "moon": {"moon": 1},
    "cloud": {"rain cloud": 2, "cloud": 2},
    "snowman": {"snowman": 1},
}
PLURALS = {
    "puppy": "puppies",
    "pony": "ponies",
    "fish": "fish",
    "church": "churches",
    "man": "men",
    "person": "people",
}
VERBS: dict[str, Choices] = {
    "dog": {"standing": 3, "walking": 1},
    "cat": {"sitting": 4, "resting": 1},
    "horse": {"standing": 3, "walking": 1},
    "cow": {"standing": 3, "eating": 1},
    "frog": {"sitting": 4, "resting": 1},
    "spider": {"crawling": 3, "sitting": 1},
    "fish": {"swimming": 1},
    "bird": {"flying": 1},
    "car": {"driving": 1, "parked": 2},
    "truck": {"driving": 1, "parked": 2},
    "bike": {"parked": 2, "standing": 1},
    "boat": {"sailing": 3, "floating": 1},
    "plane": {"flying": 1},
    "helicopter": {"flying": 3, "hovering": 1},
    "rocket": {"flying": 1},
    "house": {"standing": 1},
    "church": {"standing": 1},
    "tent": {"standing": 1},
    "tree": {"standing": 2, "growing": 1},
    "runner": {"running": 5, "jogging": 1},
    "cyclist": {"riding a bike": 3, "riding a bicycle": 1},
    "skier": {"skiing": 5, "skiing down a hill": 1},
    "swimmer": {"swimming": 1},
    "sun": {"shining": 1},
    "moon": {"shining": 1},
    "cloud": {"floating": 1},
    "snowman": {"standing": 1},
}
SEVERAL = {"riding a bike": "riding bikes", "riding a bicycle": "riding bicycles"}
INDEFINITE = {"the sun": "a yellow sun", "the moon": "a white moon"}
SIZES: dict[str, Choices] = {
    "small": {"small": 3, "little": 2, "tiny": 0.5},
    "medium": {"": 1},
    "big": {"big": 3, "large": 2, "huge": 0.5},
}
COUNTS: dict[int, Choices] = {
    1: {"a": 1},
    2: {"two": 7, "a pair of": 1, "a couple of": 1},
    3: {"three": 7, "a group of": 1, "some": 1},
}
PLACES: dict[str, Choices] = {
    "meadow": {"in the grass": 3, "in a green field": 3, "on the grass": 2, "in a meadow": 1},
    "snow": {"in the snow": 5, "on a snowy day": 2, "in winter": 1},
    "desert": {"in the desert": 4, "on the sand": 2, "in the sand": 1},
    "street": {"on the street": 3, "on the road": 3, "on a city street": 1},
    "night": {"at night": 4, "under the stars": 2, "in the dark": 2},
    "sunset": {"at sunset": 4, "in the evening": 2, "as the sun goes down": 1},
    "sea": {"on the water": 3, "on the sea": 3, "on the ocean": 1},
    "sky": {"in the sky": 3, "in the blue sky": 3, "in the air": 1, "high in the sky": 1},
    "grey wall": {"on a gray background": 4, "in front of a gray wall": 2},
    "pink wall": {"on a pink background": 4, "in front of a pink wall": 2},
    "yellow wall": {"on a yellow background": 4, "in front of a yellow wall": 2},
}
# Something may be in the water, or in the air over the ground, rather than on it.
IN_WATER: dict[str, Choices] = {"sea": {"in the water": 3, "in the sea": 3, "in the ocean": 1}}
OVER: dict[str, Choices] = {
    "meadow": {"over the grass": 3, "over a green field": 3},
    "snow": {"over the snow": 4, "in the snow": 1},
    "desert": {"over the desert": 4, "over the sand": 2},
    "street": {"over the street": 3, "over the road": 3},
    "sea": {"over the water": 3, "over the sea": 3, "over the ocean": 1},
}
ALONE: Choices = {
    "{a} {v} {p}": 6,
    "{a} {is} {v} {p}": 5,
    "there {is} {a} {p}": 3,
    "there {is} {a} {v} {p}": 2,
    "{p} there {is} {a}": 1,
    "i can see {a} {p}": 1,
    "a picture of {a} {p}": 1,
}
RELATED: dict[str, Choices] = {
    "left of": {
        "{a} {v} next to {b} {p}": 5,
        "{a} {is} next to {b} {p}": 2,
        "{a} to the left of {b} {p}": 3,
        "{a} {is} to the left of {b} {p}": 2,
        "{a} on the left and {b} on the right": 1,
        "{b} to the right of {a} {p}": 2,
        "{b} next to {a} {p}": 1,
        "{a} {v} beside {b} {p}": 2,
        "{a} and {b} {p}": 2,
        "there {is} {a} next to {b} {p}": 1,
        "i can see {a} and {b} {p}": 1,
    },
    "above": {
        "{a} {v} above {b} {p}": 5,
        "{a} {v} over {b} {p}": 4,
        "{a} {is} {v} over {b} {p}": 2,
        "{a} {is} above {b} {p}": 2,
        "{b} below {a} {p}": 1,
        "{b} under {a} {p}": 2,
        "there {is} {a} above {b} {p}": 1,
        "i can see {a} over {b} {p}": 1,
    },
    "in front of": {
        "{a} {v} in front of {b} {p}": 5,
        "{a} {is} {v} in front of {b} {p}": 3,
        "{a} {is} in front of {b} {p}": 2,
        "there {is} {a} in front of {b} {p}": 2,
        "{b} behind {a} {p}": 2,
        "i can see {a} in front of {b} {p}": 1,
    },
}


def write_captions(scene: Scene, rng: random.Random) -> list[str]:
    """Five different captions of 6 to 14 lower-case words, each by another person with habits of their own."""
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        caption = _Person(scene, rng).caption()
        if SHORTEST <= len(caption.split()) <= LONGEST and caption not in captions:
            captions.append(caption)
    return captions


def vocabulary() -> set[str]:
    """Every word that a caption can hold."""
    texts: list[str] = [*PLURALS.values(), *SEVERAL.values(), *INDEFINITE.values(), *COLOURS, "an", "in", "is", "are"]
    tables: list[dict[str, Choices]] = [NOUNS, VERBS, SIZES, PLACES, IN_WATER, OVER, RELATED]
    for table in [ALONE, *COUNTS.values(), *(table for group in tables for table in group.values())]:
        texts += table
    several = [table for name, table in NOUNS.items() if name not in KINDS or KINDS[name].family != "weather"]
    texts += [noun + "s" for table in several for noun in table if noun not in PLURALS]
    return {word for text in texts for word in text.split() if not word.startswith("{")}


class _Person:
    """Says one caption: decides first what to leave out, then how to say the rest."""

    def __init__(self, scene: Scene, rng: random.Random):
        self.scene, self.rng = scene, rng
        self.says_size = rng.random() < 0.6
        self.says_place = rng.random() < (0.9 if scene.relation is None else 0.5)
        # On a wall nothing drives or sits: it is just there.
        self.says_verb = rng.random() < (0.1 if scene.place in WALLS else 0.9)

    def caption(self) -> str:
        first, last = self.scene.groups[0], self.scene.groups[-1]
        # Some look at one thing only.
        alone = self.scene.relation is None or self.rng.random() < 0.1
        form = self.pick(ALONE if alone else RELATED[str(self.scene.relation)])
        has_verb = "{v}" in form and (self.says_verb or KINDS[first.kind].family == "person")
        # "a dog is" needs more.
        has_place = self.says_place or form.startswith("{p}") or (alone and "{is} {v}" in form and not has_verb)
        a, b = self.thing(first, has_verb), self.thing(last, False)
        if "there {is}" in form:
            a = INDEFINITE.get(a, a)
        text = form.format(
            a=a,
            b=b,
            v=self.verb(first) if has_verb else "",
            p=self.pick(self.places()) if has_place else "",
            **{"is": "is" if a.split()[0] in ("a", "an", "the") and not a.startswith("a couple") else "are"},
        )
        return " ".join(text.split())

    def pick(self, table: Choices) -> str:
        return self.rng.choices(list(table), list(table.values()))[0]

    def verb(self, group: Group) -> str:
        verb = self.pick(VERBS[group.kind])
        return SEVERAL.get(verb, verb) if group.count > 1 else verb

    def places(self) -> Choices:
        place = self.scene.place
        if all(KINDS[g.kind].habitat == "air" for g in self.scene.groups):
            return OVER.get(place, PLACES[place])
        if self.scene.groups[0].kind in ("fish", "swimmer"):
            return IN_WATER.get(place, PLACES[place])
        return PLACES[place]

    def thing(self, group: Group, has_verb: bool) -> str:
        """Number, size, colour and name, as in "two small red dogs" or "a man in red"."""
        family = KINDS[group.kind].family
        if group.kind in ("sun", "moon"):
            return self.pick({f"the {group.kind}": 3, f"a {group.colour} {group.kind}": 1})
        # Snowmen and clouds have the colour that everybody expects.
        colour = group.colour if self.rng.random() < (0.2 if family == "weather" else 0.8) else ""
        # "a man in red running", but "a runner in red": a name that says what somebody does needs no verb.
        nouns = NOUNS["person"] if family == "person" and has_verb else NOUNS[group.kind]
        name = self.pick(nouns)
        if group.count > 1:
            name = PLURALS.get(name, name + "s")
        size = self.pick(SIZES[group.size]) if self.says_size else ""
        words = [self.pick(COUNTS[group.count]), size]
        words += [name, f"in {colour}" if colour else ""] if family == "person" else [colour, name]
        text = " ".join(" ".join(words).split())
        return "an" + text[1:] if text.startswith("a ") and text[2] in "aeiou" else text
