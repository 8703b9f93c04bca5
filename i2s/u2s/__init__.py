"""Unit to speech: discrete units in, log-mel spectrograms out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.config import load_config
from i2s.modeldir import load_manifest
from i2s.registry import Part, Registry

if TYPE_CHECKING:
    from i2s.u2s.base import UnitToSpeech

UNIT_TO_SPEECH = Registry(
    "u2s",
    {
        "fast": Part("i2s.u2s.fast:FastModel", "convolutions and explicit durations; trains on a CPU in minutes"),
        "tacotron2": Part(
            "i2s.u2s.tacotron2:Tacotron2Model",
            "ESPnet's Tacotron 2, attention supervised by the run lengths; for GPUs (Hsu et al. 2020)",
        ),
    },
)


def load(folder: str | Path) -> UnitToSpeech:
    """The finished model in `folder`, in evaluation mode. Raises UserError if there is none or it does not load."""
    from i2s.train.fit import load_weights

    folder = Path(folder)
    manifest = load_manifest(folder, "u2s")
    part = UNIT_TO_SPEECH.get(manifest["model"])
    config = load_config(part.Config, folder / "config.yaml")
    model = part.build(config, manifest["units"]["size"], manifest["features"]["n_mels"])
    load_weights(model, folder / manifest["checkpoint"])
    return model
