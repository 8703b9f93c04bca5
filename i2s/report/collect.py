"""What the page shows of each image, gathered from a test set, one or two systems and the ceilings."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s.archive import Matrices
from i2s.corpus.tables import evenly, read_int_table, read_table
from i2s.errors import UserError
from i2s.files import read_json
from i2s.progress import track
from i2s.report.matches import match_orders
from i2s.report.media import Media
from i2s.report.tables import main_measure, scores_of
from i2s.score.inputs import kind_respoken
from i2s.score.text import Tokeniser

REGION_GRID = 28  # rows and columns on which attention over regions is drawn
MOMENTS = 10  # a second, of attention that goes with the time and not with units


@dataclass
class Attention:
    """Where an image was looked at: `weights` is base64 of uint8 (units, height * width), each unit's largest 255.

    Of speech without units there is a row for each tenth of a second.
    """

    height: int
    width: int
    weights: str


@dataclass
class Take:
    """Speech about an image, by a system or from a ceiling (`key`: "system", "other", "voice", "resynth").

    `heard` is what a recogniser made of it, `words` the same as scored, with the longest matching n-gram of each in
    `orders`; `said` is what was to be said, where known. `ends` are the units' end times as fractions of the speech;
    without units, those of the attention's rows.
    """

    key: str
    title: str
    audio: str
    seconds: float
    spectrogram: str | None
    silent: bool
    heard: str | None = None
    words: list[str] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    said: str | None = None
    units: list[int] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    attention: Attention | None = None
    scores: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass
class Item:
    """One image and all that was said of it, the systems first."""

    image: str
    photo: str
    references: list[str]
    takes: list[Take]


class Spoken:
    """A folder of speech, generated or respoken: the tables in it, each read if it is there."""

    def __init__(self, folder: Path):
        self.wavs = _table(folder / "wav.scp")
        self.mels = _matrices(folder / "feats.scp")
        self.units = _ints(folder / "units")
        self.durations = _ints(folder / "unit_durations")
        self.attention = _matrices(folder / "attention.scp")
        self.failures = _table(folder / "failures")


class System(Spoken):
    """The speech of a system for a test set, with its scores where there are any."""

    def __init__(self, folder: Path, key: str):
        if not (folder / "wav.scp").is_file():
            raise UserError(f"{folder}/wav.scp: no such file; generate speech first (stage 9)")
        super().__init__(folder)
        self.folder, self.key = folder, key
        self.name = "/".join(folder.resolve().parts[-2:])
        self.results = read_json(folder / "results.json", missing_ok=True)
        self.per_image = read_json(folder / "per_image.json", missing_ok=True)


class Source:
    """All that a page is made of: a test set, its systems, ceilings and units (by default those of the scores)."""

    def __init__(
        self,
        data: Path,
        system: Path,
        ceilings: Path | None = None,
        other: Path | None = None,
        unit_dir: Path | None = None,
    ):
        self.systems = [System(system, "system")] + ([System(other, "other")] if other else [])
        if len({s.name for s in self.systems}) < len(self.systems):
            for s in self.systems:
                s.name = str(s.folder)
        scored = self.systems[0].results.get("settings", {})
        ceilings = ceilings or (Path(scored["ceilings"]) if scored.get("ceilings") else None)
        self.unit_dir = unit_dir or (Path(scored["units"]["folder"]) if scored.get("units") else None)

        self.tokenise = Tokeniser.of_scores(scored)
        self.photos = read_table(data / "images.scp")
        self.utterances: dict[str, list[str]] = {}
        for utterance, image in sorted(read_table(data / "utt2image").items()):
            self.utterances.setdefault(image, []).append(utterance)
        self.text = _table(data / "text")
        self.voice = Spoken(data)
        if self.unit_dir:
            self.voice.units = _ints(self.unit_dir / data.name / "units")
            self.voice.durations = _ints(self.unit_dir / data.name / "unit_durations")
        self.resynth = Spoken(ceilings / "resynth") if ceilings else None
        self.again = kind_respoken(ceilings)
        features = read_json(data / "image_feats.json", missing_ok=True)
        self.grid = tuple(features["grid"]) if features.get("grid") else None
        self.regions = _matrices(data / "image_regions.scp")
        self.described = sorted(
            (i for i in self.photos if all(i in s.wavs for s in self.systems)),
            key=str.encode,
        )
        if not self.described:
            folders = " and ".join(f"{s.folder}/wav.scp" for s in self.systems)
            raise UserError(f"{folders}: no image of the data directory in {folders}; is it of another split?")

    def choose(self, count: int) -> list[str]:
        """`count` described images, evenly spaced over the sorted ids: no choice that flatters.

        With them the best, the median and the worst of all by the main measure: successes and failures alike.
        """
        chosen = set(evenly(self.described, count))
        scores = {image: scores_of(self.systems[0].per_image.get(image, {}), "system") for image in self.described}
        measure = main_measure([scores[image] for image in self.described])
        ranked = sorted(
            (image for image in self.described if measure in scores[image]), key=lambda i: scores[i][measure]
        )
        if ranked:
            chosen.update((ranked[0], ranked[len(ranked) // 2], ranked[-1]))
        return [image for image in self.described if image in chosen]


def collect(source: Source, images: list[str], media: Media) -> list[Item]:
    """Gather the items. Their media are named by number: ids may hold any sign."""
    return [
        _item(source, image, media, f"{number:04}")
        for number, image in enumerate(track(images, "report", unit="image"))
    ]


def _item(source: Source, image: str, media: Media, stem: str) -> Item:
    utterances = source.utterances.get(image, [])
    references = {u: source.text[u] for u in utterances if u in source.text}
    takes = []
    for system in source.systems:
        title = "Generated speech" if len(source.systems) == 1 else system.name
        take = _take(system, image, system.key, title, media, stem)
        _look(take, source, system, image)
        take.failure = system.failures.get(image)
        _read_back(take, system.per_image.get(image, {}), "system", list(references.values()), source.tokenise)
        takes.append(take)

    # One recording of the image (the one that the ceilings use, if any), and its units spoken again.
    respoken = [u for u in utterances if source.resynth and u in source.resynth.wavs]
    rows = source.systems[0].per_image.get(image, {})
    for utterance in (respoken or [u for u in utterances if u in source.voice.wavs])[:1]:
        others = [text for u, text in references.items() if u != utterance]
        for key, title, spoken in (
            ("voice", "Reference speech", source.voice),
            ("resynth", f"Reference {source.again}, spoken again", source.resynth),
        ):
            if spoken and utterance in spoken.wavs:
                take = _take(spoken, utterance, key, title, media, stem)
                take.said = references.get(utterance) if key == "voice" else None
                if respoken:
                    _read_back(take, rows, key, others, source.tokenise)
                takes.append(take)
    return Item(image, media.photo(source.photos[image], stem), list(references.values()), takes)


def _take(spoken: Spoken, name: str, key: str, title: str, media: Media, stem: str) -> Take:
    mel = spoken.mels[name] if spoken.mels is not None and name in spoken.mels else None
    sound = media.sound(spoken.wavs[name], mel, f"{stem}-{key}")
    take = Take(key, title, sound.address, sound.seconds, sound.spectrogram, sound.silent)
    take.units = spoken.units.get(name, [])
    take.ends = _ends(spoken.durations.get(name), len(take.units))
    return take


def _read_back(take: Take, rows: dict[str, Any], key: str, references: list[str], tokenise: Tokeniser) -> None:
    """What scoring found in the take: what was heard, how it matches, and its scores."""
    heard = rows.get("captions", {}).get(key)
    if heard:
        take.heard = heard["said"]
        take.words, take.orders = match_orders(heard["said"], references, tokenise)
    take.scores = scores_of(rows, key)


def _ends(durations: list[int] | None, units: int) -> list[float]:
    """The units' end times as fractions of the whole; evenly spaced where durations are not known."""
    if durations is None or len(durations) != units or sum(durations) == 0:
        durations = [1] * units
    return [round(float(end), 4) for end in np.cumsum(durations) / sum(durations)] if units else []


