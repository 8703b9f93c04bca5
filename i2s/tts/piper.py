"""Piper: VITS voices of many languages, each a VOICE.onnx file with VOICE.onnx.json beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s.errors import UserError
from i2s.tts import CannotSpeak, tidy


@dataclass
class Piper:
    """`model` is the voice's .onnx file; `speaker` is for voices of several speakers, by number or by name.

    Piper's noise comes from a generator inside the model that cannot be set for each utterance, so speech with noise
    (most voices are made for noise_scale=0.667 noise_w=0.8) differs from run to run. Hence none by default.
    """

    model: str = ""
    speaker: int | str = 0
    length_scale: float = 1.0  # above 1: slower
    noise_scale: float = 0.0  # variety of the sound
    noise_w: float = 0.0  # variety of the durations
    sample_rate: int = field(default=0, init=False)  # Hz, from the voice
    _voice: Any = field(init=False, repr=False)
    _how: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import onnxruntime
        from piper import PiperVoice, SynthesisConfig

        if not self.model:
            raise UserError("--tts piper: which voice? give its file: --tts-options model=VOICE.onnx")
        onnxruntime.set_default_logger_severity(3)
        for path in (Path(self.model), Path(f"{self.model}.json")):
            if not path.is_file():
                raise UserError(f"--tts piper: {path}: no such file; a voice is a file VOICE.onnx and VOICE.onnx.json")
        try:
            self._voice = PiperVoice.load(self.model)
        except Exception as e:  # onnxruntime's own exception types, JSON errors, missing keys
            raise UserError(f"--tts piper: {self.model}: not a Piper voice: {e}") from e
        config = self._voice.config
        self.sample_rate = config.sample_rate
        speaker = config.speaker_id_map.get(self.speaker, self.speaker)
        if not isinstance(speaker, int) or not 0 <= speaker < max(1, config.num_speakers):
            names = ", ".join(list(config.speaker_id_map)[:20]) or "0"
            raise UserError(f"--tts piper: {self.model}: no speaker {self.speaker!r}; choose from {names}")
        self._how = SynthesisConfig(
            speaker_id=speaker if config.num_speakers > 1 else None,
            length_scale=self.length_scale,
            noise_scale=self.noise_scale,
            noise_w_scale=self.noise_w,
        )

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """float32 (N,); `seed` has no say (see the class). Raises CannotSpeak."""
        chunks = [c.audio_float_array for c in self._voice.synthesize(tidy(text), self._how)]
        if not sum(map(len, chunks)):
            raise CannotSpeak("the voice found no sounds in it")
        return np.concatenate(chunks).astype(np.float32)
