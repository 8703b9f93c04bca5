"""Unit to speech: discrete units in, log-mel spectrograms or waveforms out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.config import from_dict, load_config
from i2s.features.speech import SpeechFeatureConfig
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
        "clustergen": Part(
            "i2s.u2s.clustergen:Clustergen",
            "regression forests and WORLD: no vocoder, no GPU, minutes of training (Black 2006)",
        ),
    },
)


def load(folder: str | Path) -> UnitToSpeech:
    """The finished model in `folder`, ready to speak. Raises UserError if there is none or it does not load."""
    folder = Path(folder)
    manifest = load_manifest(folder, "u2s")
    part = UNIT_TO_SPEECH.get(manifest["model"])
    config = load_config(part.Config, folder / "config.yaml")
    features = from_dict(SpeechFeatureConfig, manifest["features"], str(folder))
    return part.load(config, manifest["units"]["size"], features, folder / manifest["checkpoint"])
