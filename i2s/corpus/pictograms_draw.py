"""Draw a scene: a painted background, and pictograms of the icon font Font Awesome Free (pip: fontawesomefree)."""

from __future__ import annotations

import functools
import json
import math
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from i2s.corpus.pictograms_scene import KINDS, WALLS, Group, Scene
from i2s.errors import UserError

SIDE = 224
RGB = tuple[int, int, int]
Spot = tuple[float, float, float]  # a pictogram's centre x and y and its widest side, in pixels
FEET = 0.36  # how far below its centre a pictogram stands, as a share of its widest side
PAINT: dict[str, RGB] = {
    "red": (222, 20, 28),
    "yellow": (255, 225, 0),
    "green": (10, 150, 40),
    "blue": (20, 70, 235),
    "black": (12, 12, 12),
    "white": (255, 255, 255),
}
WALL: dict[str, RGB] = {"grey wall": (165, 168, 172), "pink wall": (255, 182, 205), "yellow wall": (255, 240, 150)}
# place: sky at the top, sky at the horizon, ground at the horizon, ground at the bottom
LANDSCAPE: dict[str, tuple[RGB, RGB, RGB, RGB]] = {
    "meadow": ((120, 190, 250), (205, 232, 255), (120, 200, 80), (80, 165, 50)),
    "snow": ((170, 190, 210), (205, 218, 230), (246, 250, 255), (228, 238, 248)),
    "desert": ((150, 205, 240), (235, 240, 235), (240, 208, 140), (222, 180, 105)),
    "street": ((176, 196, 212), (212, 222, 228), (112, 112, 118), (88, 88, 94)),
    "night": ((6, 8, 34), (22, 28, 78), (16, 30, 34), (10, 20, 24)),
    "sunset": ((96, 50, 130), (255, 150, 70), (88, 52, 46), (60, 36, 36)),
    "sea": ((165, 215, 245), (220, 240, 250), (50, 130, 205), (18, 82, 165)),
    "sky": ((95, 172, 245), (195, 228, 252), (195, 228, 252), (195, 228, 252)),
}
# Widest side in pixels, by how much of the picture a group has, how many it holds, and its size.
SIZES = {
    ("whole", 1): {"small": 68, "medium": 108, "big": 160},
    ("whole", 2): {"medium": 90},
    ("whole", 3): {"medium": 66},
    ("half", 1): {"small": 56, "medium": 80, "big": 104},
    ("half", 2): {"medium": 60},
}


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """The scene as an RGB image of 224 x 224 pixels; places, sizes, shades and directions vary with `rng`."""
    horizon = _horizon(scene, rng)
    image = _background(scene.place, horizon, rng)
    placed = list(zip(scene.groups, layout(scene, horizon, rng), strict=True))
    if scene.relation == "in front of":  # what is behind is painted first
        placed.reverse()
    for group, spots in placed:
        mirror = rng.random() < 0.5
        paint = _shade(PAINT[group.colour] if group.kind != "cloud" else (70, 74, 84), rng, 10)
        for x, y, size in spots:
            _stamp(image, group, paint, (x, y), size, mirror)
    return image


def _horizon(scene: Scene, rng: random.Random) -> float:
    if scene.place == "sky":
        return SIDE
    if scene.place == "sea" and KINDS[scene.groups[0].kind].habitat == "water":
        return rng.uniform(0.25, 0.36) * SIDE
    return rng.uniform(0.5, 0.6) * SIDE


def layout(scene: Scene, horizon: float, rng: random.Random) -> list[list[Spot]]:
    """Where every pictogram of every group goes, all inside the picture; `horizon` is the y of the ground's edge."""
    place = {None: _alone, "left of": _left_of, "above": _above, "in front of": _in_front_of}[scene.relation]

    def inside(centre: float, size: float) -> float:
        return min(max(centre, size / 2 + 1), SIDE - size / 2 - 1)

    return [[(inside(x, size), inside(y, size), size) for x, y, size in spots] for spots in place(scene, horizon, rng)]


def _alone(scene: Scene, horizon: float, rng: random.Random) -> list[list[Spot]]:
    group = scene.groups[0]
    size = _side(group, "whole", rng)
    if group.count == 1:
        free = min(45.0, max(0.0, (SIDE - size) / 2 - 8))
        return [[(SIDE / 2 + _jitter(rng, free), _height(scene, group, size, horizon, rng), size)]]
    step = SIDE / group.count
    y = _height(scene, group, size, horizon, rng)
    return [[(step * (i + 0.5) + _jitter(rng, 2), y + _jitter(rng, 9), size) for i in range(group.count)]]


