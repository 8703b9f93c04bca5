"""Every registry of the project, by the option that chooses from it."""

from __future__ import annotations

import importlib

from i2s.registry import Part, Registry

SYSTEMS = Registry(
    "system",
    {
        "units": Part("i2s.system:ByUnits", "image to units, then units to speech (Hsu et al. 2020; the default)"),
        "sas": Part("i2s.system:Direct", "Show and Speak: image to spectrogram directly (Wang et al. 2021)"),
    },
)

_REGISTRIES = {
    "system": "i2s.parts:SYSTEMS",
    "tts": "i2s.tts:VOICES",
    "asr": "i2s.asr:RECOGNISERS",
    "image-feats": "i2s.features.image:IMAGE_FEATURES",
    "units": "i2s.units:UNIT_METHODS",
    "i2u": "i2s.i2u:IMAGE_TO_UNIT",
    "u2s": "i2s.u2s:UNIT_TO_SPEECH",
    "vocoder": "i2s.vocoder:VOCODERS",
}


def options() -> list[str]:
    """The options that choose a part, in the order of the stages."""
    return list(_REGISTRIES)


def registry(option: str) -> Registry:
    """The registry behind an option such as "tts"."""
    module, _, name = _REGISTRIES[option].partition(":")
    return getattr(importlib.import_module(module), name)
