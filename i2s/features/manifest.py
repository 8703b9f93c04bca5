"""What a data directory tells of its features: they must be of the same kind wherever they meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from i2s.config import load_config, to_dict
from i2s.features.speech import SpeechFeatureConfig
from i2s.files import read_json
from i2s.modeldir import check_same


def read_image_feats(data: Path) -> dict[str, Any]:
    """What DATA_DIR/image_feats.json says. Raises UserError if it is not there or cannot be read."""
    return read_json(data / "image_feats.json", "run the stage that extracts image features")


def image_feats_of_training(data: Path) -> dict[str, Any]:
    """That of DATA_DIR/train. Raises UserError if dev's features are of another kind."""
    train, dev = (read_image_feats(data / split) for split in ("train", "dev"))
    for key in ("kind", "dim", "weights", "grid"):
        check_same(data / "train", data / "dev", f"image features' {key}", train.get(key), dev.get(key))
    return train


def check_image_feats(model: Path, trained: dict[str, Any], data: Path) -> None:
    """Refuse features other than those that the model in the folder `model` was trained on."""
    found = read_image_feats(data)
    kinds = [{key: one.get(key) for key in ("kind", "dim", "weights")} for one in (trained, found)]
    check_same(model, data, "image features", *kinds)


def speech_feats_of_training(data: Path) -> SpeechFeatureConfig:
    """What DATA_DIR/train/features.json says. Raises UserError if dev's features are of another kind."""
    train, dev = (load_config(SpeechFeatureConfig, data / split / "features.json") for split in ("train", "dev"))
    check_same(data / "train", data / "dev", "speech features", to_dict(train), to_dict(dev))
    return train  # (JSON is yaml, too.)