def _left_of(scene: Scene, horizon: float, rng: random.Random) -> list[list[Spot]]:
    sizes = [_side(group, "half", rng) for group in scene.groups]
    pairs = list(zip(scene.groups, sizes, strict=True))
    feet = max(_height(scene, group, size, horizon, rng) + FEET * size for group, size in pairs)
    return [
        _stack(group, (0.26 + 0.48 * i) * SIDE + _jitter(rng, 3), feet - FEET * size, size)
        for i, (group, size) in enumerate(pairs)
    ]


def _above(scene: Scene, horizon: float, rng: random.Random) -> list[list[Spot]]:
    upper, lower = (_side(group, "half", rng) for group in scene.groups)
    x = SIDE / 2 + _jitter(rng, 30)
    low = SIDE - lower / 2 - 8 + _jitter(rng, 5)
    high = upper / 2 + 8 + _jitter(rng, 4)
    shrink = min(1.0, (low - lower / 2 - 6) / (high + upper / 2))  # so that they never touch
    return [
        _row(scene.groups[0], x + _jitter(rng, 16), high * shrink, upper * shrink),
        _row(scene.groups[1], x + _jitter(rng, 16), low, lower),
    ]


def _in_front_of(scene: Scene, horizon: float, rng: random.Random) -> list[list[Spot]]:
    back, front = rng.uniform(140, 156), rng.uniform(66, 76)
    x = SIDE / 2 + _jitter(rng, 18)
    base = SIDE - 42 + _jitter(rng, 5)
    return [[(x + _jitter(rng, 24), base + 24 - 0.4 * front, front)], [(x, base - 0.45 * back, back)]]


def _jitter(rng: random.Random, amount: float) -> float:
    return rng.uniform(-amount, amount)


def _side(group: Group, room: str, rng: random.Random) -> float:
    return SIZES[room, group.count][group.size] * rng.uniform(0.96, 1.04)


def _height(scene: Scene, group: Group, size: float, horizon: float, rng: random.Random) -> float:
    """The centre's y: before a wall, in the sky, in the water or with the feet on the ground."""
    if scene.place in WALLS or scene.place == "sky":
        return SIDE / 2 + _jitter(rng, 20 if size < 120 else 6)
    if KINDS[group.kind].habitat == "air":
        return max(size / 2 + 6, 0.3 * SIDE + _jitter(rng, 14))
    if KINDS[group.kind].habitat == "water":
        return min((horizon + SIDE) / 2 + _jitter(rng, 10), SIDE - size / 2 - 4)
    return min(max(horizon + 34, SIDE / 2 + FEET * size) + _jitter(rng, 8), SIDE - 6) - FEET * size


def _row(group: Group, x: float, y: float, size: float) -> list[Spot]:
    """A group side by side around (x, y), inside the picture."""
    half = group.count * size * 0.55
    x = min(max(x, half + 2), SIDE - half - 2)
    return [(x + (i - (group.count - 1) / 2) * size * 1.12, y, size) for i in range(group.count)]


def _stack(group: Group, x: float, y: float, size: float) -> list[Spot]:
    """A group in half the width: two are set one above the other, a little askew."""
    if group.count == 1:
        return [(x, y, size)]
    y = max(min(y, SIDE - size - 3), size + 3)
    return [(x - 16, y - size * 0.5, size), (x + 16, y + size * 0.5, size)]


def _background(place: str, horizon: float, rng: random.Random) -> Image.Image:
    rows = np.arange(SIDE, dtype=np.float32)[:, None]
    if place in WALL:
        wall = np.asarray(_shade(WALL[place], rng, 8), np.float32)
        shade = (rows / SIDE - 0.5) * rng.uniform(-24, 24)
        return _image(np.broadcast_to(wall + shade, (SIDE, 3)))
    top, low, near, bottom = (np.asarray(_shade(c, rng, 6), np.float32) for c in LANDSCAPE[place])
    sky = top + (low - top) * np.clip(rows / horizon, 0, 1)
    ground = near + (bottom - near) * np.clip((rows - horizon) / max(SIDE - horizon, 1), 0, 1)
    image = _image(np.where(rows < horizon, sky, ground))
    _decorate(ImageDraw.Draw(image), place, horizon, rng)
    return image


