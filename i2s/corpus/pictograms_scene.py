"""Scenes of the embedded corpus: what may stand where, in which colour and number, and what is kept for testing.

A scene is one or two groups of equal pictograms in a place. Some combinations of a thing and its colour, and of two
things and their relation, belong to `dev` or to `test` alone (`owner`): training never shows them, though it shows
every thing, every colour and every relation. Which ones is fixed by a rule, whatever the seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

COLOURS = ("red", "yellow", "green", "blue", "black", "white")
RELATIONS = ("left of", "above", "in front of")
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Place:
    """A background: who can be there, and the colours that could not be told from it."""

    habitats: tuple[str, ...]
    hides: tuple[str, ...] = ()
    frequency: float = 1.0


LAND, ANYWHERE = ("ground", "air"), ("ground", "water", "air")
PLACES = {
    "meadow": Place(LAND, ("green",)),
    "snow": Place(LAND, ("white",)),
    "desert": Place(LAND, ("yellow",)),
    "street": Place(LAND, ("black",)),
    "night": Place(LAND, ("black", "blue")),
    "sunset": Place(LAND, ("red", "black")),
    "sea": Place(("water", "air"), ("blue",), 1.5),
    "sky": Place(("air",), ("blue",), 0.7),
    "grey wall": Place(ANYWHERE, (), 0.5),
    "pink wall": Place(ANYWHERE, ("red",), 0.5),
    "yellow wall": Place(ANYWHERE, ("yellow", "white"), 0.5),
}
WALLS = tuple(name for name in PLACES if name.endswith("wall"))


@dataclass(frozen=True)
class Kind:
    """A thing that can be drawn: its icon in Font Awesome, where it lives, what it is.

    `frequency` evens out how often things are seen: those that suit few places come up more often there.
    """

    icon: str
    habitat: str
    family: str
    frequency: float = 1.0
    colours: tuple[str, ...] = COLOURS
    places: tuple[str, ...] = tuple(PLACES)


KINDS = {
    "dog": Kind("dog", "ground", "animal"),
    "cat": Kind("cat", "ground", "animal"),
    "horse": Kind("horse", "ground", "animal"),
    "cow": Kind("cow", "ground", "animal"),
    "frog": Kind("frog", "ground", "animal"),
    "spider": Kind("spider", "ground", "animal"),
    "fish": Kind("fish", "water", "animal", 2.5),
    "bird": Kind("dove", "air", "animal", 0.6),
    "car": Kind("car-side", "ground", "vehicle"),
    "truck": Kind("truck", "ground", "vehicle"),
    "bike": Kind("bicycle", "ground", "vehicle"),
    "boat": Kind("sailboat", "water", "vehicle", 2.5),
    "plane": Kind("plane", "air", "vehicle", 0.6),
    "helicopter": Kind("helicopter", "air", "vehicle", 0.6),
    "rocket": Kind("rocket", "air", "vehicle", 0.6),
    "house": Kind("house", "ground", "building", 0.8),
    "church": Kind("church", "ground", "building", 0.8),
    "tent": Kind("tent", "ground", "building", 0.8),
    "tree": Kind("tree", "ground", "building", 0.8),
    "runner": Kind("person-running", "ground", "person"),
    "cyclist": Kind("person-biking", "ground", "person"),
    "skier": Kind("person-skiing", "ground", "person", 9.0, places=("snow",)),
    "swimmer": Kind("person-swimming", "water", "person", 2.5, places=("sea",)),
    "sun": Kind("sun", "air", "weather", 0.3, ("yellow",), ("meadow", "snow", "street", "sea", "sky")),
    "moon": Kind("moon", "air", "weather", 1.0, ("white",), ("night",)),
    "cloud": Kind("cloud-showers-heavy", "air", "weather", 0.4, ("black",), ("meadow", "street", "sea", "sky")),
    "snowman": Kind("snowman", "ground", "weather", 1.2, ("white",), ("snow",)),
}


@dataclass(frozen=True)
class Group:
    """`count` equal pictograms side by side; `size` is small, medium or big."""

    kind: str
    colour: str
    count: int
    size: str


@dataclass(frozen=True)
class Scene:
    """One group, or two in a relation: the first is left of, above or in front of the second."""

    place: str
    groups: tuple[Group, ...]
    relation: str | None = None


def combinations(scene: Scene) -> list[tuple[str, ...]]:
    """What a scene combines: (thing, colour) of each group, and (thing, relation, thing) of a pair."""
    found: list[tuple[str, ...]] = [(g.kind, g.colour) for g in scene.groups]
    if scene.relation:
        found.append((scene.groups[0].kind, scene.relation, scene.groups[1].kind))
    return found


def owner(combination: tuple[str, ...]) -> str:
    """The only split that may show this combination, or "train" where all may.

    Arithmetic on places in the tables, rather than chance, so that every thing keeps at least four of the six colours
    for training and no thing, colour or relation is missing from it. Things of a fixed colour are in every split.
    """
    names = list(KINDS)
    if len(combination) == 2:
        kind, colour = combination
        if len(KINDS[kind].colours) < len(COLOURS):
            return "train"
        rest = (3 * names.index(kind) + COLOURS.index(colour)) % 8
    else:
        first, relation, second = combination
        rest = (5 * names.index(first) + 3 * names.index(second) + RELATIONS.index(relation)) % 7
    return {0: "test", 1: "dev"}.get(rest, "train")


def belongs(scene: Scene, split: str) -> bool:
    """Whether a split may show the scene: dev and test scenes hold a combination of their own, and none another's."""
    owners = {owner(combination) for combination in combinations(scene)} - {"train"}
    return owners == ({split} - {"train"})


