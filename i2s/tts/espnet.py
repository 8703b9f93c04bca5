"""A trained ESPnet2 TTS model, such as the papers' LJSpeech Tacotron 2."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2s import espnet_model
from i2s.errors import UserError
from i2s.tts import CannotSpeak, tidy


@dataclass
class Espnet:
    """`model` is a model folder or a tag (see `i2s.espnet_model`), `speaker` a number for models of several speakers.

    `vocoder` is a checkpoint of the package parallel_wavegan, which it needs: a .pkl file with config.yml beside it.
    Without one Griffin-Lim makes the waveform, unless the model does.
    """

    model: str = ""
    vocoder: str = ""
    speaker: int = 0
    speed: float = 1.0  # below 1: slower; FastSpeech and VITS only
    max_length: float = 10.0  # frames a token at most (Tacotron 2, Transformer)
    device: str = "cpu"
    sample_rate: int = field(default=0, init=False)  # Hz, from the model
    _speak: Any = field(init=False, repr=False)
    _griffin_lim: Any = field(default=None, init=False, repr=False)
    _arguments: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with espnet_model.quiet():
            self._load()

    def _load(self) -> None:
        vocoder = {"vocoder_file": self.vocoder} if self.vocoder else {}
        if self.vocoder:  # ESPnet would run code that is in either of its files
            espnet_model.check_yaml(Path(self.vocoder).parent / "config.yml", "--tts espnet")
            espnet_model.check_weights(self.vocoder, "--tts espnet")
        with tempfile.TemporaryDirectory() as work:
            files = espnet_model.find(self.model, "--tts espnet", ("train_config", "model_file"), work)
            from espnet2.bin.tts_inference import Text2Speech  # takes seconds, hence after the checks
            from espnet2.utils.griffin_lim import Spectrogram2Waveform

            try:
                self._speak = Text2Speech(
                    **files,
                    **vocoder,
                    device=self.device,
                    maxlenratio=self.max_length,
                    speed_control_alpha=1 / self.speed,
                )
            except Exception as e:  # whatever a configuration of another ESPnet can raise
                raise UserError(f"--tts espnet: {self.model}: ESPnet cannot build this model: {e}") from e
        if self._speak.use_speech or self._speak.use_spembs or self._speak.use_lids:
            raise UserError(f"--tts espnet: {self.model}: needs reference speech, speaker vectors or languages")
        if not self._speak.fs:
            raise UserError(f"--tts espnet: {self.model}: makes no waveform; give a vocoder (vocoder=FILE.pkl)")
        self.sample_rate = int(self._speak.fs)
        if isinstance(self._speak.vocoder, Spectrogram2Waveform):
            self._griffin_lim, self._speak.vocoder = self._speak.vocoder, None  # ESPnet's cannot be seeded
        self._arguments = {"sids": np.array([self.speaker])} if self._speak.use_sids else {}

    def speak(self, text: str, seed: int = 0) -> np.ndarray:
        """float32 (N,). `seed` sets the dropout of Tacotron 2's prenet and VITS's noise. Raises CannotSpeak."""
        import torch

        torch.manual_seed(seed)
        try:
            with espnet_model.quiet():
                out = self._speak(tidy(text), **self._arguments)
        except (RuntimeError, ValueError, IndexError) as e:
            raise CannotSpeak(f"espnet: {str(e).splitlines()[0] if str(e) else type(e).__name__}") from e
        if self._griffin_lim is not None:
            if len(out["feat_gen"]) < 2:
                raise CannotSpeak("the model stopped at once")
            mel = out["feat_gen"] if out.get("feat_gen_denorm") is None else out["feat_gen_denorm"]
            return self._waveform(mel.cpu().numpy(), seed)
        return out["wav"].view(-1).cpu().numpy().astype(np.float32)

    def _waveform(self, mel: np.ndarray, seed: int) -> np.ndarray:
        """Griffin-Lim with the model's own analysis, from log-mel (or linear) frames (T, D)."""
        import librosa

        how = self._griffin_lim.params
        spectrum = self._griffin_lim.logmel2linear(mel) if self._griffin_lim.logmel2linear else mel
        wav = librosa.griffinlim(
            np.abs(spectrum.T),
            n_iter=32,
            hop_length=how["n_shift"],
            win_length=how["win_length"],
            window=how["window"],
            random_state=seed,
        )
        return wav.astype(np.float32)