def _image(rows: np.ndarray) -> Image.Image:
    """Rows of one colour each, (224, 3), as an image."""
    return Image.fromarray(np.repeat(np.clip(rows, 0, 255).astype(np.uint8)[:, None], SIDE, axis=1))


def _decorate(draw: ImageDraw.ImageDraw, place: str, horizon: float, rng: random.Random) -> None:
    """Grass, waves, stars, flakes, dunes or the line of a road."""
    spots = [(rng.uniform(0, SIDE), rng.random()) for _ in range(60)]
    down = [(x, horizon + 6 + y * (SIDE - horizon - 8)) for x, y in spots]
    if place == "meadow":
        for x, y in down:
            draw.line((x, y, x + rng.uniform(-3, 3), y - 5), fill=(60, 140, 40))
    elif place == "sea":
        for x, y in down[:26]:
            draw.arc((x - 9, y - 4, x + 9, y + 5), 20, 160, fill=(120, 190, 235), width=2)
    elif place == "snow":
        for x, y in spots:
            draw.ellipse((x, y * SIDE, x + 3, y * SIDE + 3), fill=(255, 255, 255))
    elif place == "night":
        for x, y in spots[:45]:
            draw.ellipse((x, y * horizon, x + 1.6, y * horizon + 1.6), fill=(235, 235, 200))
    elif place == "desert":
        for x, y in down[:14]:
            draw.arc((x - 22, y - 4, x + 22, y + 10), 200, 340, fill=(205, 160, 88), width=2)
    elif place == "street":
        middle = (horizon + SIDE) / 2 + 10
        for x in range(-20, SIDE, 44):
            draw.rectangle((x, middle, x + 24, middle + 5), fill=(240, 240, 235))
        draw.rectangle((0, horizon, SIDE, horizon + 6), fill=(190, 190, 190))
    elif place == "sunset":
        draw.ellipse((0.68 * SIDE, horizon - 22, 0.68 * SIDE + 44, horizon + 22), fill=(255, 205, 110))
        draw.rectangle((0, horizon, SIDE, horizon + 24), fill=(88, 52, 46))


def _shade(colour: RGB, rng: random.Random, amount: int) -> RGB:
    red, green, blue = (min(255, max(0, c + rng.randint(-amount, amount))) for c in colour)
    return red, green, blue


def _stamp(
    image: Image.Image, group: Group, paint: RGB, centre: tuple[float, float], size: float, mirror: bool
) -> None:
    """Paint one pictogram with a thin outline, so that it stands out from any background."""
    dark = sum(paint) < 255
    for mask, colour in zip(
        _masks(KINDS[group.kind].icon, round(size), mirror),
        ((235, 235, 235) if dark else (25, 25, 25), paint),
        strict=True,
    ):
        corner = (round(centre[0] - mask.width / 2), round(centre[1] - mask.height / 2))
        image.paste(colour, corner, mask)


@functools.lru_cache(maxsize=4096)
def _masks(icon: str, size: int, mirror: bool) -> tuple[Image.Image, Image.Image]:
    """Outline and body of an icon as grey masks of the same shape, its widest side `size` pixels."""
    glyph = chr(_codepoint(icon))
    left, top, right, bottom = _font(100).getbbox(glyph)
    font = _font(max(8, round(100 * size / max(right - left, bottom - top))))
    margin = 3
    left, top, right, bottom = (math.floor(v) for v in font.getbbox(glyph))
    masks = []
    for stroke in (2, 0):
        mask = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
        ImageDraw.Draw(mask).text((margin - left, margin - top), glyph, font=font, fill=255, stroke_width=stroke)
        masks.append(mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else mask)
    return masks[0], masks[1]


def _package() -> Path:
    spec = find_spec("fontawesomefree")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the icon font is missing; install it: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "static" / "fontawesomefree"


@functools.cache
def _codepoints() -> dict[str, int]:
    icons = json.loads((_package() / "metadata" / "icons.json").read_text(encoding="utf-8"))
    return {name: int(icon["unicode"], 16) for name, icon in icons.items() if "solid" in icon["styles"]}


def _codepoint(icon: str) -> int:
    if icon not in _codepoints():
        raise UserError(f"the icon font has no {icon}; install the version of requirements.txt")
    return _codepoints()[icon]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_package() / "webfonts" / "fa-solid-900.ttf"), size)
