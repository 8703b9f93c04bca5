"""Vosk: Kaldi chain (TDNN) models, as the recognisers of this field's papers were."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s.asr import audible, pcm16, resample
from i2s.errors import UserError
from i2s.score.text import normalise


@dataclass
class Vosk:
    """`model` is a Kaldi model folder in Vosk's layout (am/, conf/, graph/ ...) with its own language model."""

    model: str = ""
    _model: Any = field(init=False, repr=False)
    _rate: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import vosk

        if not self.model:
            raise UserError("--asr vosk: which model? give its folder: --asr-options model=FOLDER")
        folder = Path(self.model)
        # vosk ends the process where one of these is missing, so look before.
        if not (folder / "am" / "final.mdl").is_file() or not (folder / "conf").is_dir():
            raise UserError(f"--asr vosk: {folder}: not a Vosk model folder (no am/final.mdl, conf/); unpack one there")
        vosk.SetLogLevel(-1)
        try:
            self._model = vosk.Model(str(folder))
        except Exception as e:  # vosk raises plain Exception
            raise UserError(f"--asr vosk: {folder}: cannot load this model: {e}") from e
        self._rate = _sample_rate(folder / "conf" / "mfcc.conf")

    def transcribe(self, wavs: list[np.ndarray], sample_rate: int) -> list[str]:
        """See `i2s.asr.Recogniser`."""
        return [self._one(resample(wav, sample_rate, self._rate)) for wav in wavs]

    def _one(self, wav: np.ndarray) -> str:
        from vosk import KaldiRecognizer

        if not audible(wav, self._rate):
            return ""
        # A new one for each wav: a recogniser adapts to the speech it has heard. Long speech comes in several results.
        recogniser = KaldiRecognizer(self._model, self._rate)
        heard, pcm = [], pcm16(wav)
        block = 2 * self._rate  # bytes: a second; ends of sentences are looked for between blocks
        for start in range(0, len(pcm), block):
            if recogniser.AcceptWaveform(pcm[start : start + block]):
                heard.append(json.loads(recogniser.Result())["text"])
        heard.append(json.loads(recogniser.FinalResult())["text"])
        return normalise(" ".join(heard))


def _sample_rate(conf: Path) -> int:
    """The rate in Hz that a Kaldi feature configuration names; 16000 where it names none."""
    lines = conf.read_text().splitlines() if conf.is_file() else []
    rates = [line.split("=", 1)[1] for line in lines if line.startswith("--sample-frequency=")]
    return int(float(rates[-1].split("#")[0])) if rates else 16000
