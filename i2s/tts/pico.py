"""SVOX Pico through py-nanotts: small voices of six languages that come in its wheel."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.tts import CannotSpeak, tidy

LANGUAGES = ("en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "it-IT")


@dataclass
class Pico:
    """`voice` is one of LANGUAGES. At `volume` 1 Pico clips; at the default it keeps a margin."""

    voice: str = "en-US"
    speed: float = 1.0  # 0.2 slow ... 5.0 fast
    pitch: float = 1.0  # 0.5 low ... 2.0 high
    volume: float = 0.5
    sample_rate: int = field(default=16000, init=False)  # Hz
    _engine: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import py_nanotts

        if self.voice not in LANGUAGES:
            raise UserError(f"--tts pico: no voice {self.voice!r}; choose from {', '.join(LANGUAGES)}")
        self._engine = py_nanotts.NanoTTS()

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """float32 (N,) at 16 kHz; nothing in it is random. Raises CannotSpeak."""
        try:
            with _zeroed_memory():
                pcm = self._engine.speak(tidy(text), self.voice, self.speed, self.pitch, self.volume)
        except (RuntimeError, ValueError) as e:
            raise CannotSpeak(f"pico: {e}") from e
        wav = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        if np.abs(wav).max(initial=0.0) < 0.02 * self.volume:  # letters it does not know are faint noise
            raise CannotSpeak("the voice found no sounds in it")
        return wav


@contextmanager
def _zeroed_memory() -> Iterator[None]:
    """Make Pico's speech repeatable: it reads parts of its 2.5 MB working memory before it writes them.

    Pico gets that memory anew for each text, from malloc. glibc can be told to fill what it hands out with the
    complement of a byte (M_PERTURB), here zero; elsewhere nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) or (lambda *_: 0)
    mallopt(-6, 0xFF)
    try:
        yield
    finally:
        mallopt(-6, 0)
