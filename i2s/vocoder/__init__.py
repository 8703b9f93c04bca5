"""Vocoders: log-mel spectrograms in, waveforms out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from i2s.registry import Part, Registry

if TYPE_CHECKING:
    from i2s.features.speech import SpeechFeatureConfig
    from i2s.vocoder.base import Vocoder

VOCODERS = Registry(
    "vocoder",
    {
        "griffinlim": Part("i2s.vocoder.griffinlim:GriffinLim", "fast Griffin-Lim; no weights"),
        "hifigan": Part(
            "i2s.vocoder.hifigan:HiFiGAN",
            "HiFi-GAN (ESPnet's generator); --vocoder-weights: a published or ESPnet file",
        ),
        "wavenet": Part(
            "i2s.vocoder.wavenet:WaveNetVocoder",
            "WaveNet, sample by sample; --vocoder-weights: a folder that steps/train_vocoder.sh made",
        ),
    },
)


def load(name: str, features: SpeechFeatureConfig, weights: str | Path | None = None) -> Vocoder:
    """The vocoder `name` for spectrograms of the configuration `features`.

    Raises UserError if there is no such vocoder, its weights are missing or do not fit `features`.
    """
    return VOCODERS.get(name)(features, Path(weights) if weights is not None else None)