def sample_scene(rng: random.Random, split: str) -> Scene:
    """Draw a scene that belongs to `split`: every random choice from `rng`, until one fits."""
    while True:
        # Place and relation are drawn first, once: those that fit few things must not be lost to those that fit more.
        place = rng.choices(list(PLACES), [place.frequency for place in PLACES.values()])[0]
        relation = rng.choices((None, *RELATIONS), (40, 25, 20, 15))[0]
        for _ in range(1000):
            scene = _propose(rng, place, relation)
            if scene is not None and belongs(scene, split):
                return scene


def _propose(rng: random.Random, place: str, relation: str | None) -> Scene | None:
    """A random scene, or None where the random choices do not go together."""
    kinds = rng.choices(list(KINDS), [kind.frequency for kind in KINDS.values()], k=2 if relation else 1)
    colours = [rng.choice(KINDS[kind].colours) for kind in kinds]
    if len(set(kinds)) < len(kinds) or len(set(colours)) < len(colours):
        return None
    if not all(_fits(kind, colour, place) for kind, colour in zip(kinds, colours, strict=True)):
        return None
    if relation and not (place in WALLS and relation == "above") and not _goes_together(relation, *kinds):
        return None
    counts = [1, 1]
    if relation is None:
        counts = rng.choices((1, 2, 3), (45, 30, 25))
    elif relation != "in front of":
        counts = rng.choices(([1, 1], [2, 1], [1, 2]), (7, 2, 1))[0]
    groups = []
    for kind, colour, count in zip(kinds, colours, counts, strict=False):
        family = KINDS[kind].family
        count = 1 if family == "weather" else count
        # Nobody calls a person small for being drawn small, and groups are not compared with anything.
        sized = count == 1 and family not in ("weather", "person") and relation != "in front of"
        size = rng.choices(("small", "medium", "big"), (25, 45, 30))[0] if sized else "medium"
        groups.append(Group(kind, colour, count, size))
    return Scene(place, tuple(groups), relation)


def _fits(kind: str, colour: str, place: str) -> bool:
    """Whether a thing of this colour can be, and be seen, in this place."""
    known, where = KINDS[kind], PLACES[place]
    visible = colour not in where.hides or len(known.colours) == 1
    return place in known.places and known.habitat in where.habitats and visible


def _goes_together(relation: str, first: str, second: str) -> bool:
    """Whether two things stand so in the real world; on a wall, anything can be above anything."""
    a, b = KINDS[first], KINDS[second]
    if relation == "above":
        return a.habitat == "air" and b.habitat != "air"
    if relation == "in front of":
        return a.habitat == "ground" and a.family not in ("building", "weather") and b.family == "building"
    return a.habitat == b.habitat and (a.habitat == "ground" or "weather" not in (a.family, b.family))
