"""hibari-tts: a small English voice whose model comes in its wheel (Apache-2.0)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.tts import CannotSpeak, tidy


@dataclass
class Hibari:
    """`voice` heart is in the package; others (fenrir, emma, fable, kore) are downloaded by it on first use."""

    voice: str = "heart"
    speed: float = 1.0  # 0.5 slow ... 2.0 fast
    sample_rate: int = field(default=24000, init=False)  # Hz
    _model: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import hibari
        from hibari.voices import VOICES

        if self.voice not in VOICES:
            raise UserError(f"--tts hibari: no voice {self.voice!r}; choose from {', '.join(VOICES)}")
        if not 0.5 <= self.speed <= 2.0:
            raise UserError(f"--tts hibari: speed {self.speed} is outside 0.5 ... 2.0")
        try:
            self._model = hibari.Hibari(voice=self.voice)
        except RuntimeError as e:
            raise UserError(f"--tts hibari: voice {self.voice}: {e}") from e

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """float32 (N,) at 24 kHz. Raises CannotSpeak."""
        wav = self._model(tidy(text), speed=self.speed, seed=seed)
        if not len(wav):
            raise CannotSpeak("the voice found no sounds in it")
        return np.asarray(wav, np.float32)
