"""A trained ESPnet2 ASR model."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from i2s import espnet_model
from i2s.asr import audible, resample
from i2s.errors import UserError
from i2s.score.text import normalise


@dataclass
class Espnet:
    """`model` is a model folder or a tag (see `i2s.espnet_model`); `lm_weight` counts where the model brings one."""

    model: str = ""
    beam: int = 10
    ctc_weight: float = 0.3
    lm_weight: float = 0.3
    device: str = "cpu"
    _recognise: Any = field(init=False, repr=False)
    _rate: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with espnet_model.quiet():
            self._load()

    def _load(self) -> None:
        with tempfile.TemporaryDirectory() as work:
            files = espnet_model.find(self.model, "--asr espnet", ("asr_train_config", "asr_model_file"), work)
            from espnet2.bin.asr_inference import Speech2Text  # takes seconds, hence after the checks

            try:
                self._recognise = Speech2Text(
                    **files,
                    beam_size=self.beam,
                    ctc_weight=self.ctc_weight,
                    lm_weight=self.lm_weight,
                    device=self.device,
                )
            except Exception as e:  # whatever a configuration of another ESPnet can raise
                raise UserError(f"--asr espnet: {self.model}: ESPnet cannot build this model: {e}") from e
        frontend = getattr(self._recognise.asr_train_args, "frontend_conf", None) or {}
        self._rate = _rate(frontend.get("fs", 16000))

    def transcribe(self, wavs: list[np.ndarray], sample_rate: int) -> list[str]:
        """See `i2s.asr.Recogniser`."""
        return [self._one(resample(wav, sample_rate, self._rate)) for wav in wavs]

    def _one(self, wav: np.ndarray) -> str:
        if not audible(wav, self._rate):
            return ""
        with espnet_model.quiet():
            best = self._recognise(wav)
        return normalise(best[0][0] or "") if best else ""


def _rate(fs: int | str) -> int:
    """16000 and "16k" are both used in ESPnet's configurations."""
    text = str(fs).lower()
    return int(float(text[:-1]) * 1000) if text.endswith("k") else int(text)
