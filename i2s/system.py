"""A whole system, photos in and speech out: an image-to-unit model, a unit-to-speech model and a vocoder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2s import i2u, u2s, vocoder
from i2s.config import from_dict
from i2s.features.image import load_extractor
from i2s.features.speech import SpeechFeatureConfig
from i2s.i2u.search import SearchConfig
from i2s.modeldir import check_same, load_manifest, save_manifest


def save_system(
    folder: Path,
    i2u_dir: Path,
    u2s_dir: Path,
    vocoder_name: str,
    vocoder_weights: Path | None,
    image_weights: Path | None,
    search: dict[str, Any],
) -> None:
    """Write the manifest that makes `folder` a system. Paths are kept relative to it, so that `exp/` can be moved.

    Raises UserError if the two models were trained on different unit inventories.
    """
    check_units(i2u_dir, u2s_dir)

    def relative(path: Path | None) -> str | None:
        return os.path.relpath(path, folder) if path else None

    folder.mkdir(parents=True, exist_ok=True)
    save_manifest(
        folder,
        {
            "kind": "system",
            "i2u": relative(i2u_dir),
            "u2s": relative(u2s_dir),
            "vocoder": vocoder_name,
            "vocoder_weights": relative(vocoder_weights),
            "image_weights": relative(image_weights),
            "search": search,
        },
    )


def check_units(i2u_dir: Path, u2s_dir: Path) -> None:
    """Refuse an image-to-unit and a unit-to-speech model of different unit inventories."""
    a, b = load_manifest(i2u_dir, "i2u")["units"], load_manifest(u2s_dir, "u2s")["units"]
    check_same(i2u_dir, u2s_dir, "unit inventory", a["inventory"], b["inventory"])


@dataclass(frozen=True)
class Description:
    """What is said of one photo. `units` are collapsed; `wav` is float32 in [-1, 1]."""

    units: list[int]
    wav: np.ndarray
    stopped: bool


class System:
    """Loads the parts that the manifest of `folder` names. Raises UserError where one is missing or does not fit."""

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        manifest = load_manifest(folder, "system")

        def path(key: str) -> Path | None:
            return (folder / manifest[key]) if manifest[key] else None

        i2u_dir, u2s_dir = folder / manifest["i2u"], folder / manifest["u2s"]
        check_units(i2u_dir, u2s_dir)
        self.i2u = i2u.load(i2u_dir)
        self.u2s = u2s.load(u2s_dir)
        self.features = from_dict(SpeechFeatureConfig, load_manifest(u2s_dir, "u2s")["features"], str(u2s_dir))
        self.vocoder = vocoder.load(manifest["vocoder"], self.features, path("vocoder_weights"))
        image_feats = load_manifest(i2u_dir, "i2u")["image_feats"]
        self.extractor = load_extractor(image_feats["kind"], path("image_weights"))
        check_same(i2u_dir, folder, "image feature weights", image_feats["weights"], self.extractor.manifest["weights"])
        self.search = from_dict(SearchConfig, manifest["search"], str(folder / "manifest.json"))

    @property
    def sample_rate(self) -> int:
        """Of the speech, in Hz."""
        return self.features.sample_rate

    def describe(self, photos: list[Image.Image]) -> list[Description]:
        """Describe a batch of RGB photos."""
        hypotheses = [best[0] for best in self.i2u.generate(self.extractor.extract(photos), self.search)]
        speech = self.u2s.synthesise([h.units for h in hypotheses])
        wavs = self.vocoder([s.mel for s in speech])
        return [
            Description(h.units, wav, h.finished and s.stopped)
            for h, s, wav in zip(hypotheses, speech, wavs, strict=True)
        ]
