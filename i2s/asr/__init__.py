"""Recognisers that read speech back (stage 10): one small file a backend, all behind the interface `Recogniser`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import soxr

from i2s.config import from_dict, load_config
from i2s.registry import Part, Registry

RECOGNISERS = Registry(
    "asr",
    {
        "pocketsphinx": Part(
            "i2s.asr.pocketsphinx:PocketSphinx", "English, with a language model of the captions (default)"
        ),
        "vosk": Part("i2s.asr.vosk:Vosk", "a Kaldi model folder (model=FOLDER)"),
        "whisper": Part("i2s.asr.whisper:Whisper", "faster-whisper: a model folder or name (model=base, language=en)"),
        "espnet": Part("i2s.asr.espnet:Espnet", "an ESPnet2 ASR model folder or tag (model=FOLDER)"),
    },
)


class Recogniser(Protocol):
    """A recogniser. Its class is a dataclass: the fields that its constructor takes are its options."""

    def transcribe(self, wavs: list[np.ndarray], sample_rate: int) -> list[str]:
        """What was said in each of `wavs` (float32 (N,) in [-1, 1], at `sample_rate` Hz), as `i2s.score.text.normalise`
        writes words; "" where nothing was heard. A wav's words do not depend on the other wavs."""
        ...


def load(name: str, **options: Any) -> Recogniser:
    """The recogniser `name` with its options. Raises UserError for an unknown one, or a missing model."""
    return from_dict(RECOGNISERS.get(name), options, f"--asr {name}")


def load_from_text(name: str, options: Iterable[str], lm_text: str | None = None) -> Recogniser:
    """As `load`, with options as on a command line: `["model=base", ...]`.

    `lm_text` is a table of captions for a recogniser that makes its language model from them (its option `lm_text`,
    which comes first where it is given); others pass over it.
    """
    cls, options = RECOGNISERS.get(name), list(options)
    takes_lm_text = any(field.name == "lm_text" for field in dataclasses.fields(cls))
    if lm_text and takes_lm_text and not any(option.startswith("lm_text=") for option in options):
        options.insert(0, f"lm_text={lm_text}")
    return load_config(cls, overrides=options)


def audible(wav: np.ndarray, sample_rate: int) -> bool:
    """Whether `wav` can hold a word: 0.1 s and a sample above 1e-4. Recognisers fail on less, or make words up."""
    return len(wav) >= 0.1 * sample_rate and float(np.abs(wav).max()) > 1e-4


def resample(wav: np.ndarray, sample_rate: int, wanted: int) -> np.ndarray:
    """`wav` at `wanted` Hz, float32 (N * wanted / sample_rate,)."""
    return soxr.resample(np.asarray(wav, np.float32), sample_rate, wanted) if len(wav) else np.zeros(0, np.float32)


def pcm16(wav: np.ndarray) -> bytes:
    """Float samples in [-1, 1] as 16-bit little-endian bytes; louder ones are clipped."""
    return (np.clip(wav, -1.0, 1.0) * 32767).astype("<i2").tobytes()
