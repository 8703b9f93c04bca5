"""A whole system, photos in and speech out: models that say what photos show, and a vocoder where they need one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from i2s import i2u, sas, u2s, vocoder
from i2s.config import from_dict
from i2s.features.image import ImageFeatures, load_extractor
from i2s.features.speech import SpeechFeatureConfig
from i2s.i2u.search import SearchConfig, best
from i2s.modeldir import check_same, load_manifest, save_manifest
from i2s.parts import SYSTEMS
from i2s.u2s.base import Speech
from i2s.vocoder.speak import waveforms


def save_system(
    folder: Path,
    models: dict[str, Path],
    vocoder_name: str,
    vocoder_weights: Path | None,
    image_weights: Path | None,
    search: dict[str, Any],
) -> None:
    """Write the manifest that makes `folder` a system. Paths are kept relative to it, so that `exp/` can be moved.

    models: the folders of `i2u` and `u2s`, or of `sas`. vocoder_name: empty where they need none. Raises UserError if
    two of the models were trained on different unit inventories.
    """
    if "sas" not in models:
        check_units(models["i2u"], models["u2s"])

    def relative(path: Path | None) -> str | None:
        return os.path.relpath(path, folder) if path else None

    folder.mkdir(parents=True, exist_ok=True)
    save_manifest(
        folder,
        {
            "kind": "system",
            **{kind: relative(model) for kind, model in models.items()},
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


class Models(Protocol):
    """The models of a system, loaded from the folders that its manifest names.

    `folder` is the one that sees images; image_feats, features: what the models were trained on.
    """

    folder: Path
    image_feats: dict[str, Any]
    features: dict[str, Any]

    def __init__(self, system: Path, manifest: dict[str, Any]): ...

    def __call__(self, images: Sequence[ImageFeatures]) -> list[Speech]:
        """What is said of a batch of images."""


class ByUnits:
    """Image to units, units to speech."""

    def __init__(self, system: Path, manifest: dict[str, Any]):
        self.folder, u2s_dir = system / manifest["i2u"], system / manifest["u2s"]
        check_units(self.folder, u2s_dir)
        self.image_feats = load_manifest(self.folder, "i2u")["image_feats"]
        self.features = load_manifest(u2s_dir, "u2s")["features"]
        self.i2u, self.u2s = i2u.load(self.folder), u2s.load(u2s_dir)
        self.search = from_dict(SearchConfig, manifest["search"], str(system / "manifest.json"))

    def __call__(self, images: Sequence[ImageFeatures]) -> list[Speech]:
        hypotheses = [best(found) for found in self.i2u.generate([image.vectors for image in images], self.search)]
        speech = self.u2s.synthesise([h.units for h in hypotheses])
        return [replace(s, stopped=h.finished and s.stopped) for h, s in zip(hypotheses, speech, strict=True)]


class Direct:
    """Image to spectrogram."""

    def __init__(self, system: Path, manifest: dict[str, Any]):
        self.folder = system / manifest["sas"]
        trained = load_manifest(self.folder, "sas")
        self.image_feats, self.features = trained["image_feats"], trained["features"]
        self.sas = sas.load(self.folder)
        self.search = from_dict(SearchConfig, manifest["search"], str(system / "manifest.json"))

    def __call__(self, images: Sequence[ImageFeatures]) -> list[Speech]:
        return self.sas.describe(images, self.search)


@dataclass(frozen=True)
class Description:
    """What is said of one photo. `wav` is float32 in [-1, 1]."""

    wav: np.ndarray
    stopped: bool


class System:
    """Loads the parts that the manifest of `folder` names. Raises UserError where one is missing or does not fit."""

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        manifest = load_manifest(folder, "system")

        def path(key: str) -> Path | None:
            return (folder / manifest[key]) if manifest[key] else None

        self.models: Models = SYSTEMS.get("sas" if "sas" in manifest else "units")(folder, manifest)
        self.features = from_dict(SpeechFeatureConfig, self.models.features, str(folder))
        name = manifest["vocoder"]
        self.vocoder = vocoder.load(name, self.features, path("vocoder_weights")) if name else None
        image_feats = self.models.image_feats
        self.extractor = load_extractor(image_feats["kind"], path("image_weights"))
        check_same(
            self.models.folder, folder, "image feature weights", image_feats["weights"],
            self.extractor.manifest["weights"],
        )  # fmt: skip

    @property
    def sample_rate(self) -> int:
        """Of the speech, in Hz."""
        return self.features.sample_rate

    def describe(self, photos: list[Image.Image]) -> list[Description]:
        """Describe a batch of RGB photos."""
        speech = self.models(self.extractor.features([self.extractor.prepare(photo) for photo in photos]))
        wavs = waveforms(speech, self.vocoder)
        return [Description(wav, s.stopped) for s, wav in zip(speech, wavs, strict=True)]
