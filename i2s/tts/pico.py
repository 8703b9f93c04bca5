"""SVOX Pico through py-nanotts: small voices of six languages that come in its wheel."""

from __future__ import annotations

import ctypes
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
        _zeroed_memory()
        self._engine = py_nanotts.NanoTTS()

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """float32 (N,) at 16 kHz; nothing in it is random. Raises CannotSpeak."""
        try:
            pcm = self._engine.speak(tidy(text), self.voice, self.speed, self.pitch, self.volume)
        except (RuntimeError, ValueError) as e:
            raise CannotSpeak(f"pico: {e}") from e
        if not pcm:
            raise CannotSpeak("the voice found no sounds in it")
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


def _zeroed_memory() -> None:
    """Make Pico's speech repeatable: it reads parts of its 2.5 MB working memory before it writes them.

    malloc maps blocks of such a size afresh, all zero, until the first is freed; then it raises the size from which
    it does so and hands out used memory. Naming the size (M_MMAP_THRESHOLD, glibc) keeps it from doing that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, 1 << 20)
