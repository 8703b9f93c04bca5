"""Voices that speak captions (stage 3): one small file a backend, all behind the interface `Voice`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from i2s.config import from_dict, load_config
from i2s.registry import Part, Registry

VOICES = Registry(
    "tts",
    {
        "hibari": Part("i2s.tts.hibari:Hibari", "English, 24 kHz, its model comes with pip (default)"),
        "pico": Part("i2s.tts.pico:Pico", "SVOX Pico: en-US en-GB de-DE es-ES fr-FR it-IT, 16 kHz, comes with pip"),
        "piper": Part("i2s.tts.piper:Piper", "a Piper voice file (model=VOICE.onnx), many languages"),
        "espnet": Part("i2s.tts.espnet:Espnet", "an ESPnet2 TTS model folder or tag (model=FOLDER)"),
    },
)

# What a voice is given to read: letters, digits and marks of any script, and the signs that voices read or pause at.
# All else becomes a space; some voices would take <>, [] or {} as commands.
_SIGNS = ".,;:!?'’-&%$€£+/@°"


class CannotSpeak(Exception):
    """A voice cannot speak this caption; the message is the reason."""


class Voice(Protocol):
    """A voice. Its class is a dataclass: the fields that its constructor takes are its options."""

    sample_rate: int  # Hz

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """Speak `text`: float32 samples (N,), N > 0, at `sample_rate`; the same for the same text and seed.

        Raises CannotSpeak where there is nothing in `text` that this voice can read.
        """
        ...


def load(name: str, **options: Any) -> Voice:
    """The voice `name` with its options. Raises UserError for an unknown voice or option, or a missing model."""
    return from_dict(VOICES.get(name), options, f"--tts {name}")


def load_from_text(name: str, options: Iterable[str]) -> Voice:
    """As `load`, with options as on a command line: `["speed=0.9", ...]`."""
    return load_config(VOICES.get(name), overrides=list(options))


def tidy(text: str) -> str:
    """A caption as a voice should read it: composed Unicode, one space between words, none before a full stop.

    Raises CannotSpeak for text without a letter or digit.
    """
    text = unicodedata.normalize("NFC", text)
    text = "".join(c if c in _SIGNS or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" (?=[.,;:!?])", "", text)
    text = re.sub(r"^[.,;:!?\s]+", "", text)
    text = re.sub(r" (?=['’](?:s|t|re|ve|ll|d|m)\b)", "", text)  # tokenised English: "a man 's hat"
    if not any(c.isalnum() for c in text):
        raise CannotSpeak("no letters or digits")
    return text