def _look(take: Take, source: Source, system: System, image: str) -> None:
    """Put the attention into the take, if it can be drawn: a row a unit, or a decoder step where there are no units."""
    if system.attention is None or image not in system.attention:
        return
    weights = system.attention[image]
    if source.grid is not None:
        height, width = source.grid
    elif source.regions is not None and image in source.regions:
        height = width = REGION_GRID
        boxes = _cells(source.regions[image])
        if weights.shape[1] != len(boxes):
            return
        weights = weights @ boxes
    else:
        return
    steps = len(take.units) or len(weights)
    if weights.shape != (steps, height * width) or not steps:
        return  # features thinned or pooled after extraction: no grid to draw on
    if not take.units:
        moments = min(steps, max(1, round(take.seconds * MOMENTS)))
        weights = np.stack([part.mean(0) for part in np.array_split(weights, moments)])
        take.ends = _ends(None, moments)
    scaled = 255 * weights / np.maximum(weights.max(1, keepdims=True), 1e-9)
    take.attention = Attention(height, width, base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode())


def _cells(regions: np.ndarray) -> np.ndarray:
    """Which cells of the drawing grid each region covers: (L, cells) of 0 and 1, from (L, 6) with x1 y1 x2 y2 first."""
    centres = (np.arange(REGION_GRID) + 0.5) / REGION_GRID
    x1, y1, x2, y2 = regions[:, :4, None].transpose(1, 0, 2)
    across, down = (centres >= x1) & (centres <= x2), (centres >= y1) & (centres <= y2)
    return (down[:, :, None] & across[:, None, :]).reshape(len(regions), -1).astype(np.float64)


def _matrices(scp: Path) -> Matrices | None:
    return Matrices(scp) if scp.is_file() else None


def _table(path: Path) -> dict[str, str]:
    return read_table(path, allow_empty_value=True) if path.is_file() else {}


def _ints(path: Path) -> dict[str, list[int]]:
    return read_int_table(path) if path.is_file() else {}
