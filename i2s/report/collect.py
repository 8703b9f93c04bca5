"""What the report shows of each image, and the media files beside the page."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import soundfile
from PIL import Image

from i2s.archive import Matrices
from i2s.audio import read_wav
from i2s.corpus.tables import read_int_table, read_table
from i2s.errors import UserError
from i2s.images import open_image
from i2s.progress import track

PHOTO_SIZE = 448  # longest side in pixels
REGION_GRID = 28  # rows and columns on which attention over regions is drawn


@dataclass
class Audio:
    """Speech in the report: paths relative to the page; `heard` is what a recogniser made of it."""

    title: str
    path: str
    spectrogram: str | None = None
    heard: str | None = None
    caption: str | None = None


@dataclass
class Attention:
    """Where an image was looked at: `weights` is base64 of uint8 (units, height * width), each unit's largest 255."""

    height: int
    width: int
    weights: str


@dataclass
class Item:
    """One image and all that was said of it. `ends` are the units' end times as fractions of the speech."""

    image: str
    photo: str
    speech: Audio | None
    others: list[Audio] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    attention: Attention | None = None
    scores: dict[str, float] = field(default_factory=dict)
    failure: str | None = None


class Source:
    """The tables of a test set and of a system's folder, each read if it is there."""

    def __init__(self, data: Path, system: Path, ceilings: Path | None):
        self.system = system
        self.results = _json(system / "results.json")
        # Scoring noted which ceilings and units it used.
        scored = self.results.get("settings", {})
        ceilings = ceilings or (Path(scored["ceilings"]) if scored.get("ceilings") else None)
        self.unit_dir = Path(scored["units"]["folder"]) if "units" in scored else None
        self.photos = read_table(data / "images.scp")
        self.speech = read_table(system / "wav.scp")
        self.mels = _matrices(system / "feats.scp")
        self.attention = _matrices(system / "attention.scp")
        self.units = _ints(system / "units")
        self.durations = _ints(system / "unit_durations")
        self.failures = _table(system / "failures")
        self.per_image = _json(system / "per_image.json")
        features = _json(data / "image_feats.json")
        self.regions = _matrices(data / "image_regions.scp")
        self.grid = tuple(features["grid"]) if features.get("grid") else None
        self.utterances: dict[str, list[str]] = {}
        for utterance, image in sorted(read_table(data / "utt2image").items()):
            self.utterances.setdefault(image, []).append(utterance)
        self.text = _table(data / "text")
        self.recordings = _table(data / "wav.scp")
        self.recorded_mels = _matrices(data / "feats.scp")
        self.respoken = _table(ceilings / "resynth" / "wav.scp") if ceilings else {}
        self.respoken_mels = _matrices(ceilings / "resynth" / "feats.scp") if ceilings else None

    def choose(self, count: int) -> list[str]:
        """`count` described images, evenly spaced over the sorted ids: no choice that flatters."""
        images = sorted((i for i in self.photos if i in self.speech), key=str.encode)
        if not images:
            raise UserError(f"{self.system}/wav.scp names no image of the data directory; is it of another split?")
        count = min(count, len(images))
        return [images[i * len(images) // count] for i in range(count)]


def collect(source: Source, images: list[str], folder: Path) -> list[Item]:
    """Gather the items and write their media to `folder`/media, named by number: ids may hold any sign."""
    media = folder / "media"
    media.mkdir()
    return [_item(source, image, media, number) for number, image in enumerate(track(images, "report", unit="image"))]


def copy_plots(units: Path | None, folder: Path) -> list[tuple[str, str]]:
    """Copy the unit statistics' plots; returns (title, path) of each."""
    plots = sorted(units.glob("*.png")) if units and units.is_dir() else []
    for plot in plots:
        shutil.copyfile(plot, folder / "media" / plot.name)
    return [(plot.stem.replace("_", " "), f"media/{plot.name}") for plot in plots]


def _item(source: Source, image: str, media: Path, number: int) -> Item:
    stem = f"{number:04}"
    photo = open_image(source.photos[image])
    photo.thumbnail((PHOTO_SIZE, PHOTO_SIZE))
    photo.save(media / f"{stem}.jpg", quality=85)

    rows = source.per_image.get(image, {}).get("captions", {})
    heard = {key: rows[key]["said"] for key in rows}
    item = Item(image, f"media/{stem}.jpg", None, failure=source.failures.get(image))
    mel = source.mels[image] if source.mels is not None and image in source.mels else None
    item.speech = _audio("generated speech", source.speech[image], media, f"{stem}-generated", mel)
    item.speech.heard = heard.get("system")
    item.scores = rows["system"]["scores"] if "system" in rows else {}
    if not item.scores:
        item.scores = source.per_image.get(image, {}).get("units", {}).get("system", {}).get("scores", {})

    item.units = source.units.get(image, [])
    item.ends = _ends(source.durations.get(image), len(item.units))
    item.attention = _attention(source, image, len(item.units))
    utterances = source.utterances.get(image, [])
    item.references = [source.text[u] for u in utterances if u in source.text]
    _add_recordings(source, item, utterances, media, stem, heard)
    return item


def _add_recordings(
    source: Source, item: Item, utterances: list[str], media: Path, stem: str, heard: dict[str, str]
) -> None:
    """One recording of the image (the one that the ceilings use, if any), and its units spoken again."""
    respoken = [u for u in utterances if u in source.respoken]
    for utterance in (respoken or [u for u in utterances if u in source.recordings])[:1]:
        caption = source.text.get(utterance)
        for title, key, wavs, mels in (
            ("reference speech", "voice", source.recordings, source.recorded_mels),
            ("reference units, spoken again", "resynth", source.respoken, source.respoken_mels),
        ):
            if utterance in wavs:
                mel = mels[utterance] if mels is not None and utterance in mels else None
                audio = _audio(title, wavs[utterance], media, f"{stem}-{key}", mel)
                audio.caption = caption if key == "voice" else None
                audio.heard = heard.get(key) if respoken else None
                item.others.append(audio)


def _audio(title: str, wav: str, media: Path, stem: str, mel: np.ndarray | None) -> Audio:
    """Copy a wav as FLAC (lossless, half the size, and every browser plays it) and draw its spectrogram."""
    if wav.endswith("|"):
        raise UserError(f"{wav}: a pipe; the report needs wav files")
    samples, rate = read_wav(wav)
    soundfile.write(str(media / f"{stem}.flac"), samples, rate, subtype="PCM_16")
    audio = Audio(title, f"media/{stem}.flac")
    if mel is not None and len(mel):
        _spectrogram(mel).save(media / f"{stem}.png", optimize=True)
        audio.spectrogram = f"media/{stem}.png"
    return audio


def _spectrogram(mel: np.ndarray) -> Image.Image:
    """A log-mel spectrogram (T, n_mels) as a picture, low frequencies below, loudest brightest."""
    high = float(mel.max())
    low = max(float(mel.min()), high - 9.0)  # nepers; softer is not heard
    levels = np.clip((mel.T[::-1] - low) / max(high - low, 1e-6), 0, 1)
    picture = Image.fromarray((255 * levels).astype(np.uint8), "L")
    palette = (255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8)
    picture = picture.convert("P")
    picture.putpalette(palette.tobytes())
    return picture


def _ends(durations: list[int] | None, units: int) -> list[float]:
    """The units' end times as fractions of the whole; evenly spaced where durations are not known."""
    if durations is None or len(durations) != units or sum(durations) == 0:
        durations = [1] * units
    return [round(float(end), 4) for end in np.cumsum(durations) / sum(durations)] if units else []


def _attention(source: Source, image: str, units: int) -> Attention | None:
    if source.attention is None or image not in source.attention:
        return None
    weights = source.attention[image]
    if source.grid is not None:
        height, width = source.grid
    elif source.regions is not None and image in source.regions:
        height = width = REGION_GRID
        boxes = _cells(source.regions[image])
        if weights.shape[1] != len(boxes):
            return None
        weights = weights @ boxes
    else:
        return None
    if weights.shape != (units, height * width):
        return None  # features thinned or pooled after extraction: no grid to draw on
    scaled = 255 * weights / np.maximum(weights.max(1, keepdims=True), 1e-9)
    return Attention(height, width, base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode())


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


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as e:
        raise UserError(f"{path}: not valid JSON: {e}; run its stage again") from e
